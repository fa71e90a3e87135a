// Register tiles: pixels x vectors of accumulators beside `vectors` weights (docs/adr/0002-register-tiles.md).
#pragma once
#include "kernels/simd/tiles_isa.hpp"

namespace fastconv::FASTCONV_ISA {

// The most output pixels of a convolution tile with V vectors of channels.
template <class T, int V>
constexpr int tile_pixels() {
  return V == 4 ? Tile<T>::pixels4 : V == 3 ? Tile<T>::pixels3 : V == 2 ? Tile<T>::pixels2 : Tile<T>::pixels1;
}

}  // namespace fastconv::FASTCONV_ISA
