"""Classical image filters: kernels as 2-D arrays, and `apply`, which slides one over an image.

    import fastconv

    blurred = fastconv.filters.apply(image, fastconv.filters.gaussian_blur(sigma=2))
    edges = fastconv.filters.magnitude(image, "sobel")

Kernels are float64 arrays and meant for cross-correlation, as in a layer of a network: a positive
entry on the right of `sobel_x` means that the result is positive where the image gets brighter to
the right. They are not scaled unless their function says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "apply",
    "box_blur",
    "emboss",
    "gaussian_blur",
    "identity",
    "laplacian",
    "laplacian_of_gaussian",
    "magnitude",
    "outline",
    "prewitt_x",
    "prewitt_y",
    "scharr_x",
    "scharr_y",
    "sharpen",
    "sobel_x",
    "sobel_y",
]

_MODES = ("zeros", "reflect", "replicate", "circular", "valid")
_MAX_SIZE = 1023

# Smoothing across the direction of the derivative.
_GRADIENTS = {"sobel": (1, 2, 1), "prewitt": (1, 1, 1), "scharr": (3, 10, 3)}


# Kernels


def identity(size: int = 3) -> NDArray[Any]:
    """Leaves the image as it is: 1 in the middle of (size, size); size is odd."""
    kernel = np.zeros((_odd(size), size))
    kernel[size // 2, size // 2] = 1
    return kernel


def box_blur(size: int = 3) -> NDArray[Any]:
    """The mean of size x size pixels: (size, size), size is odd."""
    size = _integer("size", size)
    return np.full((size, size), 1 / size**2)


def gaussian_blur(sigma: float = 1.0, size: int | None = None) -> NDArray[Any]:
    """A normal distribution of standard deviation `sigma` pixels, with the sum 1.

    Args:
        sigma: pixels, > 0.
        size: odd side of the kernel; None: 2 * round(4 * sigma) + 1, as `scipy.ndimage` has it.
    """
    weights = _gaussian(sigma, size)
    return np.outer(weights, weights)


def sharpen(amount: float = 1.0) -> NDArray[Any]:
    """The image minus `amount` times its `laplacian`: 5 in the middle, -1 beside it for 1."""
    if not np.isfinite(amount):
        raise ValueError(f"sharpen: amount is {amount!r}, expected a finite number")
    return identity() - amount * laplacian()


def outline() -> NDArray[Any]:
    """What differs from its eight neighbours: (3, 3), 8 in the middle, -1 around."""
    return -laplacian(diagonals=True)


def emboss() -> NDArray[Any]:
    """The image as a relief, lit from the upper left: (3, 3)."""
    return np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])


def sobel_x() -> NDArray[Any]:
    """Change to the right, smoothed by (1, 2, 1) downwards (Sobel and Feldman 1968): (3, 3)."""
    return _gradient("sobel")


def sobel_y() -> NDArray[Any]:
    """Change downwards, the transpose of `sobel_x`."""
    return _gradient("sobel").T


def prewitt_x() -> NDArray[Any]:
    """Change to the right, smoothed by (1, 1, 1) downwards (Prewitt 1970): (3, 3)."""
    return _gradient("prewitt")


def prewitt_y() -> NDArray[Any]:
    """Change downwards, the transpose of `prewitt_x`."""
    return _gradient("prewitt").T


def scharr_x() -> NDArray[Any]:
    """Change to the right, smoothed by (3, 10, 3) downwards: (3, 3).

    Of these kernels it errs least in directions (Scharr 2000).
    """
    return _gradient("scharr")


def scharr_y() -> NDArray[Any]:
    """Change downwards, the transpose of `scharr_x`."""
    return _gradient("scharr").T


def laplacian(diagonals: bool = False) -> NDArray[Any]:
    """Sum of the second derivatives, (3, 3), of four neighbours or, with `diagonals`, of eight."""
    if diagonals:
        return np.array([[1.0, 1, 1], [1, -8, 1], [1, 1, 1]])
    return np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])


def laplacian_of_gaussian(sigma: float = 1.0, size: int | None = None) -> NDArray[Any]:
    """Sum of the second derivatives of `gaussian_blur` (Marr & Hildreth 1980): edges are its zeros.

    (r^2 / sigma^4 - 2 / sigma^2) times the Gaussian at the distance r; arguments as there.
    """
    weights = _gaussian(sigma, size)
    at = np.arange(len(weights)) - len(weights) // 2
    second = (at**2 / sigma**4 - 1 / sigma**2) * weights
    return np.outer(weights, second) + np.outer(second, weights)


def _gradient(name: str) -> NDArray[Any]:
    return np.outer(_GRADIENTS[name], (-1.0, 0.0, 1.0))


def _gaussian(sigma: float, size: int | None) -> NDArray[Any]:
    if not 0 < sigma < np.inf:
        raise ValueError(f"sigma is {sigma!r}, expected a number of pixels above 0")
    size = _odd(2 * int(4 * sigma + 0.5) + 1 if size is None else size)
    at = np.arange(size) - size // 2
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is {value!r}, expected an integer")
    if not 1 <= value <= _MAX_SIZE:
        raise ValueError(f"{name} is {value}, expected 1 to {_MAX_SIZE}")
    return int(value)


def _odd(size: Any) -> int:
    taps = _integer("size", size)
    if taps % 2 == 0:
        raise ValueError(f"size is {size}, expected an odd number, which has a middle")
    return taps


# Filtering


def apply(image: NDArray[Any], kernel: NDArray[Any], padding: str = "reflect") -> NDArray[Any]:
    """Returns the cross-correlation of an image with a kernel, each channel by itself.

    Args:
        image: grey (H, W), colour (H, W, C) or a batch (N, H, W, C), of integers or floats.
        kernel: (h, w); its middle is [h // 2, w // 2].
        padding: what lies outside: "zeros", "reflect" (around the border pixels, which are not
            repeated; `scipy.ndimage` calls it "mirror"), "replicate" (the border pixels; there
            "nearest"), "circular" (the other side; there "wrap"); or "valid": the result has only
            the pixels whose neighbourhood lies inside, (H - h + 1, W - w + 1).

    Returns:
        The result in the image's shape and dtype. Integers are rounded and saturate at the limits
        of their type, so that 8-bit images stay between 0 and 255; use a float image to keep
        negative results. float16 is computed in float32, integers in float64.

    Raises:
        TypeError: the image or the kernel is no array of real numbers.
        ValueError: shapes or `padding` do not fit.

    Examples:
        >>> import numpy as np
        >>> edges = apply(np.eye(4), sobel_x())
        >>> edges.shape
        (4, 4)
    """
    image = np.asarray(image)
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise TypeError(f"apply: image has dtype {image.dtype}, expected integers or floats")
    result = _filtered(image, kernel, padding)
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        result = np.rint(result)
        # The largest int64 is no float64: what rounds to one more would wrap around.
        low, high = result <= limits.min, result >= limits.max
        result = np.where(low | high, 0, result).astype(image.dtype)
        result[low], result[high] = limits.min, limits.max
        return result
    return result.astype(image.dtype, copy=False)


def magnitude(
    image: NDArray[Any], operator: str = "sobel", padding: str = "reflect"
) -> NDArray[Any]:
    """Returns the length of the gradient, sqrt(gx^2 + gy^2), of each pixel and channel.

    Args:
        image, padding: as in `apply`.
        operator: "sobel", "prewitt" or "scharr".

    Returns:
        Floats in the image's shape: its own type if it has floats, else float64. Not scaled.

    Raises:
        TypeError, ValueError: as `apply`, or another operator.
    """
    if operator not in _GRADIENTS:
        raise ValueError(f"operator is {operator!r}, expected one of {list(_GRADIENTS)}")
    image = np.asarray(image)
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise TypeError(f"magnitude: image has dtype {image.dtype}, expected integers or floats")
    kernel = _gradient(operator)
    length = np.hypot(_filtered(image, kernel, padding), _filtered(image, kernel.T, padding))
    return np.asarray(length, image.dtype if image.dtype.kind == "f" else None)


def _filtered(image: NDArray[Any], kernel: Any, padding: str) -> NDArray[Any]:
    """The cross-correlation in float32 for float32 and float16, else in float64."""
    from fastconv.functional import conv2d

    kernel = np.asarray(kernel)
    if kernel.dtype.kind not in "buif":
        raise TypeError(f"the kernel has dtype {kernel.dtype}, expected real numbers")
    if kernel.ndim != 2 or not kernel.size:
        raise ValueError(f"the kernel has shape {kernel.shape}, expected (height, width)")
    if image.ndim not in (2, 3, 4) or not image.size:
        raise ValueError(
            f"the image has shape {image.shape}, expected (H, W), (H, W, C) or (N, H, W, C)"
        )
    if padding not in _MODES:
        raise ValueError(f"padding is {padding!r}, expected one of {list(_MODES)}")
    narrow = image.dtype.kind == "f" and image.dtype.itemsize <= 4
    dtype = np.float32 if narrow else np.float64
    # Channels become samples of a batch: one kernel for all of them.
    planes = image if image.ndim == 2 else np.moveaxis(image, -1, -3)
    batch = np.ascontiguousarray(planes, dtype).reshape(-1, 1, *planes.shape[-2:])
    pads: object = 0
    if padding != "valid":
        pads = tuple((size // 2, size - 1 - size // 2) for size in kernel.shape)
    result = conv2d(
        batch,
        np.ascontiguousarray(kernel, dtype)[None, None],
        padding=pads,
        padding_mode="zeros" if padding == "valid" else padding,
    )
    result = result.reshape(*planes.shape[:-2], *result.shape[-2:])
    return result if image.ndim == 2 else np.ascontiguousarray(np.moveaxis(result, -3, -1))
