"""One list of operator calls that serves parity, gradient, thread and layout tests.

A case names the operator, the arrays it is differentiated to and its other arguments, all under
PyTorch's names, so the same call runs on both libraries.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Case:
    name: str
    arrays: dict[str, tuple[int, ...]]
    arguments: dict = field(default_factory=dict)
    positive: bool = False

    @property
    def id(self) -> str:
        shapes = "_".join("x".join(map(str, s)) for s in self.arrays.values())
        rest = "-".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"{self.name}-{shapes}-{rest}".replace(" ", "")

    def make(self, dtype, seed: int = 0) -> dict:
        """The differentiable arrays, standard normal."""
        rng = np.random.default_rng(seed)
        made = {k: np.asarray(rng.standard_normal(s)).astype(dtype) for k, s in self.arrays.items()}
        if self.positive:
            made = {k: abs(a) + dtype(0.1) for k, a in made.items()}
        return made


def _conv(x, w, bias=True, name="conv2d", **arguments):
    arrays = {"input": x, "weight": w}
    if bias:
        groups = arguments.get("groups", 1) if name == "conv_transpose2d" else 1
        arrays["bias"] = (w[1] * groups if name == "conv_transpose2d" else w[0],)
    return Case(name, arrays, arguments)


def _plain(name, *shape, **arguments):
    return Case(name, {"input": shape}, arguments)


CONVOLUTION = [
    _conv((2, 3, 9, 8), (5, 3, 3, 3)),
    _conv((2, 16, 12, 12), (32, 16, 3, 3), padding=1),
    _conv((1, 64, 14, 14), (64, 64, 3, 3), padding=1),
    _conv((2, 64, 7, 7), (33, 64, 1, 1), bias=False),
    _conv((1, 3, 31, 29), (16, 3, 7, 7), stride=2, padding=3),
    _conv((3, 6, 10, 11), (9, 2, 3, 2), groups=3, stride=(2, 1), dilation=(1, 3)),
    _conv((2, 17, 13, 13), (17, 1, 3, 3), groups=17, padding=1),
    _conv((2, 8, 9, 9), (24, 1, 5, 5), groups=8, padding=2, stride=2),
    _conv((2, 4, 8, 8), (6, 4, 4, 4), padding="same", dilation=2),
    _conv((2, 4, 8, 8), (6, 4, 4, 4), padding="valid"),
    _conv((3, 9, 9), (2, 3, 3, 3)),
    _conv((2, 4, 20), (6, 2, 5), name="conv1d", groups=2, stride=2, padding=3, dilation=2),
    _conv((4, 20), (6, 4, 4), name="conv1d", padding="same"),
    _conv((2, 6, 5, 7), (6, 4, 3, 3), name="conv_transpose2d", stride=2, padding=1),
    _conv(
        (2, 6, 5, 4),
        (6, 2, 3, 2),
        name="conv_transpose2d",
        stride=(3, 2),
        padding=(1, 0),
        output_padding=(2, 1),
        groups=3,
        dilation=(2, 1),
    ),
    _conv((3, 5, 5), (3, 4, 2, 2), name="conv_transpose2d", output_padding=1, dilation=3),
    _conv((5, 40), (7, 40), name="linear"),
    _conv((2, 3, 17), (33, 17), name="linear", bias=False),
    _conv((8,), (3, 8), name="linear"),
]
POOLING = [
    _plain("max_pool2d", 2, 3, 9, 8, kernel_size=2),
    _plain("max_pool2d", 2, 17, 9, 8, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    _plain("max_pool2d", 3, 12, 12, kernel_size=(3, 2), stride=(1, 2), dilation=(2, 3)),
    _plain("avg_pool2d", 2, 3, 9, 8, kernel_size=2),
    _plain("avg_pool2d", 2, 17, 9, 8, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    _plain("avg_pool2d", 2, 3, 7, 7, kernel_size=3, stride=2, padding=1, count_include_pad=False),
    _plain(
        "avg_pool2d",
        *(2, 3, 8, 8),
        kernel_size=3,
        stride=2,
        padding=(1, 0),
        ceil_mode=True,
        count_include_pad=False,
    ),
    _plain("avg_pool2d", 3, 8, 8, kernel_size=(3, 2), divisor_override=5),
    _plain("avg_pool2d", 3, 8, 8, kernel_size=(3, 2), divisor_override=-2),
    _plain("adaptive_avg_pool2d", 2, 3, 7, 10, output_size=1),
    _plain("adaptive_avg_pool2d", 2, 17, 7, 10, output_size=(3, 4)),
    _plain("adaptive_avg_pool2d", 3, 7, 10, output_size=(None, 13)),
    _plain("adaptive_max_pool2d", 2, 17, 7, 10, output_size=(3, 4)),
    _plain("adaptive_max_pool2d", 2, 3, 7, 10, output_size=1),
    _plain("lp_pool2d", 2, 3, 7, 7, norm_type=2, kernel_size=3, stride=2, ceil_mode=True),
    Case(
        "lp_pool2d",
        {"input": (2, 3, 7, 7)},
        {"norm_type": 3, "kernel_size": (2, 3), "ceil_mode": True},
        positive=True,
    ),
]
OTHERS = [
    _plain("local_response_norm", 2, 9, 5, 4, size=5, alpha=0.3, beta=0.75, k=2.0),
    _plain("local_response_norm", 2, 4, 6, size=4),
    *[
        _plain(name, 3, 5, 7)
        for name in (
            "relu",
            "leaky_relu",
            "sigmoid",
            "tanh",
            "elu",
            "gelu",
            "silu",
            "hardswish",
            "hardsigmoid",
            "softplus",
        )
    ],
    _plain("leaky_relu", 40, negative_slope=0.3),
    _plain("elu", 40, alpha=2.5),
    _plain("gelu", 40, approximate="tanh"),
    _plain("softplus", 40, beta=2.0, threshold=1.0),
    _plain("softmax", 2, 5, 3, dim=1),
    _plain("softmax", 4, 33, dim=-1),
    _plain("log_softmax", 2, 5, 3, dim=1),
    _plain("log_softmax", 33, dim=0),
    _plain("pad", 2, 3, 4, pad=(1, 2), value=1.5),
    _plain("pad", 2, 3, 4, pad=(-1, 2, 1, -2)),
    _plain("pad", 2, 3, 4, 5, pad=(1, 2, 3, 0), mode="reflect"),
    _plain("pad", 2, 3, 4, 5, pad=(7, 2, 3, 0), mode="replicate"),
    _plain("pad", 2, 3, 4, 5, pad=(5, 2, 3, 0), mode="circular"),
]
CASES = CONVOLUTION + POOLING + OTHERS
