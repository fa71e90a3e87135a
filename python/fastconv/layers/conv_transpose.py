"""Transposed convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastconv.layers.arguments import (
    from_channels_last,
    int_tuple,
    positive_int,
    same_pads,
    to_channels_last,
)
from fastconv.layers.conv import BaseConv

if TYPE_CHECKING:
    from fastconv._types import TensorLike


class _ConvTranspose(BaseConv):
    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: Any = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = int_tuple(output_padding, self.rank, "output_padding", name, 0)
            if any(p >= s for p, s in zip(self.output_padding, self.strides, strict=True)):
                raise ValueError(
                    f"{name}: `output_padding` must be smaller than `strides`, received: "
                    f"output_padding={output_padding!r}, strides={strides!r}"
                )
        self.kernel = None

    def build(self, input_shape: Any) -> None:
        self._need_shape(input_shape)
        channels = self._channels(input_shape)
        self.kernel = self._add_kernel("kernel", (*self.kernel_size, self.filters, channels))
        self._add_bias(self.filters)
        self.built = True

    def _output_size(self, axis: int, size: Any) -> Any:
        if size is None:
            return None
        stride = self.strides[axis]
        kernel = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
        if self.output_padding is None:
            if self.padding == "same":
                return size * stride
            return size * stride + max(kernel - stride, 0)
        inner = 2 * (kernel // 2) if self.padding == "same" else 0
        return (size - 1) * stride + kernel - inner + self.output_padding[axis]

    def call(self, inputs: TensorLike) -> TensorLike:
        x = self._enter(inputs)
        g = x.g
        lead = 2 - self.rank
        out, begins, ends = [1] * lead, [0] * lead, [0] * lead
        for axis in range(self.rank):
            size = self._output_size(axis, x.shape[1 + lead + axis])
            before, after = 0, 0
            if self.padding == "same":
                window = self.kernel_size[axis], self.strides[axis], self.dilation_rate[axis]
                before, after = same_pads(size, *window)
            out.append(size)
            begins.append(before)
            ends.append(after)
        w = g.variable(self.kernel)
        if self.rank == 1:
            w = g.reshape(w, shape=[1, *w.shape])
        y = g.conv_transpose2d(
            x,
            w,
            self._graph_bias(g),
            strides=[1] * lead + list(self.strides),
            pads=begins + ends,
            dilations=[1] * lead + list(self.dilation_rate),
            groups=1,
            output_size=out,
        )
        return self.activation(self._leave(y))

    def compute_output_shape(self, input_shape: Any) -> Any:
        n, *sizes, _ = to_channels_last(input_shape, self.data_format)
        sizes = [self._output_size(axis, size) for axis, size in enumerate(sizes)]
        return from_channels_last((n, *sizes, self.filters), self.data_format)

    def get_config(self) -> dict[str, Any]:
        padding = None if self.output_padding is None else list(self.output_padding)
        return {**super().get_config(), "filters": self.filters, "output_padding": padding}


class Conv2DTranspose(_ConvTranspose):
    """Transposed 2-D convolution, the gradient of Conv2D to its input (arXiv:1603.07285, part 4).

    (N, H, W, C) -> (N, H', W', filters); kernel (kh, kw, filters, C). H' is H * stride with
    padding="same" and H * stride + max(kernel - stride, 0) with "valid"; with `output_padding` p
    it is (H - 1) * stride + kernel - 2 * pad + p, where pad is kernel // 2 for "same", else 0.

    The other arguments are those of `layers.Conv2D`.

    Raises:
        ValueError: as of Conv2D, or an `output_padding` that is not smaller than the strides.
    """


class Conv1DTranspose(_ConvTranspose):
    """Transposed 1-D convolution: (N, L, C) -> (N, L', filters), kernel (k, filters, C).

    Arguments as of `Conv2DTranspose`, with one number for each pair.
    """

    rank = 1
