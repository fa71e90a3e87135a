// Chooses the kernels of the instruction set in use.
#include <stdexcept>

#include "kernels/kernels.hpp"

namespace fastconv {

#define FASTCONV_ISA_TABLE(isa)                               \
  namespace isa {                                             \
  template <class T>                                          \
  const KernelTable<T>& table();                              \
  extern template const KernelTable<float>& table<float>();   \
  extern template const KernelTable<double>& table<double>(); \
  }
FASTCONV_ISA_TABLE(scalar)
#ifdef FASTCONV_HAVE_AVX2
FASTCONV_ISA_TABLE(avx2)
#endif
#ifdef FASTCONV_HAVE_AVX512
FASTCONV_ISA_TABLE(avx512)
#endif
#ifdef FASTCONV_HAVE_NEON
FASTCONV_ISA_TABLE(neon)
#endif

template <class T>
const KernelTable<T>& kernels(Isa isa) {
  switch (isa) {
    case Isa::scalar: return scalar::table<T>();
#ifdef FASTCONV_HAVE_AVX2
    case Isa::avx2: return avx2::table<T>();
#endif
#ifdef FASTCONV_HAVE_AVX512
    case Isa::avx512: return avx512::table<T>();
#endif
#ifdef FASTCONV_HAVE_NEON
    case Isa::neon: return neon::table<T>();
#endif
    default: throw std::logic_error("instruction set not compiled in");
  }
}

template <class T>
const KernelTable<T>& kernels() {
  static const KernelTable<T>& table = kernels<T>(active_isa());
  return table;
}

template const KernelTable<float>& kernels<float>(Isa);
template const KernelTable<double>& kernels<double>(Isa);
template const KernelTable<float>& kernels<float>();
template const KernelTable<double>& kernels<double>();

}  // namespace fastconv
