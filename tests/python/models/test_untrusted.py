"""Files of layer models name classes and functions: only what the program offers is run."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import fastconv


def write(path, layer):
    content = {
        "model": {
            "class_name": "Sequential",
            "config": {
                "name": "m",
                "layers": [
                    {"class_name": "InputLayer", "config": {"batch_shape": [None, 3]}},
                    layer,
                ],
            },
        },
        "build_shape": [None, 3],
    }
    meta = {"format": "fastconv", "version": "1", "kind": "model", "content": json.dumps(content)}
    save_file({"a": np.zeros(1, np.float32)}, path, metadata=meta)
    return path


@pytest.mark.parametrize(
    "layer, message",
    [
        ({"class_name": "system", "module": "os", "config": {"command": "{}"}}, "unknown class"),
        ({"class_name": "os.system", "config": {"command": "{}"}}, "unknown class"),
        ({"class_name": "Lambda", "config": {"function": "exec"}}, "custom_objects"),
        ({"class_name": "Lambda", "config": {"function": "lambda x: open('{}', 'w')"}}, "custom_"),
        (
            {
                "class_name": "Lambda",
                "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
            },
            "callable",
        ),
        ({"class_name": "Dense", "config": {"units": 1, "activation": "os.system"}}, "os.system"),
        (
            {
                "class_name": "Dense",
                "config": {
                    "units": 1,
                    "kernel_initializer": {
                        "module": "subprocess",
                        "class_name": "Popen",
                        "config": {"args": ["touch", "{}"]},
                    },
                },
            },
            "unknown class 'Popen'",
        ),
    ],
)
def test_names_run_nothing(tmp_path, layer, message):
    proof = tmp_path / "ran"
    layer = json.loads(json.dumps(layer).replace("{}", f"touch {proof}"))
    with pytest.raises((ValueError, TypeError), match=message):
        fastconv.models.load_model(write(tmp_path / "m.fastconv", layer))
    assert not proof.exists()


def test_the_file_itself_is_read(tmp_path):
    # The refusals above are of the layer: a plain one is refused for its weights.
    layer = {"class_name": "Dense", "config": {"units": 1}}
    with pytest.raises(ValueError, match="kernel"):
        fastconv.models.load_model(write(tmp_path / "m.fastconv", layer))
