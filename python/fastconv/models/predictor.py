"""Evaluation, prediction, and work on single batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastconv._graph.tree import pack_as
from fastconv.callbacks.base import CallbackList
from fastconv.models.arguments import verbosity
from fastconv.models.data import Batch, Names, as_array, check_lengths, make_source, to_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastconv._types import TensorLike
    from fastconv.layers.base import Layer
    from fastconv.models.compiled import Compiled
    from fastconv.models.function import FunctionGraph
    from fastconv.models.model import Model

    _Base = Layer  # what it is a part of is a layer too
else:
    _Base = object


class Predictor(_Base):
    """The part of `Model` that runs without changing weights, and single training steps."""

    if TYPE_CHECKING:  # of the other parts
        _compiled: Compiled | None
        _structures: dict[str, Any]

        @property
        def _function(self) -> FunctionGraph | None: ...
        def _require_compiled(self, what: str) -> Compiled: ...
        def _sign(self) -> None: ...
        def _names(self) -> Names: ...
        def _step(self, mode: str, batch: Batch) -> Any: ...
        def _run_batch(
            self, mode: str, batch: Batch, class_weight: dict[int, float] | None = None
        ) -> None: ...
        def _loop_test(self, source: Any, run: CallbackList) -> int: ...
        def _match_inputs(self, inputs: Any) -> Any: ...
        def reset_metrics(self) -> None: ...

    @property
    def _whole(self) -> Model:
        return cast("Model", self)

    def evaluate(
        self,
        x: TensorLike | None = None,
        y: TensorLike | None = None,
        batch_size: int | None = None,
        verbose: int | str | bool = "auto",
        sample_weight: TensorLike | None = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return loss and metrics on data: a number, a list as `metrics_names`, or a dict.

        Arguments as in `fit`; `steps` is the number of batches, `return_dict` asks for a dict.
        """
        self._require_compiled("evaluate")
        if kwargs:
            raise ValueError(f"evaluate: arguments not recognized: {sorted(kwargs)}")
        source = make_source(
            x, y, sample_weight, names=self._names(), batch_size=batch_size, steps=steps
        )
        verbose = verbosity(verbose)
        self._sign()
        run = CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            model=self._whole,
            verbose=verbose,
            epochs=1,
            steps=source.steps,
        )
        if not self._loop_test(source, run):
            raise ValueError("evaluate: the data gave no batches")
        return self._returned(return_dict)

    def _returned(self, return_dict: bool) -> Any:
        results = self._require_compiled("evaluate").results()
        if return_dict:
            return results
        values = list(results.values())
        return values[0] if len(values) == 1 else values

    def predict(
        self,
        x: TensorLike,
        batch_size: int | None = None,
        verbose: int | str | bool = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for all samples: an array, or a list or dict for several outputs.

        Args:
            x: as in `fit`, without targets.
            batch_size: samples a step, 32 by default.
            verbose: 1 or "auto" a progress bar, 2 one line, 0 silent.
            steps: number of batches to take.
        """
        source = make_source(x, names=self._names(), batch_size=batch_size, steps=steps)
        verbose = verbosity(verbose)
        run = CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            model=self._whole,
            verbose=verbose,
            epochs=1,
            steps=source.steps,
        )
        total = None
        if hasattr(source, "samples"):
            total = min(source.samples, source.steps * source.batch_size)
        gathered: list[Any] = []
        filled = 0
        run.call("on_predict_begin", None)
        for index, batch in enumerate(source.epoch()):
            run.batch("on_predict_batch_begin", index)
            outputs = self._predict_batch(batch)
            if total is None:
                gathered.append(outputs)
            else:
                # Room for everything at once, so that large outputs are not held twice.
                if not gathered:
                    gathered = [np.empty((total, *o.shape[1:]), o.dtype) for o in outputs]
                for array, part in zip(gathered, outputs, strict=True):
                    array[filled : filled + len(part)] = part
                filled += batch.size
            run.batch("on_predict_batch_end", index)
        run.call("on_predict_end", None)
        if total is None:
            if not gathered:
                raise ValueError("predict: the data gave no batches")
            gathered = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
        return self._packed(gathered)

    def _predict_batch(self, batch: Batch) -> list[NDArray[Any]]:
        batch.ys, batch.ws = [], []
        self._prepare_inputs(batch)
        outputs: list[NDArray[Any]] = self._step("predict", batch)(batch.xs)[1]
        return outputs

    def _prepare_inputs(self, batch: Batch) -> None:
        if not self.built:
            shapes = [tuple(x.shape) for x in batch.xs]
            self._ensure_built(shapes[0] if len(shapes) == 1 else shapes)
        if self._function is not None:
            batch.xs = self._match_inputs(batch.xs)

    def _packed(self, arrays: Any) -> Any:
        structure = self._structures.get("output")
        return arrays[0] if structure is None else pack_as(structure, arrays)

    # Single batches

    def _one_batch(
        self, x: TensorLike, y: TensorLike | None = None, sample_weight: TensorLike | None = None
    ) -> Batch:
        names = self._names()
        xs = [as_array(v, "x") for v in to_list(x, names.inputs, "x")]
        ys = [None if v is None else as_array(v, "y") for v in to_list(y, names.outputs, "y")]
        ws = [
            None if v is None else as_array(v, "sample_weight")
            for v in to_list(sample_weight, names.outputs, "sample_weight")
        ]
        if not xs:
            raise ValueError("`x` holds no arrays")
        check_lengths(xs, ys, ws)
        if len(xs[0]) == 0:
            raise ValueError("`x` holds no samples")
        return Batch(xs, ys, ws)

    def train_on_batch(
        self,
        x: TensorLike,
        y: TensorLike | None = None,
        sample_weight: TensorLike | None = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Train on one batch; returns the loss, or a list or dict with the metrics.

        As in Keras 3, the values are those of this batch alone. Arguments as in `fit`;
        `return_dict` asks for a dict.
        """
        self._require_compiled("train_on_batch")
        self._sign()
        self.reset_metrics()
        self._run_batch("train", self._one_batch(x, y, sample_weight), class_weight)
        return self._returned(return_dict)

    def test_on_batch(
        self,
        x: TensorLike,
        y: TensorLike | None = None,
        sample_weight: TensorLike | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Evaluate one batch; returns as `train_on_batch`."""
        self._require_compiled("test_on_batch")
        self._sign()
        self.reset_metrics()
        self._run_batch("test", self._one_batch(x, y, sample_weight))
        return self._returned(return_dict)

    def predict_on_batch(self, x: TensorLike) -> Any:
        """Return the outputs for one batch x, (N, ...) or several inputs."""
        return self._packed(self._predict_batch(self._one_batch(x)))
