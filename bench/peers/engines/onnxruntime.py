import onnxruntime

from .. import networks

PACKAGE = "onnxruntime"


def open(files, x, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_free_dimension_override_by_name(networks.BATCH, len(x))  # as good as a fixed size
    session = onnxruntime.InferenceSession(
        str(files["onnx"]), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {networks.INPUT: x})[0]
