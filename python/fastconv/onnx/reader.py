"""Reading ONNX models into `ModelGraph`; every size, name and path of the file is checked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.inference.model import ModelGraph, Node, ValueInfo
from fastconv.inference.structure import checked, checked_shape
from fastconv.onnx.functions import Function, Inliner, Reference
from fastconv.onnx.large import split
from fastconv.onnx.tensors import ExternalFiles, dtype_name, text, to_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv.models import Model

OLDEST_OPSET = 7


def load(model: Model) -> ModelGraph:
    """Return the `ModelGraph` of an ONNX model.

    Functions of the model are inlined, `Constant` nodes become constants, and weights that are
    also listed as inputs are constants only. Subgraphs (of If, Loop, Scan) are left out.

    Args:
        model: path of a file, the bytes of one, or an `onnx.ModelProto`. External data is read
            for paths only, from inside the model's folder, and mapped into memory.

    Raises:
        ImportError: the package `onnx` is missing.
        TypeError: `model` is none of these.
        FileNotFoundError: no such file.
        ValueError: not an ONNX model, damaged, older than operator set 7, newer than the installed
            package `onnx`, or with other types than tensors of numbers; the message names the
            file and the node or tensor.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            f"reading ONNX models needs the package onnx ({error}): pip install 'fastconv[onnx]'"
        ) from error
    where, folder = "the ONNX model", None
    large: dict[int, NDArray[Any]] = {}
    if isinstance(model, onnx.ModelProto):
        proto = model
    elif isinstance(model, bytes | bytearray | memoryview):
        proto = _parse(bytes(model), where)
    elif isinstance(model, str | os.PathLike):
        where = os.fsdecode(model)
        folder = os.path.dirname(os.path.abspath(where))
        data, large = _read(where)
        proto = _parse(data, where)
    else:
        raise TypeError(
            f"an ONNX model is a path, bytes or an onnx.ModelProto, not {type(model).__name__}"
        )
    try:
        return _Reader(proto, where, ExternalFiles(folder), large).read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is damaged: a text in it is not UTF-8 ({error})") from None


def _read(path: str) -> tuple[bytes, dict[int, NDArray[Any]]]:
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not an ONNX model")
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such ONNX model: {path}")
    with open(path, "rb") as file:
        return split(file)


def _parse(data: bytes, where: str) -> Any:
    from google.protobuf.message import DecodeError

    import onnx

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        if len(data) >= 2**31:
            raise ValueError(
                f"{where} is larger than protobuf's 2 GB; keep its weights as external data"
            ) from None
        raise ValueError(f"{where} is not an ONNX model or is damaged: {error}") from None
    return proto


class _Reader:
    def __init__(
        self, proto: Any, where: str, files: ExternalFiles, large: dict[int, NDArray[Any]]
    ) -> None:
        self._proto = proto
        self._large = large
        self._where = where
        self._files = files
        self._constants: dict[str, NDArray[Any]] = {}

    def read(self) -> ModelGraph:
        proto, graph = self._proto, self._proto.graph
        if not proto.HasField("graph"):
            raise ValueError(f"{self._where} is not an ONNX model or is damaged: it has no graph")
        self._check_version()
        opsets = self._opsets(proto.opset_import, "the model")
        if len(graph.sparse_initializer):
            name = graph.sparse_initializer[0].values.name
            raise ValueError(f"{self._where}: the sparse tensor {name!r} is not supported")
        for index, tensor in enumerate(graph.initializer):
            name = text(tensor.name)
            what = f"{self._where}: the tensor {name!r}"
            value = to_array(tensor, self._files, what, self._large.get(index))
            self._add_constant(name, value)
        nodes = self._nodes(graph, opsets)
        weights = {text(tensor.name) for tensor in graph.initializer}
        inputs = []
        for value in graph.input:
            info = self._value(value, "input")
            if info.name not in weights:
                inputs.append(info)
            elif info.dtype != self._constants[info.name].dtype.name:
                raise ValueError(
                    f"{self._where}: the input {info.name!r} is declared as {info.dtype}, its "
                    f"default value is {self._constants[info.name].dtype.name}"
                )
        outputs = [self._value(value, "output") for value in graph.output]
        metadata = {text(entry.key): text(entry.value) for entry in proto.metadata_props}
        for key in ("producer_name", "producer_version", "domain", "doc_string"):
            if getattr(proto, key):
                metadata.setdefault(key, text(getattr(proto, key)))
        model = ModelGraph(text(graph.name), inputs, outputs, nodes, self._constants, metadata)
        return checked(model, self._where)

    def _check_version(self) -> None:
        import onnx

        version = self._proto.ir_version
        if version > onnx.IR_VERSION:
            raise ValueError(
                f"{self._where} has format version {version}, the installed onnx "
                f"{onnx.__version__} reads up to {onnx.IR_VERSION}: pip install --upgrade onnx"
            )

    def _opsets(self, imports: Any, what: str) -> dict[str, int]:
        """Return the version of each domain after checking that of ONNX's own."""
        import onnx

        found: dict[str, int] = {}
        for entry in imports:
            domain, version = _domain(entry.domain), entry.version
            if found.setdefault(domain, version) != version:
                raise ValueError(
                    f"{self._where}: {what} imports the operator set {domain or 'ai.onnx'!r} in "
                    f"versions {found[domain]} and {version}"
                )
        version = found.get("")
        newest = onnx.defs.onnx_opset_version()
        if version is not None and version < OLDEST_OPSET:
            raise ValueError(
                f"{self._where}: {what} uses operator set {version}, fastconv reads {OLDEST_OPSET} "
                "and newer; convert it with onnx.version_converter"
            )
        if version is not None and version > newest:
            raise ValueError(
                f"{self._where}: {what} uses operator set {version}, the installed onnx "
                f"{onnx.__version__} knows up to {newest}: pip install --upgrade onnx"
            )
        return found

    def _nodes(self, graph: Any, opsets: dict[str, int]) -> list[Node]:
        functions = self._functions(opsets)
        plain = [(self._node(node, opsets), text(node.overload)) for node in graph.node]
        names = {name for node, _ in plain for name in (*node.inputs, *node.outputs)}
        names.update(self._constants, (text(value.name) for value in graph.input))
        inliner = Inliner(functions, names, self._where)
        nodes = []
        for node, overload in plain:
            for inner in inliner.expand(node, overload):
                if inner.op == "Constant" and not inner.domain:
                    self._constant(inner)
                else:
                    nodes.append(inner)
        return nodes

    def _functions(self, opsets: dict[str, int]) -> dict[tuple[Any, ...], Function]:
        found = {}
        for proto in self._proto.functions:
            label = f"the function {proto.name!r}"
            key = (_domain(proto.domain), text(proto.name), text(proto.overload))
            if key in found:
                raise ValueError(f"{self._where}: {label} is defined twice")
            own = {**opsets, **self._opsets(proto.opset_import, label)}
            inputs, outputs = _texts(proto.input), _texts(proto.output)
            for names, kind in ((inputs, "inputs"), (outputs, "outputs")):
                if "" in names or len(set(names)) < len(names):
                    raise ValueError(f"{self._where}: {label} has empty or repeated {kind}")
            defaults = self._attributes(proto.attribute_proto, label)
            nodes = [
                (self._node(node, own, inside=True), text(node.overload)) for node in proto.node
            ]
            found[key] = Function(label, inputs, outputs, defaults, nodes)
        return found

    def _node(self, proto: Any, opsets: dict[str, int], inside: bool = False) -> Node:
        node = Node(
            text(proto.op_type),
            _texts(proto.input),
            _texts(proto.output),
            name=text(proto.name),
            domain=_domain(proto.domain),
        )
        if not node.op:
            raise ValueError(f"{self._where}: node {node.name!r} has no operator type")
        if not node.domain and "" not in opsets:
            raise ValueError(f"{self._where} does not say which operator set it uses")
        node.version = opsets.get(node.domain, 0)
        node.attrs = self._attributes(proto.attribute, node.label(), inside)
        return node

    def _attributes(self, protos: Any, label: str, inside: bool = False) -> dict[str, Any]:
        found = {}
        for proto in protos:
            what = f"{self._where}: the attribute {proto.name!r} of {label}"
            name = text(proto.name)
            if not name:
                raise ValueError(f"{self._where}: {label} has an attribute without a name")
            if name in found:
                raise ValueError(f"{what} is given twice")
            if proto.ref_attr_name:
                if not inside:
                    raise ValueError(f"{what} refers to {proto.ref_attr_name!r} of no function")
                found[name] = Reference(text(proto.ref_attr_name))
                continue
            value = self._attribute(proto, what)
            if value is not None:
                found[name] = value
        return found

    def _attribute(self, proto: Any, what: str) -> Any:
        """Return the value of an attribute, None for subgraphs and types."""
        kind = proto.type
        if kind == proto.FLOAT:
            return proto.f
        if kind == proto.INT:
            return proto.i
        if kind == proto.STRING:
            return text(proto.s)
        if kind == proto.TENSOR:
            return to_array(proto.t, self._files, what)
        if kind == proto.FLOATS:
            return list(proto.floats)
        if kind == proto.INTS:
            return list(proto.ints)
        if kind == proto.STRINGS:
            return _texts(proto.strings)
        if kind in (proto.GRAPH, proto.GRAPHS, proto.TYPE_PROTO, proto.TYPE_PROTOS):
            return None
        if kind == proto.UNDEFINED:
            raise ValueError(f"{what} has no type")
        raise ValueError(f"{what} is of a type that is not supported (sparse or several tensors)")

    def _constant(self, node: Node) -> None:
        """Turn a Constant node into a constant."""
        what = f"{self._where}: {node.label()}"
        if len(node.attrs) != 1 or len(node.outputs) != 1 or node.inputs:
            raise ValueError(
                f"{what} needs one value and one output, it has the attributes "
                f"{sorted(node.attrs)}, the inputs {node.inputs} and the outputs {node.outputs}"
            )
        ((kind, value),) = node.attrs.items()
        kinds = {
            "value": (np.ndarray, None),
            "value_float": (float, np.float32),
            "value_int": (int, np.int64),
            "value_floats": (list, np.float32),
            "value_ints": (list, np.int64),
        }
        if kind not in kinds:
            raise ValueError(
                f"{what} has a {kind}, which is not supported; use a tensor of numbers"
            )
        expected, dtype = kinds[kind]
        numbers = not isinstance(value, list) or not any(isinstance(v, str) for v in value)
        if not isinstance(value, expected) or not numbers:
            raise ValueError(f"{what}: its attribute {kind!r} has the wrong type")
        if dtype is not None:
            value = np.array(value, dtype=dtype)
            value.flags.writeable = False
        self._add_constant(node.outputs[0], np.asarray(value))

    def _add_constant(self, name: str, value: NDArray[Any]) -> None:
        if not name:
            raise ValueError(f"{self._where}: a constant has no name")
        if name in self._constants:
            raise ValueError(f"{self._where}: the constant {name!r} is defined twice")
        self._constants[name] = value

    def _value(self, proto: Any, kind: str) -> ValueInfo:
        what = f"{self._where}: the {kind} {proto.name!r}"
        form = proto.type.WhichOneof("value")
        if form is None and kind == "output":
            return ValueInfo(text(proto.name), "", None)
        if form != "tensor_type":
            raise ValueError(
                f"{what} is of type {(form or 'none').removesuffix('_type')}; only tensors of "
                "numbers are supported"
            )
        tensor = proto.type.tensor_type
        if not tensor.elem_type and kind == "output":
            dtype = ""
        else:
            dtype = dtype_name(tensor.elem_type, what)
        if not tensor.HasField("shape"):
            return ValueInfo(text(proto.name), dtype, None)
        shape = [_dimension(dimension) for dimension in tensor.shape.dim]
        return ValueInfo(text(proto.name), dtype, checked_shape(shape, what))


def _dimension(proto: Any) -> Any:
    if proto.HasField("dim_value"):
        # Some exporters write -1 for a size that is not known.
        return None if proto.dim_value == -1 else proto.dim_value
    name = text(proto.dim_param)
    return None if name in ("", "?") else name  # some write "?" for every unknown size


def _domain(name: str | bytes) -> str:
    name = text(name)
    return "" if name == "ai.onnx" else name


def _texts(names: Any) -> list[str]:
    return [text(name) for name in names]
