"""Gemm and MatMul."""

from __future__ import annotations

from fastconv.inference.lowering.context import FLOATS, Context
from fastconv.inference.lowering.registry import operator
from fastconv.inference.lowering.tensor import Tensor


@operator("MatMul")
def matmul(c: Context) -> Tensor:
    a, b = c.input(0), c.input(1)
    if a.rank < 1 or b.rank < 1:
        c.fail(f"inputs have shapes {a.shape} and {b.shape}, expected rank 1 or more")
    if a.dtype in FLOATS and b.rank == 2 and a.rank > 1 and a.shape[-1] == b.shape[0]:
        return c.wrap(c.emit("dense", [a.at(), b.at()]))
    return c.wrap(c.emit("matmul", [a.at(), b.at()]))


@operator("Gemm")
def gemm(c: Context) -> Tensor:
    a, b, bias = c.input(0), c.input(1), c.optional(2)
    c.expect_rank(a, 2, 2, "A")
    c.expect_rank(b, 2, 2, "B")
    alpha, beta = c.attr("alpha", 1.0), c.attr("beta", 1.0)
    if c.attr("transA", 0):
        a = c.transpose(a, [1, 0])
    transposed = bool(c.attr("transB", 0))
    inner, columns = b.shape[::-1] if transposed else b.shape
    if a.shape[1] != inner:
        c.fail(
            f"A has shape {c.input(0).shape} and B {b.shape} "
            f"(transA={c.attr('transA', 0)}, transB={int(transposed)}): inner sizes differ"
        )
    if a.dtype not in FLOATS:
        return _integer_gemm(c, a, b, bias, transposed)
    if alpha != 1:
        if b.value is not None:
            b = b.derived(f"scale {alpha}", lambda v: v * v.dtype.type(alpha))
        else:
            a = c.unary("scale", a, alpha=alpha)
    if bias is not None and beta != 1:
        if bias.value is not None:
            bias = bias.derived(f"scale {beta}", lambda v: v * v.dtype.type(beta))
        else:
            bias = c.unary("scale", bias, alpha=beta)
    vector = None
    if bias is not None and bias.size == columns and bias.shape[-1:] == (columns,):
        vector, bias = c.reshape(bias, (columns,)), None
    inputs = [a.at(), b.at(), vector.at() if vector else None]
    y = c.wrap(c.emit("dense", inputs, transpose_w=transposed))
    return y if bias is None else c.broadcast("add", y, bias)


def _integer_gemm(
    c: Context, a: Tensor, b: Tensor, bias: Tensor | None, transposed: bool
) -> Tensor:
    if c.attr("alpha", 1.0) != 1 or c.attr("beta", 1.0) != 1:
        c.fail("alpha and beta other than 1 are not supported for integers")
    if transposed:
        b = c.transpose(b, [1, 0])
    y = c.wrap(c.emit("matmul", [a.at(), b.at()]))
    return y if bias is None else c.broadcast("add", y, bias)
