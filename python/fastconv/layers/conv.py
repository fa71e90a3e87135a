"""Convolutions. Kernels are HWIO as in Keras; 1-D convolution runs as 2-D with a height of 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv import activations, config, constraints, initializers, regularizers
from fastconv.layers.arguments import (
    enter_channels_last,
    from_channels_last,
    int_tuple,
    leave_channels_last,
    output_size,
    padding_mode,
    positive_int,
    to_channels_last,
    window_pads,
)
from fastconv.layers.base import Layer
from fastconv.layers.input_spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastconv._graph import Variable
    from fastconv._types import TensorLike


class BaseConv(Layer):
    """What all convolutions share: arguments, checks, data format, bias and activation."""

    rank = 2
    paddings: tuple[str, ...] = ("valid", "same")
    # Names of the kernels: each has its own initializer, regularizer and constraint.
    kernels: tuple[str, ...] = ("kernel",)
    filters: int  # of subclasses that do not say the number of output channels otherwise

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        bias_constraint: Any = None,
        parts: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        n, name = self.rank, f'layer "{self.name}"'
        self.kernel_size = int_tuple(kernel_size, n, "kernel_size", name)
        self.strides = int_tuple(strides, n, "strides", name)
        self.dilation_rate = int_tuple(dilation_rate, n, "dilation_rate", name)
        self.padding = padding_mode(padding, name, self.paddings)
        self.data_format = config.standardize_data_format(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias_constraint = constraints.get(bias_constraint)
        for kernel, (initializer, regularizer, constraint) in (parts or {}).items():
            setattr(self, f"{kernel}_initializer", initializers.get(initializer))
            setattr(self, f"{kernel}_regularizer", regularizers.get(regularizer))
            setattr(self, f"{kernel}_constraint", constraints.get(constraint))
        self.bias: Variable | None = None
        self.input_spec = InputSpec(ndim=n + 2)

    def _channels(self, input_shape: Any) -> int:
        """Return the number of input channels, which must be known."""
        channels = to_channels_last(input_shape, self.data_format)[-1]
        if channels is None:
            raise ValueError(
                f'layer "{self.name}": the channel axis of the input must be known, '
                f"received shape {tuple(input_shape)}"
            )
        axis = -1 if self.data_format == "channels_last" else 1
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return int(channels)

    def _add_kernel(self, kernel: str, shape: Sequence[int], weight_name: str | None = None) -> Any:
        return self.add_weight(
            name=weight_name or kernel,
            shape=shape,
            initializer=getattr(self, f"{kernel}_initializer"),
            regularizer=getattr(self, f"{kernel}_regularizer"),
            constraint=getattr(self, f"{kernel}_constraint"),
        )

    def _add_bias(self, size: int) -> None:
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(size,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _enter(self, inputs: TensorLike) -> Any:
        """Return the input as NHWC, a 1-D one with a height of 1."""
        x = enter_channels_last(inputs, self.data_format)
        if self.rank == 1:
            n, length, channels = x.shape
            x = x.g.reshape(x, shape=[n, 1, length, channels])
        return x

    def _leave(self, x: TensorLike) -> Any:
        if self.rank == 1:
            n, _, length, channels = x.shape
            x = x.g.reshape(x, shape=[n, length, channels])
        return leave_channels_last(x, self.data_format)

    def _attributes(self, x: TensorLike) -> dict[str, Any]:
        """Return the attributes of the graph's conv2d for an NHWC input."""
        lead = (1,) * (2 - self.rank)
        kernel, strides = lead + self.kernel_size, lead + self.strides
        dilations = lead + self.dilation_rate
        if self.padding == "causal":
            pads = [0, (kernel[1] - 1) * dilations[1], 0, 0]
        else:
            pads = window_pads(x.shape[1:3], kernel, strides, dilations, self.padding)
        return {"strides": list(strides), "pads": pads, "dilations": list(dilations)}

    def _graph_bias(self, g: Any) -> Any:
        return g.variable(self.bias) if self.use_bias else None

    def _output_channels(self, input_channels: int) -> int:
        return self.filters

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, *sizes, channels = to_channels_last(input_shape, self.data_format)
        sizes = [
            output_size(*axis, self.padding, f'layer "{self.name}"')
            for axis in zip(sizes, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        ]
        shape = (n, *sizes, self._output_channels(channels))
        return from_channels_last(shape, self.data_format)

    def get_config(self) -> dict[str, Any]:
        found = {
            **super().get_config(),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }
        for kernel in self.kernels:
            for part, module in (
                ("initializer", initializers),
                ("regularizer", regularizers),
                ("constraint", constraints),
            ):
                found[f"{kernel}_{part}"] = module.serialize(getattr(self, f"{kernel}_{part}"))
        return found


class _Conv(BaseConv):
    """Plain convolution of one or two spatial axes."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            activity_regularizer,
            bias_constraint,
            {"kernel": (kernel_initializer, kernel_regularizer, kernel_constraint)},
            **kwargs,
        )
        name = f'layer "{self.name}"'
        self.filters = positive_int(filters, "filters", name)
        self.groups = positive_int(groups, "groups", name)
        if self.filters % self.groups:
            raise ValueError(
                f"{name}: `filters` must be divisible by `groups`, "
                f"received: filters={filters}, groups={groups}"
            )
        self.kernel = None

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f'layer "{self.name}": the {channels} input channels are not divisible by '
                f"groups={self.groups}; input shape {tuple(input_shape)}"
            )
        self.compute_output_shape(input_shape)
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self._add_kernel("kernel", shape)
        self._add_bias(self.filters)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        x = self._enter(inputs)
        g = x.g
        w = g.variable(self.kernel)
        if self.rank == 1:
            w = g.reshape(w, shape=[1, *w.shape])
        y = g.conv2d(x, w, self._graph_bias(g), groups=self.groups, **self._attributes(x))
        return self.activation(self._leave(y))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


class Conv2D(_Conv):
    """2-D convolution (cross-correlation): (N, H, W, C) -> (N, H', W', filters).

    H' is ceil(H / stride) with padding="same" and
    (H - dilation * (kernel - 1) - 1) // stride + 1 with "valid". Kernel (kh, kw, C / groups,
    filters). Formulas: Dumoulin and Visin, arXiv:1603.07285.

    Args:
        filters: number of output channels.
        kernel_size: pixels, an integer or (h, w).
        strides: pixels between outputs, an integer or (h, w).
        padding: "valid" (none) or "same" (zeros around, more of them below and to the right).
        data_format: "channels_last" (N, H, W, C) or "channels_first" (N, C, H, W); None takes
            `fastconv.config.image_data_format()`.
        dilation_rate: pixels between the kernel's elements, an integer or (h, w).
        groups: parts that channels and filters fall into; each part sees its own channels only.
        activation: name or function that is applied to the result, or None.
        use_bias: whether a number is added to each output channel.
        kernel_initializer, bias_initializer: first values, by name or as an `Initializer`.
        kernel_regularizer, bias_regularizer: penalties that are added to the loss, or None.
        activity_regularizer: penalty on the output, or None.
        kernel_constraint, bias_constraint: projections after each update, or None.

    Raises:
        ValueError: sizes that are not positive, `groups` that does not divide the channels and
            filters, or a kernel larger than the input.

    Examples:
        >>> import numpy as np
        >>> layer = Conv2D(8, 3, strides=2, padding="same", activation="relu")
        >>> layer(np.zeros((1, 28, 28, 1), "float32")).shape
        (1, 14, 14, 8)
        >>> layer.kernel.shape
        (3, 3, 1, 8)
    """


class Conv1D(_Conv):
    """1-D convolution: (N, L, C) -> (N, L', filters), kernel (k, C / groups, filters).

    padding="causal" pads at the front only, so that no output depends on later inputs. The other
    arguments and the errors are those of `Conv2D`, with one number for each pair.
    """

    rank = 1
    paddings = ("valid", "same", "causal")


class _Depthwise(BaseConv):
    """Depthwise convolution of one or two spatial axes."""

    kernels = ("depthwise",)

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            activity_regularizer,
            bias_constraint,
            {"depthwise": (depthwise_initializer, depthwise_regularizer, depthwise_constraint)},
            **kwargs,
        )
        self.depth_multiplier = positive_int(
            depth_multiplier, "depth_multiplier", f'layer "{self.name}"'
        )
        self.kernel = None

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        channels = self._channels(input_shape)
        self.compute_output_shape(input_shape)
        shape = (*self.kernel_size, channels, self.depth_multiplier)
        self.kernel = self._add_kernel("depthwise", shape, "kernel")
        self._add_bias(channels * self.depth_multiplier)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        x = self._enter(inputs)
        y = depthwise(self, x, self.kernel, self._graph_bias(x.g))
        return self.activation(self._leave(y))

    def _output_channels(self, input_channels: int) -> Any:
        return None if input_channels is None else input_channels * self.depth_multiplier

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


def depthwise(layer: _Depthwise | _Separable, x: TensorLike, kernel: Any, bias: Any) -> Any:
    """Convolve each channel with its own filters; kernel (..., C, multiplier)."""
    g, channels = x.g, x.shape[-1]
    lead = (1,) * (2 - layer.rank) + layer.kernel_size
    w = g.reshape(g.variable(kernel), shape=[*lead, 1, channels * layer.depth_multiplier])
    return g.conv2d(x, w, bias, groups=channels, **layer._attributes(x))


class DepthwiseConv2D(_Depthwise):
    """Each channel convolved with `depth_multiplier` filters of its own (Howard et al. 2017).

    (N, H, W, C) -> (N, H', W', C * depth_multiplier); kernel (kh, kw, C, depth_multiplier). The
    kernel's depthwise_initializer, depthwise_regularizer and depthwise_constraint, all other
    arguments and the errors are as of `Conv2D`.
    """


class DepthwiseConv1D(_Depthwise):
    """Each channel of (N, L, C) convolved with `depth_multiplier` filters of its own.

    (N, L, C) -> (N, L', C * depth_multiplier). Arguments as of `DepthwiseConv2D`.
    """

    rank = 1


class _Separable(BaseConv):
    """Depthwise convolution followed by a 1x1 convolution."""

    kernels = ("depthwise", "pointwise")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            activity_regularizer,
            bias_constraint,
            {
                "depthwise": (depthwise_initializer, depthwise_regularizer, depthwise_constraint),
                "pointwise": (pointwise_initializer, pointwise_regularizer, pointwise_constraint),
            },
            **kwargs,
        )
        name = f'layer "{self.name}"'
        self.filters = positive_int(filters, "filters", name)
        self.depth_multiplier = positive_int(depth_multiplier, "depth_multiplier", name)
        self.depthwise_kernel = None
        self.pointwise_kernel = None

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        channels = self._channels(input_shape)
        self.compute_output_shape(input_shape)
        inner = channels * self.depth_multiplier
        self.depthwise_kernel = self._add_kernel(
            "depthwise", (*self.kernel_size, channels, self.depth_multiplier), "depthwise_kernel"
        )
        self.pointwise_kernel = self._add_kernel(
            "pointwise", (*(1,) * self.rank, inner, self.filters), "pointwise_kernel"
        )
        self._add_bias(self.filters)
        self.built = True

    def call(self, inputs: TensorLike) -> TensorLike:
        x = self._enter(inputs)
        g = x.g
        x = depthwise(self, x, self.depthwise_kernel, None)
        w = g.variable(self.pointwise_kernel)
        if self.rank == 1:
            w = g.reshape(w, shape=[1, *w.shape])
        one = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "groups": 1}
        return self.activation(self._leave(g.conv2d(x, w, self._graph_bias(g), **one)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "depth_multiplier": self.depth_multiplier,
        }


class SeparableConv2D(_Separable):
    """Depthwise convolution followed by a 1x1 convolution (Chollet 2017).

    (N, H, W, C) -> (N, H', W', filters); kernels (kh, kw, C, depth_multiplier) and
    (1, 1, C * depth_multiplier, filters), which have depthwise_initializer and
    pointwise_initializer, depthwise_regularizer and pointwise_regularizer, depthwise_constraint and
    pointwise_constraint. All other arguments and the errors are as of `Conv2D`.
    """


class SeparableConv1D(_Separable):
    """Depthwise convolution of (N, L, C) followed by a convolution of size 1: (N, L', filters).

    Arguments as of `SeparableConv2D`.
    """

    rank = 1
    paddings = ("valid", "same", "causal")
