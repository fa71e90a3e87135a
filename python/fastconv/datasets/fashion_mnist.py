"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 pixels (Zalando Research, MIT licence)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._idx import load_pairs
from ._store import RemoteFile, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

SOURCE = Source(
    name="fashion-mnist",
    folders=("fashion-mnist", "fashion_mnist"),
    base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files=(
        RemoteFile(
            "train-images-idx3-ubyte.gz",
            26421880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        RemoteFile(
            "train-labels-idx1-ubyte.gz",
            29515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        RemoteFile(
            "t10k-images-idx3-ubyte.gz",
            4422102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        RemoteFile(
            "t10k-labels-idx1-ubyte.gz",
            5148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
)


def load_data() -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Loads Fashion-MNIST, as ``keras.datasets.fashion_mnist.load_data()``.

    The four files (``train-images-idx3-ubyte`` and so on, with or without ``.gz``) are looked for
    in a folder ``fashion-mnist`` below each folder of ``FASTCONV_DATA``, in the cache and in the
    system's ``share/datasets`` (where Debian's package ``dataset-fashion-mnist`` puts them), and
    else downloaded (31 MB).

    Returns:
        ((x_train, y_train), (x_test, y_test)): x uint8 (60000, 28, 28) and (10000, 28, 28), grey
        levels 0 (background) to 255; y uint8 (60000,) and (10000,), an index of ``CLASS_NAMES``.

    Raises:
        ValueError: a file is damaged or is not what was published; the message names it.
        OSError: a file is missing and cannot be downloaded, or cannot be read.
    """
    return load_pairs(SOURCE)
