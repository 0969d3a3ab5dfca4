"""Layers and small networks, channels last, float32."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def conv2d_bias(x, weights, bias):
    """A convolution without padding: for each tap a matrix product over the channels."""
    size = weights.shape[0]
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    result = np.zeros((x.shape[0], height, width, weights.shape[3]), x.dtype)
    for i in range(size):
        for j in range(size):
            result += x[:, i : i + height, j : j + width, :] @ weights[i, j]
    return result + bias


def conv2d_loop(x, weights, bias):
    """The same with a sum for each pixel of the output, as it is often written."""
    size = weights.shape[0]
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    result = np.empty((x.shape[0], height, width, weights.shape[3]), x.dtype)
    for i in range(height):
        for j in range(width):
            window = x[:, i : i + size, j : j + size, :, None]
            result[:, i, j, :] = np.sum(window * weights[None], axis=(1, 2, 3))
    return result + bias


def batch_norm(x):
    """Over the batch."""
    return (x - np.mean(x, axis=0, keepdims=True)) / np.sqrt(np.var(x, axis=0, keepdims=True) + 1e-5)


def resnet_block(x, first, second, third):
    """A bottleneck: 1x1, padded 3x3 and 1x1 convolutions, each normalized, and the shortcut."""
    y = relu(batch_norm(x @ first))
    padded = np.zeros((y.shape[0], y.shape[1] + 2, y.shape[2] + 2, y.shape[3]), y.dtype)
    padded[:, 1:-1, 1:-1, :] = y
    y = relu(batch_norm(conv2d_bias(padded, second, 0)))
    return relu(batch_norm(y @ third) + x)


def mlp(x, w1, b1, w2, b2, w3, b3):
    """Three dense layers and softmax."""
    x = relu(x @ w1 + b1)
    x = relu(x @ w2 + b2)
    return softmax(x @ w3 + b3)


def max_pool(x):
    """2x2."""
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    return x.reshape(x.shape[0], rows, 2, columns, 2, x.shape[3]).max(axis=(2, 4))


def lenet(x, conv1, bias1, conv2, bias2, w1, b1, w2, b2, w3, b3):
    """LeNet-5: two convolutions with pooling, three dense layers."""
    x = max_pool(relu(conv2d_bias(x, conv1, bias1)))
    x = max_pool(relu(conv2d_bias(x, conv2, bias2)))
    x = x.reshape(x.shape[0], -1)
    x = relu(x @ w1 + b1)
    x = relu(x @ w2 + b2)
    return x @ w3 + b3


def _normal(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def _layer(rng, inputs, outputs):
    return _normal(rng, inputs, outputs) / np.float32(inputs**0.5), _normal(rng, outputs)


def _conv(rng, n):
    channels = min(2 + n // 8, 16)
    return _normal(rng, 4, n + 2, n + 2, channels), _normal(rng, 3, 3, channels, channels), _normal(rng, channels)


def _block(rng, n):
    wide, narrow = (8, 4) if n < 10 else (64, 16)
    shapes = ((wide, narrow), (3, 3, narrow, narrow), (narrow, wide))
    return _normal(rng, 4, n, n, wide), *(_normal(rng, *shape) / np.float32(8) for shape in shapes)


def _mlp(rng, n):
    return _normal(rng, n, 64), *_layer(rng, 64, 256), *_layer(rng, 256, 128), *_layer(rng, 128, 10)


def _lenet(rng, n):
    convolutions = _normal(rng, 5, 5, 1, 6) / 5, _normal(rng, 6), _normal(rng, 5, 5, 6, 16) / 12, _normal(rng, 16)
    return (
        _normal(rng, n, 28, 28, 1),
        *convolutions,
        *_layer(rng, 256, 120),
        *_layer(rng, 120, 84),
        *_layer(rng, 84, 10),
    )


KERNELS = (
    Kernel("softmax", softmax, lambda rng, n: (_normal(rng, n, 8, 64),), (1, 20, 200, 5000), tolerance=1e-4),
    Kernel("conv2d_bias", conv2d_bias, _conv, (1, 8, 32, 128), tolerance=1e-3),
    Kernel("conv2d_loop", conv2d_loop, _conv, (1, 4, 16, 40), tolerance=1e-3),
    Kernel("resnet_block", resnet_block, _block, (2, 14, 56), tolerance=1e-2),
    Kernel("mlp", mlp, _mlp, (1, 20, 500, 5000), tolerance=1e-3),
    Kernel("lenet", lenet, _lenet, (1, 8, 64), tolerance=1e-3),
)
