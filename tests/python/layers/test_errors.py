"""Bad arguments and inputs: the error says what was given, what is expected, and where."""

import numpy as np
import pytest

import fastconv
from fastconv import constraints, initializers, layers, optimizers

IMAGE = np.zeros((2, 8, 8, 3), "float32")


@pytest.fixture(autouse=True)
def fresh_names():
    fastconv.utils.clear_session()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv2D(0, 3), "conv2d.*filters.*positive"),
        (lambda: layers.Conv2D(2.5, 3), "conv2d.*filters.*2.5"),
        (lambda: layers.Conv2D(4, 0), "conv2d.*kernel_size.*>= 1"),
        (lambda: layers.Conv2D(4, (3, 3, 3)), "conv2d.*kernel_size.*2 integers"),
        (lambda: layers.Conv2D(4, 3, strides=0), "conv2d.*strides.*>= 1"),
        (lambda: layers.Conv2D(4, 3, strides=-1), "conv2d.*strides.*-1"),
        (lambda: layers.Conv2D(4, 3, dilation_rate=0), "conv2d.*dilation_rate"),
        (lambda: layers.Conv2D(4, 3, groups=3), "filters.*divisible by `groups`"),
        (lambda: layers.Conv2D(4, 3, padding="full"), "conv2d.*padding.*'full'"),
        (lambda: layers.Conv2D(4, 3, padding="causal"), "padding.*'causal'"),
        (lambda: layers.Conv2D(4, 3, data_format="NHWC"), "data_format.*NHWC"),
        (lambda: layers.Conv2D(4, 3, activation="rellu"), "unknown activation.*rellu"),
        (lambda: layers.Conv2D(4, 3, kernel_initializer="he"), "unknown initializer 'he'"),
        (lambda: layers.Conv2D(4, 3, kernel_regularizer="l3"), "unknown regularizer 'l3'"),
        (lambda: layers.Conv2D(4, 3, kernel_constraint="big"), "unknown constraint 'big'"),
        (lambda: layers.Conv2D(4, 3, size=3), "Unrecognized keyword.*Conv2D.*size"),
        (lambda: layers.Conv2DTranspose(4, 3, output_padding=1), "output_padding.*strides"),
        (lambda: layers.MaxPooling2D(0), "max_pooling2d.*pool_size"),
        (lambda: layers.Dense(-1), "dense.*units.*-1"),
        (lambda: layers.Dropout(1.5), r"dropout.*\[0, 1\].*1.5"),
        (lambda: layers.Dropout("half"), "dropout.*number"),
        (lambda: layers.Permute((1, 3)), "permute.*permutation"),
        (lambda: layers.Reshape((-1, -1)), "reshape.*-1"),
        (lambda: layers.UpSampling2D(interpolation="cubic"), "up_sampling2d.*cubic"),
        (lambda: layers.ZeroPadding2D((1, 2, 3)), "zero_padding2d.*padding"),
        (lambda: layers.Conv2D(4, 3, strides=2**62), "conv2d.*strides.*<= 2147483647"),
        (lambda: layers.Reshape("a"), "reshape.*target_shape.*'a'"),
        (lambda: layers.Reshape((-2, 3)), "reshape.*target_shape"),
        (lambda: layers.Permute("a"), "permute.*dims.*'a'"),
        (lambda: layers.LeakyReLU("a"), "leaky_re_lu.*negative_slope.*'a'"),
        (lambda: layers.LeakyReLU(-1), "leaky_re_lu.*negative_slope.*-1"),
        (lambda: layers.ReLU(threshold=float("nan")), "re_lu.*threshold.*nan"),
        (lambda: layers.PReLU(shared_axes="a"), "p_re_lu.*shared_axes.*'a'"),
        (lambda: layers.BatchNormalization(momentum=2), "batch_norm.*momentum.*2"),
        (lambda: layers.BatchNormalization(epsilon=-1), "batch_norm.*epsilon.*-1"),
        (lambda: layers.LayerNormalization(axis="a"), "layer_norm.*axis.*'a'"),
        (lambda: layers.Rescaling("a"), "rescaling.*scale.*'a'"),
        (lambda: layers.Rescaling(1, offset=float("nan")), "rescaling.*offset.*nan"),
        (lambda: layers.Dense(3).build(None), '"dense".*input_shape.*None'),
        (lambda: layers.Conv2D(3, 3).build(None), '"conv2d".*input_shape.*None'),
        (lambda: constraints.MaxNorm(-1), "MaxNorm.*max_value.*-1"),
        (lambda: constraints.MaxNorm(axis="a"), "MaxNorm.*axis.*'a'"),
        (lambda: constraints.MinMaxNorm(2, 1), "MinMaxNorm.*max_value.*1"),
        (lambda: initializers.RandomNormal(stddev=-1), "RandomNormal.*stddev.*-1"),
        (lambda: initializers.TruncatedNormal(stddev="a"), "TruncatedNormal.*stddev.*'a'"),
        (lambda: initializers.RandomUniform(1, 0), "RandomUniform.*maxval.*0"),
        (lambda: optimizers.Adam(float("nan")), "learning_rate.*nan"),
        (lambda: optimizers.Adam(epsilon=-1), "Adam.*epsilon.*-1"),
        (lambda: layers.Input(), "shape"),
        (lambda: layers.Input(5), "tuple"),
        (lambda: layers.Input((0, 3)), "positive"),
        (lambda: layers.Dense(3, name="a/b"), "without '/'"),
        (lambda: layers.Dense(3, dtype="float16"), "float16"),
        (lambda: layers.BatchNormalization(renorm=True), "renorm"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (
            lambda: layers.Conv2D(4, 3),
            IMAGE[0],
            r'"conv2d".*expected ndim=4, found ndim=3.*8, 8, 3',
        ),
        (lambda: layers.Conv2D(4, 9), IMAGE, '"conv2d".*9 elements.*input has 8'),
        (lambda: layers.Conv2D(4, 5, dilation_rate=2), IMAGE, '"conv2d".*9 elements'),
        (lambda: layers.Conv2D(4, 3, groups=2), IMAGE, '"conv2d".*3 input channels.*groups=2'),
        (lambda: layers.MaxPooling2D(9), IMAGE, '"max_pooling2d".*9 elements'),
        (lambda: layers.Dense(3), np.zeros(3), '"dense".*min_ndim=2'),
        (lambda: layers.Flatten(), np.float32(1), '"flatten"'),
        (lambda: layers.Reshape((5, 5)), IMAGE, '"reshape".*192.*25'),
        (lambda: layers.Reshape((5, -1)), IMAGE, '"reshape"'),
        (lambda: layers.Cropping2D(4), IMAGE, '"cropping2d".*nothing'),
        (lambda: layers.LayerNormalization(axis=9), IMAGE, '"layer_normalization".*9'),
        (lambda: layers.LayerNormalization(axis=[-1, 3]), IMAGE, '"layer_normalization".*-1, 3'),
        (lambda: layers.PReLU(shared_axes=[9]), IMAGE, r'"p_re_lu".*shared_axes=\[9\]'),
        (
            lambda: layers.Dense(3, kernel_constraint=constraints.MaxNorm(axis=9)),
            IMAGE,
            r'"dense".*kernel.*MaxNorm\(axis=9\)',
        ),
        (lambda: layers.BatchNormalization(axis=7), IMAGE, '"batch_normalization".*axis 7'),
    ],
)
def test_bad_inputs(layer, x, message):
    with pytest.raises(ValueError, match=message):
        layer()(x)


def test_channels_that_change():
    layer = layers.Conv2D(4, 3)
    layer(IMAGE)
    with pytest.raises(ValueError, match=r'"conv2d".*axis -1.*size 3.*8, 8, 2'):
        layer(IMAGE[..., :2])


def test_merging():
    a, b = layers.Input((3, 4)), layers.Input((2, 4))
    with pytest.raises(ValueError, match=r'"add".*cannot be broadcast'):
        layers.Add()([a, b])
    with pytest.raises(ValueError, match=r'"concatenate".*equal shapes'):
        layers.Concatenate()([a, b])
    with pytest.raises(ValueError, match="list of inputs"):
        layers.Add()(a)
    for layer in (layers.Add(), layers.Concatenate(), layers.Dot(axes=1)):
        with pytest.raises(
            ValueError, match="must be called on a list of tensors, it holds a list"
        ):
            layer.call([[a], a])  # as a spoilt file of a model has it
    with pytest.raises(ValueError, match="exactly 2"):
        layers.Subtract()([a, a, a])


def test_texts_and_objects():
    layer = layers.Dense(3, name="dense")
    for kind in (str, bytes, complex, "datetime64[s]"):
        with pytest.raises(TypeError, match=r'"dense".*real numbers'):
            layer(np.ones((1, 2), "int64").astype(kind))
    with pytest.raises(ValueError, match=r'"dense".*numbers'):
        layer(np.array([["a", 1]], object))
    assert layer(np.ones((1, 2), bool)).shape == (1, 3)
    with pytest.raises(ValueError, match=r'"dense".*without any'):
        layers.Dense(3, name="dense")("text")


def test_symbolic_tensors_have_no_values():
    x = layers.Input((3,))
    with pytest.raises(ValueError, match="symbolic"):
        np.asarray(x)
    with pytest.raises(TypeError, match="truth value"):
        bool(x)
    with pytest.raises(AttributeError, match="has never been called"):
        _ = layers.Dense(3).output
