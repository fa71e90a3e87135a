"""MNIST: 70,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes, Burges)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._idx import load_pairs
from ._store import RemoteFile, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASS_NAMES = tuple("0123456789")

SOURCE = Source(
    name="mnist",
    folders=("mnist",),
    base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files=(
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz",
            28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
)


def load_data() -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Loads MNIST, as ``keras.datasets.mnist.load_data()``.

    The four files (``train-images-idx3-ubyte`` and so on, with or without ``.gz``) are looked for
    in a folder ``mnist`` below each folder of ``FASTCONV_DATA``, in the cache and in the system's
    ``share/datasets``, and else downloaded (11 MB).

    Returns:
        ((x_train, y_train), (x_test, y_test)): x uint8 (60000, 28, 28) and (10000, 28, 28), grey
        levels 0 (background) to 255; y uint8 (60000,) and (10000,), the digit.

    Raises:
        ValueError: a file is damaged or is not what was published; the message names it.
        OSError: a file is missing and cannot be downloaded, or cannot be read.
    """
    return load_pairs(SOURCE)
