import fastconv

from .keras_style import Trainer

PACKAGES = ["fastconv"]


def open(name, weights, threads, dropout=True):
    fastconv.set_num_threads(threads)
    return Trainer(fastconv, name, weights, dropout)
