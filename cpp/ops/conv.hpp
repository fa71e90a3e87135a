// The geometry of a convolution, read from a node by every backend.
#pragma once
#include "graph/graph.hpp"

namespace fastconv {

// Always that of the forward convolution: x (n, h, w, c) -> y (n, oh, ow, k).
struct ConvGeometry {
  std::int64_t n = 0, h = 0, w = 0, c = 0;
  std::int64_t kh = 0, kw = 0;
  std::int64_t oh = 0, ow = 0, k = 0;
  std::int64_t groups = 1;
  std::int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;

  double flops() const {
    return 2.0 * static_cast<double>(n) * static_cast<double>(oh * ow) * static_cast<double>(kh * kw) *
           static_cast<double>(c / groups) * static_cast<double>(k);
  }
};

// x, w and y are the shapes of the forward convolution's input, HWIO weight and output.
ConvGeometry conv_geometry(const Attrs& attrs, const Shape& x, const Shape& w, const Shape& y);

// The attributes of conv2d_depthwise's first convolution: those that begin with "expand_", without that.
Attrs expansion_attrs(const Attrs& attrs);

}  // namespace fastconv
