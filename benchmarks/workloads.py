"""The workloads, W1 to W14: each a plain NumPy function and a maker of its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    from scipy.special import erf
except ImportError:  # W4 is left out then
    erf = None


@dataclass(frozen=True)
class Workload:
    """One thing to measure.

    make: `(rng, scale) -> arguments`; `scale` (0 < scale <= 1) shrinks the number of elements for a quick run.
    micro: the work is so small that only the cost of a call is measured.
    first_call: measure the first call of a fresh function instead of the steady state.
    mutates: the function writes to its arguments (which stay finite however often it runs).
    """

    name: str
    title: str
    function: Callable[..., Any]
    make: Callable[[np.random.Generator, float], tuple[Any, ...]]
    micro: bool = False
    first_call: bool = False
    mutates: bool = False
    tolerance: float = 1e-9


def trigonometry(x, y):
    """W1, W2: transcendental functions, one pass."""
    return np.sin(x) ** 2 + np.cos(y) * np.exp(-x * y)


def triad(x, y, a, b, c):
    """W3: nothing but memory."""
    return a * x + b * y + c


def black_scholes(s, k, t, r, v):
    """W4: call and put."""
    spread = v * np.sqrt(t)
    d1 = (np.log(s / k) + (r + 0.5 * v * v) * t) / spread
    d2 = d1 - spread
    owed = k * np.exp(-r * t)
    n1 = 0.5 + 0.5 * erf(d1 * 0.7071067811865476)
    n2 = 0.5 + 0.5 * erf(d2 * 0.7071067811865476)
    return s * n1 - owed * n2, owed * (1.0 - n2) - s * (1.0 - n1)


def softmax(x):
    """W5: softmax over rows."""
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def layernorm(x, gain, shift):
    """W6: normalized rows."""
    mean = np.mean(x, axis=1, keepdims=True)
    centered = x - mean
    variance = np.mean(centered * centered, axis=1, keepdims=True)
    return centered / np.sqrt(variance + 1e-5) * gain + shift


def dense_gelu(x, w, b):
    """W7a: a dense layer with GELU."""
    z = x @ w + b
    return 0.5 * z * (1.0 + np.tanh(0.7978845608028654 * (z + 0.044715 * z * z * z)))


def mlp_step(x, onehot, w1, b1, w2, b2):
    """W7b: loss, gradient by hand and SGD step of a two-layer network."""
    h = np.maximum(x @ w1 + b1, 0)
    logits = h @ w2 + b2
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    e = np.exp(shifted)
    total = np.sum(e, axis=1, keepdims=True)
    loss = np.mean(np.log(total) - np.sum(shifted * onehot, axis=1, keepdims=True))
    d_logits = (e / total - onehot) / x.shape[0]
    d_h = np.where(h > 0, d_logits @ w2.T, 0)
    return (
        loss,
        w1 - 0.1 * (x.T @ d_h),
        b1 - 0.1 * np.sum(d_h, axis=0),
        w2 - 0.1 * (h.T @ d_logits),
        b2 - 0.1 * np.sum(d_logits, axis=0),
    )


def squared_distance(x, y):
    """W8a: one number from two arrays."""
    return np.sum((x - y) ** 2)


def row_statistics(x):
    """W8b: mean, variance and logsumexp of rows."""
    top = np.max(x, axis=1, keepdims=True)
    return np.mean(x, axis=1), np.var(x, axis=1), top[:, 0] + np.log(np.sum(np.exp(x - top), axis=1))


def jacobi(u):
    """W9: a five-point sweep by slicing."""
    return 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])


def jacobi_into(new, u):
    """W9b: the same, into a given array."""
    new[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])


def affine(x):
    """W10a: the cost of a call."""
    return x * 2 + 1


def sum_of_eight(a, b, c, d, e, f, g, h):
    """W10c: the cost of a call with many arguments."""
    return a + b + c + d + e + f + g + h


def pairwise(a, b):
    """W11: distances of all pairs."""
    return np.sqrt(np.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=2))


def mandelbrot(cr, ci, zr, zi, counts):
    """W12: escape counts after 100 iterations, in real arithmetic (the last three arguments are zeros)."""
    for _ in range(100):
        r2 = zr * zr
        i2 = zi * zi
        alive = r2 + i2 <= 4.0
        counts = counts + np.where(alive, 1, 0)
        zi = np.where(alive, 2.0 * zr * zi + ci, zi)
        zr = np.where(alive, r2 - i2 + cr, zr)
    return counts


def conv2d(x, w):
    """W14: 3x3 convolution of images (batch, channel, row, column), as nine shifted copies and a matrix product."""
    batch, channels, height, width = x.shape
    p = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [p[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    columns = np.stack(taps, axis=2).reshape((batch, channels * 9, height * width))
    return (w.reshape((w.shape[0], channels * 9)) @ columns).reshape((batch, w.shape[0], height, width))


def chain_source(length: int) -> str:
    """W13: the text of a function of `length` elementwise ops, no two alike."""
    lines = ["def chain(x, y):", "    z = x"]
    steps = ("z * {c} + y", "np.sqrt(z * z + {c})", "np.maximum(z - {c}, y)", "z / (np.abs(y) + {c})")
    count = 0
    while count < length:
        step = steps[count % len(steps)].format(c=1.0 + count / length)
        lines.append(f"    z = {step}")
        count += step.count("np.") + step.count("* ") + step.count(" + ") + step.count(" - ") + step.count("/ ")
    return "\n".join([*lines, "    return z"])


def chain(length: int) -> Callable[..., Any]:
    """W13's function, made anew, so that no cache of code objects knows it."""
    namespace: dict[str, Any] = {"np": np}
    exec(compile(chain_source(length), f"<chain of {length}>", "exec"), namespace)
    function: Callable[..., Any] = namespace["chain"]
    return function


def _count(n: float, scale: float) -> int:
    return max(int(n * scale), 8)


def _uniform(n: float, dtype: str = "float64", arrays: int = 2) -> Callable[[np.random.Generator, float], Any]:
    return lambda rng, scale: tuple(rng.random(_count(n, scale)).astype(dtype) for _ in range(arrays))


def _matrix(rng: np.random.Generator, *shape: int) -> Any:
    return rng.standard_normal(shape, dtype=np.float32)


def _rows(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return (_matrix(rng, _count(4096, scale), 1024),)


def _triad(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return rng.random(_count(2e7, scale)), rng.random(_count(2e7, scale)), 1.5, -0.5, 3.0


def _options(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n = _count(2e6, scale)
    return rng.uniform(80, 120, n), rng.uniform(80, 120, n), rng.uniform(0.25, 2, n), 0.03, 0.3


def _layernorm(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return *_rows(rng, scale), _matrix(rng, 1024), _matrix(rng, 1024)


def _dense(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return _matrix(rng, _count(512, scale), 784), _matrix(rng, 784, 512) / np.float32(28), _matrix(rng, 512)


def _mlp(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n = _count(512, scale)
    onehot = np.eye(10, dtype=np.float32)[rng.integers(0, 10, n)]
    w1, w2 = _matrix(rng, 784, 512) / np.float32(28), _matrix(rng, 512, 10) / np.float32(22)
    return _matrix(rng, n, 784), onehot, w1, np.zeros(512, np.float32), w2, np.zeros(10, np.float32)


def _plate(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n = _count(2000, scale**0.5)
    return (rng.random((n, n)),)


def _two_plates(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    (u,) = _plate(rng, scale)
    return np.zeros_like(u), u


def _eight(arrays: int) -> Callable[[np.random.Generator, float], Any]:
    return lambda rng, _: tuple(rng.random(8) for _ in range(arrays))


def _points(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n = _count(1000, scale**0.5)
    return rng.random((n, 3)), rng.random((n, 3))


def _plane(_: np.random.Generator, scale: float) -> tuple[Any, ...]:
    n = _count(512, scale**0.5)
    x, y = np.linspace(-2.0, 0.6, n)[None, :], np.linspace(-1.2, 1.2, n)[:, None]
    return x + 0 * y, y + 0 * x, np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n), np.int64)


def _images(rng: np.random.Generator, scale: float) -> tuple[Any, ...]:
    return _matrix(rng, max(int(8 * scale), 1), 64, 56, 56), _matrix(rng, 64, 64, 3, 3) / np.float32(24)


WORKLOADS: tuple[Workload, ...] = (
    Workload("W1", "sin(x)**2 + cos(y)*exp(-x*y), f64, 1e7", trigonometry, _uniform(1e7)),
    Workload("W2", "the same, f32", trigonometry, _uniform(1e7, "float32"), tolerance=1e-5),
    Workload("W3", "a*x + b*y + c, f64, 2e7", triad, _triad),
    *([Workload("W4", "Black-Scholes call+put, f64, 2e6", black_scholes, _options)] if erf is not None else []),
    Workload("W5", "softmax over rows, f32, 4096x1024", softmax, _rows, tolerance=1e-4),
    Workload("W6", "layernorm, f32, 4096x1024", layernorm, _layernorm, tolerance=1e-3),
    Workload("W7a", "gelu(x@W+b), f32, 512x784 @ 784x512", dense_gelu, _dense, tolerance=1e-3),
    Workload("W7b", "2-layer MLP loss + gradient + SGD, f32", mlp_step, _mlp, tolerance=1e-3),
    Workload("W8a", "sum((x-y)**2), f64, 1e7", squared_distance, _uniform(1e7)),
    Workload("W8b", "mean, var, logsumexp of rows, f32, 4096x1024", row_statistics, _rows, tolerance=1e-3),
    Workload("W9", "Jacobi 5-point sweep, f64, 2000x2000", jacobi, _plate),
    Workload("W9b", "the same into a given array", jacobi_into, _two_plates, mutates=True),
    Workload("W10a", "x*2 + 1, f64, n=8", affine, _eight(1), micro=True),
    Workload("W10c", "sum of 8 arguments, f64, n=8", sum_of_eight, _eight(8), micro=True),
    Workload("W11", "pairwise distances, f64, 1000x1000x3", pairwise, _points),
    Workload("W12", "Mandelbrot, 512x512, 100 iterations", mandelbrot, _plane),
    *(
        Workload(f"W13-{n}", f"first call of a chain of {n} ops", chain(n), _uniform(1000), first_call=True)
        for n in (10, 100, 1000)
    ),
    Workload("W14", "conv2d 3x3, 64 channels, 56x56, batch 8, f32", conv2d, _images, tolerance=1e-3),
)


def by_name(name: str) -> Workload:
    """The workload of exactly that name."""
    return next(workload for workload in WORKLOADS if workload.name == name)


def select(names: list[str] | None) -> list[Workload]:
    """The workloads of those names (W7 stands for W7a and W7b); all of them for None."""
    if names is None:
        return list(WORKLOADS)
    chosen = [w for w in WORKLOADS if any(w.name == n or w.name.rstrip("abc").split("-")[0] == n for n in names)]
    known = {w.name for w in WORKLOADS} | {w.name.rstrip("abc").split("-")[0] for w in WORKLOADS}
    if missing := sorted(set(names) - known):
        raise SystemExit(f"no workload {', '.join(missing)}; there are {', '.join(w.name for w in WORKLOADS)}")
    return chosen
