"""Rays against spheres: nearest hit, normal, and a little shading."""

import numpy as np

from tests.programs import Program


def trace_rays(origins, directions, centers, radii, light):
    to_center = origins[:, None, :] - centers[None, :, :]
    b = 2.0 * np.sum(to_center * directions[:, None, :], axis=-1)
    c = np.sum(to_center**2, axis=-1) - radii**2
    discriminant = b * b - 4.0 * c
    root = np.sqrt(np.maximum(discriminant, 0.0))
    near, far = (-b - root) / 2.0, (-b + root) / 2.0
    t = np.where(near > 1e-6, near, far)
    t = np.where((discriminant >= 0) & (t > 1e-6), t, np.inf)
    which = np.argmin(t, axis=1)
    distance = t[np.arange(len(t)), which]
    hit = np.isfinite(distance)
    where = origins + np.where(hit, distance, 0.0)[:, None] * directions
    normal = (where - centers[which]) / radii[which][:, None]
    shade = np.clip(normal @ light, 0.0, 1.0) * hit
    return hit, which, distance, shade


def make_arguments(rng, size):
    directions = rng.normal(size=(4 * size, 3)) + np.array([0.0, 0.0, 3.0])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = np.zeros((4 * size, 3))
    centers = rng.uniform(-2, 2, (5, 3)) + np.array([0.0, 0.0, 6.0])
    light = np.array([1.0, 1.0, -1.0]) / np.sqrt(3.0)
    return origins, directions, centers, rng.uniform(0.5, 1.5, 5), light


PROGRAMS = [Program("ray_sphere", trace_rays, make_arguments, (1e-10, 1e-11))]
