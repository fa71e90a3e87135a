"""bench/convolution.py's comparison of gradients with the forward pass."""

import re
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv._runtime import core

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    threads = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(threads)


def test_bar_depends_on_channels():
    import convolution

    assert convolution.bar((1, 8, 8, 8, 8, 3, 1, 1, 1)) == 2.5
    assert convolution.bar((1, 8, 8, 3, 64, 3, 1, 1, 1)) == 3
    assert convolution.bar((1, 8, 8, 64, 6, 3, 1, 1, 1)) == 3


def test_worst_layers_are_those_furthest_above_their_bar():
    import convolution

    wide, narrow = (1, 8, 8, 8, 8, 3, 1, 1, 1), (1, 8, 8, 1, 8, 3, 1, 1, 1)
    rows = [("l", "a", wide, 2.6, ""), ("l", "b", narrow, 2.9, ""), ("l", "c", wide, 2.8, "")]
    assert [row[1] for row in convolution.worst(rows, 2)] == ["c", "a"]


def test_row_compares_both_gradients_with_the_forward_pass():
    import convolution

    shape = (1, 8, 8, 8, 8, 3, 1, 1, 1)
    passes = {"forward": (2.0, "f"), "input gradient": (3.0, "x"), "weight gradient": (4.0, "w")}
    row = convolution.backward_row("list", "layer", shape, passes)
    assert row[:4] == ("list", "layer", shape, 3.5)
    assert row[4].endswith("3.50 of 2.5  above")
    passes["weight gradient"] = (2.0, "w")
    assert convolution.backward_row("list", "layer", shape, passes)[4].endswith("2.50 of 2.5")


def test_plans_compute_the_gradients_with_weights_that_are_new():
    import convolution

    shape = (2, 5, 6, 4, 6, 3, 2, 1, 2)
    fixed = {
        name: core.Plan(graph, out).run(feeds)[0]
        for name, graph, out, feeds in convolution.graphs(shape, "float64", True)
    }
    new = {
        name: (core.Plan(graph, out), feeds)
        for name, graph, out, feeds in convolution.graphs(shape, "float64", True, True)
    }
    assert list(new) == ["forward", "input gradient", "weight gradient"]
    for name, (plan, feeds) in new.items():
        np.testing.assert_allclose(plan.run(feeds)[0], fixed[name], rtol=1e-12)
    plan, (x, weight) = new["forward"]
    assert not np.allclose(plan.run([x, 2 * weight])[0], fixed["forward"])
    # <dy, conv(x, w)> is linear in both.
    dy = new["input gradient"][1][0]
    products = [np.sum(dy * fixed["forward"]), np.sum(x * fixed["input gradient"])]
    products.append(np.sum(weight * fixed["weight gradient"]))
    np.testing.assert_allclose(products, products[0], rtol=1e-12)


def test_measured_results_lie_in_the_arena_and_are_one_step():
    import convolution

    for _, plan, feeds in convolution.plans((2, 5, 6, 4, 6, 3, 1, 1, 1), "float32", True, False):
        steps = [step["op"] for step in plan.profile(feeds)]
        assert len(steps) == 2 and steps[1] == convolution.BEHIND
        assert plan.memory["arena"] > 0
        assert all(feed.ctypes.data % 64 == 0 for feed in feeds)


def test_backward_report(tmp_path, capsys):
    import convolution

    layers = tmp_path / "small.txt"
    layers.write_text("1 6 6 8 8 3 1 1 1 2 # wide\n1 6 6 8 8 3 1 1 8 # depthwise\n")
    convolution.main(["--backward", "--batch", "2", "--seconds", "0.01", str(layers)])
    out = capsys.readouterr().out
    assert len(re.findall(r"^2 6 6 8 8 3 1 1 1 .* of 2\.5.*  wide$", out, re.M)) == 1
    assert (
        len(
            re.findall(
                r"^2 6 6 8 8 3 1 1 8 .* depthwise .* of 2\.5.*  small, depthwise$", out, re.M
            )
        )
        == 1
    )
    assert re.search(r"^[0-2] of 2 layers are above; the furthest:$", out, re.M)


def test_a_negative_batch_is_refused(capsys):
    import convolution

    with pytest.raises(SystemExit):
        convolution.main(["--batch", "-1"])
    assert "--batch is -1, expected at least 0" in capsys.readouterr().err
