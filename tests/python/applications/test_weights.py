"""Files of weights: which are taken, and what is said about those that do not fit."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from fastconv import applications

SHAPE = (32, 32, 3)


def state(model_width=1 / 16, classes=5):
    """A state dict of a narrow ResNet-18 with torchvision's names, as NumPy arrays."""
    rng = np.random.default_rng(0)
    channels = [round(64 * model_width * 2**i) for i in range(4)]
    found = {"conv1.weight": (channels[0], 3, 7, 7)}

    def norm(name, n):
        parts = ("weight", "bias", "running_mean", "running_var")
        found.update({f"{name}.{part}": (n,) for part in parts})
        found[f"{name}.num_batches_tracked"] = ()

    norm("bn1", channels[0])
    n = channels[0]
    for stage, m in enumerate(channels, 1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            found[f"{name}.conv1.weight"] = (m, n, 3, 3)
            found[f"{name}.conv2.weight"] = (m, m, 3, 3)
            norm(f"{name}.bn1", m)
            norm(f"{name}.bn2", m)
            if n != m:
                found[f"{name}.downsample.0.weight"] = (m, n, 1, 1)
                norm(f"{name}.downsample.1", m)
            n = m
    found["fc.weight"], found["fc.bias"] = (classes, n), (classes,)
    return {
        name: np.array(3, np.int64)
        if shape == ()
        else rng.uniform(0.1, 1, shape).astype(np.float32)
        for name, shape in found.items()
    }


def build(path, **options):
    options = {"input_shape": SHAPE, "classes": 5, "width": 1 / 16, **options}
    return applications.ResNet18(weights=path, **options)


@pytest.fixture
def write(tmp_path):
    def run(tensors, name="w.safetensors", metadata=None):
        save_file(tensors, tmp_path / name, metadata)
        return tmp_path / name

    return run


def test_names_and_layouts(write):
    tensors = state()
    model = build(write(tensors, metadata={"format": "pt"}))
    get = model.get_layer
    np.testing.assert_array_equal(
        get("conv3_block1_0_conv").kernel.numpy(),
        tensors["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0),
    )
    norm = get("conv5_block2_2_bn")
    for ours, theirs in (
        (norm.gamma, "weight"),
        (norm.beta, "bias"),
        (norm.moving_mean, "running_mean"),
        (norm.moving_variance, "running_var"),
    ):
        np.testing.assert_array_equal(ours.numpy(), tensors[f"layer4.1.bn2.{theirs}"])
    np.testing.assert_array_equal(get("predictions").kernel.numpy(), tensors["fc.weight"].T)


def test_half_and_double_precision(write):
    for dtype in (np.float16, np.float64):
        tensors = {k: v.astype(dtype) for k, v in state().items() if v.ndim}
        kernel = build(write(tensors)).get_layer("predictions").kernel.numpy()
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(kernel, tensors["fc.weight"].T.astype(np.float32))


def test_top_is_left_out(write):
    path = write(state(classes=1000))
    assert build(path, include_top=False).output_shape == (None, 1, 1, 32)


def test_what_does_not_fit(write):
    tensors = state()
    path = write(tensors)
    with pytest.raises(ValueError) as caught:
        build(path, classes=7)
    message = str(caught.value)
    assert "w.safetensors does not fit model 'resnet18'" in message
    assert (
        "layer 'predictions' expects 'fc.weight' of shape (7, 32), the file has (5, 32)" in message
    )
    assert "keys" not in message
    with pytest.raises(ValueError, match=r"layer 'conv1_bn'.*; 96 more that do not fit$"):
        build(path, width=1 / 8)
    tensors["layer1.0.bn3.weight"] = tensors.pop("layer1.0.bn2.weight")
    with pytest.raises(ValueError) as caught:
        build(write(tensors))
    message = str(caught.value)
    assert "missing keys: 'layer1.0.bn2.weight'; unexpected keys: 'layer1.0.bn3.weight'" in message
    with pytest.raises(ValueError, match=r"missing keys: .*and 97 more"):
        build(write({"x": np.ones(1, np.float32)}))
    integers = {**state(), "bn1.weight": np.ones(4, np.int32)}
    with pytest.raises(ValueError, match=r"layer 'conv1_bn': 'bn1\.weight' has type I32"):
        build(write(integers))


def test_older_names_of_densenet(write):
    model = applications.DenseNet121(False, input_shape=SHAPE, width=1 / 8)
    tensors = {}
    for layer in model.layers:
        for weight in layer.weights:
            value = np.random.default_rng(weight.size).uniform(size=weight.shape)
            source = _densenet_source(layer.name)
            part = {"moving_mean": "running_mean", "moving_variance": "running_var"}.get(
                weight.name, "bias" if weight.name == "beta" else "weight"
            )
            value = value.astype(np.float32)
            if value.ndim == 4:
                value = np.ascontiguousarray(value.transpose(3, 2, 0, 1))
            tensors[f"{source}.{part}"] = value
    assert "features.denseblock3.denselayer24.norm.2.running_var" in tensors
    path = write(tensors)
    loaded = applications.DenseNet121(False, path, input_shape=SHAPE, width=1 / 8)
    np.testing.assert_array_equal(
        loaded.get_layer("conv4_block24_2_conv").kernel.numpy().transpose(3, 2, 0, 1),
        tensors["features.denseblock3.denselayer24.conv.2.weight"],
    )


def _densenet_source(name):
    fixed = {"conv1_conv": "conv0", "conv1_bn": "norm0", "bn": "norm5"}
    if name in fixed:
        return f"features.{fixed[name]}"
    stage, *rest = name.split("_")
    if stage.startswith("pool"):
        return f"features.transition{int(stage[4:]) - 1}.{'norm' if rest[0] == 'bn' else 'conv'}"
    block, number, kind = rest
    number = int(number) + (kind == "bn")
    kind = "norm" if kind == "bn" else "conv"
    return f"features.denseblock{int(stage[4:]) - 1}.denselayer{block[5:]}.{kind}.{number}"


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "old.bin"])
def test_pickles_are_refused(name, tmp_path):
    path = tmp_path / name
    if name == "w.bin":  # PyTorch's zip archive under another name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"")
    else:
        path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(ValueError, match=r"pickle(.|\n)*weights_only=True(.|\n)*save_file"):
        build(path)


def test_advice_about_pickles_works(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed, nothing to convert")
    tensors = state()
    path = tmp_path / "weights.pth"
    torch.save({k: torch.from_numpy(v.copy()) for k, v in tensors.items()}, path)
    with pytest.raises(ValueError) as caught:
        build(path)
    code = str(caught.value).split("\n", 1)[1]
    folder = os.getcwd()
    os.chdir(tmp_path)
    try:
        exec("\n".join(line.strip() for line in code.splitlines()), {})
    finally:
        os.chdir(folder)
    model = build(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(model.get_layer("predictions").bias.numpy(), tensors["fc.bias"])


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build(tmp_path / "nowhere.safetensors")
    with pytest.raises(IsADirectoryError):
        build(tmp_path)
    with pytest.raises(TypeError, match="dict"):
        build({"x": 1})
    (tmp_path / "text.safetensors").write_text("no weights at all")
    with pytest.raises(ValueError, match="no safetensors file or is damaged"):
        build(tmp_path / "text.safetensors")


def test_own_files(tmp_path):
    model = build(None)
    x = np.random.default_rng(0).standard_normal((2, *SHAPE), dtype=np.float32)
    model.save(tmp_path / "model.fastconv")
    model.save_weights(tmp_path / "weights.safetensors")
    for name in ("model.fastconv", "weights.safetensors"):
        loaded = build(tmp_path / name)
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    with pytest.raises(ValueError, match="does not fit model 'resnet18'"):
        build(tmp_path / "model.fastconv", classes=6)
