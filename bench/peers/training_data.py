"""Images, labels and first weights of the training benchmark, which every engine gets."""

from pathlib import Path

import numpy as np

from . import training_networks


def fashion_mnist():
    """Return Fashion-MNIST as float32 (N, 28, 28, 1) of 0 to 1 and int64 labels, train and test.

    Where it is not on this machine: random images of the same number and size.
    """
    from fastconv.datasets import fashion_mnist as data

    try:
        parts = data.load_data()
    except OSError as error:
        print(f"Fashion-MNIST is missing ({error}): random images", flush=True)
        parts = [
            (images(n, (28, 28, 1), seed), labels(n, 10)) for seed, n in enumerate((60000, 10000))
        ]
        return parts
    return [((x[..., None] / 255).astype("float32"), y.astype("int64")) for x, y in parts]


def images(count, shape, seed=0):
    """Return random images (N, H, W, C) float32: patches of a colour, and noise."""
    height, width, channels = shape
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal((count, 4, 4, channels), dtype=np.float32)
    patches = coarse.repeat(height // 4, axis=1).repeat(width // 4, axis=2)
    return patches + rng.standard_normal(patches.shape, dtype=np.float32) / 2


def labels(count, classes, seed=0):
    return np.random.default_rng(seed).integers(0, classes, count)


def moved(x, y, size, classes, rng):
    """Yield the batches of one epoch: images mirrored or not, each batch moved by up to a pixel.

    Targets are one number a class; samples that fill no batch are left out.
    """
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    one_hot = np.eye(classes, dtype=np.float32)
    order = rng.permutation(len(x))
    for start in range(0, len(x) - size + 1, size):
        chosen = order[start : start + size]
        top, left = rng.integers(0, 3, 2)
        images = padded[chosen, top : top + height, left : left + width]
        mirrored = rng.random(size) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        yield images, one_hot[y[chosen]]


def _with_biases(weights, rng):
    """Return a layer's weights with biases as PyTorch draws them.

    Biases of zero make sums of exactly zero on black pixels, right where ReLU's gradient jumps:
    rounding would decide of each whether it counts.
    """
    if len(weights) == 2 and weights[0].ndim > 1:
        bound = 1 / np.sqrt(np.prod(weights[0].shape[:-1]))
        weights[1] = rng.uniform(-bound, bound, weights[1].shape).astype(np.float32)
    return weights


def write(name, folder, seed=0):
    """Write the arrays x and y and the first weights of a network; return their paths."""
    import fastconv

    case = training_networks.NETWORKS[name]
    count = case.losses * case.batch
    if case.fashion:
        x, y = fashion_mnist()[0]
        if case.bar and not case.epoch:
            x, y = x[:count], y[:count]
    else:
        x, y = images(count, case.shape), labels(count, case.classes)
    files = {kind: Path(folder) / f"{name}-{kind}" for kind in ("x.npy", "y.npy", "weights.npz")}
    np.save(files["x.npy"], x)
    np.save(files["y.npy"], y)
    fastconv.utils.set_random_seed(seed)
    _, layers = training_networks.build(fastconv, name)
    rng = np.random.default_rng(seed)
    arrays = [w for layer in layers for w in _with_biases(layer.get_weights(), rng)]
    np.savez(files["weights.npz"], *arrays)
    return {kind.split(".")[0]: path for kind, path in files.items()}


def weights(path):
    """Yield the arrays that `write` wrote, one at a time."""
    with np.load(path) as file:
        for number in range(len(file.files)):
            yield file[f"arr_{number}"]
