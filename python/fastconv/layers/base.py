"""`Layer`, the base class of everything that has weights or transforms tensors."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import _core, config, constraints, initializers, regularizers
from fastconv._graph import GraphBuilder, KerasTensor, Node, Tensor, Variable, flatten
from fastconv._graph.tree import is_nested, map_structure
from fastconv.layers.input_spec import InputSpec
from fastconv.utils.naming import auto_name, snake_case
from fastconv.utils.rng import draw_seed, step_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastconv._types import TensorLike

_EAGER_PLANS = 8
# Sizes that stand for unknown dimensions where an output shape is found by tracing.
_PROBES = ((2, 64), (3, 96))


class Array(np.ndarray):
    """What calling a layer or model on data returns: a NumPy array that also has `.numpy()`."""

    def numpy(self) -> NDArray[Any]:
        """Return the plain array."""
        return np.asarray(self)


def shapes_of(structure: Any) -> Any:
    """Return the structure with every tensor or array replaced by its shape."""
    return map_structure(
        lambda x: tuple(np.shape(x) if not hasattr(x, "shape") else x.shape), structure
    )


def is_shape(value: Any) -> bool:
    """Tell a shape (ints and None) from a list of shapes."""
    return isinstance(value, (tuple, list)) and all(
        d is None or isinstance(d, (int, np.integer)) for d in value
    )


class Layer:
    """A transformation of tensors with weights.

    Subclasses create weights in `build(input_shape)` with `add_weight` and define
    `call(inputs, training=False)`, which receives tensors of a graph being compiled and combines
    them with `fastconv.ops`, other layers, or operators of `inputs.g` (docs/operators.md).

    Args:
        activity_regularizer: penalty on the output.
        trainable: whether the weights are trained.
        dtype: "float32" or "float64"; None takes `fastconv.config.floatx()`.
        autocast: accepted for Keras code, no effect.
        name: unique name; None numbers layers automatically.

    Raises:
        ValueError: an unknown argument.
    """

    input_spec: InputSpec | None = None
    _init_arguments: tuple[tuple[Any, ...], dict[str, Any]]  # set when the layer is made
    _call_arguments: set[str]  # of a class, when first asked for
    _any_dtype = False  # True for layers that work in whatever type their inputs have

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        layer = super().__new__(cls)
        layer._init_arguments = (args, kwargs)
        return layer

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("batch_input_shape", kwargs.pop("batch_shape", None))
        input_dim = kwargs.pop("input_dim", None)
        input_shape = kwargs.pop("input_shape", None)
        if input_dim is not None and input_shape is None:
            input_shape = (input_dim,)
        if input_shape is not None and shape is None:
            if isinstance(input_shape, (int, np.integer)):
                input_shape = (int(input_shape),)
            shape = (None, *input_shape)
        if kwargs:
            raise ValueError(
                f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}"
            )
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(f"`name` must be a string without '/', received: name={name!r}")
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.dtype = config.standardize_dtype(dtype)
        self.autocast = autocast
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = False
        self._declared_shape = None if shape is None else tuple(shape)
        self._build_shape = None
        self._trainable = bool(trainable)
        self._weights: list[Variable] = []
        self._nodes: list[Node] = []
        self._eager_plans: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._eager_calls = 0

    # Weights

    def add_weight(
        self,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        name: str | None = None,
    ) -> Variable:
        """Create a weight of a shape (None: a number) and return the `Variable`.

        Args:
            shape: sizes of the axes.
            initializer: first values, "glorot_uniform" by default.
            dtype: None for the layer's type.
            trainable: whether training changes it.
            regularizer: penalty that is added to the loss, or None.
            constraint: projection after each update, or None.
            autocast, aggregation: accepted for Keras code, no effect.
            name: name within the layer.

        Raises:
            ValueError: the constraint does not fit the shape.
        """
        initializer = initializers.get("glorot_uniform" if initializer is None else initializer)
        name = name or "variable"
        shape = () if shape is None else tuple(int(d) for d in shape)
        constraint = constraints.get(constraint)
        if isinstance(constraint, constraints.Constraint):
            try:
                constraint.check_shape(shape)
            except ValueError as error:
                raise ValueError(f'layer "{self.name}": weight {name!r}: {error}') from None
        weight = Variable(
            initializer,
            shape=shape,
            dtype=self.dtype if dtype is None else dtype,
            trainable=trainable,
            name=name,
            regularizer=regularizers.get(regularizer),
            constraint=constraint,
            path=f"{self.name}/{name}",
        )
        self._weights.append(weight)
        return weight

    def _sublayers(self) -> list[Layer]:
        """Layers held in attributes, also inside lists, tuples and dicts, in order."""
        found: dict[int, Layer] = {}
        for key, value in self.__dict__.items():
            if key in ("_nodes", "_init_arguments", "_weights", "_eager_plans"):
                continue
            for leaf in flatten(value) if is_nested(value) else (value,):
                if isinstance(leaf, Layer) and leaf is not self:
                    found.setdefault(id(leaf), leaf)
        return list(found.values())

    def _own_weights(self) -> list[Variable]:
        known = {id(w) for w in self._weights}
        extra = [
            v for v in self.__dict__.values() if isinstance(v, Variable) and id(v) not in known
        ]
        own = self._weights + extra
        return [w for w in own if w.trainable] + [w for w in own if not w.trainable]

    @property
    def weights(self) -> list[Variable]:
        """All weights and states, without repeats."""
        found = {id(w): w for w in self._own_weights()}
        for layer in self._sublayers():
            found.update((id(w), w) for w in layer.weights if id(w) not in found)
        return list(found.values())

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that an optimizer changes."""
        if not self.trainable:
            return []
        found = {id(w): w for w in self._own_weights() if w.trainable}
        for layer in self._sublayers():
            found.update((id(w), w) for w in layer.trainable_weights if id(w) not in found)
        return list(found.values())

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights and states that an optimizer leaves alone."""
        trained = {id(w) for w in self.trainable_weights}
        return [w for w in self.weights if id(w) not in trained]

    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it also sets it for inner layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for layer in self._sublayers():
            layer.trainable = value

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of all weights and states, in the order of `weights`."""
        return [w.numpy() for w in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Set all weights and states from arrays in the order of `weights`.

        Raises:
            ValueError: another number of arrays, or a shape that does not fit; nothing is changed.
        """
        own = self.weights
        weights = [np.asarray(w) for w in weights]
        if len(own) != len(weights):
            raise ValueError(
                f'layer "{self.name}" has {len(own)} weights, '
                f"set_weights() received {len(weights)} arrays"
            )
        for variable, value in zip(own, weights, strict=True):
            if variable.shape != value.shape:
                raise ValueError(
                    f'layer "{self.name}": weight {variable.path!r} has shape {variable.shape}, '
                    f"set_weights() received an array of shape {value.shape}"
                )
        for variable, value in zip(own, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """Return the number of elements of all weights.

        Raises:
            ValueError: the layer has not been built.
        """
        if not self.built:
            raise ValueError(
                f"You tried to call `count_params` on layer '{self.name}', "
                "but the layer isn't built. Build it by calling it on an input."
            )
        return sum(w.size for w in self.weights)

    @property
    def losses(self) -> list[float]:
        """Values of the weight penalties."""
        return [float(w.regularizer(w.numpy())) for w in self.trainable_weights if w.regularizer]

    # Shapes and building

    def build(self, input_shape: Any) -> None:
        """Create the weights for an input shape (None = any size)."""
        self.built = True

    def _need_shape(self, input_shape: Any) -> None:
        """Raise ValueError where `build` was not given the shape of one input."""
        if not is_shape(input_shape) or len(input_shape) == 0:
            raise ValueError(
                f'layer "{self.name}": build() needs `input_shape` as (batch, ...), '
                f"received: input_shape={input_shape!r}"
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output shape for an input shape; None stands for any size."""
        if is_shape(input_shape):
            inputs: Any = KerasTensor(input_shape, self.dtype)
        else:
            inputs = [KerasTensor(s, self.dtype) for s in input_shape]
        return self._traced_shapes((inputs,), {})

    def _traced_shapes(self, args: Any, kwargs: Any) -> Any:
        """Find output shapes by tracing the layer twice with different sizes for None."""
        results = []
        for batch, size in _PROBES:
            g = GraphBuilder()

            def to_tensor(x: TensorLike, g: Any = g, batch: int = batch, size: Any = size) -> Any:
                if not isinstance(x, KerasTensor):
                    return x
                shape = [
                    (batch if axis == 0 else size) if d is None else d
                    for axis, d in enumerate(x.shape)
                ]
                return g.input(f"x{len(g.feeds)}", shape, self._compute_dtype(x.dtype))

            probe_args, probe_kwargs = map_structure(to_tensor, (args, kwargs))
            with g.tracing():
                results.append(self._trace(g, probe_args, probe_kwargs))
        first, second = results
        others = iter(flatten(second))
        return map_structure(
            lambda t: tuple(
                a if a == b else None for a, b in zip(t.shape, next(others).shape, strict=True)
            ),
            first,
        )

    def _compute_dtype(self, dtype: str) -> str:
        return dtype if dtype in ("float32", "float64") else self.dtype

    def _check_inputs(self, shapes: Any) -> None:
        spec = self.input_spec
        if spec is None:
            return
        if isinstance(spec, InputSpec):
            if is_shape(shapes):
                spec.check(shapes, self.name)
        else:
            for index, (one, shape) in enumerate(zip(spec, shapes, strict=False)):
                one.check(shape, self.name, index)

    def _ensure_built(self, shapes: Any) -> None:
        self._check_inputs(shapes)
        if self.built:
            return
        # The batch size of the first call says nothing about later ones.
        if is_shape(shapes):
            shapes = (None, *shapes[1:]) if shapes else shapes
        elif isinstance(shapes, (list, tuple)):
            shapes = [(None, *s[1:]) if is_shape(s) and s else s for s in shapes]
        self.build(shapes)
        self.built = True
        self._build_shape = shapes
        self._check_inputs(shapes)

    # Calling

    def call(self, inputs: TensorLike, *args: Any, **kwargs: Any) -> TensorLike:
        """Return the output for the inputs; subclasses define it."""
        raise NotImplementedError(f"layer {type(self).__name__} does not define call()")

    def __call__(self, *args: Any, **kwargs: Any) -> TensorLike:
        """Call the layer on symbolic tensors, tensors of a graph, or data: then it runs at once."""
        leaves = flatten((args, kwargs))
        if any(isinstance(leaf, KerasTensor) for leaf in leaves):
            return self._call_symbolic(args, kwargs)
        tensor = next((leaf for leaf in leaves if isinstance(leaf, Tensor)), None)
        if tensor is not None:
            return self._trace(tensor.g, args, kwargs)
        return self._call_eager(args, kwargs)

    def _first_shapes(self, args: Any, kwargs: Any) -> Any:
        inputs = args[0] if args else next(iter(kwargs.values()), None)
        for leaf in flatten(inputs):
            if not hasattr(leaf, "shape"):
                raise ValueError(
                    f'layer "{self.name}" expects tensors or arrays, received: {leaf!r}'
                )
        return shapes_of(inputs)

    def _accepts(self, name: str) -> bool:
        accepted = type(self).__dict__.get("_call_arguments")
        if accepted is None:
            parameters = inspect.signature(type(self).call).parameters.values()
            accepted = {p.name for p in parameters if p.kind != p.VAR_POSITIONAL}
            type(self)._call_arguments = accepted
        return name in accepted

    def _trace(self, g: GraphBuilder, args: Any, kwargs: Any) -> Any:
        """Add the layer to a graph and return its output tensors."""
        training = kwargs.pop("training", None) if "training" in kwargs else None
        kwargs.pop("mask", None)
        self._ensure_built(self._first_shapes(args, kwargs))
        with g.scope(self.name, training):
            for leaf in () if self._any_dtype else flatten((args, kwargs)):
                if isinstance(leaf, Tensor) and leaf.dtype not in (self.dtype, "int64"):
                    raise TypeError(
                        f'layer "{self.name}" computes in {self.dtype} and received a tensor '
                        f"of {leaf.dtype}; give the layers and the Input of a model the same dtype"
                    )
            if g.training is not None and self._accepts("training"):
                kwargs = {**kwargs, "training": g.training}
            outputs = self.call(*args, **kwargs)
            if self.activity_regularizer is not None:
                for tensor in flatten(outputs):
                    penalty = self.activity_regularizer(tensor)
                    # Per sample, so that its weight does not depend on the batch size.
                    g.losses.append(penalty * (1.0 / max(tensor.shape[0], 1)))
            g.traced(self, args, kwargs, outputs)
        return outputs

    def _call_symbolic(self, args: Any, kwargs: Any) -> Any:
        shapes = self._first_shapes(args, kwargs)
        self._ensure_built(shapes)
        tensors = [t for t in flatten((args, kwargs)) if isinstance(t, KerasTensor)]
        first = args[0] if args else next(iter(kwargs.values()))
        simple = len(tensors) == len(flatten(first))
        dtype = self._compute_dtype(tensors[0].dtype) if self._any_dtype else self.dtype
        if simple and type(self).compute_output_shape is not Layer.compute_output_shape:
            out_shapes = self.compute_output_shape(shapes)
            if is_shape(out_shapes):
                outputs: Any = KerasTensor(out_shapes, dtype, auto_name("keras_tensor"))
            elif isinstance(out_shapes, dict):
                outputs = {
                    k: KerasTensor(s, dtype, auto_name("keras_tensor"))
                    for k, s in out_shapes.items()
                }
            else:
                outputs = [KerasTensor(s, dtype, auto_name("keras_tensor")) for s in out_shapes]
        else:
            shapes = self._traced_shapes(args, kwargs)
            outputs = _tensors_from_shapes(shapes, dtype)
        self._nodes.append(Node(self, args, dict(kwargs), outputs))
        return outputs

    def _call_eager(self, args: Any, kwargs: Any) -> Any:
        """Run the layer on arrays; plans of recent shapes are kept."""
        training = kwargs.pop("training", None)  # None: each layer's own default
        training = None if training is None else bool(training)
        arrays: list[NDArray[Any]] = []

        def to_slot(leaf: Any) -> Any:
            if leaf is None or isinstance(leaf, (bool, str)):
                return leaf
            # NumPy would convert these: texts of digits to numbers, complex to the real part.
            if getattr(getattr(leaf, "dtype", None), "kind", "f") in "SUcMm" or (
                isinstance(leaf, (bytes, complex))
            ):
                raise TypeError(
                    f'layer "{self.name}" expects arrays of real numbers, received: '
                    f"{getattr(leaf, 'dtype', type(leaf).__name__)}"
                )
            try:
                array = np.ascontiguousarray(leaf, dtype=self.dtype).reshape(np.shape(leaf))
            except (TypeError, ValueError):
                raise ValueError(
                    f'layer "{self.name}" expects arrays of numbers, received: {leaf!r}'
                ) from None
            arrays.append(array)
            return _Slot(len(arrays) - 1)

        slots = map_structure(to_slot, (args, kwargs))
        if not arrays:
            raise ValueError(f'layer "{self.name}" was called without any tensor or array')
        flags = tuple(layer.trainable for layer in self._all_layers()) if training else ()
        key = (tuple(a.shape for a in arrays), repr(slots), training, flags)
        entry = self._eager_plans.get(key)
        if entry is None:
            g = GraphBuilder(training=training)
            tensors = [g.input(f"x{i}", a.shape, self.dtype) for i, a in enumerate(arrays)]
            call_args, call_kwargs = map_structure(
                lambda leaf: tensors[leaf.index] if isinstance(leaf, _Slot) else leaf, slots
            )
            with g.tracing():
                outputs = self._trace(g, call_args, call_kwargs)
            plan = _core.Plan(g.graph, [t.id for t in flatten(outputs)])
            entry = (plan, map_structure(lambda t: None, outputs), g.feeds[len(arrays) :])
            self._eager_plans[key] = entry
            while len(self._eager_plans) > _EAGER_PLANS:
                self._eager_plans.popitem(last=False)
        else:
            self._eager_plans.move_to_end(key)
        plan, structure, extras = entry
        # Layers with a seed of their own draw other numbers in each call, the same in every run.
        calls = self._eager_calls = self._eager_calls + bool(extras)
        seeds = [
            step_seed(0, calls) if name == "seed:fixed" else step_seed(draw_seed(), 0)
            for name in extras
        ]
        results = iter(plan.run(arrays + seeds))
        return map_structure(lambda _: np.asarray(next(results)).view(Array), structure)

    def _all_layers(self) -> list[Layer]:
        """This layer and all inside it."""
        return [self] + [inner for layer in self._sublayers() for inner in layer._all_layers()]

    def add_loss(self, loss: Any) -> None:
        """Add a tensor computed in `call` to the training loss."""
        from fastconv._graph import current_builder

        g = current_builder()
        if g is None:
            raise ValueError("add_loss() can only be used inside call()")
        g.losses.append(loss)

    # Symbolic inputs and outputs

    def _first_node(self) -> Node:
        if not self._nodes:
            raise AttributeError(
                f"The layer {self.name} has never been called and thus has no defined input/output."
            )
        return self._nodes[0]

    @property
    def input(self) -> TensorLike:
        """Symbolic input of the first call."""
        node = self._first_node()
        return node.args[0] if node.args else next(iter(node.kwargs.values()))

    @property
    def output(self) -> TensorLike:
        """Symbolic output of the first call."""
        return self._first_node().outputs

    @property
    def input_shape(self) -> Any:
        """Shape of `input`."""
        return shapes_of(self.input)

    @property
    def output_shape(self) -> Any:
        """Shape of `output`."""
        return shapes_of(self.output)

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make an equal layer."""
        base = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        if self.activity_regularizer is not None:
            base["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        if type(self).get_config is Layer.get_config:
            return self._recorded_config(base)
        return base

    def _recorded_config(self, base: dict[str, Any]) -> dict[str, Any]:
        """Configuration of a class without its own get_config: what its constructor was given."""
        parameters = inspect.signature(type(self).__init__).parameters
        if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
            base = {k: v for k, v in base.items() if k in parameters}
        return {**base, **self._recorded_arguments()}

    def _recorded_arguments(self) -> dict[str, Any]:
        """Constructor arguments of a class without its own get_config, where they are plain."""
        args, kwargs = self._init_arguments
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        found = {}
        for name, value in list(bound.arguments.items())[1:]:
            parameter = bound.signature.parameters[name]
            if parameter.kind == parameter.VAR_KEYWORD:
                found.update(value)
            elif parameter.kind != parameter.VAR_POSITIONAL:
                found[name] = value
        return found

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a layer from `get_config()`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class _Slot:
    """Stands for an array in the arguments of an eager call."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"@{self.index}"


def _tensors_from_shapes(shapes: Any, dtype: Any) -> Any:
    if is_shape(shapes) and not isinstance(shapes, list):
        return KerasTensor(shapes, dtype, auto_name("keras_tensor"))
    if isinstance(shapes, dict):
        return {k: _tensors_from_shapes(s, dtype) for k, s in shapes.items()}
    return [_tensors_from_shapes(s, dtype) for s in shapes]
