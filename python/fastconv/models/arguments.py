"""Checks of the arguments of `fit` and its siblings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.models.data import as_array, check_lengths, to_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike


def verbosity(verbose: int | str | bool) -> int:
    if verbose == "auto":
        return 1
    if verbose not in (0, 1, 2, True, False):
        raise ValueError(f"`verbose` must be 'auto', 0, 1 or 2, received: verbose={verbose!r}")
    return int(verbose)


def check_int(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"`{name}` must be an integer >= 0, received: {name}={value!r}")


def due(epoch: int, freq: int) -> bool:
    if isinstance(freq, (list, tuple, set)):
        return epoch + 1 in freq
    if not isinstance(freq, (int, np.integer)) or freq < 1:
        raise ValueError(f"`validation_freq` must be an integer >= 1 or a list, received: {freq!r}")
    return (epoch + 1) % freq == 0


def class_weights(y: TensorLike, table: dict[int, float]) -> NDArray[Any]:
    """Return one weight for each label; classes that are not in the table have weight 1."""
    if not isinstance(table, dict):
        raise TypeError(f"`class_weight` must be a dict, received: {type(table).__name__}")
    if y.ndim > 1 and y.shape[-1] > 1:
        labels = y.argmax(axis=-1)
    else:
        labels = y.reshape(y.shape[:-1] if y.ndim > 1 else y.shape)
    weights = np.ones(labels.shape, np.float64)
    for label, weight in table.items():
        weights[labels == int(label)] = weight
    return weights


def split(x: TensorLike, y: TensorLike, w: TensorLike, share: float, names: Any) -> Any:
    """Cut the last part of arrays off for validation."""
    if not isinstance(share, (int, float, np.number)) or not 0 < share < 1:
        raise ValueError(f"`validation_split` must be in (0, 1), received: {share!r}")
    if not (isinstance(x, (list, tuple, dict)) or hasattr(x, "__array__")):
        raise ValueError(f"`validation_split` needs arrays, received x of type {type(x).__name__}")
    xs = [as_array(v, "x") for v in to_list(x, names.inputs, "x")]
    ys = [None if v is None else as_array(v, "y") for v in to_list(y, names.outputs, "y")]
    ws = [
        None if v is None else as_array(v, "sample_weight")
        for v in to_list(w, names.outputs, "sample_weight")
    ]
    check_lengths(xs, ys, ws)
    n = len(xs[0])
    at = int(np.floor(n * (1.0 - share)))
    if at == 0 or at == n:
        raise ValueError(
            f"validation_split={share} of {n} samples leaves {at} for training and {n - at} for "
            "validation; both must be positive"
        )

    def cut(arrays: Any, part: Any) -> Any:
        return [None if a is None else a[part] for a in arrays] or None

    first, last = slice(0, at), slice(at, n)
    return (
        (cut(xs, first), cut(ys, first), cut(ws, first)),
        (cut(xs, last), cut(ys, last), cut(ws, last)),
    )


def unpack_validation(data: Any) -> Any:
    if isinstance(data, (tuple, list)) and not hasattr(data, "shape"):
        if not 1 <= len(data) <= 3:
            raise ValueError(
                "`validation_data` must be (x, y) or (x, y, sample_weight), "
                f"received {len(data)} entries"
            )
        return (*data, None, None)[:3]
    return data, None, None
