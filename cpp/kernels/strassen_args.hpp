#pragma once
#include <cstdint>

namespace fastconv {

// Sums of the four quarters of a block of input: `pixels` of [a11 a12] lie at x, as many of [a21 a22] at x + down, each
// row `run` elements a quarter. They are written a plane each, run + s_gap elements apart:
//   a21 + a22,  a21 + a22 - a11,  a11 - a21,  a12 - a21 - a22 + a11
template <class T>
struct StrassenSums {
  const T* x;
  std::int64_t x_pixel, down;
  std::int64_t run;  // a multiple of the width
  T* s;
  std::int64_t s_pixel, s_plane;
  std::int64_t pixels;  // that are left
  std::int64_t at;      // elements of the first of them that are done
};

enum class StrassenWeights : std::uint8_t { plain, sum, difference };

// One product of Strassen's: p[p][c] = bias[c] + sum over r of x[p * x_pixel + r] * w[r][c] for tile_vectors whole
// vectors of channels, then also[p][c] += p[p][c], and y = clamp(p + partial + residual).
template <class T>
struct StrassenRowArgs {
  const T* x;
  std::int64_t x_pixel;
  std::int64_t run;  // a multiple of 4
  const T* w;
  StrassenWeights weights;  // w alone, w + other, or w - other
  const T* other;
  T* made;            // where the sum of weights is left; may be w or other
  const T* bias;      // or null
  T* also;            // dense pixels x channels, or null
  const T* partial;   // the same; may be y, or null
  const T* residual;  // lies as y does (may be y itself), or null
  T* y;
  std::int64_t y_pixel;
  std::int64_t pixels;
  bool clamp;  // y = min(max(y, lo), hi); NaN stays NaN
  T lo, hi;
  const T* next;  // weights that a later call reads, to be fetched into L2 meanwhile, or null
  std::int64_t next_lines;
  StrassenSums<T>* sums;  // are made meanwhile, as many as there is time for, or null
};

}  // namespace fastconv
