"""The training benchmark with fastconv, and with PyTorch where it is installed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def parameters(model):
    return sum(w.size for w in model.get_weights())


@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v2", "resnet50"])
def test_networks_are_those_of_applications(name):
    from fastconv import applications
    from peers import training_networks

    case = training_networks.NETWORKS[name]
    model, _ = training_networks.build(fastconv, name)
    options = {"include_top": False, "input_shape": case.shape, "pooling": "avg"}
    if name == "vgg11_bn":
        base = applications.VGG11(batch_norm=True, **options)
    else:
        base = {"mobilenet_v2": applications.MobileNetV2, "resnet50": applications.ResNet50}[name](
            **options
        )
    top = (base.output.shape[-1] + 1) * case.classes
    assert parameters(model) == parameters(base) + top
    assert fastconv.utils.count(model).multiply_adds == (
        fastconv.utils.count(base).multiply_adds + base.output.shape[-1] * case.classes
    )


def test_small_networks():
    from peers import training_networks

    trained = {}
    for name in ("course", "lenet5", "resnet18", "fashion_resnet"):
        model, _ = training_networks.build(fastconv, name)
        trained[name] = fastconv.utils.count(model).trainable_parameters
    assert trained == {
        "course": 93322,
        "lenet5": 61706,
        "resnet18": 11173962,
        "fashion_resnet": 97450,
    }


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Return a function that writes a network's data and weights, with fewer samples."""
    from peers import training_data, training_networks

    rng = np.random.default_rng(0)
    pair = rng.random((256, 28, 28, 1), np.float32), rng.integers(0, 10, 256)
    monkeypatch.setattr(training_data, "fashion_mnist", lambda: [pair, pair])

    def write(name, steps, batch):
        case = training_networks.NETWORKS[name]
        files = training_data.write(name, tmp_path)
        x, y = np.load(files["x"]), np.load(files["y"])
        assert x.shape[1:] == case.shape and len(x) == len(y)
        return files, x[: steps * batch], y[: steps * batch]

    return write


@pytest.mark.parametrize(
    "name, order, size",
    [
        ("course", "contiguous_format", 16),
        ("course", "channels_last", 16),
        ("lenet5", "contiguous_format", 16),
        ("vgg11_bn", "contiguous_format", 8),
        ("resnet18", "contiguous_format", 4),
        ("mobilenet_v2", "contiguous_format", 32),
        ("fashion_resnet", "channels_last", 16),
    ],
)
def test_losses_are_those_of_pytorch(small, name, order, size):
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("torchvision", reason="needs torchvision")
    from peers import training_data, training_networks
    from peers.trainers import fastconv as own
    from peers.trainers import torch as other

    case = training_networks.NETWORKS[name]
    files, x, y = small(name, min(case.compared, 5), size)
    if case.smoothing:
        y = np.eye(10, dtype=np.float32)[y]
    errors = []
    # Rounding turns a ReLU or a winner now and then, which batch normalization spreads: the
    # median of three pairs of batches.
    for shift in range(3 if case.norm else 1):
        losses, outputs = [], []
        for module, options in ((own, {}), (other, {"order": order})):
            weights = training_data.weights(files["weights"])
            trainer = module.open(name, weights, 1, dropout=False, **options)
            assert next(weights, None) is None  # all are used
            images, labels = np.roll(x, shift, axis=0), np.roll(y, shift, axis=0)
            if module is other:  # PyTorch's own layouts are further apart in float32
                trainer.model.double()
                images = images.astype(np.float64)
                labels = labels.astype(np.float64) if case.smoothing else labels
            outputs.append(trainer.predict(images))
            losses.append([trainer.step(b) for b in trainer.batches(images, labels, size)])
        scale = 1e-4 * np.ptp(outputs[1])
        np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-3, atol=scale)
        errors.append(np.abs(np.divide(*losses) - 1).max())
        assert len(set(losses[1])) == len(losses[1])
    assert np.median(errors) <= 1e-3


def test_worker_measures_steps(small):
    from peers import process

    files, _, _ = small("lenet5", 4, 64)
    task = {"network": "lenet5", "engine": "fastconv", "threads": 1, "seconds": 0.01}
    task |= {"files": files, "batch": 64}
    found = process.measure(sys.executable, task, "peers.training_worker")
    assert 0 < found["minimum"] <= found["median"] < 10
    assert found["runs"] >= 5
    assert len(found["losses"]) == 4  # of the 256 samples that there are
    assert found["losses"][0] == pytest.approx(2.3, abs=0.7)
    assert 0 < found["growth"] < found["memory"]


def test_worker_measures_epochs(small):
    from peers import process

    files, _, _ = small("course", 2, 128)
    task = {"network": "course", "engine": "fastconv", "threads": 1, "seconds": 0.01}
    found = process.measure(sys.executable, {**task, "files": files}, "peers.training_worker")
    assert found["runs"] >= 1
    assert len(found["losses"]) == 2


def test_overhead(small):
    from peers import process

    files, _, _ = small("lenet5", 4, 64)
    task = {"network": "lenet5", "engine": "fastconv", "threads": 1, "seconds": 0.01, "rounds": 2}
    found = process.measure(sys.executable, {**task, "files": files}, "peers.training_overhead")
    for low, middle, high in found.values():
        assert -1 < low <= middle <= high
    assert found.keys() == {"fit", "train_on_batch"}


def test_time_to_accuracy(small, tmp_path):
    from peers import process

    files, x, y = small("fashion_resnet", 2, 128)
    np.save(tmp_path / "x_test.npy", x)
    np.save(tmp_path / "y_test.npy", y)
    files |= {f"{kind}_test": tmp_path / f"{kind}_test.npy" for kind in "xy"}
    task = {"network": "fashion_resnet", "engine": "fastconv", "threads": 1, "files": files}
    task |= {"epochs": 3, "images": 256, "seed": 0, "target": 1.1}
    found = process.measure(sys.executable, task, "peers.accuracy_worker")
    assert len(found["seconds"]) == len(found["accuracy"]) == 3
    assert 0 < found["seconds"][0] < found["seconds"][1]
    found = process.measure(sys.executable, {**task, "target": 0}, "peers.accuracy_worker")
    assert len(found["accuracy"]) == 1


def test_rate_rises_and_falls():
    from peers import accuracy_worker

    rates = [accuracy_worker.rate(step, 80) for step in range(80)]
    assert rates[0] == 0 and max(rates) == rates[10] == accuracy_worker.HIGHEST_RATE
    assert rates[5] == pytest.approx(0.05) and rates[45] == pytest.approx(0.05)
    assert 0 < rates[-1] < 1e-3


def test_accuracy_table():
    import accuracy

    own = {"seconds": [1.0, 2.0], "accuracy": [0.9, 0.95]}
    peer = {"seconds": [3.0, 5.0], "accuracy": [0.8, 0.92]}
    lines = accuracy.table({"fastconv": [own], "torch": [peer]}, [0.9, 0.94])
    assert lines[2] == "| fastconv | 1 | 2 | 1.0 | 0.9500 |"
    assert lines[3] == "| PyTorch | 5 (5.00 times fastconv's) |  | 2.5 | 0.9200 |"


def test_moved_images():
    from peers import training_data

    x = np.arange(2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1) + 1
    y = np.array([1, 0])
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(50):
        ((images, targets),) = training_data.moved(x, y, 2, 3, rng)
        assert images.shape == x.shape and images.flags.c_contiguous
        for image, target in zip(images, targets, strict=True):
            original = x[0] if target.argmax() == 1 else x[1]
            inside = image[image > 0]
            assert len(inside) in (9, 12, 16) and np.isin(inside, original).all()
            seen.add(json.dumps(image.ravel().tolist()))
    assert len(seen) > 18  # two images, nine shifts, mirrored or not: 36


def record(engine, number, losses=(2.0, 1.0), **more):
    return {
        "kind": "train",
        "network": "resnet18",
        "threads": 2,
        "batch": 64,
        "engine": engine,
        "round": number,
        "date": "2026-01-01",
        "version": "1.0",
        "losses": [*losses, *[1.0] * 8],
        **more,
    }


@pytest.fixture
def found():
    return [
        record("fastconv", 0, (2.0, 1.001), median=0.1, memory=3e8, growth=1e8),
        record("torch", 0, median=0.3, memory=6e8, growth=4e8),
        record("torch-channels-last", 0, (2.0, 1.02), median=0.2, memory=5e8, growth=3e8),
        record("keras-jax", 0, (float("nan"), 1.0), median=0.15, memory=9e8, growth=3e8),
    ]


def test_report(found):
    from peers import training_report

    text = training_report.section(
        {"machine": {"cpu": "C", "cores": 2, "system": "S"}, "records": found}
    )
    name = "| ResNet-18 (32x32x3, batch 64) | "
    assert f"{name}100 | 300 | 200 | 150 | 2.00 | 1.50 | 1.8 |" in text
    assert f"{name}300 (100) | 600 (400) | 500 (300) | 900 (300) | 0.60 | 0.33 |" in text
    assert f"{name}2 | 1.0e-03 | 2.0e-02 | inf |" in text
    assert "#### Two threads" in text and "Rounds: 1." in text


def test_wrong_losses_are_told(found, capsys):
    import training

    assert training.show("resnet18", found) == []  # not further than PyTorch's own layouts
    assert "best PyTorch / fastconv 2.00, bar 1.8" in capsys.readouterr().out
    found[0]["losses"][1] = 1.1
    assert training.show("resnet18", found) == ["fastconv"]
