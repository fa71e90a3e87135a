"""`Model`: a functional or subclassed network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastconv._graph import KerasTensor, flatten
from fastconv._graph.tree import is_nested
from fastconv.layers.base import Layer, is_shape, shapes_of
from fastconv.models.function import FunctionGraph
from fastconv.models.trainer import Trainer
from fastconv.utils.naming import auto_name

if TYPE_CHECKING:
    from fastconv._types import PathLike, TensorLike


class Model(Trainer, Layer):
    """A network that can be trained, saved and used as a layer.

    Three ways: `Model(inputs, outputs)` from symbolic tensors, `Sequential([...])`, or a subclass
    that makes layers in `__init__` and calls them in `call(inputs)`.

    Args:
        inputs: symbolic tensors made by `Input`, also in a list or dict.
        outputs: symbolic tensors computed from them.
        name: name of the model.

    Raises:
        ValueError: an output does not depend on the given inputs only.
    """

    _any_dtype = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        function = None
        if args and len(args) <= 3 and isinstance(flatten(args[0])[0], KerasTensor):
            kwargs.update(zip(("inputs", "outputs", "name"), args, strict=False))
            args = ()
        if args:
            raise TypeError(f"{type(self).__name__} takes keyword arguments, received: {args}")
        if "inputs" in kwargs or "outputs" in kwargs:
            if "inputs" not in kwargs or "outputs" not in kwargs:
                raise TypeError("Model needs both `inputs` and `outputs`")
            function = FunctionGraph(_alone(kwargs.pop("inputs")), _alone(kwargs.pop("outputs")))
            if type(self) is Model and kwargs.get("name") is None:
                kwargs["name"] = auto_name("functional")
        trainable = kwargs.pop("trainable", True)
        Layer.__init__(self, **kwargs)
        self._init_trainer()
        self._functional: FunctionGraph | None = None
        if function is not None:
            self._set_function(function)
        if not trainable:
            self.trainable = False

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Layer) and "_nodes" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}.__init__ must call super().__init__() before it sets layers"
            )
        super().__setattr__(name, value)

    def _set_function(self, function: FunctionGraph) -> None:
        self._functional = function
        self.built = True
        dtypes = [self._compute_dtype(t.dtype) for t in function.flat_inputs]
        self.dtype = dtypes[0]

    @property
    def _function(self) -> FunctionGraph | None:
        return self._functional

    def _require_function(self, what: str) -> FunctionGraph:
        function = self._function
        if function is None:
            raise AttributeError(
                f"model '{self.name}' has no defined {what}: it has not been built yet, or it is "
                "a subclass with its own call()"
            )
        return function

    # Structure

    @property
    def layers(self) -> list[Layer]:
        """The layers, without those inside inner models."""
        if self._function is not None:
            return list(self._function.layers)
        return super()._sublayers()

    def _sublayers(self) -> Any:
        return self.layers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its index.

        Raises:
            ValueError: there is none, or both or neither were given.
        """
        if (name is None) == (index is None):
            raise ValueError("get_layer needs either a name or an index")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"layer {index} was requested, model '{self.name}' has {len(layers)} layers"
                )
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"no such layer: {name}. Existing layers are: {[layer.name for layer in layers]}"
        )

    @property
    def inputs(self) -> list[Any]:
        """Symbolic inputs."""
        return list(self._require_function("inputs").flat_inputs)

    @property
    def outputs(self) -> list[Any]:
        """Symbolic outputs."""
        return list(self._require_function("outputs").flat_outputs)

    @property
    def input(self) -> TensorLike:
        """Symbolic input, in its nesting."""
        return self._require_function("input").inputs

    @property
    def output(self) -> TensorLike:
        """Symbolic output, in its nesting."""
        return self._require_function("output").outputs

    @property
    def input_shape(self) -> Any:
        """Shape of `input`."""
        return shapes_of(self.input)

    @property
    def output_shape(self) -> Any:
        """Shape of `output`."""
        return shapes_of(self.output)

    @property
    def input_names(self) -> list[str]:
        """Names by which data can be given as a dict."""
        return [layer.name for layer in self._require_function("inputs").input_layers]

    @property
    def output_names(self) -> list[str]:
        """Names of outputs for losses, metrics and targets given as dicts."""
        function = self._require_function("outputs")
        if isinstance(function.outputs, dict):
            return list(function.outputs)
        names: list[str] = []
        for tensor in function.flat_outputs:
            name = tensor.history[0].layer.name
            names.append(name if name not in names else f"{name}_{len(names)}")
        return names

    # Calling

    def call(self, inputs: TensorLike, training: bool | None = None) -> TensorLike:
        """Run the layers; subclasses define their own."""
        function = self._function
        if function is None:
            raise NotImplementedError(
                f"model {type(self).__name__} does not define call() and was not made from "
                "inputs and outputs"
            )
        return function.run(self._match_inputs(inputs))

    def _match_inputs(self, inputs: TensorLike) -> list[Any]:
        """Return inputs in the order of the model, with the rank the model wants."""
        function = self._require_function("inputs")
        if isinstance(inputs, dict):
            names = self.input_names
            keys = list(function.inputs) if isinstance(function.inputs, dict) else names
            if not all(k in inputs for k in keys):
                keys = names
            missing = [k for k in keys if k not in inputs]
            if missing:
                raise ValueError(
                    f"model '{self.name}' has inputs {keys}, missing: {missing}, "
                    f"received: {list(inputs)}"
                )
            flat = [inputs[k] for k in keys]
        else:
            flat = flatten(inputs)
        if len(flat) != len(function.flat_inputs):
            raise ValueError(
                f"model '{self.name}' has {len(function.flat_inputs)} "
                f"{'input' if len(function.flat_inputs) == 1 else 'inputs'} "
                f"({self.input_names}), received {len(flat)}"
            )
        return [
            self._match_one(i, x, t)
            for i, (x, t) in enumerate(zip(flat, function.flat_inputs, strict=True))
        ]

    def _match_one(self, index: int, x: TensorLike, wanted: KerasTensor) -> Any:
        shape = tuple(x.shape)
        if _fits(shape, wanted.shape):
            return x
        from fastconv import ops

        rank = len(wanted.shape)
        # As in Keras, a missing or surplus last axis of size 1 is forgiven.
        if len(shape) == rank - 1 and wanted.shape[-1] == 1:
            x = ops.expand_dims(x, -1)
        elif len(shape) == rank + 1 and shape[-1] == 1:
            x = ops.squeeze(x, -1)
        if not _fits(x.shape, wanted.shape):
            raise ValueError(
                f"input {index} ('{self.input_names[index]}') of model '{self.name}' expects "
                f"shape {wanted.shape}, received shape {shape}"
            )
        return x

    def build(self, input_shape: Any = None) -> None:
        """Create the weights of a model whose input shape was not known, for a shape with batch."""
        if self.built and self._function is not None:
            return
        if input_shape is None:
            raise ValueError(f"model '{self.name}': build() needs an input_shape")
        if is_shape(input_shape):
            inputs: Any = KerasTensor((None, *input_shape[1:]), self.dtype)
        else:
            inputs = [KerasTensor((None, *s[1:]), self.dtype) for s in input_shape]
        if type(self).call is Model.call:
            raise ValueError(f"model '{self.name}' has no layers to build")
        if not getattr(self, "_building", False):
            # Tracing calls build() again through Layer._ensure_built.
            self._building = True
            try:
                self._traced_shapes((inputs,), {})
            finally:
                self._building = False
        self.built = True
        self._build_shape = input_shape

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output shape for an input shape; None stands for any size."""
        function = self._function
        if function is not None and is_shape(input_shape) and is_shape(self.input_shape):
            own = self.input_shape
            same = len(own) == len(input_shape) and tuple(own[1:]) == tuple(input_shape[1:])
            if same and is_shape(self.output_shape):
                return (input_shape[0], *self.output_shape[1:])
        return super().compute_output_shape(input_shape)

    def _call_symbolic(self, args: Any, kwargs: Any) -> Any:
        function = self._function
        single = function is not None and not is_nested(function.outputs)
        if single and is_shape(self._first_shapes(args, kwargs)):
            return super()._call_symbolic(args, kwargs)
        # Tracing keeps lists and dicts of outputs as they are.
        return self._call_symbolic_traced(args, kwargs)

    def _call_symbolic_traced(self, args: Any, kwargs: Any) -> Any:
        from fastconv._graph import Node
        from fastconv.layers.base import _tensors_from_shapes

        self._ensure_built(self._first_shapes(args, kwargs))
        tensors = [t for t in flatten((args, kwargs)) if isinstance(t, KerasTensor)]
        shapes = self._traced_shapes(args, kwargs)
        outputs = _tensors_from_shapes(shapes, self._compute_dtype(tensors[0].dtype))
        self._nodes.append(Node(self, args, dict(kwargs), outputs))
        return outputs

    # Configuration and files

    def get_config(self) -> dict[str, Any]:
        if type(self).get_config is Model.get_config and self._function is None:
            return self._recorded_config({"name": self.name, "trainable": self._trainable})
        base = {"name": self.name, "trainable": self._trainable}
        return {**base, **self._require_function("configuration").get_config()}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Any:
        """Make a model from `get_config()`, with new weights.

        `custom_objects` holds own classes and functions by name.
        """
        config = dict(config)
        if "nodes" not in config:
            return cls(**config)
        inputs, outputs = FunctionGraph.tensors_from_config(config, custom_objects)
        model = cls(inputs=inputs, outputs=outputs, name=config.get("name"))
        model._trainable = config.get("trainable", True)
        return model

    def to_json(self, **kwargs: Any) -> str:
        """Return the configuration as JSON text; `kwargs` go to `json.dumps`."""
        from fastconv.utils.serialization import serialize_keras_object

        return json.dumps(serialize_keras_object(self), **kwargs)

    def save(
        self,
        filepath: PathLike,
        overwrite: bool = True,
        zipped: bool | None = None,
        include_optimizer: bool = True,
        **kwargs: Any,
    ) -> None:
        """Write configuration, weights and training state into one file.

        The file is safetensors; it is written beside its name and then renamed.

        Args:
            filepath: path of the file, usually `*.fastconv`.
            overwrite: whether a file that is there may be replaced.
            zipped: of Keras, accepted.
            include_optimizer: also write the optimizer's state.

        Raises:
            FileExistsError: the file exists and `overwrite` is False.
        """
        from fastconv.models.saving import save_model

        save_model(self, filepath, overwrite=overwrite, include_optimizer=include_optimizer)

    def save_weights(
        self, filepath: PathLike, overwrite: bool = True, max_shard_size: Any = None
    ) -> None:
        """Write the weights into a safetensors file, beside its name and then renamed.

        Args:
            filepath: path of the file.
            overwrite: whether a file that is there may be replaced.
            max_shard_size: of Keras, accepted; there is always one file.

        Raises:
            FileExistsError: the file exists and `overwrite` is False.
        """
        from fastconv.models.saving import save_weights

        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Read weights written by `save_weights` or `save`, or by Keras.

        Keras's files (`.keras`, `.weights.h5`, `.h5`) need h5py; their layers are matched by name,
        or by their places where names differ.

        Args:
            filepath: path of the file.
            skip_mismatch: leave out layers whose shapes do not fit.

        Raises:
            ValueError: names or shapes do not fit (unless `skip_mismatch`); nothing is changed.
        """
        from fastconv.models.saving import load_weights

        load_weights(self, filepath, skip_mismatch)

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[..., Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
        show_counts: bool = False,
        input_shape: Any = None,
    ) -> None:
        """Print a table of the layers, their output shapes and numbers of parameters.

        Args:
            line_length: width in characters; by default as wide as needed, at most the terminal.
            positions: accepted for Keras code, no effect.
            print_fn: called with the whole text instead of printing it.
            expand_nested: also list the layers inside inner models.
            show_trainable: tell which layers are trained.
            layer_range: names of the first and last layer to show.
            show_counts: also list multiply-adds, memory of the outputs at batch 1 and receptive
                field of each layer; `fastconv.utils.count` says what is counted.
            input_shape: for `show_counts`, the shape of one sample where the model leaves it open.
        """
        from fastconv.models.summary import print_summary

        print_summary(
            self,
            line_length,
            positions,
            print_fn,
            expand_nested,
            show_trainable,
            layer_range,
            show_counts,
            input_shape,
        )

    def count_params(self) -> int:
        if not self.built:
            raise ValueError(
                f"model '{self.name}' has not been built; call build() or give it data first"
            )
        return sum(w.size for w in self.weights)

    @property
    def losses(self) -> list[float]:
        """Values of the weight penalties."""
        return [float(w.regularizer(w.numpy())) for w in self.trainable_weights if w.regularizer]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _alone(tensors: Any) -> Any:
    """Return the tensor of a list of one: as in Keras, such a model takes and gives arrays."""
    single = isinstance(tensors, (list, tuple)) and len(tensors) == 1
    return tensors[0] if single else tensors


def _fits(shape: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """Whether sizes are equal where both are known."""
    if len(shape) != len(wanted):
        return False
    for have, want in zip(shape, wanted, strict=True):
        if want is not None and have is not None and have != want:
            return False
    return True
