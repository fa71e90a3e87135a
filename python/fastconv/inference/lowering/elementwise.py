"""Activations, arithmetic, comparisons and logic: they keep whatever axis order their input has."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.inference.lowering.context import FLOATS, Context
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.tensor import Tensor

# The core's operator, and the attributes with ONNX's defaults.
_UNARY: dict[str, tuple[str, dict[str, Any]]] = {
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Mish": ("mish", {}),
    "HardSwish": ("hard_swish", {}),
    "Erf": ("erf", {}),
    "Exp": ("exp", {}),
    "Log": ("log", {}),
    "Sqrt": ("sqrt", {}),
    "Neg": ("neg", {}),
    "Abs": ("abs", {}),
    "Floor": ("floor", {}),
    "Ceil": ("ceil", {}),
    "Round": ("round", {}),
    "Reciprocal": ("reciprocal", {}),
    "Sign": ("sign", {}),
    "IsNaN": ("isnan", {}),
    "Not": ("logical_not", {}),
    "Sin": ("sin", {}),
    "Cos": ("cos", {}),
    "Tan": ("tan", {}),
    "Asin": ("asin", {}),
    "Acos": ("acos", {}),
    "Atan": ("atan", {}),
    "Sinh": ("sinh", {}),
    "Cosh": ("cosh", {}),
    "Asinh": ("asinh", {}),
    "Acosh": ("acosh", {}),
    "Atanh": ("atanh", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Celu": ("celu", {"alpha": 1.0}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Gelu": ("gelu", {"approximate": "none"}),
}


@operator(*_UNARY)
def unary(c: Context) -> Tensor:
    op, defaults = _UNARY[c.node.op]
    attrs = {name: c.attr(name, default) for name, default in defaults.items()}
    return c.unary(op, c.input(0), **attrs)


@operator("Identity")
def identity(c: Context) -> Tensor:
    return c.input(0)


@operator("Selu")
def selu(c: Context) -> Tensor:
    if "alpha" not in c.node.attrs and "gamma" not in c.node.attrs:
        return c.unary("selu", c.input(0))
    x = c.unary("elu", c.input(0), alpha=c.attr("alpha", 1.6732632423543772))
    return c.unary("scale", x, alpha=c.attr("gamma", 1.0507009873554805))


@operator("Swish")
def swish(c: Context) -> Tensor:
    x, alpha = c.input(0), c.attr("alpha", 1.0)
    if alpha == 1:
        return c.unary("silu", x)
    return c.broadcast("mul", x, c.unary("sigmoid", c.unary("scale", x, alpha=alpha)))


@operator("PRelu")
def prelu(c: Context) -> Tensor:
    x, slope = c.input(0), c.input(1)
    if slope.rank > x.rank:
        c.fail(f"slope has shape {slope.shape}, expected one that broadcasts to {x.shape}")
    return c.broadcast("prelu", x, slope)


@operator("IsInf")
def is_inf(c: Context) -> Tensor:
    x = c.input(0)
    positive, negative = c.attr("detect_positive", 1), c.attr("detect_negative", 1)
    if positive and negative:
        return c.unary("isinf", x)
    infinity = c.wrap(c.scalar(np.inf if positive else -np.inf, x.dtype))
    if not positive and not negative:
        return c.broadcast("compare", x, c.wrap(c.scalar(np.nan, x.dtype)), kind="eq")
    return c.broadcast("compare", x, infinity, kind="eq")


@operator("Clip")
def clip(c: Context) -> Tensor:
    x = c.input(0)
    if c.version < 11:
        limits = {k: c.attr(k, 0.0) for k in ("min", "max") if k in c.node.attrs}
        return c.unary("clip", x, **limits)
    given = {"min": c.optional(1), "max": c.optional(2)}
    for name, bound in given.items():
        if bound is not None and bound.size != 1:
            c.fail(f"{name} has shape {bound.shape}, expected a scalar")
    there = {k: b.value for k, b in given.items() if b is not None}
    values = {k: value.item() for k, value in there.items() if value is not None}
    # The upper bound wins where they cross, as in min(max(x, low), high).
    ordered = values.get("min", -np.inf) <= values.get("max", np.inf)
    exact = x.dtype in FLOATS or all(abs(b) <= 2**53 for b in values.values())
    if len(values) == len(there) and ordered and exact:
        return c.unary("clip", x, **{k: float(b) for k, b in values.items()})
    for bound, op in ((given["min"], "maximum"), (given["max"], "minimum")):
        if bound is not None:
            x = c.broadcast(op, x, c.reshape(bound, ()))
    return x


_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}


@operator(*_BINARY)
def binary(c: Context) -> Tensor:
    return c.broadcast(_BINARY[c.node.op], c.input(0), c.input(1))


@operator("Pow")
def power(c: Context) -> Tensor:
    base, exponent = c.input(0), c.input(1)
    if exponent.value is not None and exponent.size == 1 and base.dtype in FLOATS:
        simple = {2.0: "square", 0.5: "sqrt"}.get(float(exponent.value.item()))
        if simple and exponent.rank <= base.rank:
            return c.unary(simple, base)
    if base.dtype in FLOATS:
        return c.broadcast("pow", base, c.cast(exponent, base.dtype))
    if exponent.dtype in FLOATS:
        raised = c.broadcast("pow", c.cast(base, "float64"), c.cast(exponent, "float64"))
        return c.cast(raised, base.dtype)
    return c.broadcast("pow", base, c.cast(exponent, base.dtype))


@operator("Mod")
def mod(c: Context) -> Tensor:
    fmod = bool(c.attr("fmod", 0))
    return c.broadcast("mod", c.input(0), c.input(1), fmod=fmod)


_VARIADIC = {"Sum": "add", "Max": "maximum", "Min": "minimum", "Mean": "add"}


@operator(*_VARIADIC)
def variadic(c: Context) -> Tensor:
    result = c.input(0)
    for i in range(1, len(c.inputs)):
        result = c.broadcast(_VARIADIC[c.node.op], result, c.input(i))
    if c.node.op == "Mean":
        result = c.unary("scale", result, alpha=1 / len(c.inputs))
    return result


_COMPARE = {
    "Equal": "eq",
    "Greater": "gt",
    "Less": "lt",
    "GreaterOrEqual": "ge",
    "LessOrEqual": "le",
}


@operator(*_COMPARE)
def compare(c: Context) -> Tensor:
    return c.broadcast("compare", c.input(0), c.input(1), kind=_COMPARE[c.node.op])


_LOGICAL = {"And": "and", "Or": "or", "Xor": "xor"}


@operator(*_LOGICAL)
def logical(c: Context) -> Tensor:
    return c.broadcast("logical", c.input(0), c.input(1), kind=_LOGICAL[c.node.op])


@operator("Where")
def where(c: Context) -> Tensor:
    return c.broadcast("where", c.input(0), c.input(1), c.input(2))


@operator("Cast")
def cast(c: Context) -> Tensor:
    to = c.attr("to")
    dtype = to if isinstance(to, str) else _dtype_name(c, to)
    return c.cast(c.input(0), dtype)


# TensorProto.DataType, as `Cast` names it.
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    11: "float64",
    12: "uint32",
    13: "uint64",
}


def _dtype_name(c: Context, to: int) -> str:
    if to not in _DTYPES:
        c.fail(f"to is data type {to}, expected one of {sorted(_DTYPES)}")
    return _DTYPES[to]


@operator("CastLike")
def cast_like(c: Context) -> Tensor:
    return c.cast(c.input(0), c.input(1).dtype)


@operator("Dropout")
def dropout(c: Context) -> list[Tensor]:
    x = c.input(0)
    if c.version >= 12 and c.has(2) and bool(c.value(2).item()):
        ratio = float(c.value(1).item()) if c.has(1) else 0.5
        if ratio != 0:
            c.fail("training_mode is true: random dropout does not belong to inference")
    mask = np.broadcast_to(np.array(True), x.shape)
    return [x, c.known(mask)]


@operator("Softmax", "LogSoftmax")
def softmax(c: Context) -> Tensor:
    x = c.input(0)
    op = "softmax" if c.node.op == "Softmax" else "log_softmax"
    if c.version >= 13:
        axis = c.axis(c.attr("axis", -1), x.rank)
        return c.wrap(c.emit(op, [x.physical()], axis=x.order.index(axis)), x.order)
    # Older versions flatten the axes from `axis` on into one.
    axis = c.attr("axis", 1)
    axis = c.axis(axis, x.rank) if axis != x.rank else axis
    if axis == x.rank - 1 or all(n == 1 for n in x.shape[axis + 1 :]):
        return c.wrap(c.emit(op, [x.physical()], axis=x.order.index(axis)), x.order)
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    flat = c.reshape(x, (rows, int(np.prod(x.shape[axis:], dtype=np.int64))))
    return c.reshape(c.wrap(c.emit(op, [flat.at()], axis=1)), x.shape)
