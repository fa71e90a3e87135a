import csv
import re
import signal
import sys
import time

import numpy as np
import pytest

import fastconv
from fastconv import cli, models


def test_writes_what_it_says(trained):
    folder, out, _ = trained
    names = ["best.fastconv", "learning_curve.png", "log.csv", "model.fastconv"]
    assert sorted(p.name for p in folder.iterdir()) == names
    accuracy = float(re.search(r"^test accuracy (\d\.\d+)", out, re.M).group(1))
    assert accuracy > 0.9
    for name in names:
        assert name in out
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} <= rows[0].keys()


def test_saved_model_is_the_one_that_was_measured(trained):
    folder, out, _ = trained
    _, (x_test, y_test) = fastconv.datasets.digits.load_data()
    model = models.load_model(str(folder / "model.fastconv"))
    # The scaling is inside: the model takes the pixels as they are.
    loss, accuracy = model.evaluate(x_test[..., None], y_test, verbose=0)
    assert f"test accuracy {accuracy:.4f}, test loss {loss:.4f} (360 images)" in out


def test_course_network():
    from fastconv.cli._train import course_network

    small, large = course_network((8, 8, 1), 10, 16), course_network((28, 28, 1), 10, 255)
    kinds = [type(layer).__name__ for layer in large.layers]
    assert kinds == [
        "Rescaling",
        *["Conv2D", "MaxPooling2D"] * 2,
        "Conv2D",
        "Flatten",
        "Dense",
        "Dropout",
        "Dense",
    ]
    # 3*3*1*32+32, 3*3*32*64+64, 3*3*64*64+64, 3*3*64*64+64, 64*10+10
    assert large.count_params() == 320 + 18496 + 36928 + 36928 + 650
    assert small.count_params() == 320 + 18496 + 36928 + 2 * 2 * 64 * 64 + 64 + 650
    assert small.output_shape == large.output_shape == (None, 10)


def test_seed_decides(command, tmp_path):
    outs = [
        command("train", "--epochs", 1, "--limit", 200, "--seed", s, "--output", tmp_path / str(i))
        for i, s in enumerate([3, 3, 4])
    ]
    lines = [re.search("^test accuracy.*", out, re.M).group() for _, out, _ in outs]
    assert lines[0] == lines[1] != lines[2]


def test_default_output_and_options(command, tmp_path):
    options = ["--epochs", 1, "--limit", 64, "--batch-size", 16, "--lr", 0.01, "--threads", 1]
    status, out, err = command("train", *options, "--validation-split", 0, cwd=tmp_path)
    assert status == 0, err
    assert "written to fastconv-digits: model.fastconv" in out
    assert (tmp_path / "fastconv-digits" / "best.fastconv").is_file()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--dataset", "imagenet"], "invalid choice: 'imagenet'"),
        (["--epochs", "0"], "--epochs: 0 is less than 1"),
        (["--epochs", "many"], "--epochs: invalid integer value: 'many'"),
        (["--lr", "-1"], "--lr: -1 is not a positive number"),
        (["--lr", "nan"], "--lr: nan is not a positive number"),
        (["--validation-split", "1"], "--validation-split: 1 is not between"),
        (["--batch-size", "-3"], "--batch-size: -3 is less than 1"),
    ],
)
def test_bad_options(command, arguments, message):
    status, out, err = command("train", *arguments)
    assert status == 2 and out == ""
    assert message in err and err.count("\n") == 1


def test_output_is_a_file(command, tmp_path):
    (tmp_path / "taken").write_text("mine")
    status, _, err = command("train", "--epochs", 1, "--output", tmp_path / "taken")
    assert status == 2
    assert "taken" in err and err.count("\n") == 1
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_result_is_a_folder(command, tmp_path):
    (tmp_path / "model.fastconv").mkdir()
    status, out, err = command("train", "--epochs", 1, "--output", tmp_path)
    assert status == 2 and "Epoch" not in out
    assert f"cannot write results to {tmp_path}" in err and err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model.fastconv"]


def test_training_that_diverges(command, tmp_path):
    arguments = ["--lr", 1e30, "--epochs", 3, "--limit", 200, "--output", tmp_path]
    status, out, err = command("train", *arguments)
    assert status == 2 and "test accuracy" not in out
    assert "training failed: " in err and "Traceback" not in err
    assert not (tmp_path / "model.fastconv").exists()
    assert not (tmp_path / "best.fastconv").exists()
    # One step an epoch: the loss is that of the weights before the step.
    status, _, err = command("train", *arguments, "--batch-size", 200)
    assert status == 2 and "training failed: " in err
    for name in ("model.fastconv", "best.fastconv"):
        if (tmp_path / name).exists():
            assert name == "best.fastconv"
            weights = models.load_model(str(tmp_path / name)).get_weights()
            assert all(np.isfinite(w).all() for w in weights)


def test_incomplete_data_folder(command, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(b"")
    arguments = ["train", "--dataset", "mnist", "--output", tmp_path / "run"]
    status, _, err = command(*arguments, FASTCONV_DATA=str(tmp_path))
    assert status == 2 and "lacks train-labels-idx1-ubyte.gz" in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    status, _, err = command(*arguments, FASTCONV_DATA=str(tmp_path), FASTCONV_DEBUG="1")
    assert status == 1 and "Traceback" in err


def test_interrupt_keeps_the_checkpoint(start, tmp_path):
    process = start("train", "--epochs", 10_000, "--output", tmp_path)
    best = tmp_path / "best.fastconv"
    deadline = time.monotonic() + 120
    while not best.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.splitlines()[-1]
    assert last == f"fastconv: stopped. The best epoch so far is in {best}"
    assert "Traceback" not in err
    assert models.load_model(str(best)).output_shape == (None, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.fastconv", "log.csv"]
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert len(rows) >= 2 and len({row.count(",") for row in rows}) == 1


def test_interrupt_before_an_epoch(monkeypatch, capsys, tmp_path):
    def fit(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(models.Sequential, "fit", fit)
    (tmp_path / "best.fastconv").write_text("of an earlier run")
    assert cli.main(["train", "--output", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "fastconv: stopped. No epoch was finished\n"
    assert (tmp_path / "best.fastconv").read_text() == "of an earlier run"


def test_without_matplotlib(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["train", "--epochs", "1", "--limit", "64", "--output", str(tmp_path)]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    assert "learning_curve.png" not in captured.out
    assert "pip install 'fastconv[plot]'" in captured.err
    assert not (tmp_path / "learning_curve.png").exists()


def test_architectures(fast, fails, tmp_path):
    status, _, err = fast(
        *("train", "--architecture", "ResNet20", "--width", 0.25, "--epochs", 2),
        *("--limit", 200, "--output", tmp_path / "run"),
    )
    assert status == 0, err
    model = models.load_model(str(tmp_path / "run" / "model.fastconv"))
    assert model.input_shape == (None, 8, 8, 1)
    assert model.get_layer("conv4_block3_out").output.shape == (None, 2, 2, 16)
    assert isinstance(model.layers[1], fastconv.layers.Rescaling)
    assert "--width needs --architecture" in fails("train", "--width", 0.5)
    folder = tmp_path / "none"
    message = fails("train", "--architecture", "LeNet5", "--output", folder)
    assert "LeNet5 takes images of at least 16 x 16" in message and not folder.exists()


def test_unknown_architecture(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--architecture", "LeNet"])
    assert "'LeNet' is not an architecture; there are LeNet5, AlexNet" in capsys.readouterr().err
