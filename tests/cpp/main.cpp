// fastconv_tests [isa...]: runs every kernel's test on the named instruction sets, or on all that this machine has.
#include <cstring>

#include "harness.hpp"

namespace fastconv::test {
namespace {

template <class T>
void run(Isa isa, const char* type) {
  const KernelTable<T>& table = kernels<T>(isa);
#define FASTCONV_KERNEL(name, Args)                                                          \
  {                                                                                          \
    const int before = failures(), checked = checks();                                       \
    test_##name<T>(table);                                                                   \
    if (checks() == checked) check(false, std::string(#name) + " checked nothing");          \
    if (failures() != before) std::printf("  in %s on %s, %s\n", #name, name_of(isa), type); \
  }
#include "kernels/kernels.inc"
#undef FASTCONV_KERNEL
}

}  // namespace
}  // namespace fastconv::test

int main(int argc, char** argv) {
  using namespace fastconv;
  constexpr int kSkipped = 77;  // ctest's word for it
  int ran = 0;
  for (Isa isa : compiled_isas()) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || !std::strcmp(argv[i], name_of(isa));
    if (!wanted || !supported(isa)) continue;
    test::run<float>(isa, "float32");
    test::run<double>(isa, "float64");
    ++ran;
  }
  if (!ran) {
    std::printf("not supported by this processor\n");
    return kSkipped;
  }
  std::printf("%d checks, %d failed\n", test::checks(), test::failures());
  return test::failures() ? 1 : 0;
}
