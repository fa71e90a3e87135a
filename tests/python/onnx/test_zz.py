"""Random networks as ONNX files, against onnxruntime."""

import tempfile
from pathlib import Path

import pytest

import fastconv
from fastconv import layers

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_tools import check, randomize

SIZES = st.integers(1, 3)
PADDING = st.sampled_from(["valid", "same"])
ACTIVATIONS = st.sampled_from([None, "relu", "sigmoid", "softmax", "hard_silu", "gelu", "softplus"])


@st.composite
def conv(draw, shape):
    groups = draw(st.sampled_from([1, shape[-1]]))
    return layers.Conv2D(
        groups * draw(SIZES),
        (draw(SIZES), draw(SIZES)),
        (draw(SIZES), draw(SIZES)),
        draw(PADDING),
        groups=groups,
        activation=draw(ACTIVATIONS),
        use_bias=draw(st.booleans()),
    )


@st.composite
def transposed(draw, shape):
    sizes = [draw(SIZES) for _ in range(4)]
    padding, activation = draw(PADDING), draw(ACTIVATIONS)
    return layers.Conv2DTranspose(draw(SIZES), sizes[:2], sizes[2:], padding, activation=activation)


@st.composite
def pool(draw, shape):
    kind = draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
    return kind((draw(SIZES), draw(SIZES)), (draw(SIZES), draw(SIZES)), draw(PADDING))


@st.composite
def plain(draw, shape):
    last = shape[-1] * shape[-2]
    makers = [
        lambda: layers.BatchNormalization(axis=draw(st.sampled_from([1, 2, 3]))),
        lambda: layers.LayerNormalization(axis=draw(st.sampled_from([1, 2, -1]))),
        lambda: layers.DepthwiseConv2D(draw(SIZES), padding="same", depth_multiplier=draw(SIZES)),
        lambda: layers.Permute(draw(st.permutations([1, 2, 3]))),
        lambda: layers.PReLU(shared_axes=draw(st.sampled_from([None, [1, 2], [3]]))),
        lambda: layers.Softmax(axis=draw(st.sampled_from([1, 2, 3]))),
        lambda: layers.UpSampling2D(
            (draw(SIZES), draw(SIZES)), interpolation=draw(st.sampled_from(["nearest", "bilinear"]))
        ),
        lambda: layers.ZeroPadding2D(((draw(SIZES), 0), (1, draw(SIZES)))),
        lambda: layers.Dense(draw(SIZES), activation=draw(ACTIVATIONS)),
        lambda: layers.Reshape((-1, last, 1)),
        lambda: layers.Activation("tanh"),
    ]
    return draw(st.sampled_from(makers))()


@st.composite
def networks(draw):
    inputs = layers.Input((draw(st.integers(5, 9)), draw(st.integers(5, 9)), draw(SIZES)))
    x, earlier = inputs, []
    for _ in range(draw(st.integers(1, 7))):
        step = draw(st.sampled_from([conv, conv, transposed, pool, plain, plain, plain]))
        layer = draw(step(x.shape[1:]))
        try:
            y = layer(x)
        except ValueError:  # a window larger than what is left
            continue
        if max(y.shape[1:]) > 40:
            continue
        earlier.append(x)
        x = y
        fitting = [e for e in earlier if e.shape == x.shape]
        if fitting:
            merge = draw(st.sampled_from([layers.Add, layers.Maximum, layers.Concatenate]))
            x = merge()([x, draw(st.sampled_from(fitting))])
        elif draw(st.booleans()):
            scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
            x = layers.Multiply()([scale, x])
    if draw(st.booleans()):
        x = layers.Dense(3)(layers.Flatten()(x))
    return fastconv.Model(inputs, x)


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(0, 99))
def test_random_network(model, seed):
    randomize(model, seed)
    with tempfile.TemporaryDirectory() as folder:
        check(model, Path(folder) / "m.onnx", batches=(1, 2), tolerance=1e-4)
