"""Small graphs for the planner's tests, beside what they should compute in float64."""

import math

import numpy as np

import reference as ref
from fastconv._runtime import core

ERF = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# name: attributes, function
ACTIVATIONS = {
    "relu": ({}, lambda x: np.maximum(x, 0)),
    "clip": ({"min": -0.25, "max": 0.5}, lambda x: np.clip(x, -0.25, 0.5)),
    "leaky_relu": ({"alpha": 0.2}, lambda x: np.where(x > 0, x, 0.2 * x)),
    "sigmoid": ({}, sigmoid),
    "tanh": ({}, np.tanh),
    "elu": ({"alpha": 0.7}, lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0)))),
    "hard_sigmoid": ({"alpha": 0.3, "beta": 0.4}, lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
    "silu": ({}, lambda x: x * sigmoid(x)),
    "hard_swish": ({}, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "gelu": ({}, lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2)))),
    "softplus": ({}, lambda x: np.log1p(np.exp(x))),
}


class Arrays:
    def __init__(self, seed, dtype="float32"):
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype

    def __call__(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)


class Net:
    """A graph and, value by value, how to compute the same in float64."""

    def __init__(self, *shape, dtype="float32", seed=0):
        self.graph = core.Graph()
        self.arrays = Arrays(seed, dtype)
        self.dtype = dtype
        self.data = self.arrays(*shape)
        self.x = self.graph.input("x", list(shape), dtype)
        self.exact = {self.x: np.float64(self.data)}

    def constant(self, array):
        array = np.asarray(array, self.dtype)
        v = self.graph.constant(array)
        self.exact[v] = np.float64(array)
        return v

    def variable(self, array):
        v = self.graph.variable(core.Variable(np.asarray(array, self.dtype)))
        self.exact[v] = np.float64(array)
        return v

    def op(self, fn, name, inputs, attrs=None):
        """Add an operator that fn computes from its inputs in float64."""
        (out,) = self.graph.add(name, inputs, attrs or {})
        self.exact[out] = fn(*(None if i is None else self.exact[i] for i in inputs))
        return out

    def conv(
        self,
        x,
        cout,
        kernel=(3, 3),
        pads=(1, 1, 1, 1),
        strides=(1, 1),
        dilations=(1, 1),
        groups=1,
        bias=True,
    ):
        cin = self.graph.shape(x)[-1]
        w = self.variable(self.arrays(*kernel, cin // groups, cout) / 3)
        b = self.variable(self.arrays(cout)) if bias else None

        def exact(x, w, b):
            t, left, bottom, r = pads
            return ref.conv2d(
                x.transpose(0, 3, 1, 2),
                w.transpose(3, 2, 0, 1),
                b,
                strides,
                ((t, bottom), (left, r)),
                dilations,
                groups,
            ).transpose(0, 2, 3, 1)

        attrs = {
            "strides": list(strides),
            "pads": list(pads),
            "dilations": list(dilations),
            "groups": groups,
        }
        return self.op(exact, "conv2d", [x, w, b], attrs)

    def conv_transpose(self, x, cout, kernel=(3, 2), strides=(2, 3), groups=1, bias=True):
        _, h, width, cin = self.graph.shape(x)
        w = self.variable(self.arrays(*kernel, cout // groups, cin) / 3)
        b = self.variable(self.arrays(cout)) if bias else None
        size = [(h - 1) * strides[0] + kernel[0], (width - 1) * strides[1] + kernel[1]]

        def exact(x, w, b):
            y = ref.conv_transpose2d(
                x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), b, strides, groups=groups
            )
            return y.transpose(0, 2, 3, 1)

        attrs = {
            "strides": list(strides),
            "pads": [0] * 4,
            "dilations": [1, 1],
            "groups": groups,
            "output_size": size,
        }
        return self.op(exact, "conv_transpose2d", [x, w, b], attrs)

    def dense(self, x, m, transposed=False, bias=True):
        k = self.graph.shape(x)[-1]
        w = self.variable(self.arrays(m, k) / 3 if transposed else self.arrays(k, m) / 3)
        b = self.variable(self.arrays(m)) if bias else None

        def exact(x, w, b):
            y = x @ (w.T if transposed else w)
            return y if b is None else y + b

        return self.op(exact, "dense", [x, w, b], {"transpose_w": transposed})

    def norm(self, x, affine=True):
        c = self.graph.shape(x)[-1]
        values = [
            self.arrays.rng.uniform(0.5, 2, c),
            self.arrays(c),
            self.arrays(c),
            self.arrays.rng.uniform(0.5, 2, c),
        ]
        ids = [self.variable(v) for v in values]
        if not affine:
            ids[:2] = [None, None]

        def exact(x, gamma, beta, mean, var):
            y = (x - mean) / np.sqrt(var + 1e-3)
            return y if gamma is None else y * gamma + beta

        return self.op(exact, "batch_norm_inference", [x, *ids], {"eps": 1e-3})

    def activation(self, x, name):
        attrs, fn = ACTIVATIONS[name]
        return self.op(fn, name, [x], attrs)

    def binary(self, name, a, b):
        fn = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name]
        return self.op(fn, name, [a, b])

    def check(self, out, steps=None, tolerance=None, fewer=True):
        """Plan for `out`: compare with float64 and a plan that cannot fuse, and what runs."""
        plan = core.Plan(self.graph, [out])
        (got,) = plan.run([self.data])
        exact = self.exact[out]
        assert got.shape == exact.shape
        scale = max(1.0, np.abs(exact).max())
        unit = tolerance or (2e-5 if self.dtype == "float32" else 1e-12)
        np.testing.assert_allclose(got, exact, rtol=0, atol=unit * scale)
        # Every value wanted: nothing may be fused.
        every = [v for v in self.exact if v != out] + [out]
        apart = core.Plan(self.graph, every)
        np.testing.assert_allclose(got, apart.run([self.data])[-1], rtol=0, atol=1e-5 * scale)
        ran = ops(plan, self.data)
        if steps is not None:
            assert ran == steps
            assert not fewer or len(ran) < len(ops(apart, self.data))
        return plan


def ops(plan, *feeds):
    return [s["op"] for s in plan.profile(list(feeds)) if s["algorithm"] != "view"]
