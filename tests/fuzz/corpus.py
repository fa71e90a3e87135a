"""The small models that the fuzzers start from; `tests/fuzz/corpus.py FOLDER` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from onnx import ModelProto, TensorProto, helper, parser

_HEAD = '<ir_version: 10, opset_import: ["" : {opset}, "own" : 1], producer_name: "corpus"> g '

# (operator set, graph), in ONNX's text form.
_TEXTS = {
    "convolution": (
        17,
        """(float[N, 3, 8, 8] x) => (float[N, 2, 4, 4] y) <
            float[2, 3, 3, 3] w = {WEIGHT}, float[2] b = {0.5, -0.5},
            float[2] s = {1, 2}, float[2] v = {1, 0.5}> {
            c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)
            n = BatchNormalization <epsilon = 0.001> (c, s, b, b, v)
            y = Relu(n) }""",
    ),
    "old": (
        7,
        """(float[1, 2, 6, 6] x, float[4, 8] w) => (float[1, 4] y) <
            float[4, 8] w = {GEMM}, float[4] b = {1, 2, 3, 4}> {
            p = MaxPool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_UPPER"> (x)
            q, mask = Dropout <ratio = 0.5> (p)
            a = AveragePool <kernel_shape = [2, 2], pads = [0, 1, 1, 0]> (q)
            u = Upsample <mode = "nearest", scales = [1.0, 1.0, 1.0, 1.0]> (a)
            l = LRN <size = 3> (u)
            s = Slice <axes = [2, 3], starts = [0, 0], ends = [2, 2]> (l)
            f = Flatten(s)
            g = Gemm <transB = 1, alpha = 0.5> (f, w, b)
            y = Softmax <axis = 1> (g) }""",
    ),
    "shapes": (
        18,
        """(float[N, C, 4, 4] x) => (float[N, K] y, int64[4] s) {
            s = Shape(x)
            zero = Constant <value = int64[1] {0}> ()
            n = Gather(s, zero)
            minus = Constant <value_ints = [-1]> ()
            shape = Concat <axis = 0> (n, minus)
            y = Reshape(x, shape) }""",
    ),
    "slices": (
        13,
        """(float[2, 3, 8] x) => (float[M] y) <int64[3] pads3 = {0, 0, 1}> {
            start = Constant <value_ints = [-1]> ()
            stop = Constant <value_ints = [-100]> ()
            axis = Constant <value_ints = [2]> ()
            a = Slice(x, start, stop, axis, start)
            sizes = Constant <value_ints = [3, 5]> ()
            b, c = Split <axis = 2> (a, sizes)
            pads = Constant <value_ints = [0, 0, 1, 0, 0, 1]> ()
            d = Pad <mode = "reflect"> (b, pads)
            e = Concat <axis = 2> (d, c)
            f = Transpose <perm = [2, 0, 1]> (e)
            repeats = Constant <value_ints = [1, 2, 1]> ()
            t = Tile(f, repeats)
            sq = Unsqueeze(t, axis)
            sq2 = Squeeze(sq, axis)
            y = Reshape(sq2, start) }""",
    ),
    "resize": (
        19,
        """(float[1, 4, 4, 5] x) => (float[1, A, B, C] y) <float[4] scales = {1, 1, 2, 1.5}> {
            r = Resize <mode = "linear", coordinate_transformation_mode = "align_corners">
                (x, , scales)
            sizes = Constant <value_ints = [1, 4, 3, 3]> ()
            c = Resize <mode = "cubic", antialias = 1> (r, , , sizes)
            d = DepthToSpace <blocksize = 2, mode = "CRD"> (c)
            y = SpaceToDepth <blocksize = 3> (d) }""",
    ),
    "logic": (
        16,
        """(float[2, 3] x, int64[N] i, bool[2, 1] m) => (float[A, 3] y, int64[2] k) {
            t = ThresholdedRelu <alpha = 0.1> (x)
            half = Constant <value_float = 0.5> ()
            g = Greater(t, half)
            n = Not(g)
            both = And(n, m)
            w = Where(both, x, half)
            y = Gather <axis = 0> (w, i)
            k = ArgMax <axis = 1, keepdims = 0> (w)
            e = Equal(i, i)
            c = Cast <to = 1> (e) }""",
    ),
    "transposed": (
        11,
        """(float[1, 2, 3, 3] x) => (float[1, 2, A, B] y) <float[2, 1, 3, 3] w = {DEPTH}> {
            c = ConvTranspose <group = 2, strides = [2, 2], output_padding = [1, 0],
                               dilations = [1, 2]> (x, w)
            i = Identity(c)
            slope = Constant <value = float {0.1}> ()
            p = PRelu(i, slope)
            q = GlobalAveragePool(p)
            h = HardSigmoid(q)
            y = Mul(p, h) }""",
    ),
    "normalized": (
        21,
        """(float[2, 4, 6] x) => (float[2, 4, 6] y, double[2] z) <float[6] s = {1, 1, 1, 1, 1, 2}> {
            l, mean, deviation = LayerNormalization <axis = -1> (x, s, s)
            four = Constant <value = float[4] {1, 1, 1, 1}> ()
            g = GroupNormalization <num_groups = 2> (l, four, four)
            a = Gelu <approximate = "tanh"> (g)
            m = Mish(a)
            e = Erf(m)
            y = Softmax(e)
            axes = Constant <value_ints = [1, 2]> ()
            r = ReduceMean <keepdims = 0> (y, axes)
            z = Cast <to = 11> (r) }""",
    ),
    "matrices": (
        17,
        """(float[B, 2, 3] a, float[3, 4] b) => (float[B, 2, 4] y, float[N] z) {
            m = MatMul(a, b)
            e = Exp(m)
            o = Max(e, m)
            two = Constant <value_float = 2.0> ()
            p = Pow(o, two)
            low = Constant <value_float = 0.0> ()
            y = Clip(p, low)
            shape = Constant <value_ints = [3]> ()
            f = ConstantOfShape <value = float[1] {1.5}> (shape)
            one = Constant <value_float = 1.0> ()
            five = Constant <value_float = 5.0> ()
            r = Range(one, five, one)
            big = Constant <value_ints = [2, 4]> ()
            x = Expand(r, big)
            zero = Constant <value_ints = [0]> ()
            z = ReduceSum(x, zero) }""",
    ),
    "functions": (
        18,
        """(float[N] x) => (float[N] y) { a = own.twice <alpha = 0.5> (x) y = own.leaky(a) }
        <domain: "own", opset_import: ["" : 17, "own" : 1]>
        twice <alpha: float = 0.25> (a) => (c) {
            b = own.leaky <alpha: float = @alpha> (a)  c = own.leaky <alpha: float = @alpha> (b) }
        <domain: "own", opset_import: ["" : 16]>
        leaky <alpha> (a) => (b) { b = LeakyRelu <alpha: float = @alpha> (a) }""",
    ),
    "branches": (
        17,
        """(bool c, float[N] x) => (float[N] y) {
            y = If (c) <then_branch = a () => (float[N] p) { p = Relu(x) },
                        else_branch = b () => (float[N] q) { q = Neg(x) }> }""",
    ),
}


def _numbers(count: int) -> str:
    return "{" + ", ".join(str(value / 8) for value in range(-count // 2, count - count // 2)) + "}"


def _text_model(opset: int, text: str) -> ModelProto:
    for name, count in (("WEIGHT", 54), ("GEMM", 32), ("DEPTH", 18)):
        text = text.replace("{" + name + "}", _numbers(count))
    return parser.parse_model(_HEAD.replace("{opset}", str(opset)) + text)


def _tensors_model(numbers) -> ModelProto:
    """Return a model with a tensor of each type, as raw bytes and as numbers."""
    tensors, nodes = [], []
    for number in numbers:
        for raw in (False, True):
            values = np.ones(2, helper.tensor_dtype_to_np_dtype(number))
            name = f"t{number}_{int(raw)}"
            data = values.tobytes() if raw else values.tolist()
            tensors.append(helper.make_tensor(name, number, [2], data, raw=raw))
            nodes.append(helper.make_node("Cast", [name], [name + "f"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Sum", [node.output[0] for node in nodes], ["y"]))
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "tensors", [], [value], tensors)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def protos() -> dict[str, ModelProto]:
    """Return the models by name."""
    found = {name: _text_model(opset, text) for name, (opset, text) in _TEXTS.items()}
    found["tensors"] = _tensors_model([1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13])
    found["rare_tensors"] = _tensors_model([10, 14, 15])  # half floats and complex numbers
    return found


def files() -> dict[str, bytes]:
    """Return the bytes of the models, by name."""
    return {
        f"{name}.onnx": proto.SerializeToString(deterministic=True)
        for name, proto in protos().items()
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files().items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
