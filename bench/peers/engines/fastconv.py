import fastconv

from .. import networks

PACKAGE = "fastconv"


def open(files, x, threads, precision="default"):
    path = files.get("fastconv", files["onnx"])  # its own file, where there is one
    session = fastconv.InferenceSession(path, num_threads=threads, precision=precision)
    return lambda: session.run(None, {networks.INPUT: x})[0]
