"""Particles, integrals and geometry."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def n_body(mass, position, velocity, steps, dt, softening):
    """Gravity among all pairs by leapfrog; positions, velocities and the energies of each step."""
    kinetic, potential = np.empty(steps), np.empty(steps)
    acceleration = _pull(mass, position, softening)
    for step in range(steps):
        velocity = velocity + 0.5 * dt * acceleration
        position = position + dt * velocity
        acceleration = _pull(mass, position, softening)
        velocity = velocity + 0.5 * dt * acceleration
        kinetic[step] = 0.5 * np.sum(mass[:, None] * velocity**2)
        apart = position[None, :, :] - position[:, None, :]
        distance = np.sqrt(np.sum(apart**2, axis=2) + softening**2)
        potential[step] = -0.5 * np.sum(mass[:, None] * mass[None, :] / distance)
    return position, velocity, kinetic, potential


def _pull(mass, position, softening):
    apart = position[None, :, :] - position[:, None, :]
    inverse = (np.sum(apart**2, axis=2) + softening**2) ** -1.5
    return np.sum(apart * (inverse * mass[None, :])[:, :, None], axis=1)


def azimuthal_integration(values, radius, bins):
    """Means over rings: two histograms, one weighted."""
    limits = np.linspace(0.0, radius.max(), bins + 1)
    weighted = np.histogram(radius, bins=limits, weights=values)[0]
    return weighted / np.maximum(np.histogram(radius, bins=limits)[0], 1)


def azimuthal_integration_loop(values, radius, bins):
    """The same by a mask for each ring."""
    top = radius.max()
    means = np.zeros(bins)
    for ring in range(bins):
        low, high = top * ring / bins, top * (ring + 1) / bins
        inside = (low <= radius) & (radius < high)
        means[ring] = np.sum(np.where(inside, values, 0.0)) / np.maximum(np.sum(inside), 1)
    return means


def contour_integral(T, Y, points):
    """Moments of a resolvent around the unit circle: a linear system at each point."""
    first, second = np.zeros_like(Y), np.zeros_like(Y)
    for z in points:
        system = T[0] + z * T[1] + z * z * T[2]
        X = np.linalg.solve(system, Y)
        first += X * z
        second += X * z * z
    return first, second


def scattering_self_energies(neighbours, shifts, G, D):
    """Electron self-energies: for each atom and neighbour a product of two small matrices, shifted in energy."""
    energies, atoms = G.shape[:2]
    result = np.zeros_like(G)
    for w in range(D.shape[0]):
        shift = shifts[w]
        for a in range(atoms):
            for b in range(neighbours.shape[1]):
                product = G[: energies - shift, neighbours[a, b]] @ D[w, a, b]
                result[shift:, a] += product @ D[w, a, b]
    return result


def arc_distance(theta_1, phi_1, theta_2, phi_2):
    """Great-circle distances on the unit sphere by the haversine formula."""
    chord = np.sin((theta_2 - theta_1) / 2) ** 2 + np.cos(theta_1) * np.cos(theta_2) * np.sin((phi_2 - phi_1) / 2) ** 2
    return 2.0 * np.arctan2(np.sqrt(chord), np.sqrt(1.0 - chord))


def _bodies(rng, n):
    return 20.0 * rng.random(n) / n, rng.standard_normal((n, 3)), rng.standard_normal((n, 3)), 5, 0.01, 0.1


def _rings(rng, n):
    return rng.random(n), rng.random(n), 20


def _resolvent(rng, n):
    T = rng.random((3, n, n)) + 3.0 * n * np.eye(n) + 0j
    return T, rng.random((n, 4)) + 0j, np.exp(2j * np.pi * (np.arange(16) + 0.5) / 16)


def _atoms(rng, n):
    neighbours = rng.integers(0, 4, (4, 3))
    shifts = np.array([0, 1])
    return neighbours, shifts, rng.random((5, 4, n, n)) + 0j, rng.random((2, 4, 3, n, n)) + 0j


KERNELS = (
    Kernel("n_body", n_body, _bodies, (3, 30, 300, 1000)),
    Kernel("azimuthal_integration", azimuthal_integration, _rings, (10, 1000, 100_000, 5_000_000)),
    Kernel("azimuthal_integration_loop", azimuthal_integration_loop, _rings, (10, 1000, 100_000, 5_000_000)),
    Kernel("contour_integral", contour_integral, _resolvent, (3, 30, 150)),
    Kernel("scattering_self_energies", scattering_self_energies, _atoms, (2, 10, 40)),
    Kernel(
        "arc_distance",
        arc_distance,
        lambda rng, n: tuple(rng.random(n) for _ in range(4)),
        (10, 1000, 100_000, 10_000_000),
        numba=True,
    ),
)
