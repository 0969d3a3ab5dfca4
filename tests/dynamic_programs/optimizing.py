"""Descent, conjugate gradients, clustering, annealing: loops that stop when there is no more to win."""

import numpy as np

from tests.dynamic_programs import DynamicProgram


def early_stopping(x, target):
    """Gradient descent on a least-squares loss until it gets no better."""
    best = np.inf
    epoch = 0
    while epoch < 100:
        epoch += 1
        error = x - target
        loss = np.mean(error**2)
        if loss < 1e-4 or loss > best:
            break
        best = loss
        x = x - 0.3 * error * (1 + loss)
    return x, best, epoch


def descended_loss(x, target):
    while True:
        error = x - target
        loss = (error**2).sum()
        if loss < 0.05:
            return loss
        x = x - 0.3 * error


def backtracking(x):
    """Rosenbrock's valley with a line search that halves its step."""

    def valley(p):
        return (1 - p[0]) ** 2 + 10.0 * (p[1] - p[0] ** 2) ** 2

    for _ in range(6):
        slope = np.array([-2 * (1 - x[0]) - 40 * x[0] * (x[1] - x[0] ** 2), 20 * (x[1] - x[0] ** 2)])
        step = 1.0
        while valley(x - step * slope) > valley(x) - 0.3 * step * (slope @ slope):
            step *= 0.5
        x = x - step * slope
    return x, valley(x)


def conjugate_gradient(matrix, b):
    x = np.zeros_like(b)
    r = b - matrix @ x
    p = r.copy()
    rs = r @ r
    for _ in range(len(b) + 5):
        ap = matrix @ p
        alpha = rs / (p @ ap)
        x += alpha * p
        r -= alpha * ap
        fresh = r @ r
        if np.sqrt(fresh) < 1e-10:
            break
        p = r + (fresh / rs) * p
        rs = fresh
    return x


def conjugate_gradient_energy(b):
    matrix = np.diag(np.arange(1.0, len(b) + 1)) + 0.1
    return conjugate_gradient(matrix, b) @ b


def kmeans(points, centers):
    labels = None
    while True:
        distances = ((points[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2)
        found = distances.argmin(axis=1)
        if labels is not None and np.array_equal(found, labels):
            return labels, centers
        labels = found
        centers = np.stack([points[labels == k].mean(axis=0) for k in range(len(centers))])


def annealing(x, seed):
    rng = np.random.default_rng(seed)
    energy = np.sum(x**2)
    accepted = 0
    for temperature in (1.0, 0.5, 0.25, 0.1):
        moved = x + rng.normal(size=x.shape) * 0.3
        trial = np.sum(moved**2)
        if trial < energy or rng.random() < np.exp((energy - trial) / temperature):
            x, energy = moved, trial
            accepted += 1
    return x, energy, accepted


def _systems():
    rng = np.random.default_rng(5)
    made = []
    for size in (3, 4):
        half = rng.normal(size=(size, size))
        made.append((half @ half.T + np.eye(size), rng.normal(size=size)))
    return made


def _clusters():
    rng = np.random.default_rng(9)
    made = []
    for count in (12, 20):
        points = rng.normal(size=(count, 2)) + np.repeat([[-2.0], [2.0]], count // 2, axis=0)
        made.append((points, points[[0, 1]].copy()))
    return made


def _targets():
    return [
        (np.array([3.0, -1.0]), np.array([0.5, 0.5])),
        (np.array([0.6, 0.6, 0.4]), np.array([0.5, 0.5, 0.5])),
        (np.array([9.0]), np.array([0.0])),
    ]


PROGRAMS = [
    DynamicProgram("early_stopping", early_stopping, _targets, (1e-13, 1e-15)),
    DynamicProgram("descended_loss", descended_loss, _targets, (1e-13, 1e-15), gradient=(0, 1)),
    DynamicProgram(
        "backtracking",
        backtracking,
        lambda: [(np.array([-1.2, 1.0]),), (np.array([0.0, 0.0]),)],
        (1e-10, 1e-13),
    ),
    DynamicProgram("conjugate_gradient", conjugate_gradient, _systems, (1e-8, 1e-10)),
    DynamicProgram(
        "conjugate_gradient_energy",
        conjugate_gradient_energy,
        lambda: [(np.array([1.0, 2.0, -1.0]),), (np.array([0.5, 0.25]),)],
        (1e-10, 1e-12),
        gradient=(0,),
    ),
    DynamicProgram("kmeans", kmeans, _clusters, (1e-12, 1e-13)),
    DynamicProgram(
        "annealing",
        annealing,
        lambda: [(np.array([1.0, -2.0]), 1), (np.array([1.0, -2.0]), 2), (np.array([0.1, 0.2, 0.3]), 3)],
        (1e-13, 0.0),
    ),
]
