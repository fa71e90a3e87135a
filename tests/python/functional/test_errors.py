"""Bad input: a clear error that names the function, never a crash or a silent result."""

import numpy as np
import pytest

from fastconv import functional as F

X = np.ones((2, 4, 6, 6), np.float32)
W = np.ones((8, 4, 3, 3), np.float32)
B = np.ones(8, np.float32)
X1, W1 = X[0], np.ones((8, 6, 3), np.float32)
WT = np.ones((4, 2, 3, 3), np.float32)
C = np.ones(4, np.float32)
G = np.ones((2, 8, 4, 4), np.float32)
NAN, INF = float("nan"), float("inf")
HUGE = 2**62


def bad(name, *args, error=ValueError, match="", **kwargs):
    shown = ", ".join([*map(_short, args), *(f"{k}={_short(v)}" for k, v in kwargs.items())])
    return pytest.param(name, args, kwargs, error, match, id=f"{name}({shown})")


def _short(value):
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)


def _dtypes(name, *rest, **kwargs):
    for dtype in (np.int64, np.float16, np.complex64, object, bool, ">f4", "U1"):
        yield bad(
            name, X.astype(dtype), *rest, error=TypeError, match="float32 or float64", **kwargs
        )


TABLE = [
    # Not an array, wrong dtypes.
    bad("conv2d", X.tolist(), W, error=TypeError, match="input must be a NumPy array, got list"),
    bad("conv2d", None, W, error=TypeError, match="input"),
    bad("conv2d", X, None, error=TypeError, match="weight"),
    bad("conv2d", X, W, [1.0] * 8, error=TypeError, match="bias"),
    bad("relu", 1.0, error=TypeError, match="input"),
    bad("relu", np.ma.masked_array(X), error=TypeError, match="masked"),
    *_dtypes("conv2d", W),
    *_dtypes("max_pool2d", 2),
    *_dtypes("avg_pool2d", 2),
    *_dtypes("lp_pool2d", 2, 2),
    *_dtypes("adaptive_avg_pool2d", 2),
    *_dtypes("batch_norm", None, None, training=True),
    *_dtypes("local_response_norm", 2),
    *_dtypes("linear", np.ones((3, 6), np.float32)),
    *_dtypes("relu"),
    *_dtypes("softmax", 1),
    *_dtypes("pad", (1, 1)),
    *_dtypes("dropout", 0.5, True, 0),
    *_dtypes("cross_entropy", np.zeros((2, 6, 6), int)),
    bad("conv2d", X, W.astype(float), error=TypeError, match="weight must have the input's dtype"),
    bad("conv2d", X, W, B.astype(float), error=TypeError, match="bias"),
    bad("conv2d_backward", G.astype(float), X, W, error=TypeError, match="grad_output"),
    bad("linear", X, np.ones((3, 6)), error=TypeError, match="weight"),
    bad("relu_backward", X.astype(float), X, error=TypeError, match="grad_output"),
    bad("batch_norm", X, C.astype(float), C, error=TypeError, match="running_mean"),
    # Ranks, channels, groups.
    bad("conv2d", X[0, 0], W, match=r"\(N, C, H, W\).*\(6, 6\)"),
    bad("conv2d", X[None], W, match="input"),
    bad("conv2d", X, W[0], match="weight"),
    bad("conv2d", X, W, B[None], match="bias must have shape"),
    bad("conv2d", X, W, B[:7], match="bias"),
    bad("conv2d", X[:, :3], W, match="4 input channels, got input of shape"),
    bad("conv2d", X, W, groups=3, match="groups 3 must divide"),
    bad("conv2d", X, W, groups=2, match="expects 8 input channels"),
    bad("conv2d", X, W[:7, :2], groups=2, match="7 output channels"),
    bad("conv2d", X, W, groups=0, match="groups"),
    bad("conv2d", X, W, groups=-1, match="groups"),
    bad("conv1d", X, W1, match="input must have shape"),
    bad("conv1d", X1, W, match="weight"),
    bad("conv1d", X1, W1, stride=(1, 1), match="stride"),
    bad("conv_transpose2d", X, np.ones((3, 2, 3, 3), np.float32), match="3 input channels"),
    bad("conv_transpose2d", X, WT, groups=3, match="groups 3"),
    bad("conv_transpose2d", X, WT, np.ones(3, np.float32), match="bias"),
    bad("linear", X, np.ones((3, 5), np.float32), match=r"input must be \(\.\.\., 5\)"),
    bad("linear", X, np.ones(6, np.float32), match="weight must be"),
    bad("linear", X[:, :, :, :0], np.ones((3, 0), np.float32), match="weight"),
    bad(
        "linear",
        np.float32(np.ones(())),
        np.ones((3, 1), np.float32),
        error=TypeError,
        match="input",
    ),
    bad("max_pool2d", X[0, 0], 2, match="input must have shape"),
    bad("batch_norm", C, C, C, match="input must be"),
    bad("batch_norm", X, C[:3], C, match="running_mean must have shape"),
    bad("batch_norm", X, C, C, np.ones(5, np.float32), match="weight must have shape"),
    bad("local_response_norm", X[0, 0], 2, match="rank 3"),
    # Strides, dilations, kernels, padding.
    *[bad("conv2d", X, W, stride=s, match="stride") for s in (0, -1, (1, 0), (1, 2, 3), ())],
    *[bad("conv2d", X, W, dilation=d, match="dilation") for d in (0, -2, (0, 1))],
    *[bad("conv2d", X, W, padding=p, match="padding") for p in (-1, (0, -1), ((0, -1), (0, 0)))],
    *[bad("conv2d", X, W, padding=p, match="padding") for p in ("full", ((1, 1),), ((1,), (1,)))],
    bad("conv2d", X, W, padding="same", stride=2, match="needs stride 1"),
    bad("conv2d", X, W, padding_mode="mirror", match="padding_mode must be one of"),
    bad("conv2d", X, W, padding_mode=None, error=TypeError, match="padding_mode"),
    bad("conv2d", X, W, padding=6, padding_mode="reflect", match="at most 5"),
    bad("conv2d", X, W, padding=7, padding_mode="circular", match="at most 6"),
    bad("conv2d", X, W, dilation=3, match="spans 7 pixels .* padded input has 6"),
    bad("conv2d", X[:, :, :2], W, match="spans 3 pixels"),
    bad("conv_transpose2d", X, WT, stride=0, match="stride"),
    bad("conv_transpose2d", X, WT, output_padding=1, match="output_padding must be less"),
    bad("conv_transpose2d", X, WT, output_padding=-1, match="output_padding"),
    bad("conv_transpose2d", X, WT, padding=4, match="output would have"),
    bad("conv_transpose2d", X, WT, padding="same", match="same"),
    *[bad("max_pool2d", X, k, match="kernel_size") for k in (0, -1, (2, 0), (2, 2, 2), ())],
    bad("max_pool2d", X, 2, 0, match="stride"),
    bad("max_pool2d", X, 7, match="spans 7 pixels"),
    bad("max_pool2d", X, 3, padding=2, match="at most half"),
    bad("max_pool2d", X, 2, padding=((1, 2), (0, 0)), match="at most half"),
    bad("max_pool2d", X[:, :, :1, :1], 2, 1, 1, 2, match="no element of the input"),
    bad("avg_pool2d", X, 3, padding=2, match="at most half"),
    bad("avg_pool2d", X, 3, divisor_override=0, match="divisor_override must not be 0"),
    bad("lp_pool2d", X, 0, 2, match="norm_type"),
    bad("lp_pool2d", X, -1, 2, match="norm_type"),
    bad("lp_pool2d", X, INF, 2, match="norm_type"),
    bad("lp_pool2d", X, NAN, 2, match="norm_type"),
    *[bad("adaptive_avg_pool2d", X, s, match="output_size") for s in (0, -1, (1, 0), (1, 2, 3))],
    bad("adaptive_max_pool2d", X, (2, -1), match="output_size"),
    # Numbers of another type.
    *[
        bad("conv2d", X, W, stride=s, error=TypeError, match="stride")
        for s in (1.0, True, "1", None)
    ],
    bad("conv2d", X, W, stride=(1, 2.0), error=TypeError, match="stride"),
    bad("conv2d", X, W, stride=np.array([1, 1]), error=TypeError, match="stride"),
    bad("conv2d", X, W, padding=1.5, error=TypeError, match="padding"),
    bad("conv2d", X, W, padding=((0, 0), (0, 1.0)), error=TypeError, match="padding"),
    bad("conv2d", X, W, padding=NAN, error=TypeError, match="padding"),
    bad("conv2d", X, W, groups=2.0, error=TypeError, match="groups"),
    bad("conv2d", X, W, groups=True, error=TypeError, match="groups"),
    bad("conv2d", X, W, groups=(1, 1), error=TypeError, match="groups"),
    bad("max_pool2d", X, 2.0, error=TypeError, match="kernel_size"),
    bad("max_pool2d", X, True, error=TypeError, match="kernel_size"),
    bad("max_pool2d", X, None, error=TypeError, match="kernel_size"),
    bad("max_pool2d", X, 2, ceil_mode=1, error=TypeError, match="ceil_mode"),
    bad("max_pool2d", X, 2, return_indices=1, error=TypeError, match="return_indices"),
    bad("avg_pool2d", X, 2, count_include_pad=None, error=TypeError, match="count_include_pad"),
    bad("adaptive_avg_pool2d", X, None, error=TypeError, match="output_size"),
    bad("local_response_norm", X, 2.0, error=TypeError, match="size"),
    bad("softmax", X, 1.0, error=TypeError, match="dim"),
    bad("softmax", X, None, error=TypeError, match="dim"),
    bad("elu", X, "1", error=TypeError, match="alpha"),
    bad("elu", X, 1j, error=TypeError, match="alpha"),
    bad("pad", X, 1, error=TypeError, match="pad must be a tuple"),
    bad("pad", X, (1, 1.0), error=TypeError, match="pad"),
    bad("dropout", X, 0.5, 1, 0, error=TypeError, match="training"),
    bad("dropout", X, 0.5, True, 1.0, error=TypeError, match="seed"),
    bad("batch_norm", X, C, C, training=1, error=TypeError, match="training"),
    bad("batch_norm", X, C, C, momentum=None, error=TypeError, match="momentum"),
    # Huge sizes.
    *[
        bad("conv2d", X, W, **{k: HUGE}, match=f"{k} must be at most")
        for k in ("stride", "padding", "dilation", "groups")
    ],
    bad("conv2d", X, W, padding=((HUGE, 0), (0, 0)), match="padding must be at most"),
    bad("conv2d", X, W, padding=10**200, match="padding"),
    bad("conv2d", X, W, padding=2**31 - 1, match="would take"),
    bad("conv2d", X, W, padding=2**31 - 1, padding_mode="replicate", match="would take"),
    bad("conv2d", X, W, dilation=2**31 - 1, match="spans"),
    bad("conv_transpose2d", X, WT, stride=2**31 - 1, match="would take"),
    bad("conv_transpose2d", X, WT, dilation=2**31 - 1, match="would take"),
    bad("max_pool2d", X, HUGE, match="kernel_size"),
    bad("max_pool2d", X, 2**31 - 1, match="spans"),
    bad("adaptive_avg_pool2d", X, 2**31 - 1, match="would take"),
    bad("adaptive_avg_pool2d", X, HUGE, match="output_size"),
    bad("local_response_norm", X, HUGE, match="size"),
    bad("pad", X, (HUGE, 0), match="pad must be at most"),
    bad("pad", X, (2**31 - 1,) * 6, match="would take"),
    bad("dropout", X, 0.5, True, 2**63, match="seed"),
    # Empty arrays: a batch of 0 is fine, nothing else is.
    bad("conv2d", X[:, :, :0], W, match="empty in its batch axis only"),
    bad("conv2d", X[:, :, :0], W, padding=3, match="empty"),
    bad("conv2d", X[:, :0], W[:, :0], match="empty"),
    bad("conv2d", X, W[:0], match="empty"),
    bad("conv2d", X, W[:, :, :0], match="empty"),
    bad("max_pool2d", X[:, :, :, :0], 1, match="empty"),
    bad("avg_pool2d", X[:, :0], 2, match="empty"),
    bad("adaptive_avg_pool2d", X[:, :, :0], 2, match="empty"),
    bad("batch_norm", X[:, :0], C[:0], C[:0], match="empty"),
    bad("local_response_norm", X[:, :, :0], 2, match="empty"),
    bad("cross_entropy", X[:, :0], np.zeros((2, 6, 6), int), match="empty"),
    # Gradients of another shape.
    bad("conv2d_backward", G[:, :, :3], X, W, match=r"grad_output must have shape \(2, 8, 4, 4\)"),
    bad("conv2d_backward", G[0], X, W, match="grad_output"),
    bad("conv_transpose2d_backward", G, X, WT, match="grad_output"),
    bad("max_pool2d_backward", X, X, 2, match="grad_output"),
    bad("adaptive_avg_pool2d_backward", X, X, 2, match="grad_output"),
    bad("batch_norm_backward", X[:1], X, None, None, None, True, match="grad_output"),
    bad("local_response_norm_backward", X[:1], X, 2, match="grad_output"),
    bad("linear_backward", X, X, np.ones((3, 6), np.float32), match="grad_output"),
    bad("relu_backward", X[:1], X, match="grad_output"),
    bad("softmax_backward", X[:1], X, 1, match="grad_output"),
    bad("pad_backward", X, X, (1, 1), match="grad_output"),
    bad("dropout_backward", X[:1], X, 0.5, True, 0, match="grad_output"),
    # Numbers that are not numbers, out of range.
    bad("batch_norm", X, C, C, eps=NAN, match="eps must be finite"),
    bad("batch_norm", X, C, C, eps=INF, match="eps"),
    bad("batch_norm", X, C, C, eps=-1e-5, match="eps must be at least 0"),
    bad("batch_norm", X, C, C, momentum=NAN, match="momentum"),
    bad("batch_norm", X, None, None, match="needed when training is False"),
    bad("batch_norm", X, C, None, training=True, match="both running_mean and running_var"),
    bad("batch_norm", X[:1, :, :1, :1], None, None, training=True, match="more than 1 value"),
    bad("batch_norm", X, np.broadcast_to(C[0], 4), C, training=True, match="read-only"),
    bad("local_response_norm", X, 0, match="size must be at least 1"),
    bad("local_response_norm", X, 2, alpha=NAN, match="alpha"),
    bad("local_response_norm", X, 2, beta=INF, match="beta"),
    bad("local_response_norm", X, 2, k=NAN, match="k must be finite"),
    bad("elu", X, NAN, match="alpha"),
    bad("leaky_relu", X, INF, match="negative_slope"),
    bad("gelu", X, "exact", match="approximate must be one of"),
    bad("softplus", X, 0, match="beta must not be 0"),
    bad("softplus", X, 1, NAN, match="threshold"),
    bad("softmax", X, 4, match="dim 4 is not an axis"),
    bad("softmax", X, -5, match="dim -5"),
    bad("log_softmax", np.float32(1)[...], 0, match="dim 0"),
    bad("dropout", X, 1.5, match="p must be between"),
    bad("dropout", X, -0.1, match="p must be between"),
    bad("dropout", X, NAN, match="p must be finite"),
    bad("pad", X, (1,), match="pad must hold 2"),
    bad("pad", X, (1,) * 10, match="at most 8"),
    bad("pad", X, (-3, -3), match="leave nothing"),
    bad("pad", X, (6, 0), "reflect", match="from 0 to 5"),
    bad("pad", X, (0, 7), "circular", match="from 0 to 6"),
    bad("pad", X, (-1, 0), "replicate", match="from 0"),
    bad("pad", X, (1, 1), "mirror", match="mode must be one of"),
    bad("pad", X, (1, 1), "reflect", 3, match="takes no value"),
    # Targets.
    bad(
        "cross_entropy",
        X,
        np.full((2, 6, 6), 4),
        match=r"target 4 is not a class index in \[0, 4\)",
    ),
    bad("cross_entropy", X, np.full((2, 6, 6), -1), match="target -1"),
    bad(
        "cross_entropy", X, np.full((2, 6, 6), 2**63, np.uint64), match="target 9223372036854775808"
    ),
    bad("cross_entropy", X, np.zeros((2, 6), int), match=r"must have shape \(2, 6, 6\)"),
    bad("cross_entropy", X, X[:1], match="probabilities"),
    bad("cross_entropy", X, X.astype(float), error=TypeError, match="target"),
    bad("cross_entropy", X, np.zeros((2, 6, 6), bool), error=TypeError, match="target"),
    bad("cross_entropy", X, [0, 1], error=TypeError, match="target"),
    bad("cross_entropy", X, X, ignore_index=1, match="ignore_index"),
    bad("cross_entropy", X, X, ignore_index=1.0, error=TypeError, match="ignore_index"),
    bad("cross_entropy", X, X, B, match="weight must have shape"),
    bad("cross_entropy", X, X, C.astype(float), error=TypeError, match="weight"),
    bad("cross_entropy", X, X, reduction="avg", match="reduction must be one of"),
    bad("cross_entropy", X, X, reduction=None, error=TypeError, match="reduction"),
    bad("cross_entropy", X, X, label_smoothing=1.1, match="label_smoothing"),
    bad("cross_entropy", X, X, label_smoothing=NAN, match="label_smoothing"),
    bad("cross_entropy_backward", NAN, X, X, match="grad_output"),
    bad("cross_entropy_backward", X, X, X, reduction="none", match="grad_output"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "error", "match"), TABLE)
def test_bad_input(name, args, kwargs, error, match):
    with pytest.raises(error, match=match) as caught:
        getattr(F, name)(*args, **kwargs)
    assert caught.type is error
    assert str(caught.value).startswith(f"{name}: ")


def test_cached_plan_does_not_skip_type_checks():
    F.conv2d(X, W, stride=1, groups=1)
    with pytest.raises(TypeError, match="stride"):
        F.conv2d(X, W, stride=True)
    with pytest.raises(TypeError, match="groups"):
        F.conv2d(X, W, groups=1.0)
    F.max_pool2d(X, 2, ceil_mode=True)
    with pytest.raises(TypeError, match="ceil_mode"):
        F.max_pool2d(X, 2, ceil_mode=1)


def test_failed_batch_norm_leaves_statistics():
    mean, var = C.copy(), C.copy()
    with pytest.raises(ValueError, match="weight"):
        F.batch_norm(X, mean, var, B, training=True)
    np.testing.assert_array_equal(mean, C)
    np.testing.assert_array_equal(var, C)
