"""Random small graphs of the supported operators, against onnxruntime."""

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

import fastconv
from onnx_parity import TOLERANCE, assert_close, reference_session
from random_graphs import MOVEMENT, Builder, NotHere, Value
from random_operators import COMPUTING

onnx = pytest.importorskip("onnx", reason="needs the onnx package")
pytest.importorskip("onnxruntime", reason="compares with onnxruntime")

OPERATORS = [*COMPUTING, *MOVEMENT]
IR_VERSION = 10  # onnxruntime may be older than onnx


class Graph:
    """A random model and the arrays to run it on."""

    def __init__(self, draw):
        b = Builder(draw)
        self.inputs, self.symbols = [], []
        for i in range(b.integer(1, 2)):
            rank = b.one_of(4, 4, 4, 3, 2, 5)
            shape = (b.integer(1, 3), *b.integers(1, 9, rank - 1))
            self.inputs.append(Value(f"x{i}", shape, True))
            self.symbols.append([b.chance() for _ in shape])
        b.values += self.inputs
        for _ in range(b.integer(3, 12)):
            try:
                b.one_of(*OPERATORS)(b)
            except NotHere:
                continue
        self.builder = b
        self.constant_nodes = b.chance()
        self.model = self._model()

    def _model(self):
        b, h = self.builder, onnx.helper
        read = {name for _, inputs, _, _ in b.nodes for name in inputs}
        leaves = [v.name for v in b.values if v.name not in read and v not in self.inputs]
        assume(leaves)
        if b.chance():  # a value inside as well
            leaves += [v.name for v in b.values[-3:] if v.name in read and v not in self.inputs][:1]
        nodes = [
            h.make_node(
                op,
                ins,
                outs,
                **{
                    key: onnx.numpy_helper.from_array(value)
                    if isinstance(value, np.ndarray)
                    else value
                    for key, value in attrs.items()
                },
            )
            for op, ins, outs, attrs in b.nodes
        ]
        tensors = [onnx.numpy_helper.from_array(a, name) for name, a in b.constants.items()]
        if self.constant_nodes:
            nodes = [h.make_node("Constant", [], [t.name], value=t) for t in tensors] + nodes
            tensors = []
        inputs = []
        for value, symbols in zip(self.inputs, self.symbols, strict=True):
            shape = [
                f"{value.name}_{i}" if symbolic else size
                for i, (size, symbolic) in enumerate(zip(value.shape, symbols, strict=True))
            ]
            inputs.append(h.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
        outputs = [h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in leaves]
        graph = h.make_graph(nodes, "random", inputs, outputs, tensors)
        opsets = [h.make_opsetid("", b.opset)]
        model = h.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return model.SerializeToString()

    def feed(self, change=0):
        """Arrays for the inputs; symbolic sizes changed."""
        feed = {}
        for value, symbols in zip(self.inputs, self.symbols, strict=True):
            shape = [n + change * s for n, s in zip(value.shape, symbols, strict=True)]
            feed[value.name] = self.builder.rng.normal(0, 1, shape).astype(np.float32)
        return feed


def sensitivity(reference, feed, expected):
    """For each output, how far inputs that differ in their last bits move it."""
    rng = np.random.default_rng(0)
    moved = [0.0] * len(expected)
    for _ in range(3):
        near = {
            name: (array * (1 + rng.uniform(-3e-7, 3e-7, array.shape))).astype(np.float32)
            for name, array in feed.items()
        }
        for i, other in enumerate(reference.run(None, near)):
            if other.size:
                moved[i] = max(moved[i], np.abs(other - expected[i], dtype=np.float64).max())
    return moved


def compare(session, reference, feed, expected):
    names = [output.name for output in reference.get_outputs()]
    results = session.run(None, feed)
    try:
        assert_close(results, expected, names)
        return
    except AssertionError:
        # Where differences cancel, nobody has four digits: each digit that two inputs lose with
        # onnxruntime may be lost here.
        moved = sensitivity(reference, feed, expected)
        if not any(moved):
            raise
    event("ill-conditioned")
    for have, want, name, change in zip(results, expected, names, moved, strict=True):
        largest = np.abs(want).max(initial=1e-30)
        assert_close([have], [want], [name], TOLERANCE + 30 * change / largest)


@given(st.data())
def test_random_graph(data):
    graph = Graph(data.draw)
    feed = graph.feed()
    try:
        # Its optimizations would drop nodes that refuse their inputs.
        reference = reference_session(graph.model, optimized=False)
        expected = reference.run(None, feed)
    except Exception as error:  # its limits, for example 5-D Resize
        event(f"refused: {str(error)[:40]}")
        assume(False)
    assume(all(np.isfinite(want).all() for want in expected))
    session = fastconv.InferenceSession(graph.model)
    compare(session, reference, feed, expected)
    assert "parameters" in str(session.summary(feed))
    other = graph.feed(change=1)
    try:
        expected = reference.run(None, other)
    except Exception:  # constants of the graph need not fit other sizes
        return
    if all(want.size and np.isfinite(want).all() for want in expected):
        compare(session, reference, other, expected)
