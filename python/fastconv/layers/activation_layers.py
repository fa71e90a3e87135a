"""Activations as layers, where they have arguments or weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import activations, constraints, initializers, ops, regularizers
from fastconv.layers.arguments import axis_list
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import Axis, TensorLike


class _Elementwise(Layer):
    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)


class ReLU(_Elementwise):
    """min(max(x, 0), max_value), with another slope below a threshold.

    Args:
        max_value: upper limit, None for none; 6 is ReLU6.
        negative_slope: slope below the threshold.
        threshold: smaller values become negative_slope * (x - threshold).
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = f'layer "{self.name}"'
        if max_value is not None:
            number(max_value, "max_value", 0, owner=owner)
        self.max_value = max_value
        self.negative_slope = number(negative_slope, "negative_slope", 0, owner=owner)
        self.threshold = number(threshold, "threshold", 0, owner=owner)

    def call(self, inputs: TensorLike) -> TensorLike:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class LeakyReLU(_Elementwise):
    """x where positive, else negative_slope * x (Maas et al. 2013).

    `alpha` is the older name of the slope.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        owner = f'layer "{self.name}"'
        self.negative_slope = number(negative_slope, "negative_slope", 0, owner=owner)

    def call(self, inputs: TensorLike) -> TensorLike:
        return ops.leaky_relu(inputs, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "negative_slope": self.negative_slope}


class ELU(_Elementwise):
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = number(alpha, "alpha", owner=f'layer "{self.name}"')

    def call(self, inputs: TensorLike) -> TensorLike:
        return ops.elu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class PReLU(_Elementwise):
    """x where positive, else alpha * x with a learned alpha (He et al. 2015).

    Args:
        alpha_initializer: first values of alpha.
        alpha_regularizer: penalty on alpha that is added to the loss, or None.
        alpha_constraint: projection of alpha after each update, or None.
        shared_axes: axes (counted from 1) along which alpha is shared, [1, 2] for one per channel.
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if shared_axes is not None:
            shared_axes = axis_list(shared_axes, "shared_axes", f'layer "{self.name}"')
        self.shared_axes = shared_axes
        self.alpha: Variable | None = None

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            if not -len(shape) <= axis - 1 < len(shape):
                raise ValueError(
                    f'layer "{self.name}": shared_axes={self.shared_axes} does not fit input '
                    f"{tuple(input_shape)}, whose axes are counted from 1"
                )
            shape[axis - 1] = 1
        if None in shape:
            raise ValueError(
                f'layer "{self.name}": all axes of input {tuple(input_shape)} that are not in '
                "shared_axes must be known"
            )
        self.alpha = self.add_weight(
            name="alpha",
            shape=shape,
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        self.input_spec = InputSpec(ndim=len(input_shape))
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        negative = ops.relu(-inputs)
        return ops.relu(inputs) - inputs.g.variable(self.alpha) * negative

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "alpha_constraint": constraints.serialize(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }


class Softmax(_Elementwise):
    """Probabilities along an axis, exp(x) / sum(exp(x)), in the input's shape."""

    def __init__(self, axis: Axis = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        axes = axis_list(axis, "axis", f'layer "{self.name}"')
        if len(axes) != 1:
            raise ValueError(f"{self.name}: one `axis` is supported, received: axis={axis!r}")
        self.axis = axes[0]

    def call(self, inputs: TensorLike) -> TensorLike:
        return activations.softmax(inputs, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
