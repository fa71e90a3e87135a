"""The graph of layer calls between the inputs and outputs of a functional model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from fastconv._graph import KerasTensor, Node, flatten, map_structure
from fastconv._graph.tree import pack_as
from fastconv.layers.core import InputLayer

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class FunctionGraph:
    """Nodes in an order in which they can run, and layers in Keras's order.

    Args:
        inputs: symbolic tensors, in any nesting.
        outputs: symbolic tensors computed from them.

    Raises:
        ValueError: an entry is not symbolic, an input appears twice, or an output depends on a
            tensor that is not among the inputs, or two layers have one name.
    """

    def __init__(self, inputs: TensorLike, outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.flat_inputs = flatten(inputs)
        self.flat_outputs = flatten(outputs)
        for kind, tensors in (("inputs", self.flat_inputs), ("outputs", self.flat_outputs)):
            if not tensors:
                raise ValueError(f"a Model needs {kind}, received: {kind}={tensors}")
            for tensor in tensors:
                if not isinstance(tensor, KerasTensor):
                    raise ValueError(
                        f"`{kind}` of a Model must be symbolic tensors made by Input() and layers, "
                        f"received: {tensor!r} of type {type(tensor).__name__}"
                    )
        if len({id(t) for t in self.flat_inputs}) != len(self.flat_inputs):
            raise ValueError(f"`inputs` of a Model must be distinct, received: {inputs}")
        self.input_layers = [_input_layer(t) for t in self.flat_inputs]
        self.nodes, preorder = self._sort()
        self.layers = self._order_layers(preorder)
        for name, count in Counter(layer.name for layer in self.layers).items():
            if count > 1:
                raise ValueError(
                    f"The name '{name}' is used {count} times in the model; "
                    "all layer names must be unique (pass `name=` to one of the layers)"
                )

    def _sort(self) -> tuple[list[Node], dict[int, int]]:
        """Depth-first search from the outputs, without recursion: models can be deep."""
        given = {id(t) for t in self.flat_inputs}
        nodes: list[Node] = []
        done: set[int] = set()
        preorder: dict[int, int] = {}
        used: set[int] = set()
        for output in self.flat_outputs:
            stack = [(output, False)]
            while stack:
                tensor, finished = stack.pop()
                if id(tensor) in given:
                    used.add(id(tensor))
                    continue
                node = tensor.history[0] if tensor.history else None
                if node is None or isinstance(node.layer, InputLayer):
                    raise ValueError(
                        f"the outputs depend on {tensor!r}, which is not among the inputs "
                        f"{[t.name for t in self.flat_inputs]} of the model"
                    )
                if id(node) in done:
                    continue
                if finished:
                    done.add(id(node))
                    nodes.append(node)
                    continue
                preorder.setdefault(id(node.layer), len(preorder))
                stack.append((tensor, True))
                stack.extend((t, False) for t in reversed(node.inputs))
        return nodes, preorder

    def _order_layers(self, preorder: dict[int, int]) -> list[Any]:
        depth: dict[int, int] = {}  # of nodes; outputs have 0
        of_tensor: dict[int, int] = {id(t): 0 for t in self.flat_outputs}
        layer_depth: dict[int, int] = {}
        layers = {}
        for node in reversed(self.nodes):
            value = max(of_tensor.get(id(t), 0) for t in flatten(node.outputs))
            depth[id(node)] = value
            layers[id(node.layer)] = node.layer
            layer_depth[id(node.layer)] = max(layer_depth.get(id(node.layer), 0), value)
            for tensor in node.inputs:
                of_tensor[id(tensor)] = max(of_tensor.get(id(tensor), 0), value + 1)
        for tensor, layer in zip(self.flat_inputs, self.input_layers, strict=True):
            layers[id(layer)] = layer
            layer_depth[id(layer)] = of_tensor.get(id(tensor), 0)
            preorder.setdefault(id(layer), len(preorder))
        return sorted(layers.values(), key=lambda x: (-layer_depth[id(x)], preorder[id(x)]))

    def run(self, values: list[Any]) -> Any:
        """Call the layers on other tensors and return the outputs in their nesting."""
        table = dict(zip((id(t) for t in self.flat_inputs), values, strict=True))

        def value(leaf: Any) -> Any:
            return table[id(leaf)] if isinstance(leaf, KerasTensor) else leaf

        for node in self.nodes:
            args, kwargs = map_structure(value, (node.args, node.kwargs))
            outputs = node.layer(*args, **kwargs)
            table.update(zip((id(t) for t in flatten(node.outputs)), flatten(outputs), strict=True))
        return pack_as(self.outputs, [table[id(t)] for t in self.flat_outputs])

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """Return layers and calls as plain data."""
        from fastconv.utils.serialization import plain, serialize_keras_object

        where = {id(t): [-1, i] for i, t in enumerate(self.flat_inputs)}
        for number, node in enumerate(self.nodes):
            where.update((id(t), [number, i]) for i, t in enumerate(flatten(node.outputs)))

        def encode(value: Any) -> Any:
            if isinstance(value, KerasTensor):
                return {"tensor": where[id(value)]}
            if isinstance(value, tuple):
                return {"tuple": [encode(v) for v in value]}
            if isinstance(value, list):
                return [encode(v) for v in value]
            if isinstance(value, dict):
                return {"dict": {k: encode(v) for k, v in value.items()}}
            return plain(value)

        return {
            "layers": [serialize_keras_object(layer) for layer in self.layers],
            "nodes": [
                {
                    "layer": node.layer.name,
                    "args": encode(list(node.args)),
                    "kwargs": encode(node.kwargs),
                }
                for node in self.nodes
            ],
            "input_layers": [layer.name for layer in self.input_layers],
            "inputs": encode(self.inputs),
            "outputs": encode(self.outputs),
        }

    @classmethod
    def tensors_from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Make the layers, repeat the calls, and return (inputs, outputs)."""
        from fastconv.utils.serialization import deserialize_keras_object

        layers = {}
        for item in config["layers"]:
            layer = deserialize_keras_object(item, custom_objects)
            layers[layer.name] = layer
        given = [layers[name].output for name in config["input_layers"]]
        results: list[Any] = []

        def decode(value: Any) -> Any:
            if isinstance(value, list):
                return [decode(v) for v in value]
            if not isinstance(value, dict):
                return value
            (kind, content), *_ = value.items()
            if kind == "tensor":
                number, index = content
                return given[index] if number < 0 else results[number][index]
            if kind == "tuple":
                return tuple(decode(v) for v in content)
            return {k: decode(v) for k, v in content.items()}

        for node in config["nodes"]:
            layer = layers[node["layer"]]
            results.append(flatten(layer(*decode(node["args"]), **decode(node["kwargs"]))))
        return decode(config["inputs"]), decode(config["outputs"])


def _input_layer(tensor: KerasTensor) -> InputLayer:
    """Return the layer of an input; a tensor from inside another model gets a new one."""
    layer = tensor.history[0].layer if tensor.history else None
    if isinstance(layer, InputLayer):
        return layer
    return InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype)
