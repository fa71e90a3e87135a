import openvino
from openvino import properties

PACKAGE = "openvino"


def open(files, x, threads):
    core = openvino.Core()
    model = core.read_model(files["onnx"])
    model.reshape(x.shape)
    config = {
        properties.hint.performance_mode: properties.hint.PerformanceMode.LATENCY,
        properties.hint.inference_precision: openvino.Type.f32,
        properties.inference_num_threads: threads,
        properties.num_streams: 1,
    }
    request = core.compile_model(model, "CPU", config).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    output = request.get_output_tensor()

    def run():
        request.infer()
        return output.data

    return run
