"""Weights out of files that the real Keras writes."""

import contextlib
import zipfile

import numpy as np
import pytest

import fastconv

h5py = pytest.importorskip("h5py")


def network(k, prefix=None):
    """A nested model with most kinds of weights, in Keras or fastconv."""
    layers = k.layers

    def name(text):
        return None if prefix is None else f"{prefix}_{text}"

    inner = k.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(3, 3, padding="same", name=name("inner_conv")),
            layers.BatchNormalization(name=name("inner_norm")),
        ],
        name=name("inner"),
    )
    inputs = layers.Input((8, 8, 3))
    x = inner(inputs)
    x = layers.SeparableConv2D(4, 3, depth_multiplier=2, name=name("separable"))(x)
    x = layers.Dropout(0.2)(x)
    x = layers.PReLU(shared_axes=[1, 2], name=name("prelu"))(x)
    a = layers.DepthwiseConv2D(2, name=name("depthwise"))(x)
    b = layers.Conv2DTranspose(4, 2, name=name("transpose"))(a)
    x = layers.Concatenate()([x, b])
    x = layers.LayerNormalization(name=name("norm"))(x)
    x = layers.Flatten()(x)
    return k.Model(inputs, layers.Dense(5, activation="softmax", name=name("dense"))(x))


def randomized(keras, *args):
    model = network(keras, *args)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.9, w.shape).astype("float32") for w in model.weights])
    return model


X = np.random.default_rng(1).normal(size=(3, 8, 8, 3)).astype(np.float32)


def same(ours, theirs):
    a, b = ours.predict(X, verbose=0), np.asarray(theirs.predict(X, verbose=0))
    np.testing.assert_allclose(a, b, atol=2e-5)
    assert np.ptp(b) > 1e-3


@pytest.fixture(params=["m.keras", "m.weights.h5", "m.h5"])
def save(request, tmp_path):
    def write(model):
        path = tmp_path / request.param
        if request.param.endswith("weights.h5"):
            model.save_weights(path)
        else:
            model.save(path)
        return path

    return write


@pytest.mark.parametrize("trained", [False, True])
def test_automatic_names(keras, save, trained):
    randomized(keras)  # so that the automatic numbers differ
    theirs, ours = randomized(keras), network(fastconv)
    if trained:
        theirs.compile("adam", "mse")
        theirs.fit(X, np.zeros((3, 5), np.float32), verbose=0)
    path = save(theirs)
    ours.load_weights(path)
    same(ours, theirs)
    again = network(fastconv)
    fastconv.utils.load_keras_weights(again, str(path))
    same(again, theirs)


def test_names_go_before_places(keras, save):
    theirs = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(4, name="first"),
            keras.layers.Dense(4, name="second"),
        ]
    )
    ours = fastconv.Sequential(
        [
            fastconv.layers.Input((4,)),
            fastconv.layers.Dense(4, name="second"),
            fastconv.layers.Dense(4, name="first"),
        ]
    )
    ours.load_weights(save(theirs))
    for name in ("first", "second"):
        found = ours.get_layer(name).get_weights()[0]
        np.testing.assert_array_equal(found, np.asarray(theirs.get_layer(name).get_weights()[0]))


def test_given_names(keras, save):
    theirs, ours = randomized(keras, "my"), network(fastconv, "my")
    ours.load_weights(save(theirs))
    same(ours, theirs)


def test_arrays(keras):
    theirs, ours = randomized(keras, "my"), network(fastconv, "my")
    fastconv.utils.load_keras_weights(ours, theirs.get_weights())
    same(ours, theirs)
    ours = network(fastconv, "my")
    by_name = {x.name: x.get_weights() for x in theirs.layers if x.get_weights()}
    fastconv.utils.load_keras_weights(ours, by_name)
    same(ours, theirs)
    by_name.pop("my_dense")
    with pytest.raises(ValueError, match="no weights for layer 'my_dense'"):
        fastconv.utils.load_keras_weights(ours, by_name)
    with pytest.raises(TypeError, match="int"):
        fastconv.utils.load_keras_weights(ours, 3)


def subclass(k):
    class Custom(k.Model):
        def __init__(self):
            super().__init__()
            self.zz = k.layers.Dense(4)
            self.blocks = [k.layers.Dense(4), k.layers.Dense(4)]
            self.aa = k.layers.Dense(4)
            self.twin = self.aa
            self.table = {"b": k.layers.Dense(4)}

        def call(self, inputs):
            x = self.aa(self.zz(inputs))
            for block in self.blocks:
                x = block(x)
            return self.table["b"](self.twin(x))

    model = Custom()
    model(np.zeros((1, 4), np.float32))
    return model


def test_subclass_by_attributes(keras, tmp_path):
    theirs, ours = subclass(keras), subclass(fastconv)
    theirs.save_weights(tmp_path / "m.weights.h5")
    ours.load_weights(tmp_path / "m.weights.h5")
    x = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
    wanted = np.asarray(theirs.predict(x, verbose=0))
    np.testing.assert_allclose(ours.predict(x, verbose=0), wanted, atol=1e-5)


def other_head():
    model = network(fastconv)
    return fastconv.Model(model.inputs, fastconv.layers.Dense(7)(model.layers[-2].output))


def test_mismatch(keras, save):
    theirs = randomized(keras)
    path, ours = save(theirs), other_head()
    before = ours.get_weights()
    with pytest.raises(ValueError, match=r"does not fit model.*dense.*has shape \(\d+, 7\)"):
        ours.load_weights(path)
    assert all((a == b).all() for a, b in zip(before, ours.get_weights(), strict=True))
    ours.load_weights(path, skip_mismatch=True)
    kernels = [w for w in ours.weights if w.path.endswith("depthwise_kernel")]
    wanted = [w for w in theirs.weights if w.path.endswith("depthwise_kernel")]
    np.testing.assert_array_equal(kernels[0].numpy(), wanted[0].numpy())
    np.testing.assert_array_equal(ours.weights[-2].numpy(), before[-2])
    fewer = fastconv.Sequential([fastconv.layers.Input((4,)), fastconv.layers.Dense(2)])
    with pytest.raises(ValueError, match="does not fit"):
        fewer.load_weights(path)
    with pytest.raises(ValueError, match="has not been built"):
        fastconv.Sequential([fastconv.layers.Dense(2)]).load_weights(path)


def test_whole_models_are_not_made(keras, save):
    path = save(randomized(keras))
    with pytest.raises(ValueError, match=r"make the model and call load_weights\(\)"):
        fastconv.models.load_model(path)


# Files that are not what they should be


@pytest.fixture
def dense():
    return fastconv.Sequential([fastconv.layers.Input((3,)), fastconv.layers.Dense(2, name="d")])


def written(path, fill):
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "d"
        fill(group)
    return path


def test_links_are_not_followed(dense, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.ones((3, 2), np.float32)

    def external(group):
        group["0"] = h5py.ExternalLink(str(secret), "/kernel")
        group["1"] = np.zeros(2, np.float32)

    def soft(group):
        group.file["kernel"] = np.ones((3, 2), np.float32)
        group["0"] = h5py.SoftLink("/kernel")
        group["1"] = np.zeros(2, np.float32)

    def raw(group):
        (tmp_path / "raw").write_bytes(bytes(24))
        group.create_dataset("0", (3, 2), "float32", external=[(str(tmp_path / "raw"), 0, 24)])
        group["1"] = np.zeros(2, np.float32)

    def virtual(group):
        layout = h5py.VirtualLayout((3, 2), "float32")
        layout[:] = h5py.VirtualSource(str(secret), "kernel", (3, 2))
        group.create_virtual_dataset("0", layout)
        group["1"] = np.zeros(2, np.float32)

    for fill in (external, soft, raw, virtual):
        path = written(tmp_path / f"{fill.__name__}.weights.h5", fill)
        with pytest.raises(ValueError, match=r"not followed|not read"):
            dense.load_weights(path)


def test_huge_arrays_are_not_read(dense, tmp_path):
    def fill(group):
        group.create_dataset("0", (2**20, 2**16), "float32", chunks=True, compression="gzip")
        group["1"] = np.zeros(2, np.float32)

    with pytest.raises(ValueError, match="has shape"):
        dense.load_weights(written(tmp_path / "m.weights.h5", fill))


def test_groups_in_a_circle(dense, tmp_path):
    path = written(tmp_path / "m.weights.h5", lambda group: None)
    with h5py.File(path, "a") as file:
        file["layers/dense/again"] = file["layers"]
    with pytest.raises(ValueError, match="nested too deeply"):
        dense.load_weights(path)


def test_damaged_files(dense, tmp_path, keras):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.save_weights(tmp_path / "m.weights.h5")
    model.save(tmp_path / "m.keras")
    for name in ("m.weights.h5", "m.keras"):
        whole = (tmp_path / name).read_bytes()
        for cut in (8, 100, len(whole) // 2, len(whole) - 10):
            (tmp_path / "cut").write_bytes(whole[:cut])
            with pytest.raises(ValueError):
                dense.load_weights(tmp_path / "cut")
    # Only in the archive, which has check sums: HDF5's own library can hang on flipped bits.
    rng = np.random.default_rng(0)
    for _ in range(50):
        bits = bytearray(whole)
        bits[rng.integers(8, len(bits))] ^= 1 << rng.integers(8)
        (tmp_path / "flipped").write_bytes(bits)
        with contextlib.suppress(ValueError):
            dense.load_weights(tmp_path / "flipped")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match=r"without 'model.weights.h5'"):
        dense.load_weights(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(2**28 + 2**16))
    with pytest.raises(ValueError, match="declares"):
        dense.load_weights(tmp_path / "bomb.keras")
    with pytest.raises(FileNotFoundError):
        fastconv.utils.load_keras_weights(dense, tmp_path / "missing.keras")
    with pytest.raises(ValueError, match=r"neither a \.keras file nor HDF5"):
        (tmp_path / "text").write_text("some text")
        fastconv.utils.load_keras_weights(dense, tmp_path / "text")
