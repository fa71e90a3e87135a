"""Initial values of weights. Names, defaults and formulas are Keras 3's.

An initializer is a callable `(shape, dtype=None) -> numpy array`. One instance returns the same
values at each call of the same shape; layers therefore take a copy with a new seed of an unseeded
instance. Numbers out of range raise ValueError.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.config import standardize_dtype
from fastconv.utils.checks import number
from fastconv.utils.naming import snake_case
from fastconv.utils.rng import draw_seed
from fastconv.utils.serialization import lookup, serialize_keras_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastconv._types import TensorLike


class Initializer:
    """Base class: subclasses define `__call__(shape, dtype=None)` and `get_config()`."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype)")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make an initializer from what `get_config()` returned, `config`."""
        return cls(**config)

    def clone(self) -> Any:
        """Return an equal initializer."""
        return type(self).from_config(self.get_config())


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        return np.zeros(shape, standardize_dtype(dtype))


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        return np.ones(shape, standardize_dtype(dtype))


class Constant(Initializer):
    """All `value`, a number or an array that broadcasts to the shape."""

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        return np.broadcast_to(
            np.asarray(self.value, standardize_dtype(dtype)), tuple(shape)
        ).copy()

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class Identity(Initializer):
    """`gain` on the diagonal of a matrix, 0 elsewhere."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        if len(shape) != 2:
            raise ValueError(f"Identity initializes matrices only, received: shape={shape}")
        return self.gain * np.eye(shape[0], shape[1], dtype=standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class RandomInitializer(Initializer):
    """Base of the random ones: holds the seed (None draws one from the process-wide generator)."""

    def __init__(self, seed: int | None = None) -> None:
        self._given_seed = seed
        if seed is None:
            seed = draw_seed()
        elif isinstance(seed, (dict, bool)):
            raise ValueError(f"`seed` must be an integer or None, received: seed={seed!r}")
        self.seed = int(seed)

    def _rng(self) -> Any:
        return np.random.default_rng(self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._given_seed}


class RandomNormal(RandomInitializer):
    """Normal distribution with that mean and standard deviation `stddev`."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        number(mean, "mean", owner=type(self).__name__)
        number(stddev, "stddev", 0, owner=type(self).__name__)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        values = self._rng().standard_normal(shape)
        return np.asarray(self.mean + self.stddev * values, standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class RandomUniform(RandomInitializer):
    """Uniform distribution in [minval, maxval)."""

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        number(minval, "minval", owner="RandomUniform")
        number(maxval, "maxval", minval, owner="RandomUniform")
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        values = self._rng().uniform(self.minval, self.maxval, shape)
        return np.asarray(values, standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


def _truncated_normal(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[Any]:
    """Standard normal values drawn again where they are beyond two standard deviations."""
    values: NDArray[Any] = np.asarray(rng.standard_normal(shape))
    while True:
        outside = np.abs(values) > 2.0
        count = np.count_nonzero(outside)
        if not count:
            return values
        values[outside] = rng.standard_normal(count)


class TruncatedNormal(RandomInitializer):
    """Normal distribution of `mean` and `stddev`, without what is beyond two deviations."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        number(mean, "mean", owner=type(self).__name__)
        number(stddev, "stddev", 0, owner=type(self).__name__)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        values = _truncated_normal(self._rng(), tuple(shape) or (1,)).reshape(shape)
        return np.asarray(self.mean + self.stddev * values, standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


def compute_fans(shape: Sequence[int]) -> tuple[float, float]:
    """Return (fan_in, fan_out) of a weight's shape; the last two axes are inputs and outputs.

    Examples:
        >>> compute_fans((3, 3, 16, 32))
        (144, 288)
    """
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class VarianceScaling(RandomInitializer):
    """Zero mean and variance `scale / n`, n the fan-in, the fan-out or their average.

    Raises:
        ValueError: `scale` is not positive, or an unknown `mode` or `distribution`.
    """

    def __init__(
        self,
        scale: Any = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        if number(scale, "scale", owner=type(self).__name__) <= 0:
            raise ValueError(f"`scale` must be positive, received: scale={scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"`mode` must be fan_in, fan_out or fan_avg, received: mode={mode!r}")
        if distribution == "normal":
            distribution = "truncated_normal"
        if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(
                "`distribution` must be uniform, truncated_normal or untruncated_normal, "
                f"received: distribution={distribution!r}"
            )
        super().__init__(seed)
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        shape = tuple(shape)
        fan_in, fan_out = compute_fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        rng = self._rng()
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            values = rng.uniform(-limit, limit, shape)
        elif self.distribution == "truncated_normal":
            # Truncation at two deviations shrinks the deviation by this factor.
            stddev = math.sqrt(variance) / 0.87962566103423978
            values = stddev * _truncated_normal(rng, shape or (1,)).reshape(shape)
        else:
            values = math.sqrt(variance) * rng.standard_normal(shape)
        return np.asarray(values).astype(standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            **super().get_config(),
        }


class _NamedScaling(VarianceScaling):
    """A variance scaling with fixed parameters and the seed as the only argument."""

    PARAMETERS: tuple[Any, ...] = ()

    def __init__(self, seed: int | None = None) -> None:
        scale, mode, distribution = self.PARAMETERS
        super().__init__(scale, mode, distribution, seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._given_seed}


class GlorotUniform(_NamedScaling):
    """Uniform, variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    PARAMETERS = (1.0, "fan_avg", "uniform")


class GlorotNormal(_NamedScaling):
    """Truncated normal, variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""

    PARAMETERS = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_NamedScaling):
    """Uniform, variance 2 / fan_in (He et al. 2015)."""

    PARAMETERS = (2.0, "fan_in", "uniform")


class HeNormal(_NamedScaling):
    """Truncated normal, variance 2 / fan_in (He et al. 2015)."""

    PARAMETERS = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_NamedScaling):
    """Uniform, variance 1 / fan_in (LeCun et al. 1998)."""

    PARAMETERS = (1.0, "fan_in", "uniform")


class LecunNormal(_NamedScaling):
    """Truncated normal, variance 1 / fan_in (LeCun et al. 1998)."""

    PARAMETERS = (1.0, "fan_in", "truncated_normal")


class Orthogonal(RandomInitializer):
    """Orthogonal rows or columns, from the QR decomposition of a normal matrix (Saxe et al. 2014).

    All axes but the last are taken together as the rows; the result is multiplied by `gain`.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> TensorLike:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal needs a shape of at least 2 axes, received: {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        a = self._rng().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(a)
        q *= np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
        if rows < columns:
            q = q.T
        return (self.gain * q).reshape(shape).astype(standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}


_CLASSES = (
    Zeros,
    Ones,
    Constant,
    Identity,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Orthogonal,
)
_ALL = {cls.__name__: cls for cls in _CLASSES}
_ALL.update({snake_case(cls.__name__): cls for cls in _CLASSES})
_ALL.update(
    uniform=RandomUniform,
    normal=RandomNormal,
    orthogonal=Orthogonal,
    one=Ones,
    zero=Zeros,
    IdentityInitializer=Identity,
    OrthogonalInitializer=Orthogonal,
)
IdentityInitializer = Identity
OrthogonalInitializer = Orthogonal
zeros, ones, constant, identity, orthogonal = Zeros, Ones, Constant, Identity, Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal


def serialize(initializer: Any) -> Any:
    """Return {"class_name", "config"} of an initializer."""
    return serialize_keras_object(initializer)


def deserialize(config: str | dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Any:
    """Make an initializer from `serialize()`; `custom_objects` holds own classes by name.

    `config` is a dict {"class_name", "config"} or a name.
    """
    return get(lookup(config, _ALL, custom_objects, "initializer"))


def get(identifier: Any) -> Any:
    """Return an initializer from None, a name, a class, an instance, a callable or a config.

    Raises:
        ValueError: the name is unknown or the identifier is of another kind.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    if inspect.isclass(identifier):
        return identifier()
    if isinstance(identifier, RandomInitializer):
        return identifier.clone()
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    if callable(identifier):
        return identifier
    raise ValueError(f"could not interpret initializer identifier: {identifier!r}")
