"""Incompressible flow by finite differences: the lid-driven cavity and the channel."""

from __future__ import annotations

import numpy as np

from benchmarks.kernels.kernel import Kernel


def _source(u, v, rho, dt, dx, dy):
    """The right-hand side of the pressure equation, inside."""
    du_dx = (u[1:-1, 2:] - u[1:-1, :-2]) / (2 * dx)
    dv_dy = (v[2:, 1:-1] - v[:-2, 1:-1]) / (2 * dy)
    du_dy = (u[2:, 1:-1] - u[:-2, 1:-1]) / (2 * dy)
    dv_dx = (v[1:-1, 2:] - v[1:-1, :-2]) / (2 * dx)
    return rho * ((du_dx + dv_dy) / dt - du_dx**2 - 2 * du_dy * dv_dx - dv_dy**2)


def _advanced(u, v, p, rho, nu, dt, dx, dy):
    """Both velocities inside after a step."""
    parts = []
    for w, gradient in (
        (u, (p[1:-1, 2:] - p[1:-1, :-2]) / (2 * rho * dx)),
        (v, (p[2:, 1:-1] - p[:-2, 1:-1]) / (2 * rho * dy)),
    ):
        here = w[1:-1, 1:-1]
        carried = u[1:-1, 1:-1] * (here - w[1:-1, :-2]) / dx + v[1:-1, 1:-1] * (here - w[:-2, 1:-1]) / dy
        spread = (w[1:-1, 2:] - 2 * here + w[1:-1, :-2]) / dx**2 + (w[2:, 1:-1] - 2 * here + w[:-2, 1:-1]) / dy**2
        parts.append(here + dt * (nu * spread - carried - gradient))
    return parts


def cavity_flow(u, v, p, steps, dt, dx, dy):
    """A square of fluid under a moving lid."""
    rho, nu = 1.0, 0.1
    for _ in range(steps):
        b = _source(u, v, rho, dt, dx, dy)
        for _ in range(10):
            old = p.copy()
            p[1:-1, 1:-1] = (
                (old[1:-1, 2:] + old[1:-1, :-2]) * dy**2 + (old[2:, 1:-1] + old[:-2, 1:-1]) * dx**2 - b * dx**2 * dy**2
            ) / (2 * (dx**2 + dy**2))
            p[:, -1] = p[:, -2]
            p[0, :] = p[1, :]
            p[:, 0] = p[:, 1]
            p[-1, :] = 0
        u[1:-1, 1:-1], v[1:-1, 1:-1] = _advanced(u, v, p, rho, nu, dt, dx, dy)
        u[0, :] = 0
        u[:, 0] = 0
        u[:, -1] = 0
        u[-1, :] = 1
        v[0, :] = 0
        v[-1, :] = 0
        v[:, 0] = 0
        v[:, -1] = 0


def channel_flow(u, v, p, steps, dt, dx, dy, force):
    """A channel driven by a force, periodic along its length, by rolled arrays."""
    rho, nu = 1.0, 0.1
    for _ in range(steps):
        east, west = np.roll(u, -1, 1), np.roll(u, 1, 1)
        v_east, v_west = np.roll(v, -1, 1), np.roll(v, 1, 1)
        du_dx, dv_dx = ((east - west) / (2 * dx))[1:-1], ((v_east - v_west) / (2 * dx))[1:-1]
        du_dy, dv_dy = (u[2:] - u[:-2]) / (2 * dy), (v[2:] - v[:-2]) / (2 * dy)
        b = rho * ((du_dx + dv_dy) / dt - du_dx**2 - 2 * du_dy * dv_dx - dv_dy**2)
        for _ in range(10):
            sides = np.roll(p, -1, 1) + np.roll(p, 1, 1)
            p[1:-1] = (sides[1:-1] * dy**2 + (p[2:] + p[:-2]) * dx**2 - b * dx**2 * dy**2) / (2 * (dx**2 + dy**2))
            p[-1] = p[-2]
            p[0] = p[1]
        slope = ((np.roll(p, -1, 1) - np.roll(p, 1, 1)) / (2 * rho * dx))[1:-1]
        bend = (east - 2 * u + west)[1:-1] / dx**2 + (u[2:] - 2 * u[1:-1] + u[:-2]) / dy**2
        v_bend = (v_east - 2 * v + v_west)[1:-1] / dx**2 + (v[2:] - 2 * v[1:-1] + v[:-2]) / dy**2
        carried = u[1:-1] * (u - west)[1:-1] / dx + v[1:-1] * (u[1:-1] - u[:-2]) / dy
        v_carried = u[1:-1] * (v - v_west)[1:-1] / dx + v[1:-1] * (v[1:-1] - v[:-2]) / dy
        rise = (p[2:] - p[:-2]) / (2 * rho * dy)
        u[1:-1] += dt * (nu * bend - carried - slope + force)
        v[1:-1] += dt * (nu * v_bend - v_carried - rise)
        u[0] = 0
        u[-1] = 0
        v[0] = 0
        v[-1] = 0


def _rest(rng, n):
    return *(np.zeros((n, n)) for _ in range(3)), 5, 0.1 / n**2, 2.0 / (n - 1), 2.0 / (n - 1)


KERNELS = (
    Kernel("cavity_flow", cavity_flow, _rest, (4, 30, 200, 800), mutates=True),
    Kernel("channel_flow", channel_flow, lambda rng, n: (*_rest(rng, n), 1.0), (4, 30, 200, 800), mutates=True),
)
