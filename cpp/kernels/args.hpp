// Arguments of the kernels. Distances ("step", "stride") are in elements. A family of kernels has its own header.
#pragma once
#include "kernels/conv_args.hpp"
#include "kernels/elementwise_args.hpp"
#include "kernels/norm_args.hpp"
#include "kernels/optimizer_args.hpp"
#include "kernels/peak_args.hpp"
#include "kernels/pool_args.hpp"
#include "kernels/reduce_args.hpp"
#include "kernels/shape_args.hpp"
#include "kernels/softmax_args.hpp"
#include "kernels/strassen_args.hpp"
#include "kernels/winograd_args.hpp"
