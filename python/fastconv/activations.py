"""Activation functions by name or as callables; arguments and defaults are Keras 3's.

They take a NumPy array or a tensor of any shape and return one of the same shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import ops

if TYPE_CHECKING:
    from fastconv._types import TensorLike


def linear(x: TensorLike) -> TensorLike:
    """x unchanged."""
    return x


def relu(
    x: TensorLike,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> TensorLike:
    """max(x, 0), optionally with a slope below a threshold and an upper limit.

    x above `threshold` passes, limited to `max_value`; below it the result is
    `negative_slope * (x - threshold)`.
    """
    if negative_slope < 0:
        raise ValueError(f"negative_slope must be >= 0, received: {negative_slope}")
    if max_value is not None and max_value < 0:
        raise ValueError(f"max_value must be >= 0, received: {max_value}")
    if threshold != 0:
        # 1 above the threshold and 0 up to it, without a comparison operator: sign, then ReLU.
        above = ops.relu(ops.sign(x - threshold))
        y = x * above
        if negative_slope:
            y = y - ops.relu(threshold - x) * negative_slope
    elif negative_slope:
        y = ops.leaky_relu(x, negative_slope)
    elif max_value is not None:
        return ops.clip(x, 0.0, max_value)  # which becomes part of a convolution
    else:
        y = ops.relu(x)
    return y if max_value is None else ops.minimum(y, max_value)


def leaky_relu(x: TensorLike, negative_slope: float = 0.2) -> TensorLike:
    """x where positive, else negative_slope * x (Maas et al. 2013)."""
    return ops.leaky_relu(x, negative_slope)


def relu6(x: TensorLike) -> TensorLike:
    """min(max(x, 0), 6)."""
    return ops.clip(x, 0.0, 6.0)


def elu(x: TensorLike, alpha: float = 1.0) -> TensorLike:
    """x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    return ops.elu(x, alpha)


def selu(x: TensorLike) -> TensorLike:
    """Scaled ELU of x (Klambauer et al. 2017)."""
    return ops.selu(x)


def gelu(x: TensorLike, approximate: bool = False) -> TensorLike:
    """x * P(X <= x), X standard normal (Hendrycks and Gimpel 2016); by tanh if `approximate`."""
    return ops.gelu(x, approximate)


def silu(x: TensorLike) -> TensorLike:
    """x * sigmoid(x) (Ramachandran et al. 2017)."""
    return ops.silu(x)


def sigmoid(x: TensorLike) -> TensorLike:
    """1 / (1 + exp(-x))."""
    return ops.sigmoid(x)


def tanh(x: TensorLike) -> TensorLike:
    """Hyperbolic tangent of x."""
    return ops.tanh(x)


def softmax(x: TensorLike, axis: int = -1) -> TensorLike:
    """Probabilities along the axis: exp(x) / sum(exp(x)).

    Raises:
        ValueError: the input has one axis only.
    """
    if len(x.shape) < 2:
        raise ValueError(f"softmax needs an input of at least 2 axes, received shape {x.shape}")
    return ops.softmax(x, axis)


def log_softmax(x: TensorLike, axis: int = -1) -> TensorLike:
    """Logarithm of the softmax of x along the axis."""
    return ops.log_softmax(x, axis)


def softplus(x: TensorLike) -> TensorLike:
    """log(1 + exp(x))."""
    return ops.softplus(x)


def softsign(x: TensorLike) -> TensorLike:
    """x / (1 + |x|)."""
    return ops.softsign(x)


def hard_sigmoid(x: TensorLike) -> TensorLike:
    """clip(x / 6 + 1 / 2, 0, 1)."""
    return ops.hard_sigmoid(x)


def hard_silu(x: TensorLike) -> TensorLike:
    """x * hard_sigmoid(x) (Howard et al. 2019)."""
    return ops.hard_silu(x)


def exponential(x: TensorLike) -> TensorLike:
    """e to the power of x."""
    return ops.exp(x)


def mish(x: TensorLike) -> TensorLike:
    """x * tanh(softplus(x)) (Misra 2019)."""
    return x * ops.tanh(ops.softplus(x))


def log_sigmoid(x: TensorLike) -> TensorLike:
    """log(sigmoid(x))."""
    return -ops.softplus(-x)


swish = silu
hard_swish = hard_silu

_ALL = {
    fn.__name__: fn
    for fn in (
        linear,
        relu,
        leaky_relu,
        relu6,
        elu,
        selu,
        gelu,
        silu,
        sigmoid,
        tanh,
        softmax,
        log_softmax,
        softplus,
        softsign,
        hard_sigmoid,
        hard_silu,
        exponential,
        mish,
        log_sigmoid,
    )
}
_ALL.update(swish=silu, hard_swish=hard_silu)


def serialize(activation: Any) -> Any:
    """Return the name of a built-in activation, or a registered name."""
    if activation is linear or activation is None:
        return "linear"
    from fastconv.utils.serialization import serialize_callable

    return serialize_callable(activation, _ALL)


def deserialize(config: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the activation of the name `config`, which may be one of `custom_objects`."""
    from fastconv.utils.serialization import lookup

    return lookup(config, _ALL, custom_objects, "activation function")


def get(identifier: Any) -> Any:
    """Return an activation from None (linear), a name, a callable, or a serialized config.

    Raises:
        ValueError: the name is unknown; TypeError: the identifier is of another kind.
    """
    if identifier is None:
        return linear
    if callable(identifier):
        return identifier
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    raise TypeError(f"could not interpret activation identifier: {identifier!r}")
