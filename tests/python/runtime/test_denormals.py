"""Denormals are flushed while kernels run, and nowhere else."""

import ctypes
import ctypes.util
import platform
import sys
import threading
import time

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from fastconv.inference.model import ModelGraph, Node, ValueInfo

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64", "aarch64", "arm64"),
    reason="only x86-64 and 64-bit Arm flush denormals",
)

TINY = np.float32(1e-40)


def control() -> int | None:
    """The control bits of MXCSR or FPCR: rounding, masks and flushing, from glibc's `fenv_t`."""
    if not sys.platform.startswith("linux"):
        return None
    environment = (ctypes.c_uint32 * 8)()
    library = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    if library.fegetenv(environment):
        return None
    return environment[0] if platform.machine() == "aarch64" else environment[7] & 0xFFC0


@pytest.fixture(autouse=True)
def state_untouched():
    before = control()
    assert keeps_denormals()
    yield
    assert control() == before
    assert keeps_denormals()


def keeps_denormals() -> bool:
    inputs = np.full(64, TINY) + np.float32(0)  # zero under DAZ
    results = np.full(64, 2e-38, np.float32) * np.float32(0.25)  # zero under FTZ
    return bool((inputs != 0).all() and (results != 0).all())


def network(scale: float, channels=64) -> fastconv.InferenceSession:
    """Convolutions by every kind of algorithm and a dense layer, their weights scaled."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    c = channels
    shapes = {"w1": (c, c, 3, 3), "w2": (c, 1, 3, 3), "w3": (c, c, 1, 1), "w4": (c, c, 5, 5)}
    groups = {"w2": c}
    nodes, last = [], "x"
    for name, shape in shapes.items():
        pads = [shape[-1] // 2] * 4
        nodes.append(
            Node("Conv", [last, name], [f"y_{name}"], {"pads": pads, "group": groups.get(name, 1)})
        )
        last = f"y_{name}"
    nodes += [
        Node("Flatten", [last], ["flat"], version=13),
        Node("MatMul", ["flat", "w5"], ["y"], version=13),
    ]
    constants = {name: weights(*shape) for name, shape in shapes.items()}
    constants["w5"] = weights(c * 14 * 14, 32)
    model = ModelGraph(
        "m",
        [ValueInfo("x", "float32", (1, c, 14, 14))],
        [ValueInfo("y", "float32", None)],
        nodes,
        constants,
    )
    return fastconv.InferenceSession(model)


def feed(scale=1.0, channels=64):
    x = np.random.default_rng(1).standard_normal((1, channels, 14, 14)) * scale
    return {"x": x.astype(np.float32)}


def best(session, f, seconds=0.15) -> float:
    shortest, end = np.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, f)
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


@pytest.mark.parametrize("what", ["weights", "activations"])
def test_denormals_cost_nothing(what):
    normal, plain = network(0.05), feed()
    slow = network(1e-40) if what == "weights" else normal
    f = plain if what == "weights" else feed(1e-40)
    ratio = np.inf
    for _ in range(8):  # another process may disturb some rounds, not all of them
        ratio = min(ratio, best(slow, f) / best(normal, plain))
        if ratio < 1.2:
            break
    assert ratio < 1.2


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_flushed_in_every_thread(threads):
    """Products of tiny weights and huge inputs would be normal numbers: each piece gives zeros."""
    x = np.full((8, 16, 40, 40), 1e20, np.float32)
    cases = [
        F.conv2d(x, np.full((16, 16, 3, 3), TINY), padding=1),
        F.conv2d(x, np.full((16, 16, 1, 1), TINY)),
        F.conv2d(x, np.full((16, 1, 3, 3), TINY), groups=16),
        F.conv2d(x[:, :1], np.full((6, 1, 5, 5), TINY)),
    ]
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(threads)
    try:
        for weight, groups, images in (
            (np.full((16, 16, 3, 3), TINY), 1, x),
            (np.full((16, 16, 1, 1), TINY), 1, x),
            (np.full((16, 1, 3, 3), TINY), 16, x),
            (np.full((6, 1, 5, 5), TINY), 1, x[:, :1]),
        ):
            y = F.conv2d(np.ascontiguousarray(images), weight, groups=groups)
            assert not y.any()
        assert not F.relu(np.full((16, 100, 1000), TINY)).any()
    finally:
        fastconv.set_num_threads(before)
    assert all(not y.any() for y in cases)


def test_threads_of_the_caller():
    session, f = network(0.05, 8), feed(1, 8)
    session.run(None, f)
    wrong = []

    def work():
        state = control()
        for _ in range(20):
            session.run(None, f)
            F.conv2d(f["x"], np.full((4, 8, 3, 3), TINY))
            if control() != state or not keeps_denormals():
                wrong.append(control())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_entries():
    session, f = network(0.05, 8), feed(1, 8)
    session.profile(f)
    x = np.full((2, 3, 8, 8), TINY)
    w = np.full((4, 3, 3, 3), TINY)
    F.conv2d_backward(F.conv2d(x, w), x, w)
    F.max_pool2d(x, 2)
    F.softmax(x, 1)


def test_after_an_exception():
    """A step that throws while it runs."""
    model = ModelGraph(
        "m",
        [ValueInfo("x", "float32", (5,)), ValueInfo("i", "int64", (100_000,))],
        [ValueInfo("y", "float32", None)],
        [Node("Relu", ["x"], ["a"]), Node("Gather", ["a", "i"], ["y"], {"axis": 0}, version=13)],
    )
    session = fastconv.InferenceSession(model)
    f = {"x": np.ones(5, np.float32), "i": np.zeros(100_000, np.int64)}
    session.run(None, f)
    f["i"][[3, 99_999]] = 7
    for _ in range(3):
        with pytest.raises(ValueError, match="7"):
            session.run(None, f)
        assert keeps_denormals()
    with pytest.raises(ValueError):
        F.conv2d(np.ones((1, 2, 4, 4), np.float32), np.ones((1, 3, 3, 3), np.float32))
