"""`Sequential`: a plain stack of layers."""

from __future__ import annotations

from typing import Any

from fastconv._graph import KerasTensor
from fastconv.layers.base import Layer, is_shape
from fastconv.layers.core import InputLayer
from fastconv.models.function import FunctionGraph
from fastconv.models.model import Model


class Sequential(Model):
    """A stack of layers, each with one input and one output.

    The input shape comes from an `Input` in front, from `input_shape=` of the first layer, or
    from the first data.

    Args:
        layers: layers to add.
        name: name of the model.

    Examples:
        >>> import numpy as np
        >>> from fastconv import layers
        >>> model = Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
        >>> model.output_shape, model.count_params()
        ((None, 10), 650)
        >>> model.predict(np.zeros((3, 8, 8, 1)), verbose=0).shape
        (3, 10)
    """

    def __init__(self, layers: Any = None, trainable: bool = True, name: str | None = None) -> None:
        Model.__init__(self, name=name)
        self._stack: list[Layer] = []
        self._entry: InputLayer | None = None
        self._tensors: list[KerasTensor] = []  # the input, then the output of each layer
        for layer in layers or ():
            self.add(layer)
        if not trainable:
            self.trainable = False

    @property
    def layers(self) -> Any:
        return list(self._stack)

    @property
    def _function(self) -> Any:
        if self._functional is None and self._entry is not None and self._stack:
            self._functional = FunctionGraph(self._tensors[0], self._tensors[-1])
        return self._functional

    def add(self, layer: Layer, rebuild: bool = True) -> None:
        """Add a layer at the end; `rebuild` is accepted for Keras code.

        Raises:
            TypeError: it is not a layer.
            ValueError: its name is taken, or it does not fit.
        """
        if isinstance(layer, KerasTensor):
            origin = layer.history[0].layer if layer.history else None
            if not isinstance(origin, InputLayer):
                raise ValueError(
                    "only the result of Input() can be added to a Sequential model, "
                    f"received: {layer!r}"
                )
            layer = origin
        if not isinstance(layer, Layer):
            raise TypeError(
                f"only layers can be added to a Sequential model, received: {layer!r} "
                f"(of type {type(layer).__name__})"
            )
        if isinstance(layer, InputLayer):
            if self._stack or self._entry is not None:
                raise ValueError(
                    f"Sequential model '{self.name}' already has an input; Input() comes first"
                )
            self._start(layer)
            return
        if any(layer.name == other.name for other in self._stack):
            raise ValueError(
                f"all layers of Sequential model '{self.name}' need unique names; "
                f"'{layer.name}' is there already"
            )
        if not self._stack and self._entry is None:
            if layer._declared_shape is not None:
                self._start(InputLayer(batch_shape=layer._declared_shape, dtype=layer.dtype))
            elif isinstance(layer, Model) and layer._function is not None:
                shape = layer.input_shape
                if is_shape(shape):
                    self._start(InputLayer(batch_shape=shape, dtype=layer.dtype))
        if self._entry is not None:
            output = layer(self._tensors[-1])
            if not isinstance(output, KerasTensor):
                raise ValueError(
                    f"layers of a Sequential model must have one output; '{layer.name}' has several"
                )
            self._tensors.append(output)
        self._stack.append(layer)
        self._changed()

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it; `rebuild` is accepted for Keras code.

        Raises:
            ValueError: there is none.
        """
        if not self._stack:
            raise ValueError(f"Sequential model '{self.name}' has no layers to remove")
        layer = self._stack.pop()
        if self._entry is not None:
            history = self._tensors.pop().history
            layer._nodes = [n for n in layer._nodes if history is None or n is not history[0]]
        self._changed()
        return layer

    def _start(self, entry: InputLayer) -> None:
        self._entry = entry
        self._tensors = [entry.output]
        self.dtype = entry.dtype

    def _changed(self) -> None:
        self._functional = None
        self.built = self._entry is not None and bool(self._stack)
        self._reset_plans()
        self._eager_plans.clear()

    def build(self, input_shape: Any = None) -> None:
        """Create the weights for an input shape with its batch axis."""
        if self._entry is not None:
            self.built = bool(self._stack)
            return
        if input_shape is None:
            raise ValueError(
                f"Sequential model '{self.name}' has no input shape: pass it to build(), give its "
                "first layer an `input_shape`, or begin with Input()"
            )
        if not is_shape(input_shape):
            raise ValueError(
                f"Sequential model '{self.name}' has one input, received shapes {input_shape}"
            )
        if not self._stack:
            raise ValueError(f"Sequential model '{self.name}' has no layers")
        dtype = self._stack[0].dtype
        self._start(InputLayer(batch_shape=(None, *input_shape[1:]), dtype=dtype))
        for layer in self._stack:
            self._tensors.append(layer(self._tensors[-1]))
        self._changed()

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self._function is None:
            shape = tuple(input_shape)
            for layer in self._stack:
                shape = layer.compute_output_shape(shape)
            return tuple(shape)
        return super().compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        from fastconv.utils.serialization import serialize_keras_object

        layers = [self._entry] if self._entry is not None else []
        return {
            "name": self.name,
            "trainable": self._trainable,
            "layers": [serialize_keras_object(layer) for layer in [*layers, *self._stack]],
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Make a model from `get_config()`, with new weights.

        `custom_objects` holds own classes and functions by name.
        """
        from fastconv.utils.serialization import deserialize_keras_object

        model = cls(name=config.get("name"))
        for item in config.get("layers", ()):
            model.add(deserialize_keras_object(item, custom_objects))
        model._trainable = config.get("trainable", True)
        return model
