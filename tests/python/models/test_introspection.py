"""Layer outputs, and gradients with respect to input and layers, against finite differences."""

import numpy as np
import pytest

from fastconv import activations, layers, models

L = layers


def network(head="softmax", dtype="float64", data_format="channels_last"):
    """Branches, batch normalization, a shortcut and an inner model."""
    options = {"dtype": dtype, "data_format": data_format}
    shape = (7, 6, 2) if data_format == "channels_last" else (2, 7, 6)
    axis = -1 if data_format == "channels_last" else 1
    inner = models.Sequential(
        [
            L.Input((7, 6, 4) if axis == -1 else (4, 7, 6), dtype=dtype),
            L.Conv2D(4, 3, padding="same", activation="tanh", name="inside", **options),
        ],
        name="inner",
    )
    x = L.Input(shape, dtype=dtype)
    y = L.Conv2D(4, 3, padding="same", name="first", **options)(x)
    y = L.BatchNormalization(name="norm", axis=axis, dtype=dtype)(y)
    y = L.Activation("sigmoid", name="act", dtype=dtype)(y)
    z = L.Add(name="sum", dtype=dtype)([inner(y), y])
    z = L.Dropout(0.5, name="drop", dtype=dtype)(z)
    z = L.GlobalAveragePooling2D(name="pool", **options)(z)
    model = models.Model(x, L.Dense(3, activation=head, name="head", dtype=dtype)(z))
    random = np.random.default_rng(5)
    model.set_weights([random.uniform(0.3, 1.2, w.shape) for w in model.weights])
    for layer in model._all_layers():  # wide enough for classes to differ
        if hasattr(layer, "kernel"):
            layer.kernel.assign(random.standard_normal(layer.kernel.shape))
    return model


def images(count=3, shape=(7, 6, 2)):
    return np.random.default_rng(1).standard_normal((count, *shape))


def differences(function, x, step=1e-5):
    """Central differences of the scalar function at each element."""
    x = x.astype(np.float64)
    found = np.empty_like(x)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        found[index] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("head", ["softmax", None])
def test_input_gradient_is_that_of_finite_differences(head):
    model, x = network(head), images(2)
    found = models.class_gradients(model, x, [2, 0])
    logits = models.Model(model.input, model.get_layer("head").output)
    logits.get_layer("head").activation = activations.get("linear")
    assert found.scores.dtype == found.inputs.dtype == np.float64
    np.testing.assert_allclose(found.scores, logits.predict(x, verbose=0), rtol=1e-12)

    def score(at):
        rows = logits.predict_on_batch(at)
        return rows[0, 2] + rows[1, 0]

    expected = differences(score, x)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found.inputs, expected, atol=1e-8, rtol=1e-6)


def test_layer_gradient_is_that_of_finite_differences():
    model, x = network(), images(1)
    found = models.class_gradients(model, x, 1, ["act", model.get_layer("sum"), "inside"])
    assert list(found.outputs) == list(found.gradients) == ["act", "sum", "inside"]
    start = L.Input((7, 6, 4), dtype="float64")
    y = model.get_layer("sum")([model.get_layer("inner")(start), start])
    head = L.Dense(3, dtype="float64", name="logits")
    rest = models.Model(start, head(model.get_layer("pool")(y)))
    head.set_weights(model.get_layer("head").get_weights())
    expected = differences(lambda at: rest.predict_on_batch(at)[0, 1], found.outputs["act"])
    np.testing.assert_allclose(found.gradients["act"], expected, atol=1e-8, rtol=1e-6)
    kernel = model.get_layer("head").get_weights()[0][:, 1]
    everywhere = np.broadcast_to(kernel / 42, (1, 7, 6, 4))
    np.testing.assert_allclose(found.gradients["sum"], everywhere, rtol=1e-12)
    np.testing.assert_allclose(found.gradients["inside"], everywhere, rtol=1e-12)


def test_most_likely_class_is_the_default():
    model, x = network(), images(5)
    found = models.class_gradients(model, x)
    likely = model.predict(x, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(found.class_index, likely)
    each = models.class_gradients(model, x, likely)
    np.testing.assert_array_equal(found.inputs, each.inputs)
    one = models.class_gradients(model, x[3:4], int(likely[3]))
    np.testing.assert_allclose(found.inputs[3:4], one.inputs, rtol=1e-12)


def test_channels_first_gives_the_same():
    last, first = network(), network(data_format="channels_first")
    first.set_weights(last.get_weights())
    x = images(2)
    one = models.class_gradients(last, x, 0, ["sum"])
    two = models.class_gradients(first, np.moveaxis(x, -1, 1), 0, ["sum"])
    np.testing.assert_allclose(np.moveaxis(two.inputs, 1, -1), one.inputs, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(np.moveaxis(two.outputs["sum"], 1, -1), one.outputs["sum"])


def test_single_sigmoid_output():
    model = models.Sequential([L.Input((3,)), L.Dense(1, activation="sigmoid")])
    found = models.class_gradients(model, np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(found.class_index, [0, 0])
    np.testing.assert_allclose(found.inputs, np.tile(model.layers[0].kernel.numpy().T, (2, 1)))


def test_layer_outputs_are_those_of_models_that_end_there():
    model, x = network(), images()
    found = models.layer_outputs(model, x)
    names = ["first", "norm", "act", "inside", "inner", "sum", "drop", "pool", "head"]
    assert list(found) == names
    assert models.layer_shapes(model, x) == {name: found[name].shape for name in names}
    for name in ("first", "act", "sum", "head"):
        until = models.Model(model.input, model.get_layer(name).output)
        np.testing.assert_allclose(found[name], until.predict(x, verbose=0), rtol=1e-12)
    np.testing.assert_array_equal(found["drop"], found["sum"])
    some = models.layer_outputs(model, x, [model.get_layer("pool"), "inside"])
    assert list(some) == ["pool", "inside"]
    np.testing.assert_allclose(some["inside"], found["inside"], rtol=1e-12)


class Own(models.Model):
    def __init__(self):
        super().__init__()
        self.conv = L.Conv2D(2, 3, activation="relu", name="conv")
        self.pool = L.GlobalMaxPooling2D(name="pool")

    def call(self, inputs):
        return self.pool(self.conv(inputs))


def test_subclassed_model_is_built_and_looked_into():
    model, x = Own(), images(2).astype(np.float32)
    found = models.class_gradients(model, x, 1, ["conv"])
    assert found.outputs["conv"].shape == (2, 5, 4, 2)
    # Of a maximum over the map, one element has the whole gradient.
    np.testing.assert_array_equal((found.gradients["conv"] != 0).sum(axis=(1, 2)), [[0, 1]] * 2)


def test_shared_layer_counts_its_first_call():
    x = L.Input((4,))
    dense = L.Dense(4, name="shared")
    model = models.Model(x, dense(dense(x)))
    data = np.eye(4, dtype=np.float32)
    out = models.layer_outputs(model, data, ["shared"])["shared"]
    np.testing.assert_allclose(out, dense.kernel.numpy(), rtol=1e-6)


def test_errors_name_what_was_given_and_expected():
    model, x = network(), images()
    with pytest.raises(ValueError, match=r"no layer 'nothing'; its layers are \[.*'first'.*'head'"):
        models.layer_outputs(model, x, ["nothing"])
    with pytest.raises(ValueError, match="no layer 'stranger'"):
        models.class_gradients(model, x, 0, [L.Dense(1, name="stranger")])
    with pytest.raises(ValueError, match=r"class_index 3 is out of range: the model has 3 classes"):
        models.class_gradients(model, x, 3)
    with pytest.raises(ValueError, match=r"an integer or 3 of them.*\[0, 1\]"):
        models.class_gradients(model, x, [0, 1])
    with pytest.raises(ValueError, match=r"an integer or 3 of them.*1\.5"):
        models.class_gradients(model, x, 1.5)
    with pytest.raises(ValueError, match=r"expects shape \(None, 7, 6, 2\).*\(3, 7, 5, 2\)"):
        models.class_gradients(model, x[:, :, :5])
    maps = models.Model(model.input, model.get_layer("act").output)
    with pytest.raises(ValueError, match=r"returns \(None, 7, 6, 4\), expected one output"):
        models.class_gradients(maps, x, 0)
    two = [L.Input((2,)), L.Input((2,))]
    with pytest.raises(ValueError, match="2 inputs, expected a model with one"):
        models.class_gradients(models.Model(two, L.Add()(two)), [np.ones((1, 2))] * 2)
