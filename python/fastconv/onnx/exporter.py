"""Writing a layer model as an ONNX file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.onnx import (  # noqa: F401 - they register the operators
    export_convolution,
    export_elementwise,
    export_indexing,
    export_shape,
)
from fastconv.onnx.export_trace import Trace, trace
from fastconv.onnx.export_writer import (
    OPERATORS,
    Context,
    Value,
    Writer,
    channels_first,
    identity,
)
from fastconv.utils.checks import integer

if TYPE_CHECKING:
    from fastconv._types import PathLike
    from fastconv.models import Model

_OLDEST = 13  # Squeeze, Unsqueeze and ReduceSum got their present form there
_MOST_BYTES = 2**31 - 2**20  # protobuf's limit, less room for everything but the weights


def export(
    model: Model,
    path: PathLike,
    *,
    opset: int = 17,
    batch_size: int | None = None,
    input_names: Any = None,
    output_names: Any = None,
    input_layout: str = "channels_last",
    output_layout: str = "channels_last",
) -> None:
    """Write a layer model for inference as an ONNX file.

    The file computes what `model.predict` does: dropout is gone, batch normalization uses its
    moving statistics. Inputs and outputs keep fastconv's shapes, (N, H, W, C) for images, unless a
    layout says otherwise; inside, convolutions run channels first, as ONNX has them. Sizes that
    the model leaves open (the batch, axes given as None) stay open in the file.

    Args:
        model: a built `Sequential`, functional or subclassed model.
        path: path of the file; it is written beside its name and then renamed.
        opset: version of ONNX's operators, from 13 on.
        batch_size: a fixed number of samples; None leaves it open.
        input_names: names of the inputs, the model's by default.
        output_names: names of the outputs, the model's by default.
        input_layout: "channels_first" lets the file take the last axis of every input of rank >= 3
            behind the batch, (N, C, H, W); "channels_last" keeps the model's order of axes.
        output_layout: the same for the outputs.

    Raises:
        ImportError: the package `onnx` is missing.
        TypeError: `model` is not a model, or an argument is of the wrong type.
        ValueError: the model has not been built, an argument does not fit, an operator of a layer
            (both are named) has no translation, or the file would be larger than 2 GB.
    """
    from fastconv._files import write_atomically

    proto = to_proto(
        model,
        opset=opset,
        batch_size=batch_size,
        input_names=input_names,
        output_names=output_names,
        input_layout=input_layout,
        output_layout=output_layout,
    )
    write_atomically(os.fspath(path), proto.SerializeToString())


def to_proto(
    model: Model,
    *,
    opset: int = 17,
    batch_size: int | None = None,
    input_names: Any = None,
    output_names: Any = None,
    input_layout: str = "channels_last",
    output_layout: str = "channels_last",
) -> Any:
    """Return what `export` writes, a checked `onnx.ModelProto`."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "exporting to ONNX needs the package onnx: pip install 'fastconv[onnx]'"
        ) from error
    from fastconv.models.model import Model

    if not isinstance(model, Model):
        raise TypeError(f"export() takes a model, received: {type(model).__name__}")
    newest = onnx.defs.onnx_opset_version()
    if integer(opset, "opset", _OLDEST) > newest:
        raise ValueError(f"`opset` must be <= {newest}, received: opset={opset}")
    for name, layout in (("input_layout", input_layout), ("output_layout", output_layout)):
        if layout not in ("channels_last", "channels_first"):
            raise ValueError(
                f'`{name}` must be "channels_last" or "channels_first", received: {name}={layout!r}'
            )
    shapes = _input_shapes(model)
    batch_size = _batch(model, shapes, batch_size)
    found = trace(model, shapes, batch_size)
    own_inputs, own_outputs = _own_names(model, found)
    inputs = _names(input_names, own_inputs, "input_names")
    outputs = _names(output_names, own_outputs, "output_names")
    if output_names is None:
        outputs = _distinct(outputs, set(inputs))
    clash = set(inputs) & set(outputs)
    if clash:
        raise ValueError(f"inputs and outputs need different names, received: {sorted(clash)}")
    _check_size(model, found)

    writer = Writer(found, opset, {*inputs, *outputs})
    for name, value_id in zip(inputs, found.inputs, strict=True):
        value = writer.value(value_id)
        first = input_layout == "channels_first" and value.rank >= 3
        value.tensors[channels_first(value.rank) if first else identity(value.rank)] = name
        writer.inputs.append((name, value))
    for node in found.nodes:
        writer.scope = node.name
        translate = OPERATORS.get(node.op)
        if translate is None:
            raise ValueError(f"{node.where} cannot be exported to ONNX: no translation is known")
        translate(Context(writer, node))
    results = []
    writer.scope = "output"
    for value_id in found.outputs:
        value = writer.value(value_id)
        first = output_layout == "channels_first" and value.rank >= 3
        order = channels_first(value.rank) if first else identity(value.rank)
        results.append((writer.want(value, order), value, order))
    return _assemble(model, writer, outputs, results, opset, batch_size)


def _input_shapes(model: Model) -> list[tuple[Any, ...]]:
    """Return the shapes of the inputs, None where a size is open."""
    from fastconv.layers.base import is_shape

    shapes = None
    if model.built and model._function is not None:
        shapes = [t.shape for t in model._function.flat_inputs]
    elif model.built and model._build_shape is not None:
        given = model._build_shape
        shapes = [given] if is_shape(given) else given
    if not isinstance(shapes, (list, tuple)) or not all(is_shape(s) and s for s in shapes):
        raise ValueError(
            f"model '{model.name}' has not been built and has no input shape; call build() or give "
            "it data first"
        )
    return [tuple(s) for s in shapes]


def _batch(model: Model, shapes: Any, batch_size: int | None) -> int | None:
    if batch_size is not None:
        batch_size = integer(batch_size, "batch_size", 1)
    if model._function is None:
        return batch_size  # the batch that a subclass has seen first says nothing
    for shape in shapes:
        if shape[0] is not None:
            if batch_size not in (None, shape[0]):
                raise ValueError(
                    f"model '{model.name}' has a fixed batch size of {shape[0]}, "
                    f"received: batch_size={batch_size}"
                )
            batch_size = shape[0]
    return batch_size


def _own_names(model: Model, found: Trace) -> tuple[list[str], list[str]]:
    if model._function is not None:
        return _distinct(model.input_names, set()), _distinct(model.output_names, set())
    structure = model._structures.get("output")
    if isinstance(structure, dict) and len(structure) == len(found.outputs):
        outputs = [str(key) for key in structure]
    else:
        outputs = _numbered("output", len(found.outputs))
    return _numbered("input", len(found.inputs)), _distinct(outputs, set())


def _numbered(kind: str, n: int) -> list[str]:
    return [kind] if n == 1 else [f"{kind}_{i}" for i in range(n)]


def _distinct(names: Any, taken: set[str]) -> list[str]:
    result = []
    for name in names:
        free, n = name, 1
        while free in taken:
            free, n = f"{name}_{n}", n + 1
        taken.add(free)
        result.append(free)
    return result


def _names(given: Any, own: list[str], argument: str) -> list[str]:
    """Return checked names."""
    if given is None:
        return own
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
        raise TypeError(f"`{argument}` must be a list of names, received: {argument}={given!r}")
    if len(names) != len(own) or len(set(names)) < len(names):
        raise ValueError(
            f"`{argument}` must be {len(own)} different names (of {own}), "
            f"received: {argument}={given!r}"
        )
    return list(names)


def _check_size(model: Model, found: Trace) -> None:
    size = sum(array.nbytes for array in found.constants.values())
    if size > _MOST_BYTES:
        raise ValueError(
            f"the weights of model '{model.name}' take {size / 1e9:.2f} GB; an ONNX file holds "
            "up to 2 GB"
        )


def _info(
    writer: Writer,
    name: str,
    value: Value,
    order: Any,
    batch_size: int | None,
    prefix: str | None = None,
) -> Any:
    from onnx import helper

    batches = writer.inputs[0][1].dims(0)
    shape: list[int | str | None] = []
    for axis in order:
        size: int | str | None = value.size(axis)
        if size is None and value.dims(axis) == batches and batch_size is None:
            size = "batch"
        elif size is None and prefix is not None:
            size = f"{prefix}_{axis}"
        shape.append(size)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    return helper.make_tensor_value_info(name, kind, shape)


def _assemble(
    model: Model, writer: Writer, names: Any, results: Any, opset: int, batch_size: int | None
) -> Any:
    """Give the results the names of the outputs and return the checked model."""
    import onnx
    from onnx import helper

    made = {name for node in writer.nodes for name in node.output}
    renamed: dict[str, str] = {}
    for name, (tensor, _, _) in zip(names, results, strict=True):
        if tensor in made and tensor not in renamed:
            renamed[tensor] = name
        else:
            node = helper.make_node("Identity", [tensor], [name], name=f"output/{name}")
            writer.nodes.append(node)
    for node in writer.nodes:
        for field in (node.input, node.output):
            for index, tensor in enumerate(field):
                field[index] = renamed.get(tensor, tensor)
    inputs = [
        _info(writer, name, value, value.order, batch_size, name) for name, value in writer.inputs
    ]
    outputs = [
        _info(writer, name, value, order, batch_size)
        for name, (_, value, order) in zip(names, results, strict=True)
    ]
    graph = helper.make_graph(writer.nodes, model.name, inputs, outputs, writer.initializers)
    imports = [helper.make_opsetid("", opset)]
    proto = helper.make_model(
        graph,
        producer_name="fastconv",
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports),
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto
