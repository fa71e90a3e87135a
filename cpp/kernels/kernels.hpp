// The kernels of the instruction set in use. kernels.inc registers them, one line each.
#pragma once
#include "core/cpu.hpp"
#include "kernels/args.hpp"

namespace fastconv {

template <class T>
struct KernelTable {
  Isa isa;
  int width;         // elements of T in a vector
  int tile_vectors;  // output vectors of the widest convolution tile
  int tile_pixels;   // pixels of that tile
#define FASTCONV_KERNEL(name, Args) void (*name)(const Args<T>&);
#include "kernels/kernels.inc"
#undef FASTCONV_KERNEL
};

template <class T>
const KernelTable<T>& kernels(Isa isa);  // isa must be supported
template <class T>
const KernelTable<T>& kernels();  // of active_isa()

}  // namespace fastconv
