import torch

from .. import models

PACKAGE = "torch"


def open(files, x, threads, order="contiguous_format"):
    torch.set_num_threads(threads)
    order = getattr(torch, order)
    model = models.load(files["state"].stem, files["state"].parent).to(memory_format=order)
    image = torch.from_numpy(x).to(memory_format=order)

    def run():
        with torch.inference_mode():
            return model(image).numpy()

    return run
