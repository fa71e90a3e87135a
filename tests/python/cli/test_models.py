import re
import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest

import fastconv
from fastconv import cli, layers, models

Image = pytest.importorskip("PIL.Image", reason="images need pillow")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Image files of test digits, black on white paper as a scan would be, and their labels."""
    folder = tmp_path_factory.mktemp("pictures")
    _, (x_test, y_test) = fastconv.datasets.digits.load_data()
    paths = []
    for i in range(20):
        grey = 255 - np.minimum(x_test[i].astype(int) * 16, 255).astype(np.uint8)
        paths.append(folder / f"{i}.png")
        Image.fromarray(grey).convert("RGB").resize((64, 64), 0).save(paths[-1])
    return paths, y_test[:20]


def answers(out):
    return re.findall(r"^\S+\.png.*\n +(\S+) +([\d.]+) %", out, re.M)


def test_predict_reads_scans(command, trained, pictures):
    paths, labels = pictures
    status, out, err = command("predict", trained[0] / "model.fastconv", *paths, "--top", 1)
    assert status == 0, err
    assert out.count("(inverted)") == 20 and out.count("%") == 20
    right = sum(int(name) == label for (name, _), label in zip(answers(out), labels, strict=True))
    assert right >= 17


def test_predict_agrees_with_the_model(command, trained, pictures):
    paths, _ = pictures
    _, (x_test, _) = fastconv.datasets.digits.load_data()
    model = models.load_model(str(trained[0] / "model.fastconv"))
    expected = model.predict(x_test[:1, ..., None], verbose=0)[0]
    _, out, _ = command("predict", trained[0] / "model.fastconv", paths[0], "--top", 10)
    shown = dict(re.findall(r"^ +(\d) +([\d.]+) %", out, re.M))
    assert len(shown) == 10
    for name, percent in shown.items():
        # The file holds 255 * pixel / 16 in whole numbers, so it differs a little.
        assert float(percent) == pytest.approx(100 * expected[int(name)], abs=1.5)


def test_invert_options(command, trained, pictures, tmp_path):
    model = trained[0] / "model.fastconv"
    light = Image.open(pictures[0][0])
    light.point(lambda v: 255 - v).save(tmp_path / "dark.png")
    by_hand = command("predict", model, pictures[0][0], "--invert", "yes")[1]
    automatic = command("predict", model, pictures[0][0])[1]
    dark = command("predict", model, tmp_path / "dark.png")[1]
    assert by_hand == automatic
    assert "(inverted)" not in dark and answers(dark) == answers(by_hand)
    assert answers(command("predict", model, pictures[0][0], "--invert", "no")[1]) != answers(dark)


def test_kinds_of_image(command, trained, pictures, tmp_path):
    model = trained[0] / "model.fastconv"
    grey = np.asarray(Image.open(pictures[0][0]).convert("L"))
    transparent = np.stack([np.zeros_like(grey)] * 3 + [255 - grey], axis=-1)
    Image.fromarray(transparent, "RGBA").save(tmp_path / "1.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "2.png")
    Image.fromarray(grey).save(tmp_path / "3.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "4.png")
    paths = [tmp_path / f"{i}.png" for i in range(1, 5)]
    status, out, err = command("predict", model, *paths, "--top", 1)
    assert status == 0, err
    got = answers(out)
    assert len(got) == 4 and len(set(got)) == 1


def test_colour_model_and_missing_names(command, tmp_path):
    model = models.Sequential(
        [
            layers.Input((4, 6, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    weights = np.zeros((72, 2), np.float32)
    weights[0::3, 0] = 1  # red speaks for class 0
    weights[2::3, 1] = 1
    model.set_weights([weights, np.zeros(2, np.float32)])
    model.save(str(tmp_path / "colour.fastconv"))
    Image.new("RGB", (60, 40), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGB", (60, 40), (0, 0, 255)).save(tmp_path / "blue.png")
    status, out, err = command(
        "predict", tmp_path / "colour.fastconv", tmp_path / "red.png", tmp_path / "blue.png"
    )
    assert status == 0, err
    assert re.findall(r"png\n  (class \d) +100.00 %", out) == ["class 0", "class 1"]


def linear_model(path, bias):
    model = models.Sequential(
        [layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(len(bias), name="last")]
    )
    model.set_weights([np.zeros((16, len(bias)), np.float32), np.float32(bias)])
    model.save(str(path))
    return path


def test_logits_become_probabilities(command, tmp_path, pictures):
    path = linear_model(tmp_path / "logits.fastconv", [50.0, 50.0, 0.0])
    status, out, err = command("predict", path, pictures[0][0])
    assert status == 0 and "softmax applied" in err
    assert re.findall(r"([\d.]+) %", out) == ["50.00", "50.00", "0.00"]


def test_predictions_that_are_not_finite(command, tmp_path, pictures):
    path = linear_model(tmp_path / "nan.fastconv", [0.0, np.nan])
    status, out, err = command("predict", path, pictures[0][0])
    assert status == 2 and out == "" and "not finite" in err and err.count("\n") == 1


def test_top_is_positive(command, trained, pictures):
    model = trained[0] / "model.fastconv"
    status, out, err = command("predict", model, pictures[0][0], "--top", 0)
    assert status == 2 and out == "" and "--top: 0 is less than 1" in err


@pytest.mark.parametrize(
    "content, message",
    [(None, "no image file"), (b"", "not an image"), (b"GIF89a", "not an image")],
)
def test_bad_images(command, trained, tmp_path, content, message):
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    status, out, err = command("predict", trained[0] / "model.fastconv", path)
    assert status == 2 and out == ""
    assert message in err and "picture.png" in err and err.count("\n") == 1


def test_bad_models(command, tmp_path, trained, pictures):
    good = (trained[0] / "model.fastconv").read_bytes()
    path = tmp_path / "broken.fastconv"
    for content in (b"", b"not a model", good[:100], good[:-1]):
        path.write_bytes(content)
        for arguments in (["summary", path], ["predict", path, pictures[0][0]]):
            status, out, err = command(*arguments)
            assert status == 2 and out == ""
            assert "broken.fastconv" in err and err.count("\n") == 1
    status, _, err = command("summary", tmp_path / "none.fastconv")
    assert status == 2 and "no model file" in err


def test_model_that_takes_no_images(command, tmp_path, pictures):
    model = models.Sequential([layers.Input((5,)), layers.Dense(2)])
    model.save(str(tmp_path / "dense.fastconv"))
    status, _, err = command("predict", tmp_path / "dense.fastconv", pictures[0][0])
    assert status == 2 and "not images" in err and err.count("\n") == 1


def test_without_pillow(monkeypatch, capsys, trained, pictures):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert cli.main(["predict", str(trained[0] / "model.fastconv"), str(pictures[0][0])]) == 2
    assert "pip install 'fastconv[image]'" in capsys.readouterr().err


def test_summary(command, trained):
    status, out, _ = command("summary", trained[0] / "model.fastconv")
    assert status == 0
    assert "conv2d" in out.lower() and "dense" in out.lower() and "72,842" in out


def test_info(command):
    status, out, _ = command("info", FASTCONV_NUM_THREADS="1")
    assert status == 0
    assert fastconv.__version__ in out


@pytest.mark.parametrize(
    "name", [None, "train", "predict", "run", "bench", "convert", "summary", "info"]
)
def test_help_has_an_example(command, name):
    status, out, err = command(*([name] if name else []), "--help")
    assert status == 0 and err == ""
    assert "example: " in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["predict"],
        ["summary"],
        ["run"],
        ["bench"],
        ["convert", "x"],
        ["info", "extra"],
    ],
)
def test_wrong_usage_is_one_line(command, arguments):
    status, out, err = command(*arguments)
    assert status == 2 and out == ""
    assert err.startswith("fastconv") and "--help" in err and err.count("\n") == 1


def test_installed_command():
    found = entry_points(group="console_scripts", name="fastconv")
    if not found:
        pytest.skip("fastconv runs from its source tree here, it is not installed")
    assert [entry.load() for entry in found] == [cli.main]


def test_reader_that_goes_away(trained):
    script = f"{sys.executable} -m fastconv.cli summary {trained[0] / 'model.fastconv'} | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
