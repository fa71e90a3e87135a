"""ONNX's own node tests, for every operator that fastconv has."""

import functools
import warnings

import numpy as np
import pytest

import fastconv
from fastconv.inference.lowering import OPERATORS

onnx = pytest.importorskip("onnx", reason="needs the onnx package")

# Constants are read with the model; the others are lowered.
OURS = {*OPERATORS, "Constant"}

# Element types that fastconv does not compute with, by the names of TensorProto.DataType.
LEFT_OUT_TYPES = {
    "strings": {"STRING"},
    "half types": {"FLOAT16", "BFLOAT16"},
    "quantized types": {
        *("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"),
        *("FLOAT4E2M1", "FLOAT6E2M3", "FLOAT6E3M2", "INT4", "UINT4", "INT2", "UINT2"),
    },
    "complex numbers": {"COMPLEX64", "COMPLEX128"},
}

# Single cases, and why they are left out.
LEFT_OUT = {
    "test_training_dropout": "random: the expected values are those of NumPy's generator",
    "test_training_dropout_default": "random",
    "test_training_dropout_default_mask": "random",
    "test_training_dropout_mask": "random",
    "test_not_2d": "written for operator set 1",
    "test_not_3d": "written for operator set 1",
    "test_not_4d": "written for operator set 1",
}


@functools.cache
def cases():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, while the expected values are computed
        found = collect_testcases("")
    return [c for c in found if {n.op_type for n in c.model.graph.node} <= OURS]


def element_types(model):
    graph = model.graph
    for info in [*graph.input, *graph.output, *graph.value_info]:
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            yield kind
        else:
            yield onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)
    for tensor in graph.initializer:
        yield onnx.TensorProto.DataType.Name(tensor.data_type)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "to":
                yield onnx.TensorProto.DataType.Name(attribute.i)
            elif attribute.type == onnx.AttributeProto.TENSOR:
                yield onnx.TensorProto.DataType.Name(attribute.t.data_type)


def reason_to_leave_out(case):
    if case.name in LEFT_OUT:
        return LEFT_OUT[case.name]
    types = set(element_types(case.model))
    if types & {"sequence_type", "optional_type", "map_type"}:
        return "sequences and optional values"
    return next((why for why, names in LEFT_OUT_TYPES.items() if types & names), None)


def as_array(value):
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value)


def check(case):
    session = fastconv.InferenceSession(case.model.SerializeToString())
    for inputs, outputs in case.data_sets:
        names = [info.name for info in case.model.graph.input]
        feeds = {name: as_array(v) for name, v in zip(names, inputs, strict=True)}
        results = session.run(None, feeds)
        for result, expected in zip(results, map(as_array, outputs), strict=True):
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            rtol = max(case.rtol, 1e-5) if expected.dtype.kind == "f" else 0
            np.testing.assert_allclose(result, expected, rtol=rtol, atol=max(case.atol, 1e-6))


@pytest.mark.parametrize("operator", sorted(OURS))
def test_cases_of(operator):
    failures = []
    for case in cases():
        # The first node's; functions that are spelled out begin with a Constant.
        if case.model.graph.node[0].op_type != operator or reason_to_leave_out(case):
            continue
        try:
            check(case)
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failures, "\n\n".join(failures)


def test_most_cases_are_run():
    run = [c for c in cases() if not reason_to_leave_out(c)]
    assert len(run) > 950
    tested = {n.op_type for c in run for n in c.model.graph.node}
    # Operators of older sets, for which there is no case any more.
    assert OURS - tested <= {"GlobalLpPool", "Upsample"}


def test_reasons_are_needed():
    names = {c.name for c in cases()}
    assert set(LEFT_OUT) <= names
