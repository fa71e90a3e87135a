"""Layers that add or multiply noise while training, and a penalty on what passes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastconv import ops, regularizers
from fastconv.layers.base import Layer
from fastconv.utils.checks import number

if TYPE_CHECKING:
    from fastconv._types import Shape, TensorLike


class _Noise(Layer):
    """Base of the layers here: they change nothing at inference.

    `seed` fixes the random numbers, which still are others in each step.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.built = True

    def _share(self, rate: float) -> float:
        if number(rate, "rate", 0, 1, f'layer "{self.name}"') == 1:
            raise ValueError(f'layer "{self.name}": `rate` must be < 1, received: rate={rate!r}')
        return float(rate)

    def uniform(self, x: TensorLike, shape: Shape) -> Any:
        """Return random numbers in [0, 1) of a shape and the type of x, new ones in each step."""
        g = x.g
        seed = g.seed(fixed=self.seed is not None)
        salt = g.next_salt() + (0 if self.seed is None else int(self.seed) % 2**40 * 65537)
        return g.random_uniform(
            seed, shape=list(shape), low=0.0, high=1.0, dtype=x.dtype, salt=salt
        )

    def normal(self, x: TensorLike, mean: float, stddev: float) -> Any:
        """Return numbers of the shape of x with that mean and `stddev` (Box and Muller 1958)."""
        radius = ops.sqrt(ops.log(1.0 - self.uniform(x, x.shape)) * -2.0)
        angle = self.uniform(x, x.shape) * (2.0 * math.pi)
        return radius * x.g.cos(angle) * stddev + mean

    def call(self, inputs: TensorLike, training: bool = False) -> TensorLike:
        return self.changed(inputs) if training else inputs

    def changed(self, x: TensorLike) -> TensorLike:
        """Return x with noise."""
        raise NotImplementedError(f"{type(self).__name__} does not define changed()")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


class GaussianNoise(_Noise):
    """Adds noise of standard deviation `stddev` while training.

    `seed` fixes the random numbers, which still are others in each step.
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.stddev = number(stddev, "stddev", 0, owner=f'layer "{self.name}"')

    def changed(self, x: TensorLike) -> Any:
        return x + self.normal(x, 0.0, self.stddev) if self.stddev else x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev}


class GaussianDropout(_Noise):
    """Multiplies by noise around 1 of standard deviation sqrt(rate / (1 - rate)) while training.

    `seed` fixes the random numbers, which still are others in each step. Source: Srivastava et al.
    2014.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = self._share(rate)
        if self.rate == 1:
            raise ValueError(
                f'layer "{self.name}": `rate` must be below 1, received: rate={rate!r}'
            )

    def changed(self, x: TensorLike) -> Any:
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        return x * self.normal(x, 1.0, stddev) if self.rate else x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class AlphaDropout(_Noise):
    """Dropout that keeps mean and variance of what `selu` gives (Klambauer et al. 2017).

    Args:
        rate: share in [0, 1) of the values that become SELU's limit for negative numbers.
        noise_shape: shape of the mask, with 1 or None: 1 shares the mask along that axis.
        seed: fixes the random numbers, which still are others in each step.
    """

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = self._share(rate)
        if self.rate == 1:
            raise ValueError(
                f'layer "{self.name}": `rate` must be below 1, received: rate={rate!r}'
            )
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def changed(self, x: TensorLike) -> Any:
        if not self.rate:
            return x
        shape = self.noise_shape or x.shape
        shape = [d if n is None else n for n, d in zip(shape, x.shape, strict=True)]
        kept = ops.cast(self.uniform(x, shape) >= self.rate, x.dtype)
        limit = -1.6732632423543772 * 1.0507009873554805
        scale = ((1.0 - self.rate) * (1.0 + self.rate * limit**2)) ** -0.5
        dropped = x * kept + (1.0 - kept) * limit
        return dropped * scale - scale * limit * self.rate

    def get_config(self) -> dict[str, Any]:
        noise = None if self.noise_shape is None else list(self.noise_shape)
        return {**super().get_config(), "rate": self.rate, "noise_shape": noise}


class ActivityRegularization(Layer):
    """Returns its input and adds l1 * sum(|x|) + l2 * sum(x**2), per sample, to the loss."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1, self.l2 = l1, l2
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("activity_regularizer")
        return {**config, "l1": self.l1, "l2": self.l2}
