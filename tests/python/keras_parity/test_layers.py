"""Every layer gives Keras's output, output shape and weights for the same arguments."""

import numpy as np
import pytest

import fastconv
from fastconv import layers

IMAGE = (2, 9, 8, 4)
SEQUENCE = (2, 11, 4)
FIRST = (2, 4, 9, 8)

CASES = [
    ("Conv2D", {"filters": 6, "kernel_size": 3}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": (3, 2), "padding": "same"}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 4, "strides": (2, 3), "padding": "same"}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 2, "strides": (2, 1)}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "padding": "same"}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 2, "activation": "relu"}, IMAGE),
    ("Conv2D", {"filters": 6, "kernel_size": 1, "use_bias": False}, IMAGE),
    ("Conv1D", {"filters": 6, "kernel_size": 3}, SEQUENCE),
    ("Conv1D", {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"}, SEQUENCE),
    ("Conv1D", {"filters": 6, "kernel_size": 3, "padding": "causal"}, SEQUENCE),
    (
        "Conv1D",
        {"filters": 6, "kernel_size": 3, "padding": "causal", "dilation_rate": 2},
        SEQUENCE,
    ),
    ("DepthwiseConv2D", {"kernel_size": 3}, IMAGE),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"}, IMAGE),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("SeparableConv2D", {"filters": 5, "kernel_size": 3}, IMAGE),
    (
        "SeparableConv2D",
        {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, "padding": "same"},
        IMAGE,
    ),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 2, "strides": 2}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 5, "strides": 3}, IMAGE),
    (
        "Conv2DTranspose",
        {
            "filters": 3,
            "kernel_size": 3,
            "strides": 2,
            "padding": "same",
            "output_padding": 1,
        },
        IMAGE,
    ),
    ("MaxPooling2D", {}, IMAGE),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("MaxPooling2D", {"pool_size": (2, 3), "strides": 1}, IMAGE),
    ("MaxPooling1D", {"pool_size": 3, "strides": 2}, SEQUENCE),
    ("MaxPooling1D", {"pool_size": 2, "padding": "same"}, SEQUENCE),
    ("AveragePooling2D", {"pool_size": 2}, IMAGE),
    ("AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("AveragePooling1D", {"pool_size": 3, "padding": "same"}, SEQUENCE),
    ("GlobalAveragePooling2D", {}, IMAGE),
    ("GlobalAveragePooling2D", {"keepdims": True}, IMAGE),
    ("GlobalMaxPooling2D", {}, IMAGE),
    ("GlobalAveragePooling1D", {}, SEQUENCE),
    ("GlobalMaxPooling1D", {}, SEQUENCE),
    ("BatchNormalization", {}, IMAGE),
    ("BatchNormalization", {"axis": 1}, FIRST),
    ("BatchNormalization", {"center": False, "scale": False}, (4, 6)),
    ("LayerNormalization", {}, IMAGE),
    ("GroupNormalization", {"groups": 2}, IMAGE),
    ("GroupNormalization", {"groups": -1, "scale": False}, IMAGE),
    ("GroupNormalization", {"groups": 4, "axis": 1, "epsilon": 0.1}, FIRST),
    ("GroupNormalization", {"groups": 3, "center": False}, (4, 6)),
    ("Dense", {"units": 5}, (3, 7)),
    ("Dense", {"units": 5, "activation": "tanh", "use_bias": False}, (3, 2, 7)),
    ("Flatten", {}, IMAGE),
    ("Flatten", {"data_format": "channels_first"}, FIRST),
    ("Reshape", {"target_shape": (4, -1)}, IMAGE),
    ("Permute", {"dims": (3, 1, 2)}, IMAGE),
    ("Dropout", {"rate": 0.5}, IMAGE),
    ("ReLU", {}, IMAGE),
    ("ReLU", {"max_value": 0.5, "negative_slope": 0.1, "threshold": 0.2}, IMAGE),
    ("LeakyReLU", {}, IMAGE),
    ("ELU", {"alpha": 0.7}, IMAGE),
    ("PReLU", {"alpha_initializer": "ones", "shared_axes": [1, 2]}, IMAGE),
    ("Softmax", {}, IMAGE),
    ("Softmax", {"axis": 1}, IMAGE),
    ("ZeroPadding2D", {"padding": ((1, 2), (3, 0))}, IMAGE),
    ("ZeroPadding1D", {"padding": (1, 2)}, SEQUENCE),
    ("Cropping2D", {"cropping": ((1, 2), (0, 3))}, IMAGE),
    ("Cropping1D", {"cropping": (1, 2)}, SEQUENCE),
    ("UpSampling2D", {"size": (2, 3)}, IMAGE),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, IMAGE),
    ("UpSampling1D", {"size": 3}, SEQUENCE),
    ("RepeatVector", {"n": 3}, (2, 5)),
    ("CenterCrop", {"height": 4, "width": 5}, IMAGE),
    ("CenterCrop", {"height": 9, "width": 1}, IMAGE),
    ("CenterCrop", {"height": 12, "width": 5}, IMAGE),
    ("CenterCrop", {"height": 3, "width": 20}, IMAGE),
    ("Rescaling", {"scale": 0.5, "offset": -1.0}, IMAGE),
    *(
        ("Activation", {"activation": name}, (3, 5))
        for name in [
            "relu",
            "relu6",
            "sigmoid",
            "tanh",
            "softmax",
            "elu",
            "selu",
            "gelu",
            "silu",
            "swish",
            "softplus",
            "softsign",
            "hard_sigmoid",
            "hard_silu",
            "exponential",
            "linear",
            "leaky_relu",
            "mish",
            "log_softmax",
        ]
    ),
]


def _ids(case):
    name, arguments, _ = case
    return name + "-" + "-".join(f"{k}={v}" for k, v in arguments.items())


def on_torch(keras):
    return keras.config.backend() == "torch"


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_layer_matches_keras(keras, case):
    name, arguments, shape = case
    if name.startswith("Average") and arguments.get("padding") == "same" and on_torch(keras):
        pytest.skip("Keras on PyTorch counts the padding, against its own documentation")
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    theirs = getattr(keras.layers, name)(**arguments)
    ours = getattr(layers, name)(**arguments)
    expected = keras.ops.convert_to_numpy(theirs(x))
    assert ours(x).shape == expected.shape
    weights = [rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in theirs.get_weights()]
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    expected = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(ours(x), expected, rtol=1e-4, atol=1e-4)
    wanted = tuple(theirs.compute_output_shape((None, *shape[1:])))
    assert tuple(ours.compute_output_shape((None, *shape[1:]))) == wanted


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_configuration_makes_an_equal_layer(case):
    name, arguments, shape = case
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    first = getattr(layers, name)(**arguments)
    expected = first(x)
    second = type(first).from_config(first.get_config())
    second.build((None, *shape[1:]))
    second.set_weights(first.get_weights())
    np.testing.assert_array_equal(second(x), expected)


FIRST_CASES = [
    ("Conv2D", {"filters": 6, "kernel_size": 3, "strides": 2, "padding": "same"}),
    ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 2}),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2}),
    ("SeparableConv2D", {"filters": 5, "kernel_size": 3}),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}),
    ("MaxPooling2D", {"pool_size": 2}),
    ("AveragePooling2D", {"pool_size": 2, "padding": "same"}),
    ("GlobalAveragePooling2D", {}),
    ("GlobalMaxPooling2D", {"keepdims": True}),
    ("ZeroPadding2D", {"padding": ((1, 2), (3, 0))}),
    ("Cropping2D", {"cropping": ((1, 2), (0, 3))}),
    ("CenterCrop", {"height": 12, "width": 5}),
    ("UpSampling2D", {"size": (2, 3)}),
]


@pytest.mark.parametrize(("name", "arguments"), FIRST_CASES)
def test_channels_first_is_channels_last_transposed(name, arguments):
    x = np.random.default_rng(0).standard_normal(IMAGE).astype("float32")
    last = getattr(layers, name)(**arguments)
    first = getattr(layers, name)(data_format="channels_first", **arguments)
    expected = np.asarray(last(x))
    y = x.transpose(0, 3, 1, 2)
    first(y)
    first.set_weights(last.get_weights())
    result = np.asarray(first(y))
    shape = first.compute_output_shape((None, *y.shape[1:]))
    assert tuple(shape[1:]) == result.shape[1:]
    if expected.ndim == 4:
        result = result.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]
)
def test_merging_matches_keras(keras, name):
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((2, 3, 4)).astype("float32") for _ in range(2)]
    expected = keras.ops.convert_to_numpy(getattr(keras.layers, name)()(x))
    np.testing.assert_allclose(getattr(layers, name)()(x), expected, rtol=1e-6)


DOTS = [
    ((2, 5), (2, 5), 1, False),
    ((2, 5), (2, 5), -1, True),
    ((2, 3, 5), (2, 5, 4), (2, 1), False),
    ((2, 3, 5), (2, 3), 1, True),
    ((2, 3), (2, 4, 3), (1, 2), False),
    ((2, 6, 3, 5), (2, 5, 4, 2), (-1, 1), True),
]


@pytest.mark.parametrize(("first", "second", "axes", "normalize"), DOTS)
def test_dot_matches_keras(keras, first, second, axes, normalize):
    rng = np.random.default_rng(0)
    x = [rng.standard_normal(shape).astype("float32") for shape in (first, second)]
    theirs = keras.layers.Dot(axes, normalize)
    ours = layers.Dot(axes, normalize)
    expected = keras.ops.convert_to_numpy(theirs(x))
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)
    shapes = [(None, *first[1:]), (None, *second[1:])]
    assert ours.compute_output_shape(shapes) == (None, *expected.shape[1:])
    again = layers.Dot.from_config(ours.get_config())
    np.testing.assert_array_equal(again(x), ours(x))
    np.testing.assert_array_equal(layers.dot(x, axes, normalize=normalize), ours(x))


def _per_step(k, inner):
    if inner == "dense":
        return k.layers.TimeDistributed(k.layers.Dense(3, activation="tanh"))
    if inner == "conv":
        return k.layers.TimeDistributed(k.layers.Conv2D(3, 2))
    return k.layers.TimeDistributed(k.layers.BatchNormalization())


@pytest.mark.parametrize(
    ("inner", "shape"), [("dense", (2, 4, 5)), ("conv", (2, 3, 6, 5, 2)), ("norm", (3, 2, 4))]
)
def test_time_distributed_matches_keras(keras, inner, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    theirs, ours = _per_step(keras, inner), _per_step(fastconv, inner)
    theirs(x), ours(x)
    weights = [rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    for training in (True, False):
        expected = keras.ops.convert_to_numpy(theirs(x, training=training))
        result = ours(x, training=training)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    assert ours.compute_output_shape((None, *shape[1:])) == (None, *expected.shape[1:])
    again = layers.deserialize(layers.serialize(ours))
    again.build((None, *shape[1:]))
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(again(x), ours(x))


def test_new_layers_train_as_in_keras(keras):
    def build(k):
        inputs = k.Input((6, 6, 4))
        x = k.layers.GroupNormalization(2)(k.layers.CenterCrop(4, 5)(inputs))
        x = k.layers.Flatten()(k.layers.Conv2D(3, 2)(x))
        x = k.layers.Dense(5, activation="tanh")(x)
        y = k.layers.TimeDistributed(k.layers.Dense(4))(k.layers.RepeatVector(3)(x))
        z = k.layers.Dot(axes=(2, 2), normalize=True)([y, k.layers.RepeatVector(2)(x[:, :4])])
        return k.Model(inputs, k.layers.Dense(3, activation="softmax")(k.layers.Flatten()(z)))

    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((12, 6, 6, 4)).astype("float32"), rng.integers(0, 3, 12)
    theirs, ours = build(keras), build(fastconv)
    weights = [rng.uniform(-0.5, 0.7, w.shape).astype("float32") for w in theirs.get_weights()]
    found = []
    for k, model in ((keras, theirs), (fastconv, ours)):
        model.set_weights(weights)
        model.compile(k.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        history = model.fit(x, labels, epochs=4, batch_size=12, shuffle=False, verbose=0)
        found.append(history.history["loss"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)
