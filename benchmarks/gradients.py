"""`python -m benchmarks.gradients`: what derivatives cost, against the function itself and against jax.

Three tables: the gradient of a scalar function of n inputs in units of the function (W1, W4, W8a); one training step of
W7b's network by value_and_grad; `scan` of 60 scalar carries over 614 steps, forward and gradient.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.workloads import WORKLOADS, black_scholes, squared_distance, trigonometry

CARRIES, STEPS = 60, 614


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, all measured in the same rounds."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            samples[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in samples.items()}


def _arguments(name: str, scale: float) -> tuple[Any, ...]:
    workload = next(w for w in WORKLOADS if w.name == name)
    return workload.make(np.random.default_rng(0), scale)


def function_costs(scale: float, rounds: int) -> list[tuple[str, float, float]]:
    """(workload, ms of the function, ms of its gradient by all float array inputs)."""

    def w1(x: Any, y: Any) -> Any:
        return np.sum(trigonometry(x, y))

    def w4(s: Any, k: Any, t: Any, r: Any, v: Any) -> Any:
        call, put = black_scholes(s, k, t, r, v)
        return np.sum(call) + np.sum(put)

    rows = []
    for name, function, argnums in (("W1", w1, (0, 1)), ("W4", w4, (0, 1, 2)), ("W8a", squared_distance, (0, 1))):
        arguments = _arguments(name, scale)
        plain, gradient = tj.jit(function), tj.grad(function, argnums=argnums)
        found = interleaved(
            {"f": lambda f=plain, a=arguments: f(*a), "g": lambda g=gradient, a=arguments: g(*a)}, rounds
        )
        rows.append((name, found["f"], found["g"]))
    return rows


def network_loss(parameters: Any, x: Any, onehot: Any, np: Any) -> Any:
    """W7b's loss: a hidden layer with ReLU, softmax cross-entropy."""
    w1, b1, w2, b2 = parameters
    h = np.maximum(x @ w1 + b1, 0)
    logits = h @ w2 + b2
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - np.sum(shifted * onehot, axis=1))


def training_steps(scale: float) -> dict[str, Callable[[], Any]]:
    """One step of value_and_grad and SGD, by each peer."""
    x, onehot, *parameters = _arguments("W7b", scale)

    @tj.jit
    def step(parameters: Any, x: Any, onehot: Any) -> Any:
        loss, gradients = tj.value_and_grad(lambda p: network_loss(p, x, onehot, np))(parameters)
        return loss, [p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)]

    calls: dict[str, Callable[[], Any]] = {"tracejit": lambda: step(parameters, x, onehot)}
    if importlib.util.find_spec("jax"):
        import jax

        @jax.jit
        def jax_step(parameters: Any, x: Any, onehot: Any) -> Any:
            loss, gradients = jax.value_and_grad(lambda p: network_loss(p, x, onehot, jax.numpy))(parameters)
            return loss, [p - np.float32(0.1) * g for p, g in zip(parameters, gradients, strict=True)]

        there = jax.tree.map(jax.numpy.asarray, (parameters, x, onehot))
        calls["jax"] = lambda: jax.block_until_ready(jax_step(*there))
        mine, theirs = step(parameters, x, onehot), jax_step(*there)
        for a, b in zip(mine[1], theirs[1], strict=True):
            np.testing.assert_allclose(a, np.asarray(b), rtol=2e-3, atol=1e-4)
    return calls


def recurrence(scan: Callable[..., Any], np: Any) -> Callable[[Any], Any]:
    """60 scalars, each driven by its neighbours, 614 steps: a scalar function of their 60 beginnings."""

    def body(carry: Any, _: Any) -> Any:
        new = [carry[i] + 0.01 * (np.sin(carry[i - 1]) - carry[i - 2] * carry[i - 3]) for i in range(CARRIES)]
        return new, new[0]

    def run(initial: Any) -> Any:
        last, trail = scan(body, list(initial), None, length=STEPS)
        return sum(last) + np.sum(trail)

    return run


def scans() -> dict[str, Callable[[], Any]]:
    """Value and gradient of the recurrence, by each peer."""
    initial = [float(v) for v in np.random.default_rng(0).random(CARRIES) * 0.5]
    mine = tj.value_and_grad(recurrence(tj.scan, np))
    calls: dict[str, Callable[[], Any]] = {"tracejit": lambda: mine(initial)}
    if importlib.util.find_spec("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)
        theirs = jax.jit(jax.value_and_grad(recurrence(jax.lax.scan, jax.numpy)))
        calls["jax"] = lambda: jax.block_until_ready(theirs(initial))
        np.testing.assert_allclose(mine(initial)[1], theirs(initial)[1], rtol=1e-9)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the elements, 0 to 1")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print("gradient of a scalar function of n inputs, in units of the function")
    for name, function, gradient in function_costs(options.scale, options.rounds):
        print(f"  {name:4} {function:9.3f} ms   gradient {gradient:9.3f} ms   {gradient / function:5.2f}x")
    for title, calls in (
        ("W7b: value_and_grad and SGD step", training_steps(options.scale)),
        (f"scan of {CARRIES} scalar carries, {STEPS} steps, value and gradient", scans()),
    ):
        print(title)
        for name, milliseconds in interleaved(calls, options.rounds * 3).items():
            print(f"  {name:10} {milliseconds:9.3f} ms")


if __name__ == "__main__":
    main()
