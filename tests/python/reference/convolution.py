"""Convolution and dense layers. Loops run over kernel elements: each multiplies a strided view of
the image with one matrix (outputs, inputs) of every group.
"""

import numpy as np

ZERO = ((0, 0), (0, 0))


def _out_size(padded, kernel, stride, dilation):
    return [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded, kernel, stride, dilation, strict=True)
    ]


def _views(kernel, size, stride, dilation):
    """Kernel elements, and where an image with a pixel of each of `size` places is read by them."""
    for i, j in np.ndindex(*kernel):
        begin = (i * dilation[0], j * dilation[1])
        ends = (b + (n - 1) * s + 1 for b, n, s in zip(begin, size, stride, strict=True))
        places = (slice(b, e, s) for b, e, s in zip(begin, ends, stride, strict=True))
        yield i, j, (slice(None), slice(None), *places)


def _grouped(x, groups):
    """(N, C, H, W) as (N, G, C / G, H * W)."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)


def _weight_gradient(g, x):
    """Sums over images and pixels of (N, G, O, P) times (N, G, I, P): (G * O, I)."""
    return (g @ x.swapaxes(2, 3)).sum(0).reshape(g.shape[1] * g.shape[2], x.shape[2])


def conv2d(x, w, b, stride=(1, 1), padding=ZERO, dilation=(1, 1), groups=1):
    """Every kernel element adds its product with the pixels that it reads."""
    x, w = np.float64(x), np.float64(w)
    xp = np.pad(x, ((0, 0), (0, 0), *padding))
    size = _out_size(xp.shape[2:], w.shape[2:], stride, dilation)
    y = np.zeros((x.shape[0], groups, w.shape[0] // groups, size[0] * size[1]))
    by_group = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    for i, j, view in _views(w.shape[2:], size, stride, dilation):
        y += by_group[..., i, j] @ _grouped(xp[view], groups)
    y = y.reshape(x.shape[0], w.shape[0], *size)
    return y if b is None else y + np.float64(b)[:, None, None]


def conv2d_backward(g, x, w, stride=(1, 1), padding=ZERO, dilation=(1, 1), groups=1):
    """Every kernel element gives its pixels their gradient, and gets its own from them."""
    g, x, w = np.float64(g), np.float64(x), np.float64(w)
    xp = np.pad(x, ((0, 0), (0, 0), *padding))
    dxp, dw = np.zeros(xp.shape), np.zeros(w.shape)
    by_group, rows = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]), _grouped(g, groups)
    for i, j, view in _views(w.shape[2:], g.shape[2:], stride, dilation):
        dw[:, :, i, j] = _weight_gradient(rows, _grouped(xp[view], groups))
        dxp[view] += (by_group[..., i, j].swapaxes(1, 2) @ rows).reshape(xp[view].shape)
    (top, _), (left, _) = padding
    dx = dxp[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return dx, dw, g.sum((0, 2, 3))


def _transpose_canvas(x, w, stride, padding, output_padding, dilation):
    """The uncut output's size, and what is left of it after padding cuts."""
    full, keep = [], []
    for a in range(2):
        reach = (x.shape[2 + a] - 1) * stride[a] + dilation[a] * (w.shape[2 + a] - 1) + 1
        full.append(reach + output_padding[a])
        keep.append(slice(padding[a][0], full[a] - padding[a][1]))
    return full, tuple(keep)


def conv_transpose2d(
    x, w, b, stride=(1, 1), padding=ZERO, output_padding=(0, 0), groups=1, dilation=(1, 1)
):
    """Every kernel element adds its product with all input pixels to the output, spread out."""
    x, w = np.float64(x), np.float64(w)
    full, keep = _transpose_canvas(x, w, stride, padding, output_padding, dilation)
    y = np.zeros((x.shape[0], w.shape[1] * groups, *full))
    by_group, pixels = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]), _grouped(x, groups)
    for i, j, view in _views(w.shape[2:], x.shape[2:], stride, dilation):
        y[view] += (by_group[..., i, j].swapaxes(1, 2) @ pixels).reshape(y[view].shape)
    y = y[(slice(None), slice(None), *keep)]
    return y if b is None else y + np.float64(b)[:, None, None]


def conv_transpose2d_backward(
    g, x, w, stride=(1, 1), padding=ZERO, output_padding=(0, 0), groups=1, dilation=(1, 1)
):
    """Every kernel element gives all input pixels their gradient, and gets its own from them."""
    g, x, w = np.float64(g), np.float64(x), np.float64(w)
    full, keep = _transpose_canvas(x, w, stride, padding, output_padding, dilation)
    canvas = np.zeros((*g.shape[:2], *full))
    canvas[(slice(None), slice(None), *keep)] = g
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    by_group, pixels = w.reshape(groups, w.shape[0] // groups, *w.shape[1:]), _grouped(x, groups)
    for i, j, view in _views(w.shape[2:], x.shape[2:], stride, dilation):
        spread = _grouped(canvas[view], groups)
        dx += (by_group[..., i, j] @ spread).reshape(x.shape)
        dw[:, :, i, j] = _weight_gradient(pixels, spread)
    return dx, dw, g.sum((0, 2, 3))


def linear(x, w, b):
    """Rows times weights."""
    y = np.float64(x) @ np.float64(w).T
    return y if b is None else y + np.float64(b)


def linear_backward(g, x, w):
    """Products of the gradient with weights and inputs."""
    rows, inputs = np.float64(g).reshape(-1, g.shape[-1]), np.float64(x).reshape(-1, x.shape[-1])
    return np.float64(g) @ np.float64(w), rows.T @ inputs, rows.sum(0)
