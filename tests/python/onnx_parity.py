"""Compares InferenceSession with onnxruntime on whole models."""

import numpy as np

import fastconv

TOLERANCE = 1e-4  # largest difference over largest value, for each output


def reference_session(model, optimized=True):
    """onnxruntime's session for the bytes of a model; it may refuse the model."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)  # it prints what the exception says already
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 4
    if not optimized:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def assert_close(results, expected, names, tolerance=TOLERANCE, what=""):
    """Each output has the dtype, the shape and, within the tolerance, the values of the other."""
    for name, have, want in zip(names, results, expected, strict=True):
        label = f"output '{name}' {what}"
        want = np.asarray(want)
        assert have.dtype == want.dtype, label
        assert have.shape == want.shape, label
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(have, want, err_msg=label)
            continue
        finite = np.isfinite(want)
        np.testing.assert_array_equal(np.isfinite(have), finite, err_msg=label)
        np.testing.assert_array_equal(have[~finite], want[~finite], err_msg=label)
        if finite.any():
            largest = np.abs(want[finite], dtype=np.float64).max()
            difference = np.abs(have[finite].astype(np.float64) - want[finite]).max()
            # Denormal numbers count as zero.
            assert difference <= max(tolerance * largest, np.finfo(want.dtype).tiny), (
                f"{label}: difference {difference:.3g}, largest value {largest:.3g}"
            )


def assert_parity(model, *feeds, tolerance=TOLERANCE):
    """Run the bytes of a model in both, for each of the feeds, with one session each.

    Returns onnxruntime's outputs for the last of the feeds.
    """
    reference = reference_session(model)
    session = fastconv.InferenceSession(model)
    names = [output.name for output in reference.get_outputs()]
    assert [output.name for output in session.get_outputs()] == names
    for feed in feeds:
        expected = reference.run(None, feed)
        what = f"for inputs {', '.join(str(array.shape) for array in feed.values())}"
        assert_close(session.run(None, feed), expected, names, tolerance, what)
    return expected
