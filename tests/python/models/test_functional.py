"""Functional and subclassed models."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, ops


@pytest.fixture(autouse=True)
def fresh_names():
    fastconv.utils.clear_session()


def _two_branches():
    a, b = fastconv.Input((4,), name="a"), fastconv.Input((3,), name="b")
    shared = layers.Dense(3, name="shared")
    h = layers.concatenate([shared(a), b])
    return fastconv.Model(
        inputs=[a, b],
        outputs={"sum": layers.Dense(1, name="x")(h), "classes": layers.Dense(2, name="y")(h)},
    )


def test_structure():
    model = _two_branches()
    assert model.name == "functional"
    assert model.input_names == ["a", "b"]
    assert model.output_names == ["sum", "classes"]
    assert model.input_shape == [(None, 4), (None, 3)]
    assert model.output_shape == {"sum": (None, 1), "classes": (None, 2)}
    assert model.get_layer("shared").output.shape == (None, 3)
    assert model.get_layer(index=0) is model.layers[0]
    assert model.count_params() == 15 + 7 + 14
    with pytest.raises(ValueError, match=r"no such layer: z.*shared"):
        model.get_layer("z")


def test_data_as_list_or_dict():
    model = _two_branches()
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    first = model.predict([a, b], verbose=0)
    second = model.predict({"b": b, "a": a}, verbose=0)
    assert set(first) == {"sum", "classes"}
    np.testing.assert_array_equal(first["sum"], second["sum"])
    called = model([a, b])
    np.testing.assert_array_equal(called["classes"], first["classes"])
    with pytest.raises(ValueError, match=r"missing \['b'\]"):
        model.predict({"a": a}, verbose=0)
    with pytest.raises(ValueError, match="2 arrays"):
        model.predict([a, b, b], verbose=0)
    with pytest.raises(ValueError, match="same number of samples"):
        model.predict([a, b[:4]], verbose=0)


def test_feature_maps_of_inner_layers():
    model = fastconv.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(2, 3, name="first"),
            layers.Conv2D(3, 3, name="second"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype("float32")
    maps = fastconv.Model(model.inputs, [layer.output for layer in model.layers])
    outputs = maps.predict(x, verbose=0)
    assert [o.shape for o in outputs] == [(2, 6, 6, 2), (2, 4, 4, 3), (2, 48), (2, 2)]
    np.testing.assert_allclose(outputs[-1], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    tail = fastconv.Model(model.get_layer("second").input, model.output)
    np.testing.assert_allclose(
        tail.predict(outputs[0], verbose=0), outputs[-1], rtol=1e-5, atol=1e-6
    )


def test_models_inside_models():
    inner = fastconv.Sequential([layers.Input((4,)), layers.Dense(3)], name="inner")
    x = fastconv.Input((4,))
    model = fastconv.Model(x, layers.Dense(1)(ops.tanh(inner(x)) + inner(x * 2.0)))
    data = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")
    w, b, v, c = model.get_weights()
    expected = (np.tanh(data @ w + b) + 2 * data @ w + b) @ v + c
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-4, atol=1e-5)
    again = fastconv.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(again.predict(data, verbose=0), model.predict(data, verbose=0))
    json_model = fastconv.models.model_from_json(model.to_json())
    assert [layer.name for layer in json_model.layers] == [layer.name for layer in model.layers]
    inner.trainable = False
    assert len(model.trainable_weights) == 2


class Net(fastconv.Model):
    """A subclassed model."""

    def __init__(self, units=3):
        super().__init__()
        self.hidden = layers.Dense(units, activation="relu")
        self.drop = layers.Dropout(0.5)
        self.out = layers.Dense(2, activation="softmax")

    def call(self, inputs, training=False):
        return self.out(self.drop(self.hidden(inputs), training=training))


def test_subclassed_model():
    model = Net(5)
    assert not model.built
    x = np.random.default_rng(0).standard_normal((12, 4)).astype("float32")
    assert model.predict(x, verbose=0).shape == (12, 2)
    assert model.built
    assert [layer.name for layer in model.layers] == ["dense", "dropout", "dense_1"]
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, np.arange(12) % 2, epochs=2, batch_size=5, verbose=0)
    assert set(history.history) == {"loss", "accuracy"}
    assert len(model.weights) == 4
    symbolic = model(fastconv.Input((4,)))
    assert symbolic.shape == (None, 2)


class Residual(fastconv.Model):
    """A subclass that is functional inside."""

    def __init__(self):
        x = fastconv.Input((4,))
        super().__init__(inputs=x, outputs=x + layers.Dense(4)(x))


def test_functional_subclass():
    model = Residual()
    assert model.predict(np.ones((2, 4)), verbose=0).shape == (2, 4)
    assert model.output_shape == (None, 4)


def test_errors():
    a, b = fastconv.Input((4,)), fastconv.Input((4,))
    with pytest.raises(ValueError, match="not among the inputs"):
        fastconv.Model(a, layers.Dense(2)(b))
    with pytest.raises(ValueError, match="symbolic"):
        fastconv.Model(a, np.ones(3))
    with pytest.raises(ValueError, match="distinct"):
        fastconv.Model([a, a], layers.Dense(2)(a))
    with pytest.raises(TypeError, match="both"):
        fastconv.Model(inputs=a)
    model = fastconv.Model(a, layers.Dense(2)(a))
    with pytest.raises(ValueError, match=r"'functional.*' expects shape \(None, 4\).*\(2, 5\)"):
        model.predict(np.ones((2, 5)), verbose=0)
    with pytest.raises(ValueError, match="no layers to build"):
        fastconv.Model()(np.ones((2, 3)))


def test_a_missing_or_surplus_last_axis_is_forgiven():
    x = fastconv.Input((4, 4, 1))
    model = fastconv.Model(x, layers.Flatten()(x))
    data = np.arange(32.0).reshape(2, 4, 4)
    np.testing.assert_array_equal(model.predict(data, verbose=0), data.reshape(2, 16))
    y = fastconv.Input((4, 4))
    model = fastconv.Model(y, layers.Flatten()(y))
    np.testing.assert_array_equal(model.predict(data[..., None], verbose=0), data.reshape(2, 16))


def test_deep_models_do_not_recurse():
    x = y = fastconv.Input((2,))
    for _ in range(1500):
        y = layers.Identity()(y)
    assert len(fastconv.Model(x, y).layers) == 1501


def test_layer_names_are_unique():
    x = fastconv.Input((3,))
    y = layers.Dense(3, name="a")(layers.Dense(3, name="a")(x))
    with pytest.raises(ValueError, match="The name 'a' is used 2 times in the model"):
        fastconv.Model(x, y)


def test_symbolic_tensors_are_no_arrays():
    x = fastconv.Input((3,))
    with pytest.raises(TypeError, match="iterated"):
        list(x)
    for call in (np.mean, np.exp, lambda t: np.concatenate([t, t])):
        with pytest.raises(TypeError, match=r"use fastconv\.ops"):
            call(x)
        with pytest.raises(TypeError, match=r"use fastconv\.ops"):
            layers.Lambda(call)(np.ones((2, 3), "float32"))
    row = np.arange(3.0, dtype="float32")
    model = fastconv.Model(x, row - np.float32(2) * x)
    np.testing.assert_allclose(model(np.ones((2, 3), "float32")), [row - 2] * 2)


def test_a_subclass_must_call_super_init():
    class Own(fastconv.Model):
        def __init__(self):
            self.dense = layers.Dense(3)

    with pytest.raises(RuntimeError, match=r"super\(\).__init__\(\)"):
        Own()


def test_a_list_of_one_tensor_is_that_tensor():
    x = fastconv.Input((4,))
    model = fastconv.Model(inputs=[x], outputs=[fastconv.layers.Dense(2)(x)])
    assert model.predict(np.ones((3, 4)), verbose=0).shape == (3, 2)
    assert model.output_shape == (None, 2)
    again = fastconv.Model.from_config(model.get_config())
    assert again.predict(np.ones((3, 4)), verbose=0).shape == (3, 2)
