"""Argument checks shared by every functional operator.

The checks of a value that is already in its usual form (an `int`, an `ndarray`) cost well under a
microsecond, because they run on every call. Checks that need shapes run once per plan instead.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

# Far above any useful size, and low enough that sums of a few of them fit 64 bits.
MAX_SIZE = 2**31 - 1
# A user process on x86-64 cannot address more.
MAX_BYTES = 2**47

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(value: Any, fn: str, name: str) -> NDArray[Any]:
    """`value` as a base-class array; call it only when `type(value) is not ndarray`."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{fn}: {name} must be a plain NumPy array, got a masked array")
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    raise TypeError(f"{fn}: {name} must be a NumPy array, got {type(value).__name__}")


def describe(value: Any) -> str:
    """A short form of a bad value for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def integer(value: Any, fn: str, name: str, low: int, high: int = MAX_SIZE) -> int:
    """`value` as an int in [low, high]; bool and float are refused, as PyTorch does."""
    if type(value) is not int:
        if isinstance(value, (bool, np.bool_, np.ndarray)):
            raise TypeError(f"{fn}: {name} must be an integer, got {describe(value)}")
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{fn}: {name} must be an integer, got {describe(value)}") from None
    if not low <= value <= high:
        expected = f"at least {low}" if value < low else f"at most {high}"
        raise ValueError(f"{fn}: {name} must be {expected}, got {value}")
    return int(value)


def integers(value: Any, n: int, fn: str, name: str, low: int) -> Shape:
    """An int, or a sequence of 1 or `n` ints, as a tuple of `n` ints >= low."""
    if type(value) is int and low <= value <= MAX_SIZE:
        return (value,) * n
    if isinstance(value, (tuple, list)):
        if len(value) not in (1, n):
            wanted = "1 integer" if n == 1 else f"1 or {n} integers"
            raise ValueError(f"{fn}: {name} must hold {wanted}, got {describe(value)}")
        items = tuple(integer(v, fn, name, low) for v in value)
        return items if len(items) == n else items * n
    return (integer(value, fn, name, low),) * n


def padding(value: Any, n: int, fn: str) -> str | Pads:
    """Padding as ((before, after), ...) a spatial axis; "same" stays to be resolved later."""
    if type(value) is int and 0 <= value <= MAX_SIZE:
        return ((value, value),) * n
    if isinstance(value, str):
        if value == "same":
            return value
        if value == "valid":
            return ((0, 0),) * n
        raise ValueError(f'{fn}: padding must be "same", "valid", integers or pairs, got {value!r}')
    if isinstance(value, (tuple, list)) and any(isinstance(v, (tuple, list)) for v in value):
        if len(value) != n or not all(isinstance(v, (tuple, list)) and len(v) == 2 for v in value):
            form = "((top, bottom), (left, right))" if n == 2 else "((left, right),)"
            raise ValueError(f"{fn}: padding in pairs must be {form}, got {describe(value)}")
        return tuple((integer(a, fn, "padding", 0), integer(b, fn, "padding", 0)) for a, b in value)
    return tuple((p, p) for p in integers(value, n, fn, "padding", 0))


def same_padding(fn: str, kernel: Shape, stride: Shape, dilation: Shape) -> Pads:
    """PyTorch's "same": the output has the input's size; an odd element goes after."""
    if any(s != 1 for s in stride):
        raise ValueError(f"{fn}: padding='same' needs stride 1, got stride {stride}")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


def number(value: Any, fn: str, name: str) -> float:
    """A finite real number as float."""
    if type(value) is not float:
        if isinstance(value, (bool, np.bool_, str, bytes, np.ndarray, complex, np.complexfloating)):
            raise TypeError(f"{fn}: {name} must be a real number, got {describe(value)}")
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"{fn}: {name} must be a real number, got {describe(value)}") from None
        except OverflowError:
            raise ValueError(f"{fn}: {name} must be finite, got {describe(value)}") from None
    if not math.isfinite(value):
        raise ValueError(f"{fn}: {name} must be finite, got {value}")
    # 0.0 == -0.0 would share a cached plan.
    return value or 0.0


def flag(value: Any, fn: str, name: str) -> bool:
    """A bool; 0 and 1 are refused, as PyTorch does."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    raise TypeError(f"{fn}: {name} must be True or False, got {describe(value)}")


def choice(value: Any, options: Shape | tuple[str, ...], fn: str, name: str) -> str:
    """One of a few strings."""
    if type(value) is str and value in options:
        return value
    if not isinstance(value, str):
        raise TypeError(f"{fn}: {name} must be a string, got {describe(value)}")
    raise ValueError(f"{fn}: {name} must be one of {', '.join(map(str, options))}, got {value!r}")


def check_float(dtype: np.dtype[Any], fn: str, name: str) -> None:
    """Refuse every dtype but native float32 and float64."""
    if dtype not in _FLOATS:
        raise TypeError(f"{fn}: {name} must be float32 or float64 (native order), got {dtype!r}")


def check_same_dtype(dtype: np.dtype[Any], expected: np.dtype[Any], fn: str, name: str) -> None:
    """Refuse a dtype that differs from the input's."""
    if dtype != expected:
        raise TypeError(f"{fn}: {name} must have the input's dtype {expected}, got {dtype}")


def check_shape(shape: Shape, expected: Shape, fn: str, name: str) -> None:
    """Refuse a shape other than `expected`."""
    if shape != expected:
        raise ValueError(f"{fn}: {name} must have shape {expected}, got {shape}")


def check_spatial(shape: Shape, rank: int, fn: str) -> None:
    """An image batch (N, C, ...) or one image (C, ...), with nothing empty but the batch."""
    if len(shape) not in (rank + 1, rank + 2):
        layout = "(N, C, L) or (C, L)" if rank == 1 else "(N, C, H, W) or (C, H, W)"
        raise ValueError(f"{fn}: input must have shape {layout}, got shape {shape}")
    if 0 in shape[-rank - 1 :]:
        raise ValueError(f"{fn}: input may be empty in its batch axis only, got shape {shape}")


def check_bytes(shape: Shape, dtype: np.dtype[Any], fn: str, what: str = "the output") -> None:
    """Refuse a size that no process could hold, before anything multiplies it in 64 bits."""
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise ValueError(f"{fn}: {what} of shape {shape} would take {size} bytes")
