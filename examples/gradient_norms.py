"""How gradients fade in a deep network, and how shortcuts keep them: norms layer by layer.

Two networks of 56 layers without batch normalization, with Keras's usual initial weights, on one
batch of images. After one step of SGD at learning rate 1, the change of a weight is its gradient;
in float64, so that the smallest of them are not lost beside the weights.
"""

import numpy as np

import common
import fastconv as keras
from degradation import build_model


def gradient_norms(model, x, y):
    model.compile(
        keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    before = [w.numpy() for w in kernels]
    model.train_on_batch(x, y)
    return [np.linalg.norm(w.numpy() - old) for w, old in zip(kernels, before, strict=True)]


arguments = common.options(__doc__, epochs=1)
keras.config.set_floatx("float64")
(x, y), _ = common.fashion_mnist(quick=True)
x, y = keras.layers.AveragePooling2D(2)(x[:256]), y[:256]
norms = {
    name: gradient_norms(build_model(56, shortcuts, normalize=False), x, y)
    for name, shortcuts in (("without shortcuts", False), ("with shortcuts", True))
}
for name, values in norms.items():
    print(f"{name}: first layer {values[0]:.1e}, middle {values[27]:.1e}, last {values[-1]:.1e}")

try:
    from matplotlib.figure import Figure
except ImportError:
    print("no picture: matplotlib is not installed")
else:
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, values in norms.items():
        axes.semilogy(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    axes.set_xlabel("layer")
    axes.set_ylabel("norm of the kernel's gradient")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(arguments.output / "gradient_norms.png", dpi=100)
