// Concat without copies: along the last axis its inputs are written straight into rows of its output where the
// operators that compute and read them can do that. A concat of what lies side by side in a later one is a part of it.
#pragma once
#include <cstdint>
#include <vector>

#include "backend/backend.hpp"

namespace fastconv {

Placement place_concats(const Graph& graph, const std::vector<int>& outputs, const std::vector<bool>& stable,
                        const Backend& backend);

}  // namespace fastconv
