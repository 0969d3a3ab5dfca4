"""Direct convolution, in one and two dimensions, without an FFT."""

import numpy as np

from tests.programs import Program


def convolve1d(signal, kernel):
    out = np.zeros(len(signal) + len(kernel) - 1)
    for i, k in enumerate(kernel):
        out[i : i + len(signal)] += k * signal
    return out


def convolve2d(image, kernel):
    kh, kw = kernel.shape
    padded = np.pad(image, ((kh // 2, kh // 2), (kw // 2, kw // 2)))
    out = np.zeros_like(image)
    for i in range(kh):
        for j in range(kw):
            out += kernel[i, j] * padded[i : i + image.shape[0], j : j + image.shape[1]]
    return out


def make_signal(rng, size):
    return rng.normal(size=10 * size), rng.normal(size=5)


def make_image(rng, size):
    return rng.normal(size=(size, size + 4)), rng.normal(size=(3, 3))


PROGRAMS = [
    Program("convolve1d", convolve1d, make_signal, (0.0, 0.0)),
    Program("convolve2d", convolve2d, make_image, (0.0, 0.0)),
]
