// Arguments of the kernels. Distances ("step", "stride") are in elements. A family of kernels has its own header.
#pragma once
#include "kernels/conv_args.hpp"
#include "kernels/pool_args.hpp"
#include "kernels/norm_args.hpp"
#include "kernels/softmax_args.hpp"
