"""Choices of algorithms by measurement, and the file that keeps them."""

import json
import warnings

import numpy as np
import pytest

import fastconv
from fastconv import functional as F
from fastconv.inference import tuning
from fastconv.inference.model import ModelGraph, Node, ValueInfo

CANDIDATES = {"direct", *(f"winograd F({m},3)" for m in (2, 3, 4, 5, 6))}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning._files, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "tuning.json"


def network(batch=1, channels=32, size=12):
    """A 3x3 convolution, the same once more, and a 1x1, which leaves no choice."""
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": rng.standard_normal((channels, channels, k, k)).astype(np.float32) / (k * 8)
        for i, k in enumerate((3, 3, 1))
    }
    pads = {3: [1, 1, 1, 1], 1: [0, 0, 0, 0]}
    nodes = [
        Node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], {"pads": pads[w.shape[-1]]}, f"conv{i}")
        for i, w in enumerate(weights.values())
    ]
    shape = (batch, channels, size, size)
    return ModelGraph(
        name="three",
        nodes=nodes,
        inputs=[ValueInfo("x0", "float32", shape)],
        outputs=[ValueInfo("x3", "float32", shape)],
        constants=weights,
    )


def feed(model, batch=1):
    shape = [d if isinstance(d, int) else batch for d in model.inputs[0].shape]
    return {"x0": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


def algorithms(session, values):
    return [row["algorithm"] for row in session.profile(values) if row["op"] == "conv2d"]


def expected(model, values):
    x = values["x0"]
    for w in model.constants.values():
        x = F.conv2d(x.astype(np.float64), w.astype(np.float64), padding=w.shape[-1] // 2)
    return x


def test_choices_are_measured_once_and_kept(own_cache, monkeypatch):
    model = network()
    values = feed(model)
    first = fastconv.InferenceSession(model, tune=True)
    kept = json.loads(own_cache.read_text())[tuning.machine()]
    assert len(kept) == 1 and set(kept.values()) <= CANDIDATES  # equal problems, one entry
    assert algorithms(first, values)[:2] == list(kept.values()) * 2

    def measured(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(tuning.Tuner, "_measure", measured)
    second = fastconv.InferenceSession(model, tune=True)
    for a, b in zip(first.run(None, values), second.run(None, values), strict=True):
        assert np.array_equal(a, b)
    want = expected(model, values)
    assert np.abs(first.run(None, values)[0] - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("algorithm", sorted(CANDIDATES))
def test_a_kept_choice_is_followed(own_cache, algorithm):
    model = network()
    values = feed(model)
    fastconv.InferenceSession(model, tune=True)
    content = json.loads(own_cache.read_text())
    content[tuning.machine()] = dict.fromkeys(content[tuning.machine()], algorithm)
    own_cache.write_text(json.dumps(content))
    session = fastconv.InferenceSession(model, tune=True)
    assert algorithms(session, values) == [algorithm, algorithm, "direct"]
    results = [
        fastconv.InferenceSession(model, tune=True, num_threads=n).run(None, values)[0]
        for n in (1, 2, 3)
    ]
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_the_fastest_is_chosen(own_cache, monkeypatch):
    times = {name: 1.0 if name == "winograd F(2,3)" else 2.0 for name in CANDIDATES}

    class Timed:
        """A core plan with made-up times."""

        def __init__(self, plan):
            self.plan, self.choices = plan, plan.choices

        def profile(self, feeds, threads):
            rows = self.plan.profile(feeds, threads)
            for row in rows:
                row["seconds"] = times.get(row["algorithm"], 1.0)
            return rows

    def measure(self, make, *rest):
        return original(self, lambda *a: Timed(make(*a)), *rest)

    original = tuning.Tuner._measure
    monkeypatch.setattr(tuning.Tuner, "_measure", measure)
    model = network()
    session = fastconv.InferenceSession(model, tune=True)
    assert algorithms(session, feed(model))[:2] == ["winograd F(2,3)"] * 2


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"x": 3}', b"\xff\xfe"])
def test_a_damaged_file_is_replaced(own_cache, content):
    own_cache.parent.mkdir()
    own_cache.write_bytes(content)
    fastconv.InferenceSession(network(), tune=True)
    assert json.loads(own_cache.read_text())[tuning.machine()]


@pytest.mark.parametrize("kept", [[], 5, {"conv": 7}, {"conv": "no such algorithm"}])
def test_strange_entries_do_no_harm(own_cache, kept):
    own_cache.parent.mkdir()
    own_cache.write_text(json.dumps({tuning.machine(): kept}))
    model = network()
    session = fastconv.InferenceSession(model, tune=True)
    assert set(algorithms(session, feed(model))) <= CANDIDATES


def test_an_unknown_algorithm_is_measured_again(own_cache):
    model = network()
    fastconv.InferenceSession(model, tune=True)
    content = json.loads(own_cache.read_text())
    content[tuning.machine()] = dict.fromkeys(content[tuning.machine()], "of another version")
    own_cache.write_text(json.dumps(content))
    session = fastconv.InferenceSession(model, tune=True)
    assert set(algorithms(session, feed(model))) <= CANDIDATES
    assert set(json.loads(own_cache.read_text())[tuning.machine()].values()) <= CANDIDATES


def test_a_cache_that_cannot_be_written_is_a_warning(own_cache):
    own_cache.parent.write_text("a file where the folder should be")
    model = network()
    with pytest.warns(UserWarning, match="cannot be kept"):
        session = fastconv.InferenceSession(model, tune=True)
    want = expected(model, feed(model))
    assert np.abs(session.run(None, feed(model))[0] - want).max() <= 1e-4 * np.abs(want).max()


def test_strict_leaves_no_choice(own_cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = network()
        session = fastconv.InferenceSession(model, tune=True, precision="strict")
    assert algorithms(session, feed(model)) == ["direct"] * 3
    assert not own_cache.exists()


def test_a_free_batch_is_measured_at_the_first_run(own_cache):
    model = network(batch="n")
    session = fastconv.InferenceSession(model, tune=True)
    assert not own_cache.exists()
    session.run(None, feed(model, 2))
    assert len(json.loads(own_cache.read_text())[tuning.machine()]) == 1


@pytest.mark.parametrize("tune", [1, None, "yes"])
def test_tune_is_a_bool(tune):
    with pytest.raises(TypeError, match=r"tune is .* expected True or False"):
        fastconv.InferenceSession(network(), tune=tune)
