"""compile(recompute=True): the same bits in less memory."""

import numpy as np
import pytest

import fastconv
from fastconv import layers as L

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 12, 12, 3)).astype("float32")
Y = RNG.integers(0, 4, 24)


def _block(x, filters, dropout=0.0):
    x = L.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    return L.Dropout(dropout)(x) if dropout else x


def _head(x):
    return L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x))


def plain(depth=12, filters=8):
    inputs = x = L.Input((12, 12, 3))
    for i in range(depth):
        x = _block(x, filters, dropout=0.2 if i % 3 == 1 else 0.0)
    return fastconv.Model(inputs, _head(x))


def residual():
    inputs = L.Input((12, 12, 3))
    x = _block(inputs, 8)
    for stride in (1, 1, 2, 1, 1):
        y = L.Conv2D(8, 3, strides=stride, padding="same")(x)
        y = L.ReLU()(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(y))
        if stride > 1:
            x = L.BatchNormalization()(L.Conv2D(8, 1, strides=stride)(x))
        x = L.ReLU()(L.Add()([x, y]))
    return fastconv.Model(inputs, _head(x))


def branches():
    """Encoder and decoder with long skips, concatenations, two outputs, padding and pooling."""
    inputs = x = L.Input((12, 12, 3))
    skips = []
    for filters in (4, 6):
        x = _block(_block(x, filters), filters, dropout=0.1)
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = L.Conv2D(6, 3)(L.ZeroPadding2D(1)(x))
    side = L.Dense(4, activation="softmax", name="side")(L.Flatten()(x))
    for skip in reversed(skips):
        x = _block(L.Concatenate()([L.UpSampling2D()(x), skip]), 4)
        x = L.SpatialDropout2D(0.1)(L.Activation("sigmoid")(x))
    return fastconv.Model(inputs, [L.Dense(4, activation="softmax")(L.Flatten()(x)), side])


def shared():
    """The same layers, with their running statistics, twice; other normalizations and noise."""
    inputs = L.Input((12, 12, 3))
    conv, norm = L.Conv2D(3, 3, padding="same"), L.BatchNormalization()
    x = inputs
    for _ in range(3):
        x = L.Activation("tanh")(norm(conv(x)))
        x = L.GaussianNoise(0.1)(L.LayerNormalization()(x))
    frozen = L.BatchNormalization(trainable=False)
    return fastconv.Model(inputs, _head(frozen(L.DepthwiseConv2D(3)(x))))


def _trained(build, recompute, steps=4, **options):
    fastconv.utils.set_random_seed(1)
    model = build()
    options = {"optimizer": "adam", "metrics": ["accuracy"]} | options
    outputs = len(model.outputs)
    if outputs > 1:
        options["metrics"] = [["accuracy"]] * outputs
    model.compile(loss="sparse_categorical_crossentropy", recompute=recompute, **options)
    targets = [Y[:8]] * outputs if outputs > 1 else Y[:8]
    losses = [model.train_on_batch(X[:8] + i, targets) for i in range(steps)]
    return model, losses


def _memory(model):
    (plan,) = [step.plan for step in model._plans.values() if step.mode == "train"]
    return plan.memory


def _assert_same(a, b):
    for mine, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy(), err_msg=mine.path)


@pytest.mark.parametrize("build", [plain, residual, branches, shared])
@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 0.1}])
def test_losses_and_weights_have_the_same_bits(build, clip):
    kept, expected = _trained(build, False, optimizer=fastconv.optimizers.Adam(0.01, **clip))
    again, losses = _trained(build, True, optimizer=fastconv.optimizers.Adam(0.01, **clip))
    assert np.asarray(losses).tobytes() == np.asarray(expected).tobytes()
    _assert_same(kept, again)
    assert _memory(again)["live"] <= _memory(kept)["live"]


def test_memory_of_a_deep_network_grows_with_the_root_of_its_depth():
    def peak(depth, recompute):
        return _memory(_trained(lambda: plain(depth), recompute, steps=1)[0])["arena"]

    assert peak(64, True) < 0.4 * peak(64, False)
    assert peak(64, True) < 2.6 * peak(16, True)  # 2 but for what does not depend on depth


def test_residual_networks_need_less():
    kept, again = (_trained(residual, flag, steps=1)[0] for flag in (False, True))
    assert _memory(again)["arena"] < 0.8 * _memory(kept)["arena"]


def test_fit_with_everything():
    def run(recompute):
        fastconv.utils.set_random_seed(3)
        model = plain(6)
        optimizer = fastconv.optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0, use_ema=True)
        model.compile(
            optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], recompute=recompute
        )
        history = model.fit(
            X,
            Y,
            batch_size=10,
            epochs=2,
            verbose=0,
            validation_split=0.25,
            class_weight={0: 1.0, 1: 2.0, 2: 0.5, 3: 1.0},
            sample_weight=np.linspace(0.5, 1, len(X)),
            callbacks=[fastconv.callbacks.ReduceLROnPlateau("loss", patience=0)],
        )
        return model, history.history

    (kept, expected), (again, history) = run(False), run(True)
    assert history == expected
    _assert_same(kept, again)


def test_the_option_is_saved(tmp_path):
    model, _ = _trained(plain, True, steps=1)
    model.save(tmp_path / "model.fastconv")
    loaded = fastconv.models.load_model(tmp_path / "model.fastconv")
    assert loaded.get_compile_config()["recompute"] is True
    loaded.train_on_batch(X[:8], Y[:8])
    assert _memory(loaded) == _memory(model)


def test_the_threads_do_not_matter():
    before = fastconv.get_num_threads()
    try:
        runs = []
        for threads in (1, 2):
            fastconv.set_num_threads(threads)
            runs.append(_trained(residual, True))
    finally:
        fastconv.set_num_threads(before)
    (a, first), (b, second) = runs
    assert first == second
    _assert_same(a, b)


@pytest.mark.parametrize("value", [1, None, "yes", 0.5, [True]])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError, match=r"`recompute` must be True or False, received"):
        plain(1).compile("sgd", "mse", recompute=value)
