"""The parts of bench/ that need none of fastconv's peers."""

import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def test_scripts_need_no_peer():
    code = """
import sys
peers = {"torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino", "ncnn", "MNN", "pnnx",
         "keras", "tensorflow", "jax"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in peers:
            raise ImportError(f"{name} is imported")
sys.meta_path.insert(0, Missing())
import accuracy, concurrency, convolution, functional, inference, training
from peers import accuracy_worker, training_overhead, training_worker, worker
"""
    subprocess.run([sys.executable, "-c", code], cwd=BENCH, check=True)


def test_ratio_is_taken_round_by_round():
    from peers import records

    times = {"fastconv": [1.0, 4.0, 2.0], "a": [2.0, 6.0, 9.0], "b": [3.0, 5.0, 3.0]}
    each, ratio = records.ratios(times)
    assert each == [2.0, 1.25, 1.5]
    assert ratio == 1.5


def test_variants_of_fastconv_are_no_peers():
    from peers import records

    times = {"fastconv": [2.0], "fastconv-avx2": [4.0], "a": [3.0]}
    assert records.ratios(times)[1] == 1.5
    assert records.ratios(times, "fastconv-avx2")[1] == 0.75
    assert records.ratios({"fastconv": [2.0], "fastconv-avx2": [1.0]}) == ([], None)
    assert records.ratios({"a": [2.0]}) == ([], None)


def test_ratio_with_a_peer_that_failed_later():
    from peers import records

    assert records.ratios({"fastconv": [1.0, 1.0], "a": [2.0], "b": [3.0, 3.0]})[0] == [2.0, 3.0]


def record(engine, number, median, **more):
    return {
        "kind": "run",
        "network": "lenet5",
        "threads": 1,
        "batch": 1,
        "engine": engine,
        "round": number,
        "median": median,
        "error": 1e-7,
        "date": "2026-01-01",
        "version": "1.0",
        "duration": 0.5,
        **more,
    }


def test_a_case_is_replaced_as_a_whole(tmp_path):
    from peers import records

    path = tmp_path / "results.json"
    old = [record("a", 0, 1.0), record("a", 1, 2.0), record("b", 0, 3.0)]
    records.write(path, {"cpu": "x"}, [*old, record("b", 0, 4.0, threads=2)])
    records.write(path, {"cpu": "x"}, [record("a", 0, 9.0), record("a", 0, 7.0, batch=8)])
    keys = ("engine", "threads", "batch", "median")
    found = [tuple(r[key] for key in keys) for r in records.read(path)["records"]]
    assert found == [("b", 2, 1, 4.0), ("a", 1, 1, 9.0), ("a", 1, 8, 7.0)]
    assert list(tmp_path.iterdir()) == [path]


def test_error_is_relative_to_the_largest_value():
    from peers import records

    reference = np.array([[1.0, -8.0]])
    assert records.error(np.float32([[1.5, -8.0]]), reference) == 0.5 / 8
    assert records.error(np.float32([1.0, -8.0]), reference) == float("inf")
    assert records.error(np.float32([[np.nan, -8.0]]), reference) == float("inf")


def test_geometric_mean():
    from peers import records

    assert records.geometric_mean([0.5, 8.0]) == pytest.approx(2.0)


def report_data():
    rows = [("fastconv", 0.002, 1), ("mnn", 0.003, 1), ("fastconv", 0.001, 2), ("mnn", 0.0008, 2)]
    return {
        "machine": {"cpu": "C", "cores": 2, "system": "S"},
        "records": [
            *[
                record(engine, 0, time, threads=threads, network=network)
                for network in ("resnet18", "alexnet")
                for engine, time, threads in rows
            ],
            {**record("fastconv", 0, 0, kind="start"), "seconds": 0.5, "runs": 10}
            | {"memory_first": 1e8, "memory": 2e8},
        ],
    }


def test_report():
    from peers import report

    text = report.section(report_data())
    assert "| ResNet-18 | 2 | 3 | 1.50 |" in text
    assert "| ResNet-18 | 1 | 0.8 | 0.80 |" in text
    assert text.index("ResNet-18") < text.index("AlexNet")
    assert "| geometric mean |  |  | **1.50** |" in text
    assert "fastconv 1.0, MNN 1.0" in text
    assert "Rounds: 1, of 0.5 s" in text
    assert "| fastconv | 0.500 | 1.00 | 100 | 200 |" in text


def test_report_replaces_what_is_between_the_markers():
    from peers import report

    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    first = report.put(document, "new")
    assert first.startswith("before\n") and first.endswith("\nafter\n")
    assert "old" not in first and "\nnew\n" in first
    assert report.put(first, "new") == first
    with pytest.raises(ValueError, match="expected one line"):
        report.put("no markers", "new")


def test_documentation_has_the_markers():
    from peers import report

    assert report.put((BENCH.parent / "docs" / "benchmarks.md").read_text(), "new")


def test_chart_is_xml_with_a_dot_a_peer():
    from peers import report

    root = xml.etree.ElementTree.fromstring(report.picture(report_data()))
    titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["mnn 1.50"] * 2 + ["mnn 0.80"] * 2


def test_shape_list():
    from peers import shapes

    text = "# header\n\n1 7 7 8 16 3 1 1 1 4  # a layer\n2 5 5 1 1 1 1 0 1\n"
    assert shapes.parse(text) == [
        ("a layer", [1, 7, 7, 8, 16, 3, 1, 1, 1], 4),
        ("", [2, 5, 5, 1, 1, 1, 1, 0, 1], 1),
    ]
    with pytest.raises(ValueError, match="line 2: expected nine or ten integers"):
        shapes.parse("1 7 7 8 16 3 1 1 1\n1 7 7 8 16 3 1 1\n")


@pytest.mark.parametrize(
    "network, layers, gmac",
    [  # as published with the networks, without their dense layers
        ("resnet50", 53, 4.09),
        ("vgg16", 13, 15.35),
        ("mobilenet_v2", 52, 0.300),
        ("googlenet", 57, 1.50),
        ("densenet121", 120, 2.83),
        ("efficientnet_b0", 81, 0.384),
        ("lenet5", 2, 0.000358),
    ],
)
def test_lists_hold_all_convolutions(network, layers, gmac):
    from peers import shapes

    total = count = 0
    for _, (n, h, w, c, k, kernel, stride, pad, groups), times in shapes.parse(
        (BENCH / "shapes" / f"{network}.txt").read_text()
    ):
        outputs = [(size + 2 * pad - kernel) // stride + 1 for size in (h, w)]
        total += times * n * outputs[0] * outputs[1] * k * kernel * kernel * c // groups
        count += times
    assert count == layers
    assert total / 1e9 == pytest.approx(gmac, rel=0.01)


def test_list_of_a_model(tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs the onnx package")
    from peers import shapes

    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 4, 9, 9] x) => (float[n, 8, 5, 5] y)
    <float[4, 2, 3, 3] a, float[8, 4, 1, 1] b> {
        t = Conv <group = 2, strides = [2, 2], pads = [1, 1, 1, 1]> (x, a)
        y = Conv (t, b)
    }"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("a", (4, 2, 3, 3)), ("b", (8, 4, 1, 1))):
        tensor = onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name)
        model.graph.initializer.append(tensor)
    model.graph.node[0].name = "/body/body.1/first/Conv"
    onnx.save(model, tmp_path / "m.onnx")
    assert shapes.parse(shapes.of_model(tmp_path / "m.onnx")) == [
        ("body.1.first", [1, 9, 9, 4, 4, 3, 2, 1, 2], 1),
        ("", [1, 5, 5, 4, 8, 1, 1, 0, 1], 1),
    ]


def test_process_that_fails_tells_why():
    from peers import process

    task = {"engine": "none", "threads": 1, "network": "lenet5", "batch": 1, "files": {}}
    with pytest.raises(process.Failed, match="ModuleNotFoundError"):
        process.measure(sys.executable, task)
    with pytest.raises(process.Failed, match="ModuleNotFoundError"):
        process.first_result(sys.executable, task)


def test_environment_of_variants():
    from peers import process

    assert process.environment("fastconv-avx2", 2)["FASTCONV_ISA"] == "avx2"
    assert process.environment("openvino", 2)["OMP_NUM_THREADS"] == "2"
    assert process.environment("keras-jax", 2)["KERAS_BACKEND"] == "jax"
    assert process.python_of(["fastconv-old=/a b/python"], "fastconv-old") == "/a b/python"
    assert process.python_of(["fastconv-old=/a b/python"], "fastconv") == sys.executable


@pytest.fixture
def task(tmp_path):
    """The worker's task with fastconv, which is always there, on a small model."""
    pytest.importorskip("onnx", reason="needs the onnx package")
    import fastconv.onnx
    from fastconv import layers, models

    model = models.Sequential([layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
    names = {"input_names": ["x"], "input_layout": "channels_first"}
    fastconv.onnx.export(model, tmp_path / "m.onnx", **names)
    return {
        "engine": "fastconv",
        "network": "lenet5",
        "threads": 1,
        "batch": 2,
        "files": {"onnx": tmp_path / "m.onnx"},
        "output": str(tmp_path / "y.npy"),
        "seconds": 0.01,
        "runs": 2,
    }


def test_worker_measures(task):
    import fastconv
    from peers import networks, process

    found = process.measure(sys.executable, task)
    assert 0 < found["minimum"] <= found["median"] < 1
    assert found["runs"] >= 5
    assert found["version"] == fastconv.__version__
    x = networks.batch_input("lenet5", 2)
    (y,) = fastconv.InferenceSession(task["files"]["onnx"]).run(None, {"x": x})
    np.testing.assert_array_equal(np.load(task["output"]), y)


def test_worker_starts(task):
    from peers import process

    found = process.first_result(sys.executable, task)
    assert 0.01 < found["seconds"] < 60
    assert 10e6 < found["memory_first"] <= found["memory"]
    assert np.isfinite(found["result"])
