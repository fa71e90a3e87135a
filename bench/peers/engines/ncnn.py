import ncnn
import numpy as np

PACKAGE = "ncnn"


def open(files, x, threads):
    if len(x) != 1:
        raise ValueError("ncnn has no batch axis")
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.lightmode = True
    for kind in ("fp16", "bf16"):
        for use in ("packed", "storage", "arithmetic"):
            if hasattr(net.opt, f"use_{kind}_{use}"):
                setattr(net.opt, f"use_{kind}_{use}", False)
    if net.load_param(str(files["ncnn"])) or net.load_model(str(files["ncnn"].with_suffix(".bin"))):
        raise ValueError(f"ncnn cannot read {files['ncnn']}")
    image = ncnn.Mat(x[0])

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", image)
        status, result = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn failed with status {status}")
        return np.array(result).reshape(1, -1)

    return run
