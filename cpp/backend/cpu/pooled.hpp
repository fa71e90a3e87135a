// Max-pooling by windows side by side as part of a convolution: of what an algorithm has just computed, while it is in
// the cache, and its gradient, which is spread where it is read.
#pragma once
#include <algorithm>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {

struct Windows {
  std::int64_t h = 0, w = 0;  // 0: no pooling
  int winners = kNone;        // a value, or kNone where nobody asks for them

  explicit operator bool() const { return h > 0; }
};

// Windows [row, row + rows) x [column, column + columns) of `image`, from a block x that has them at its begin.
template <class T>
struct PooledMap {
  Windows windows;
  std::int64_t height, width;  // of the map, before
  T* y;
  std::uint8_t* winners;  // or null
  std::int64_t y_pixel;

  void write(std::int64_t image, std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns,
             std::int64_t channel, std::int64_t channels, const T* x, std::int64_t x_row, std::int64_t x_pixel) const {
    const std::int64_t h = height / windows.h, w = width / windows.w;
    const std::int64_t at = ((image * h + row) * w + column) * y_pixel + channel;
    kernels<T>().pool_windows({windows.h, windows.w, x, x_row, x_pixel, rows, columns, channels, y + at,
                               winners ? winners + at : nullptr, w * y_pixel, y_pixel});
  }

  // A row of windows of two columns, from planes of few channels.
  void write_planes(std::int64_t image, std::int64_t row, std::int64_t channels, const T* x, std::int64_t plane) const {
    const std::int64_t h = height / windows.h, w = width / windows.w;
    const std::int64_t at = (image * h + row) * w * channels;
    kernels<T>().pool_narrow(
        {x, plane, windows.h, w, static_cast<int>(channels), y + at, winners ? winners + at : nullptr});
  }
};

// The gradient of such a map, from that of its maxima.
template <class T>
struct SpreadMap {
  Windows windows;
  std::int64_t height, width, pixel;  // of the map; from one pixel of dy to the next
  const T* dy;
  const std::uint8_t* winners;

  // Rows [row, row + rows) x columns [col, col + cols) of an image's channels, zeros outside it, `to_pixel` apart: the
  // number of channels, or whole vectors, filled up with zeros.
  void copy(std::int64_t image, std::int64_t row, std::int64_t rows, std::int64_t col, std::int64_t cols,
            std::int64_t channel, std::int64_t channels, T* to, std::int64_t to_pixel) const {
    const std::int64_t h = height / windows.h, w = width / windows.w;
    const std::int64_t top = std::clamp<std::int64_t>(-row, 0, rows);
    const std::int64_t bottom = std::clamp<std::int64_t>(h * windows.h - row, top, rows);
    const std::int64_t left = std::clamp<std::int64_t>(-col, 0, cols);
    const std::int64_t right = std::clamp<std::int64_t>(w * windows.w - col, left, cols);
    if (top > 0 || bottom < rows || left > 0 || right < cols) std::fill_n(to, rows * cols * to_pixel, T(0));
    if (top == bottom || left == right) return;
    const std::int64_t at = image * h * w * pixel + channel;
    kernels<T>().spread_windows({windows.h, windows.w, dy + at, winners + at, w * pixel, pixel, row + top, col + left,
                                 bottom - top, right - left, channels, to + (top * cols + left) * to_pixel,
                                 cols * to_pixel, to_pixel, to_pixel > channels});
  }
};

template <class Byte>
Byte* winners_of(const RunContext& r, const Windows& windows) {
  return windows.winners == kNone ? nullptr : r.data<Byte>(windows.winners);
}
// Of a convolution whose output is pooled, of `channels`; of one that reads a gradient so.
template <class T>
PooledMap<T> pooled_map(const RunContext& r, const Windows& windows, std::int64_t height, std::int64_t width,
                        std::int64_t channels, int y) {
  return {windows, height, width, r.data<T>(y), winners_of<std::uint8_t>(r, windows), channels};
}
template <class T>
SpreadMap<T> spread_map(const RunContext& r, const Windows& windows, std::int64_t height, std::int64_t width,
                        std::int64_t channels, int dy) {
  return {windows, height, width, channels, r.data<const T>(dy), winners_of<const std::uint8_t>(r, windows)};
}

}  // namespace fastconv::cpu
