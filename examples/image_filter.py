"""Gamma, blur and edges of an image: how many kernels they become, and how long NumPy and jit take."""

import time

import numpy as np

import tracejit as tj


def brighten(image, gamma):
    return (image / 255.0) ** (1.0 / gamma)


def blur(image):
    p = np.pad(image, 1, mode="edge")
    rows = 0.25 * p[:-2] + 0.5 * p[1:-1] + 0.25 * p[2:]
    return 0.25 * rows[:, :-2] + 0.5 * rows[:, 1:-1] + 0.25 * rows[:, 2:]


def edges(image):
    p = np.pad(image, 1, mode="edge")
    across = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[1:-1, :-2] + p[2:, :-2])
    down = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[:-2, 1:-1] + p[:-2, 2:])
    return np.sqrt(across**2 + down**2)


def find_edges(image, gamma):
    return edges(blur(brighten(image, gamma)))


def milliseconds(function, *args):
    """The shortest of five calls."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function(*args)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main(height=900, width=1200):
    y, x = np.mgrid[:height, :width]
    image = (127 + 120 * np.sin(x / 17.0) * np.cos((x + y) / 31.0)).astype(np.uint8)
    fast = tj.jit(find_edges)
    explanation = fast.explain(image, 2.2)
    difference = np.abs(fast(image, 2.2) - find_edges(image, 2.2)).max()
    print(f"{height} x {width} pixels: {len(explanation.kernels)} kernels, largest difference {difference:.1e}")
    print(f"NumPy {milliseconds(find_edges, image, 2.2):.1f} ms, jit {milliseconds(fast, image, 2.2):.1f} ms")


if __name__ == "__main__":
    main()
