// Batch normalization: statistics in a fixed number of chunks of rows, then one pass over the elements.
#include <algorithm>
#include <cmath>
#include <memory>

#include "backend/cpu/cpu.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kGrain = 32768;  // elements of a piece

// x as a matrix whose rows hold `fold` pixels: few channels would leave vectors half empty.
struct Layout {
  std::int64_t pixels, channels, fold, columns;
  std::int64_t rows, rest;          // `rest` elements after the last whole row
  std::int64_t chunk_rows, chunks;  // of the sums
  std::int64_t piece_rows, pieces;  // of elementwise passes

  explicit Layout(const Shape& x) {
    channels = x.back();
    pixels = product(x, 0, x.size() - 1);
    fold = channels ? std::max<std::int64_t>(1, 64 / channels) : 1;
    fold = std::min(fold, std::max<std::int64_t>(1, pixels));
    columns = fold * channels;
    rows = pixels / fold;
    rest = pixels % fold * channels;
    const std::int64_t most = 64, row_grain = ceil_div(kGrain, std::max<std::int64_t>(1, columns));
    // What a chunk costs for each column is worth some rows.
    chunk_rows = std::max({row_grain, ceil_div(rows, most), std::int64_t{128}});
    chunks = std::max<std::int64_t>(1, ceil_div(rows, chunk_rows));
    piece_rows = row_grain;
    pieces = std::max<std::int64_t>(1, ceil_div(rows, piece_rows));
  }
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

template <class T>
void affine(const Layout& l, ColumnAffineArgs<T> args) {
  parallel_for(l.pieces, [&](std::int64_t piece, int) {
    for_rows(l, piece, l.piece_rows, l.pieces, [&](std::int64_t at, std::int64_t rows, std::int64_t columns) {
      ColumnAffineArgs<T> a = args;
      a.x += at, a.y += at;
      if (a.dy) a.dy += at;
      a.rows = rows, a.columns = columns;
      kernels<T>().column_affine(a);
    });
  });
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

template <class T>
void sum_chunk(const Layout& l, std::int64_t chunk, const T* x, const T* dy, const T* shift, SumScratch<T>& s) {
  std::fill(s.first, s.first + 2 * l.columns, 0.0);
  for_rows(l, chunk, l.chunk_rows, l.chunks, [&](std::int64_t at, std::int64_t rows, std::int64_t columns) {
    kernels<T>().column_sums({x + at, dy ? dy + at : nullptr, shift, rows, columns, s.first, s.second, s.buffer});
  });
  for (std::int64_t i = l.channels; i < l.columns; ++i) {
    s.first[i % l.channels] += s.first[i];
    s.second[i % l.channels] += s.second[i];
  }
}

std::int64_t chunk_pixels(const Layout& l, std::int64_t chunk) {
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
    sum_chunk<T>(l, chunk, x, nullptr, s.shift, s);
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
void combine_statistics(const Layout& l, double* mean, double* m2) {
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

std::string algorithm(const Layout& l) { return l.fold > 1 ? "folded" : "columns"; }

Step plan_inference(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Layout l(c.in_shape(0));
    Step step;
    step.algorithm = algorithm(l);
    step.workspace = static_cast<std::size_t>(3 * l.columns) * sizeof(T);
    step.run = [l, eps = c.attrs().real("eps", 1e-5), x = c.in(0), gamma = c.in(1), beta = c.in(2), mean = c.in(3),
                var = c.in(4), y = c.out()](const RunContext& run) {
      const T *g = optional<T>(run, gamma), *b = optional<T>(run, beta);
      T* m = reinterpret_cast<T*>(run.workspace());
      T *scale = m + l.columns, *shift = scale + l.columns;
      for (std::int64_t i = 0; i < l.channels; ++i) {
        m[i] = run.data<T>(mean)[i];
        scale[i] = at_or(g, i, T(1)) / std::sqrt(run.data<T>(var)[i] + static_cast<T>(eps));
        shift[i] = at_or(b, i, T(0));
      }
      for (T* p : {m, scale, shift}) repeat(p, l);
      affine<T>(l, {run.data<T>(x), nullptr, run.data<T>(y), 0, 0, m, nullptr, scale, shift});
    };
    return step;
  });
}

template <class T>
void update_running(const Layout& l, const RunContext& run, int mean_id, int var_id, const double* mean,
                    const double* m2, double momentum, bool unbiased) {
  if (mean_id == kNone || !l.pixels) return;
  const auto n = static_cast<double>(unbiased ? std::max<std::int64_t>(1, l.pixels - 1) : l.pixels);
  T *running_mean = run.data<T>(mean_id), *running_var = run.data<T>(var_id);
  for (std::int64_t i = 0; i < l.channels; ++i) {
    running_mean[i] = static_cast<T>((1 - momentum) * running_mean[i] + momentum * mean[i]);
    running_var[i] = static_cast<T>((1 - momentum) * running_var[i] + momentum * m2[i] / n);
  }
}

Step plan_training(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Layout l(c.in_shape(0));
    Step step;
    step.algorithm = algorithm(l);
    step.scratch = SumScratch<T>::bytes(l);
    step.workspace = static_cast<std::size_t>(2 * l.chunks * l.channels) * sizeof(double) +
                     static_cast<std::size_t>(3 * l.columns) * sizeof(T);
    step.run = [l, eps = c.attrs().real("eps", 1e-5), momentum = c.attrs().real("momentum", 0.1),
                unbiased = c.attrs().boolean("unbiased", true), x = c.in(0), gamma = c.in(1), beta = c.in(2),
                running_mean = c.in(3), running_var = c.in(4), y = c.out(), mean_id = c.out(1), inv_id = c.out(2),
                var_id = c.out(3)](const RunContext& run) {
      auto* mean = reinterpret_cast<double*>(run.workspace());
      double* m2 = mean + l.chunks * l.channels;
      T* m = reinterpret_cast<T*>(m2 + l.chunks * l.channels);
      T *scale = m + l.columns, *shift = scale + l.columns;
      if (l.pixels) {
        parallel_for(l.chunks, [&](std::int64_t chunk, int thread) {
          SumScratch<T> s(run.scratch(thread), l);
          chunk_statistics<T>(l, chunk, run.data<T>(x), s, mean + chunk * l.channels, m2 + chunk * l.channels);
        });
        combine_statistics(l, mean, m2);
      } else {
        std::fill(mean, mean + 2 * l.chunks * l.channels, 0.0);
      }
      const T *g = optional<T>(run, gamma), *b = optional<T>(run, beta);
      const double n = static_cast<double>(std::max<std::int64_t>(1, l.pixels));
      for (std::int64_t i = 0; i < l.channels; ++i) {
        const double var = m2[i] / n, inv = 1 / std::sqrt(var + eps);
        run.data<T>(mean_id)[i] = m[i] = static_cast<T>(mean[i]);
        run.data<T>(inv_id)[i] = static_cast<T>(inv);
        run.data<T>(var_id)[i] = static_cast<T>(var);
        scale[i] = static_cast<T>(inv * static_cast<double>(at_or(g, i, T(1))));
        // What rounding took from the mean goes into the shift.
        shift[i] = static_cast<T>(static_cast<double>(at_or(b, i, T(0))) -
                                  (mean[i] - static_cast<double>(m[i])) * static_cast<double>(scale[i]));
      }
      update_running<T>(l, run, running_mean, running_var, mean, m2, momentum, unbiased);
      for (T* p : {m, scale, shift}) repeat(p, l);
      affine<T>(l, {run.data<T>(x), nullptr, run.data<T>(y), 0, 0, m, nullptr, scale, shift});
    };
    return step;
  });
}

// Sums over all pixels of dy and of dy * (x - mean), into `first` and `second` of the workspace's first chunk.
template <class T>
void gradient_sums(const Layout& l, const RunContext& run, const T* x, const T* dy, const T* mean, double* first,
                   double* second) {
  parallel_for(l.chunks, [&](std::int64_t chunk, int thread) {
    SumScratch<T> s(run.scratch(thread), l);
    std::copy(mean, mean + l.channels, s.shift);
    repeat(s.shift, l);
    sum_chunk<T>(l, chunk, x, dy, s.shift, s);
    std::copy(s.first, s.first + l.channels, first + chunk * l.channels);
    std::copy(s.second, s.second + l.channels, second + chunk * l.channels);
  });
  for (std::int64_t chunk = 1; chunk < l.chunks; ++chunk)
    for (std::int64_t i = 0; i < l.channels; ++i) {
      first[i] += first[chunk * l.channels + i];
      second[i] += second[chunk * l.channels + i];
    }
}

Step plan_training_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Layout l(c.in_shape(0));
    Step step;
    step.algorithm = algorithm(l);
    step.scratch = SumScratch<T>::bytes(l);
    step.workspace = static_cast<std::size_t>(2 * l.chunks * l.channels) * sizeof(double) +
                     static_cast<std::size_t>(4 * l.columns) * sizeof(T);
    step.run = [l, x = c.in(0), gamma = c.in(1), mean = c.in(2), inv_std = c.in(3), dy = c.in(4), dx = c.out(0),
                dgamma = c.out(1), dbeta = c.out(2)](const RunContext& run) {
      auto* first = reinterpret_cast<double*>(run.workspace());
      double* second = first + l.chunks * l.channels;
      T* m = reinterpret_cast<T*>(second + l.chunks * l.channels);
      T *a = m + l.columns, *b = a + l.columns, *shift = b + l.columns;
      gradient_sums<T>(l, run, run.data<T>(x), run.data<T>(dy), run.data<T>(mean), first, second);
      const T* g = optional<T>(run, gamma);
      const double n = static_cast<double>(std::max<std::int64_t>(1, l.pixels));
      for (std::int64_t i = 0; i < l.channels; ++i) {
        const double inv = run.data<T>(inv_std)[i], scale = inv * static_cast<double>(at_or(g, i, T(1)));
        run.data<T>(dgamma)[i] = static_cast<T>(second[i] * inv);
        run.data<T>(dbeta)[i] = static_cast<T>(first[i]);
        m[i] = run.data<T>(mean)[i];
        a[i] = static_cast<T>(scale);
        b[i] = static_cast<T>(-scale * inv * inv * second[i] / n);
        shift[i] = static_cast<T>(-scale * first[i] / n);
      }
      for (T* p : {m, a, b, shift}) repeat(p, l);
      affine<T>(l, {run.data<T>(x), run.data<T>(dy), run.data<T>(dx), 0, 0, m, a, b, shift});
    };
    return step;
  });
}

Step plan_inference_backward(PlanContext& c) {
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Layout l(c.in_shape(0));
    Step step;
    step.algorithm = algorithm(l);
    step.scratch = SumScratch<T>::bytes(l);
    step.workspace = static_cast<std::size_t>(2 * l.chunks * l.channels) * sizeof(double) +
                     static_cast<std::size_t>(2 * l.columns) * sizeof(T);
    step.run = [l, eps = c.attrs().real("eps", 1e-5), x = c.in(0), gamma = c.in(1), mean = c.in(2), var = c.in(3),
                dy = c.in(4), out = c.node().outputs](const RunContext& run) {
      auto* first = reinterpret_cast<double*>(run.workspace());
      double* second = first + l.chunks * l.channels;
      T* none = reinterpret_cast<T*>(second + l.chunks * l.channels);
      T* scale = none + l.columns;
      gradient_sums<T>(l, run, run.data<T>(x), run.data<T>(dy), run.data<T>(mean), first, second);
      const T* g = optional<T>(run, gamma);
      for (std::int64_t i = 0; i < l.channels; ++i) {
        const double inv = 1 / std::sqrt(static_cast<double>(run.data<T>(var)[i]) + eps);
        const double s = inv * static_cast<double>(at_or(g, i, T(1)));
        run.data<T>(out[1])[i] = static_cast<T>(second[i] * inv);
        run.data<T>(out[2])[i] = static_cast<T>(first[i]);
        run.data<T>(out[3])[i] = static_cast<T>(-first[i] * s);
        run.data<T>(out[4])[i] = static_cast<T>(-0.5 * second[i] * s * inv * inv);
        none[i] = 0;
        scale[i] = static_cast<T>(s);
      }
      for (T* p : {none, scale}) repeat(p, l);
      affine<T>(l, {run.data<T>(dy), nullptr, run.data<T>(out[0]), 0, 0, none, nullptr, scale, none});
    };
    return step;
  });
}

const RegisterCpu inference{"batch_norm_inference", plan_inference};
const RegisterCpu training{"batch_norm_training", plan_training};
const RegisterCpu training_backward{"batch_norm_training_backward", plan_training_backward};
const RegisterCpu inference_backward{"batch_norm_inference_backward", plan_inference_backward};

}  // namespace
}  // namespace fastconv::cpu
