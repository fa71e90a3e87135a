// The kernel table of one instruction set: this file, like every *.isa.cpp, is compiled once for each.
#include "kernels/isa.hpp"
#include "kernels/kernels.hpp"

namespace fastconv::FASTCONV_ISA {

#define FASTCONV_KERNEL(name, Args) \
  template <class T>                \
  void name(const Args<T>&);
#include "kernels/kernels.inc"
#undef FASTCONV_KERNEL

template <class T>
const KernelTable<T>& table() {
  static const KernelTable<T> t = {
      Isa::FASTCONV_ISA,
      Vec<T>::width,
      Tile<T>::vectors,
      tile_pixels<T, Tile<T>::vectors>(),
#define FASTCONV_KERNEL(name, Args) &name<T>,
#include "kernels/kernels.inc"
#undef FASTCONV_KERNEL
  };
  return t;
}

template const KernelTable<float>& table<float>();
template const KernelTable<double>& table<double>();

}  // namespace fastconv::FASTCONV_ISA
