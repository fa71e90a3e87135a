// Matrix products: b is packed into panels as convolution weights are, and the conv_row kernel runs over rows of a.
#include <algorithm>
#include <type_traits>

#include "backend/cpu/conv.hpp"
#include "ops/shapes.hpp"

namespace fastconv::cpu {
namespace {

constexpr std::int64_t kRows = 84;                     // of a piece: a multiple of the tiles of 6, 7 and 14
constexpr std::int64_t kWork = std::int64_t{1} << 18;  // products of a piece, at least

// A stack of products (rows x k) (k x columns); for each which matrix of a and of b it takes.
struct Product {
  std::int64_t rows = 1, k = 0, columns = 1, count = 1;
  std::vector<std::int64_t> a, b;
  std::int64_t b_count = 1;

  Product(const Shape& sa, const Shape& sb) {
    const std::size_t ra = sa.size(), rb = sb.size();
    k = sa.back();
    if (ra > 1) rows = sa[ra - 2];
    if (rb > 1) columns = sb.back();
    const Shape batch_a(sa.begin(), sa.end() - std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(ra)));
    const Shape batch_b(sb.begin(), sb.end() - std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(rb)));
    const std::size_t rank = std::max(batch_a.size(), batch_b.size());
    // Strides in matrices, 0 where broadcast.
    Shape size(rank, 1);
    Ints step_a(rank, 0), step_b(rank, 0);
    std::int64_t na = 1, nb = 1;
    for (std::size_t i = 0; i < rank; ++i) {
      const std::int64_t da = i < batch_a.size() ? batch_a[batch_a.size() - 1 - i] : 1;
      const std::int64_t db = i < batch_b.size() ? batch_b[batch_b.size() - 1 - i] : 1;
      const std::size_t at = rank - 1 - i;
      size[at] = da == 1 ? db : da;
      step_a[at] = da == 1 ? 0 : na;
      step_b[at] = db == 1 ? 0 : nb;
      na *= da, nb *= db;
    }
    b_count = nb;
    count = product(size, 0, rank);
    // One b for all and a dense stack of a: one tall product.
    if (nb == 1 && na == count) {
      rows *= count, count = 1, a = b = {0};
      return;
    }
    if (count > kMostPlanned)
      throw Error("matmul: " + std::to_string(count) + " products, expected at most " + std::to_string(kMostPlanned));
    for (std::int64_t i = 0; i < count; ++i) {
      std::int64_t rest = i, at_a = 0, at_b = 0;
      for (std::size_t d = rank; d-- > 0; rest /= size[d]) {
        at_a += rest % size[d] * step_a[d];
        at_b += rest % size[d] * step_b[d];
      }
      a.push_back(at_a), b.push_back(at_b);
    }
  }
};

template <class T>
Step plan_panels(PlanContext& c, Product p) {
  const KernelTable<T>& table = kernels<T>();
  const auto blocks = channel_blocks(p.columns, table.width, table.tile_vectors);
  const auto n = static_cast<std::int64_t>(blocks.size());
  const std::int64_t panel = round_up(p.columns, table.width) * p.k;  // of one matrix
  const int slot = c.pack(
      {c.in(1), static_cast<std::size_t>(num_elements({p.b_count, std::max<std::int64_t>(panel, 1)})) * sizeof(T),
       [=](const void* from, const void*, void* to) {
         parallel_for(p.b_count * n, [&](std::int64_t piece, int) {
           const ChannelBlock& b = blocks[static_cast<std::size_t>(piece % n)];
           const T* f = static_cast<const T*>(from) + piece / n * p.k * p.columns + b.channel;
           T* t = static_cast<T*>(to) + piece / n * panel + b.packed * table.width * p.k;
           const std::int64_t columns = std::int64_t{b.vectors} * table.width;
           for (std::int64_t r = 0; r < p.k; ++r, f += p.columns, t += columns) {
             std::copy_n(f, b.channels, t);
             std::fill(t + b.channels, t + columns, T(0));
           }
         });
       },
       "matmul " + join({static_cast<std::int64_t>(sizeof(T)), p.b_count, p.k, p.columns})});
  // A piece takes some rows and some blocks of columns; its size depends on the shape alone.
  const std::int64_t rows = std::clamp<std::int64_t>(kRows, 1, p.rows), row_pieces = ceil_div(p.rows, rows);
  const std::int64_t block_work = std::max<std::int64_t>(rows * p.k * table.width * table.tile_vectors, 1);
  const std::int64_t together = std::clamp<std::int64_t>(kWork / block_work, 1, n),
                     column_pieces = ceil_div(n, together);
  Step step;
  step.algorithm = "panels";
  step.flops = 2.0 * static_cast<double>(p.count) * static_cast<double>(p.rows) * static_cast<double>(p.k) *
               static_cast<double>(p.columns);
  step.run = [=, &table, strict = c.options().strict, a_id = c.in(0), y_id = c.out()](const RunContext& run) {
    const T *a = run.data<const T>(a_id), *packed = run.packed<T>(slot);
    T* y = run.data<T>(y_id);
    parallel_for(p.count * row_pieces * column_pieces, [&](std::int64_t piece, int) {
      const std::int64_t first_block = piece % column_pieces * together;
      const std::int64_t first = piece / column_pieces % row_pieces * rows;
      const auto i = static_cast<std::size_t>(piece / column_pieces / row_pieces);
      ConvRowArgs<T> args{};
      args.x = a + (p.a[i] * p.rows + first) * p.k;
      args.x_pixel = p.k;
      args.taps_h = args.taps_w = 1;
      args.run = p.k;
      args.y_pixel = p.columns;
      args.pixels = std::min(rows, p.rows - first);
      for (std::int64_t b = first_block; b < std::min(n, first_block + together); ++b) {
        const ChannelBlock& block = blocks[static_cast<std::size_t>(b)];
        args.vectors = block.vectors, args.channels = block.channels;
        args.w = packed + p.b[i] * panel + block.packed * table.width * p.k;
        args.y = y + (static_cast<std::int64_t>(i) * p.rows + first) * p.columns + block.channel;
        if (strict)
          conv_row_in_blocks(args);
        else
          table.conv_row(args);
      }
    });
  };
  return step;
}

// Integers wrap around.
template <class T>
Step plan_integers(PlanContext& c, Product p) {
  using U = std::make_unsigned_t<T>;
  using Wide = std::conditional_t<(sizeof(U) < 4), std::uint32_t, U>;  // no promotion to int, which may overflow
  Step step;
  step.algorithm = "rows";
  step.flops = 2.0 * static_cast<double>(p.count) * static_cast<double>(p.rows) * static_cast<double>(p.k) *
               static_cast<double>(p.columns);
  const std::int64_t grain = std::max<std::int64_t>(1, kWork / std::max<std::int64_t>(1, p.k * p.columns));
  step.run = [=, a_id = c.in(0), b_id = c.in(1), y_id = c.out()](const RunContext& run) {
    const auto *a = run.data<const U>(a_id), *b = run.data<const U>(b_id);
    U* y = run.data<U>(y_id);
    parallel_range(p.count * p.rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        const auto i = static_cast<std::size_t>(r / p.rows);
        const U* row = a + (p.a[i] * p.rows + r % p.rows) * p.k;
        U* to = y + r * p.columns;
        std::fill_n(to, p.columns, U(0));
        for (std::int64_t k = 0; k < p.k; ++k) {
          const U* from = b + (p.b[i] * p.k + k) * p.columns;
          const auto factor = static_cast<Wide>(row[k]);
          for (std::int64_t j = 0; j < p.columns; ++j) to[j] = static_cast<U>(to[j] + factor * from[j]);
        }
      }
    });
  };
  return step;
}

Step plan_matmul(PlanContext& c) {
  if (c.out_type().size() == 0) {
    Step step;
    step.algorithm = "empty";
    step.run = [](const RunContext&) {};
    return step;
  }
  const Product p(c.in_shape(0), c.in_shape(1));
  return visit(c.dtype(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_floating_point_v<T>)
      return plan_panels<T>(c, p);
    else if constexpr (!std::is_integral_v<T>)
      return {};
    else
      return plan_integers<T>(c, p);
  });
}

const RegisterCpu matmul_step{"matmul", plan_matmul};

}  // namespace
}  // namespace fastconv::cpu
