"""Normalization layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import constraints, initializers, ops, regularizers
from fastconv.layers.arguments import axis_list, positive_int
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastconv._graph import Variable
    from fastconv._types import Axis, TensorLike


class _Affine(Layer):
    """What normalizations share: weights gamma and beta, each of which may be missing.

    beta_initializer and gamma_initializer give the first values, beta_regularizer and
    gamma_regularizer penalties, beta_constraint and gamma_constraint projections after each update.
    """

    def __init__(
        self,
        center: bool,
        scale: Any,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        beta_constraint: Any,
        gamma_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.center = bool(center)
        self.scale = bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.gamma = self.beta = None
        self.input_spec = InputSpec(min_ndim=2)

    def _channel_axis(self, axis: Axis) -> int:
        """Return the only axis that `axis` names."""
        owner = f'layer "{self.name}"'
        axes = axis_list(axis, "axis", owner)
        if len(axes) != 1:
            raise ValueError(f"{owner}: one `axis` is supported, received: axis={axis!r}")
        return int(axes[0])

    def _need_channel_axis(self, input_shape: Any, axis: int) -> None:
        self._need_shape(input_shape)
        rank = len(input_shape)
        if not -rank <= axis < rank or axis % rank == 0:
            raise ValueError(
                f'layer "{self.name}": axis {axis} does not fit input {tuple(input_shape)}'
            )

    def _add_affine(self, shape: Sequence[int]) -> None:
        for name, wanted in (("gamma", self.scale), ("beta", self.center)):
            if wanted:
                weight = self.add_weight(
                    name=name,
                    shape=shape,
                    initializer=getattr(self, f"{name}_initializer"),
                    regularizer=getattr(self, f"{name}_regularizer"),
                    constraint=getattr(self, f"{name}_constraint"),
                )
                setattr(self, name, weight)

    def _affine(self, y: TensorLike, spread: Sequence[int]) -> Any:
        """Return gamma * y + beta; the weights have the shape `spread` beside a sample."""
        if self.scale:
            y = y * ops.reshape(y.g.variable(self.gamma), spread)
        if self.center:
            y = y + ops.reshape(y.g.variable(self.beta), spread)
        return y

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
        }


class BatchNormalization(_Affine):
    """Zero mean and unit variance of each channel over the batch (Ioffe and Szegedy 2015).

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta. While training, mean and (biased)
    variance are the batch's and the moving ones follow: moving = moving * momentum +
    batch * (1 - momentum). Otherwise, and always when `trainable` is False, the moving ones are
    used. Any rank >= 2.

    Args:
        axis: the channel axis.
        momentum: share of the old value in the moving statistics.
        epsilon: added to the variance.
        center, scale: whether beta and gamma exist.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer:
            first values of the four weights (C,).
        beta_regularizer, gamma_regularizer: penalties that are added to the loss, or None.
        beta_constraint, gamma_constraint: projections after each update, or None.
        renorm, renorm_clipping, renorm_momentum, synchronized: of Keras, not supported.

    Raises:
        ValueError: an axis that the input lacks or whose size is unknown, numbers out of range.
    """

    def __init__(
        self,
        axis: Axis = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: Any = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        if renorm or synchronized:
            raise ValueError(f"{self.name}: renorm and synchronized are not supported")
        owner = f'layer "{self.name}"'
        self.axis = self._channel_axis(axis)
        self.momentum = number(momentum, "momentum", 0, 1, owner)
        self.epsilon = number(epsilon, "epsilon", 0, owner=owner)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.moving_mean: Variable | None = None
        self.moving_variance: Variable | None = None

    def build(self, input_shape: Any) -> None:
        self._need_channel_axis(input_shape, self.axis)
        size = input_shape[self.axis]
        if size is None:
            raise ValueError(
                f'layer "{self.name}": axis {self.axis} of the input must be known, '
                f"received shape {tuple(input_shape)}"
            )
        self._add_affine((size,))
        self.moving_mean = self.add_weight(
            name="moving_mean",
            shape=(size,),
            initializer=self.moving_mean_initializer,
            trainable=False,
        )
        self.moving_variance = self.add_weight(
            name="moving_variance",
            shape=(size,),
            initializer=self.moving_variance_initializer,
            trainable=False,
        )
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})
        self.built = True

    def call(self, inputs: TensorLike, training: bool = False) -> TensorLike:
        g, rank = inputs.g, inputs.ndim
        axis = self.axis % rank
        order = [i for i in range(rank) if i != axis] + [axis]
        x = inputs if axis == rank - 1 else g.transpose(inputs, perm=order)
        gamma = g.variable(self.gamma) if self.scale else None
        beta = g.variable(self.beta) if self.center else None
        mean, variance = g.variable(self.moving_mean), g.variable(self.moving_variance)
        if training and self.trainable:
            momentum = 1.0 - self.momentum
            y = g.batch_norm_training(
                x, gamma, beta, mean, variance, eps=self.epsilon, momentum=momentum, unbiased=False
            )[0]
        else:
            y = g.batch_norm_inference(x, gamma, beta, mean, variance, eps=self.epsilon)
        if axis == rank - 1:
            return y
        return g.transpose(y, perm=[order.index(i) for i in range(rank)])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


class LayerNormalization(_Affine):
    """Zero mean and unit variance of each sample along one or more axes (Ba et al. 2016).

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, with gamma and beta of the sizes of
    those axes.

    Args:
        axis: an axis or a list of them, but the batch's; the last one by default.
        epsilon: added to the variance.
        center, scale: whether beta and gamma exist.
        beta_initializer, gamma_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties that are added to the loss, or None.
        beta_constraint, gamma_constraint: projections after each update, or None.

    Raises:
        ValueError: axes that the input lacks or whose size is unknown.
    """

    def __init__(
        self,
        axis: Axis = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: Any = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.axis = axis_list(axis, "axis", f'layer "{self.name}"')
        self.epsilon = number(epsilon, "epsilon", 0, owner=f'layer "{self.name}"')

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        rank = len(input_shape)
        axes = sorted(a % rank for a in self.axis)
        inside = all(-rank <= a < rank for a in self.axis)
        if not axes or not inside or len(set(axes)) < len(axes):
            raise ValueError(
                f'layer "{self.name}": axis={self.axis} does not fit input {tuple(input_shape)}'
            )
        shape = [input_shape[a] for a in axes]
        if None in shape or 0 in axes:
            raise ValueError(
                f'layer "{self.name}": axes {self.axis} of input {tuple(input_shape)} '
                "must be known and not the batch"
            )
        # Weights of axes that are not the last ones are spread over the axes between them.
        self._spread = [input_shape[i] if i in axes else 1 for i in range(1, rank)]
        self._add_affine(shape)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        axes = [a % inputs.ndim for a in self.axis]
        centred = inputs - ops.mean(inputs, axis=axes, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=axes, keepdims=True)
        y = centred * ops.rsqrt(variance + self.epsilon)
        return self._affine(y, self._spread)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
        }


class GroupNormalization(_Affine):
    """Zero mean and unit variance of each sample over groups of channels (Wu and He 2018).

    y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, with one gamma and beta a channel, and
    mean and variance over all positions and the channels of a group.

    Args:
        groups: number of groups, which divides the channels; -1 makes each channel a group
            (instance normalization).
        axis: the channel axis.
        epsilon: added to the variance.
        center, scale: whether beta and gamma exist.
        beta_initializer, gamma_initializer: first values.
        beta_regularizer, gamma_regularizer: penalties that are added to the loss, or None.
        beta_constraint, gamma_constraint: projections after each update, or None.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: Axis = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: Any = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        owner = f'layer "{self.name}"'
        self.groups = -1 if groups == -1 else positive_int(groups, "groups", owner)
        self.axis = self._channel_axis(axis)
        self.epsilon = number(epsilon, "epsilon", 0, owner=owner)

    def build(self, input_shape: Any) -> None:
        self._need_channel_axis(input_shape, self.axis)
        size = input_shape[self.axis]
        if size is None or (self.groups != -1 and size % self.groups):
            raise ValueError(
                f'layer "{self.name}": axis {self.axis} of the input must be a multiple of '
                f"{self.groups} groups, received shape {tuple(input_shape)}"
            )
        self._add_affine((size,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: size})
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        axis = self.axis % inputs.ndim
        n, *sizes = inputs.shape
        channels = sizes[axis - 1]
        groups = channels if self.groups == -1 else self.groups
        parted = [*sizes[: axis - 1], groups, channels // groups, *sizes[axis:]]
        x = ops.reshape(inputs, (n, *parted))
        over = [i for i in range(1, x.ndim) if i != axis]
        centred = x - ops.mean(x, axis=over, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=over, keepdims=True)
        y = ops.reshape(centred * ops.rsqrt(variance + self.epsilon), inputs.shape)
        spread = [channels if i == axis else 1 for i in range(1, inputs.ndim)]
        return self._affine(y, spread)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "groups": self.groups,
            "axis": self.axis,
            "epsilon": self.epsilon,
        }


class LocalResponseNormalization(Layer):
    """Normalization across neighbouring channels (Krizhevsky et al. 2012).

    y = x / (k + alpha / size * sum of x**2 over `size` channels around) ** beta, channels last.

    Args:
        size: channels in the window.
        alpha, beta, k: constants of the formula.
    """

    def __init__(
        self, size: Any = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size = positive_int(size, "size", f'layer "{self.name}"')
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.k = float(k)
        self.input_spec = InputSpec(min_ndim=2)

    def call(self, inputs: TensorLike) -> TensorLike:
        return inputs.g.local_response_norm(
            inputs, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "k": self.k,
        }
