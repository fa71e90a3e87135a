// Rows of arrays, gathered by several threads.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fastconv::cpu {

// y[i] = x[indices[i]], rows of so many bytes. Negative indices count from the end of x's `rows`; throws Error for one
// out of range.
void gather_rows(const std::byte* x, std::int64_t rows, std::int64_t bytes, const std::int64_t* indices,
                 std::int64_t count, std::byte* y);

}  // namespace fastconv::cpu
