"""Operators of random graphs that compute: convolution, pooling, normalization, arithmetic."""

import math

import numpy as np
from hypothesis import strategies as st

from random_graphs import NotHere, Value, with_axes

# Unary operators by the operator set from which they exist.
SMOOTH = {
    **dict.fromkeys(("Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Elu", "Selu"), 13),
    **dict.fromkeys(("LeakyRelu", "HardSigmoid", "Celu", "ThresholdedRelu"), 13),
    "HardSwish": 14,
    "Mish": 18,
    "Gelu": 20,
}
EXACT = ("Relu", "Neg", "Abs", "Identity", "Dropout")
JUMPS = ("Floor", "Ceil", "Round", "Sign")


def unary(b):
    x = b.pick()
    op = b.one_of(*EXACT, *[op for op, since in SMOOTH.items() if since <= b.opset])
    if op == "ThresholdedRelu" and not x.exact:
        raise NotHere
    attrs = {}
    if op in ("LeakyRelu", "Elu", "HardSigmoid") and b.chance():
        attrs["alpha"] = b.one_of(0.1, 0.3)
    b.value(b.node(op, [x], **attrs), x.shape, x.exact and op in EXACT)


def jump(b):
    x = b.pick(lambda v: v.exact)
    b.value(b.node(b.one_of(*JUMPS), [x]), x.shape, True)


def guarded(b):
    """Functions with a domain: of |x| and the like."""
    x = b.pick()
    op = b.one_of("Sqrt", "Log", "Reciprocal", "Exp", "Pow")
    if op == "Exp":
        name = b.node("Exp", [b.node("Clip", [x, b.constant(-4, "f4"), b.constant(3, "f4")])])
    else:
        above = b.node("Add", [b.node("Abs", [x]), b.constant(0.5, "f4")])
        more = [b.constant(b.one_of(0.5, 2, 1.7, -1), "f4")] if op == "Pow" else []
        name = b.node(op, [above, *more])
    b.value(name, x.shape)


def clip(b):
    x = b.pick()
    low, high = b.constant(b.one_of(-1, 0), "f4"), b.constant(b.one_of(1, 6), "f4")
    inputs = b.one_of([x, low, high], [x, low], [x, "", high])
    b.value(b.node("Clip", inputs), x.shape, x.exact)


def activation_pattern(b):
    """SiLU and hard-swish as the exporters write them."""
    x = b.pick()
    if b.chance():
        name = b.node("Mul", [x, b.node("Sigmoid", [x])])
    elif b.chance():
        name = b.node("Mul", [x, b.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5)])
    else:
        above = b.node("Add", [x, b.constant(3, "f4")])
        clipped = b.node("Clip", [above, b.constant(0, "f4"), b.constant(6, "f4")])
        name = b.node("Div", [b.node("Mul", [x, clipped]), b.constant(6, "f4")])
    b.value(name, x.shape)


def broadcasts(first, second):
    return all(p == q or 1 in (p, q) for p, q in zip(first[::-1], second[::-1], strict=False))


def common_shape(*values):
    try:
        return np.broadcast_shapes(*(value.shape for value in values))
    except ValueError:
        raise NotHere from None


def second_operand(b, x):
    """Another value that broadcasts, or a constant of such a shape."""
    if b.chance():
        return b.pick(lambda v: broadcasts(v.shape, x.shape))
    shape = [b.one_of(1, size) if size > 1 else b.integer(1, 2) for size in x.shape]
    shape = shape[b.integer(0, len(shape)) :]
    return Value(b.noise(*shape), tuple(shape), True)


def binary(b):
    x = b.pick()
    op = b.one_of("Add", "Add", "Sub", "Mul", "Max", "Min", "Div", "PRelu", "Sum", "Mean")
    if op == "PRelu":
        shape = [b.one_of(1, size) for size in x.shape]
        slope = b.noise(*shape[b.integer(0, len(shape)) :])
        b.value(b.node(op, [x, slope]), x.shape)
        return
    y = second_operand(b, x)
    if op == "Div":
        y = Value(b.node("Add", [b.node("Abs", [y]), b.constant(0.5, "f4")]), y.shape)
    operands = [x, y] if b.chance() else [y, x]
    if op == "Div":
        operands = [x, y]
    shape = common_shape(x, y)
    if op in ("Sum", "Mean", "Max", "Min") and b.chance():
        operands.append(b.pick(lambda v: broadcasts(v.shape, shape)))
        shape = common_shape(*operands)
    exact = op in ("Max", "Min") and all(o.exact for o in operands)
    b.value(b.node(op, operands), shape, exact)


def residual(b):
    """Add two values of one shape, if possible two branches."""
    x = b.pick()
    y = b.pick(lambda v: v.shape == x.shape)
    b.value(b.node(b.one_of("Add", "Mul"), b.one_of([x, y], [y, x])), x.shape)


def where(b):
    x = b.pick()
    key = b.pick(lambda v: v.exact and broadcasts(v.shape, x.shape))
    kind = b.one_of("Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual")
    flags = b.node(kind, [key, b.constant(b.one_of(0, 0.5), "f4")])
    if b.chance():
        flags = b.node("Not", [flags])
    y = second_operand(b, x)
    shape = common_shape(x, y, key)
    b.value(b.node("Where", [flags, x, y]), shape, x.exact and y.exact)


def whole_numbers(b):
    """Through integers and back."""
    x = b.pick(lambda v: v.exact)
    dtype, kind = b.one_of(("i4", 6), ("i8", 7))
    y = b.node("Cast", [x], to=kind)
    op = b.one_of("Add", "Mul", "Sub", "Max")
    y = b.node(op, [y, b.constant(b.one_of(-1, 3), dtype)])
    b.value(b.node("Cast", [y], to=1), x.shape, True)


def arg_extremum(b):
    x = b.pick(lambda v: v.exact and v.rank > 0)
    axis, written = b.axis(x)
    keep = b.integer(0, 1)
    name = b.node(b.one_of("ArgMax", "ArgMin"), [x], axis=written, keepdims=keep)
    shape = [1] * keep
    shape = (*x.shape[:axis], *shape, *x.shape[axis + 1 :])
    b.value(b.node("Cast", [name], to=1), shape, True)


def reduce(b):
    x = b.pick(lambda v: v.rank > 0)
    op = b.one_of("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")
    axes = b.draw(st.lists(st.integers(0, x.rank - 1), min_size=1, max_size=3, unique=True))
    keep = b.integer(0, 1)
    shape = [1 if i in axes else size for i, size in enumerate(x.shape) if keep or i not in axes]
    axes = [axis - x.rank if b.chance() else axis for axis in axes]
    exact = x.exact and op in ("ReduceMax", "ReduceMin")
    b.value(with_axes(b, op, [x], axes, keepdims=keep), shape, exact)


def softmax(b):
    x = b.pick(lambda v: v.rank > 0)
    _, written = b.axis(x)
    b.value(b.node(b.one_of("Softmax", "LogSoftmax"), [x], axis=written), x.shape)


# Windows


def is_map(v):
    return v.rank in (3, 4)


def window(b, spatial, largest=3, pads_of=lambda k: k - 1, dilate=True):
    """Kernel, strides, dilations, pads that fit maps of these sizes, as attributes; the reach."""
    n = len(spatial)
    kernel, strides = b.integers(1, largest, n), b.integers(1, 3, n)
    dilations = b.integers(1, 2, n) if dilate else [1] * n
    begin, end = ([b.integer(0, pads_of(k)) for k in kernel] for _ in range(2))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    for i, size in enumerate(spatial):
        # Also refused: windows of which the padding may hold every element.
        if size + begin[i] + end[i] < reach[i] or size < dilations[i]:
            raise NotHere
    attrs = {"kernel_shape": kernel, "strides": strides}
    if set(dilations) != {1}:
        attrs["dilations"] = dilations
    return attrs, begin, end, reach


def conv(b):
    x = b.pick(is_map)
    channels, spatial = x.shape[1], x.shape[2:]
    groups = b.one_of(*[g for g in range(1, channels + 1) if channels % g == 0])
    outputs = groups * b.integer(1, 2 if groups > 1 else 6)
    attrs, begin, end, reach = window(b, spatial, 4, pads_of=lambda k: 2)
    auto = b.one_of("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    if auto != "NOTSET":
        attrs["auto_pad"] = auto
        attrs.pop("dilations", None)
        reach = attrs["kernel_shape"]
    else:
        attrs["pads"] = begin + end
    size = []
    for n, s, r, p in zip(
        spatial, attrs["strides"], reach, map(sum, zip(begin, end, strict=True)), strict=True
    ):
        if auto in ("NOTSET", "VALID"):
            size.append((n + (p if auto == "NOTSET" else 0) - r) // s + 1)
        else:
            size.append(-(-n // s))
    if min(size) < 1:
        raise NotHere
    kernel = attrs["kernel_shape"]
    fan_in = channels // groups * math.prod(kernel)
    inputs = [x, b.weights(outputs, channels // groups, *kernel, fan_in=fan_in)]
    if b.chance():
        inputs.append(b.noise(outputs))
    b.value(b.node("Conv", inputs, group=groups, **attrs), (x.shape[0], outputs, *size))


def conv_transpose(b):
    x = b.pick(is_map)
    channels, spatial = x.shape[1], x.shape[2:]
    groups = b.one_of(*[g for g in range(1, channels + 1) if channels % g == 0])
    outputs = groups * b.integer(1, 3)
    attrs, begin, end, reach = window(b, spatial, 4, pads_of=lambda k: (k - 1) // 2)
    extra = [b.integer(0, s - 1) for s in attrs["strides"]]
    if any(extra):
        attrs["output_padding"] = extra
    size = [
        (n - 1) * s + e + r - p - q
        for n, s, e, r, p, q in zip(
            spatial, attrs["strides"], extra, reach, begin, end, strict=True
        )
    ]
    if min(size) < 1:
        raise NotHere
    kernel = attrs["kernel_shape"]
    fan_in = channels // groups * math.prod(kernel)
    inputs = [x, b.weights(channels, outputs // groups, *kernel, fan_in=fan_in)]
    if b.chance():
        inputs.append(b.noise(outputs))
    name = b.node("ConvTranspose", inputs, group=groups, pads=begin + end, **attrs)
    b.value(name, (x.shape[0], outputs, *size))


def pool(b):
    x = b.pick(is_map)
    op = b.one_of("MaxPool", "AveragePool", "LpPool")
    attrs, begin, end, reach = window(b, x.shape[2:], dilate=op == "MaxPool")
    attrs["pads"] = begin + end
    ceil = op != "LpPool" and b.chance()
    if ceil:
        attrs["ceil_mode"] = 1
    if op == "AveragePool" and b.chance():
        attrs["count_include_pad"] = 1
    size = []
    for n, s, r, p, q in zip(x.shape[2:], attrs["strides"], reach, begin, end, strict=True):
        count = (n + p + q - r) // s + 1
        if ceil and (n + p + q - r) % s and count * s < n + p:
            count += 1
        size.append(count)
    b.value(b.node(op, [x], **attrs), (*x.shape[:2], *size), x.exact and op == "MaxPool")


def global_pool(b):
    x = b.pick(is_map)
    op = b.one_of("GlobalAveragePool", "GlobalMaxPool")
    b.value(b.node(op, [x]), (*x.shape[:2], *[1] * (x.rank - 2)), x.exact and op == "GlobalMaxPool")


def squeeze_and_excite(b):
    x = b.pick(lambda v: v.rank == 4)
    c = x.shape[1]
    inner = b.integer(1, 4)
    y = b.node("GlobalAveragePool", [x])
    y = b.node("Relu", [b.node("Conv", [y, b.weights(inner, c, 1, 1, fan_in=c), b.noise(inner)])])
    y = b.node("Conv", [y, b.weights(c, inner, 1, 1, fan_in=inner)])
    y = b.node(b.one_of("Sigmoid", "HardSigmoid"), [y])
    b.value(b.node("Mul", b.one_of([x, y], [y, x])), x.shape)


def resize(b):
    x = b.pick(lambda v: v.rank == 4)
    mode = b.one_of("nearest", "linear", "cubic")
    place = b.one_of("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    attrs = {"mode": mode, "coordinate_transformation_mode": place}
    if mode == "nearest":
        attrs["nearest_mode"] = b.one_of("floor", "ceil", "round_prefer_floor")
    if mode == "cubic" and b.chance():
        attrs["cubic_coeff_a"] = -0.5
    # Where scales give no whole size, onnxruntime aligns other corners than ONNX.
    by_size = place == "align_corners" or b.chance()
    if mode == "nearest" or not by_size:
        # Other scales hit numbers between which `nearest` jumps; onnxruntime then rounds its way.
        scales = [b.one_of(1.0, 2.0, 0.5, 4.0) for _ in range(2)]
        size = [math.floor(n * s) for n, s in zip(x.shape[2:], scales, strict=True)]
    else:
        size = b.integers(1, 9, 2)
    if by_size:
        inputs = [x, "", "", b.ints([*x.shape[:2], *size])]
    else:
        inputs = [x, "", b.constant([1, 1, *scales], np.float32)]
    if min(size) < 1:
        raise NotHere
    b.value(b.node("Resize", inputs, **attrs), (*x.shape[:2], *size))


# Products and normalization


def matmul(b):
    x = b.pick(lambda v: v.rank > 1)
    k = x.shape[-1]
    if b.chance():
        n = b.integer(1, 5)
        y = Value(b.weights(k, n, fan_in=k), (k, n))
    elif x.rank == 4 and b.chance():
        n = b.integer(1, 5)
        shape = (b.one_of(1, x.shape[0]), x.shape[1], k, n)
        y = Value(b.weights(*shape, fan_in=k), shape)
    else:
        other = b.pick(
            lambda v: v.rank > 1 and v.shape[-1] == k and broadcasts(v.shape[:-2], x.shape[:-2])
        )
        perm = [*range(other.rank - 2), other.rank - 1, other.rank - 2]
        shape = tuple(other.shape[p] for p in perm)
        y = Value(b.node("Transpose", [other], perm=perm), shape)
        x = Value(b.node("Mul", [x, b.constant(1 / math.sqrt(k), "f4")]), x.shape)
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    b.value(b.node("MatMul", [x, y]), (*batch, x.shape[-2], y.shape[-1]))


def gemm(b):
    x = b.pick(lambda v: v.rank == 2)
    attrs = {}
    m, k = x.shape
    if b.chance():
        attrs["transA"] = 1
        m, k = k, m
    n = b.integer(1, 6)
    shape = (k, n)
    if b.chance():
        attrs["transB"] = 1
        shape = (n, k)
    inputs = [x, b.weights(*shape, fan_in=k)]
    if b.chance():
        inputs.append(b.noise(*b.one_of((n,), (1, n), (m, 1), (m, n), (1,))))
        attrs["beta"] = b.one_of(1.0, 0.5)
    attrs["alpha"] = b.one_of(1.0, 0.7)
    b.value(b.node("Gemm", inputs, **attrs), (m, n))


def normalize(b):
    x = b.pick(lambda v: v.rank > 1 and math.prod(v.shape[2:]) > 2)
    c = x.shape[1]
    op = b.one_of(
        "BatchNormalization",
        "BatchNormalization",
        "InstanceNormalization",
        "LRN",
        "LayerNormalization",
        "GroupNormalization",
    )
    if op == "BatchNormalization":
        inputs = [b.noise(c, low=0.5), b.noise(c), b.noise(c), b.noise(c, low=0.5)]
        name = b.node(op, [x, *inputs], epsilon=b.one_of(1e-5, 1e-3))
    elif op == "LRN" and x.rank == 4:
        name = b.node(op, [x], size=b.one_of(1, 3, 5), alpha=0.1, beta=0.75, bias=1.0)
    elif op == "InstanceNormalization" and x.rank > 2:
        name = b.node(op, [x, b.noise(c), b.noise(c)], epsilon=0.1)
    elif op == "LayerNormalization" and b.opset >= 17:
        axis = b.integer(1, x.rank - 1)
        shape = x.shape[axis:]
        inputs = [b.noise(*shape)] + ([b.noise(*shape)] if b.chance() else [])
        name = b.node(op, [x, *inputs], axis=axis, epsilon=0.1)
    elif op == "GroupNormalization" and b.opset >= 21 and x.rank > 2:
        groups = b.one_of(*[g for g in range(1, c + 1) if c % g == 0])
        name = b.node(op, [x, b.noise(c), b.noise(c)], num_groups=groups, epsilon=0.1)
    else:
        raise NotHere
    b.value(name, x.shape)


COMPUTING = [
    *(conv, conv, conv, conv_transpose, pool, pool, global_pool, squeeze_and_excite, resize),
    *(unary, unary, jump, guarded, clip, activation_pattern, binary, binary, residual, residual),
    *(where, whole_numbers, arg_extremum, reduce, softmax, matmul, gemm, normalize, normalize),
]
