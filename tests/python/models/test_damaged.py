"""Own files and checkpoints with flipped bits, missing and foreign parts: a clear error."""

import random

import numpy as np
import pytest

import fastconv
from fastconv import callbacks, layers
from fastconv.inference import ModelGraph, Node, ValueInfo, file
from fastconv.models.resuming import load_progress
from long_tests import count

X, Y = np.ones((8, 6, 6, 1), "f4"), np.arange(8) % 3


def network():
    model = fastconv.Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
    )
    model.compile("adam", "mse")
    return model


def load_weights(path):
    network().load_weights(path)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """The files by kind, and what reads them."""
    folder = tmp_path_factory.mktemp("files")
    model = network()
    backup = callbacks.BackupAndRestore(folder, save_freq=2, delete_checkpoint=False)
    model.fit(X, np.ones((8, 3)), batch_size=2, verbose=0, callbacks=[backup])
    model.save(folder / "model")
    model.save_weights(folder / "weights")
    graph = ModelGraph(
        "g",
        [ValueInfo("x", "float32", (1, 4))],
        [ValueInfo("y", "float32", (1, 3))],
        [Node("MatMul", ["x", "w"], ["y"], {}, version=13)],
        {"w": np.ones((4, 3), "f4")},
    )
    file.save(graph, folder / "graph")
    return {
        "model": (folder / "model", fastconv.models.load_model),
        "weights": (folder / "weights", load_weights),
        "backup": (folder / "training.fastconv", load_progress),
        "graph": (folder / "graph", fastconv.InferenceSession),
    }


@pytest.mark.parametrize("kind", ["model", "weights", "backup"])
def test_any_flipped_bit_is_told(tmp_path, kinds, kind):
    source, load = kinds[kind]
    data, path = source.read_bytes(), tmp_path / "damaged"
    load(source)
    places = range(len(data))
    generator = random.Random(kind)
    for at in sorted(generator.sample(places, min(len(data), count(300, 10**6)))):
        bit = 1 << generator.randrange(8)
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        try:
            load(path)
        except ValueError as error:
            assert str(path) in str(error), (at, error)
        else:  # a space of the header may be another, and the name of the checksum may be gone
            header = data[8 : 8 + int.from_bytes(data[:8], "little")]
            assert at < 8 + len(header) and (
                data[at : at + 1].isspace() or 0 <= at - 8 - header.index(b'"crc32"') < 8
            ), (at, data[at - 10 : at + 10])


def test_flipped_bits_of_graphs(tmp_path, kinds):
    # Their tensors are mapped, not read: a bit of those is not noticed, one of the header is.
    source, load = kinds["graph"]
    data, path = source.read_bytes(), tmp_path / "damaged"
    header = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for at in range(header):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        try:
            load(path)
        except (ValueError, TypeError):
            refused += 1
    assert refused > header // 2


@pytest.mark.parametrize("kind", ["model", "weights", "backup", "graph"])
def test_parts_that_are_missing(tmp_path, kinds, kind):
    source, load = kinds[kind]
    data, path = source.read_bytes(), tmp_path / "damaged"
    others = [other.read_bytes() for name, (other, _) in kinds.items() if name != kind]
    cuts = [data[:n] for n in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1)]
    holes = [data[:100] + bytes(50) + data[150:], bytes(len(data)), data + b"more"]
    for content in (*cuts, *holes, *others):
        path.write_bytes(content)
        if content == others[-1] or (kind == "weights" and content in others):
            continue  # weights may be taken out of a whole model
        with pytest.raises(ValueError, match="damaged"):
            load(path)
