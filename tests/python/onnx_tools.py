"""Comparison of exported models with onnxruntime."""

import numpy as np

import fastconv


def randomize(model, seed=0):
    """Give every weight a value that shows whether it is used (biases start as zeros)."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        if "variance" in weight.path or "gamma" in weight.path:
            value = np.abs(value) + 0.5
        weight.assign(value.astype(weight.dtype))


def session(path):
    """Return onnxruntime's session of a file, with one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(model, path, batches=(1, 3), shapes=None, tolerance=1e-5, **kwargs):
    """Export, check the file, and compare with onnxruntime; returns the ONNX model."""
    import onnx

    fastconv.onnx.export(model, path, **kwargs)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    run = session(path)
    shapes = shapes or [t.shape[1:] for t in model.inputs]
    rng = np.random.default_rng(1)
    for batch in batches:
        xs = [rng.normal(0, 1.5, (batch, *shape)).astype(np.float32) for shape in shapes]
        wanted = model.predict(xs if len(xs) > 1 else xs[0], batch_size=batch, verbose=0)
        wanted = list(wanted.values()) if isinstance(wanted, dict) else wanted
        wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
        names = [i.name for i in run.get_inputs()]
        found = run.run(None, dict(zip(names, xs, strict=True)))
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype
            assert np.isfinite(b).all()
            largest = max(np.abs(b).max(), 1e-3)
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)
    return proto


def count(proto, op):
    """Return the number of nodes of a kind."""
    return sum(node.op_type == op for node in proto.graph.node)
