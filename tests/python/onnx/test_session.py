"""InferenceSession: its interface, plans for many shapes, threads."""

import gc
import threading

import numpy as np
import pytest

import fastconv
from fastconv.inference import ModelGraph, Node, ValueInfo

RNG = np.random.default_rng(0)


def model(nodes, inputs, outputs, constants=None, version=17):
    made = [
        Node(op, list(ins), list(outs), attrs, version=version) for op, ins, outs, attrs in nodes
    ]
    values = [ValueInfo(name, dtype, shape) for name, dtype, shape in inputs]
    results = [ValueInfo(name, "float32", None) for name in outputs]
    return ModelGraph("m", values, results, made, dict(constants or {}))


def conv_net():
    """Two convolutions of any map size, global pooling, a dense layer."""
    w1 = RNG.standard_normal((8, 3, 3, 3)).astype("float32")
    w2 = RNG.standard_normal((6, 8, 1, 1)).astype("float32")
    w3 = RNG.standard_normal((6, 5)).astype("float32")
    return model(
        [
            ("Conv", ["x", "w1"], ["a"], {"pads": [1, 1, 1, 1]}),
            ("Relu", ["a"], ["b"], {}),
            ("Conv", ["b", "w2"], ["c"], {"strides": [2, 2]}),
            ("GlobalAveragePool", ["c"], ["d"], {}),
            ("Flatten", ["d"], ["e"], {}),
            ("Gemm", ["e", "w3"], ["y"], {}),
        ],
        [("x", "float32", ("n", 3, "h", "w"))],
        ["y"],
        {"w1": w1, "w2": w2, "w3": w3},
    )


def expected_of_conv_net(net, x):
    import fastconv.functional as F

    c = net.constants
    y = F.conv2d(F.relu(F.conv2d(x, c["w1"], padding=1)), c["w2"], stride=2)
    return y.mean(axis=(2, 3)) @ c["w3"]


def image(n=1, h=9, w=11):
    return RNG.standard_normal((n, 3, h, w)).astype("float32")


def test_describes_itself():
    session = fastconv.InferenceSession(conv_net())
    (x,), (y,) = session.get_inputs(), session.get_outputs()
    assert (x.name, x.shape, x.type) == ("x", ["n", 3, "h", "w"], "tensor(float)")
    assert (y.name, y.shape) == ("y", None)
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_any_shape():
    net = conv_net()
    session = fastconv.InferenceSession(net)
    for shape in [(1, 9, 11), (4, 5, 5), (2, 32, 7), (1, 9, 11)]:
        x = image(*shape)
        (y,) = session.run(["y"], {"x": x})
        np.testing.assert_allclose(y, expected_of_conv_net(net, x), rtol=1e-4, atol=1e-4)


def test_arrays_that_are_not_contiguous():
    net = conv_net()
    session = fastconv.InferenceSession(net)
    x = image(2, 8, 8)[:, :, ::2, ::-1]
    np.testing.assert_array_equal(
        session.run(None, {"x": x})[0], session.run(None, {"x": x.copy()})[0]
    )


def test_plans_are_bounded():
    session = fastconv.InferenceSession(conv_net(), max_plans=3)
    for h in range(5, 15):
        session.run(None, {"x": image(h=h)})
    assert len(session._plans) == 3


def test_outputs_are_the_callers():
    net = model([("Identity", ["x"], ["y"], {})], [("x", "float32", (2,))], ["y"])
    session = fastconv.InferenceSession(net)
    x = np.ones(2, "float32")
    (first,) = session.run(None, {"x": x})
    first[:] = 5
    assert x.tolist() == [1, 1]
    assert session.run(None, {"x": x})[0].tolist() == [1, 1]


def test_known_outputs_are_copies():
    net = model([("Shape", ["x"], ["y"], {})], [("x", "float32", ("n",))], ["y"])
    session = fastconv.InferenceSession(net)
    for _ in range(2):
        (y,) = session.run(None, {"x": np.ones(7, "float32")})
        assert y.tolist() == [7]
        y[:] = 0


def test_shape_given_as_an_input():
    net = model(
        [("Reshape", ["x", "s"], ["r"], {}), ("Relu", ["r"], ["y"], {})],
        [("x", "float32", (6,)), ("s", "int64", (2,))],
        ["y"],
    )
    session = fastconv.InferenceSession(net)
    x = np.arange(6, dtype="float32")
    for shape in [(2, 3), (3, 2), (-1, 1), (2, 3)]:
        (y,) = session.run(None, {"x": x, "s": np.array(shape)})
        np.testing.assert_array_equal(y, x.reshape(shape))
    with pytest.raises(ValueError, match="cannot become"):
        session.run(None, {"x": x, "s": np.array([4, 2])})


def test_shape_computed_from_data():
    # The number of rows is the largest value: only a run can tell it.
    net = model(
        [
            ("ReduceMax", ["n"], ["m"], {"keepdims": 1}),
            ("Concat", ["m", "two"], ["s"], {"axis": 0}),
            ("ConstantOfShape", ["s"], ["ones"], {"value": np.ones(1, "float32")}),
            ("Mul", ["ones", "x"], ["y"], {}),
        ],
        [("x", "float32", (2,)), ("n", "int64", ("k",))],
        ["y"],
        {"two": np.array([2])},
    )
    session = fastconv.InferenceSession(net)
    x = np.array([1, 2], "float32")
    for values in ([3, 1], [1, 5, 2], [3, 1]):
        (y,) = session.run(None, {"x": x, "n": np.array(values)})
        np.testing.assert_array_equal(y, np.ones((max(values), 2), "float32") * x)


def test_missing_operators_are_all_told():
    net = model(
        [("Foo", ["x"], ["a"], {}), ("Bar", ["a"], ["b"], {}), ("Foo", ["b"], ["y"], {})],
        [("x", "float32", (1,))],
        ["y"],
    )
    net.nodes[0].name = "first"
    with pytest.raises(ValueError, match=r"Bar \('b'\); Foo \('first', 'y'\)"):
        fastconv.InferenceSession(net)


@pytest.mark.parametrize(
    "feed, error, message",
    [
        ({}, ValueError, r"inputs are \[\], expected \['x'\]"),
        ({"x": image(), "z": image()}, ValueError, "expected"),
        ({"x": image().astype("float64")}, TypeError, "dtype float64, expected float32"),
        ({"x": image()[0]}, ValueError, r"shape \(3, 9, 11\), expected \(n, 3, h, w\)"),
        ({"x": image()[:, :2]}, ValueError, r"expected \(n, 3, h, w\)"),
        ([image()], TypeError, "expected a dict"),
        ({"x": "text"}, TypeError, "dtype"),
    ],
)
def test_wrong_feeds(feed, error, message):
    session = fastconv.InferenceSession(conv_net())
    with pytest.raises(error, match=message):
        session.run(None, feed)


def test_wrong_arguments():
    net = conv_net()
    with pytest.raises(ValueError, match="there is no output 'z'"):
        fastconv.InferenceSession(net).run(["z"], {"x": image()})
    with pytest.raises(ValueError, match="device"):
        fastconv.InferenceSession(net, device="tpu")
    with pytest.raises(ValueError, match="precision"):
        fastconv.InferenceSession(net, precision="half")
    with pytest.raises(ValueError, match="num_threads"):
        fastconv.InferenceSession(net, num_threads=0)
    with pytest.raises(TypeError, match="the model is a int"):
        fastconv.InferenceSession(3)
    with pytest.raises(FileNotFoundError):
        fastconv.InferenceSession("no/such/file.onnx")


def test_one_symbol_is_one_size():
    net = model(
        [("Add", ["a", "b"], ["y"], {})],
        [("a", "float32", ("n", 1)), ("b", "float32", ("n", 2))],
        ["y"],
    )
    session = fastconv.InferenceSession(net)
    with pytest.raises(ValueError, match="sizes 2 and 1 for the axis 'n'"):
        session.run(None, {"a": np.ones((2, 1), "f4"), "b": np.ones((1, 2), "f4")})


def test_options_of_onnxruntime():
    options = fastconv.SessionOptions()
    options.intra_op_num_threads = 1
    session = fastconv.InferenceSession(conv_net(), options, providers=["CPUExecutionProvider"])
    x = image()
    same = fastconv.InferenceSession(conv_net_with(session), num_threads=2)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], same.run(None, {"x": x})[0])


def conv_net_with(session):
    return session._network.model


def test_profile():
    session = fastconv.InferenceSession(conv_net())
    profile = session.profile({"x": image(1, 32, 32)})
    assert any(row["op"] == "conv2d" and row["gflops"] > 0 for row in profile)
    assert {"op", "name", "algorithm", "shape", "seconds", "gflops"} <= profile[0].keys()
    text = str(profile)
    assert "conv2d" in text and f"{len(profile)} steps" in text


def test_eight_threads_share_a_session():
    net = conv_net()
    session = fastconv.InferenceSession(net, max_plans=2)
    inputs = [image(1, 8 + i % 3, 8) for i in range(8)]
    expected = [session.run(None, {"x": x})[0] for x in inputs]
    wrong = []

    def work(i):
        for _ in range(20):
            if not np.array_equal(session.run(None, {"x": inputs[i]})[0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_weights_are_packed_once_for_all_shapes():
    session = fastconv.InferenceSession(conv_net())
    session.run(None, {"x": image(h=8)})
    packed = session._network.store.bytes
    for h in range(9, 20):
        session.run(None, {"x": image(h=h)})
    assert session._network.store.bytes == packed > 0
    store = session._network.store
    del session
    gc.collect()
    assert store.bytes == 0


def test_a_gigantic_output_is_refused():
    net = model(
        [("Expand", ["x", "s"], ["y"], {})],
        [("x", "float32", (1,)), ("s", "int64", (2,))],
        ["y"],
    )
    session = fastconv.InferenceSession(net)
    with pytest.raises((ValueError, MemoryError)):
        session.run(None, {"x": np.ones(1, "f4"), "s": np.array([2**40, 2**40])})
    with pytest.raises((ValueError, MemoryError)):
        session.run(None, {"x": np.ones(1, "f4"), "s": np.array([2**21, 2**21])})


def test_sessions_come_and_go_while_another_runs():
    net = conv_net()
    shared = fastconv.InferenceSession(net, max_plans=2)  # fewer than there are shapes
    images = [image(1 + i % 2, 5 + i, 7) for i in range(6)]
    wanted = [fastconv.InferenceSession(net).run(None, {"x": x})[0] for x in images]
    errors = []

    def work(seed, session):
        try:
            rng = np.random.default_rng(seed)
            for _ in range(30):
                i = int(rng.integers(len(images)))
                mine = session or fastconv.InferenceSession(net, max_plans=1)
                np.testing.assert_array_equal(mine.run(None, {"x": images[i]})[0], wanted[i])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i, shared if i % 2 else None)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    store = shared._network.store
    del shared, threads
    gc.collect()
    assert store.bytes == 0
