"""Operators on single elements, normalization, reductions and softmax as ONNX nodes.

They take their inputs with the axes in any order, so they keep the one of the convolution before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.onnx.export_convolution import reduce
from fastconv.onnx.export_writer import Context, Value, channels_first, identity, operator

if TYPE_CHECKING:
    from fastconv._types import TensorLike

_UNARY = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "selu": "Selu",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "sign": "Sign",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "erf": "Erf",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "atan": "Atan",
    "isnan": "IsNaN",
    "isinf": "IsInf",
    "logical_not": "Not",
}


def _unary(c: Context, write: Callable[..., Any]) -> None:
    name, order = c.w.held(c.inputs[0])
    c.set(write(name), order)


@operator(*_UNARY)
def _plain(c: Context) -> None:
    _unary(c, lambda x: c.emit(_UNARY[c.node.op], [x]))


@operator("identity")
def _identity(c: Context) -> None:
    c.same()


@operator("leaky_relu")
def _leaky_relu(c: Context) -> None:
    _unary(c, lambda x: c.emit("LeakyRelu", [x], alpha=float(c.get("alpha", 0.01))))


@operator("elu")
def _elu(c: Context) -> None:
    _unary(c, lambda x: c.emit("Elu", [x], alpha=float(c.get("alpha", 1.0))))


@operator("celu")
def _celu(c: Context) -> None:
    _unary(c, lambda x: c.emit("Celu", [x], alpha=float(c.get("alpha", 1.0))))


@operator("thresholded_relu")
def _thresholded_relu(c: Context) -> None:
    _unary(c, lambda x: c.emit("ThresholdedRelu", [x], alpha=float(c.get("alpha", 1.0))))


@operator("hard_sigmoid")
def _hard_sigmoid(c: Context) -> None:
    attrs = {"alpha": float(c.get("alpha", 1 / 6)), "beta": float(c.get("beta", 0.5))}
    _unary(c, lambda x: c.emit("HardSigmoid", [x], **attrs))


@operator("hard_swish")
def _hard_swish(c: Context) -> None:
    if c.w.opset >= 14:
        _unary(c, lambda x: c.emit("HardSwish", [x]))
    else:
        _unary(c, lambda x: c.emit("Mul", [x, c.emit("HardSigmoid", [x], alpha=1 / 6, beta=0.5)]))


@operator("silu")
def _silu(c: Context) -> None:
    _unary(c, lambda x: c.emit("Mul", [x, c.emit("Sigmoid", [x])]))


@operator("mish")
def _mish(c: Context) -> None:
    if c.w.opset >= 18:
        _unary(c, lambda x: c.emit("Mish", [x]))
    else:
        _unary(c, lambda x: c.emit("Mul", [x, c.emit("Tanh", [c.emit("Softplus", [x])])]))


@operator("gelu")
def _gelu(c: Context) -> None:
    approximate = c.get("approximate", "none")

    def write(x: TensorLike) -> Any:
        if c.w.opset >= 20:
            return c.emit("Gelu", [x], approximate=approximate)
        half, one = c.w.number(0.5, c.dtype), c.w.number(1.0, c.dtype)
        if approximate == "tanh":
            cube = c.emit("Mul", [c.emit("Mul", [x, x]), x])
            inner = c.emit("Add", [x, c.emit("Mul", [cube, c.w.number(0.044715, c.dtype)])])
            scaled = c.emit("Mul", [inner, c.w.number(math.sqrt(2 / math.pi), c.dtype)])
            bend = c.emit("Tanh", [scaled])
        else:
            bend = c.emit("Erf", [c.emit("Mul", [x, c.w.number(math.sqrt(0.5), c.dtype)])])
        return c.emit("Mul", [c.emit("Mul", [x, half]), c.emit("Add", [bend, one])])

    _unary(c, write)


@operator("rsqrt")
def _rsqrt(c: Context) -> None:
    _unary(c, lambda x: c.emit("Reciprocal", [c.emit("Sqrt", [x])]))


@operator("square")
def _square(c: Context) -> None:
    _unary(c, lambda x: c.emit("Mul", [x, x]))


@operator("scale")
def _scale(c: Context) -> None:
    alpha, beta = float(c.get("alpha", 1.0)), float(c.get("beta", 0.0))
    if (alpha, beta) == (1.0, 0.0):
        c.same()
        return

    def write(x: TensorLike) -> Any:
        if alpha != 1.0:
            x = c.emit("Mul", [x, c.w.number(alpha, c.dtype)])
        return x if beta == 0.0 else c.emit("Add", [x, c.w.number(beta, c.dtype)])

    _unary(c, write)


@operator("clip")
def _clip(c: Context) -> None:
    low, high = float(c.get("min", -math.inf)), float(c.get("max", math.inf))
    bounds = ["" if math.isinf(v) else c.w.number(v, c.dtype) for v in (low, high)]
    _unary(c, lambda x: c.emit("Clip", [x, *bounds] if bounds[1] else [x, bounds[0]]))


@operator("cast")
def _cast(c: Context) -> None:
    from onnx import helper

    to = helper.np_dtype_to_tensor_dtype(np.dtype(c.dtype))
    _unary(c, lambda x: c.emit("Cast", [x], to=to))


# Several inputs

_BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "pow": "Pow",
    "prelu": "PRelu",
    "where": "Where",
}
_COMPARE = {
    "eq": "Equal",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "lt": "Less",
}


def _full_rank(c: Context, value: Value, rank: int) -> Value:
    """Return the value with axes of size 1 in front."""
    missing = rank - value.rank
    if not missing or value.rank == 0:
        return value
    shapes = [(1,) * missing + shape for shape in value.shapes]
    if value.array is not None:
        return Value(shapes, value.dtype, value.array.reshape(shapes[0]), value.hint)
    wide = Value(shapes, value.dtype)
    source = c.w.want(value)
    wide.tensors[identity(rank)] = c.emit("Unsqueeze", [source, c.w.ints(range(missing))])
    return wide


def align(c: Context, values: list[Value], rank: int, broadcast: bool = True) -> Any:
    """Return tensors of all values with their axes in one order, and that order."""
    if broadcast:
        values = [_full_rank(c, v, rank) for v in values]
    computed = [v for v in values if v.array is None and v.rank == rank]
    order = identity(rank)
    if computed:  # the largest one stays as it is
        order = max(computed, key=lambda v: math.prod(v.shapes[0])).order
    return [c.w.want(v, order if v.rank == rank else None) for v in values], order


@operator(*_BINARY, "compare", "logical", "mod")
def _broadcasting(c: Context) -> None:
    attrs = {}
    if c.node.op == "compare":
        kind = c.get("kind")
        op = _COMPARE.get(kind, "Equal")
    elif c.node.op == "logical":
        op = {"and": "And", "or": "Or", "xor": "Xor"}[c.get("kind")]
    elif c.node.op == "mod":
        op, attrs = "Mod", {"fmod": 1 if c.get("fmod", False) else 0}
        if c.dtype.startswith("float") and not attrs["fmod"]:
            raise c.fail("ONNX has the remainder of floats with the dividend's sign only")
    else:
        op = _BINARY[c.node.op]
    names, order = align(c, c.inputs, len(c.shapes()[0]))
    name = c.emit(op, names, **attrs)
    if c.node.op == "compare" and c.get("kind") == "ne":
        name = c.emit("Not", [name])
    c.set(name, order)


# Normalization


@operator("batch_norm_inference")
def _batch_norm(c: Context) -> None:
    gamma, beta = c.input(1), c.input(2)
    x, *_, mean, variance = c.inputs
    eps, channels = float(c.get("eps")), x.shapes[0][-1]
    if x.rank == 4 or x.order == channels_first(x.rank):
        order = channels_first(x.rank)
        ones, zeros = np.ones(channels, x.dtype), np.zeros(channels, x.dtype)
        inputs = [
            c.w.want(x, order),
            c.w.constant(ones, "ones") if gamma is None else c.w.want(gamma),
            c.w.constant(zeros, "zeros") if beta is None else c.w.want(beta),
            c.w.want(mean),
            c.w.want(variance),
        ]
        c.set(c.emit("BatchNormalization", inputs, epsilon=eps), order)
        return
    # Channels elsewhere: a multiplication and an addition take the axes in any order.
    if any(v.array is None for v in c.inputs[1:]):
        raise c.fail("its statistics are computed from the inputs")
    scale = 1.0 / np.sqrt(variance.array.astype(np.float64) + eps)
    if gamma is not None:
        scale = scale * gamma.array
    shift = -scale * mean.array
    if beta is not None:
        shift = shift + beta.array
    name, order = c.w.held(x)
    spread = [channels if axis == x.rank - 1 else 1 for axis in order]
    for op, factor in (("Mul", scale), ("Add", shift)):
        array = factor.astype(x.dtype).reshape(spread)
        name = c.emit(op, [name, c.w.constant(array, f"{c.node.name}/{op.lower()}")])
    c.set(name, order)


@operator("local_response_norm")
def _local_response_norm(c: Context) -> None:
    x, size = c.inputs[0], int(c.get("size"))
    alpha, beta, k = (float(c.get(key)) for key in ("alpha", "beta", "k"))
    order = channels_first(x.rank)
    name = c.w.want(x, order)
    if x.rank == 4 and size % 2:
        c.set(c.emit("LRN", [name], size=size, alpha=alpha, beta=beta, bias=k), order)
        return
    # ONNX's window leans the other way for even sizes: a mean over channels as an image's rows.
    channels = x.shapes[0][-1]
    square = c.emit("Mul", [name, name])
    image = c.emit("Reshape", [square, c.w.ints([0, 1, channels, -1])])
    before, after = size // 2, (size - 1) // 2
    padded = c.emit("Pad", [image, c.w.ints([0, 0, before, 0, 0, 0, after, 0])])
    mean = c.emit("AveragePool", [padded], kernel_shape=[size, 1], strides=[1, 1])
    mean = c.emit("Reshape", [mean, c.emit("Shape", [name])])
    base = c.emit("Mul", [mean, c.w.number(alpha, x.dtype)])
    base = c.emit("Add", [base, c.w.number(k, x.dtype)])
    power = c.emit("Pow", [base, c.w.number(beta, x.dtype)])
    c.set(c.emit("Div", [name, power]), order)


# Along axes

_REDUCE = {
    "reduce_sum": "ReduceSum",
    "reduce_mean": "ReduceMean",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
}


@operator(*_REDUCE)
def _reduction(c: Context) -> None:
    axes = c.get("axes", list(range(c.inputs[0].rank)))
    reduce(c, _REDUCE[c.node.op], list(axes), bool(c.get("keepdims", False)))


@operator("softmax", "log_softmax")
def _softmax(c: Context) -> None:
    name, order = c.w.held(c.inputs[0])
    axis = order.index(int(c.get("axis", -1)) % c.inputs[0].rank)
    op = "Softmax" if c.node.op == "softmax" else "LogSoftmax"
    c.set(c.emit(op, [name], axis=axis), order)
