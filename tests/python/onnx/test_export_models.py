"""Whole models as ONNX files: structure, open sizes, layouts, names and errors."""

import os
import stat
import sys

import numpy as np
import pytest

import fastconv
from fastconv import layers, ops

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_tools import check, count, randomize, session  # noqa: E402


def operators(proto):
    return [node.op_type for node in proto.graph.node]


def dims(info):
    return [d.dim_param or d.dim_value or None for d in info.type.tensor_type.shape.dim]


def test_chain_of_convolutions_has_a_transpose_at_each_end(tmp_path):
    model = fastconv.Sequential([layers.Input((16, 17, 3))])
    for filters in (4, 6, 5):
        model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.DepthwiseConv2D(3, activation="relu6"))
    model.add(layers.MaxPooling2D(padding="same"))
    model.add(layers.UpSampling2D(interpolation="bilinear"))
    model.add(layers.ZeroPadding2D())
    model.add(layers.Softmax())
    randomize(model)
    proto = check(model, tmp_path / "m.onnx")
    found = operators(proto)
    assert found.count("Transpose") == 2
    assert found[0] == found[-1] == "Transpose"
    assert found.count("BatchNormalization") == 3


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_layouts(layout, tmp_path):
    model = fastconv.Sequential(
        [layers.Input((8, 9, 3)), layers.Conv2D(4, 3), layers.Conv2D(5, 3, activation="relu")]
    )
    randomize(model)
    path = tmp_path / "m.onnx"
    fastconv.onnx.export(model, path, input_layout=layout, output_layout="channels_first")
    proto = onnx.load(path)
    first = layout == "channels_first"
    assert count(proto, "Transpose") == (0 if first else 1)
    assert dims(proto.graph.input[0]) == ["batch", *((3, 8, 9) if first else (8, 9, 3))]
    assert dims(proto.graph.output[0]) == ["batch", 5, 4, 5]
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 3)).astype(np.float32)
    run = session(path)
    feed = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x
    (y,) = run.run(None, {run.get_inputs()[0].name: feed})
    np.testing.assert_allclose(y.transpose(0, 2, 3, 1), model.predict(x, verbose=0), atol=1e-5)


def test_channels_first_model_needs_no_transposes(tmp_path):
    model = fastconv.Sequential(
        [
            layers.Input((3, 10, 9)),
            layers.Conv2D(4, 3, data_format="channels_first"),
            layers.BatchNormalization(axis=1),
            layers.MaxPooling2D(data_format="channels_first"),
            layers.Conv2DTranspose(2, 3, data_format="channels_first"),
        ]
    )
    randomize(model)
    assert count(check(model, tmp_path / "m.onnx"), "Transpose") == 0


def test_one_dimensional_chain(tmp_path):
    model = fastconv.Sequential(
        [
            layers.Input((20, 3)),
            layers.Conv1D(4, 3, padding="causal", activation="relu"),
            layers.BatchNormalization(),
            layers.Conv1D(5, 3, strides=2),
            layers.MaxPooling1D(),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    randomize(model)
    assert count(check(model, tmp_path / "m.onnx"), "Transpose") == 1


def test_network_of_the_command_line(tmp_path):
    from fastconv.cli._train import course_network

    model = course_network((28, 28, 1), 10, 255.0)
    randomize(model)
    proto = check(model, tmp_path / "m.onnx")
    assert count(proto, "Transpose") == 2


def residual(inputs, filters, stride):
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    if stride != 1 or inputs.shape[-1] != filters:
        inputs = layers.Conv2D(filters, 1, strides=stride, use_bias=False)(inputs)
        inputs = layers.BatchNormalization()(inputs)
    # Squeeze and excite.
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scale = layers.Conv2D(filters, 1, activation="sigmoid")(scale)
    return layers.ReLU()(layers.Add()([layers.Multiply()([x, scale]), inputs]))


def resnet(shape):
    inputs = layers.Input(shape)
    x = layers.Conv2D(8, 7, strides=2, padding="same")(layers.ZeroPadding2D(3)(inputs))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = residual(residual(x, 8, 1), 16, 2)
    x = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    return fastconv.Model(inputs, layers.Softmax()(x))


def test_residual_network(tmp_path):
    model = resnet((33, 30, 3))
    randomize(model)
    proto = check(model, tmp_path / "m.onnx")
    assert count(proto, "Transpose") == 1
    assert count(proto, "BatchNormalization") == 5


@pytest.mark.parametrize("size", [(40, 40), (33, 47), (38, 51)])
def test_open_image_size(size, tmp_path):
    model = resnet((None, None, 3))
    randomize(model)
    proto = check(model, tmp_path / "m.onnx", shapes=[(*size, 3)])
    name = proto.graph.input[0].name
    assert dims(proto.graph.input[0]) == ["batch", f"{name}_1", f"{name}_2", 3]
    assert dims(proto.graph.output[0]) == ["batch", 10]


OPEN = {
    "valid pool": lambda x: layers.MaxPooling2D(2)(x),
    "same pool": lambda x: layers.AveragePooling2D(3, 2, padding="same")(x),
    "stride 3": lambda x: layers.Conv2D(4, 4, strides=3, padding="same")(x),
    "padded": lambda x: layers.Conv2D(4, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x)),
    "transposed": lambda x: layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x),
    "cropped": lambda x: layers.Cropping2D(((1, 0), (2, 3)))(x),
    "enlarged": lambda x: layers.UpSampling2D((2, 3))(x),
    "bilinear": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "line": lambda x: layers.Reshape((-1, 2))(x),
    "global": lambda x: layers.GlobalMaxPooling2D()(x),
}


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("size", [(16, 24), (17, 23)])
def test_layer_of_open_size(name, size, tmp_path):
    inputs = layers.Input((None, None, 2))
    model = fastconv.Model(inputs, OPEN[name](layers.Conv2D(2, 1)(inputs)))
    randomize(model)
    check(model, tmp_path / "m.onnx", shapes=[(*size, 2)], batches=(2,))


def test_open_sequence_length(tmp_path):
    model = fastconv.Sequential(
        [
            layers.Input((None, 4)),
            layers.Conv1D(5, 3, padding="same", strides=2),
            layers.UpSampling1D(2),
            layers.Conv1D(3, 3, padding="causal"),
        ]
    )
    randomize(model)
    check(model, tmp_path / "m.onnx", shapes=[(19, 4)])


def test_network_that_takes_even_sizes_only(tmp_path):
    inputs = layers.Input((None, None, 2))
    down = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    deep = layers.Conv2D(4, 3, strides=2, padding="same")(down)
    up = layers.Concatenate()([layers.UpSampling2D()(deep), down])
    model = fastconv.Model(inputs, layers.Conv2D(1, 1)(up))
    randomize(model)
    check(model, tmp_path / "m.onnx", shapes=[(12, 18, 2)])


def test_several_inputs_and_outputs(tmp_path):
    image, row = layers.Input((8, 8, 3), name="image"), layers.Input((5,), name="row")
    x = layers.Flatten()(layers.Conv2D(4, 3, name="maps")(image))
    joined = layers.Concatenate()([x, row])
    shared = layers.Dense(6, activation="tanh", name="shared")
    a, b = shared(joined), shared(layers.Dense(149)(row))
    outputs = [a, layers.Subtract(name="difference")([a, b]), image]
    model = fastconv.Model([image, row], outputs)
    randomize(model)
    proto = check(model, tmp_path / "m.onnx")
    assert [i.name for i in proto.graph.input] == ["image", "row"]
    assert [o.name for o in proto.graph.output] == ["shared", "difference", "image_1"]
    kernels = [i.name for i in proto.graph.initializer if i.name.startswith("shared/kernel")]
    assert kernels == ["shared/kernel"]  # once in the file, although used twice


def test_outputs_in_a_dict_and_twice(tmp_path):
    inputs = layers.Input((4,))
    x = layers.Dense(3)(inputs)
    model = fastconv.Model(inputs, {"a": x, "b": x, "c": ops.relu(x)})
    randomize(model)
    proto = check(model, tmp_path / "m.onnx")
    assert [o.name for o in proto.graph.output] == ["a", "b", "c"]


def test_names(tmp_path):
    inputs = layers.Input((4,), name="given")
    model = fastconv.Model(inputs, layers.Dense(3, name="dense")(inputs))
    path = tmp_path / "m.onnx"
    proto = check(model, path, input_names=["dense/Gemm"], output_names="dense/kernel")
    assert [i.name for i in proto.graph.input] == ["dense/Gemm"]
    assert [o.name for o in proto.graph.output] == ["dense/kernel"]
    for kwargs in (
        {"input_names": ["a", "b"]},
        {"output_names": ["given"]},
        {"input_names": ["x"], "output_names": ["x"]},
        {"input_names": []},
    ):
        with pytest.raises(ValueError, match=r"names"):
            fastconv.onnx.export(model, path, **kwargs)
    with pytest.raises(TypeError, match="input_names"):
        fastconv.onnx.export(model, path, input_names=[3])


def test_nested_and_shared_models(tmp_path):
    inner = fastconv.Sequential(
        [layers.Input((8, 8, 2)), layers.Conv2D(2, 3, padding="same"), layers.BatchNormalization()]
    )
    a, b = layers.Input((8, 8, 2)), layers.Input((8, 8, 2))
    twice = inner(inner(a))
    model = fastconv.Model([a, b], layers.Maximum()([twice, inner(b)]))
    randomize(model)
    proto = check(model, tmp_path / "m.onnx")
    assert len(proto.graph.initializer) == len(inner.weights)


class Custom(fastconv.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3, activation="relu")
        self.dropout = layers.Dropout(0.5)
        self.dense = layers.Dense(3)

    def call(self, inputs, training=False):
        x = self.dropout(self.conv(inputs), training=training)
        return self.dense(ops.max(x, axis=(1, 2)))


def test_subclassed_model(tmp_path):
    model = Custom()
    with pytest.raises(ValueError, match="has not been built"):
        fastconv.onnx.export(model, tmp_path / "m.onnx")
    model.build((None, 8, 8, 2))
    proto = check(model, tmp_path / "m.onnx", shapes=[(8, 8, 2)])
    assert [i.name for i in proto.graph.input] == ["input"]
    assert [o.name for o in proto.graph.output] == ["output"]
    other = Custom()
    other.predict(np.zeros((5, 6, 6, 1), np.float32), verbose=0)
    check(other, tmp_path / "m.onnx", shapes=[(6, 6, 1)])


class Several(fastconv.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return {"sum": self.dense(inputs[0]) + inputs[1], "second": inputs[1]}


def test_subclassed_model_with_several_inputs_and_outputs(tmp_path):
    model = Several()
    model.predict([np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32)], verbose=0)
    proto = check(model, tmp_path / "m.onnx", shapes=[(4,), (3,)])
    assert [i.name for i in proto.graph.input] == ["input_0", "input_1"]
    assert [o.name for o in proto.graph.output] == ["sum", "second"]


def test_outputs_that_do_not_depend_on_the_inputs(tmp_path):
    inputs = layers.Input((4,))
    ones = layers.Lambda(ops.ones_like)(inputs)
    fixed = layers.Lambda(lambda x: x * 0.0 + x.g.constant(np.arange(4.0), x.dtype))(inputs)
    model = fastconv.Model(inputs, [ones, fixed])
    check(model, tmp_path / "m.onnx")


def test_module_does_not_hide_the_function():
    from fastconv.onnx import exporter

    assert fastconv.onnx.export is exporter.export


def test_trained_model_uses_moving_statistics(tmp_path):
    rng = np.random.default_rng(0)
    model = fastconv.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(3, 3, kernel_regularizer="l2", activity_regularizer="l2"),
            layers.BatchNormalization(momentum=0.5),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = rng.normal(2, 3, (32, 6, 6, 1)).astype(np.float32)
    model.fit(x, rng.integers(0, 2, 32), epochs=2, verbose=0)
    proto = check(model, tmp_path / "m.onnx")
    assert "Dropout" not in operators(proto)


def test_fixed_batch(tmp_path):
    def whole_batch(x):
        return x * (1.0 / x.shape[0])

    model = fastconv.Sequential([layers.Input((4,)), layers.Lambda(whole_batch, name="share")])
    path = tmp_path / "m.onnx"
    with pytest.raises(ValueError, match=r"share.*'scale'.*'alpha' depends on the batch size"):
        fastconv.onnx.export(model, path)
    assert not path.exists()
    proto = check(model, path, batches=(5,), batch_size=5)
    assert dims(proto.graph.input[0]) == dims(proto.graph.output[0]) == [5, 4]
    fixed = fastconv.Sequential([layers.Input((4,), batch_size=7), layers.Dense(2)])
    proto = check(fixed, path, batches=(7,))
    assert dims(proto.graph.input[0]) == [7, 4]
    with pytest.raises(ValueError, match="fixed batch size of 7"):
        fastconv.onnx.export(fixed, path, batch_size=3)


def test_graph_that_depends_on_the_batch(tmp_path):
    def odd(x):
        return ops.relu(x) if x.shape[0] % 2 else ops.relu(ops.relu(x))

    model = fastconv.Sequential([layers.Input((4,)), layers.Lambda(odd)])
    with pytest.raises(ValueError, match="consists of other operators for other sizes"):
        fastconv.onnx.export(model, tmp_path / "m.onnx")
    check(model, tmp_path / "m.onnx", batches=(2,), batch_size=2)


def test_double_precision(tmp_path):
    inputs = layers.Input((6, 6, 2), dtype="float64")
    x = layers.Conv2D(3, 3, activation="relu", dtype="float64")(inputs)
    model = fastconv.Model(inputs, layers.Dense(2, dtype="float64")(x))
    fastconv.onnx.export(model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2))
    (y,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: x})
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-10)


@pytest.mark.parametrize("opset", [13, 15, 18, 21])
def test_opsets(opset, tmp_path):
    model = resnet((32, 32, 3))
    proto = check(model, tmp_path / "m.onnx", batches=(2,), opset=opset)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", opset)]


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"opset": 12}, ValueError),
        ({"opset": 1000}, ValueError),
        ({"opset": 17.0}, TypeError),
        ({"batch_size": 0}, ValueError),
        ({"batch_size": "3"}, TypeError),
        ({"input_layout": "NCHW"}, ValueError),
        ({"output_layout": None}, ValueError),
    ],
)
def test_bad_arguments(kwargs, error, tmp_path):
    model = fastconv.Sequential([layers.Input((4,)), layers.Dense(2)])
    with pytest.raises(error, match=next(iter(kwargs))):
        fastconv.onnx.export(model, tmp_path / "m.onnx", **kwargs)


def test_not_a_model(tmp_path):
    with pytest.raises(TypeError, match="Dense"):
        fastconv.onnx.export(layers.Dense(3), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="has not been built"):
        fastconv.onnx.export(fastconv.Sequential([layers.Dense(3)]), tmp_path / "m.onnx")


def test_operator_without_translation_is_named(tmp_path):
    class Loss(layers.Layer):
        def call(self, inputs):
            return inputs.g.sigmoid_cross_entropy(inputs, inputs)

    model = fastconv.Sequential([layers.Input((4,)), Loss(name="odd_one")])
    with pytest.raises(ValueError, match=r"odd_one.*sigmoid_cross_entropy"):
        fastconv.onnx.export(model, tmp_path / "m.onnx")
    inputs = layers.Input((4,))
    noisy = fastconv.Model(inputs, layers.Dropout(0.5, name="noise")(inputs, training=True))
    with pytest.raises(ValueError, match=r"noise.*random"):
        fastconv.onnx.export(noisy, tmp_path / "m.onnx")


def test_pools_that_onnx_lacks(tmp_path):
    for op, attrs in (
        ("adaptive_max_pool2d", {"output_size": [4, 4]}),
        ("lp_pool2d", {"kernel": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0], "p": 1.5}),
        ("pad", {"pads": [0, 1, 1, 0, 0, 1, 1, 0], "mode": "circular"}),
    ):
        layer = layers.Lambda(lambda x, op=op, attrs=attrs: x.g.op(op, x, **attrs), name="own")
        model = fastconv.Sequential([layers.Input((9, 9, 2)), layer])
        with pytest.raises(ValueError, match=rf"own.*{op}"):
            fastconv.onnx.export(model, tmp_path / "m.onnx")


def test_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["fastconv.onnx.exporter"], "_MOST_BYTES", 100)
    model = fastconv.Sequential([layers.Input((40,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="2 GB"):
        fastconv.onnx.export(model, tmp_path / "m.onnx")


def test_failing_export_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.onnx"
    model = fastconv.Sequential([layers.Input((4,)), layers.Dense(2)])
    fastconv.onnx.export(model, path)
    before = path.read_bytes()
    bad = fastconv.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x * float(x.shape[0]))])
    with pytest.raises(ValueError, match="batch size"):
        fastconv.onnx.export(bad, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.onnx"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    with pytest.raises(FileNotFoundError):
        fastconv.onnx.export(model, tmp_path / "missing" / "m.onnx")


def test_export_leaves_the_model_as_it_was(tmp_path):
    model = resnet((16, 16, 3))
    randomize(model)
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    before = model.predict(x, verbose=0)
    weights = model.get_weights()
    fastconv.onnx.export(model, tmp_path / "m.onnx")
    assert all((a == b).all() for a, b in zip(weights, model.get_weights(), strict=True))
    assert (model.predict(x, verbose=0) == before).all()
