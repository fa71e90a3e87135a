"""Every layer and activation as an ONNX file, against onnxruntime."""

import numpy as np
import pytest

import fastconv
from fastconv import activations, layers, ops

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_tools import check, count, randomize, session

IMAGE, ODD, LINE, ROW = (9, 8, 6), (7, 11, 4), (12, 5), (10,)
FIRST, LINE_FIRST = (6, 9, 8), (5, 12)
CASES = {
    # Convolutions
    "conv": (layers.Conv2D, {"filters": 4, "kernel_size": 3}, IMAGE),
    "conv 1x1": (layers.Conv2D, {"filters": 4, "kernel_size": 1, "activation": "relu"}, IMAGE),
    "conv same": (layers.Conv2D, {"filters": 4, "kernel_size": (2, 5), "padding": "same"}, IMAGE),
    "conv stride": (
        layers.Conv2D,
        {"filters": 5, "kernel_size": (3, 4), "strides": (2, 3), "padding": "same"},
        ODD,
    ),
    "conv dilated": (
        layers.Conv2D,
        {"filters": 3, "kernel_size": 3, "dilation_rate": (2, 1), "padding": "same"},
        IMAGE,
    ),
    "conv grouped": (
        layers.Conv2D,
        {"filters": 6, "kernel_size": 3, "groups": 3, "use_bias": False},
        IMAGE,
    ),
    "conv first": (
        layers.Conv2D,
        {"filters": 4, "kernel_size": 3, "data_format": "channels_first", "padding": "same"},
        FIRST,
    ),
    "conv softmax": (
        layers.Conv2D,
        {"filters": 4, "kernel_size": 3, "activation": "softmax"},
        IMAGE,
    ),
    "conv 1d": (layers.Conv1D, {"filters": 4, "kernel_size": 3, "strides": 2}, LINE),
    "conv 1d same": (
        layers.Conv1D,
        {"filters": 4, "kernel_size": 4, "padding": "same", "activation": "tanh"},
        LINE,
    ),
    "conv 1d causal": (
        layers.Conv1D,
        {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2},
        LINE,
    ),
    "conv 1d first": (
        layers.Conv1D,
        {"filters": 4, "kernel_size": 3, "data_format": "channels_first"},
        LINE_FIRST,
    ),
    "conv 1d grouped": (layers.Conv1D, {"filters": 4, "kernel_size": 3, "groups": 2}, (12, 4)),
    "depthwise": (layers.DepthwiseConv2D, {"kernel_size": 3, "padding": "same"}, IMAGE),
    "depthwise multiplier": (
        layers.DepthwiseConv2D,
        {"kernel_size": (3, 2), "strides": 2, "depth_multiplier": 3},
        ODD,
    ),
    "depthwise first": (
        layers.DepthwiseConv2D,
        {"kernel_size": 3, "data_format": "channels_first", "depth_multiplier": 2},
        FIRST,
    ),
    "depthwise 1d": (layers.DepthwiseConv1D, {"kernel_size": 3, "depth_multiplier": 2}, LINE),
    "separable": (
        layers.SeparableConv2D,
        {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2},
        IMAGE,
    ),
    "separable first": (
        layers.SeparableConv2D,
        {"filters": 5, "kernel_size": 3, "data_format": "channels_first"},
        FIRST,
    ),
    "separable 1d": (
        layers.SeparableConv1D,
        {"filters": 5, "kernel_size": 3, "padding": "causal"},
        LINE,
    ),
    "transpose": (layers.Conv2DTranspose, {"filters": 3, "kernel_size": 3}, IMAGE),
    "transpose same": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "elu"},
        ODD,
    ),
    "transpose small kernel": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": (1, 2), "strides": 3},
        IMAGE,
    ),
    "transpose small kernel same": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 1, "strides": 2, "padding": "same"},
        IMAGE,
    ),
    "transpose even": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 4, "strides": (2, 1), "padding": "same"},
        IMAGE,
    ),
    "transpose output padding": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 3, "padding": "same", "output_padding": 2},
        IMAGE,
    ),
    "transpose output padding valid": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 3, "output_padding": (1, 2)},
        IMAGE,
    ),
    "transpose dilated": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "dilation_rate": 2, "padding": "same"},
        IMAGE,
    ),
    "transpose first": (
        layers.Conv2DTranspose,
        {"filters": 3, "kernel_size": 3, "strides": 2, "data_format": "channels_first"},
        FIRST,
    ),
    "transpose 1d": (
        layers.Conv1DTranspose,
        {"filters": 3, "kernel_size": 4, "strides": 2, "padding": "same"},
        LINE,
    ),
    # Pooling
    "max pool": (layers.MaxPooling2D, {}, IMAGE),
    "max pool same": (
        layers.MaxPooling2D,
        {"pool_size": 3, "strides": (2, 1), "padding": "same"},
        ODD,
    ),
    "max pool first": (layers.MaxPooling2D, {"data_format": "channels_first"}, FIRST),
    "max pool 1d": (layers.MaxPooling1D, {"pool_size": 3, "padding": "same"}, LINE),
    "mean pool": (layers.AveragePooling2D, {"pool_size": (2, 3)}, IMAGE),
    "mean pool same": (
        layers.AveragePooling2D,
        {"pool_size": 3, "strides": 2, "padding": "same"},
        IMAGE,
    ),
    "mean pool first": (
        layers.AveragePooling2D,
        {"pool_size": 2, "padding": "same", "data_format": "channels_first"},
        FIRST,
    ),
    "mean pool 1d": (layers.AveragePooling1D, {"pool_size": 5, "padding": "same"}, LINE),
    "global max": (layers.GlobalMaxPooling2D, {}, IMAGE),
    "global max first": (layers.GlobalMaxPooling2D, {"data_format": "channels_first"}, FIRST),
    "global mean": (layers.GlobalAveragePooling2D, {}, IMAGE),
    "global mean keep": (layers.GlobalAveragePooling2D, {"keepdims": True}, IMAGE),
    "adaptive mean": (layers.AdaptiveAveragePooling2D, {"output_size": (4, 3)}, IMAGE),
    "adaptive mean larger": (layers.AdaptiveAveragePooling2D, {"output_size": 11}, IMAGE),
    "adaptive max": (layers.AdaptiveMaxPooling2D, {"output_size": (3, 4)}, IMAGE),
    "adaptive mean first": (
        layers.AdaptiveAveragePooling2D,
        {"output_size": 5, "data_format": "channels_first"},
        FIRST,
    ),
    "squeeze and excitation": (layers.SEBlock, {"ratio": 2}, IMAGE),
    "squeeze first": (layers.SEBlock, {"divisor": 1, "data_format": "channels_first"}, FIRST),
    "global max 1d": (layers.GlobalMaxPooling1D, {}, LINE),
    "global mean 1d": (layers.GlobalAveragePooling1D, {"keepdims": True}, LINE),
    # Normalization
    "batch norm": (layers.BatchNormalization, {}, IMAGE),
    "batch norm bare": (layers.BatchNormalization, {"center": False, "scale": False}, IMAGE),
    "batch norm axis": (layers.BatchNormalization, {"axis": 1}, IMAGE),
    "batch norm middle": (layers.BatchNormalization, {"axis": 2}, IMAGE),
    "batch norm line": (layers.BatchNormalization, {"epsilon": 0.1}, LINE),
    "batch norm line first": (layers.BatchNormalization, {"axis": 1}, LINE),
    "batch norm row": (layers.BatchNormalization, {}, ROW),
    "layer norm": (layers.LayerNormalization, {}, IMAGE),
    "layer norm axes": (layers.LayerNormalization, {"axis": [1, 3]}, IMAGE),
    "layer norm row": (layers.LayerNormalization, {"center": False}, ROW),
    "lrn": (layers.LocalResponseNormalization, {"alpha": 0.5}, IMAGE),
    "lrn even": (layers.LocalResponseNormalization, {"size": 4, "alpha": 0.5, "k": 2.0}, IMAGE),
    "lrn line": (layers.LocalResponseNormalization, {"size": 3, "alpha": 0.5}, LINE),
    # Shapes
    "flatten": (layers.Flatten, {}, IMAGE),
    "flatten first": (layers.Flatten, {"data_format": "channels_first"}, FIRST),
    "reshape": (layers.Reshape, {"target_shape": (24, 18)}, IMAGE),
    "reshape -1": (layers.Reshape, {"target_shape": (2, -1, 3)}, IMAGE),
    "reshape units": (layers.Reshape, {"target_shape": (1, 12, 1, 5, 1)}, LINE),
    "permute": (layers.Permute, {"dims": (3, 1, 2)}, IMAGE),
    "permute line": (layers.Permute, {"dims": (2, 1)}, LINE),
    "group norm": (layers.GroupNormalization, {"groups": 3}, IMAGE),
    "group norm first": (layers.GroupNormalization, {"groups": 2, "axis": 1}, FIRST),
    "zero padding": (layers.ZeroPadding2D, {"padding": ((1, 2), (0, 3))}, IMAGE),
    "zero padding first": (
        layers.ZeroPadding2D,
        {"padding": (1, 2), "data_format": "channels_first"},
        FIRST,
    ),
    "zero padding 1d": (layers.ZeroPadding1D, {"padding": (0, 2)}, LINE),
    "cropping": (layers.Cropping2D, {"cropping": ((1, 2), (0, 3))}, IMAGE),
    "cropping first": (
        layers.Cropping2D,
        {"cropping": 1, "data_format": "channels_first"},
        FIRST,
    ),
    "cropping 1d": (layers.Cropping1D, {"cropping": (2, 1)}, LINE),
    "center crop": (layers.CenterCrop, {"height": 4, "width": 5}, IMAGE),
    "center crop of small": (layers.CenterCrop, {"height": 12, "width": 5}, IMAGE),
    "up": (layers.UpSampling2D, {"size": (2, 3)}, IMAGE),
    "up bilinear": (layers.UpSampling2D, {"size": (3, 2), "interpolation": "bilinear"}, IMAGE),
    "up first": (layers.UpSampling2D, {"data_format": "channels_first"}, FIRST),
    "up 1d": (layers.UpSampling1D, {"size": 3}, LINE),
    # Others
    "repeat vector": (layers.RepeatVector, {"n": 3}, ROW),
    "each step": (
        layers.TimeDistributed,
        {"layer": layers.Dense(7, activation="relu")},
        LINE,
    ),
    "dense": (layers.Dense, {"units": 7, "activation": "relu"}, ROW),
    "dense without bias": (layers.Dense, {"units": 7, "use_bias": False}, ROW),
    "dense line": (layers.Dense, {"units": 7}, LINE),
    "dense image": (layers.Dense, {"units": 7, "activation": "sigmoid"}, IMAGE),
    "dropout": (layers.Dropout, {"rate": 0.5}, IMAGE),
    "spatial dropout": (layers.SpatialDropout2D, {"rate": 0.5}, IMAGE),
    "gaussian noise": (layers.GaussianNoise, {"stddev": 0.5}, IMAGE),
    "gaussian dropout": (layers.GaussianDropout, {"rate": 0.5}, IMAGE),
    "alpha dropout": (layers.AlphaDropout, {"rate": 0.5}, IMAGE),
    "activity regularization": (layers.ActivityRegularization, {"l2": 0.1}, IMAGE),
    "normalization": (
        layers.Normalization,
        {"mean": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "variance": [1.0, 2, 3, 4, 5, 6]},
        IMAGE,
    ),
    "resizing": (layers.Resizing, {"height": 12, "width": 5}, IMAGE),
    "resizing nearest": (
        layers.Resizing,
        {"height": 12, "width": 5, "interpolation": "nearest"},
        IMAGE,
    ),
    "random flip": (layers.RandomFlip, {}, IMAGE),
    "random rotation": (layers.RandomRotation, {"factor": 0.1}, IMAGE),
    "random zoom": (layers.RandomZoom, {"height_factor": 0.1}, IMAGE),
    "random translation": (
        layers.RandomTranslation,
        {"height_factor": 0.1, "width_factor": 0.1},
        IMAGE,
    ),
    "random crop": (layers.RandomCrop, {"height": 3, "width": 4}, IMAGE),
    "random contrast": (layers.RandomContrast, {"factor": 0.1}, IMAGE),
    "random brightness": (layers.RandomBrightness, {"factor": 0.1}, IMAGE),
    "random erasing": (layers.RandomErasing, {}, IMAGE),
    "identity": (layers.Identity, {}, IMAGE),
    "rescaling": (layers.Rescaling, {"scale": 0.5, "offset": -1.0}, IMAGE),
    "rescaling array": (
        layers.Rescaling,
        {"scale": [1.0, 2, 3, 4, 5, 6], "offset": [0.5] * 6},
        IMAGE,
    ),
    "relu": (layers.ReLU, {}, IMAGE),
    "relu limits": (layers.ReLU, {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, ROW),
    "relu 6": (layers.ReLU, {"max_value": 6}, ROW),
    "leaky relu": (layers.LeakyReLU, {}, IMAGE),
    "elu": (layers.ELU, {"alpha": 0.7}, IMAGE),
    "prelu": (layers.PReLU, {}, IMAGE),
    "prelu shared": (layers.PReLU, {"shared_axes": [1, 2]}, IMAGE),
    "softmax": (layers.Softmax, {}, ROW),
    "softmax axis": (layers.Softmax, {"axis": 1}, IMAGE),
    "activation": (layers.Activation, {"activation": "tanh"}, LINE),
    "lambda": (layers.Lambda, {"function": lambda x: ops.sqrt(ops.abs(x)) + 1.0}, LINE),
}


@pytest.mark.parametrize("name", CASES)
def test_layer(name, tmp_path):
    kind, arguments, shape = CASES[name]
    model = fastconv.Sequential([layers.Input(shape), kind(**arguments)])
    randomize(model)
    check(model, tmp_path / "m.onnx")


BETWEEN = [
    name
    for name, (_, arguments, shape) in CASES.items()
    if len(shape) == 3 and arguments.get("data_format") != "channels_first"
]


@pytest.mark.parametrize("name", BETWEEN)
def test_layer_between_convolutions(name, tmp_path):
    kind, arguments, shape = CASES[name]
    inputs = layers.Input(shape)
    channels = shape[-1]
    x = layers.Conv2D(channels, 3, padding="same")(inputs)
    x = kind(**arguments)(x)
    if len(x.shape) == 4:
        x = layers.Conv2D(2, 1)(x)
    model = fastconv.Model(inputs, x)
    randomize(model)
    proto = check(model, tmp_path / "m.onnx", batches=(2,))
    assert count(proto, "Transpose") <= 4


def test_every_layer_is_among_the_cases():
    tested = {kind for kind, _, _ in CASES.values()}
    merging = {
        layers.Add,
        layers.Average,
        layers.Concatenate,
        layers.Dot,
        layers.Maximum,
        layers.Minimum,
        layers.Multiply,
        layers.Subtract,
    }
    # MixUp and CutMix work on data, not in models.
    bases = {layers.Layer, layers.InputLayer, layers.Operation, layers.MixUp, layers.CutMix}
    known = {
        v for v in vars(layers).values() if isinstance(v, type) and issubclass(v, layers.Layer)
    }
    assert known - bases == tested | merging


@pytest.mark.parametrize("name", sorted(activations._ALL))
@pytest.mark.parametrize("opset", [13, 17, 20])
def test_activation(name, opset, tmp_path):
    model = fastconv.Sequential(
        [
            layers.Input((5, 6, 4)),
            layers.Conv2D(4, 3, activation=name),
            layers.Rescaling(0.2),
            layers.Activation(name),
        ]
    )
    randomize(model)
    check(model, tmp_path / "m.onnx", batches=(2,), opset=opset)


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("opset", [13, 20])
def test_gelu(approximate, opset, tmp_path):
    model = fastconv.Sequential(
        [
            layers.Input((20,)),
            layers.Lambda(lambda x: activations.gelu(x * 2.0, approximate=approximate)),
        ]
    )
    check(model, tmp_path / "m.onnx", opset=opset)


@pytest.mark.parametrize("kind", ["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"])
@pytest.mark.parametrize("other", [IMAGE, (1, 1, 6), (9, 1, 1)])
def test_merging(kind, other, tmp_path):
    a, b = layers.Input(IMAGE), layers.Input(other)
    left = layers.Conv2D(6, 1)(a)
    model = fastconv.Model([a, b], getattr(layers, kind)()([left, b]))
    randomize(model)
    check(model, tmp_path / "m.onnx")


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_concatenate(axis, tmp_path):
    a, b = layers.Input(IMAGE), layers.Input(IMAGE)
    joined = layers.Concatenate(axis=axis)([layers.Conv2D(6, 1)(a), b, a])
    model = fastconv.Model([a, b], joined)
    randomize(model)
    check(model, tmp_path / "m.onnx")


@pytest.mark.parametrize(("axes", "normalize"), [(2, False), ((2, 2), True)])
def test_dot(axes, normalize, tmp_path):
    first, second = layers.Input((4, 6)), layers.Input((3, 6))
    y = layers.Dot(axes, normalize)([first, layers.Dense(6)(second)])
    model = fastconv.Model([first, second], y)
    randomize(model)
    check(model, tmp_path / "m.onnx")


def test_merging_of_two_ranks(tmp_path):
    class Scaled(layers.Layer):
        def call(self, inputs):
            image, row = inputs
            return image * ops.mean(row, axis=0) + ops.max(image, axis=(1, 2), keepdims=True)

    a, b = layers.Input(IMAGE), layers.Input((6,))
    model = fastconv.Model([a, b], layers.Conv2D(3, 1)(Scaled()([layers.Conv2D(6, 1)(a), b])))
    randomize(model)
    check(model, tmp_path / "m.onnx")


FUNCTIONS = {
    "arithmetic": lambda x: (2.0 - x) / (ops.abs(x) + 1.0) * x**2 - (-x),
    "power": lambda x: ops.power(ops.abs(x) + 0.5, ops.sigmoid(x)),
    "roots": lambda x: ops.sqrt(ops.square(x) + 1.0) + ops.rsqrt(ops.square(x) + 1.0),
    "logarithm": lambda x: ops.log(ops.exp(x) + 1.0) + ops.log1p(ops.square(x)),
    "sign": lambda x: ops.sign(x) * ops.reciprocal(x * x + 1.0) + ops.erf(x),
    "clip": lambda x: ops.clip(x, -0.5, 0.7) + ops.clip(x, float("-inf"), 0.1),
    "clip low": lambda x: ops.clip(x, 0.1, float("inf")),
    "extremes": lambda x: ops.maximum(x, 0.3) + ops.minimum(x, ops.mean(x)),
    "sum": lambda x: ops.sum(x, axis=(1, 3)),
    "mean": lambda x: ops.mean(x, axis=2, keepdims=True) + ops.min(x, axis=-1, keepdims=True),
    "index": lambda x: x[:, 1:-1, 2] + x[:, :-2, 3],
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x[:, :, :1], 2), axis=(2, 3)),
    "transpose": lambda x: ops.transpose(x, (0, 2, 3, 1)) + 1.0,
    "matmul": lambda x: ops.matmul(x, np.ones((6, 3), np.float32)),
    "log softmax": lambda x: ops.log_softmax(x, axis=2),
    "normalize": lambda x: ops.normalize(x, axis=-1),
    "ones": lambda x: x + ops.ones_like(x),
    "joined ones": lambda x: ops.concatenate([x, ops.ones_like(x)], axis=1),
    "batch mean": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "merged axes": lambda x: ops.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])),
    "split batch": lambda x: ops.reshape(x, (1, x.shape[0], 9, 48)),
    "constant": lambda x: x * np.arange(6, dtype=np.float32) + ops.zeros((9, 1, 1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("opset", [13, 18])
def test_function(name, opset, tmp_path):
    model = fastconv.Sequential(
        [layers.Input(IMAGE), layers.Conv2D(6, 1), layers.Lambda(FUNCTIONS[name])]
    )
    randomize(model)
    fastconv.onnx.export(model, tmp_path / "m.onnx", opset=opset)
    run = session(tmp_path / "m.onnx")
    for batch in (1, 3):
        x = np.random.default_rng(batch).normal(0, 1, (batch, *IMAGE)).astype(np.float32)
        wanted = model.predict_on_batch(x)
        (found,) = run.run(None, {run.get_inputs()[0].name: x})
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


POOLS = {
    "dilated max": ("max_pool2d", {"kernel": [2, 3], "strides": [1, 2], "dilations": [2, 1]}),
    "ceil max": ("max_pool2d", {"kernel": [3, 3], "strides": [2, 3], "ceil_mode": True}),
    "ceil mean": ("avg_pool2d", {"kernel": [3, 3], "strides": [2, 3], "ceil_mode": True}),
    "counted": ("avg_pool2d", {"kernel": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "divisor": ("avg_pool2d", {"kernel": [3, 2], "strides": [2, 2], "divisor_override": 5}),
    "lp": ("lp_pool2d", {"kernel": [3, 2], "strides": [2, 2], "p": 2.0}),
    "adaptive mean": ("adaptive_avg_pool2d", {"output_size": [3, 4]}),
    "adaptive max": ("adaptive_max_pool2d", {"output_size": [9, 2]}),
    "reflect": ("pad", {"pads": [0, 1, 2, 0, 0, 3, 0, 0], "mode": "reflect"}),
    "replicate": ("pad", {"pads": [0, 1, 2, 0, 0, 3, 0, 1], "mode": "replicate"}),
    "circular": ("pad", {"pads": [0, 1, 2, 0, 0, 3, 0, 0], "mode": "circular"}),
    "constant": ("pad", {"pads": [0, 1, -2, 0, 0, 3, 0, 0], "mode": "constant", "value": 0.5}),
    "nearest": ("resize", {"size": [6, 5], "mode": "nearest"}),
    "bilinear": ("resize", {"size": [6, 13], "mode": "bilinear"}),
}


@pytest.mark.parametrize("name", POOLS)
def test_operator_of_a_custom_layer(name, tmp_path):
    op, attrs = POOLS[name]
    attrs = dict(attrs)
    if op in ("max_pool2d", "avg_pool2d", "lp_pool2d"):
        attrs.setdefault("pads", [0, 0, 0, 0])
    layer = layers.Lambda(lambda x: x.g.op(op, x, **attrs))
    model = fastconv.Sequential([layers.Input(IMAGE), layers.Conv2D(6, 1), layer])
    randomize(model)
    check(model, tmp_path / "m.onnx", opset=19)


def constant(x, values, dtype="float32"):
    return x.g.constant(np.asarray(values), dtype)


def chosen(x, op, *inputs, **attrs):
    """Let a bool or integer result end in floats."""
    return x.g.cast(x.g.op(op, x, *inputs, **attrs), dtype="float32")


# Operators of the core that no layer of Keras uses.
CORE = {
    "floor": lambda x: x.g.floor(x),
    "ceil": lambda x: x.g.ceil(x),
    "round": lambda x: x.g.round(x * 3.0),
    "mish": lambda x: x.g.mish(x),
    "celu": lambda x: x.g.celu(x, alpha=0.7),
    "thresholded_relu": lambda x: x.g.thresholded_relu(x, alpha=0.3),
    "prelu": lambda x: x.g.prelu(x, constant(x, np.linspace(-1, 1, 6))),
    "reduce_prod": lambda x: x.g.reduce_prod(x, axes=[1, 3], keepdims=False),
    "compare": lambda x: chosen(x, "compare", constant(x, 0.1), kind="ne"),
    "where": lambda x: x.g.where(x.g.compare(x, constant(x, 0.2), kind="le"), x, x * 2.0),
    "logical_not": lambda x: x.g.cast(
        x.g.logical_not(x.g.compare(x, constant(x, 0.2), kind="gt")), dtype="float32"
    ),
    "logical": lambda x: x.g.cast(
        x.g.logical(
            x.g.compare(x, constant(x, 0.2), kind="ge"),
            x.g.compare(x, constant(x, 0.7), kind="lt"),
            kind="xor",
        ),
        dtype="float32",
    ),
    "mod": lambda x: x.g.mod(x, constant(x, 0.7), fmod=True),
    "isnan": lambda x: chosen(x, "isnan"),
    "isinf": lambda x: chosen(x, "isinf"),
    "arg_max": lambda x: chosen(x, "arg_max", axis=2, keepdims=False),
    "arg_min": lambda x: chosen(x, "arg_min", axis=-1, select_last_index=True),
    "gather": lambda x: x.g.gather(x, constant(x, [[0, -1], [3, 2]], "int64"), axis=2),
    "strided_slice": lambda x: x.g.strided_slice(
        x, begin=[0, 8, 1, 5], size=[x.shape[0], 5, 3, 6], step=[1, -2, 2, -1]
    ),
    "strided_slice all": lambda x: x.g.strided_slice(
        x, begin=[0, 8, 0, 0], size=[x.shape[0], 9, 4, 3], step=[1, -1, 2, 2]
    ),
    "strided_slice batch": lambda x: x.g.strided_slice(
        x, begin=[x.shape[0] - 1, 0, 0, 0], size=[*x.shape[:3], 2], step=[-1, 1, 1, 4]
    ),
    "broadcast_to": lambda x: x.g.broadcast_to(
        ops.sum(x, axis=2, keepdims=True), shape=[x.shape[0], 9, 5, 6]
    ),
    "tile": lambda x: x.g.tile(x, repeats=[1, 2, 1, 3]),
    "matmul": lambda x: x.g.matmul(x, x.g.transpose(x, perm=[0, 1, 3, 2])),
    "layer_norm": lambda x: x.g.layer_norm(
        x, constant(x, np.linspace(0, 2, 48).reshape(8, 6)), None, axis=2, epsilon=1e-3
    )[0],
    "group_norm": lambda x: x.g.group_norm(
        x, constant(x, np.linspace(0, 2, 6)), constant(x, np.ones(6)), groups=3, epsilon=1e-3
    ),
}


@pytest.mark.parametrize("name", CORE)
def test_operator_that_no_layer_uses(name, tmp_path):
    if name.split()[0] not in fastconv._core.operators():
        pytest.skip("the core does not have it")
    model = fastconv.Sequential(
        [layers.Input(IMAGE), layers.Conv2D(6, 1), layers.Lambda(CORE[name])]
    )
    randomize(model)
    check(model, tmp_path / "m.onnx")
