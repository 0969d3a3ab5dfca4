"""Photo finishing: gamma, unsharp mask with a small Gaussian, Sobel edges."""

import numpy as np

from tests.programs import Program

WEIGHTS = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0


def gamma_correct(image, gamma):
    return (image.astype(np.float64) / 255.0) ** (1.0 / gamma)


def blur(image):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = sum(w * padded[i : i + image.shape[0]] for i, w in enumerate(WEIGHTS))
    return sum(w * rows[:, i : i + image.shape[1]] for i, w in enumerate(WEIGHTS))


def unsharp_mask(image, amount):
    return np.clip(image + amount * (image - blur(image)), 0.0, 1.0)


def sobel(grey):
    p = np.pad(grey, 1, mode="edge")
    gx = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[1:-1, :-2] + p[2:, :-2])
    gy = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[:-2, 1:-1] + p[:-2, 2:])
    return np.sqrt(gx * gx + gy * gy)


def finish_photo(image, gamma, amount):
    sharp = unsharp_mask(gamma_correct(image, gamma), amount)
    grey = sharp @ np.array([0.299, 0.587, 0.114])
    edges = sobel(grey)
    return (sharp * 255.0).astype(np.uint8) if amount == 0 else sharp, edges / edges.max()


def make_arguments(rng, size):
    return rng.integers(0, 256, (size, size + 3, 3)).astype(np.uint8), 2.2, 0.8


def make_grey(rng, size):
    return (rng.random((size, size + 1)),)


PROGRAMS = [
    Program("image_pipeline", finish_photo, make_arguments, (1e-10, 1e-12)),
    Program("sobel", sobel, make_grey, (0.0, 0.0)),
]
