"""Every family learns, makes features for other networks, and survives a file."""

import numpy as np
import pytest

import fastconv
from fastconv import applications, layers, models, optimizers, utils

# Name, size, width, other options.
SMALL = [
    ("LeNet5", 28, 1, {}),
    ("AlexNet", 67, 1 / 16, {}),
    ("AlexNet2014", 63, 1 / 16, {}),
    ("VGG11", 32, 1 / 16, {}),
    ("VGG11_LRN", 32, 1 / 16, {}),
    ("VGG16_1x1", 32, 1 / 16, {"batch_norm": True}),
    ("GoogLeNet", 32, 1 / 8, {}),
    ("GoogLeNet", 32, 1 / 8, {"batch_norm": True}),
    ("InceptionV3", 75, 1 / 8, {}),
    ("ResNet18", 32, 1 / 8, {}),
    ("ResNet50", 32, 1 / 8, {"shortcut": "A"}),
    ("ResNet20", 16, 1, {}),
    ("PlainNet20", 16, 1, {}),
    ("SEResNet18", 32, 1 / 8, {}),
    ("MobileNet", 32, 1 / 4, {}),
    ("MobileNetV2", 32, 1 / 4, {}),
    ("SqueezeNet", 32, 1 / 2, {}),
    ("DenseNet121", 32, 1 / 8, {}),
]
IDS = [f"{name}-{'-'.join(options) or 'default'}" for name, *_, options in SMALL]


def channels_of(name):
    return 1 if name == "LeNet5" else 3


@pytest.mark.parametrize(("name", "size", "width", "options"), SMALL, ids=IDS)
def test_training_lowers_the_loss(name, size, width, options):
    utils.set_random_seed(0)
    shape = (size, size, channels_of(name))
    model = getattr(applications, name)(input_shape=shape, classes=4, width=width, **options)
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0  # its noise would drown a few steps
    model.compile(optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, *shape), dtype=np.float32)
    y = np.arange(8) % 4
    first = model.train_on_batch(x, y)
    for _ in range(10):
        last = model.train_on_batch(x, y)
    assert np.isfinite(last) and last < 0.95 * first


@pytest.mark.parametrize(("name", "size", "width", "options"), SMALL, ids=IDS)
def test_features_and_files(name, size, width, options, tmp_path):
    utils.set_random_seed(0)
    shape = (size, size, channels_of(name))
    build = getattr(applications, name)
    base = build(False, None, input_shape=shape, width=width, pooling="avg", **options)
    base.trainable = False
    outputs = layers.Dense(3, activation="softmax")(base.output)
    model = models.Model(base.input, outputs)
    assert len(model.trainable_weights) == 2
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).standard_normal((4, *shape), dtype=np.float32)
    frozen = base.get_weights()
    model.fit(x, np.arange(4) % 3, epochs=1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(frozen, base.get_weights(), strict=True))
    model.save(tmp_path / "model.fastconv")
    loaded = models.load_model(tmp_path / "model.fastconv")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    # The feature extractor's own file fills a new one.
    base.save_weights(tmp_path / "base.safetensors")
    again = build(
        include_top=False,
        weights=tmp_path / "base.safetensors",
        input_shape=shape,
        width=width,
        pooling="avg",
        **options,
    )
    np.testing.assert_array_equal(again.predict(x, verbose=0), base.predict(x, verbose=0))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_auxiliary_losses_count_a_third(batch_norm):
    utils.set_random_seed(0)
    model = applications.GoogLeNet(
        input_shape=(80, 80, 3), classes=4, width=1 / 8, aux_logits=True, batch_norm=batch_norm
    )
    assert model.output_names == ["predictions", "aux1", "aux2"]
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    loss = "sparse_categorical_crossentropy"
    # Four images' statistics multiply differences: at larger steps rounding decides of the loss.
    optimizer = optimizers.SGD(0.001 if batch_norm else 0.01)
    model.compile(optimizer, [loss] * 3, loss_weights=[1, 0.3, 0.3])
    x = np.random.default_rng(0).standard_normal((4, 80, 80, 3), dtype=np.float32)
    y = np.arange(4)
    total, main, first, second = model.evaluate(x, [y, y, y], verbose=0)
    assert total == pytest.approx(main + 0.3 * first + 0.3 * second, rel=1e-5)
    losses = [model.train_on_batch(x, [y, y, y])[0] for _ in range(6)]
    assert losses[-1] < (0.7 if batch_norm else 1) * losses[0]
    alone = models.Model(model.input, model.outputs[0])
    np.testing.assert_array_equal(alone.predict(x, verbose=0), model.predict(x, verbose=0)[0])


def test_grey_images_and_open_sizes():
    model = applications.ResNet18(input_shape=(None, None, 1), classes=5, width=1 / 8)
    for size in (32, 47):
        assert model.predict(np.zeros((1, size, size, 1)), verbose=0).shape == (1, 5)
    features = applications.VGG11(False, width=1 / 16)
    assert features.input_shape == (None, None, None, 3)
    assert features.predict(np.zeros((1, 64, 96, 3)), verbose=0).shape == (1, 2, 3, 32)


def test_names_of_layers_are_keras():
    vgg = applications.VGG16(False, width=1 / 16)
    assert vgg.get_layer("block5_conv3").output.shape[-1] == 32
    resnet = applications.ResNet50(False, width=1 / 16)
    assert resnet.get_layer("conv5_block3_out") is resnet.layers[-1]
    assert applications.InceptionV3(False, width=1 / 16).layers[-1].name == "mixed10"
    mobile = applications.MobileNetV2(False, width=1 / 4)
    assert mobile.get_layer("block_13_expand_relu") and mobile.layers[-1].name == "out_relu"


def test_it_is_part_of_the_package():
    assert fastconv.keras.applications is applications
    from fastconv.keras.applications.vgg16 import VGG16, preprocess_input

    assert VGG16 is applications.VGG16 and callable(preprocess_input)
