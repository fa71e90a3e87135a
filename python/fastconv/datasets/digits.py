"""Digits: 1,797 handwritten digits of 8 x 8 pixels, part of the package (UCI, CC BY 4.0)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._idx import read_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASS_NAMES = tuple("0123456789")
_TRAIN = 1437


def load_data() -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Loads the digits; needs no network.

    The samples stand in the order of scikit-learn's ``load_digits`` and are always split in the
    same way: the first 1,437 for training, the last 360 for testing.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0.

    Returns:
        ((x_train, y_train), (x_test, y_test)): x uint8 (1437, 8, 8) and (360, 8, 8), the number of
        inked pixels in each block of 4 x 4, so 0 (background) to 16; y uint8 (1437,) and (360,).

    Examples:
        >>> (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, y_test.shape
        ((1437, 8, 8), (360,))
    """
    folder = Path(__file__).parent / "data"
    x, y = read_pair(folder / "digits-images-idx3-ubyte.gz", folder / "digits-labels-idx1-ubyte.gz")
    return (x[:_TRAIN], y[:_TRAIN]), (x[_TRAIN:], y[_TRAIN:])
