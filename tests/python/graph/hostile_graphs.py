"""Valid calls of every operator, and ways to spoil them: the core refuses or survives each."""

import numpy as np

from fastconv._runtime import core

IMAGE = (2, 5, 4, 6)
CONV = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "groups": 1}
POOL = {
    "kernel": [2, 2],
    "strides": [1, 1],
    "pads": [0, 0, 0, 0],
    "dilations": [1, 1],
    "ceil_mode": False,
}
SIZES = {"output_size": [2, 3]}
INTEGERS = ["int64", "int32", "int8", "uint8", "uint64", "bool"]

# operator: inputs (shapes, or a shape and a dtype; None for an omitted one), attributes
CALLS = {
    "adagrad_update": ([(3,), (3,), (3,), ()], {"epsilon": 1e-7, "weight_decay": 0.1}),
    "adam_update": (
        [(3,), (3,), (3,), (3,), None, (), ()],
        {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-7},
    ),
    "rmsprop_update": (
        [(3,), (3,), (3,), (3,), (3,), ()],
        {"rho": 0.9, "momentum": 0.1, "epsilon": 1e-7},
    ),
    "sgd_update": ([(3,), (3,), (3,), ()], {"momentum": 0.1, "nesterov": True}),
    "adaptive_avg_pool2d": ([IMAGE], SIZES),
    "adaptive_max_pool2d": ([IMAGE], SIZES),
    "adaptive_max_pool2d_with_indices": ([IMAGE], SIZES),
    "avg_pool2d": ([IMAGE], {**POOL, "count_include_pad": True, "divisor_override": 0}),
    "avg_pool2d_backward": ([(2, 4, 3, 6)], {**POOL, "input_size": [5, 4]}),
    "max_pool2d": ([IMAGE], POOL),
    "max_pool2d_with_indices": ([IMAGE], POOL),
    "max_pool2d_with_winners": ([IMAGE], POOL),
    "max_pool2d_backward": ([(2, 4, 3, 6), ((26,), "int64")], {**POOL, "input_size": [5, 4]}),
    "max_pool2d_planes_backward": ([IMAGE, (2, 5, 2, 3)], {**POOL, "strides": [2, 2]}),
    "lp_pool2d": ([IMAGE], {**POOL, "p": 2.0}),
    "lp_pool2d_backward": ([IMAGE, (2, 4, 3, 6), (2, 4, 3, 6)], {**POOL, "p": 2.0}),
    "batch_norm_inference": ([IMAGE, (6,), (6,), (6,), (6,)], {"eps": 1e-3}),
    "batch_norm_inference_backward": ([IMAGE, (6,), (6,), (6,), IMAGE], {"eps": 1e-3}),
    "batch_norm_training": (
        [IMAGE, (6,), (6,), (6,), (6,), IMAGE],
        {"eps": 1e-3, "momentum": 0.1, "unbiased": True, "activation": "clip", "min": 0.0},
    ),
    "batch_norm_training_backward": (
        [IMAGE, (6,), (6,), (6,), IMAGE, (6,)],
        {"activation": "relu"},
    ),
    "batch_norm_residual_backward": (
        [IMAGE, (6,), (6,), (6,), IMAGE, IMAGE],
        {"activation": "clip", "max": 1.0},
    ),
    "batch_norm_planes_backward": ([IMAGE, (5,), IMAGE], {"eps": 1e-3}),
    "layer_norm": ([IMAGE, (4, 6), (6,)], {"axis": 2, "epsilon": 1e-5}),
    "group_norm": ([IMAGE, (6,), (6,)], {"groups": 3, "epsilon": 1e-5}),
    "local_response_norm": ([IMAGE], {"size": 3, "alpha": 1e-4, "beta": 0.75, "k": 1.0}),
    "local_response_norm_backward": (
        [IMAGE, IMAGE],
        {"size": 3, "alpha": 1e-4, "beta": 0.75, "k": 1.0},
    ),
    "broadcast_to": ([(4, 1)], {"shape": [2, 4, 5]}),
    "cast": ([IMAGE], {"dtype": "int8"}),
    "compare": ([IMAGE, (6,)], {"kind": "le"}),
    "logical": ([((3, 4), "bool"), ((4,), "bool")], {"kind": "and"}),
    "logical_not": ([((3, 4), "bool")], {}),
    "where": ([((3, 4), "bool"), (4,), (3, 1)], {}),
    "isinf": ([IMAGE], {"detect_positive": True, "detect_negative": False}),
    "isnan": ([IMAGE], {}),
    "concat": ([IMAGE, (2, 5, 1, 6)], {"axis": 2}),
    "conv2d": (
        [IMAGE, (3, 3, 3, 4), (4,), (2, 5, 4, 4)],
        {**CONV, "groups": 2, "activation": "clip", "min": 0.0},
    ),
    "conv2d_depthwise": (
        [IMAGE, (1, 1, 6, 8), (8,), (3, 3, 1, 8), (8,)],
        {**CONV, "groups": 8, "activation": "clip", "min": 0.0, "expand_activation": "silu"},
    ),
    "conv2d_max_pool": (
        [IMAGE, (3, 3, 6, 4), (4,)],
        {**CONV, "window": [2, 2], "winners": True, "activation": "relu"},
    ),
    "conv2d_max_pool_backward_input": (
        [(2, 2, 2, 4), (3, 3, 6, 4), ((12,), "int64")],
        {**CONV, "window": [2, 2], "map": [5, 4], "output_size": [5, 4]},
    ),
    "conv2d_max_pool_backward_weights": (
        [IMAGE, (2, 2, 2, 4), ((12,), "int64")],
        {**CONV, "window": [2, 2], "map": [5, 4], "kernel": [3, 3]},
    ),
    "conv_transpose2d": (
        [IMAGE, (3, 3, 3, 6), (3,), (2, 5, 4, 3)],
        {**CONV, "output_size": [5, 4], "activation": "relu"},
    ),
    "conv2d_backward_weights": ([IMAGE, (2, 5, 4, 4)], {**CONV, "groups": 2, "kernel": [3, 3]}),
    "dense": ([(3, 4, 6), (6, 7), (7,)], {"activation": "tanh", "transpose_w": False}),
    "dense_backward_weights": ([(3, 4, 6), (3, 4, 7)], {}),
    "matmul": ([(3, 4, 6), (6, 7)], {}),
    "dropout": ([IMAGE, ((1,), "int64")], {"rate": 0.5, "salt": 3}),
    "random_uniform": (
        [((1,), "int64")],
        {"shape": [3, 4], "low": -1.0, "high": 2.0, "dtype": "float64", "salt": 3},
    ),
    "warp": (
        [IMAGE, ((2, 6), "float64")],
        {"size": [3, 7], "order": 1, "fill": "reflect", "value": 0.5},
    ),
    "warp_backward": (
        [IMAGE, ((2, 6), "float64")],
        {"size": [3, 7], "order": 1, "fill": "grid-wrap", "value": 0.0},
    ),
    "gather": ([IMAGE, ((2, 3), "int64")], {"axis": 1}),
    "strided_slice": ([(5, 4)], {"begin": [4, 0], "size": [2, 2], "step": [-2, 3]}),
    "tile": ([(2, 3)], {"repeats": [2, 3]}),
    "arg_max": ([IMAGE], {"axis": 1, "keepdims": False, "select_last_index": True}),
    "arg_min": ([IMAGE], {"axis": -1, "keepdims": True}),
    "flatten": ([IMAGE], {}),
    "reshape": ([IMAGE], {"shape": [4, -1, 6]}),
    "transpose": ([IMAGE], {"perm": [0, 3, 1, 2]}),
    "slice": ([IMAGE], {"axis": 1, "start": 1, "end": 3}),
    "pad": ([IMAGE], {"pads": [0, 1, 1, 0, 0, 2, 1, 0], "mode": "reflect", "value": 0.0}),
    "pad_backward": ([IMAGE], {"axis": 1, "begin": 1, "end": 1, "mode": "reflect"}),
    "resample": ([IMAGE, ((3, 2), "int64"), (3, 2)], {"axis": 1}),
    "resize": ([IMAGE], {"size": [7, 3], "mode": "bilinear"}),
    "resize_backward": ([IMAGE], {"size": [7, 3], "mode": "nearest"}),
    "softmax": ([IMAGE], {"axis": 1}),
    "log_softmax": ([IMAGE], {"axis": -1}),
    "softmax_backward": ([IMAGE, IMAGE], {"axis": 1}),
    "log_softmax_backward": ([IMAGE, IMAGE], {"axis": -1}),
    "softmax_cross_entropy": (
        [(4, 6), ((4,), "int64")],
        {"label_smoothing": 0.1, "ignore_index": -100},
    ),
    "softmax_cross_entropy_backward": ([(4, 6), ((4,), "int64"), (4,)], {"ignore_index": 1}),
    "sigmoid_cross_entropy": ([IMAGE, IMAGE], {}),
    "sigmoid_cross_entropy_backward": ([IMAGE, IMAGE, IMAGE], {}),
    "mod": ([IMAGE, (4, 1)], {"fmod": True}),
    "mul_add": ([IMAGE, (4, 1), IMAGE], {"activation": "relu"}),
    "clip": ([IMAGE], {"min": -1.0, "max": 1.0}),
    "gelu": ([IMAGE], {"approximate": "tanh"}),
}
BINARY = "add sub mul div maximum minimum pow prelu equal maximum_share minimum_share"
BINARY += " pow_base pow_exponent prelu_slope"
CALLS |= {op: ([IMAGE, (4, 1)], {}) for op in BINARY.split()}
CALLS |= {
    f"reduce_{op}": ([IMAGE], {"axes": [1, 2], "keepdims": True})
    for op in ["sum", "mean", "max", "min", "prod"]
}
for name in core.operators():
    if name not in CALLS:
        CALLS[name] = ([IMAGE] * (2 if name.endswith("_grad") else 1), {"alpha": 0.5, "beta": 0.25})

BAD_SIZES = [0, 0, 0, 1, 1, 2, 3, 7, 17, 100, 2**31 - 1, 2**31, 2**33, 2**40, 2**46]
BAD_INTEGERS = [
    0,
    1,
    -1,
    2,
    3,
    -2,
    100,
    2**24,
    2**31 - 1,
    2**31,
    2**32,
    2**33,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
]
BAD_NUMBERS = [0.0, -1.0, 1e-300, 1e300, float("inf"), -float("inf"), float("nan")]
BAD_OTHERS = [
    "",
    "nothing",
    None,
    [],
    True,
    [1.5, 2.0],
    ["a"],
    2**80,
    {},
    "relu",
    "constant",
    "circular",
    "replicate",
]


def spoil(rng, inputs, attrs):
    """Change one thing of a call."""

    def pick(choices):
        return choices[int(rng.integers(len(choices)))]

    inputs, attrs = list(inputs), dict(attrs)
    kind = rng.random()
    if kind < 0.5 or not attrs:
        i = int(rng.integers(len(inputs)))
        if inputs[i] is None:
            return inputs, attrs
        shape, dtype = inputs[i]
        shape = list(shape)
        what = rng.random()
        if what < 0.55 and shape:
            axis, size = int(rng.integers(len(shape))), pick(BAD_SIZES)
            old = shape[axis]
            shape[axis] = size
            if rng.random() < 0.7:  # all the same sizes together: often a valid call
                inputs = [
                    v if v is None else (tuple(size if n == old else n for n in v[0]), v[1])
                    for v in inputs
                ]
        elif what < 0.65 and shape:
            del shape[int(rng.integers(len(shape)))]
        elif what < 0.75:
            shape.insert(int(rng.integers(len(shape) + 1)), pick([0, 1, 2]))
        elif what < 0.85:
            dtype = pick(INTEGERS + ["float64"])
            if rng.random() < 0.5:
                inputs = [v if v is None else (v[0], dtype) for v in inputs]
        elif what < 0.92:
            inputs[i] = None
            return inputs, attrs
        elif rng.random() < 0.5:
            inputs.append((tuple(shape), dtype))
            return inputs, attrs
        else:
            inputs.pop()
            return inputs, attrs
        inputs[i] = (tuple(shape), dtype)
        return inputs, attrs
    key = pick(sorted(attrs))
    value = attrs[key]
    what = rng.random()
    if what < 0.1:
        del attrs[key]
    elif what < 0.2:
        attrs[key] = pick(BAD_OTHERS)
    elif isinstance(value, list) and value:
        value = list(value)
        if what < 0.85:
            value[int(rng.integers(len(value)))] = pick(BAD_INTEGERS)
        elif what < 0.92:
            value.append(pick(BAD_INTEGERS))
        else:
            value.pop()
        attrs[key] = value
    elif isinstance(value, float):
        attrs[key] = pick(BAD_NUMBERS)
    elif isinstance(value, str):
        attrs[key] = pick(
            [
                "",
                "reflect",
                "circular",
                "replicate",
                "constant",
                "nothing",
                "int64",
                "bool",
                "xor",
                "ge",
            ]
        )
    else:
        attrs[key] = pick(BAD_INTEGERS)
    return inputs, attrs


def array(rng, shape, dtype):
    if np.dtype(dtype).kind == "f":
        values = rng.standard_normal(shape) * 3
        return np.asarray(
            np.where(rng.random(shape) < 0.1, rng.choice([np.nan, np.inf, -np.inf, 0]), values),
            dtype,
        )
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    info = np.iinfo(dtype)
    small = rng.integers(max(-2, info.min), 3, shape)
    wild = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    rare = 0.1 if rng.random() < 0.5 else 0
    return np.where(rng.random(shape) < rare, wild, small).astype(dtype)


def call(seed, op=None, spoils=None, most=1 << 20):
    """Make one spoilt call, plan and run it; return what became of it.

    Raises:
        Exception: any other than of a refusal, a defect.
    """
    rng = np.random.default_rng(seed)
    op = op or sorted(CALLS)[int(rng.integers(len(CALLS)))]
    inputs, attrs = CALLS[op]
    inputs = [
        v if v is None else (v if v and isinstance(v[0], tuple) else (v, "float32")) for v in inputs
    ]
    for _ in range(int(rng.integers(0, 4)) if spoils is None else spoils):
        if not inputs:
            break
        inputs, attrs = spoil(rng, inputs, attrs)
    graph, ids, feeds = core.Graph(), [], []
    changed = op.endswith("_update") or op == "batch_norm_training"
    stable = rng.random() < 0.3
    try:
        large = any(v is not None and np.prod(v[0], dtype=float) > most for v in inputs)
        for v in inputs:
            if v is None:
                ids.append(None)
            elif large or (not changed and not stable):
                ids.append(graph.input("x", list(v[0]), v[1]))
                if not large:
                    feeds.append(array(rng, *v))
            elif changed:
                ids.append(graph.variable(core.Variable(array(rng, *v))))
            else:
                ids.append(graph.constant(array(rng, *v)))
        outs = graph.add(op, ids, attrs)
    except (ValueError, TypeError):
        return "refused"
    except MemoryError:
        return "memory"
    for out in outs:
        assert all(n >= 0 for n in graph.shape(out)), graph.shape(out)
    try:
        plan = core.Plan(graph, outs)
    except (ValueError, TypeError):
        return "not planned"
    except MemoryError:
        return "memory"
    if (
        large
        or sum(plan.memory.values()) > 64 * most
        or any(np.prod(graph.shape(o), dtype=float) > 8 * most for o in outs)
    ):
        return "large"
    try:
        results = plan.run(feeds)
    except ValueError:
        return "failed"
    except MemoryError:
        return "memory"
    for out, result in zip(outs, results, strict=True):
        assert result.shape == graph.shape(out)
        assert result.dtype.name == graph.dtype(out)
    return "ran"
