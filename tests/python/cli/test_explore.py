"""``fastconv explore``: its arguments, messages, and that it serves until Ctrl-C."""

import signal
import sys
import urllib.request

import pytest

import graph_files
from fastconv import layers, models
from small_networks import digits_like


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.fastconv"
    digits_like().save(path)
    return path


def test_serves_until_interrupted(start, model):
    pytest.importorskip("gradio", reason="needs gradio")
    process = start("explore", model, "--no-browser")
    line = process.stdout.readline()
    try:
        address = line.split(" is at ")[1].split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert b"model.fastconv" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert line.endswith("Ctrl-C ends it\n")
    assert process.returncode == 130 and err.strip() == "fastconv: stopped."


def test_port_that_is_taken(fast, model):
    pytest.importorskip("gradio", reason="needs gradio")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, err = fast("explore", model, "--no-browser", "--port", port)
    assert status == 2 and out == ""
    message = f"cannot listen at 127.0.0.1, port {port}: Address already in use"
    assert err == f"fastconv: error: {message}\n"


def test_address_that_is_not_here(fast, model):
    pytest.importorskip("gradio", reason="needs gradio")
    status, _, err = fast("explore", model, "--no-browser", "--host", "192.0.2.1")
    assert status == 2 and "cannot listen at 192.0.2.1: Cannot assign requested address" in err


def test_messages(fast, model, tmp_path, capsys):
    status, _, err = fast("explore", tmp_path / "nowhere.fastconv")
    assert status == 2 and "no model file" in err
    status, _, err = fast("explore", model, "--labels", tmp_path / "nowhere.txt")
    assert status == 2 and "no labels file" in err
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n\ndog\n")
    status, _, err = fast("explore", model, "--labels", labels)
    assert status == 2 and "there are 2 class names, the model has 4 classes" in err
    labels.write_text("\n")
    status, _, err = fast("explore", model, "--labels", labels)
    assert status == 2 and "labels.txt holds no class names, expected one a line" in err
    labels.write_bytes(b"\xff\xfe\n")
    status, _, err = fast("explore", model, "--labels", labels)
    assert status == 2 and "labels.txt is not a text file in UTF-8" in err
    with pytest.raises(SystemExit):
        fast("explore", model, "--port", 70000)
    assert "70000 is not a port, expected 1 to 65535" in capsys.readouterr().err
    status, _, err = fast("explore", model, "--mean", "0.5")
    assert status == 2 and "are for graphs" in err and "is a layer model" in err
    keras_file = tmp_path / "model.keras"
    keras_file.write_bytes(b"PK\x03\x04 and more")
    status, _, err = fast("explore", keras_file)
    assert status == 2 and "probably a Keras model, which fastconv cannot make again" in err
    vectors = tmp_path / "vectors.fastconv"
    models.Sequential([layers.Input((4,)), layers.Dense(2)]).save(vectors)
    status, _, err = fast("explore", vectors)
    assert status == 2 and "takes inputs (None, 4), not images" in err


def test_graph_with_several_inputs(fast, tmp_path):
    pytest.importorskip("onnx", reason="needs the onnx package")
    graph_files.two_inputs(tmp_path / "two.onnx")
    status, _, err = fast("explore", tmp_path / "two.onnx")
    assert status == 2 and "expected one: an image" in err
    status, _, err = fast("explore", tmp_path / "two.onnx", "--invert", "yes")
    assert status == 2 and "--invert is for layer models" in err


def test_without_gradio(fast, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    status, _, err = fast("explore", model)
    assert status == 2 and "pip install 'fastconv[explore]'" in err
