"""Names, order and defaults of every function, as the public interface lists them."""

import inspect

import pytest

from fastconv import functional as F

_CONV = (
    "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, padding_mode='zeros'"
)
_CONV_BACKWARD = "grad_output, input, weight, stride=1, padding=0, dilation=1, groups=1"
_MAX_POOL = "input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False"
_AVG_POOL = (
    "input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,"
    " divisor_override=None"
)
_LP_POOL = "input, norm_type, kernel_size, stride=None, ceil_mode=False"
_ENTROPY = "input, target, weight=None, ignore_index=-100, reduction='mean', label_smoothing=0.0"
TABLE = {
    "conv1d": _CONV,
    "conv2d": _CONV,
    "conv1d_backward": _CONV_BACKWARD,
    "conv2d_backward": _CONV_BACKWARD,
    "conv_transpose2d": (
        "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1"
    ),
    "conv_transpose2d_backward": (
        "grad_output, input, weight, stride=1, padding=0, output_padding=0, groups=1, dilation=1"
    ),
    "max_pool2d": f"{_MAX_POOL}, return_indices=False",
    "max_pool2d_backward": f"grad_output, {_MAX_POOL}",
    "avg_pool2d": _AVG_POOL,
    "avg_pool2d_backward": f"grad_output, {_AVG_POOL}",
    "lp_pool2d": _LP_POOL,
    "lp_pool2d_backward": f"grad_output, {_LP_POOL}",
    "adaptive_avg_pool2d": "input, output_size",
    "adaptive_avg_pool2d_backward": "grad_output, input, output_size",
    "adaptive_max_pool2d": "input, output_size, return_indices=False",
    "adaptive_max_pool2d_backward": "grad_output, input, output_size",
    "batch_norm": (
        "input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1,"
        " eps=1e-5"
    ),
    "batch_norm_backward": (
        "grad_output, input, weight, running_mean, running_var, training=False, eps=1e-5"
    ),
    "local_response_norm": "input, size, alpha=1e-4, beta=0.75, k=1.0",
    "local_response_norm_backward": "grad_output, input, size, alpha=1e-4, beta=0.75, k=1.0",
    "linear": "input, weight, bias=None",
    "linear_backward": "grad_output, input, weight",
    "relu": "input",
    "leaky_relu": "input, negative_slope=0.01",
    "sigmoid": "input",
    "tanh": "input",
    "elu": "input, alpha=1.0",
    "gelu": "input, approximate='none'",
    "silu": "input",
    "hardswish": "input",
    "hardsigmoid": "input",
    "softplus": "input, beta=1.0, threshold=20.0",
    "softmax": "input, dim",
    "log_softmax": "input, dim",
    "cross_entropy": _ENTROPY,
    "cross_entropy_backward": f"grad_output, {_ENTROPY}",
    "pad": "input, pad, mode='constant', value=0",
    "dropout": "input, p=0.5, training=True, seed=None",
    "dropout_backward": "grad_output, input, p, training, seed",
}
for _name in (
    *("relu", "leaky_relu", "sigmoid", "tanh", "elu", "gelu", "silu", "hardswish"),
    *("hardsigmoid", "softplus", "softmax", "log_softmax", "pad"),
):
    TABLE[f"{_name}_backward"] = f"grad_output, {TABLE[_name]}"


def _described(signature):
    return [(p.name, p.default, p.kind) for p in signature.parameters.values()]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_signature(name):
    wanted = inspect.signature(eval(f"lambda {TABLE[name]}: None"))
    assert _described(inspect.signature(getattr(F, name))) == _described(wanted)


def test_nothing_else_is_public():
    assert sorted(F.__all__) == sorted(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_documented(name):
    assert len(inspect.getdoc(getattr(F, name))) > 10
