"""Convolution and dense layers."""

import numpy as np

ZERO = ((0, 0), (0, 0))


def _zero_pad(x, padding):
    return np.pad(x, ((0, 0), (0, 0), *padding))


def _places(shape, kernel, stride, dilation):
    """For each output position and kernel element the position it reads in the padded input."""
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(shape, kernel, stride, dilation, strict=True)
    ]
    for i in range(out[0]):
        for j in range(out[1]):
            rows = i * stride[0] + dilation[0] * np.arange(kernel[0])
            cols = j * stride[1] + dilation[1] * np.arange(kernel[1])
            yield i, j, np.ix_(rows, cols)


def _out_size(padded, kernel, stride, dilation):
    return [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded, kernel, stride, dilation, strict=True)
    ]


def _channels(group, w, x_channels, groups):
    inputs = slice(group * x_channels // groups, (group + 1) * x_channels // groups)
    outputs = slice(group * w.shape[0] // groups, (group + 1) * w.shape[0] // groups)
    return inputs, outputs


def conv2d(x, w, b, stride=(1, 1), padding=ZERO, dilation=(1, 1), groups=1):
    """Every output pixel is the product of one patch and the weights, plus the bias."""
    x, w = np.float64(x), np.float64(w)
    xp = _zero_pad(x, padding)
    size = _out_size(xp.shape[2:], w.shape[2:], stride, dilation)
    y = np.zeros((x.shape[0], w.shape[0], *size))
    for i, j, (rows, cols) in _places(xp.shape[2:], w.shape[2:], stride, dilation):
        patch = xp[:, :, rows, cols]
        for group in range(groups):
            ins, outs = _channels(group, w, x.shape[1], groups)
            y[:, outs, i, j] = np.tensordot(patch[:, ins], w[outs], axes=((1, 2, 3), (1, 2, 3)))
    return y if b is None else y + np.float64(b)[:, None, None]


def conv2d_backward(g, x, w, stride=(1, 1), padding=ZERO, dilation=(1, 1), groups=1):
    """Scatters each output pixel's gradient to the patch and the weights it came from."""
    g, x, w = np.float64(g), np.float64(x), np.float64(w)
    xp = _zero_pad(x, padding)
    dxp, dw = np.zeros(xp.shape), np.zeros(w.shape)
    for i, j, (rows, cols) in _places(xp.shape[2:], w.shape[2:], stride, dilation):
        for group in range(groups):
            ins, outs = _channels(group, w, x.shape[1], groups)
            patch = xp[:, ins, rows, cols]
            pixel = g[:, outs, i, j]
            dw[outs] += np.tensordot(pixel, patch, axes=((0,), (0,)))
            dxp[:, ins, rows, cols] += np.tensordot(pixel, w[outs], axes=((1,), (0,)))
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
    """Every input pixel adds its product with the weights to a patch of the output."""
    x, w = np.float64(x), np.float64(w)
    full, keep = _transpose_canvas(x, w, stride, padding, output_padding, dilation)
    y = np.zeros((x.shape[0], w.shape[1] * groups, *full))
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            rows = i * stride[0] + dilation[0] * np.arange(w.shape[2])
            cols = j * stride[1] + dilation[1] * np.arange(w.shape[3])
            rows, cols = np.ix_(rows, cols)
            for group in range(groups):
                ins = slice(group * x.shape[1] // groups, (group + 1) * x.shape[1] // groups)
                outs = slice(group * w.shape[1], (group + 1) * w.shape[1])
                y[:, outs, rows, cols] += np.tensordot(x[:, ins, i, j], w[ins], axes=((1,), (0,)))
    y = y[(slice(None), slice(None), *keep)]
    return y if b is None else y + np.float64(b)[:, None, None]


def conv_transpose2d_backward(
    g, x, w, stride=(1, 1), padding=ZERO, output_padding=(0, 0), groups=1, dilation=(1, 1)
):
    """Each input pixel's gradient is the product of its output patch's gradient and the weights."""
    g, x, w = np.float64(g), np.float64(x), np.float64(w)
    full, keep = _transpose_canvas(x, w, stride, padding, output_padding, dilation)
    canvas = np.zeros((*g.shape[:2], *full))
    canvas[(slice(None), slice(None), *keep)] = g
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            rows = i * stride[0] + dilation[0] * np.arange(w.shape[2])
            cols = j * stride[1] + dilation[1] * np.arange(w.shape[3])
            rows, cols = np.ix_(rows, cols)
            for group in range(groups):
                ins = slice(group * x.shape[1] // groups, (group + 1) * x.shape[1] // groups)
                outs = slice(group * w.shape[1], (group + 1) * w.shape[1])
                patch = canvas[:, outs, rows, cols]
                dx[:, ins, i, j] = np.tensordot(patch, w[ins], axes=((1, 2, 3), (1, 2, 3)))
                dw[ins] += np.tensordot(x[:, ins, i, j], patch, axes=((0,), (0,)))
    return dx, dw, g.sum((0, 2, 3))


def linear(x, w, b):
    """Rows times weights."""
    y = np.float64(x) @ np.float64(w).T
    return y if b is None else y + np.float64(b)


def linear_backward(g, x, w):
    """Products of the gradient with weights and inputs."""
    rows, inputs = np.float64(g).reshape(-1, g.shape[-1]), np.float64(x).reshape(-1, x.shape[-1])
    return np.float64(g) @ np.float64(w), rows.T @ inputs, rows.sum(0)
