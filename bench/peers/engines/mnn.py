import MNN
import numpy as np

from .. import networks

PACKAGE = "mnn"


def open(files, x, threads):
    interpreter = MNN.Interpreter(str(files["mnn"]))
    session = interpreter.createSession(
        {"backend": "CPU", "precision": "high", "numThread": threads}
    )
    given = interpreter.getSessionInput(session, networks.INPUT)
    if tuple(given.getShape()) != x.shape:
        interpreter.resizeTensor(given, x.shape)
        interpreter.resizeSession(session)
    image = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)
    result = interpreter.getSessionOutput(session, networks.OUTPUT)
    shape = result.getShape()
    host = np.empty(shape, np.float32)
    out = MNN.Tensor(shape, MNN.Halide_Type_Float, host, MNN.Tensor_DimensionType_Caffe)

    def run():
        given.copyFrom(image)
        interpreter.runSession(session)
        result.copyToHostTensor(out)
        return np.asarray(out.getData(), np.float32).reshape(shape)

    return run
