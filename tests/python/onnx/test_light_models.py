"""The networks and traced modules inside the onnx package, against its outputs and onnxruntime."""

import functools
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.inference.lowering import OPERATORS
from onnx_parity import assert_close, assert_parity

onnx = pytest.importorskip("onnx", reason="needs the onnx package")
pytest.importorskip("onnxruntime", reason="compares with onnxruntime")

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
LIGHT = sorted((DATA / "light").glob("*.onnx"))
CASES = sorted(
    p.parent
    for d in ("pytorch-converted", "pytorch-operator", "simple")
    for p in (DATA / d).glob("*/model.onnx")
)

# The cases that are left out, and why.
LEFT_OUT = {
    "gradient_of": "training: the operator Gradient",
    "sequence_model": "sequences",
    "strnorm": "strings",
    "shrink": "the operator Shrink belongs to no convolutional network",
}


def reason_to_leave_out(folder):
    return next((why for part, why in LEFT_OUT.items() if f"test_{part}" in folder.name), None)


def read_tensor(path):
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


def free_inputs(graph):
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


@functools.cache
def current(path):
    """A model; those of operator set 6, which came before fastconv's first, are converted."""
    model = onnx.load(path)
    if any(entry.domain == "" and entry.version < 7 for entry in model.opset_import):
        model = onnx.version_converter.convert_version(model, 9)
        for node in model.graph.node:
            if node.op_type == "PRelu":
                broadcast_slope(model.graph, node)
    return model


def broadcast_slope(graph, node):
    """One slope a channel: before set 7 without axes behind it, which the converter overlooks."""
    rank = len(next(shape_of(v) for v in graph.input if v.name == node.input[0]))
    for item in graph.initializer:
        if item.name == node.input[1] and len(item.dims) == 1 and item.dims[0] > 1:
            item.dims.extend([1] * (rank - 2))
    for value in graph.input:
        if value.name == node.input[1] and shape_of(value) != [1]:
            for _ in range(rank - 2):
                value.type.tensor_type.shape.dim.add(dim_value=1)


def ramp(shape):
    """The input for which onnx states the outputs."""
    size = np.prod(shape)
    return (np.arange(size).reshape(shape) / size).astype(np.float32)


def shape_of(value):
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


def light_cases():
    for path in LIGHT:
        name = path.stem.removeprefix("light_")
        slow = [pytest.mark.slow] if name in ("vgg19", "bvlc_alexnet") else []
        yield pytest.param(path, id=name, marks=slow)


@pytest.mark.parametrize("path", list(light_cases()))
def test_light_network(path):
    (value,) = free_inputs(onnx.load(path).graph)
    feed = {value.name: ramp(shape_of(value))}
    noise = np.random.default_rng(0).standard_normal(shape_of(value)).astype(np.float32)
    assert_parity(path.read_bytes(), feed, {value.name: noise})
    results = fastconv.InferenceSession(path).run(None, feed)
    stated = [read_tensor(f"{path.with_suffix('')}_output_{i}.pb") for i in range(len(results))]
    assert_close(results, stated, range(len(stated)), what="as onnx states it")


@pytest.mark.parametrize(
    "folder",
    [folder for folder in CASES if not reason_to_leave_out(folder)],
    ids=lambda folder: f"{folder.parent.name}-{folder.name.removeprefix('test_')}",
)
def test_traced_module(folder):
    model = current(folder / "model.onnx")
    names = [value.name for value in free_inputs(model.graph)]
    session = fastconv.InferenceSession(model.SerializeToString())
    sets = sorted(folder.glob("test_data_set_*"))
    assert sets
    for data in sets:
        feed = {name: read_tensor(data / f"input_{i}.pb") for i, name in enumerate(names)}
        results = session.run(None, feed)
        stated = [read_tensor(data / f"output_{i}.pb") for i in range(len(results))]
        assert_close(results, stated, range(len(stated)), what="as onnx states it")
        assert_parity(model.SerializeToString(), feed)


def test_all_networks_are_there():
    assert len(LIGHT) >= 9
    run = [folder for folder in CASES if not reason_to_leave_out(folder)]
    assert len(run) >= 115


def test_reasons_are_needed():
    """What is left out needs operators that fastconv lacks."""
    for folder in filter(reason_to_leave_out, CASES):
        used = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
        assert used - OPERATORS.keys(), folder.name
