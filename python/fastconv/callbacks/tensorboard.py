"""`TensorBoard`: logged values, weights and the network as event files."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._graph import flatten
from fastconv.callbacks.base import Callback

if TYPE_CHECKING:
    from fastconv._types import LazyLogs, Logs


class TensorBoard(Callback):
    """Writes event files that `tensorboard --logdir logs` shows. Needs the extra `tensorboard`.

    Scalars of an epoch are called `epoch_loss`, `epoch_learning_rate` and so on, in `train/` and
    `validation/`, those of batches `batch_loss`; evaluations after a number of steps are called
    `evaluation_loss_vs_iterations`.

    Args:
        log_dir: folder of the files; one for each run, so that runs can be compared.
        histogram_freq: epochs between histograms of the weights, 0 for none.
        write_graph: write the layers and their connections.
        write_images: with each histogram, also write the weights as images.
        write_steps_per_second: write the training speed.
        update_freq: "epoch", "batch", or a number of batches between scalars of batches.
        profile_batch, embeddings_freq, embeddings_metadata: must be 0 and None, not supported.

    Raises:
        ImportError: tensorboardX is not installed.
        ValueError: another value of `update_freq`, or an argument that is not supported.
    """

    state_names = ("_batch",)
    lazy_logs = True

    def __init__(
        self,
        log_dir: str = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: int | str = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        try:
            import tensorboardX  # noqa: F401 - told here, not after the first epoch
        except ImportError as error:
            raise ImportError(
                "TensorBoard needs tensorboardX: pip install 'fastconv[tensorboard]'"
            ) from error
        if profile_batch or embeddings_freq or embeddings_metadata is not None:
            raise ValueError("TensorBoard: profiling and embeddings are not supported")
        number = update_freq if isinstance(update_freq, int) else 0
        if update_freq not in ("epoch", "batch") and (number < 1 or isinstance(update_freq, bool)):
            raise ValueError(
                "TensorBoard: `update_freq` must be 'epoch', 'batch' or an integer >= 1, "
                f"received: update_freq={update_freq!r}"
            )
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = histogram_freq
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = 1 if update_freq == "batch" else update_freq
        self._batch = 0
        self._writers: dict[str, Any] = {}
        self._graph_written = False

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            from tensorboardX import SummaryWriter

            self._writers[name] = SummaryWriter(os.path.join(self.log_dir, name))
        return self._writers[name]

    def _scalars(self, folder: str, start: Any, logs: Logs, step: int, end: str = "") -> None:
        for name, value in logs.items():
            if np.ndim(value) == 0:
                self._writer(folder).add_scalar(f"{start}{name}{end}", float(value), step)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._began = time.perf_counter(), self.model.optimizer.iterations

    def on_train_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        self._batch += 1
        if self.write_graph and not self._graph_written:
            self._graph_written = True
            self._write_graph()
        if isinstance(self.update_freq, str) or self._batch % self.update_freq:
            return
        values = logs() if callable(logs) else logs or {}
        self._scalars("train", "batch_", values, self._batch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = dict(logs or {})
        training = {k: v for k, v in logs.items() if not k.startswith("val_")}
        training["learning_rate"] = float(self.model.optimizer.learning_rate)
        if self.write_steps_per_second:
            start, steps = self._began
            steps = self.model.optimizer.iterations - steps
            training["steps_per_second"] = steps / max(time.perf_counter() - start, 1e-9)
        self._scalars("train", "epoch_", training, epoch)
        validation = {k[4:]: v for k, v in logs.items() if k.startswith("val_")}
        self._scalars("validation", "epoch_", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_test_end(self, logs: Logs | None = None) -> None:
        step = self.model.optimizer.iterations
        self._scalars("validation", "evaluation_", logs or {}, step, "_vs_iterations")

    def on_train_end(self, logs: Logs | None = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write_weights(self, epoch: int) -> None:
        writer = self._writer("train")
        for weight in self.model.weights:
            values = weight.numpy()
            # Weights that are not finite have no histogram; the loss tells of them.
            if values.size and np.isfinite(values).all():
                writer.add_histogram(f"{weight.path}/histogram", values, epoch)
                if self.write_images:
                    self._write_image(writer, f"{weight.path}/image", values, epoch)

    @staticmethod
    def _write_image(writer: Any, name: str, values: Any, epoch: int) -> None:
        """Write a weight as grey pictures from its smallest (black) to its largest value (white).

        Vectors become a line and matrices one picture; the filters of a convolution for the first
        input channel are set out in rows.
        """
        values = np.squeeze(values)
        if values.ndim == 4:
            values = values[:, :, 0]
        if values.ndim == 3:
            high, wide, filters = values.shape
            columns = math.ceil(math.sqrt(filters))
            rows = -(-filters // columns)
            grid = np.full((high + 1, wide + 1, rows * columns), values.min(), values.dtype)
            grid[:high, :wide, :filters] = values
            grid = grid.reshape(high + 1, wide + 1, rows, columns).transpose(2, 0, 3, 1)
            values = grid.reshape(rows * (high + 1), columns * (wide + 1))
        elif values.ndim == 2 and len(values) > values.shape[1]:
            values = values.T
        values = np.atleast_2d(values)
        span = float(np.ptp(values)) or 1.0
        writer.add_image(name, (values - values.min()) / span, epoch, dataformats="HW")

    def _write_graph(self) -> None:
        function = self.model._function
        if function is None:  # a subclass: its calls are Python code
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.graph_pb2 import GraphDef
        from tensorboardX.proto.node_def_pb2 import NodeDef

        entries = zip(function.flat_inputs, function.input_layers, strict=True)
        names = {id(tensor): layer.name for tensor, layer in entries}
        nodes = [NodeDef(name=name, op="Input") for name in names.values()]
        used = set(names.values())
        for node in function.nodes:
            name, n = node.layer.name, 1
            while name in used:  # a layer that is called again
                name, n = f"{node.layer.name}_call_{n}", n + 1
            used.add(name)
            inputs = [names[id(t)] for t in node.inputs]
            nodes.append(NodeDef(name=name, op=type(node.layer).__name__, input=inputs))
            names.update((id(t), name) for t in flatten(node.outputs))
        event = Event(graph_def=GraphDef(node=nodes).SerializeToString())
        self._writer("train").file_writer.add_event(event)
