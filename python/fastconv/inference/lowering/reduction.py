"""Reductions over axes."""

from __future__ import annotations

from fastconv.inference.lowering.context import FLOATS, Context
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.tensor import Tensor

# The core's reduction, what is applied before and what after it.
_REDUCTIONS = {
    "ReduceSum": ("reduce_sum", None, None),
    "ReduceMean": ("reduce_mean", None, None),
    "ReduceMax": ("reduce_max", None, None),
    "ReduceMin": ("reduce_min", None, None),
    "ReduceProd": ("reduce_prod", None, None),
    "ReduceL1": ("reduce_sum", "abs", None),
    "ReduceL2": ("reduce_sum", "square", "sqrt"),
    "ReduceSumSquare": ("reduce_sum", "square", None),
    "ReduceLogSum": ("reduce_sum", None, "log"),
}


def reduced_axes(c: Context, x: Tensor) -> list[int] | None:
    """The axes to reduce; None where the node does nothing."""
    axes = c.axes(x.rank)
    if not axes:
        if c.attr("noop_with_empty_axes", 0):
            return None
        axes = list(range(x.rank))
    if len(set(axes)) != len(axes):
        c.fail(f"axes are {axes}, expected distinct ones")
    return axes


def prepared(c: Context, x: Tensor, before: str | None) -> Tensor:
    if before == "square" and x.dtype not in FLOATS:
        return c.broadcast("mul", x, x)
    return c.unary(before, x) if before else x


@operator(*_REDUCTIONS)
def reduce(c: Context) -> Tensor:
    x = c.input(0)
    op, before, after = _REDUCTIONS[c.node.op]
    axes = reduced_axes(c, x)
    dtype = x.dtype
    if after and dtype not in FLOATS:
        x = c.cast(x, "float64")
    y = prepared(c, x, before)
    if axes:
        y = c.reduce(op, y, axes, bool(c.attr("keepdims", 1)))
    return c.cast(c.unary(after, y), dtype) if after else y


@operator("ReduceLogSumExp")
def log_sum_exp(c: Context) -> Tensor:
    x = c.input(0)
    axes = reduced_axes(c, x)
    dtype = x.dtype
    x = c.as_float(x, "float64")
    if axes is None:
        return c.cast(x, dtype)
    largest = c.reduce("reduce_max", x, axes, True)
    # An infinite maximum would make infinity minus infinity.
    finite = c.unary("clip", largest, min=-1e30, max=1e30)
    total = c.reduce("reduce_sum", c.unary("exp", c.broadcast("sub", x, finite)), axes, True)
    y = c.broadcast("add", c.unary("log", total), finite)
    if not c.attr("keepdims", 1):
        kept = [a for a in range(x.rank) if a not in axes]
        y = c.reshape(y, tuple(y.shape[a] for a in kept))
    return c.cast(y, dtype)


@operator("ArgMax", "ArgMin")
def arg_extremum(c: Context) -> Tensor:
    x = c.input(0)
    axis = c.axis(c.attr("axis", 0), x.rank)
    op = "arg_max" if c.node.op == "ArgMax" else "arg_min"
    value = c.emit(
        op,
        [x.at()],
        axis=axis,
        keepdims=bool(c.attr("keepdims", 1)),
        select_last_index=bool(c.attr("select_last_index", 0)),
    )
    return c.wrap(value)
