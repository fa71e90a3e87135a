"""Inputs, dense layers, and layers that reshape, drop out or scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv import activations, config, constraints, initializers, ops, regularizers
from fastconv._graph import KerasTensor, Node
from fastconv.layers.arguments import axis_list, enter_channels_last, positive_int
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec

if TYPE_CHECKING:
    from fastconv._graph import Variable
    from fastconv._types import Shape, TensorLike


class InputLayer(Layer):
    """The entry of a model; usually made by `Input`.

    Args:
        shape: shape of one sample, None for axes of any size.
        batch_size: fixed number of samples, or None.
        dtype: type of the data given to the model; images may be "uint8" and are converted.
        batch_shape: shape with the batch axis, instead of `shape`.
        sparse, ragged, input_tensor: of Keras, not supported.
        optional: accepted for Keras code.
    """

    _any_dtype = True

    def __init__(
        self,
        shape: Shape | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Shape | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if "input_shape" in kwargs:  # Keras 2's name
            shape = kwargs.pop("input_shape")
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        if sparse or ragged or input_tensor is not None:
            raise ValueError("Input: sparse, ragged and existing tensors are not supported")
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                "Input needs either `shape` or `batch_shape`, "
                f"received: shape={shape!r}, batch_shape={batch_shape!r}"
            )
        if batch_shape is None:
            if (
                shape is None
                or isinstance(shape, (int, np.integer))
                or not hasattr(shape, "__iter__")
            ):
                raise ValueError(f"Input: `shape` must be a tuple, received: shape={shape!r}")
            batch_shape = (batch_size, *shape)
        for size in batch_shape:
            ok = size is None or (isinstance(size, (int, np.integer)) and size > 0)
            if not ok or isinstance(size, bool):
                raise ValueError(
                    "Input: sizes must be positive integers or None, "
                    f"received shape {tuple(batch_shape)}"
                )
        self.data_dtype = str(np.dtype(dtype)) if dtype is not None else None
        compute = self.data_dtype if self.data_dtype in ("float32", "float64") else None
        super().__init__(name=name, dtype=compute, **kwargs)
        self.batch_shape = tuple(None if d is None else int(d) for d in batch_shape)
        self.built = True
        tensor = KerasTensor(self.batch_shape, self.data_dtype or self.dtype, self.name)
        self._nodes.append(Node(self, (), {}, tensor))

    def call(self, inputs: TensorLike | None = None) -> TensorLike:
        return inputs

    def compute_output_shape(self, input_shape: Any = None) -> Any:
        return self.batch_shape

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": list(self.batch_shape),
            "dtype": self.data_dtype or self.dtype,
            "name": self.name,
        }


def Input(
    shape: Shape | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Shape | None = None,
    name: str | None = None,
    tensor: TensorLike | None = None,
    optional: bool = False,
) -> KerasTensor:
    """Return the symbolic input of a functional model.

    Args:
        shape: shape of one sample without the batch axis; None for axes of any size.
        batch_size: fixed number of samples, or None.
        dtype: type of the data, `floatx()` by default.
        batch_shape: shape with the batch axis, instead of `shape`.
        name: name of the input, used when data is given as a dict.
        sparse, ragged, tensor: of Keras, not supported.
        optional: accepted for Keras code.

    Raises:
        ValueError: no shape, both shapes, or sizes that are not positive.
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        ragged=ragged,
        batch_shape=batch_shape,
        input_tensor=tensor,
        name=name,
    )
    output: KerasTensor = layer.output
    return output


class Dense(Layer):
    """activation(inputs @ kernel + bias) along the last axis.

    Input (..., K), output (..., units); kernel (K, units), bias (units,).

    Args:
        units: size of the output's last axis.
        activation: name or function that is applied to the result, or None.
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer: first values, by name or as an `Initializer`.
        kernel_regularizer, bias_regularizer: penalties that are added to the loss, or None.
        activity_regularizer: penalty on the output, or None.
        kernel_constraint, bias_constraint: projections after each update, or None.
        lora_rank, lora_alpha, quantization_config: of Keras, not supported.

    Raises:
        ValueError: `units` is not a positive integer, the last axis of the input is unknown, or
            LoRA or quantization is asked for.

    Examples:
        >>> import numpy as np
        >>> Dense(10)(np.zeros((2, 64), "float32")).shape
        (2, 10)
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if lora_rank is not None or quantization_config is not None:
            raise ValueError(f"{self.name}: LoRA and quantization are not supported")
        self.units = positive_int(units, "units", self.name)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.kernel: Variable | None = None
        self.bias: Variable | None = None
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        size = input_shape[-1]
        if size is None:
            raise ValueError(
                f'layer "{self.name}": the last axis of the input must be known, '
                f"received shape {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        g = inputs.g
        bias = g.variable(self.bias) if self.use_bias else None
        return self.activation(g.dense(inputs, g.variable(self.kernel), bias))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


class Activation(Layer):
    """Applies an activation function, given by name or as a callable."""

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        return self.activation(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class Identity(Layer):
    """Returns its input."""

    def call(self, inputs: TensorLike) -> TensorLike:
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class Flatten(Layer):
    """All axes but the first as one, (N, H, W, C) -> (N, H * W * C).

    With data_format="channels_first" the channels are moved to the end first, as in Keras.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: TensorLike) -> TensorLike:
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = enter_channels_last(inputs, self.data_format)
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Any:
        rest = input_shape[1:]
        return (input_shape[0], None if None in rest else math.prod(rest))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """Each sample in another shape; one entry of `target_shape` may be -1.

    Raises:
        ValueError: the number of elements differs.
    """

    def __init__(self, target_shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        shape = axis_list(target_shape, "target_shape", f'layer "{self.name}"')
        if any(d < -1 for d in shape):
            raise ValueError(
                f'layer "{self.name}": `target_shape` must hold sizes >= 0 or one -1, '
                f"received: target_shape={target_shape!r}"
            )
        self.target_shape = tuple(shape)
        if self.target_shape.count(-1) > 1:
            raise ValueError(
                f"{self.name}: at most one entry of `target_shape` may be -1, "
                f"received: {self.target_shape}"
            )

    def _resolve(self, sample: Any) -> Any:
        count = math.prod(sample)
        known = math.prod(d for d in self.target_shape if d != -1)
        if -1 in self.target_shape:
            if known == 0 or count % known:
                raise ValueError(
                    f'layer "{self.name}": cannot reshape a sample of shape {tuple(sample)} '
                    f"into {self.target_shape}"
                )
            return tuple(count // known if d == -1 else d for d in self.target_shape)
        if count != known:
            raise ValueError(
                f'layer "{self.name}": a sample of shape {tuple(sample)} has {count} elements, '
                f"target_shape {self.target_shape} has {known}"
            )
        return self.target_shape

    def call(self, inputs: TensorLike) -> TensorLike:
        return ops.reshape(inputs, (inputs.shape[0], *self._resolve(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Any:
        if None in input_shape[1:]:
            return (input_shape[0], *(None if d == -1 else d for d in self.target_shape))
        return (input_shape[0], *self._resolve(input_shape[1:]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": list(self.target_shape)}


class Permute(Layer):
    """The axes of each sample in another order; `dims` counts from 1: (2, 1) swaps two."""

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(axis_list(dims, "dims", f'layer "{self.name}"'))
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"{self.name}: `dims` must be a permutation of 1..{len(self.dims)}, "
                f"received: dims={dims!r}"
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: TensorLike) -> TensorLike:
        return ops.transpose(inputs, (0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *(input_shape[d] for d in self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": list(self.dims)}


class Dropout(Layer):
    """Sets a share `rate` of the input to 0 while training and scales the rest by 1 / (1 - rate).

    Args:
        rate: share in [0, 1].
        noise_shape: shape of the mask, with 1 or None: 1 shares the mask along that axis.
        seed: masks are then the same in every run, whatever the process-wide seed is.

    Source: Srivastava et al. 2014.
    """

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)):
            raise ValueError(f"{self.name}: `rate` must be a number, received: rate={rate!r}")
        if not 0 <= rate <= 1:
            raise ValueError(f"{self.name}: `rate` must be in [0, 1], received: rate={rate!r}")
        self.rate = float(rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed

    def _mask_shape(self, inputs: TensorLike) -> Any:
        if self.noise_shape is None:
            return None
        if len(self.noise_shape) != inputs.ndim:
            raise ValueError(
                f'layer "{self.name}": noise_shape {self.noise_shape} and input {inputs.shape} '
                "have different ranks"
            )
        return tuple(
            d if n is None else n for n, d in zip(self.noise_shape, inputs.shape, strict=True)
        )

    def call(self, inputs: TensorLike, training: bool = False) -> TensorLike:
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return inputs * 0.0
        g = inputs.g
        seed = g.seed(fixed=self.seed is not None)
        salt = g.next_salt() + (0 if self.seed is None else int(self.seed) * 65537)
        shape = self._mask_shape(inputs)
        if shape is None:
            return g.dropout(inputs, seed, rate=self.rate, salt=salt)
        ones = g.constant(np.ones(shape), inputs.dtype)
        return inputs * g.dropout(ones, seed, rate=self.rate, salt=salt)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        noise = None if self.noise_shape is None else list(self.noise_shape)
        base = super().get_config()
        return {**base, "rate": self.rate, "seed": self.seed, "noise_shape": noise}


class SpatialDropout2D(Dropout):
    """Drops whole feature maps (Tompson et al. 2015).

    `rate` is the share of maps that become 0, `data_format` "channels_last" (N, H, W, C) or
    "channels_first" (N, C, H, W).
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype, **kwargs)
        self.data_format = config.standardize_data_format(data_format)
        self.input_spec = InputSpec(ndim=4)

    def _mask_shape(self, inputs: TensorLike) -> Any:
        n, a, _, c = inputs.shape
        return (n, 1, 1, c) if self.data_format == "channels_last" else (n, a, 1, 1)

    def get_config(self) -> dict[str, Any]:
        config_ = super().get_config()
        config_.pop("noise_shape")
        return {**config_, "data_format": self.data_format}


class Rescaling(Layer):
    """inputs * scale + offset; both numbers, or arrays that broadcast."""

    def __init__(self, scale: Any, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("scale", scale), ("offset", offset)):
            if np.asarray(value).dtype.kind not in "iuf" or not np.all(np.isfinite(value)):
                raise ValueError(
                    f'layer "{self.name}": `{name}` must be a finite number or an array of them, '
                    f"received: {name}={value!r}"
                )
        self.scale = scale
        self.offset = offset

    def call(self, inputs: TensorLike) -> TensorLike:
        if np.ndim(self.scale) == 0 and np.ndim(self.offset) == 0:
            return inputs.g.scale(inputs, alpha=float(self.scale), beta=float(self.offset))
        return inputs * np.asarray(self.scale) + np.asarray(self.offset)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class Lambda(Layer):
    """Applies a function written with `fastconv.ops`.

    It is saved by name only, never as code: to load such a model, pass the function in
    `custom_objects`.

    Args:
        function: takes and returns a tensor.
        output_shape, mask: accepted for Keras code; the shape is found by calling the function.
        arguments: dict of further keyword arguments of the function.

    Raises:
        TypeError: the function cannot be called.
        ValueError: it is a name that `custom_objects` does not hold.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        from fastconv.utils.serialization import find_custom

        if isinstance(function, str):
            found = find_custom(function)
            if found is None:
                raise ValueError(f"{self.name}: pass the function {function!r} in custom_objects")
            function = found
        if not callable(function):
            raise TypeError(f"{self.name}: `function` must be callable, received: {function!r}")
        self.function = function
        self.arguments = dict(arguments or {})

    def call(self, inputs: TensorLike) -> TensorLike:
        return self.function(inputs, **self.arguments)

    def get_config(self) -> dict[str, Any]:
        from fastconv.utils.serialization import get_registered_name

        name = get_registered_name(self.function)
        return {**super().get_config(), "function": name, "arguments": self.arguments}
