"""Heat in a plate until it no longer changes: the plate is updated in place, and the data decide when to stop."""

import numpy as np

import tracejit as tj


@tj.jit
def sweep(plate, steps):
    """Some explicit steps in place; how much the last of them changed the plate."""
    for _ in range(steps):
        inner = plate[1:-1, 1:-1]
        change = 0.2 * (plate[2:, 1:-1] + plate[:-2, 1:-1] + plate[1:-1, 2:] + plate[1:-1, :-2] - 4.0 * inner)
        inner += change
    return np.abs(change).max()


@tj.jit
def settled(plate, tolerance):
    """Up to forty steps; whether the plate has settled.  Each `if` on data splits the function, and the next call runs
    the compiled pieces without Python.  (A function keeps 64 such branches, so the long loop stays outside.)"""
    for _ in range(4):
        change = sweep(plate, 10)
        if change < tolerance:
            return True
    return False


def main(size=100, tolerance=1e-4):
    plate = np.zeros((size, size))
    plate[0] = 100.0  # the upper edge is hot
    calls = 1
    while not settled(plate, tolerance):
        calls += 1
    print(f"it settled after {calls} calls; the temperature in the middle is {plate[size // 2, size // 2]:.2f}")
    stats = settled.stats
    print(f"{stats.calls} calls, {stats.traces} traces, {stats.kernels_compiled + stats.cache_hits} kernels")


if __name__ == "__main__":
    main()
