"""Bilinear interpolation: scale an image with fancy indexing."""

import numpy as np

from tests.programs import Program


def resize(image, height, width):
    rows = np.linspace(0, image.shape[0] - 1, height)
    columns = np.linspace(0, image.shape[1] - 1, width)
    top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    low = np.minimum(top + 1, image.shape[0] - 1)
    right = np.minimum(left + 1, image.shape[1] - 1)
    fy, fx = (rows - top)[:, None], (columns - left)[None, :]
    upper = image[top[:, None], left] * (1 - fx) + image[top[:, None], right] * fx
    lower = image[low[:, None], left] * (1 - fx) + image[low[:, None], right] * fx
    return upper * (1 - fy) + lower * fy


def make_arguments(rng, size):
    return rng.random((size, size + 2)), 2 * size - 1, size // 2 + 1


PROGRAMS = [Program("bilinear_resize", resize, make_arguments)]
