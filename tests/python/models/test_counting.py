"""Multiply-adds, memory and receptive fields of layers, against papers and by hand."""

import numpy as np
import pytest

import fastconv
from fastconv import layers
from fastconv.utils import count


def vgg(blocks, channels=(64, 128, 256, 512, 512)):
    stack = [layers.Input((224, 224, 3))]
    for repeats, width in zip(blocks, channels, strict=True):
        stack += [
            layers.Conv2D(width, 3, padding="same", activation="relu") for _ in range(repeats)
        ]
        stack.append(layers.MaxPooling2D())
    stack += [layers.Flatten(), layers.Dense(4096, "relu"), layers.Dense(4096, "relu")]
    return fastconv.Sequential([*stack, layers.Dense(1000, "softmax")])


def resnet(repeats, bottleneck):
    def conv(x, width, kernel, stride=1):
        x = layers.Conv2D(width, kernel, stride, "same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = layers.Input((224, 224, 3))
    x = layers.ReLU()(conv(inputs, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for stage, n in enumerate(repeats):
        width = 64 * 2**stage
        for block in range(n):
            stride = 2 if stage and not block else 1
            if bottleneck:
                y = layers.ReLU()(conv(x, width, 1))
                y = layers.ReLU()(conv(y, width, 3, stride))
                y = conv(y, 4 * width, 1)
            else:
                y = layers.ReLU()(conv(x, width, 3, stride))
                y = conv(y, width, 3)
            if y.shape != x.shape:
                x = conv(x, y.shape[-1], 1, stride)
            x = layers.ReLU()(layers.add([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return fastconv.Model(inputs, layers.Dense(1000, "softmax")(x))


@pytest.fixture(scope="module", autouse=True)
def zeros():
    """Random starting weights of 144 million numbers would take most of the time."""
    before = fastconv.initializers.GlorotUniform.__call__
    fastconv.initializers.GlorotUniform.__call__ = lambda self, shape, dtype=None: np.zeros(
        shape, dtype or "float32"
    )
    yield
    fastconv.initializers.GlorotUniform.__call__ = before


def test_vgg19():
    counted = count(vgg((2, 2, 4, 4, 4)))
    assert counted.multiply_adds == 19_632_062_464  # 19.6 G: Simonyan and Zisserman 2015
    assert counted.parameters == counted.trainable_parameters == 143_667_240
    rows = {row.kind: row for row in counted.rows}
    assert rows["MaxPooling2D"].receptive_field == (268, 268)
    assert rows["MaxPooling2D"].jump == (32, 32)
    first = counted.rows[0]
    assert first.multiply_adds == 224 * 224 * 64 * 27
    assert first.activation_bytes == 224 * 224 * 64 * 4
    assert first.parameters == 27 * 64 + 64
    assert rows["Flatten"].activation_bytes == 0
    # A dense layer after Flatten sees all 7 x 7 positions.
    assert rows["Dense"].receptive_field == (268 + 6 * 32,) * 2


def test_vgg16_has_the_receptive_field_of_the_literature():
    counted = count(vgg((2, 2, 3, 3, 3)))
    pools = [row.receptive_field for row in counted.rows if row.kind == "MaxPooling2D"]
    assert pools[-1] == (212, 212)  # Araujo et al. 2019
    assert round(counted.multiply_adds / 1e9, 1) == 15.5


def test_resnets():
    counted = count(resnet((3, 4, 6, 3), bottleneck=False))
    assert counted.multiply_adds == 3_663_761_408  # 3.6 G: He et al. 2016
    assert counted.parameters == 21_814_696
    assert counted.parameters - counted.trainable_parameters == 17_024
    counted = count(resnet((3, 4, 6, 3), bottleneck=True))
    assert round(counted.multiply_adds / 1e9, 1) == 4.1
    convolutions = [row for row in counted.rows if row.kind == "Conv2D"]
    # 483 in Araujo et al., whose blocks have their stride at the end.
    assert convolutions[-1].receptive_field == (427, 427)
    assert convolutions[-1].jump == (32, 32)


def _row(stack, shape, index=-1):
    return count(fastconv.Sequential([layers.Input(shape), *stack])).rows[index]


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "field", "jump"),
    [
        (layers.Conv2D(6, (3, 2), strides=2), (9, 9, 4), 4 * 4 * 6 * 24, (3, 2), (2, 2)),
        (layers.Conv2D(6, 3, groups=2), (5, 5, 4), 9 * 6 * 18, (3, 3), (1, 1)),
        (layers.Conv2D(2, 3, dilation_rate=2), (9, 9, 1), 25 * 18, (5, 5), (1, 1)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 4), 9 * 8 * 9, (3, 3), (1, 1)),
        (layers.SeparableConv2D(8, 3), (5, 5, 4), 9 * 4 * 9 + 9 * 4 * 8, (3, 3), (1, 1)),
        (layers.Conv2DTranspose(3, 4, 2, "same"), (5, 5, 4), 25 * 4 * 3 * 16, (2, 2), (0.5, 0.5)),
        (layers.Conv1D(3, 5), (9, 2), 5 * 3 * 10, (5,), (1,)),
        (layers.Dense(7), (4, 5, 3), 20 * 21, (1, 1), (1, 1)),
        (layers.Dense(7), (10,), 70, None, None),
        (layers.AveragePooling2D(3, 2), (9, 9, 4), 0, (3, 3), (2, 2)),
        (layers.GlobalMaxPooling2D(), (6, 4, 3), 0, (6, 4), (1, 1)),
        (layers.GlobalAveragePooling1D(), (6, 4), 0, (6,), (1,)),
        (layers.UpSampling2D(2), (4, 4, 1), 0, (1, 1), (0.5, 0.5)),
        (layers.UpSampling2D(2, interpolation="bilinear"), (4, 4, 1), 0, (2, 2), (0.5, 0.5)),
        (layers.Conv2D(6, 3, data_format="channels_first"), (4, 5, 5), 9 * 6 * 36, (3, 3), (1, 1)),
    ],
)
def test_one_layer(layer, shape, macs, field, jump):
    row = _row([layer], shape)
    assert (row.multiply_adds, row.receptive_field, row.jump) == (macs, field, jump)
    assert row.activation_bytes == 4 * np.prod(row.output_shape[1:])


def test_branches_have_the_largest_field_and_shared_layers_count_each_call():
    a = layers.Input((16, 16, 2))
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    wide = layers.Conv2D(2, 7, padding="same")(a)
    out = layers.concatenate([shared(shared(a)), wide, a])
    counted = count(fastconv.Model(a, out))
    rows = {row.name: row for row in counted.rows}
    assert rows["shared"].multiply_adds == 2 * 256 * 2 * 18
    assert rows["shared"].parameters == 38 and rows["shared"].receptive_field == (5, 5)
    assert counted.receptive_field == counted.rows[-1].receptive_field == (7, 7)
    assert counted.multiply_adds == 2 * 256 * 2 * 18 + 256 * 2 * 98
    assert counted.activation_bytes == 4 * 256 * (2 + 2 + 2 + 6)


def test_inner_models():
    inner = fastconv.Sequential(
        [layers.Input((8, 8, 2)), layers.Conv2D(4, 3, name="inside"), layers.ReLU(name="act")],
        name="backbone",
    )
    model = fastconv.Sequential([layers.Input((8, 8, 2)), inner, layers.Conv2D(1, 3, name="head")])
    counted = count(model)
    assert [row.name for row in counted.rows] == ["backbone", "head"]
    assert counted.rows[0].multiply_adds == 36 * 4 * 18
    assert counted.rows[0].activation_bytes == 2 * 36 * 4 * 4
    assert counted.rows[1].receptive_field == (5, 5)
    nested = count(model, expand_nested=True)
    assert [(row.name, row.depth) for row in nested.rows] == [
        ("backbone", 0), ("inside", 1), ("act", 1), ("head", 0),
    ]  # fmt: skip
    assert nested.multiply_adds == counted.multiply_adds


def test_subclassed_models_and_open_sizes():
    class Net(fastconv.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(4, 3, name="conv")
            self.pool = layers.GlobalAveragePooling2D()
            self.dense = layers.Dense(2, name="dense")

        def call(self, inputs):
            return self.dense(self.pool(self.conv(inputs)))

    model = Net()
    with pytest.raises(ValueError, match="has no input shape: give count"):
        count(model)
    counted = count(model, (10, 10, 3))
    assert counted.multiply_adds == 64 * 4 * 27 + 8
    assert counted.receptive_field == (10, 10)
    open_sizes = fastconv.Sequential([layers.Input((None, None, 3)), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match=r"open size \(None, None, 3\): give count"):
        count(open_sizes)
    assert count(open_sizes, (5, 7, 3)).multiply_adds == 15 * 4 * 27
    with pytest.raises(ValueError, match=r"expects shape \(None, None, None, 3\)"):
        count(open_sizes, (5, 7, 4))
    assert count(open_sizes, [(5, 7, 3)]).input_shapes == [(1, 5, 7, 3)]


def test_tables(capsys):
    model = fastconv.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(name="flat")]
    )
    lines = str(count(model)).splitlines()
    assert lines[0].split() == [
        "layer", "output", "shape", "parameters", "multiply-adds", "activations", "field",
    ]  # fmt: skip
    assert lines[1].split() == [
        "conv", "(Conv2D)", "(None,", "6,", "6,", "4)", "40", "1,296", "576.00", "B", "3", "x", "3",
    ]  # fmt: skip
    assert lines[-1].split() == ["total", "40", "1,296", "576.00", "B", "3", "x", "3"]
    texts = []
    model.summary(show_counts=True, print_fn=texts.append)
    (text,) = texts
    assert text.splitlines()[2].split("┃")[4:7] == [" Mult-adds ", "   Memory ", " Field "]
    assert text.splitlines()[4].split("│")[4:7] == ["     1,296 ", " 576.00 B ", " 3 x 3 "]
    assert " Multiply-adds: 1,296 for inputs (1, 8, 8, 1)" in text
    assert " Receptive field: 3 x 3" in text and "Activations: 576.00 B" in text
    plain = []
    model.summary(print_fn=plain.append)
    assert "Mult" not in plain[0]
    assert capsys.readouterr().out == ""
