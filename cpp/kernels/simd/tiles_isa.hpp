#pragma once

namespace fastconv::FASTCONV_ISA {

#if FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 4
// 32 registers: 6 x 4 + 4 weights, 4 left for pixels, which are loaded ahead.
template <class T>
struct Tile {
  static constexpr int vectors = 4, pixels4 = 6, pixels3 = 8, pixels2 = 12, pixels1 = 14;
  static constexpr int weight_rows = 6, weight_rows2 = 12;
};
#elif FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 3
// 32 registers, FMAs that broadcast from memory: 7 x 4 + 4 weights. 9 x 3 would fit too, but rows whole pages apart,
// as weights are that take the pixels' place, would then not fit into L1's sets.
template <class T>
struct Tile {
  static constexpr int vectors = 4, pixels4 = 7, pixels3 = 7, pixels2 = 14, pixels1 = 14;
  static constexpr int weight_rows = 6, weight_rows2 = 12;
};
#elif FASTCONV_CAT(FASTCONV_IS_, FASTCONV_ISA) == 2
// 16 registers: 6 x 2 + 2 weights + 1 broadcast.
template <class T>
struct Tile {
  static constexpr int vectors = 2, pixels4 = 1, pixels3 = 1, pixels2 = 6, pixels1 = 12;
  static constexpr int weight_rows = 6, weight_rows2 = 6;
};
#else
// 16 registers, products need one more.
template <class T>
struct Tile {
  static constexpr int vectors = 2, pixels4 = 1, pixels3 = 1, pixels2 = 5, pixels1 = 8;
  static constexpr int weight_rows = 5, weight_rows2 = 5;
};
#endif

}  // namespace fastconv::FASTCONV_ISA
