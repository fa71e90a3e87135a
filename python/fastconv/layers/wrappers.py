"""Layers around another layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import ops
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec
from fastconv.layers.normalization import BatchNormalization

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class TimeDistributed(Layer):
    """A layer applied to each step of a sequence, with the same weights: (N, T, ...).

    Args:
        layer: the layer, whose input is one step: (N, ...).

    Raises:
        ValueError: `layer` is not a layer, or the input has fewer than 3 axes.
    """

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise ValueError(f'layer "{self.name}" needs a layer, received: layer={layer!r}')
        self.layer = layer
        self.input_spec = InputSpec(min_ndim=3)

    def _step_shape(self, input_shape: Any) -> Any:
        self._need_shape(input_shape)
        return (input_shape[0], *input_shape[2:])

    def build(self, input_shape: Any) -> None:
        if not self.layer.built:
            self.layer._ensure_built(self._step_shape(input_shape))
        self.built = True

    def call(self, inputs: TensorLike, training: bool = False) -> TensorLike:
        n, steps, *rest = inputs.shape
        if training and any(isinstance(x, BatchNormalization) for x in self.layer._all_layers()):
            # Each step is a batch of its own.
            found = [self.layer(inputs[:, step]) for step in range(steps)]
            return ops.stack(found, axis=1)
        y = self.layer(ops.reshape(inputs, (n * steps, *rest)))
        return ops.reshape(y, (n, steps, *y.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, *rest = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (n, input_shape[1], *rest)

    def get_config(self) -> dict[str, Any]:
        from fastconv.utils.serialization import serialize_keras_object

        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        from fastconv.utils.serialization import deserialize_keras_object

        config = dict(config)
        return cls(deserialize_keras_object(config.pop("layer")), **config)
