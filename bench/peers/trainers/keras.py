"""Keras on the backend that KERAS_BACKEND names (see `process.environment`)."""

import os

import keras

from .keras_style import Trainer

PACKAGES = ["keras", {"tensorflow": "tensorflow-cpu"}.get(keras.backend.backend(), "jax")]


def open(name, weights, threads, dropout=True):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    else:  # JAX has no option; it starts as many threads as there are cores for the process
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return Trainer(keras, name, weights, dropout)
