"""Arguments and results in dicts, named tuples, dataclasses and nested lists."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tests.programs import Program


class Sphere(NamedTuple):
    center: np.ndarray
    radius: float


@dataclass(frozen=True)
class Box:
    low: np.ndarray
    high: np.ndarray

    def contains(self, points):
        return np.all((points >= self.low) & (points <= self.high), axis=-1)


def scene_distance(points, scene):
    sphere, box = scene["sphere"], scene["box"]
    to_sphere = np.linalg.norm(points - sphere.center, axis=-1) - sphere.radius
    offset = np.maximum(box.low - points, points - box.high)
    to_box = np.sqrt((np.maximum(offset, 0.0) ** 2).sum(-1)) + np.minimum(offset.max(-1), 0.0)
    return {"inside": box.contains(points), "nearest": [to_sphere, to_box, np.minimum(to_sphere, to_box)]}


def adam_step(parameters, gradients, state):
    """Updates nested lists of arrays in place."""
    for p, g, (m, v) in zip(parameters, gradients, state, strict=True):
        m *= 0.9
        m += 0.1 * g
        v *= 0.999
        v += 0.001 * g**2
        p -= 0.01 * (m / 0.1) / (np.sqrt(v / 0.001) + 1e-8)


def make_scene(rng, size):
    scene = {"sphere": Sphere(rng.normal(size=3), 0.7), "box": Box(np.full(3, -0.5), np.full(3, 0.8))}
    return rng.normal(size=(4 * size, 3)), scene


def make_adam(rng, size):
    shapes = [(size, 3), (3,), ()]
    parameters = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    gradients = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    return parameters, gradients, [(np.zeros(shape), np.zeros(shape)) for shape in shapes]


PROGRAMS = [
    Program("scene_distance", scene_distance, make_scene),
    Program("adam_step", adam_step, make_adam, (0.0, 0.0), mutates=True),
]
