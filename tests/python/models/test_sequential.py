"""Sequential: ways to give the input shape, add and pop, summary."""

import numpy as np
import pytest

import fastconv
from fastconv import layers


@pytest.fixture(autouse=True)
def fresh_names():
    fastconv.utils.clear_session()


def _stack(**first):
    return [layers.Conv2D(2, 3, **first), layers.Flatten(), layers.Dense(2)]


@pytest.mark.parametrize("way", ["Input", "InputLayer", "input_shape", "batch", "build", "data"])
def test_ways_to_give_the_input_shape(way):
    if way == "Input":
        model = fastconv.Sequential([layers.Input((6, 6, 1)), *_stack()])
    elif way == "InputLayer":
        model = fastconv.Sequential([layers.InputLayer(shape=(6, 6, 1)), *_stack()])
    elif way == "input_shape":
        model = fastconv.Sequential(_stack(input_shape=(6, 6, 1)))
    elif way == "batch":
        model = fastconv.Sequential([layers.Input(batch_shape=(None, 6, 6, 1)), *_stack()])
    else:
        model = fastconv.Sequential(_stack())
        assert not model.built
        with pytest.raises(ValueError, match="not been built"):
            model.count_params()
        if way == "build":
            model.build((None, 6, 6, 1))
        else:
            assert model(np.zeros((3, 6, 6, 1))).shape == (3, 2)
    assert model.built
    assert len(model.layers) == 3
    assert model.input_shape == (None, 6, 6, 1)
    assert model.output_shape == (None, 2)
    assert model.count_params() == 20 + 66
    assert model.predict(np.zeros((5, 6, 6, 1)), verbose=0).shape == (5, 2)


def test_add_and_pop():
    model = fastconv.Sequential()
    model.add(layers.Input((4,)))
    model.add(layers.Dense(3))
    model.add(layers.Dense(2))
    assert model.predict(np.ones((1, 4)), verbose=0).shape == (1, 2)
    assert model.pop().units == 2
    assert model.output_shape == (None, 3)
    assert model.predict(np.ones((1, 4)), verbose=0).shape == (1, 3)
    model.add(layers.Dense(5))
    assert model.predict(np.ones((1, 4)), verbose=0).shape == (1, 5)


def test_a_model_in_front():
    base = fastconv.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(2, 3)])
    model = fastconv.Sequential([base, layers.GlobalAveragePooling2D(), layers.Dense(1)])
    assert model.input_shape == (None, 6, 6, 1)
    assert model.predict(np.ones((2, 6, 6, 1)), verbose=0).shape == (2, 1)


def test_errors():
    model = fastconv.Sequential([layers.Dense(2, name="one")])
    with pytest.raises(ValueError, match="unique names; 'one'"):
        model.add(layers.Dense(2, name="one"))
    with pytest.raises(TypeError, match="only layers"):
        model.add("dense")
    with pytest.raises(ValueError, match="input_shape"):
        model.build()
    with pytest.raises(ValueError, match="no layers to remove"):
        fastconv.Sequential().pop()
    with pytest.raises(ValueError, match="comes first"):
        model.add(layers.Input((3,)))
    with pytest.raises(AttributeError, match="no defined outputs"):
        _ = model.outputs


def test_summary_prints_a_table():
    model = fastconv.Sequential([layers.Input((8, 8, 1)), *_stack(), layers.BatchNormalization()])
    texts = []
    model.summary(print_fn=texts.append)
    text = "\n".join(texts)
    assert 'Model: "sequential"' in text
    assert "conv2d (Conv2D)" in text
    assert "(None, 6, 6, 2)" in text
    assert "Total params: 174 (696.00 B)" in text
    assert "Trainable params: 170 (680.00 B)" in text
    assert "Non-trainable params: 4 (16.00 B)" in text


def test_summary_of_functional_models_names_connections(capsys):
    a = fastconv.Input((3,), name="in")
    model = fastconv.Model(a, layers.add([layers.Dense(3, name="d")(a), a]))
    model.summary(line_length=90, show_trainable=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines[1]) == 90
    assert any("d[0], in[0]" in line for line in lines)
    unbuilt = fastconv.Sequential([layers.Dense(3)])
    unbuilt.summary()
    assert "unbuilt" in capsys.readouterr().out
