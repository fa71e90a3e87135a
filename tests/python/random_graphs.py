"""Random small ONNX graphs, valid by construction: the builder, and operators that move elements.

`random_operators` has those that compute.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

LARGEST = 20_000  # elements of a value


@dataclass(frozen=True)
class Value:
    """A float32 value of the graph at the first of its input shapes.

    Attributes:
        exact: no rounding has happened yet, so that operators with jumps may follow.
    """

    name: str
    shape: tuple[int, ...]
    exact: bool = False

    @property
    def rank(self):
        return len(self.shape)


class NotHere(Exception):
    """An operator finds no operand that fits it."""


class Builder:
    """A graph under construction; operators draw their attributes from it."""

    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**20), label="seed"))
        self.opset = self.one_of(13, 17, 18, 21)
        self.nodes = []
        self.constants = {}
        self.values = []

    # Drawing

    def integer(self, low, high):
        return self.draw(st.integers(low, high))

    def integers(self, low, high, count):
        return [self.integer(low, high) for _ in range(count)]

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def chance(self):
        return self.draw(st.booleans())

    def pick(self, fits=lambda value: True):
        """One of the values that fit, the latest being the simplest choice."""
        found = [value for value in reversed(self.values) if fits(value)]
        if not found:
            raise NotHere
        return self.one_of(*found)

    def axis(self, value):
        """An axis, as a number from 0 and as the one that is written into the model."""
        if not value.rank:
            raise NotHere
        axis = self.integer(0, value.rank - 1)
        return axis, axis - value.rank if self.chance() else axis

    # Adding

    def name(self):
        return f"v{len(self.nodes)}_{len(self.constants)}"

    def constant(self, array, dtype=None):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def ints(self, numbers):
        return self.constant(list(numbers), np.int64)

    def noise(self, *shape, low=-2.0, high=2.0):
        return self.constant(self.rng.uniform(low, high, shape), np.float32)

    def weights(self, *shape, fan_in):
        spread = 1 / np.sqrt(max(fan_in, 1))
        return self.constant(self.rng.normal(0, spread, shape), np.float32)

    def node(self, op, inputs, outputs=1, **attrs):
        """Add a node; returns the name of its first output, or the names of all."""
        names = [f"{self.name()}_{i}" for i in range(outputs)]
        inputs = [i.name if isinstance(i, Value) else i for i in inputs]
        self.nodes.append((op, inputs, names, attrs))
        return names[0] if outputs == 1 else names

    def value(self, name, shape, exact=False):
        shape = tuple(int(size) for size in shape)
        if np.prod(shape) > LARGEST:
            raise NotHere
        self.values.append(Value(name, shape, exact))
        return self.values[-1]


def with_axes(b, op, inputs, axes, **attrs):
    """A node whose axes are an input in newer operator sets and an attribute before."""
    since = {"ReduceSum": 13, "Squeeze": 13, "Unsqueeze": 13}.get(op, 18)
    if b.opset >= since:
        return b.node(op, [*inputs, b.ints(axes)], **attrs)
    return b.node(op, inputs, axes=list(axes), **attrs)


def transpose(b):
    x = b.pick(lambda v: v.rank > 1)
    perm = b.draw(st.permutations(range(x.rank)))
    b.value(b.node("Transpose", [x], perm=perm), [x.shape[p] for p in perm], x.exact)


def reshape(b):
    """Merge neighbouring axes and split others; one size may be -1 or, where it stays, 0."""
    x = b.pick(lambda v: v.rank > 0)
    shape = list(x.shape)
    for _ in range(b.integer(1, 3)):
        i = b.integer(0, len(shape) - 1)
        if b.chance() and i + 1 < len(shape):
            shape[i : i + 2] = [shape[i] * shape[i + 1]]
        elif len(shape) < 5:
            factor = b.one_of(*[d for d in (1, 2, 3, 4, 6) if shape[i] % d == 0])
            shape[i : i + 1] = [shape[i] // factor, factor]
    written = list(shape)
    if b.chance():
        written[b.integer(0, len(shape) - 1)] = -1
    for i in range(min(x.rank, len(shape))):
        if shape[i] == x.shape[i] and written[i] >= 0 and b.chance():
            written[i] = 0
    b.value(b.node("Reshape", [x, b.ints(written)]), shape, x.exact)


def flatten(b):
    x = b.pick(lambda v: v.rank > 0)
    axis = b.integer(0, x.rank)
    shape = np.prod(x.shape[:axis]), np.prod(x.shape[axis:])
    b.value(b.node("Flatten", [x], axis=axis), shape, x.exact)


def squeeze(b):
    x = b.pick(lambda v: 1 in v.shape)
    axis = b.one_of(*[i for i, size in enumerate(x.shape) if size == 1])
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    b.value(with_axes(b, "Squeeze", [x], [axis]), shape, x.exact)


def unsqueeze(b):
    x = b.pick(lambda v: v.rank < 5)
    axis = b.integer(0, x.rank)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    b.value(with_axes(b, "Unsqueeze", [x], [axis]), shape, x.exact)


def concat(b):
    x = b.pick(lambda v: v.rank > 0)
    axis, written = b.axis(x)

    def fits(v):
        return v.rank == x.rank and all(
            i == axis or v.shape[i] == x.shape[i] for i in range(x.rank)
        )

    parts = [x]
    for _ in range(b.integer(1, 3)):
        if b.chance():
            parts.append(b.pick(fits))
        else:
            size = b.integer(1, 3)
            shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
            parts.append(Value(b.noise(*shape), shape, True))
    if b.chance():
        parts = parts[::-1]
    size = sum(part.shape[axis] for part in parts)
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    b.value(b.node("Concat", parts, axis=written), shape, all(part.exact for part in parts))


def split(b):
    x = b.pick(lambda v: max(v.shape, default=0) > 1)
    axis, written = b.axis(x)
    size = x.shape[axis]
    if b.chance():
        count = b.one_of(*[n for n in (1, 2, 3, 4) if size % n == 0])
        sizes = [size // count] * count
        attrs = {"num_outputs": count} if b.opset >= 18 else {}
        names = b.node("Split", [x], count, axis=written, **attrs)
    else:
        first = b.integer(0, size)
        sizes = [first, size - first]
        if min(sizes) < 1:
            raise NotHere
        names = b.node("Split", [x, b.ints(sizes)], 2, axis=written)
    names = [names] if isinstance(names, str) else names
    for name, part in zip(names, sizes, strict=True):
        b.value(name, (*x.shape[:axis], part, *x.shape[axis + 1 :]), x.exact)


def slice_(b):
    x = b.pick(lambda v: v.rank > 0)
    axes = b.draw(st.lists(st.integers(0, x.rank - 1), min_size=1, max_size=3, unique=True))
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in axes:
        size = x.shape[axis]
        step = b.one_of(1, 1, 2, 3, -1, -2)
        start, end = sorted(b.integers(0, size, 2))
        if step < 0:
            start, end = end - 1, start - 1
        taken = len(range(start, end, step))
        if taken < 1:
            raise NotHere
        shape[axis] = taken
        if end == -1:
            end = -size - 1
        elif b.chance():
            end = end - size if end < size else 2**31 - 1
        starts.append(start - size if b.chance() else start)
        ends.append(end)
        steps.append(step)
    inputs = [x, b.ints(starts), b.ints(ends), b.ints(axes), b.ints(steps)]
    b.value(b.node("Slice", inputs), shape, x.exact)


def gather(b):
    x = b.pick(lambda v: v.rank > 0)
    axis, written = b.axis(x)
    size = x.shape[axis]
    shape = b.integers(1, 3, b.integer(0, 2))
    if x.rank - 1 + len(shape) > 5:
        raise NotHere
    indices = b.constant(b.rng.integers(-size, size, shape), np.int64)
    name = b.node("Gather", [x, indices], axis=written)
    b.value(name, (*x.shape[:axis], *shape, *x.shape[axis + 1 :]), x.exact)


def expand(b):
    x = b.pick(lambda v: v.rank < 5)
    shape = [b.integer(1, 3) if size == 1 else size for size in x.shape]
    shape = b.integers(1, 3, b.integer(0, 1)) + shape
    written = [
        1 if size == shape[-i] and b.chance() else shape[-i]
        for i, size in zip(
            range(len(shape), 0, -1), (0,) * (len(shape) - x.rank) + x.shape, strict=True
        )
    ]
    b.value(b.node("Expand", [x, b.ints(written)]), shape, x.exact)


def tile(b):
    x = b.pick(lambda v: v.rank > 0)
    repeats = b.integers(1, 2, x.rank)
    shape = [size * n for size, n in zip(x.shape, repeats, strict=True)]
    b.value(b.node("Tile", [x, b.ints(repeats)]), shape, x.exact)


def pad(b):
    x = b.pick(lambda v: v.rank > 0)
    mode = b.one_of("constant", "constant", "reflect", "edge")
    limits = [min(2, size - 1) if mode == "reflect" else 2 for size in x.shape]
    begin, end = ([b.integer(0, limit) for limit in limits] for _ in range(2))
    if mode == "constant" and b.chance():
        axis = b.integer(0, x.rank - 1)
        begin[axis] = -min(1, x.shape[axis] - 1)
    inputs = [x, b.ints(begin + end)]
    if mode == "constant" and b.chance():
        inputs.append(b.constant(b.one_of(0.0, -1.5, 2.0), np.float32))
    shape = [sum(parts) for parts in zip(x.shape, begin, end, strict=True)]
    b.value(b.node("Pad", inputs, mode=mode), shape, x.exact)


def depth_to_space(b):
    x = b.pick(lambda v: v.rank == 4 and v.shape[1] % 4 == 0)
    n, c, h, w = x.shape
    name = b.node("DepthToSpace", [x], blocksize=2, mode=b.one_of("DCR", "CRD"))
    b.value(name, (n, c // 4, 2 * h, 2 * w), x.exact)


def space_to_depth(b):
    x = b.pick(lambda v: v.rank == 4 and v.shape[2] % 2 == 0 and v.shape[3] % 2 == 0)
    n, c, h, w = x.shape
    b.value(b.node("SpaceToDepth", [x], blocksize=2), (n, 4 * c, h // 2, w // 2), x.exact)


# Shapes that are computed in the graph


def sizes_of(b, x, first, last):
    """Sizes [first, last) of a value, as the exporters compute them."""
    shape = b.node("Shape", [x])
    if b.chance():
        return b.node("Slice", [shape, b.ints([first]), b.ints([last])])
    return b.node("Gather", [shape, b.ints(range(first, last))])


def view_by_shape(b):
    """x.view(x.size(0), -1), or the last two axes as one."""
    x = b.pick(lambda v: v.rank > 1)
    if b.chance():
        parts, shape = [sizes_of(b, x, 0, 1), b.ints([-1])], [x.shape[0], np.prod(x.shape[1:])]
    else:
        last = [
            with_axes(
                b, "Unsqueeze", [b.node("Gather", [b.node("Shape", [x]), b.constant(i)])], [0]
            )
            for i in (x.rank - 2, x.rank - 1)
        ]
        parts = [sizes_of(b, x, 0, x.rank - 2)] if x.rank > 2 else []
        parts.append(b.node("Mul", last))
        shape = [*x.shape[:-2], x.shape[-2] * x.shape[-1]]
    target = b.node("Concat", parts, axis=0) if len(parts) > 1 else parts[0]
    b.value(b.node("Reshape", [x, target]), shape, x.exact)


def grow_by_shape(b):
    """Resize one map to twice, or to the size of another."""
    x = b.pick(lambda v: v.rank == 4)
    mode = b.one_of("nearest", "linear")
    if mode == "linear" and b.chance():
        other = b.pick(lambda v: v.rank == 4)
        sizes, shape = sizes_of(b, other, 2, 4), (*x.shape[:2], *other.shape[2:])
    else:
        sizes = b.node("Mul", [sizes_of(b, x, 2, 4), b.ints([2, 2])])
        shape = (*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    sizes = b.node("Concat", [sizes_of(b, x, 0, 2), sizes], axis=0)
    attrs = {"mode": mode, "coordinate_transformation_mode": "asymmetric"}
    b.value(b.node("Resize", [x, "", "", sizes], nearest_mode="floor", **attrs), shape)


def filled_by_shape(b):
    """Add ConstantOfShape, or Range over an axis."""
    x = b.pick(lambda v: v.rank > 0)
    shape = b.node("Shape", [x])
    if b.chance():
        other = b.node("ConstantOfShape", [shape], value=np.array([1.5], np.float32))
    else:
        size = b.node("Gather", [shape, b.constant(-1)])
        other = b.node("Range", [b.constant(0), size, b.constant(1)])
        other = b.node("Cast", [other], to=1)
    b.value(b.node("Add", [x, other]), x.shape)


def expand_by_shape(b):
    x = b.pick()
    name = b.node("Expand", [b.noise(1), b.node("Shape", [x])])
    b.value(name, x.shape, True)


MOVEMENT = [
    *(transpose, reshape, flatten, squeeze, unsqueeze, concat, split, slice_, gather, expand, tile),
    *(pad, depth_to_space, space_to_depth),
    *(view_by_shape, grow_by_shape, filled_by_shape, expand_by_shape),
]
