"""`python -m benchmarks.training`: a training step of a network for scikit-learn's digits, beside torch and jax.

64-128-64-10, relu, float32, batch 64, Adam: forward, loss, backward and update.  Rounds are interleaved; times are
medians in microseconds a step.  torch runs eagerly, jax compiles the whole step and gets its arrays back (donated).
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import THREADS

SIZES = (64, 128, 64, 10)
RATE = 1e-3
WARM_STEPS = 1100
"""Steps before the first sample; a training makes thousands."""


def data() -> tuple[Any, Any]:
    """One batch, and its labels."""
    rng = np.random.default_rng(0)
    return rng.random((64, SIZES[0])).astype(np.float32), rng.integers(0, 10, 64)


def tracejit_step() -> Callable[[], Any]:
    """`nn.TrainStep`."""
    import tracejit as tj
    from tracejit import nn, optim

    tj.set_num_threads(THREADS)
    layers = [nn.Linear(a, b, activation="relu" if b > 10 else None) for a, b in itertools.pairwise(SIZES)]
    step = nn.TrainStep(nn.Sequential(layers), "cross_entropy", optim.Adam(RATE))
    x, y = data()
    return lambda: step(x, y)


def torch_step() -> Callable[[], Any]:
    """PyTorch, eager."""
    import torch

    torch.set_num_threads(THREADS)
    layers: list[Any] = []
    for a, b in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(a, b)] + ([torch.nn.ReLU()] if b > 10 else [])
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    x, y = map(torch.from_numpy, data())

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def jax_step() -> Callable[[], Any]:
    """jax, the whole step compiled, its state donated."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    weights = [
        (jnp.asarray(rng.standard_normal((a, b), np.float32) / np.float32(a) ** 0.5), jnp.zeros(b, jnp.float32))
        for a, b in itertools.pairwise(SIZES)
    ]
    x, y = map(jnp.asarray, data())

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        for w, b in parameters[:-1]:
            x = jax.nn.relu(x @ w + b)
        logits = x @ parameters[-1][0] + parameters[-1][1]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(64), y])

    def update(state: Any, x: Any, y: Any) -> Any:
        parameters, first, second, count = state
        value, gradient = jax.value_and_grad(loss)(parameters, x, y)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        count = count + 1
        one, two = 1 - 0.9**count, 1 - 0.999**count
        changed = jax.tree.map(
            lambda p, m, v: p - RATE * (m / one) / (jnp.sqrt(v / two) + 1e-8), parameters, mean, squares
        )
        return (changed, mean, squares, count), value

    zeros = jax.tree.map(jnp.zeros_like, weights)
    held = [(weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.zeros((), jnp.float32))]
    compiled = jax.jit(update, donate_argnums=0)

    def step() -> Any:
        held[0], value = compiled(held[0], x, y)
        return float(value)

    return step


def fit_overhead() -> tuple[float, float]:
    """Microseconds a step: a bare loop over the batches of an epoch, and `fit` of the same."""
    from tracejit import nn, optim

    rng = np.random.default_rng(0)
    x, y = rng.random((64 * 200, SIZES[0])).astype(np.float32), rng.integers(0, 10, 64 * 200)
    layers = [nn.Linear(a, b, activation="relu" if b > 10 else None) for a, b in itertools.pairwise(SIZES)]
    model = nn.Sequential(layers)
    model.compile(optim.Adam(RATE), "cross_entropy")
    batches = [(x[n : n + 64], y[n : n + 64]) for n in range(0, len(x), 64)]
    bare, fitted = [], []
    for _ in range(7):
        start = time.perf_counter()
        for inputs, targets in batches:
            model.step(inputs, targets)
        middle = time.perf_counter()
        model.fit(x, y, batch_size=64, epochs=1, verbose=False)
        bare.append((middle - start) / 200)
        fitted.append((time.perf_counter() - middle) / 200)
    return statistics.median(bare) * 1e6, statistics.median(fitted) * 1e6


def main() -> int:
    """Entry point."""
    steps: dict[str, Callable[[], Any]] = {}
    for name, make in (("tracejit", tracejit_step), ("torch", torch_step), ("jax", jax_step)):
        try:
            steps[name] = make()
        except ImportError as error:
            print(f"{name}: {error}")
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(WARM_STEPS):
            step()
    for _ in range(40):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(20):
                step()
            samples[name].append((time.perf_counter() - start) / 20)
    medians = {name: statistics.median(times) * 1e6 for name, times in samples.items()}
    for name, median in medians.items():
        print(f"{name:<10}{median:>9.1f} us a step   {median / medians['tracejit']:.2f} times tracejit's")
    bare, fitted = fit_overhead()
    print(f"bare loop {bare:.1f} us a step, fit {fitted:.1f}: {fitted / bare - 1:+.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
