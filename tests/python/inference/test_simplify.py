"""The shape-independent clean-up of graphs."""

import copy

import numpy as np
import pytest

from fastconv.inference.model import ModelGraph, Node, ValueInfo
from fastconv.inference.simplify import simplify


def graph(nodes, outputs, constants=None):
    def values(names):
        return [ValueInfo(name, "float32", None) for name in names]

    return ModelGraph("g", values(["x"]), values(outputs), nodes, constants or {})


def shown(model):
    return [(n.op, n.inputs, n.outputs) for n in model.nodes]


def test_dead_nodes_and_constants():
    model = graph(
        [
            Node("Add", ["x", "w"], ["y"]),
            Node("Mul", ["x", "v"], ["dead"]),
            Node("Neg", ["dead"], ["dead2"]),
        ],
        ["y"],
        {"w": np.ones(2), "v": np.zeros(2), "unused": np.ones(3)},
    )
    before = copy.deepcopy(model)
    found = simplify(model)
    assert shown(found) == [("Add", ["x", "w"], ["y"])]
    assert list(found.constants) == ["w"]
    assert shown(model) == shown(before) and list(model.constants) == list(before.constants)


def test_chains_of_copies():
    model = graph(
        [
            Node("Identity", ["x"], ["a"]),
            Node("Dropout", ["a"], ["b", "mask"], {"ratio": 0.5}),
            Node("Relu", ["b"], ["c"]),
            Node("Identity", ["c"], ["d"]),
            Node("Identity", ["d"], ["y"]),
            Node("Neg", ["c"], ["z"]),
        ],
        ["y", "z"],
    )
    assert shown(simplify(model)) == [("Relu", ["x"], ["y"]), ("Neg", ["y"], ["z"])]


@pytest.mark.parametrize(
    "nodes, outputs",
    [
        ([Node("Identity", ["x"], ["y"])], ["y"]),
        ([Node("Identity", ["w"], ["y"])], ["y"]),
        ([Node("Relu", ["x"], ["z"]), Node("Identity", ["z"], ["y"])], ["z", "y"]),
    ],
)
def test_copies_between_fixed_names_stay(nodes, outputs):
    found = simplify(graph(nodes, outputs, {"w": np.ones(2)} if nodes[0].inputs == ["w"] else {}))
    assert shown(found) == shown(graph(nodes, outputs))
    assert [v.name for v in found.outputs] == outputs


def test_two_outputs_of_one_value():
    nodes = [
        Node("Relu", ["x"], ["a"]),
        Node("Identity", ["a"], ["y"]),
        Node("Identity", ["a"], ["z"]),
        Node("Neg", ["a"], ["n"]),
    ]
    assert shown(simplify(graph(nodes, ["y", "z", "n"]))) == [
        ("Relu", ["x"], ["y"]),
        ("Identity", ["y"], ["z"]),
        ("Neg", ["y"], ["n"]),
    ]


@pytest.mark.parametrize("training, removed", [(False, True), (True, False), (None, False)])
def test_dropout_that_trains_stays(training, removed):
    constants = {} if training is None else {"t": np.array(training)}
    inputs = ["x", "", "x" if training is None else "t"]
    nodes = [Node("Dropout", inputs, ["a"]), Node("Relu", ["a"], ["y"])]
    assert (
        "Dropout" not in [n.op for n in simplify(graph(nodes, ["y"], constants)).nodes]
    ) is removed


@pytest.mark.parametrize("outputs", [["y", "mask"], ["y"]])
def test_dropout_whose_mask_is_used_stays(outputs):
    nodes = [Node("Dropout", ["x"], ["a", "mask"]), Node("Where", ["mask", "a", "a"], ["y"])]
    assert [n.op for n in simplify(graph(nodes, outputs)).nodes] == ["Dropout", "Where"]


def test_operators_of_other_domains_stay():
    nodes = [Node("Identity", ["x"], ["a"], domain="own"), Node("Relu", ["a"], ["y"])]
    assert len(simplify(graph(nodes, ["y"])).nodes) == 2


def test_equal_small_constants_become_one():
    constants = {
        "a": np.array([1, 2]),
        "b": np.array([1, 2]),
        "c": np.array([1.0, 2.0]),
        "d": np.array([[1, 2]]),
        "e": np.array([1, 2]),
        "big": np.zeros(10_000),
        "big2": np.zeros(10_000),
    }
    nodes = [Node("Op", list(constants), ["y"])]
    found = simplify(graph(nodes, ["y", "e"], constants))
    assert found.nodes[0].inputs == ["a", "a", "c", "d", "e", "big", "big2"]
    assert sorted(found.constants) == ["a", "big", "big2", "c", "d", "e"]


def test_unread_outputs_are_omitted():
    nodes = [Node("Split", ["x"], ["a", "b", "c"]), Node("Neg", ["b"], ["y"])]
    assert shown(simplify(graph(nodes, ["y"])))[0] == ("Split", ["x"], ["a", "b", ""])
