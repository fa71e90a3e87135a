"""Convolutions, dense layers and pooling as ONNX nodes; the former want channels first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.layers.arguments import same_pads
from fastconv.onnx.export_writer import Context, channels_first, identity, operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OIHW = (3, 2, 0, 1)  # of the core's HWIO, and of (kh, kw, cout, cin) for transposed convolution
_NCHW = channels_first(4)


def _activated(c: Context, name: str) -> str:
    """Apply the `activation` that a convolution or dense operator may have as an attribute."""
    kind = c.get("activation", "")
    if kind == "":
        return name
    if kind == "relu":
        return c.emit("Relu", [name])
    raise c.fail(f"its activation {kind!r} has no translation")


def _padding(c: Context, kernel: Any, strides: Any, dilations: Any) -> dict[str, Any]:
    """Return the attributes that say how the input is padded.

    Padding "same" with a stride depends on the input's size; where that is not fixed, ONNX has to
    compute it.
    """
    x, pads = c.inputs[0], [list(p) for p in c.each("pads", [0, 0, 0, 0])]
    if all(p == pads[0] for p in pads):
        return {"pads": pads[0]}
    for shape, given in zip(x.shapes, pads, strict=True):
        axes = zip(shape[1:3], kernel, strides, dilations, strict=True)
        (top, bottom), (left, right) = (same_pads(*axis) for axis in axes)
        if given != [top, left, bottom, right]:
            c.get("pads")  # says that it depends on the size
    return {"auto_pad": "SAME_UPPER"}


@operator("conv2d")
def _conv(c: Context) -> None:
    x, w, bias = *c.inputs[:2], c.input(2)
    if c.input(3) is not None:
        raise c.fail("it has a residual input, which only compiled plans have")
    kernel = w.shapes[0][:2]
    strides, dilations = list(c.get("strides")), list(c.get("dilations"))
    padding = _padding(c, kernel, strides, dilations)
    if c.each("output_size")[0] is not None:
        padding = {"pads": _cut_pads(c, kernel, strides, dilations)}
        if min(padding["pads"]) < 0:
            raise c.fail("its output_size leaves out a part of its input")
    inputs = [c.w.want(x, _NCHW), c.w.want(w, _OIHW)]
    if bias is not None:
        inputs.append(c.w.want(bias))
    name = c.emit(
        "Conv",
        inputs,
        kernel_shape=list(kernel),
        strides=strides,
        dilations=dilations,
        group=c.get("groups", 1),
        **padding,
    )
    c.set(_activated(c, name), _NCHW)


def _cut_pads(c: Context, kernel: Any, strides: Any, dilations: Any) -> list[int]:
    """Return the padding with which the convolution has just `output_size`."""
    pads = list(c.get("pads"))
    found = []
    for shape, out in zip(c.inputs[0].shapes, c.shapes(), strict=True):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        ends = [(out[1 + a] - 1) * strides[a] + spans[a] - shape[1 + a] - pads[a] for a in (0, 1)]
        found.append(pads[:2] + ends)
    if any(f != found[0] for f in found):
        raise c.fail("its output size depends on a size that is not fixed")
    return found[0]


@operator("conv_transpose2d")
def _conv_transpose(c: Context) -> None:
    x, w, bias = *c.inputs[:2], c.input(2)
    kernel = w.shapes[0][:2]
    strides, dilations = list(c.get("strides")), list(c.get("dilations"))
    settings = []
    for trace, (shape, out) in enumerate(zip(x.shapes, c.shapes(), strict=True)):
        pads = list(c.each("pads")[trace])
        extra = []
        for a in range(2):
            span = (kernel[a] - 1) * dilations[a] + 1
            natural = (shape[1 + a] - 1) * strides[a] + span - pads[a] - pads[2 + a]
            extra.append(max(out[1 + a] - natural, 0))
            pads[2 + a] += max(natural - out[1 + a], 0)
        settings.append((pads, extra))
    if any(s != settings[0] for s in settings):
        raise c.fail("its padding depends on a size that is not fixed")
    pads, extra = settings[0]
    inputs = [c.w.want(x, _NCHW), c.w.want(w, _OIHW)]
    if bias is not None:
        inputs.append(c.w.want(bias))
    name = c.emit(
        "ConvTranspose",
        inputs,
        kernel_shape=list(kernel),
        strides=strides,
        dilations=dilations,
        group=c.get("groups", 1),
        pads=pads,
        output_padding=extra if any(extra) else None,
    )
    c.set(_activated(c, name), _NCHW)


@operator("dense", "matmul")
def _dense(c: Context) -> None:
    x, w, bias = *c.inputs[:2], c.input(2)
    transposed = bool(c.get("transpose_w", False))
    if x.rank == 2 and w.rank == 2 and bias is not None:
        inputs = [c.w.want(x), c.w.want(w), c.w.want(bias)]
        name = c.emit("Gemm", inputs, transB=1 if transposed else None)
        c.set(_activated(c, name))
        return
    # The axes in front of the last one may come in any order where only x has them.
    keep = w.rank == 2 and x.order[-1] == x.rank - 1 and x.rank > 1
    order = x.order if keep else identity(x.rank)
    weight = c.w.want(w, (1, 0)) if transposed else c.w.want(w)
    name = c.emit("MatMul", [c.w.want(x, order), weight])
    if bias is not None:
        name = c.emit("Add", [name, c.w.want(bias)])
    c.set(_activated(c, name), order if keep else None)


# Pooling


@operator("max_pool2d", "avg_pool2d", "lp_pool2d")
def _pool(c: Context) -> None:
    op = c.node.op
    kernel = list(c.get("kernel"))
    strides = list(c.get("strides", kernel))
    dilations = list(c.get("dilations", [1, 1])) if op == "max_pool2d" else [1, 1]
    attrs = {
        "kernel_shape": kernel,
        "strides": strides,
        "ceil_mode": 1 if c.get("ceil_mode", False) else None,
        **_padding(c, kernel, strides, dilations),
    }
    factor = 1.0
    if op == "max_pool2d":
        attrs["dilations"] = dilations if dilations != [1, 1] else None
    elif op == "avg_pool2d":
        divisor = c.get("divisor_override", 0)
        counted = bool(c.get("count_include_pad", True)) or bool(divisor)
        attrs["count_include_pad"] = 1 if counted else 0
        if divisor:
            factor = math.prod(kernel) / divisor
            if attrs["ceil_mode"]:
                raise c.fail("divisor_override together with ceil_mode")
    else:
        p = c.get("p", 2.0)
        if p <= 0 or p % 2 or (attrs["ceil_mode"] and c.w.opset < 18):
            raise c.fail(f"ONNX has Lp pooling for whole even p and no ceil_mode, given p={p}")
        attrs["p"] = int(p)
        if c.w.opset < 18:
            attrs.pop("ceil_mode")
    names = {"max_pool2d": "MaxPool", "avg_pool2d": "AveragePool", "lp_pool2d": "LpPool"}
    name = c.emit(names[op], [c.w.want(c.inputs[0], _NCHW)], **attrs)
    if factor != 1.0:
        name = c.emit("Mul", [name, c.w.number(factor, c.dtype)])
    c.set(name, _NCHW)


@operator("adaptive_avg_pool2d", "adaptive_max_pool2d")
def _adaptive_pool(c: Context) -> None:
    x, size = c.inputs[0], list(c.get("output_size"))
    mean = c.node.op == "adaptive_avg_pool2d"
    if size == [1, 1]:
        if x.order == _NCHW:
            name = c.emit("GlobalAveragePool" if mean else "GlobalMaxPool", [c.w.want(x, _NCHW)])
            c.set(name, _NCHW)
        else:
            reduce(c, "ReduceMean" if mean else "ReduceMax", [1, 2], True)
        return
    sizes = [x.size(1), x.size(2)]
    fixed = [s for s in sizes if s is not None]
    if len(fixed) < 2 or (not mean and any(s % o for s, o in zip(fixed, size, strict=True))):
        raise c.fail(f"a pool from {sizes} to {size} has windows of different sizes")
    if any(s % o for s, o in zip(fixed, size, strict=True)):
        # The mean of a window is that of its columns' means: a product with a matrix each way.
        rows, columns = (_window_means(s, o, c.dtype) for s, o in zip(fixed, size, strict=True))
        name = c.emit("MatMul", [c.w.want(x, _NCHW), c.w.constant(columns.T, "columns")])
        c.set(c.emit("MatMul", [c.w.constant(rows, "rows"), name]), _NCHW)
        return
    window = [s // o for s, o in zip(fixed, size, strict=True)]
    name = "AveragePool" if mean else "MaxPool"
    c.set(c.emit(name, [c.w.want(x, _NCHW)], kernel_shape=window, strides=window), _NCHW)


def _window_means(size: int, count: int, dtype: str) -> NDArray[Any]:
    """Return the matrix (count, size) that averages an axis over an adaptive pool's windows."""
    matrix = np.zeros((count, size), dtype)
    for i in range(count):
        window = slice(i * size // count, -(-(i + 1) * size // count))
        matrix[i, window] = 1 / (window.stop - window.start)
    return matrix


def reduce(c: Context, op: str, axes: list[int], keepdims: bool) -> None:
    """Write a reduction of the first input, whose axes may be in any order."""
    x = c.inputs[0]
    name, order = c.w.held(x)
    axes = sorted(a % x.rank for a in axes)
    if not axes:
        c.same()
        return
    positions = sorted(order.index(a) for a in axes)
    # Opset 13 made the axes of ReduceSum an input, 18 those of the others.
    as_input = op == "ReduceSum" or c.w.opset >= 18
    attrs = {"keepdims": int(keepdims), "axes": None if as_input else positions}
    inputs = [name, c.w.ints(positions)] if as_input else [name]
    name = c.emit(op, inputs, **attrs)
    if keepdims:
        c.set(name, order)
    else:
        left = [a for a in range(x.rank) if a not in axes]
        c.set(name, [left.index(a) for a in order if a not in axes])
