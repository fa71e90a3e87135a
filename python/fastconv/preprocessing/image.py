"""Augmentation and image files, with the names of `keras.preprocessing.image`."""

from fastconv.preprocessing._affine import (
    apply_affine_transform,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
)
from fastconv.preprocessing._colors import (
    apply_brightness_shift,
    apply_channel_shift,
    random_brightness,
    random_channel_shift,
)
from fastconv.preprocessing._directory import image_dataset_from_directory
from fastconv.preprocessing._files import array_to_img, img_to_array, load_img, save_img
from fastconv.preprocessing._generator import ImageDataGenerator
from fastconv.preprocessing._iterators import DirectoryIterator, Iterator, NumpyArrayIterator
from fastconv.preprocessing._resize import smart_resize

__all__ = [
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "image_dataset_from_directory",
    "img_to_array",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
]
