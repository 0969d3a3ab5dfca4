"""JPEG-like block transform: 8x8 DCT by matrix products, quantized and put back."""

import numpy as np

from tests.programs import Program


def dct_matrix(n=8):
    k, i = np.arange(n)[:, None], np.arange(n)[None, :]
    scale = np.where(k == 0, np.sqrt(1 / n), np.sqrt(2 / n))
    return scale * np.cos(np.pi * (2 * i + 1) * k / (2 * n))


def compress(image, step):
    height, width = image.shape
    d = dct_matrix()
    blocks = image.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)
    coefficients = d @ (blocks - 128.0) @ d.T
    kept = np.rint(coefficients / step) * step
    restored = (d.T @ kept @ d + 128.0).transpose(0, 2, 1, 3).reshape(height, width)
    return np.clip(restored, 0, 255), np.mean((restored - image) ** 2)


def make_arguments(rng, size):
    return rng.uniform(0, 255, (8 * (size // 4), 16)), 7.3


PROGRAMS = [Program("dct_blocks", compress, make_arguments, (1e-9, 1e-9))]
