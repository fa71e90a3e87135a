"""What fit, evaluate and predict do with unusual data and arguments; names of metrics."""

import numpy as np
import pytest

import fastconv
from fastconv import layers, ops

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3)).astype("float32")
Y = RNG.standard_normal(40).astype("float32")
LABELS = RNG.integers(0, 3, 40)


def _model(loss="mse", units=1, **kwargs):
    model = fastconv.Sequential([layers.Input((3,)), layers.Dense(units)])
    model.compile("sgd", loss, **kwargs)
    return model


def _sparse():
    return fastconv.losses.SparseCategoricalCrossentropy(from_logits=True)


def _batches(count):
    for _ in range(count):
        yield X, Y


def test_custom_losses_get_targets_of_the_rank_of_predictions():
    class Own(fastconv.losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    model = _model()
    expected = model.evaluate(X, Y, verbose=0)
    for loss in (lambda a, b: ops.mean(ops.square(a - b), axis=-1), Own()):
        model.compile("sgd", loss)
        assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-6)
        assert model.evaluate(X, Y[:, None], verbose=0) == pytest.approx(expected, rel=1e-6)
    assert float(Own()(Y, model.predict(X, verbose=0))) == pytest.approx(expected, rel=1e-5)


def test_data_without_batches():
    model = _model()
    with pytest.raises(ValueError, match="gave no batches"), pytest.warns(match="ran out"):
        model.evaluate(iter([]), verbose=0)
    with pytest.raises(ValueError, match="gave no batches"), pytest.warns(match="ran out"):
        model.fit(iter([]), verbose=0)
    with pytest.raises(ValueError, match=r"validation.*no batches"), pytest.warns(match="ran out"):
        model.fit(X, Y, validation_data=iter([]), verbose=0)
    with (
        pytest.warns(UserWarning, match="epoch 2 has no val_ values"),
        pytest.warns(UserWarning, match="gave 0 batches"),
    ):
        history = model.fit(X, Y, validation_data=_batches(2), epochs=2, verbose=0).history
    assert len(history["loss"]) == 2
    assert len(history["val_loss"]) == 1


def test_a_generator_that_ends_before_the_epochs_do():
    with pytest.warns(UserWarning, match="training stops after epoch 1 of 3"):
        history = _model().fit(_batches(2), epochs=3, verbose=0)
    assert history.epoch == [0]
    with pytest.warns(UserWarning, match="ran out"):
        history = _model().fit(_batches(4), steps_per_epoch=2, epochs=3, verbose=0)
    assert history.epoch == [0, 1]


def test_metrics_of_equal_names():
    model = _model(metrics=["mse"], weighted_metrics=["mse"])
    logs = model.evaluate(X, Y, sample_weight=np.arange(40), verbose=0, return_dict=True)
    assert list(logs) == ["loss", "mse", "weighted_mse"]
    assert logs["mse"] != logs["weighted_mse"]
    model = _model(metrics=[lambda a, b: np.ones(1), lambda a, b: np.zeros(1)])
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(logs.values())[1:] == [1, 0]


def test_steps_of_arrays():
    model = _model()
    whole = model.predict(X, verbose=0)
    for steps in (2, 3, 100):  # the batch size follows from the steps
        np.testing.assert_allclose(model.predict(X, steps=steps, verbose=0), whole, rtol=1e-5)
    assert model.predict(X, steps=2, batch_size=8, verbose=0).shape == (16, 1)
    assert model.predict(X, steps=9, batch_size=8, verbose=0).shape == (40, 1)
    sizes = []
    model.compile("sgd", "mse", metrics=[lambda a, b: sizes.append(len(a)) or 0.0])
    model.fit(X, Y, steps_per_epoch=3, verbose=0)
    assert sizes == [14, 14, 12]
    sizes.clear()
    model.evaluate(X, Y, steps=9, batch_size=20, verbose=0)
    assert sizes == [20, 20]


@pytest.mark.parametrize("name", ["train_step", "test_step", "compute_loss"])
def test_overridden_steps_are_refused(name):
    own = type("Own", (fastconv.Sequential,), {name: lambda self, data: None})
    with pytest.raises(TypeError, match=rf"Own defines {name}\(\)"):
        own([layers.Input((3,)), layers.Dense(1)]).compile("sgd", "mse")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _model(_sparse(), 3).fit(X, LABELS + 0.5, verbose=0), "whole numbers"),
        (lambda: fastconv.Sequential().compile("adam", "mse", ["accuracy"]), "metrics="),
        (lambda: _model().predict([X, Y], verbose=0), "1 array .*received 2 arrays"),
        (lambda: _model(lambda a, b: None).fit(X, Y, verbose=0), "returned None"),
        (lambda: _model(metrics=[lambda a, b: None]).fit(X, Y, verbose=0), "returned None"),
        (lambda: _model().fit(X, Y, steps_per_epoch="3", verbose=0), "steps.*'3'"),
        (lambda: _model().fit(X, Y, steps_per_epoch=[3], verbose=0), "steps.*3"),
        (lambda: _model().fit(X, Y, initial_epoch="0", verbose=0), "initial_epoch.*'0'"),
        (lambda: _model().fit(X, Y, validation_split="0.2", verbose=0), "validation_split.*'0.2'"),
    ],
)
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize("built", [True, False])
def test_bad_validation_data_is_found_before_training(built):
    for data, message in (
        ((X[:, :2], LABELS), "shape"),
        ((X, LABELS + 3), "target"),
    ):
        model = fastconv.Sequential([layers.Dense(3)])
        if built:
            model.build((None, 3))
        model.compile("sgd", _sparse(), metrics=["accuracy"])
        with pytest.raises(ValueError, match=message):
            model.fit(X, LABELS, validation_data=data, verbose=0)
        assert model.optimizer.iterations == 0
