// Statistics and affine maps of channels, for batch and group normalization: sums in a fixed number of chunks of rows,
// then one pass over the elements.
#pragma once
#include <algorithm>
#include <cmath>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu::columns {

constexpr std::int64_t kGrain = 32768;  // elements of a piece

// x as a matrix whose rows hold `fold` pixels: few channels would leave vectors half empty.
struct Layout {
  std::int64_t pixels, channels, fold, columns;
  std::int64_t x_row;               // elements from one row of x to the next
  std::int64_t rows, rest;          // `rest` elements after the last whole row
  std::int64_t chunk_rows, chunks;  // of the sums
  std::int64_t piece_rows, pieces;  // of elementwise passes

  // Pixels of x may lie `x_pixel` elements apart; all else is dense.
  explicit Layout(const Shape& x, std::int64_t x_pixel) {
    channels = x.back();
    pixels = product(x, 0, x.size() - 1);
    fold = channels && x_pixel == channels ? std::max<std::int64_t>(1, 64 / channels) : 1;
    fold = std::min(fold, std::max<std::int64_t>(1, pixels));
    columns = fold * channels;
    x_row = fold * x_pixel;
    rows = pixels / fold;
    rest = pixels % fold * channels;
    const std::int64_t most = 64, row_grain = ceil_div(kGrain, std::max<std::int64_t>(1, columns));
    // What a chunk costs for each column is worth some rows.
    chunk_rows = std::max({row_grain, ceil_div(rows, most), std::int64_t{128}});
    chunks = std::max<std::int64_t>(1, ceil_div(rows, chunk_rows));
    piece_rows = row_grain;
    pieces = std::max<std::int64_t>(1, ceil_div(rows, piece_rows));
  }
  explicit Layout(const Shape& x) : Layout(x, x.back()) {}
};

template <class T>
void repeat(T* values, const Layout& l) {
  for (std::int64_t i = l.channels; i < l.columns; ++i) values[i] = values[i - l.channels];
}

// Rows [begin, end) of the chunk or piece, and the rest after the last one.
template <class Fn>
void for_rows(const Layout& l, std::int64_t piece, std::int64_t piece_rows, std::int64_t pieces, Fn fn) {
  const std::int64_t begin = piece * piece_rows, end = std::min(l.rows, begin + piece_rows);
  if (end > begin) fn(begin * l.columns, end - begin, l.columns);
  if (piece + 1 == pieces && l.rest) fn(l.rows * l.columns, 1, l.rest);
}

// Calls apply(args of some rows, thread) for all of them.
template <class T, class Apply>
void affine(const Layout& l, const ColumnAffineArgs<T>& args, Apply apply) {
  parallel_for(l.pieces, [&](std::int64_t piece, int thread) {
    for_rows(l, piece, l.piece_rows, l.pieces, [&](std::int64_t at, std::int64_t rows, std::int64_t columns) {
      ColumnAffineArgs<T> a = args;
      a.x += at + at / std::max<std::int64_t>(1, l.columns) * (l.x_row - l.columns), a.y += at;
      a.x_gap = l.x_row - l.columns;
      for (const T** p : {&a.dy, &a.residual})
        if (*p) *p += at;
      a.rows = rows, a.columns = columns;
      apply(a, thread);
    });
  });
}

template <class T>
void affine(const Layout& l, const ColumnAffineArgs<T>& args) {
  affine<T>(l, args, [](const ColumnAffineArgs<T>& a, int) { kernels<T>().column_affine(a); });
}

// Memory of a thread while it sums a chunk.
template <class T>
struct SumScratch {
  double *first, *second;
  T *shift, *buffer;
  SumScratch(std::byte* p, const Layout& l)
      : first(reinterpret_cast<double*>(p)),
        second(first + l.columns),
        shift(reinterpret_cast<T*>(second + l.columns)),
        buffer(shift + l.columns) {}
  static std::size_t bytes(const Layout& l) {
    return static_cast<std::size_t>(l.columns) * (2 * sizeof(double) + 3 * sizeof(T));
  }
};

// Calls add(args of some rows) for all of the chunk's.
template <class T, class Add>
void sum_chunk(const Layout& l, std::int64_t chunk, const ColumnSumsArgs<T>& args, SumScratch<T>& s, Add add) {
  std::fill(s.first, s.first + 2 * l.columns, 0.0);
  for_rows(l, chunk, l.chunk_rows, l.chunks, [&](std::int64_t at, std::int64_t rows, std::int64_t columns) {
    ColumnSumsArgs<T> a = args;
    a.x += at;
    for (const T** p : {&a.dy, &a.z})
      if (*p) *p += at;
    if (a.masked) a.masked += at;
    a.rows = rows, a.columns = columns;
    a.first = s.first, a.second = s.second, a.buffer = s.buffer;
    add(a);
  });
  for (std::int64_t i = l.channels; i < l.columns; ++i) {
    s.first[i % l.channels] += s.first[i];
    s.second[i % l.channels] += s.second[i];
  }
}

inline std::int64_t chunk_pixels(const Layout& l, std::int64_t chunk) {
  const std::int64_t begin = chunk * l.chunk_rows, end = std::min(l.rows, begin + l.chunk_rows);
  return (end - begin) * l.fold + (chunk + 1 == l.chunks ? l.pixels % l.fold : 0);
}

// Mean and sum of squared deviations of one chunk. The sums are taken around the mean of the first rows; where that
// turns out to be many deviations off, they are taken again around the mean just found.
template <class T>
void chunk_statistics(const Layout& l, std::int64_t chunk, const T* x, SumScratch<T>& s, double* mean, double* m2) {
  const std::int64_t n = chunk_pixels(l, chunk), sample = std::min<std::int64_t>(n, 4);
  const T* from = x + chunk * l.chunk_rows * l.columns;
  const T weight = 1 / static_cast<T>(sample);
  std::fill(s.shift, s.shift + l.channels, T(0));
  for (std::int64_t r = 0; r < sample; ++r)
    for (std::int64_t c = 0; c < l.channels; ++c) s.shift[c] += from[r * l.channels + c] * weight;
  const double per_pixel = 1 / static_cast<double>(n), limit = 16 * per_pixel;
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (std::int64_t c = 0; c < l.channels; ++c)
      s.shift[c] = s.shift[c] - s.shift[c] == 0 ? s.shift[c] : T(0);  // not finite
    repeat(s.shift, l);
    sum_chunk<T>(l, chunk, {x, nullptr, s.shift, 0, 0, nullptr, nullptr, nullptr}, s, kernels<T>().column_sums);
    int off = 0;
    for (std::int64_t c = 0; c < l.channels; ++c) {
      const double d = s.first[c] * per_pixel, squares = s.second[c] - d * s.first[c];
      mean[c] = static_cast<double>(s.shift[c]) + d;
      m2[c] = squares < 0 ? 0 : squares;
      off |= d * d > limit * squares;
    }
    if (!off) break;
    for (std::int64_t c = 0; c < l.channels; ++c) s.shift[c] = static_cast<T>(mean[c]);
  }
}

// Chan's formula, chunk after chunk, into the first chunk's place.
inline void combine_statistics(const Layout& l, double* mean, double* m2) {
  auto n = static_cast<double>(chunk_pixels(l, 0));
  for (std::int64_t chunk = 1; chunk < l.chunks; ++chunk) {
    const auto added = static_cast<double>(chunk_pixels(l, chunk));
    const double *mean_b = mean + chunk * l.channels, *m2_b = m2 + chunk * l.channels;
    const double share = added / (n + added), weight = n * share;
    for (std::int64_t c = 0; c < l.channels; ++c) {
      const double d = mean_b[c] - mean[c];
      mean[c] += d * share;
      m2[c] += m2_b[c] + d * d * weight;
    }
    n += added;
  }
}

template <class T>
T at_or(const T* p, std::int64_t i, T fallback) {
  return p ? p[i] : fallback;
}

template <class T>
const T* optional(const RunContext& run, int value) {
  return value == kNone ? nullptr : run.data<T>(value);
}

inline std::string algorithm(const Layout& l) { return l.fold > 1 ? "folded" : "columns"; }

}  // namespace fastconv::cpu::columns
