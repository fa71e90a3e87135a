"""The package's surface: names, aliases, and that importing it is light."""

import importlib
import subprocess
import sys

import pytest

import fastconv


def test_keras_is_another_name_of_the_package():
    from fastconv.keras import layers
    from fastconv.keras.layers import Conv2D
    from fastconv.keras.models import Sequential

    assert fastconv.keras is fastconv
    assert layers is fastconv.layers
    assert Conv2D is fastconv.layers.Conv2D
    assert Sequential is fastconv.Sequential
    assert fastconv.layers.__spec__.name == "fastconv.layers"
    schedules = importlib.import_module("fastconv.keras.optimizers.schedules")
    assert schedules is fastconv.optimizers.schedules


def test_unknown_names_are_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fastconv.nonsense
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        importlib.import_module("fastconv.keras.nonsense")


def test_import_loads_no_submodule():
    code = (
        "import sys, fastconv; "
        "print(sorted(m for m in sys.modules if m.startswith('fastconv')), "
        "[m for m in ('safetensors', 'tqdm', 'onnx', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = ["fastconv", "fastconv._core", "fastconv._runtime", "fastconv.keras"]
    assert out.stdout.strip() == f"{expected} []"


def test_sessions_load_what_they_need():
    code = (
        "import sys, fastconv.session, fastconv.inference.file; "
        "print([m for m in ('tempfile', 'fastconv.inference.tuning', 'onnx') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_listed_names_exist():
    missing = [n for n in {*dir(fastconv), *fastconv.__all__} if not hasattr(fastconv, n)]
    assert missing == []


def test_version():
    assert fastconv.__version__[0].isdigit()


def test_aliases():
    layers = fastconv.layers
    assert layers.MaxPool2D is layers.MaxPooling2D
    assert layers.Convolution2D is layers.Conv2D
    assert layers.GlobalAvgPool2D is layers.GlobalAveragePooling2D
    assert fastconv.losses.mse is fastconv.losses.mean_squared_error


@pytest.mark.parametrize(
    "module",
    ["layers", "models", "optimizers", "losses", "metrics", "callbacks", "utils", "saving"],
)
def test_all_names_exist(module):
    module = importlib.import_module(f"fastconv.{module}")
    for name in module.__all__:
        getattr(module, name)


def test_backend_settings():
    backend = fastconv.backend
    assert backend.floatx() == fastconv.config.floatx() == "float32"
    assert backend.image_data_format() == "channels_last"
    with pytest.raises(ValueError, match="float16"):
        backend.set_floatx("float16")
