"""Layer normalization and a GELU feed-forward block, in float32."""

import numpy as np

from tests.programs import Program


def layernorm(x, gain, shift, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * gain + shift


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def block(x, parameters):
    hidden = gelu(layernorm(x, parameters["gain"], parameters["shift"]) @ parameters["up"])
    return x + hidden @ parameters["down"]


def make_arguments(rng, size):
    width = 8
    parameters = {
        "gain": rng.normal(size=width),
        "shift": rng.normal(size=width),
        "up": rng.normal(size=(width, 2 * width)),
        "down": rng.normal(size=(2 * width, width)),
    }
    x = rng.normal(size=(size, width)).astype(np.float32)
    return x, {name: value.astype(np.float32) for name, value in parameters.items()}


PROGRAMS = [Program("layernorm_block", block, make_arguments, (1e-4, 1e-4))]
