"""fastconv's own files for the fuzzers (graphs, layer models, weights, backups), and mutations."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import numpy as np

import fastconv
import fastconv.onnx
from corpus import protos
from fastconv import callbacks, layers
from fastconv.inference import file
from mutator import few, mutate_bytes

_VALUES = [0, 1, -1, 2, 3, 7, 64, 1000, 2**20, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e-30, 1e308]
_VALUES += [
    True,
    False,
    None,
    "",
    "x",
    "relu",
    "same",
    "valid",
    "channels_first",
    "float64",
    "Dense",
]
_VALUES += [
    "\u00fc",
    "a" * 1000,
    [],
    {},
    [[]],
    [None, 3],
    [1, 2],
    [2**40, 2**40],
    {"class_name": "Conv2D"},
]
_VALUES += ["float32", "F64", "BF16", "I8", "Lambda", "kernel", "os.system", float("nan"), "1e400"]
_DEEP = "a deep list"

X, Y = np.zeros((4, 6, 6, 1), np.float32), np.arange(4) % 3


def network() -> fastconv.Sequential:
    """Return the compiled network that weights and backups are read into."""
    fastconv.utils.clear_session()
    model = fastconv.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _functional() -> fastconv.Model:
    x = layers.Input((8, 8, 2))
    a = layers.DepthwiseConv2D(3, padding="same", strides=2)(x)
    b = layers.AveragePooling2D()(layers.ZeroPadding2D(1)(layers.Cropping2D(1)(x)))
    y = layers.Concatenate()([layers.LeakyReLU()(a), layers.UpSampling2D(1)(b)])
    y = layers.Conv2DTranspose(3, 2, strides=2)(layers.Add()([y, y]))
    z = layers.Dense(2)(layers.GlobalAveragePooling2D()(layers.LayerNormalization()(y)))
    model = fastconv.Model(x, [layers.Reshape((-1, 3))(y), layers.Activation("tanh")(z)])
    rate = fastconv.optimizers.schedules.CosineDecay(0.1, 10)
    model.compile(fastconv.optimizers.SGD(rate, momentum=0.9), ["mse", "mae"])
    return model


def own_files() -> dict[str, bytes]:
    """Return files of every kind that fastconv writes, by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, proto in protos().items():
            if kind != "rare_tensors":  # complex numbers
                file.save(fastconv.onnx.load(proto), folder / f"graph-{kind}.fastconv")
        fastconv.utils.set_random_seed(0)
        model = network()
        backup = callbacks.BackupAndRestore(folder, save_freq=1, delete_checkpoint=False)
        model.fit(
            X, Y, batch_size=2, verbose=0, callbacks=[backup, callbacks.EarlyStopping("loss")]
        )
        model.save(folder / "sequential.fastconv")
        model.save_weights(folder / "weights.fastconv")
        _functional().save(folder / "functional.fastconv")
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.fastconv"))}


class OwnMutator:
    """Makes damaged files from sound ones.

    Args:
        seed: numbers the sequence of files.
    """

    def __init__(self, seed: int):
        self._seed = seed
        self._files = list(own_files().values())
        self._parts = [p for data in self._files for p in _places(_opened(data)[0])]

    def case(self, index: int) -> bytes:
        """Return the file of a number."""
        random_ = random.Random(f"{self._seed}/own/{index}")
        data, way = random_.choice(self._files), random_.random()
        if way < 0.8:
            header, body = _opened(data)
            for _ in range(few(random_)):
                self._mutate(header, random_)
            data = _closed(header, body, random_)
        if way > 0.7:
            for _ in range(few(random_)):
                data = mutate_bytes(data, random_, self._files)
        return data

    def _mutate(self, header: dict, random_: random.Random) -> None:
        places = list(_places(header))
        if not places:
            return
        table, key = random_.choice(places)
        way = random_.randrange(6)
        if way == 0:
            del table[key]
        elif way == 1 and isinstance(table, list):
            table.insert(random_.randrange(len(table) + 1), _copy(table[key]))
        elif way == 1:
            table[str(random_.choice(_VALUES))[:20]] = _copy(table[key])
        elif way == 2:
            other, name = random_.choice(self._parts)
            table[key] = _copy(other[name])
        elif way == 3 and type(table[key]) is int:
            table[key] += random_.choice([-2, -1, 1, 2, 8, 2**32])
        elif way == 3 and table[key] and isinstance(table[key], str):
            at = random_.randrange(len(table[key]))
            table[key] = table[key][:at] + random_.choice("0x/ \u00fc") + table[key][at + 1 :]
        elif way == 4 and random_.random() < 0.05:
            table[key] = _DEEP
        else:
            table[key] = _copy(random_.choice(_VALUES))


def _opened(data: bytes) -> tuple[dict, bytes]:
    """Return the header, with the content of its metadata as JSON, and the bytes behind it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header["__metadata__"]
    if "content" in metadata:
        metadata["content"] = json.loads(metadata["content"])
    return header, data[8 + length :]


def _closed(header: dict, body: bytes, random_: random.Random) -> bytes:
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and not isinstance(metadata.get("content"), str | None):
        metadata = {**metadata, "content": _json(metadata["content"])}
        if random_.random() < 0.95:
            metadata.pop("crc32", None)  # which would stop nearly all of them
        header = {**header, "__metadata__": metadata}
    text = _json(header).encode()
    if random_.random() < 0.05:
        body = body + bytes(random_.choice([1, 8, 64]))
    return len(text).to_bytes(8, "little") + text + body


def _json(value) -> str:
    # Deeper than the stacks of readers are.
    return json.dumps(value).replace(f'"{_DEEP}"', "[" * 3000 + "]" * 3000)


def _copy(value):
    return json.loads(json.dumps(value))


def _places(value):
    """Yield (table or list, key) of every value inside."""
    stack = [value]
    while stack:
        table = stack.pop()
        for key in list(table) if isinstance(table, dict) else range(len(table)):
            yield table, key
            if isinstance(table[key], dict | list):
                stack.append(table[key])
