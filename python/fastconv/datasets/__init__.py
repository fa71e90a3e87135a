"""Small image data sets with Keras's ``load_data()``: digits, mnist, fashion_mnist, cifar10.

``digits`` is part of the package. The others are looked for in the folders of the environment
variable ``FASTCONV_DATA``, the user's cache, and the system's data folders, and are downloaded
into the cache where none of these has them.
"""

from . import cifar10, digits, fashion_mnist, mnist

__all__ = ["cifar10", "digits", "fashion_mnist", "mnist"]
