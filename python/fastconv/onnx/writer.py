"""Writing a `ModelGraph` as an ONNX model: its nodes are ONNX's already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.inference.model import ModelGraph, Node, ValueInfo

if TYPE_CHECKING:
    from fastconv._types import PathLike

_LIMIT = 2**31 - 1  # of a protobuf message
_FIELDS = ("producer_name", "producer_version", "domain", "doc_string")  # of the metadata
_FEWEST_IR = 4  # initializers need not be inputs


def save(model: ModelGraph, path: PathLike) -> None:
    """Write a graph as an ONNX file.

    Args:
        model: the graph.
        path: path of the file; an old one is replaced only when the new one is complete.

    Raises:
        ImportError: the package `onnx` is missing.
        FileNotFoundError: the folder does not exist.
        ValueError: more than 2 GB, nodes of operator sets that one file cannot have together, or
            what `onnx.checker` refuses.
    """
    from fastconv._files import write_atomically

    write_atomically(path, to_proto(model).SerializeToString())


def to_proto(model: ModelGraph) -> Any:
    """Return a graph as a checked `onnx.ModelProto`; errors as `save`."""
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise ImportError(
            f"writing ONNX models needs the package onnx ({error}): pip install 'fastconv[onnx]'"
        ) from error
    total = sum(value.nbytes for value in model.constants.values())
    if total > _LIMIT:
        raise ValueError(
            f"the model's constants have {total / 1e9:.1f} GB, an ONNX file can hold 2 GB; "
            "keep it as a .fastconv file"
        )
    versions = _versions(model.nodes)
    imports = [helper.make_operatorsetid(domain, version) for domain, version in versions.items()]
    graph = helper.make_graph(
        [_node(node, versions[node.domain]) for node in model.nodes],
        model.name or "graph",
        [_value(value) for value in model.inputs],
        [_value(value) for value in model.outputs],
        [numpy_helper.from_array(value, name) for name, value in model.constants.items()],
    )
    fields = {key: model.metadata[key] for key in _FIELDS if key in model.metadata}
    fields.setdefault("producer_name", "fastconv")
    needed = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    proto = helper.make_model(
        graph, opset_imports=imports, ir_version=max(needed, _FEWEST_IR), **fields
    )
    rest = {key: text for key, text in model.metadata.items() if key not in _FIELDS}
    helper.set_model_props(proto, rest)
    if any(not value.dtype or value.shape is None for value in model.outputs):
        proto = onnx.shape_inference.infer_shapes(proto)
        del proto.graph.value_info[:]
    _check(proto)
    return proto


def _check(proto: Any) -> None:
    """Run the checker; it wants a shape of every input and output, which need not be known."""
    import onnx

    unknown = []
    for value in (*proto.graph.input, *proto.graph.output):
        if not value.type.tensor_type.HasField("shape"):
            unknown.append((value, value.type.SerializeToString()))
            tensor = value.type.tensor_type
            tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
            tensor.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"the model cannot be written as ONNX: {error}") from error
    for value, kind in unknown:
        value.ClearField("type")
        if kind:
            value.type.ParseFromString(kind)


def _versions(nodes: list[Node]) -> dict[str, int]:
    """The operator set version of each domain, the newest that a node asks for.

    Raises:
        ValueError: an operator has changed between its node's version and that one.
    """
    from onnx import defs

    found = {"": 0}
    for node in nodes:
        found[node.domain] = max(found.get(node.domain, 0), node.version)
    found[""] = found[""] or defs.onnx_opset_version()
    for domain in found:
        found[domain] = found[domain] or 1
    for node in nodes:
        newest = found[node.domain]
        if node.version not in (0, newest):
            own, other = (_since(node, version) for version in (node.version, newest))
            if own != other:
                raise ValueError(
                    f"{node.label()} is of operator set {node.version} and changed until "
                    f"{newest}, which other nodes need; an ONNX file has one version for all"
                )
    return found


def _since(node: Node, version: int) -> int | None:
    """The version in which the operator got the meaning that it has in this one."""
    schema = _schema(node, version)
    return None if schema is None else schema.since_version


def _schema(node: Node, version: int) -> Any:
    from onnx import defs

    try:
        return defs.get_schema(node.op, version, node.domain)
    except defs.SchemaError:
        return None


def _node(node: Node, version: int) -> Any:
    from onnx import helper, numpy_helper

    proto = helper.make_node(
        node.op, node.inputs, node.outputs, name=node.name or None, domain=node.domain or None
    )
    schema = _schema(node, version)
    for name, value in node.attrs.items():
        if isinstance(value, np.ndarray):
            value, kind = numpy_helper.from_array(value), None
        else:
            kind = schema.attributes[name].type if schema and name in schema.attributes else None
            value, kind = _typed(value, kind)
        proto.attribute.append(helper.make_attribute(name, value, attr_type=kind))
    return proto


def _typed(value: Any, kind: Any) -> Any:
    """A plain value and type as `make_attribute` takes them: it tells types by values."""
    from onnx import AttributeProto

    plural = isinstance(value, (list, tuple))
    if plural and not value:
        return value, int(kind) if kind else AttributeProto.INTS
    if kind in (AttributeProto.FLOAT, AttributeProto.FLOATS):
        return [float(v) for v in value] if plural else float(value), None
    return value, None


def _value(value: ValueInfo) -> Any:
    from onnx import TensorProto, helper

    if not value.dtype:
        proto = helper.make_tensor_value_info(value.name, TensorProto.FLOAT, None)
        proto.ClearField("type")  # for shape inference to find
        return proto
    return helper.make_tensor_value_info(value.name, _element_type(value.dtype), value.shape)


def _element_type(dtype: str) -> int:
    from onnx import TensorProto, helper

    try:
        return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    except TypeError:
        return int(TensorProto.DataType.Value(dtype.upper()))  # a type that NumPy lacks
