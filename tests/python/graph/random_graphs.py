"""Random small graphs of what the passes rewrite, and their values computed node by node.

A node alone in a graph leaves the passes nothing to do, so its values are what a plan of the whole
graph must give, whatever was fused, renamed, prepared or computed in place.
"""

import numpy as np

from fastconv._runtime import core

UNARY = [
    ("relu", {}),
    ("clip", {"min": -0.3, "max": 0.4}),
    ("clip", {"min": 0.0, "max": 6.0}),
    ("leaky_relu", {"alpha": 0.2}),
    ("leaky_relu", {}),
    ("sigmoid", {}),
    ("hard_sigmoid", {}),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ("tanh", {}),
    ("elu", {"alpha": 0.7}),
    ("silu", {}),
    ("hard_swish", {}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("softplus", {}),
    ("erf", {}),
    ("abs", {}),
    ("neg", {}),
    ("scale", {"alpha": 0.7, "beta": 0.2}),
    ("scale", {"alpha": -1.5}),
    ("identity", {}),
    ("mish", {}),
    ("sin", {}),
    ("celu", {"alpha": 0.5}),
]
INTEGER_UNARY = [
    ("relu", {}),
    ("neg", {}),
    ("abs", {}),
    ("clip", {"min": 1, "max": 5}),
    ("identity", {}),
]
ACTIVATIONS = [{}, {}, {}, {"activation": "relu"}, {"activation": "leaky_relu", "alpha": 0.1}]


class RandomGraph:
    """A graph with its inputs, variables and nodes; `outputs` are some of its values."""

    def __init__(self, seed, nodes=12, changes=True, activations=True):
        self.changes, self.activations = changes, ACTIVATIONS if activations else [{}]
        self.rng = np.random.default_rng(seed)
        self.dtype = self.pick(["float32", "float64"])
        self.graph = core.Graph()
        self.inputs, self.variables, self.constants = [], {}, {}
        self.nodes = []  # op, inputs, attrs, outputs
        self.changed = False
        self.sizes = [
            int(self.rng.integers(1, 4)),
            int(self.rng.integers(1, 5)),
            int(self.rng.integers(1, 5)),
        ]
        self.channels = int(self.pick([1, 2, 3, 4, 8, 17]))
        self.values = [self.input(self.sizes + [self.channels]) for _ in range(2)]
        self.integers = []
        while len(self.nodes) < nodes:
            self.grow()
        computed = [o for _, _, _, outs in self.nodes for o in outs]
        few = int(self.rng.integers(1, 4))
        chosen = [int(v) for v in self.rng.choice(computed, min(few, len(computed)), replace=False)]
        self.outputs = [computed[-1], *chosen]
        if self.rng.random() < 0.1:
            self.outputs.append(self.inputs[0])
        if self.rng.random() < 0.2 and self.variables:
            self.outputs.append(next(iter(self.variables)))
        self.computed = computed

    # Parts

    def pick(self, choices):
        return choices[int(self.rng.integers(len(choices)))]

    def array(self, shape, dtype=None, scale=1.0):
        dtype = dtype or self.dtype
        if np.dtype(dtype).kind in "iu":
            return self.rng.integers(0, 7, shape).astype(dtype)
        return np.asarray(scale * self.rng.standard_normal(shape), dtype)

    def input(self, shape, dtype=None):
        v = self.graph.input(f"x{len(self.inputs)}", [int(n) for n in shape], dtype or self.dtype)
        self.inputs.append(v)
        return v

    def constant(self, array):
        v = self.graph.constant(np.asarray(array))
        self.constants[v] = np.array(array)
        return v

    def number(self, x):
        return self.constant(np.full(self.pick([(), (), (1,), (1, 1)]), x, self.dtype))

    def parameter(self, shape, scale=1.0, positive=False):
        """A tensor as a constant, a variable, or (seldom) an input."""
        array = self.array(shape, scale=scale)
        if positive:
            array = np.asarray(np.abs(array) + array.dtype.type(0.5))
        kind = self.rng.random()
        if kind < 0.6:
            return self.constant(array)
        if kind < 0.95 or positive:
            variable = core.Variable(array)
            v = self.graph.variable(variable)
            self.variables[v] = variable
            return v
        return self.input(shape)

    def add(self, op, inputs, attrs=None):
        attrs = attrs or {}
        out = self.graph.add(op, inputs, attrs)
        self.nodes.append((op, list(inputs), attrs, out))
        return out

    def one(self, op, inputs, attrs=None):
        return self.add(op, inputs, attrs)[0]

    def shape(self, v):
        return list(self.graph.shape(v))

    def value(self):
        """One of the values, mostly a late one."""
        late = self.rng.random() < 0.7
        return self.pick(self.values[-3:] if late else self.values)

    # Steps

    def grow(self):
        steps = [
            self.layer,
            self.layer,
            self.unary,
            self.binary,
            self.binary,
            self.norm,
            self.movement,
        ]
        steps += [self.pattern, self.integer, self.pool, self.join, self.pad, self.excite]
        if self.changes and self.rng.random() < 0.06:
            steps = [self.change]
        result = self.pick(steps)()
        if result is not None:
            self.values.append(result)

    def layer(self):
        x = self.value()
        shape = self.shape(x)
        kind = self.pick(["conv", "conv", "conv", "transposed", "dense", "matmul", "batched"])
        if kind == "batched" and len(shape) > 1:
            other = self.value()
            if self.shape(other) != shape:
                return None
            perm = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
            return self.one("matmul", [x, self.one("transpose", [other], {"perm": perm})])
        if len(shape) == 4 and kind in ("conv", "transposed"):
            return self.conv(x, shape, kind == "transposed")
        if not shape:
            return None
        k, m = shape[-1], int(self.pick([1, 3, shape[-1], 16]))
        if kind == "matmul":
            return self.one("matmul", [x, self.parameter([k, m], k**-0.5)])
        transposed = self.rng.random() < 0.3
        w = self.parameter([m, k] if transposed else [k, m], k**-0.5)
        bias = self.parameter([m]) if self.rng.random() < 0.5 else None
        return self.one(
            "dense", [x, w, bias], {"transpose_w": transposed, **self.pick(self.activations)}
        )

    def conv(self, x, shape, transposed):
        cin = shape[3]
        cout = cin if self.rng.random() < 0.6 else int(self.pick([1, 2, 6, 16, 19]))
        divisors = [g for g in range(1, cin + 1) if cin % g == 0 and cout % g == 0]
        groups = self.pick(divisors)
        kernel = self.pick([[1, 1], [3, 3], [3, 1]])
        pads = [kernel[0] // 2, kernel[1] // 2] * 2
        attrs = {"strides": [1, 1], "pads": pads, "dilations": [1, 1], "groups": groups}
        scale = (kernel[0] * kernel[1] * cin / groups) ** -0.5
        bias = self.parameter([cout]) if self.rng.random() < 0.5 else None
        attrs.update(self.pick(self.activations))
        if transposed:
            attrs["output_size"] = shape[1:3]
            w = self.parameter([*kernel, cout // groups, cin], scale)
            return self.one("conv_transpose2d", [x, w, bias], attrs)
        w = self.parameter([*kernel, cin // groups, cout], scale)
        residual = x if cin == cout and self.rng.random() < 0.1 else None
        return self.one("conv2d", [x, w, bias, residual], attrs)

    def unary(self):
        op, attrs = self.pick(UNARY)
        return self.one(op, [self.value()], attrs)

    def other(self, x):
        """Something that x can be combined with."""
        shape = self.shape(x)
        kind = self.rng.random()
        if kind < 0.35:
            same = [v for v in self.values if self.shape(v) == shape]
            return self.pick(same)  # perhaps x itself
        if kind < 0.45:
            size = self.values[0] if self.rng.random() < 0.5 else x
            flat = self.one("reshape", [x], {"shape": shape}) if size == x else x
            return flat
        tail = shape[-1:]
        small = [[], [1], tail, [1, *tail], [1] * (len(shape) - 1) + tail, shape[1:], [1] * 5]
        small += [[*shape[:-1], 1], [1, *shape]]
        return self.parameter(self.pick(small), positive=True)

    def binary(self):
        x = self.value()
        other = self.other(x)
        op = self.pick(["add", "add", "mul", "mul", "sub", "div", "maximum", "prelu"])
        operands = [x, other]
        stable = other in self.constants or other in self.variables
        if op == "div" and not stable:
            op = "add"
        if op not in ("div", "prelu") and self.rng.random() < 0.4:
            operands.reverse()
        result = self.one(op, operands)
        return result if len(self.shape(result)) < 6 else None

    def norm(self):
        x = self.value()
        shape = self.shape(x)
        if len(shape) < 2:
            return None
        c = shape[-1:]
        gamma = self.parameter(c) if self.rng.random() < 0.7 else None
        beta = self.parameter(c) if self.rng.random() < 0.7 else None
        kind = self.rng.random()
        if kind < 0.3:
            inputs = [x, gamma, beta, None, None]
            return self.add("batch_norm_training", inputs, {"eps": 0.1})[0]
        if kind < 0.8:
            inputs = [x, gamma, beta, self.parameter(c), self.parameter(c, positive=True)]
            return self.one("batch_norm_inference", inputs, {"eps": 1e-3})
        if kind < 0.9:
            return self.add("layer_norm", [x, gamma, beta], {"axis": -1, "epsilon": 0.1})[0]
        return self.one("group_norm", [x, gamma, beta], {"groups": 1, "epsilon": 0.1})

    def movement(self):
        x = self.value()
        shape = self.shape(x)
        rank = len(shape)
        kind = self.pick(
            ["transpose", "transpose", "back", "reshape", "flatten", "same", "slice", "broadcast"]
        )
        if kind == "transpose":
            perm = [int(p) for p in self.rng.permutation(rank)]
            return self.one("transpose", [x], {"perm": perm})
        if kind == "back" and rank == 4:
            y = self.one("transpose", [x], {"perm": [0, 3, 1, 2]})
            op, attrs = self.pick(UNARY)
            if self.rng.random() < 0.5:
                y = self.one(op, [y], attrs)
            return self.one("transpose", [y], {"perm": [0, 2, 3, 1]})
        if kind == "reshape":
            size = int(np.prod(shape))
            targets = [s for s in map(self.shape, self.values) if int(np.prod(s)) == size]
            return self.one(
                "reshape", [x], {"shape": self.pick([*targets, [-1], [1, *shape], [size, 1]])[:6]}
            )
        if kind == "flatten" and rank:
            return self.one("flatten", [x])
        if kind == "slice" and rank:
            axis = int(self.rng.integers(rank))
            return self.one(
                "slice", [x], {"axis": axis, "start": int(self.rng.integers(shape[axis]))}
            )
        if kind == "broadcast" and rank < 5:
            return self.one("broadcast_to", [x], {"shape": [int(self.pick([1, 2])), *shape]})
        op, attrs = self.pick(
            [("identity", {}), ("cast", {"dtype": self.dtype}), ("concat", {"axis": 0})]
        )
        return self.one(op, [x], attrs) if rank else None

    def pad(self):
        x = self.value()
        shape = self.shape(x)
        if len(shape) != 4:
            return None
        top, left, bottom, right = (int(p) for p in self.rng.integers(-1, 3, 4))
        if shape[1] + top + bottom < 1 or shape[2] + left + right < 1:
            top, left, bottom, right = 1, 0, 0, 1
        n = int(self.rng.random() < 0.1)
        y = self.one(
            "pad",
            [x],
            {"pads": [n, top, left, 0, 0, bottom, right, 0], "value": self.pick([0, 0, 0, 0.5])},
        )
        y = self.conv(y, self.shape(y), False)
        back = [-n, -top, -left, 0, 0, -bottom, -right, 0]
        return self.one("pad", [y], {"pads": back}) if self.rng.random() < 0.5 else y

    def pattern(self):
        x = self.value()
        y = self.value() if self.rng.random() < 0.15 else x  # a pattern that is not quite there
        if self.shape(x) != self.shape(y):
            y = x

        def both(op, a, b):
            return self.one(op, [a, b] if self.rng.random() < 0.5 else [b, a])

        kind = self.pick(["silu", "hard_swish", "clip", "hard", "gelu"])
        third = self.number(3)
        sixth = self.pick([6.0, 6.0, 5.0])
        if kind == "silu":
            gate = self.one("sigmoid", [y])
            if self.rng.random() < 0.15:
                self.values.append(gate)
            return both("mul", x, gate)
        if kind == "hard":
            return both("mul", x, self.one("hard_sigmoid", [y], {"alpha": 1 / 6, "beta": 0.5}))
        if kind in ("hard_swish", "clip"):
            gate = self.one("clip", [both("add", y, third)], {"min": 0.0, "max": 6.0})
            if kind == "clip":
                return self.one("div", [gate, self.number(sixth)])
            order = self.rng.random()
            if order < 0.3:
                return self.one("div", [both("mul", x, gate), self.number(sixth)])
            if order < 0.6:
                return both("mul", x, self.one("div", [gate, self.number(sixth)]))
            return both("mul", both("mul", x, self.number(1 / sixth)), gate)
        root = self.number(np.sqrt(2))
        cdf = both("add", self.one("erf", [self.one("div", [y, root])]), self.number(1))
        if self.rng.random() < 0.5:
            return both("mul", both("mul", x, cdf), self.number(0.5))
        return both("mul", x, both("mul", cdf, self.number(0.5)))

    def excite(self):
        """Squeeze and excitation, or what resembles it, and what reads its product."""
        x = self.value()
        shape = self.shape(x)
        if len(shape) != 4:
            return None
        if self.rng.random() < 0.5:
            x = self.conv(x, shape, False)
            shape = self.shape(x)
        axes = self.pick([[1, 2], [1, 2], [1], [0, 1, 2]])
        if axes == [1, 2] and self.rng.random() < 0.5:
            gate = self.one("adaptive_avg_pool2d", [x], {"output_size": [1, 1]})
        else:
            gate = self.one("reduce_mean", [x], {"axes": axes, "keepdims": True})
        op, attrs = self.pick(UNARY)
        gate = self.one(op, [gate], attrs)
        operands = [x, gate]
        self.rng.shuffle(operands)
        y = self.one("mul", operands)
        if self.rng.random() < 0.2:
            self.values.append(y)
        if self.rng.random() < 0.7:
            return self.conv(y, shape, False)
        same = [v for v in self.values if self.shape(v) == shape]
        return self.one("add", [y, self.pick(same)]) if same else y

    def pool(self):
        x = self.value()
        shape = self.shape(x)
        if len(shape) != 4 or min(shape[1:3]) < 2:
            return None
        op = self.pick(["max_pool2d", "avg_pool2d"])
        return self.one(op, [x], {"kernel": [2, 2], "strides": [1, 1]})

    def join(self):
        x = self.value()
        shape = self.shape(x)
        if not shape or shape[-1] > 40:
            return None
        same = [v for v in self.values if self.shape(v) == shape]
        return self.one("concat", [x, self.pick(same)], {"axis": len(shape) - 1})

    def integer(self):
        if not self.integers:
            dtype = self.pick(["int64", "int32", "uint8", "int8", "bool"])
            self.integers = [self.input(self.sizes, dtype), self.input(self.sizes, dtype)]
        x, y = self.pick(self.integers), self.pick(self.integers[-2:])
        dtype = self.graph.dtype(x)
        if dtype == "bool":
            kind = self.pick(["logical", "not", "where", "view"])
            if kind == "logical":
                result = self.one("logical", [x, y], {"kind": self.pick(["and", "or", "xor"])})
            elif kind == "not":
                result = self.one("logical_not", [x])
            elif kind == "where":
                result = self.one("where", [x, y, self.pick(self.integers)])
            else:
                result = self.one("reshape", [x], {"shape": self.sizes})
        elif self.rng.random() < 0.5:
            op, attrs = self.pick(INTEGER_UNARY)
            result = self.one(op, [x], attrs)
        else:
            op = self.pick(["add", "mul", "sub", "div", "minimum", "mod", "pow"])
            if self.rng.random() < 0.4:
                y = self.constant(np.full(self.pick([(), (1,), tuple(self.sizes)]), 3, dtype))
            result = self.one(op, [x, y])
        self.integers.append(result)
        if self.rng.random() < 0.3:
            back = self.one("cast", [result], {"dtype": self.dtype})
            return self.one("tanh", [back])
        return None

    def change(self):
        """A node that changes a variable, perhaps one that others read before and after it."""
        free = [v for v, var in self.variables.items() if self.shape(v)]
        if not free:
            return None
        v = self.pick(free)
        self.changed = True
        gradient = self.constant(self.array(self.shape(v), scale=0.3))
        self.add("sgd_update", [v, gradient, None, self.constant(np.asarray(0.5, self.dtype))])
        view = self.pick(["reshape", "identity", "relu", None])
        shape = self.shape(v)
        if view:
            return self.one(view, [v], {"shape": shape} if view == "reshape" else {})
        return None

    # Values

    def feeds(self, seed):
        rng = np.random.default_rng(seed)
        arrays = []
        for v in self.inputs:
            dtype, shape = self.graph.dtype(v), self.graph.shape(v)
            if dtype in ("float32", "float64"):
                arrays.append(np.asarray(rng.standard_normal(shape), dtype))
            else:
                arrays.append(rng.integers(0, 7, shape).astype(dtype))
        return arrays

    def node_by_node(self, feeds):
        """Every value (of variables: after all nodes), each node run in a graph of its own."""
        known = dict(zip(self.inputs, feeds, strict=True)) | dict(self.constants)
        known |= {v: variable.numpy() for v, variable in self.variables.items()}
        for op, inputs, attrs, outputs in self.nodes:
            graph, arrays, states = core.Graph(), [], {}
            ids = []
            for i in inputs:
                if i is not None and op.endswith("_update") and i in self.variables:
                    states.setdefault(i, core.Variable(known[i]))
                    ids.append(graph.variable(states[i]))
                elif i is None:
                    ids.append(None)
                else:
                    arrays.append(known[i])
                    ids.append(graph.input("x", list(known[i].shape), known[i].dtype.name))
            results = core.Plan(graph, graph.add(op, ids, attrs)).run(arrays)
            known.update(zip(outputs, results, strict=True))
            known.update((i, state.numpy()) for i, state in states.items())
        return known


def differs(got, exact, tolerance):
    """What is wrong with an array, or None."""
    if got.shape != exact.shape or got.dtype != exact.dtype:
        return f"{got.dtype}{got.shape} for {exact.dtype}{exact.shape}"
    if got.dtype.kind != "f":
        return None if np.array_equal(got, exact) else "integers differ"
    if not np.isfinite(exact).all():
        return None
    error = np.abs(got - exact).max(initial=0) / max(1.0, np.abs(exact).max(initial=0))
    return None if error <= tolerance else f"error {error:.2e}"


def check(seed, nodes=12, store=None):
    """Compare plans of the graph with what its nodes give one by one."""
    g = RandomGraph(seed, nodes)
    tolerance = 2e-4 if g.dtype == "float32" else 1e-9
    plans = [(core.Plan(g.graph, g.outputs, store), g.outputs)]
    every = [*g.outputs, *g.computed]
    if not g.changed:
        plans.append((core.Plan(g.graph, every, store), every))
    for run in range(2):
        feeds = g.feeds(seed + run)
        before = [f.copy() for f in feeds]
        known = g.node_by_node(feeds)
        kept = []
        for plan, outputs in plans:
            results = plan.run(feeds)
            kept.append((results, [r.copy() for r in results]))
            for out, result in zip(outputs, results, strict=True):
                wrong = differs(result, known[out], tolerance)
                assert wrong is None, f"graph {seed}, run {run}, value {out}: {wrong}"
        for a, b in zip(feeds, before, strict=True):
            assert np.array_equal(a, b), f"graph {seed}: a feed was written"
        for v, variable in g.variables.items():
            wrong = differs(variable.numpy(), known[v], tolerance)
            assert wrong is None, f"graph {seed}, run {run}, variable {v}: {wrong}"
        for results, copies in kept:
            assert all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                for a, b in zip(results, copies, strict=True)
            )
        # What was prepared from variables follows them.
        for variable in g.variables.values():
            array = variable.numpy()
            variable.assign(np.asarray(array * array.dtype.type(0.9), array.dtype))
    return g


def check_gradients(seed, nodes=8):
    """Compare a plan of gradients with one where every value is an output, which fuses nothing.

    Returns:
        Whether the graph could be differentiated.
    """
    g = RandomGraph(seed, nodes, changes=False, activations=False)
    sources = [*g.inputs[:2], *g.variables]
    try:
        grads = [v for v in g.graph.gradients([g.computed[-1]], [None], sources) if v is not None]
    except ValueError:  # an operator without a gradient
        return False
    if not grads:
        return False
    every, v = [], 0
    while True:
        try:
            g.graph.shape(v)
        except ValueError:
            break
        every.append(v)
        v += 1
    tolerance = 2e-4 if g.dtype == "float32" else 1e-9
    feeds = g.feeds(seed)
    outputs = [*g.outputs, *grads]
    plain = core.Plan(g.graph, [*outputs, *every]).run(feeds)
    for out, got, exact in zip(
        outputs, core.Plan(g.graph, outputs).run(feeds), plain, strict=False
    ):
        wrong = differs(got, exact, tolerance)
        assert wrong is None, f"gradients of graph {seed}, value {out}: {wrong}"
    return True
