"""Plain float64 NumPy code of every operator and its gradient.

Written to be obviously right, not fast: one loop over window positions or kernel elements, no
shared tricks with the C++ core. All arrays are NCHW with a batch axis; padding is
((top, bottom), (left, right)).
"""

from .convolution import (
    conv2d,
    conv2d_backward,
    conv_transpose2d,
    conv_transpose2d_backward,
    linear,
    linear_backward,
)
from .elementwise import ACTIVATIONS, softmax_family
from .loss import cross_entropy, cross_entropy_backward
from .normalization import (
    batch_norm,
    batch_norm_backward,
    local_response_norm,
    local_response_norm_backward,
)
from .padding import pad, pad_backward, pad_indices
from .pooling import (
    adaptive_windows,
    avg_pool,
    avg_pool_backward,
    lp_pool,
    lp_pool_backward,
    max_pool,
    max_pool_backward,
    pool_windows,
)

__all__ = [
    "ACTIVATIONS",
    "adaptive_windows",
    "avg_pool",
    "avg_pool_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv2d",
    "conv2d_backward",
    "conv_transpose2d",
    "conv_transpose2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "lp_pool",
    "lp_pool_backward",
    "max_pool",
    "max_pool_backward",
    "pad",
    "pad_backward",
    "pad_indices",
    "pool_windows",
    "softmax_family",
]
