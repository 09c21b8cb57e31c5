"""The network's computations in float64 NumPy: slow, obvious, independent."""

from __future__ import annotations

import math

import numpy as np

ACTIVATIONS = {
    None: lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def in_window(c, d, channels, depth_radius, groups=1):
    """Return whether channel `d` is in the window of channel `c`."""
    width = channels // groups
    return abs(c - d) <= depth_radius and c // width == d // width


def lrn(x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75, groups=1):
    """Local response normalization over the last axis."""
    x = np.asarray(x, np.float64)
    channels = x.shape[-1]
    y = np.empty_like(x)
    for c in range(channels):
        total = np.zeros(x.shape[:-1])
        for d in range(channels):
            if in_window(c, d, channels, depth_radius, groups):
                total += x[..., d] ** 2
        y[..., c] = x[..., c] / (bias + alpha * total) ** beta
    return y


def lrn_gradient(
    x, upstream, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75, groups=1
):
    """Gradient of `sum(upstream * lrn(x))`, one entry of the Jacobian at a time."""
    x, upstream = np.asarray(x, np.float64), np.asarray(upstream, np.float64)
    channels = x.shape[-1]
    gradient = np.zeros_like(x)
    for c in range(channels):
        window = [
            d
            for d in range(channels)
            if in_window(c, d, channels, depth_radius, groups)
        ]
        base = bias + alpha * sum(x[..., d] ** 2 for d in window)
        for d in window:
            slope = -beta * base ** (-beta - 1) * 2 * alpha * x[..., d] * x[..., c]
            if d == c:
                slope = slope + base**-beta
            gradient[..., d] += upstream[..., c] * slope
    return gradient


def spatial_windows(x, pool_size):
    """Yield (row, column, part of `x` around it) for each pixel."""
    height, width = pair(pool_size)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            top, left = i - height // 2, j - width // 2
            rows = slice(max(top, 0), top + height)
            columns = slice(max(left, 0), left + width)
            yield i, j, (slice(None), rows, columns)


def spatial_lrn(x, pool_size=5, bias=1.0, alpha=4e-5, beta=0.75):
    """Local response normalization over the pixels of each map."""
    x = np.asarray(x, np.float64)
    y = np.empty_like(x)
    for i, j, window in spatial_windows(x, pool_size):
        total = np.sum(x[window] ** 2, axis=(1, 2))
        y[:, i, j] = x[:, i, j] / (bias + alpha * total) ** beta
    return y


def spatial_lrn_gradient(x, upstream, pool_size=5, bias=1.0, alpha=4e-5, beta=0.75):
    """Gradient of `sum(upstream * spatial_lrn(x))`, one output at a time."""
    x, upstream = np.asarray(x, np.float64), np.asarray(upstream, np.float64)
    gradient = np.zeros_like(x)
    for i, j, window in spatial_windows(x, pool_size):
        base = bias + alpha * np.sum(x[window] ** 2, axis=(1, 2))
        weight = upstream[:, i, j] * x[:, i, j] * -beta * base ** (-beta - 1)
        gradient[window] += 2 * alpha * x[window] * weight[:, None, None]
        gradient[:, i, j] += upstream[:, i, j] * base**-beta
    return gradient


def pad_amounts(length, size, stride, padding, axis):
    """Pixels that `padding` adds before and after one axis."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        added = max((math.ceil(length / stride) - 1) * stride + size - length, 0)
        return added // 2, added - added // 2
    if padding == "ceil":
        places = 1 + math.ceil((length - size) / stride)
        while (places - 1) * stride >= length:
            places -= 1
        return 0, max((places - 1) * stride + size - length, 0)
    if isinstance(padding, int):
        return padding, padding
    return padding[axis]


def windows(x, size, strides, padding, fill):
    """Yield (row, column, window) for each place a window takes in `x`."""
    amounts = [
        pad_amounts(x.shape[1 + axis], size[axis], strides[axis], padding, axis)
        for axis in (0, 1)
    ]
    x = np.pad(x, ((0, 0), *amounts, (0, 0)), constant_values=fill)
    rows = range(0, x.shape[1] - size[0] + 1, strides[0])
    columns = range(0, x.shape[2] - size[1] + 1, strides[1])
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            yield i, j, x[:, row : row + size[0], column : column + size[1], :]


def place(results):
    """Arrange (row, column, values) as (batch, rows, columns, channels)."""
    placed = {(i, j): values for i, j, values in results}
    rows = 1 + max(i for i, _ in placed)
    columns = 1 + max(j for _, j in placed)
    return np.stack(
        [np.stack([placed[i, j] for j in range(columns)], axis=1) for i in range(rows)],
        axis=1,
    )


def conv(x, kernel, bias, strides, padding, groups=1):
    """Convolution of `groups` equal parts of the channels."""
    inputs, outputs = x.shape[-1] // groups, kernel.shape[-1] // groups
    size = kernel.shape[:2]
    parts = []
    for g in range(groups):
        part = x[..., g * inputs : (g + 1) * inputs]
        part_kernel = kernel[..., g * outputs : (g + 1) * outputs]
        parts.append(
            place(
                (i, j, np.einsum("bhwc,hwcf->bf", window, part_kernel))
                for i, j, window in windows(part, size, strides, padding, 0)
            )
        )
    return np.concatenate(parts, axis=-1) + bias


def pool(x, kind, size, strides, padding):
    """Max or average pooling; what is padded does not count."""
    reduce = {"max": np.nanmax, "average": np.nanmean}[kind]
    return place(
        (i, j, reduce(window, axis=(1, 2)))
        for i, j, window in windows(x, size, strides, padding, np.nan)
    )


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def conv_block(x, arguments, kernel, bias):
    """Output of `ConvBlock(**arguments)`, with every argument given."""
    x = np.asarray(x, np.float64)
    for stage in arguments["order"]:
        if stage == "conv":
            x = conv(
                x,
                np.asarray(kernel, np.float64),
                np.asarray(bias, np.float64),
                pair(arguments["strides"]),
                arguments["padding"],
                arguments["groups"],
            )
        elif stage == "activation":
            x = ACTIVATIONS[arguments["activation"]](x)
        elif stage == "norm":
            norm = arguments["norm"] or ()
            for one in (norm,) if isinstance(norm, dict) else norm:
                x = (spatial_lrn if "pool_size" in one else lrn)(x, **one)
        elif stage == "pool" and arguments["pool"] is not None:
            x = pool(
                x,
                arguments["pool"],
                pair(arguments["pool_size"]),
                pair(arguments["pool_strides"]),
                arguments["pool_padding"],
            )
    return x
