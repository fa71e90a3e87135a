// Layer normalization along rows, and group normalization of NHWC images.
#include <limits>

#include "backend/cpu/columns.hpp"

namespace fastconv::cpu {
namespace {

using namespace columns;

// Where element i of the normalized axes finds its gamma or beta; empty when that is i.
std::vector<std::int64_t> broadcast_source(const Shape& from, const Shape& to) {
  if (product(from, 0, from.size()) == product(to, 0, to.size())) return {};
  std::vector<std::int64_t> source(static_cast<std::size_t>(product(to, 0, to.size())));
  for (std::size_t i = 0; i < source.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::int64_t step = 1;
    for (std::size_t d = 0; d < from.size(); ++d) {
      const std::int64_t n = to[to.size() - 1 - d], mine = from[from.size() - 1 - d];
      if (mine != 1) source[i] += rest % n * step;
      step *= mine;
      rest /= n;
    }
  }
  return source;
}

Step plan_layer_norm(PlanContext& c) {
  const Shape& x = c.in_shape(0);
  const std::int64_t given = c.attrs().integer("axis", -1);
  const std::size_t axis = static_cast<std::size_t>(given < 0 ? given + static_cast<std::int64_t>(x.size()) : given);
  const std::int64_t rows = product(x, 0, axis), n = product(x, axis, x.size());
  const Shape normalized(x.begin() + static_cast<std::ptrdiff_t>(axis), x.end());
  std::vector<std::int64_t> source[2];
  for (std::size_t i = 0; i < 2; ++i)
    if (c.has(i + 1)) source[i] = broadcast_source(c.in_shape(i + 1), normalized);
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    Step step;
    step.algorithm = "rows";
    step.flops = 8.0 * static_cast<double>(rows) * static_cast<double>(n);
    step.workspace = (source[0].size() + source[1].size()) * sizeof(T);
    step.run = [=, gamma_source = source[0], beta_source = source[1], epsilon = c.attrs().real("epsilon", 1e-5),
                x_id = c.in(0), gamma_id = c.in(1), beta_id = c.in(2), y_id = c.out(0), mean_id = c.out(1),
                inv_id = c.out(2)](const RunContext& run) {
      T *mean = run.data<T>(mean_id), *inv = run.data<T>(inv_id);
      if (n == 0) {
        for (T* p : {mean, inv}) std::fill_n(p, rows, std::numeric_limits<T>::quiet_NaN());
        return;
      }
      T* free = reinterpret_cast<T*>(run.workspace());
      const auto spread = [&free](const T* from, const std::vector<std::int64_t>& source) -> const T* {
        if (!from || source.empty()) return from;
        T* to = free;
        for (std::int64_t i : source) *free++ = from[i];
        return to;
      };
      const T* gamma = spread(optional<T>(run, gamma_id), gamma_source);
      const T* beta = spread(optional<T>(run, beta_id), beta_source);
      const T* x = run.data<T>(x_id);
      T* y = run.data<T>(y_id);
      parallel_range(rows, std::max<std::int64_t>(1, kGrain / n), [&](std::int64_t begin, std::int64_t end, int) {
        kernels<T>().row_norm(
            {x + begin * n, y + begin * n, gamma, beta, mean + begin, inv + begin, end - begin, n, epsilon});
      });
    };
    return step;
  });
}

// The channels' means and squared deviations, joined into the groups', and the affine map that they give.
template <class T>
void group_parameters(const Layout& l, std::int64_t groups, double epsilon, const double* mean, const double* m2,
                      const T* gamma, const T* beta, T* centre, T* scale, T* shift) {
  const std::int64_t n = l.channels / groups;
  const auto pixels = static_cast<double>(l.pixels), width = static_cast<double>(n);
  for (std::int64_t first = 0; first < l.channels; first += n) {
    double of_group = 0, squares = 0;
    for (std::int64_t c = first; c < first + n; ++c) of_group += mean[c] / width;
    for (std::int64_t c = first; c < first + n; ++c) {
      const double d = mean[c] - of_group;
      squares += m2[c] + pixels * d * d;
    }
    const double inv = 1 / std::sqrt(squares / (pixels * width) + epsilon);
    for (std::int64_t c = first; c < first + n; ++c) {
      centre[c] = static_cast<T>(of_group);
      scale[c] = static_cast<T>(inv * static_cast<double>(at_or(gamma, c, T(1))));
      // What rounding took from the mean goes into the shift.
      shift[c] = static_cast<T>(static_cast<double>(at_or(beta, c, T(0))) -
                                (of_group - static_cast<double>(centre[c])) * static_cast<double>(scale[c]));
    }
  }
  for (T* p : {centre, scale, shift}) repeat(p, l);
}

Step plan_group_norm(PlanContext& c) {
  const Shape& x = c.in_shape(0);
  const Layout l(Shape(x.begin() + 1, x.end()));  // of one image
  const std::int64_t images = x[0], size = l.pixels * l.channels, groups = c.attrs().integer("groups");
  return by_dtype(c.dtype(), [&](auto zero) {
    using T = decltype(zero);
    Step step;
    step.algorithm = algorithm(l);
    step.flops = 8.0 * static_cast<double>(images) * static_cast<double>(size);
    if (images * size == 0) {
      step.run = [](const RunContext&) {};
      return step;
    }
    const std::int64_t sums = l.chunks * l.channels;
    step.scratch = SumScratch<T>::bytes(l);
    step.workspace = static_cast<std::size_t>(images * 2 * sums) * sizeof(double) +
                     static_cast<std::size_t>(images * 3 * l.columns) * sizeof(T);
    step.run = [=, epsilon = c.attrs().real("epsilon", 1e-5), x_id = c.in(0), gamma_id = c.in(1), beta_id = c.in(2),
                y_id = c.out()](const RunContext& run) {
      const T* x = run.data<T>(x_id);
      T* y = run.data<T>(y_id);
      auto* mean = reinterpret_cast<double*>(run.workspace());
      double* m2 = mean + images * sums;
      T* centre = reinterpret_cast<T*>(m2 + images * sums);
      T *scale = centre + images * l.columns, *shift = scale + images * l.columns;
      parallel_for(images * l.chunks, [&](std::int64_t piece, int thread) {
        SumScratch<T> s(run.scratch(thread), l);
        chunk_statistics<T>(l, piece % l.chunks, x + piece / l.chunks * size, s, mean + piece * l.channels,
                            m2 + piece * l.channels);
      });
      const T *gamma = optional<T>(run, gamma_id), *beta = optional<T>(run, beta_id);
      parallel_range(images, std::max<std::int64_t>(1, kGrain / 8 / sums), [&](auto begin, auto end, int) {
        for (std::int64_t i = begin; i < end; ++i) {
          combine_statistics(l, mean + i * sums, m2 + i * sums);
          const std::int64_t at = i * l.columns;
          group_parameters<T>(l, groups, epsilon, mean + i * sums, m2 + i * sums, gamma, beta, centre + at, scale + at,
                              shift + at);
        }
      });
      parallel_for(images * l.pieces, [&](std::int64_t piece, int) {
        const std::int64_t i = piece / l.pieces;
        for_rows(l, piece % l.pieces, l.piece_rows, l.pieces, [&](std::int64_t at, std::int64_t rows, std::int64_t n) {
          kernels<T>().column_affine({x + i * size + at, nullptr, y + i * size + at, rows, n, centre + i * l.columns,
                                      nullptr, scale + i * l.columns, shift + i * l.columns});
        });
      });
    };
    return step;
  });
}

const RegisterCpu layer_norm_step{"layer_norm", plan_layer_norm};
const RegisterCpu group_norm_step{"group_norm", plan_group_norm};

}  // namespace
}  // namespace fastconv::cpu
