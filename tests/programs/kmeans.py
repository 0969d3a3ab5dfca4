"""One step of Lloyd's k-means."""

import numpy as np

from tests.programs import Program


def kmeans_step(points, centers):
    distances = ((points[:, np.newaxis, :] - centers[np.newaxis, :, :]) ** 2).sum(axis=2)
    labels = distances.argmin(axis=1)
    moved = np.empty_like(centers)
    for k in range(centers.shape[0]):
        members = labels == k
        count = np.maximum(members.sum(), 1)
        moved[k] = (points * members[:, None]).sum(axis=0) / count
    return labels, moved, distances.min(axis=1).sum()


def kmeans_masked(points, centers):
    distances = np.linalg.norm(points[:, None] - centers[None], axis=-1)
    labels = np.argmin(distances, axis=1)
    return np.array([points[labels == k].mean(axis=0) for k in range(len(centers)) if np.any(labels == k)])


def make_arguments(rng, size):
    points = rng.normal(size=(6 * size, 2))
    return points, points[:4].copy()


PROGRAMS = [
    Program("kmeans_step", kmeans_step, make_arguments),
    Program("kmeans_masked", kmeans_masked, make_arguments),
]
