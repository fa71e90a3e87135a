"""docs/applications.md: its table holds what the networks have."""

import re
from math import prod
from pathlib import Path

import pytest

from fastconv import applications, layers

PAGE = Path(__file__).resolve().parents[3] / "docs" / "applications.md"
# | `VGG16()` | paper, year | 224 | 138,357,544 | 15.47 G |
ROW = re.compile(r"\| `(\w+\(.*\))` \| (.+), (\d{4}) \| (\d+) \| ([\d,]+) \| ([\d.]+) ([GM]) \|")
ROWS = [match.groups() for match in map(ROW.fullmatch, PAGE.read_text().splitlines()) if match]

# From the papers, torchvision, timm and Keras; not from this package.
KNOWN = {
    "AlexNet()": 60_965_224,
    "AlexNet2014()": 61_100_840,
    "VGG11()": 132_863_336,
    "VGG11(batch_norm=True)": 132_868_840,
    "VGG13()": 133_047_848,
    "VGG13(batch_norm=True)": 133_053_736,
    "VGG16()": 138_357_544,
    "VGG16(batch_norm=True)": 138_365_992,
    "VGG19()": 143_667_240,
    "VGG19(batch_norm=True)": 143_678_248,
    "GoogLeNet(aux_logits=True)": 13_378_280,
    "GoogLeNet(batch_norm=True)": 6_624_904,
    "InceptionV3()": 23_834_568,
    "InceptionV3(aux_logits=True)": 27_161_264,
    "ResNet18()": 11_689_512,
    "ResNet34()": 21_797_672,
    "ResNet50()": 25_557_032,
    "ResNet101()": 44_549_160,
    "ResNet152()": 60_192_808,
    "ResNet20()": 269_722,
    "ResNet56()": 853_018,
    "ResNet110()": 1_727_962,
    "SEResNet18()": 11_779_624,
    "SEResNet50()": 28_088_024,
    "SEResNet101()": 49_326_872,
    "MobileNet()": 4_231_976,
    "MobileNetV2()": 3_504_872,
    "SqueezeNet()": 1_248_424,
    'SqueezeNet(version="1.1")': 1_235_496,
    "DenseNet121()": 7_978_856,
}


def multiply_adds(model):
    """Return the multiplications of one image in convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        for inner in [layer, *layer._sublayers()]:
            kernel = getattr(inner, "kernel", None)
            if kernel is None:
                continue
            places = 1 if isinstance(inner, layers.Dense) or inner is not layer else None
            total += kernel.size * (places or prod(layer.output_shape[1:3]))
    return total


def test_table_has_every_architecture():
    names = {row[0].split("(")[0] for row in ROWS}
    assert names == set(applications.ARCHITECTURES)
    assert {row[0] for row in ROWS} >= set(KNOWN)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_numbers(row, zero_weights):
    expression, _, year, size, parameters, multiplications, unit = row
    parameters = int(parameters.replace(",", ""))
    model = eval(expression, {"__builtins__": {}}, vars(applications))
    assert sum(w.size for w in model.trainable_weights) == parameters
    assert parameters == KNOWN.get(expression, parameters)
    assert model.input_shape[1:3] == (int(size), int(size))
    counted = multiply_adds(model) / {"G": 1e9, "M": 1e6}[unit]
    assert f"{counted:.{len(multiplications.split('.')[1])}f}" == multiplications
    build = getattr(applications, expression.split("(")[0])
    assert year in build.__doc__
    if "=" not in expression:
        assert f"{parameters:,}" in build.__doc__
