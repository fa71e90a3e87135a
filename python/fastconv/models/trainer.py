"""Training, evaluation and prediction of models."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv._graph import flatten
from fastconv._graph.tree import is_nested, pack_as
from fastconv.callbacks.base import CallbackList
from fastconv.models.arguments import (
    check_int,
    class_weights,
    due,
    split,
    unpack_validation,
    verbosity,
)
from fastconv.models.compiled import Compiled
from fastconv.models.data import ArraySource, Batch, Names, make_source
from fastconv.models.predictor import Predictor
from fastconv.models.resuming import Progress
from fastconv.models.steps import Step
from fastconv.utils.rng import draw_seed

if TYPE_CHECKING:
    from fastconv._types import TensorLike

_PLANS = 8  # plans kept: a few batch sizes, for training, evaluation and prediction
# Methods by which Keras models replace what a step does.
_OVERRIDES = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


class Trainer(Predictor):
    """The part of `Model` that knows data, losses and optimizers."""

    if TYPE_CHECKING:  # of `Model`

        @property
        def input_names(self) -> list[str]: ...
        @property
        def output_names(self) -> list[str]: ...

    def _init_trainer(self) -> None:
        self._compiled: Compiled | None = None
        self._plans: OrderedDict[tuple[Any, ...], Step] = OrderedDict()
        self._structures: dict[str, Any] = {}
        self._signature: tuple[Any, ...] = ()
        self._seed = 0
        self._progress: Progress | None = None
        self.stop_training = False
        self.history = None

    def _reset_plans(self) -> None:
        if hasattr(self, "_plans"):
            self._plans.clear()

    # compile

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str = "auto",
        auto_scale_loss: bool = True,
        recompute: bool = False,
    ) -> None:
        """Choose how the model is trained.

        Args:
            optimizer: name or instance.
            loss: name, instance or function; for several outputs a list or a dict by output name.
            loss_weights: numbers that multiply the losses, likewise.
            metrics: list of names, instances or functions; for several outputs a list of lists or
                a dict.
            weighted_metrics: metrics that take sample weights into account.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: accepted for Keras
                code, no effect.
            recompute: train in less memory and more time: only activations between a few
                segments of the network are kept, the others are computed again for the gradients
                (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). The losses
                and weights are the same bits.

        Raises:
            ValueError: an unknown name.
            TypeError: the class overrides a training step, `recompute` is no bool.
        """
        for name in _OVERRIDES:
            if hasattr(type(self), name):
                raise TypeError(
                    f"{type(self).__name__} defines {name}(), which fastconv would not call: "
                    "it compiles the step itself. Supported are custom losses, metrics and "
                    "optimizers, add_loss(), callbacks, and own loops over train_on_batch()"
                )
        self._compiled = Compiled(
            optimizer, loss, loss_weights, metrics, weighted_metrics, recompute
        )
        self._seed = draw_seed()
        self._reset_plans()
        self.stop_training = False

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""
        return self._compiled is not None

    @property
    def optimizer(self) -> Any:
        """The optimizer given to `compile`."""
        return None if self._compiled is None else self._compiled.optimizer

    @property
    def loss(self) -> Any:
        """The loss given to `compile`."""
        return None if self._compiled is None else self._compiled.user["loss"]

    @property
    def metrics(self) -> list[Any]:
        """The metric objects; known after the first batch."""
        slots = () if self._compiled is None else self._compiled.slots or ()
        return [slot.metric for slot in slots]

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` returns."""
        return [] if self._compiled is None else list(self._compiled.results())

    def reset_metrics(self) -> None:
        """Forget what `train_on_batch` and `test_on_batch` have gathered."""
        if self._compiled is not None:
            self._compiled.reset()

    def get_compile_config(self) -> Any:
        """Return the arguments of `compile` as plain data."""
        return None if self._compiled is None else self._compiled.get_config()

    def _require_compiled(self, what: str) -> Compiled:
        if self._compiled is None:
            raise ValueError(f"model '{self.name}': call compile() before {what}()")
        return self._compiled

    # Steps

    def _names(self) -> Names:
        function = self._function
        if function is None:
            compiled = self._compiled
            outputs = compiled.names if compiled is not None and compiled.names else None
            return Names(None, outputs)
        return Names(self.input_names, self.output_names)

    def _prepare(self, batch: Batch) -> None:
        """Build the model and match losses and metrics, at the first batch."""
        if not self.built:
            shapes = [tuple(x.shape) for x in batch.xs]
            self._ensure_built(shapes[0] if len(shapes) == 1 else shapes)
        if self._function is not None:
            batch.xs = self._match_inputs(batch.xs)
        compiled = self._compiled
        if compiled is not None and not compiled.names:
            compiled.match_losses(self._all_output_names(batch))

    def _all_output_names(self, batch: Batch) -> list[str]:
        if self._function is not None:
            return self.output_names
        outputs = self._infer_outputs([x.shape for x in batch.xs])
        return (
            list(outputs)
            if isinstance(outputs, dict)
            else [f"output_{i + 1}" for i in range(len(flatten(outputs)))]
        )

    def _infer_outputs(self, shapes: Any) -> Any:
        """Return the nesting of a subclassed model's outputs."""
        from fastconv._graph import KerasTensor

        tensors = [KerasTensor((None, *s[1:]), self.dtype) for s in shapes]
        traced = self._traced_shapes((tensors[0] if len(tensors) == 1 else tensors,), {})
        if isinstance(traced, dict):
            return dict.fromkeys(traced)
        if isinstance(traced, list) or (traced and isinstance(traced[0], tuple)):
            return [None] * len(traced)
        return None

    def _run_on(self, g: Any, xs: Any) -> Any:
        """Run the model on the inputs of a step."""
        if self._function is not None:
            with g.scope(self.name):
                outputs = self._function.run(xs)
        else:
            outputs = self(xs[0] if len(xs) == 1 else xs)
        self._structures["output"] = outputs if is_nested(outputs) else None
        if is_nested(outputs):
            self._structures["output"] = pack_as(outputs, [None] * len(flatten(outputs)))
        return outputs

    def _step(self, mode: str, batch: Batch) -> Step:
        key = (
            mode,
            tuple([x.shape for x in batch.xs]),
            () if mode == "predict" else tuple([None if y is None else y.shape for y in batch.ys]),
            tuple([None if w is None else w.shape for w in batch.ws]),
            self._signature,
        )
        step = self._plans.get(key)
        if step is None:
            step = self._plans[key] = Step(self._whole, mode, key[1], key[2], key[3])
            while len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return step

    def _sign(self) -> None:
        """Note what the plans of training depend on besides shapes."""
        self._signature = tuple(id(w) for w in self.trainable_weights)

    def _weights_of(
        self, compiled: Compiled, batch: Batch, class_weight: dict[int, float] | None
    ) -> None:
        """Bring sample weights, class weights and ignored classes together."""
        outputs = len(compiled.names)
        ws = list(batch.ws)
        if len(ws) == 1 and outputs > 1:
            ws *= outputs
        if class_weight is not None:
            if outputs > 1:
                raise ValueError(
                    f"`class_weight` needs a model with one output, '{self.name}' has {outputs}"
                )
            by_class = class_weights(batch.ys[0], class_weight)
            ws = [by_class if not ws or ws[0] is None else by_class * ws[0]]
        batch.ws = ws
        for i, loss in enumerate(compiled.losses):
            if loss is None or loss.ignore_class is None or i >= len(batch.ys):
                continue
            while len(batch.ws) <= i:
                batch.ws.append(None)
            batch.ws[i] = loss.merged_weights(batch.ys[i], batch.ws[i])

    def _match(self, compiled: Compiled, batch: Batch) -> None:
        """Build the model and match losses and metrics, without working on the batch."""
        self._prepare(batch)
        if compiled.slots is None:
            self._match_metrics(compiled, batch)

    def _matched_step(
        self, mode: str, batch: Batch, class_weight: dict[int, float] | None = None
    ) -> Any:
        """Bring a batch into the model's form; returns its plan and the weights for metrics."""
        compiled = self._require_compiled("fit")
        self._prepare(batch)
        if (
            batch.ws
            or class_weight is not None
            or any(loss is not None and loss.ignore_class is not None for loss in compiled.losses)
        ):
            user_ws = list(batch.ws)
            self._weights_of(compiled, batch, class_weight)
        else:
            user_ws = batch.ws
        if compiled.slots is None:
            self._match_metrics(compiled, batch)
        return self._step(mode, batch), user_ws

    def _run_batch(
        self, mode: str, batch: Batch, class_weight: dict[int, float] | None = None
    ) -> None:
        """Train or test on one batch and update losses and metrics."""
        compiled = self._require_compiled("fit")
        step, user_ws = self._matched_step(mode, batch, class_weight)
        optimizer = compiled.optimizer if mode == "train" else None
        try:
            values, outputs = step(
                batch.xs, batch.ys, batch.ws, compiled.losses, optimizer, self._seed
            )
        finally:
            # Also when Ctrl-C arrives during the step: the weights have changed by then.
            if mode == "train":
                self._constrain()
        if optimizer is not None:
            optimizer.after_step()
        compiled.total.add(float(values[0]), batch.size)
        if len(values) > 1:
            active = [i for i, loss in enumerate(compiled.losses) if loss is not None]
            for i, value in zip(active, values[1:], strict=True):
                compiled.partial[i].add(float(value), batch.size)
        if compiled.slots:
            predictions = dict(zip(step.kept, outputs, strict=True))
            weights = batch.ws if class_weight is not None else user_ws
            if len(weights) == 1 and len(compiled.names) > 1:
                weights = list(weights) * len(compiled.names)
            for slot in compiled.slots:
                i = slot.output
                weight = weights[i] if slot.weighted and i < len(weights) else None
                slot.metric.update_state(batch.ys[i], predictions[i], weight)

    def _match_metrics(self, compiled: Compiled, batch: Batch) -> None:
        shapes = self._output_shapes(batch)
        targets = [
            tuple(batch.ys[i].shape) if i < len(batch.ys) and batch.ys[i] is not None else None
            for i in range(len(shapes))
        ]
        compiled.match_metrics(targets, shapes)

    def _output_shapes(self, batch: Batch) -> list[tuple[Any, ...]]:
        if self._function is not None:
            return [t.shape for t in self._function.flat_outputs]
        # The plan for prediction tells the shapes of a subclassed model.
        return self._step("predict", Batch(batch.xs, [], [])).output_shapes

    def _constrain(self) -> None:
        for variable in self._constrained:
            variable.assign(np.asarray(variable.constraint(variable.numpy())))

    @property
    def _constrained(self) -> Any:
        known = self._structures.get("constrained")
        if known is None or known[0] != self._signature:
            found = [w for w in self.trainable_weights if w.constraint is not None]
            known = self._structures["constrained"] = (self._signature, found)
        return known[1]

    def _logs(self) -> dict[str, Any]:
        return dict(sorted(self._require_compiled("fit").results().items()))

    # fit

    def fit(
        self,
        x: TensorLike | None = None,
        y: TensorLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str | bool = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: TensorLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> Any:
        """Train the model.

        Args:
            x: array (N, ...), list or dict of arrays for several inputs, generator of batches, or
                data set with `__len__` and `__getitem__` (then `y` is in its batches).
            y: targets, likewise.
            batch_size: samples a step, 32 by default.
            epochs: number of the last epoch.
            verbose: 1 or "auto" a progress bar, 2 one line an epoch, 0 silent.
            callbacks: list of `Callback`.
            validation_split: share of the samples at the end kept for validation.
            validation_data: (x, y), (x, y, sample_weight) or a data set.
            shuffle: a new order of samples in each epoch.
            class_weight: dict from class index to weight.
            sample_weight: one weight for each sample.
            initial_epoch: number of the first epoch.
            steps_per_epoch: batches in an epoch; needed for endless generators.
            validation_steps, validation_batch_size: likewise for validation.
            validation_freq: epochs between validations, or a list of epochs (counted from 1).

        Returns:
            `History`, whose `history` maps names to one value an epoch.

        Raises:
            ValueError: not compiled, no data, sizes that differ, arguments out of range.
        """
        compiled = self._require_compiled("fit")
        check_int("epochs", epochs)
        check_int("initial_epoch", initial_epoch)
        names = self._names()
        if validation_split:
            if validation_data is not None:
                raise ValueError("give either `validation_split` or `validation_data`")
            (x, y, sample_weight), validation_data = split(
                x, y, sample_weight, validation_split, names
            )
        source = make_source(
            x,
            y,
            sample_weight,
            names=names,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=draw_seed(),
            steps=steps_per_epoch,
            repeat=True,
        )
        validate = None
        if validation_data is not None:
            vx, vy, vw = unpack_validation(validation_data)
            is_array = vy is not None or isinstance(vx, (np.ndarray, list, dict))
            size = validation_batch_size
            if size is None and is_array:
                size = batch_size

            def validate() -> Any:
                return make_source(vx, vy, vw, names=names, batch_size=size, steps=validation_steps)

            if not hasattr(vx, "__next__"):
                # Reports bad arguments and data before the first epoch, not after it.
                self._try_validation(validate(), source)
        verbose = verbosity(verbose)
        self._sign()
        self.stop_training = False
        run = CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self._whole,
            verbose=verbose,
            epochs=epochs,
            steps=source.steps,
        )
        progress = self._progress = Progress(source, run, initial_epoch)
        try:
            run.call("on_train_begin", None)
            progress.restore(self._whole, epochs, validate)
            for epoch in range(progress.epoch, epochs):
                first = progress.batch
                if self.stop_training and not first:
                    break  # as a run that is gone on from had been
                compiled.reset()
                progress.begin_epoch()
                run.call("on_epoch_begin", epoch, None)
                batches = source.epoch(first)
                if first:
                    # The epoch had begun: what the callbacks have just done counts once.
                    progress.apply(self._whole)
                if self.stop_training:
                    batches = ()
                index = first - 1
                for index, batch in enumerate(batches, first):
                    progress.note_shapes(batch)
                    run.batch("on_train_batch_begin", index)
                    self._run_batch("train", batch, class_weight)
                    progress.batch = index + 1
                    run.batch("on_train_batch_end", index, self._logs)
                    if self.stop_training:
                        break
                if index < 0:
                    if epoch == initial_epoch:
                        raise ValueError("fit: the data gave no batches")
                    break  # an epoch without data is none
                logs = self._logs()
                if validate is not None and due(epoch, validation_freq):
                    if self._loop_test(validate(), run):
                        logs.update((f"val_{k}", v) for k, v in self._logs().items())
                    elif not progress.validated:
                        raise ValueError("fit: the validation data gave no batches")
                    else:
                        warnings.warn(
                            f"the validation data ran out: epoch {epoch + 1} has no val_ values; "
                            "give a generator that does not end, and validation_steps",
                            stacklevel=2,
                        )
                    progress.validated.append(epoch)
                progress.epoch, progress.batch = epoch + 1, 0
                run.call("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
                if getattr(source, "exhausted", False):
                    if source.steps is None and epoch + 1 < epochs:
                        warnings.warn(
                            f"the data ran out: training stops after epoch {epoch + 1} of "
                            f"{epochs}; give a generator that does not end, and steps_per_epoch",
                            stacklevel=2,
                        )
                    break
            if compiled.optimizer is not None and compiled.optimizer.use_ema:
                compiled.optimizer.finalize_variable_values(self.trainable_weights)
            progress.finished = True
        finally:
            run.close()
            self._progress = None  # it holds the data
        return run.history

    def _try_validation(self, source: Any, training: Any) -> None:
        """Test one batch of validation arrays without noting the results."""
        if not isinstance(source, ArraySource) or any(y is None for y in source.ys):
            return
        if not self.built:
            if not isinstance(training, ArraySource):
                return
            # The shapes of the training data count, not those of the validation data.
            size = training.batch_size
            self._prepare(Batch([x[:size] for x in training.xs], [], []))
        batch = next(source.epoch())
        self._sign()
        step = self._matched_step("test", batch)[0]
        losses = self._require_compiled("fit").losses
        step(batch.xs, batch.ys, batch.ws, losses, None, self._seed)

    def _loop_test(self, source: Any, run: CallbackList) -> int:
        """Test on all batches and return their number."""
        compiled = self._require_compiled("evaluate")
        index = -1
        compiled.reset()
        run.call("on_test_begin", None)
        for index, batch in enumerate(source.epoch()):
            run.batch("on_test_batch_begin", index)
            self._run_batch("test", batch)
            run.batch("on_test_batch_end", index, self._logs)
        run.call("on_test_end", self._logs())
        return index + 1
