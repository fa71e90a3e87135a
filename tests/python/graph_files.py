"""Small ONNX files for the tests of commands."""

import numpy as np


def write(path, nodes, inputs, outputs, constants=None, opset=17):
    """Write a model; `inputs` and `outputs` are {name: (NumPy dtype, shape)}."""
    import onnx
    from onnx import helper, numpy_helper

    def infos(values):
        return [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
            )
            for name, (dtype, shape) in values.items()
        ]

    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **attrs) for op, ins, outs, attrs in nodes],
        "small",
        infos(inputs),
        infos(outputs),
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    imports = [helper.make_operatorsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def classifier(path, shape=("n", 3, "h", "w")):
    """Convolution, global pooling, a reshape of a computed shape, a dense layer, softmax."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype("float32"),
        "w2": rng.standard_normal((8, 10)).astype("float32"),
        "start": np.array([0]),
        "end": np.array([1]),
        "rest": np.array([-1]),
    }
    nodes = [
        ("Conv", ["x", "w1"], ["a"], {"pads": [1, 1, 1, 1], "name": "first"}),
        ("Relu", ["a"], ["b"], {}),
        ("GlobalAveragePool", ["b"], ["c"], {}),
        ("Shape", ["c"], ["shape"], {}),
        ("Slice", ["shape", "start", "end"], ["batch"], {}),
        ("Concat", ["batch", "rest"], ["target"], {"axis": 0}),
        ("Reshape", ["c", "target"], ["d"], {}),
        ("Gemm", ["d", "w2"], ["e"], {"alpha": 0.5}),
        ("Softmax", ["e"], ["y"], {"axis": 1}),
    ]
    return write(
        path, nodes, {"x": ("float32", shape)}, {"y": ("float32", (shape[0], 10))}, constants
    )


def identity(path, dtype="float32", shape=(1, 3, 4, 5)):
    """The input, which Identity keeps as the output."""
    return write(
        path, [("Identity", ["x"], ["y"], {})], {"x": (dtype, shape)}, {"y": (dtype, shape)}
    )


def two_inputs(path):
    """A sum of two inputs with a common symbolic size, and their difference."""
    nodes = [("Add", ["a", "b"], ["plus"], {}), ("Sub", ["a", "b"], ["minus"], {})]
    values = {"a": ("float32", ("n", 2)), "b": ("float32", ("n", 1))}
    results = {"plus": ("float32", ("n", 2)), "minus": ("float32", ("n", 2))}
    return write(path, nodes, values, results)
