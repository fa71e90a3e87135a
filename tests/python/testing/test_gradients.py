"""check_gradients finds wrong gradients where they are, and only there."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, ops
from fastconv._graph import GraphBuilder
from fastconv.testing import check_gradients

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 8, 8, 2)).astype("float32")
Y = rng.integers(0, 4, 3)


class Scale(layers.Layer):
    """A layer of a user: x * factor + tanh(x) * bias."""

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
        self.bias = self.add_weight((input_shape[-1],), "ones", name="bias")

    def call(self, inputs):
        g = inputs.g
        return inputs * g.variable(self.factor) + ops.tanh(inputs) * g.variable(self.bias)


def _network():
    fastconv.utils.set_random_seed(1)
    model = fastconv.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(name="pool"),
            Scale(name="scale"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(4, activation="softmax", name="dense"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_right_network_passes_and_stays_as_it_was():
    model = _network()
    before = model.get_weights()
    prediction = model.predict(X, verbose=0)
    report = check_gradients(model, X, Y, samples=40)
    assert report.passed and report.max_error < 1e-6
    assert list(report.errors) == [
        "conv", "norm", "pool", "scale", "flatten", "dropout", "dense", "loss",
    ]  # fmt: skip
    rows = {(row.layer, row.tensor): row for row in report.rows}
    assert rows["conv", "conv/kernel"].entries == 40 and rows["conv", "conv/bias"].entries == 4
    assert rows["loss", "logits of dense"].kind == "sparse_categorical_crossentropy"
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model.predict(X, verbose=0), prediction)
    model.fit(X, Y, verbose=0)


def test_the_report_is_a_table(capsys):
    report = check_gradients(_network(), X, Y, layers=["dense", "loss"], samples=3)
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "layer" and "max. relative error" in lines[0]
    assert [line.split(" (")[0] for line in lines[1:-1]] == ["dense"] * 3 + ["loss"]
    assert lines[-1] == "passed: tolerance 1.0e-05"
    assert capsys.readouterr() == ("", "")


def _spoil(monkeypatch, model, name, factor, to_input):
    """Make the gradient of one layer wrong by a factor."""
    weight = model.get_layer(name).weights[0]
    original = GraphBuilder.gradients

    def wrong(self, outputs, wrt):
        found = original(self, outputs, wrt)
        variables = {t.id for core, t in self._variables.values() if core is weight.core}
        if variables:
            for i, tensor in enumerate(wrt):
                if i == 0 if to_input else tensor.id in variables:
                    found[i] = found[i] * factor
        return found

    monkeypatch.setattr(GraphBuilder, "gradients", wrong)


@pytest.mark.parametrize("to_input", [False, True], ids=["weight", "input"])
@pytest.mark.parametrize("name", ["conv", "norm", "scale", "dense"])
def test_a_wrong_gradient_is_found_at_its_layer(monkeypatch, name, to_input):
    model = _network()
    _spoil(monkeypatch, model, name, 1.001, to_input)
    with pytest.raises(AssertionError, match=f'gradient of layer "{name}"') as caught:
        check_gradients(model, X, Y)
    assert "WRONG" in str(caught.value) and str(caught.value).count("WRONG") == 1
    report = check_gradients(model, X, Y, raise_error=False)
    assert not report.passed
    bad = [layer for layer, error in report.errors.items() if error > report.tolerance]
    assert bad == [name]
    assert report.errors[name] == pytest.approx(1e-3, rel=0.1)
    check_gradients(model, X, Y, layers=[n for n in report.errors if n != name])


def test_a_missing_gradient_is_found(monkeypatch):
    model = _network()
    original = GraphBuilder.gradients
    core = {}

    def without(self, outputs, wrt):
        found = original(self, outputs, wrt)
        core["now"] = model.get_layer("scale").bias.core
        variables = {t.id for c, t in self._variables.values() if c is core["now"]}
        return [None if t.id in variables else d for d, t in zip(found, wrt, strict=True)]

    monkeypatch.setattr(GraphBuilder, "gradients", without)
    with pytest.raises(AssertionError, match=r'layer "scale" \(Scale\) to scale/bias\[\d\] is 0,'):
        check_gradients(model, X)


def test_kinks_do_not_count_as_wrong():
    model = fastconv.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.MaxPooling2D(name="pool"),
            layers.ReLU(name="relu"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ]
    )
    # Equal values in each window, and zeros at the corner of ReLU.
    report = check_gradients(model, np.zeros((2, 6, 6, 1)), samples=30)
    kinks = {row.layer: row.kinks for row in report.rows if row.tensor == "input"}
    assert kinks["pool"] > 0 and kinks["relu"] == 18 and kinks["dense"] == 0
    assert report.passed


def test_a_wrong_slope_at_a_kink_is_found(monkeypatch):
    a = layers.Input((3,))
    model = fastconv.Model(a, layers.Dense(3, activation="relu", name="dense")(a))
    model.set_weights([np.zeros((3, 3)), np.zeros(3)])
    assert check_gradients(model, np.ones((1, 3))).passed
    _spoil(monkeypatch, model, "dense", 0.0, False)
    model.set_weights([np.ones((3, 3)), np.zeros(3)])
    with pytest.raises(AssertionError, match="dense"):
        check_gradients(model, np.ones((1, 3)))


def test_branches_shared_layers_penalties_and_inner_models():
    a = layers.Input((6, 6, 2))
    shared = layers.Conv2D(2, 3, padding="same", activity_regularizer="l2", name="shared")
    inner = fastconv.Sequential([layers.Input((6, 6, 2)), layers.Conv2D(2, 1, name="inside")])
    h = layers.add([shared(a), shared(shared(a))])
    h = inner(h) * 0.5 + h
    b = layers.GlobalAveragePooling2D(name="pooled")(h)
    c = layers.Dense(1, activation="sigmoid", name="score")(b)
    model = fastconv.Model(a, [b, c])
    model.compile("sgd", ["mse", "binary_crossentropy"], loss_weights=[0.5, 2.0])
    x = X[:, :6, :6]
    targets = [np.ones((3, 2)), np.array([[0.0], [1.0], [1.0]])]
    report = check_gradients(model, x, targets)
    assert {"shared", "inside", "score", "loss"} <= set(report.errors)
    kernel = next(row for row in report.rows if row.tensor == "shared/kernel")
    assert kernel.entries == 30  # ten in each of three calls
    tensors = [row.tensor for row in report.rows if row.layer == "loss"]
    assert tensors == ["output of pooled", "logits of score"]


def test_subclassed_models_and_training_mode():
    class Net(fastconv.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(3, 3, name="conv")
            self.norm = layers.BatchNormalization(name="norm")
            self.flat = layers.Flatten()
            self.dense = layers.Dense(2, name="dense")

        def call(self, inputs, training=False):
            return self.dense(self.flat(self.norm(self.conv(inputs), training=training)))

    model = Net()
    model.compile("sgd", "mse")
    report = check_gradients(model, X, np.ones((3, 2)))
    assert {"conv", "norm", "dense", model.name, "loss"} <= set(report.errors)
    assert check_gradients(model, X, training=False).passed


def test_errors():
    model = _network()
    with pytest.raises(ValueError, match=r"no layers \['nothing'\]; there are .*'conv'"):
        check_gradients(model, X, layers=["nothing"])
    with pytest.raises(ValueError, match="`samples` must be >= 1"):
        check_gradients(model, X, samples=0)
    with pytest.raises(ValueError, match=r"expects shape \(None, 8, 8, 2\)"):
        check_gradients(model, X[:, :4])
