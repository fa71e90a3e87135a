"""Weights of an architecture out of files; nothing in a file is ever run."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import layers
from fastconv._files import FORMAT

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import TensorLike
    from fastconv.applications._network import Network
    from fastconv.layers import Layer
    from fastconv.models import Model

_SHOWN = 5  # problems of each kind in a message
_PARTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def load_weights(model: Model, source: Any, network: Network) -> None:
    """Set the weights of a new model from a file.

    Args:
        model: the model.
        source: path of fastconv's own file, of a PyTorch state dict as .safetensors, or of Keras's
            .weights.h5, .keras or .h5.
        network: the `Network` that made the model's layers.

    Raises:
        TypeError: `source` is no path.
        FileNotFoundError: no such file.
        ValueError: the file is a pickle, damaged, or does not fit the model.
    """
    from fastconv.models.keras_weights import is_keras_file

    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"`weights` must be None or the path of a file, received: {type(source).__name__}"
        )
    path = os.fspath(source)
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such file of weights: {path}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, not a file of weights")
    if _is_pickle(path):
        raise ValueError(
            f"{path} is a PyTorch pickle, which could run code when it is read. Where PyTorch is "
            "installed, save its tensors as safetensors and pass that file:\n"
            "    import torch, safetensors.torch\n"
            f"    state = torch.load({path!r}, map_location='cpu', weights_only=True)\n"
            "    state = {name: tensor.contiguous() for name, tensor in state.items()}\n"
            "    safetensors.torch.save_file(state, 'weights.safetensors')"
        )
    if is_keras_file(path):
        if network.not_keras:
            raise ValueError(f"{path}: weights of Keras do not fit here: {network.not_keras}")
        model.load_weights(path)
        return
    _load_safetensors(model, path, network)


def _is_pickle(path: str) -> bool:
    """Tell PyTorch's zip archives and older files, and whatever else has such a name."""
    if path.lower().endswith((".pt", ".pth", ".pkl", ".pickle")):
        return True
    with open(path, "rb") as file:
        head = file.read(8)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        # A safetensors file may begin so too: its first 8 bytes are the size of its header.
        return int.from_bytes(head, "little") > os.path.getsize(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _load_safetensors(model: Model, path: str, network: Network) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("format") == FORMAT:
                own = True
            else:
                own = False
                _load_pytorch(model, path, file, network)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file or is damaged: {error}") from None
    if own:
        model.load_weights(path)


def _load_pytorch(model: Model, path: str, file: Any, network: Network) -> None:
    # The published DenseNets have older names, as in "denselayer1.norm.1.weight".
    keys = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key): key
        for key in file.keys()  # noqa: SIM118 - a file is no dict
        if not key.endswith(".num_batches_tracked")
    }
    targets = {
        key: entry
        for layer in model.layers
        for key, entry in _targets(layer, network.sources.get(layer.name, layer.name), network)
    }
    problems, missing, found = [], [], []
    for key, (layer, variable, shape, convert) in targets.items():
        if key not in keys:
            missing.append(key)
            continue
        view = file.get_slice(keys[key])
        given = tuple(view.get_shape())
        if given != shape:
            problems.append(
                f"layer {layer.name!r} expects {key!r} of shape {shape}, the file has {given}"
            )
        elif view.get_dtype() not in ("F32", "F64", "F16"):
            problems.append(
                f"layer {layer.name!r}: {key!r} has type {view.get_dtype()}, "
                "which is none of F16, F32 and F64"
            )
        found.append((variable, keys[key], convert))
    heads = tuple(f"{part}." for part in network.left_out)
    surplus = [key for key in keys if key not in targets and not key.startswith(heads)]
    if len(problems) > _SHOWN:
        problems[_SHOWN:] = [f"{len(problems) - _SHOWN} more that do not fit"]
    if missing:
        problems.append(f"missing keys: {_listed(missing)}")
    if surplus:
        problems.append(f"unexpected keys: {_listed(surplus)}")
    if problems:
        shown = "; ".join(problems)
        raise ValueError(f"{path} does not fit model '{model.name}': {shown}")
    for variable, key, convert in found:
        variable.assign(convert(file.get_tensor(key)))


def _listed(names: Any) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _targets(layer: Layer, source: str, network: Network) -> Iterator[Any]:
    """Yield (PyTorch's key, (layer, variable, PyTorch's shape, function to ours)) of a layer."""
    for variable in layer._own_weights():
        shape, convert = _layout(layer, variable, network.flattened.get(layer.name))
        yield f"{source}.{_PARTS[variable.name]}", (layer, variable, shape, convert)
    for inner in layer._sublayers():
        yield from _targets(inner, f"{source}.{inner.name}", network)


def _layout(layer: Layer, variable: Variable, maps: Any) -> TensorLike:
    """Return the shape of a variable in PyTorch and the function from there to ours."""
    ours = variable.shape
    if variable.name != "kernel":
        return ours, np.asarray
    if isinstance(layer, layers.Dense):
        if maps is None:
            return ours[::-1], np.transpose
        h, w, c = maps

        def from_channels_first(weight: Any) -> TensorLike:
            weight = weight.reshape(-1, c, h, w).transpose(2, 3, 1, 0)
            return weight.reshape(ours)

        return ours[::-1], from_channels_first
    h, w, first, last = ours
    if isinstance(layer, layers.DepthwiseConv2D):  # (h, w, channels, multiplier)
        return (first * last, 1, h, w), lambda weight: weight.transpose(2, 3, 0, 1).reshape(ours)
    return (last, first, h, w), lambda weight: weight.transpose(2, 3, 1, 0)
