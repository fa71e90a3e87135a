"""What all architectures share: their arguments, and layers with PyTorch's arithmetic and names."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastconv import config, layers
from fastconv._graph import KerasTensor
from fastconv.applications._weights import load_weights
from fastconv.layers.arguments import int_tuple
from fastconv.layers.core import InputLayer
from fastconv.models import Model

if TYPE_CHECKING:
    from fastconv._types import Shape, TensorLike

_ARGUMENTS = """
    Args:
        include_top: with the classifier, or only the feature maps.
        weights: None for random weights, or a file: fastconv's own, a PyTorch state dict as
            .safetensors, or Keras's .weights.h5. Nothing is downloaded.
        input_tensor: symbolic tensor to build on, instead of a new input.
        input_shape: (height, width, channels), None for sizes that may vary.
        pooling: without the top, None for feature maps (N, H, W, C), "avg" or "max" for (N, C).
        classes: number of classes.
        classifier_activation: of the last layer; None for logits.
        name: name of the model.
        width: multiplier of all numbers of channels and hidden units.

    Raises:
        ValueError: an argument is out of range, the input is too small, or the weights do not fit.
"""


class Network:
    """Makes the layers of one model.

    Every layer with weights has a name of its own and the path of its counterpart in the state
    dict of the PyTorch model, which is the name itself where none is given.
    """

    def __init__(
        self, include_top: bool, classes: Any, classifier_activation: Any, width: float
    ) -> None:
        self.include_top = include_top
        self.classes = classes
        self.classifier_activation = classifier_activation
        self.width = width
        self.epsilon, self.momentum = 1e-5, 0.9  # batch normalization, as in PyTorch
        self.sources: dict[str, str] = {}  # PyTorch's path of each layer
        self.flattened: dict[
            str, tuple[Any, ...]
        ] = {}  # the maps (H, W, C) that a dense layer reads
        self.left_out: list[str] = []  # PyTorch's parts that this model does without
        self.not_keras = ""  # why Keras's weights would compute something else here

    def channels(self, count: float, divisor: int = 1) -> int:
        """Return a number of channels times the width, a multiple of `divisor`."""
        return max(1, round(count * self.width / divisor)) * divisor

    def conv(
        self,
        x: TensorLike,
        filters: int,
        kernel: Any,
        strides: Any = 1,
        *,
        name: str,
        source: Any = None,
        padding: Any = None,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
    ) -> TensorLike:
        """Convolve; `padding` zeros on every side, half the kernel where it is None."""
        kernel = int_tuple(kernel, 2, "kernel", name)
        pads = tuple(k // 2 for k in kernel) if padding is None else (padding, padding)
        same = padding is None and strides == 1
        if not same and any(pads):
            x = layers.ZeroPadding2D(pads, name=f"{name}_pad")(x)
        self.sources[name] = source or name
        return layers.Conv2D(
            filters,
            kernel,
            strides,
            padding="same" if same else "valid",
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer="he_normal",
            name=name,
        )(x)

    def depthwise(
        self,
        x: TensorLike,
        kernel: Any,
        strides: Any = 1,
        *,
        name: str,
        source: Any = None,
        padding: Any,
        depth_multiplier: int = 1,
    ) -> TensorLike:
        """Convolve each channel by itself, without bias; `padding` is Keras's."""
        self.sources[name] = source or name
        return layers.DepthwiseConv2D(
            kernel,
            strides,
            padding=padding,
            depth_multiplier=depth_multiplier,
            use_bias=False,
            depthwise_initializer="he_normal",
            name=name,
        )(x)

    def norm(self, x: TensorLike, *, name: str, source: Any = None) -> TensorLike:
        """Normalize over the batch."""
        self.sources[name] = source or name
        return layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, name=name)(x)

    def conv_norm_relu(
        self,
        x: TensorLike,
        filters: int,
        kernel: Any,
        strides: Any = 1,
        *,
        name: str,
        source: Any,
        padding: Any = None,
    ) -> TensorLike:
        """Convolve without bias, normalize, and cut negative values off."""
        x = self.conv(
            x,
            filters,
            kernel,
            strides,
            padding=padding,
            use_bias=False,
            name=f"{name}_conv",
            source=f"{source}.conv",
        )
        x = self.norm(x, name=f"{name}_bn", source=f"{source}.bn")
        return layers.ReLU(name=f"{name}_relu")(x)

    def local_response_norm(self, x: TensorLike, name: str) -> TensorLike:
        """Normalize over 5 neighbouring channels with the constants of Krizhevsky et al. 2012."""
        # Their alpha of 1e-4 multiplies the sum of squares, the layer's the mean.
        return layers.LocalResponseNormalization(5, alpha=5e-4, beta=0.75, k=2.0, name=name)(x)

    def max_pool(
        self,
        x: TensorLike,
        size: Any,
        strides: Any,
        name: str,
        *,
        padding: Any = 0,
        ceil: bool = False,
    ) -> TensorLike:
        """Pool maps that are not negative, so that zeros around them never win.

        `ceil` counts a last window that reaches over the border, PyTorch's `ceil_mode`.
        """
        sides = (padding, padding + (strides - 1 if ceil else 0))
        if any(sides):
            x = layers.ZeroPadding2D((sides, sides), name=f"{name}_pad")(x)
        return layers.MaxPooling2D(size, strides, name=name)(x)

    def flatten(self, x: TensorLike, size: Any = None, name: str = "flatten") -> TensorLike:
        """Return maps as one axis, and their shape for the dense layer that reads them.

        Maps of another size than `size` x `size` are pooled to it first.
        """
        if size is not None and tuple(x.shape[1:3]) != (size, size):
            x = layers.AdaptiveAveragePooling2D(size, name=f"{name}_pool")(x)
        return layers.Flatten(name=name)(x), tuple(x.shape[1:])

    def dense(
        self,
        x: TensorLike,
        units: int,
        *,
        name: str,
        source: Any = None,
        activation: Any = None,
        maps: Any = None,
    ) -> TensorLike:
        """Apply a dense layer.

        `maps` (height, width, channels) are what the input was before it was flattened: PyTorch's
        weights have them channels first.
        """
        self.sources[name] = source or name
        if maps is not None:
            self.flattened[name] = maps
        initializer = "he_uniform" if activation == "relu" else "glorot_uniform"
        return layers.Dense(
            units, activation=activation, kernel_initializer=initializer, name=name
        )(x)

    def classify(
        self, x: TensorLike, *, source: Any = None, name: str = "predictions"
    ) -> TensorLike:
        """Apply the last layer."""
        return self.dense(
            x, self.classes, activation=self.classifier_activation, name=name, source=source
        )

    def average_and_classify(
        self, x: TensorLike, *, source: Any = None, dropout: float = 0.0
    ) -> TensorLike:
        """Apply the top of most networks: the mean of each map, dropout, the last layer."""
        if not self.include_top:
            self.left_out.append(source or "predictions")
            return x
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        if dropout:
            x = layers.Dropout(dropout, name="dropout")(x)
        return self.classify(x, source=source)


def application(
    size: int, *, smallest: int, channels: int = 3, classes: int = 1000
) -> Callable[..., Any]:
    """Turn a function from (network, input tensor, options) to output tensors into one that
    takes Keras's arguments and returns a `Model`.

    Args:
        size: height and width of the images where none are given.
        smallest: height and width below which some layer has nothing left.
        channels, classes: defaults.
    """

    def decorate(body: Callable[..., Any]) -> Callable[..., Model]:
        def build(
            include_top: bool = True,
            weights: Any = None,
            input_tensor: Any = None,
            input_shape: Any = None,
            pooling: str | None = None,
            classes: Any = classes,
            classifier_activation: str = "softmax",
            name: str | None = None,
            *,
            width: float = 1.0,
            **options: Any,
        ) -> Model:
            owner = body.__name__
            _check(owner, include_top, weights, pooling, width)
            unknown = options.keys() - inspect.signature(body).parameters.keys()
            if unknown:
                raise TypeError(f"{owner} has no arguments {sorted(unknown)}")
            if input_tensor is None:
                if input_shape is None:
                    sizes = (size, size) if include_top else (None, None)
                    input_shape = (*sizes, channels)
                _check_shape(owner, input_shape, smallest)
                x = layers.Input(tuple(input_shape))
                inputs = x
            else:
                if not isinstance(input_tensor, KerasTensor):
                    raise ValueError(
                        f"{owner}: `input_tensor` must be a symbolic tensor, made by Input() and "
                        f"layers, received: {type(input_tensor).__name__}"
                    )
                _check_shape(owner, input_tensor.shape[1:], smallest)
                x, inputs = input_tensor, _sources_of(input_tensor)
            network = Network(include_top, classes, classifier_activation, width)
            outputs = body(network, x, **options)
            if not include_top and pooling is not None:
                kind = "Average" if pooling == "avg" else "Max"
                pool = getattr(layers, f"Global{kind}Pooling2D")
                outputs = pool(name=f"{pooling}_pool")(outputs)
            model = Model(inputs, outputs, name=name or owner.lower())
            if weights is not None:
                load_weights(model, weights, network)
            return model

        own = list(inspect.signature(body).parameters.values())[2:]
        common = list(inspect.signature(build).parameters.values())[:-1]
        functools.update_wrapper(build, body)
        build.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # functions take any attribute
            common + [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        )
        build.__doc__ = (body.__doc__ or "").rstrip() + "\n" + _ARGUMENTS
        del build.__wrapped__, build.__annotations__  # type: ignore[attr-defined] # set by update_wrapper
        return build

    return decorate


def _check(owner: str, include_top: bool, weights: Any, pooling: str | None, width: float) -> None:
    if config.image_data_format() != "channels_last":
        raise ValueError(f"{owner} needs image_data_format 'channels_last', the setting is another")
    if not isinstance(include_top, bool):
        raise TypeError(f"{owner}: `include_top` must be True or False, received: {include_top!r}")
    if weights == "imagenet":
        raise ValueError(
            f"{owner}: weights are not downloaded; pass the path of a file, for example of a "
            "PyTorch state dict saved as .safetensors (docs/applications.md tells how)"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(f'{owner}: `pooling` must be None, "avg" or "max", received: {pooling!r}')
    number = isinstance(width, (int, float)) and not isinstance(width, bool)
    if not number or not 0 < width < math.inf:
        raise ValueError(f"{owner}: `width` must be a number > 0, received: {width!r}")


def _check_shape(owner: str, shape: Shape, smallest: int) -> None:
    fits = isinstance(shape, (tuple, list)) and len(shape) == 3
    if not fits or shape[2] is None:
        raise ValueError(
            f"{owner}: `input_shape` must be (height, width, channels) with known channels, "
            f"received: {shape!r}"
        )
    for size in shape[:2]:
        if size is not None and size < smallest:
            raise ValueError(
                f"{owner} takes images of at least {smallest} x {smallest}, "
                f"received: input_shape={tuple(shape)}"
            )


def _sources_of(tensor: KerasTensor) -> Any:
    """Return the inputs that a symbolic tensor is computed from, one alone or a list."""
    found, seen, stack = [], set(), [tensor]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        node = current.history[0] if current.history else None
        if node is None or isinstance(node.layer, InputLayer):
            found.append(current)
        else:
            stack.extend(reversed(node.inputs))
    return found[0] if len(found) == 1 else found
