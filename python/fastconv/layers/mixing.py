"""MixUp and CutMix: pairs of images with their labels, on batches of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import config
from fastconv.layers.augmentation import interval
from fastconv.layers.base import Array, Layer
from fastconv.utils.checks import number
from fastconv.utils.rng import draw_seed

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class _Mixing(Layer):
    """Base of layers that change images and labels of a batch together.

    They are called on data, before it goes into `fit`: `layer({"images": x, "labels": y})` returns
    such a dict, `layer(x)` the images. `labels` must be one-hot, (N, classes). With
    `training=False` nothing is changed.
    """

    def __init__(
        self, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.seed = seed
        self._rng = np.random.default_rng(seed)

    def __call__(self, inputs: TensorLike, training: bool = True) -> TensorLike:
        """Return a batch of arrays mixed; see the class."""
        batch = inputs if isinstance(inputs, dict) else {"images": inputs}
        if set(batch) - {"images", "labels"} or "images" not in batch:
            raise ValueError(
                f'layer "{self.name}" expects a dict of "images" and "labels", '
                f"received: {sorted(batch)}"
            )
        for name, value in batch.items():
            if not isinstance(value, np.ndarray):
                raise TypeError(
                    f'layer "{self.name}" changes labels too, so it works on batches of NumPy '
                    'arrays before they go into fit, as layer({"images": x, "labels": y}), not '
                    f"inside a model; received `{name}` of type {type(value).__name__}"
                )
        images = np.asarray(batch["images"])
        if images.ndim != 4:
            raise ValueError(
                f'layer "{self.name}" expects images with four axes, received {images.shape}'
            )
        labels = batch.get("labels")
        if labels is not None and (labels.ndim != 2 or len(labels) != len(images)):
            raise ValueError(
                f'layer "{self.name}" expects one-hot labels ({len(images)}, classes), received '
                f"shape {labels.shape}; fastconv.utils.to_categorical makes them of class indices"
            )
        if not training or len(images) == 0:
            return inputs
        if self.seed is None:
            self._rng = np.random.default_rng(draw_seed())
        order = self._rng.permutation(len(images))
        images, weight = self.mix(images.astype(self.dtype, copy=False), order)
        if not isinstance(inputs, dict):
            return images.view(Array)
        mixed = {"images": images.view(Array)}
        if labels is not None:
            labels = np.asarray(labels).astype(self.dtype, copy=False)
            share = weight.reshape(-1, 1).astype(self.dtype)
            mixed["labels"] = (share * labels + (1 - share) * labels[order]).view(Array)
        return mixed

    def mix(self, images: TensorLike, order: Any) -> tuple[TensorLike, TensorLike]:
        """Return images mixed with those of `order`, and the share (N,) of their own."""
        raise NotImplementedError(f"{type(self).__name__} does not define mix()")

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "seed": self.seed}


class MixUp(_Mixing):
    """Weighted sums of pairs of images and of their labels (Zhang et al. 2018).

    Args:
        alpha: weights are drawn from the distribution Beta(alpha, alpha).
        data_format: "channels_last" or "channels_first".
        seed: random numbers are then the same in every run.

    `layer({"images": x, "labels": y})` works on NumPy arrays, `y` one-hot.
    """

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, seed, **kwargs)
        self.alpha = number(alpha, "alpha", owner=f'layer "{self.name}"')
        if self.alpha <= 0:
            raise ValueError(f'layer "{self.name}": `alpha` must be > 0, received: alpha={alpha}')

    def mix(self, images: TensorLike, order: Any) -> Any:
        weight = self._rng.beta(self.alpha, self.alpha, len(images))
        share = weight.reshape(-1, 1, 1, 1).astype(images.dtype)
        return share * images + (1 - share) * images[order], weight

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class CutMix(_Mixing):
    """A rectangle of each image comes from another one; labels are mixed by its area (Yun et al.
    2019).

    Args:
        factor: areas are drawn from Beta(f, f), f for each batch from [0, factor] or from
            (lower, upper), in [0, 1].
        seed: random numbers are then the same in every run.
        data_format: "channels_last" or "channels_first".

    `layer({"images": x, "labels": y})` works on NumPy arrays, `y` one-hot.
    """

    def __init__(
        self,
        factor: Any = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, seed, **kwargs)
        self.factor = interval(factor, "factor", f'layer "{self.name}"', 0, 1)

    def mix(self, images: TensorLike, order: Any) -> Any:
        n = len(images)
        last = self.data_format == "channels_last"
        height, width = images.shape[1:3] if last else images.shape[2:4]
        f = self._rng.uniform(*self.factor) + 1e-6
        side = np.sqrt(1 - self._rng.beta(f, f, n))
        inside, area = [], np.ones(n)
        for size in (height, width):
            start = self._rng.uniform(0, 1, n) * (size - side * size)
            at = np.arange(size)
            inside.append((at >= start[:, None]) & (at < (start + side * size)[:, None]))
            area *= inside[-1].mean(axis=1)
        mask = inside[0][:, :, None] & inside[1][:, None, :]
        mask = mask[..., None] if last else mask[:, None]
        return np.where(mask, images[order], images), 1 - area

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": list(self.factor)}
