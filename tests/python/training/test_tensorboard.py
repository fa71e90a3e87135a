"""The event files that TensorBoard writes, read back."""

import struct
import sys

import numpy as np
import pytest

import fastconv
from fastconv import callbacks, layers

X = np.random.default_rng(0).standard_normal((12, 6, 6, 1)).astype("float32")
Y = np.arange(12) % 3


def events(folder):
    """Return the events of a folder's only file: records of length, checksum, data, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.out.tfevents.*")
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack("<Q", data[at : at + 8])
        event = Event()
        event.ParseFromString(data[at + 12 : at + 12 + length])
        found.append(event)
        at += length + 16
    return found


def scalars(folder):
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def _train(folder, epochs=3, **arguments):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    model = fastconv.Sequential(
        [
            layers.Input((6, 6, 1), name="image"),
            layers.Conv2D(3, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )
    rate = fastconv.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    model.compile(
        fastconv.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    board = callbacks.TensorBoard(folder, **arguments)
    history = model.fit(
        X, Y, batch_size=4, epochs=epochs, validation_data=(X, Y), verbose=0, callbacks=[board]
    )
    return model, history.history


def test_scalars_of_epochs(tmp_path):
    _, history = _train(tmp_path)
    train, validation = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    for name in ("loss", "accuracy"):
        for found, key in ((train, name), (validation, f"val_{name}")):
            values = found[f"epoch_{name}"]
            assert [step for step, _ in values] == [0, 1, 2]
            np.testing.assert_allclose([v for _, v in values], history[key], rtol=1e-6)
    rates = [value for _, value in train["epoch_learning_rate"]]
    np.testing.assert_allclose(rates, [0.05, 0.025, 0.0125], rtol=1e-6)
    assert set(train) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    evaluated = validation["evaluation_loss_vs_iterations"]
    assert [step for step, _ in evaluated] == [3, 6, 9]


@pytest.mark.parametrize(("freq", "steps"), [("batch", range(1, 10)), (2, [2, 4, 6, 8])])
def test_scalars_of_batches(tmp_path, freq, steps):
    _train(tmp_path, update_freq=freq, write_steps_per_second=True)
    found = scalars(tmp_path / "train")
    assert [step for step, _ in found["batch_loss"]] == list(steps)
    assert all(value > 0 for _, value in found["epoch_steps_per_second"])


def test_histograms_and_images(tmp_path):
    model, _ = _train(tmp_path, histogram_freq=2, write_images=True)
    found = {}
    for event in events(tmp_path / "train"):
        for value in event.summary.value:
            if value.WhichOneof("value") in ("histo", "image"):
                found.setdefault(value.tag, []).append((event.step, value))
    names = [weight.path for weight in model.weights]
    kinds = {f"{name}/{kind}" for name in names for kind in ("histogram", "image")}
    assert set(found) == kinds
    assert [step for step, _ in found["conv/kernel/histogram"]] == [0, 2]
    histogram = found["dense/kernel/histogram"][-1][1].histo
    kernel = model.get_layer("dense").kernel.numpy()
    assert histogram.num == kernel.size
    assert histogram.max == pytest.approx(kernel.max()) and sum(histogram.bucket) == kernel.size
    image = found["conv/kernel/image"][0][1].image
    assert (image.height, image.width) == (8, 8)  # three filters of 3 x 3 with borders, in two rows
    image = found["dense/kernel/image"][0][1].image
    assert (image.height, image.width) == (3, 48)


def test_graph(tmp_path):
    _train(tmp_path / "on", epochs=1)
    _train(tmp_path / "off", epochs=1, write_graph=False)
    from tensorboardX.proto.graph_pb2 import GraphDef

    (raw,) = [e.graph_def for e in events(tmp_path / "on" / "train") if e.graph_def]
    graph = GraphDef()
    graph.ParseFromString(raw)
    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        ("image", "Input", []),
        ("conv", "Conv2D", ["image"]),
        ("flat", "Flatten", ["conv"]),
        ("dense", "Dense", ["flat"]),
    ]
    assert not [e for e in events(tmp_path / "off" / "train") if e.graph_def]


def test_errors(monkeypatch):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    with pytest.raises(ValueError, match="update_freq='step'"):
        callbacks.TensorBoard(update_freq="step")
    with pytest.raises(ValueError, match="not supported"):
        callbacks.TensorBoard(profile_batch=2)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"fastconv\[tensorboard\]"):
        callbacks.TensorBoard()
