"""Checks of layer arguments and the arithmetic of output sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastconv._types import Shape, TensorLike

_MOST = 2**31 - 1  # the core's limit for kernel sizes, strides and the like


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def int_tuple(value: Any, n: int, name: str, layer: str, minimum: int = 1) -> tuple[int, ...]:
    """Return n integers from `minimum` to 2**31 - 1 from an integer or a sequence of n.

    Raises:
        ValueError: naming the layer, the argument and what was given.
    """
    if _is_int(value):
        items = (int(value),) * n
    else:
        items = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else ()
        if len(items) != n or not all(_is_int(v) for v in items):
            raise ValueError(
                f"{layer}: `{name}` must be an integer or {n} integers, received: {name}={value!r}"
            )
        items = tuple(int(v) for v in items)
    if any(v < minimum for v in items):
        raise ValueError(f"{layer}: `{name}` must be >= {minimum}, received: {name}={value!r}")
    if any(v > _MOST for v in items):
        raise ValueError(f"{layer}: `{name}` must be <= {_MOST}, received: {name}={value!r}")
    return items


def axis_list(value: Any, name: str, layer: str) -> list[int]:
    """Return a list of integers from an integer or a sequence of them."""
    items = [value] if _is_int(value) else value
    if not isinstance(items, (list, tuple)) or not all(_is_int(v) for v in items):
        raise TypeError(
            f"{layer}: `{name}` must be an integer or a list of integers, "
            f"received: {name}={value!r}"
        )
    return [int(v) for v in items]


def positive_int(value: Any, name: str, layer: str) -> int:
    """Return a checked integer > 0."""
    if not _is_int(value) or value <= 0:
        raise ValueError(
            f"{layer}: `{name}` must be a positive integer, received: {name}={value!r}"
        )
    return int(value)


def padding_mode(value: Any, layer: str, allowed: tuple[str, ...] = ("valid", "same")) -> str:
    """Return a checked padding name in lower case."""
    mode = value.lower() if isinstance(value, str) else value
    if mode not in allowed:
        raise ValueError(f"{layer}: `padding` must be one of {allowed}, received: {value!r}")
    return mode


def side_pairs(value: Any, n: int, name: str, layer: str) -> tuple[tuple[int, int], ...]:
    """Return n pairs (before, after) from an integer, n integers or n pairs."""
    if _is_int(value):
        value = (value,) * n
    pairs = []
    if not isinstance(value, (tuple, list)) or len(value) != n:
        raise ValueError(
            f"{layer}: `{name}` must be an integer, {n} integers or {n} pairs of integers, "
            f"received: {name}={value!r}"
        )
    for item in value:
        before, after = int_tuple(item, 2, name, layer, minimum=0)
        pairs.append((before, after))
    return tuple(pairs)


def output_size(
    size: Any, kernel: Any, stride: int, dilation: int, padding: Any, layer: str
) -> Any:
    """Return the output size of a window that slides along one axis; None gives None."""
    if size is None:
        return None
    span = (kernel - 1) * dilation + 1
    if padding in ("same", "causal"):
        return -(-size // stride)
    if size < span:
        raise ValueError(
            f"{layer}: the window covers {span} elements (size {kernel}, dilation {dilation}) "
            f'and the input has {size} along that axis; use a smaller window or padding="same"'
        )
    return (size - span) // stride + 1


def same_pads(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return the zeros (before, after) of "same" padding; the odd one goes to the end."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def window_pads(sizes: Any, kernel: Any, strides: Any, dilations: Any, padding: Any) -> list[int]:
    """Return [top, left, bottom, right] for the two spatial axes."""
    if padding == "valid":
        return [0, 0, 0, 0]
    (top, bottom), (left, right) = (
        same_pads(*axis) for axis in zip(sizes, kernel, strides, dilations, strict=True)
    )
    return [top, left, bottom, right]


def to_channels_last(shape: Shape, data_format: str) -> tuple[Any, ...]:
    """Return the shape with its channel axis moved to the end."""
    if data_format == "channels_last":
        return tuple(shape)
    return (shape[0], *shape[2:], shape[1])


def from_channels_last(shape: Shape, data_format: str) -> tuple[Any, ...]:
    """Inverse of `to_channels_last`."""
    if data_format == "channels_last":
        return tuple(shape)
    return (shape[0], shape[-1], *shape[1:-1])


def enter_channels_last(x: TensorLike, data_format: str) -> Any:
    """Transpose a graph tensor to channels last where its layer works in channels first."""
    if data_format == "channels_last":
        return x
    return x.g.transpose(x, perm=[0, *range(2, x.ndim), 1])


def leave_channels_last(x: TensorLike, data_format: str) -> Any:
    """Inverse of `enter_channels_last`."""
    if data_format == "channels_last":
        return x
    return x.g.transpose(x, perm=[0, x.ndim - 1, *range(1, x.ndim - 1)])
