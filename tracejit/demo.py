"""`python -m tracejit demo`: two ordinary NumPy functions on real input, as NumPy and compiled.

A photograph goes through gamma, an unsharp mask and Sobel edges; a million European options are priced.  The demo is a
user like any other: it knows the public API only.  The functions are plain NumPy, and stay so.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tracejit as tj

Array = NDArray[Any]

BLUR = (0.0625, 0.25, 0.375, 0.25, 0.0625)
"""Weights of a small Gaussian."""

CDF_TOP = (0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931, 220.206867912376)
CDF_BOTTOM = (1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831, 793.826512519948,
              440.413735824752)  # fmt: skip
"""Hart's rational approximation of the normal distribution function, its leading coefficients apart."""


def blur(image: Array) -> Array:
    """A 5x5 Gaussian blur of a (height, width, 3) image, edges repeated."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = BLUR[0] * padded[:height]
    for i in range(1, 5):
        rows = rows + BLUR[i] * padded[i : i + height]
    blurred = BLUR[0] * rows[:, :width]
    for i in range(1, 5):
        blurred = blurred + BLUR[i] * rows[:, i : i + width]
    return blurred


def sobel(grey: Array) -> Array:
    """The magnitude of the gradient of a (height, width) picture."""
    p = np.pad(grey, 1, mode="edge")
    gx = (p[:-2, 2:] + 2 * p[1:-1, 2:] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[1:-1, :-2] + p[2:, :-2])
    gy = (p[2:, :-2] + 2 * p[2:, 1:-1] + p[2:, 2:]) - (p[:-2, :-2] + 2 * p[:-2, 1:-1] + p[:-2, 2:])
    magnitude: Array = np.sqrt(gx * gx + gy * gy)
    return magnitude


def finish_photo(image: Array, gamma: float, amount: float) -> tuple[Array, Array]:
    """Gamma, unsharp mask, and the edges of what comes out."""
    light = (image / 255.0) ** (1.0 / gamma)
    sharp = np.clip(light + amount * (light - blur(light)), 0.0, 1.0)
    grey = 0.299 * sharp[:, :, 0] + 0.587 * sharp[:, :, 1] + 0.114 * sharp[:, :, 2]
    return sharp, sobel(grey)


def normal_cdf(x: Array) -> Array:
    """The normal distribution function, to about 1e-15."""
    z = np.abs(x)
    top: Any = 3.52624965998911e-02
    for c in CDF_TOP:
        top = top * z + c
    bottom: Any = 8.83883476483184e-02
    for c in CDF_BOTTOM:
        bottom = bottom * z + c
    density = np.exp(-0.5 * z * z)
    far = density / (2.506628274631 * (z + 1.0 / (z + 2.0 / (z + 3.0 / (z + 4.0 / (z + 0.65))))))
    tail = np.where(z < 7.07106781186547, density * top / bottom, far)
    return np.where(x > 0.0, 1.0 - tail, tail)


def black_scholes(spot: Array, strike: Array, years: Array, rate: float, volatility: float) -> tuple[Array, Array]:
    """Call and put prices of European options."""
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / spread
    d2 = d1 - spread
    owed = strike * np.exp(-rate * years)
    call = spot * normal_cdf(d1) - owed * normal_cdf(d2)
    put = owed * normal_cdf(-d2) - spot * normal_cdf(-d1)
    return call, put


def drawn_photo(height: int = 427, width: int = 640) -> Array:
    """A stand-in photograph: sky, sun, hills and grain, as uint8 of shape (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width] / height
    sky = np.stack([0.4 + 0.4 * y, 0.6 + 0.2 * y, 0.9 - 0.1 * y], axis=-1)
    sun = np.exp(-60.0 * ((x - 1.1) ** 2 + (y - 0.25) ** 2))[..., None] * np.array([1.0, 0.9, 0.5])
    ridge = 0.62 + 0.06 * np.sin(7.0 * x) + 0.03 * np.sin(23.0 * x + 1.0)
    ground = np.stack([0.2 + 0.3 * y, 0.4 + 0.1 * np.sin(40.0 * x * y), 0.15 + 0.0 * y], axis=-1)
    picture = np.where((y > ridge)[..., None], ground, sky + sun)
    grain = np.random.default_rng(7).normal(0.0, 0.02, picture.shape)
    return (np.clip(picture + grain, 0.0, 1.0) * 255.0).astype(np.uint8)


def photograph() -> tuple[str, Array]:
    """(where it is from, uint8 pixels): scikit-learn's sample photograph when that is installed."""
    try:
        from sklearn.datasets import load_sample_image

        return "photograph (scikit-learn's china.jpg)", np.asarray(load_sample_image("china.jpg"))
    except ImportError:
        return "picture (drawn by the demo)", drawn_photo()


def option_market(count: int) -> tuple[Any, ...]:
    """Arguments of `black_scholes` for `count` options."""
    rng = np.random.default_rng(1)
    return rng.uniform(80.0, 120.0, count), rng.uniform(80.0, 120.0, count), rng.uniform(0.25, 2.0, count), 0.03, 0.3


def ulp_differences(mine: Array, reference: Array) -> tuple[float, float]:
    """The largest difference in units in the last place: of the value itself, and of the largest value.

    Where a result is the small remainder of a cancellation, a last bit in the operands is many of its own, in NumPy as
    anywhere; so values under 1/256 of the largest are counted at that size, and the second figure stands beside.
    """
    difference, size = np.abs(mine - reference), np.abs(reference)
    largest = size.max()
    own = np.max(difference / np.spacing(np.maximum(size, largest / 256.0)))
    return float(own), float(difference.max() / np.spacing(largest))


@dataclass(frozen=True)
class Outcome:
    """What one part of the demo measured."""

    title: str
    numpy_ms: float
    jit_ms: float
    first_ms: float
    ulp: tuple[float, float]
    explanation: Any
    results: tuple[Array, ...]


def median_ms(function: Callable[..., Any], arguments: tuple[Any, ...], ticks: Iterable[int]) -> float:
    """The median time of a call, in milliseconds, over as many calls as there are ticks."""
    times = []
    for _ in ticks:
        start = time.perf_counter()
        function(*arguments)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def plain_progress(count: int, label: str) -> Iterator[int]:
    """A progress bar of one line, for where tqdm is not installed."""
    for i in range(count):
        yield i
        done = 30 * (i + 1) // count
        sys.stderr.write(f"\r{label:<32} |{'#' * done}{'-' * (30 - done)}| {i + 1}/{count}")
        sys.stderr.flush()
    sys.stderr.write("\n")


def progress(count: int, label: str) -> Iterable[int]:
    """`range(count)` with a progress bar on standard error."""
    try:
        from tqdm import tqdm
    except ImportError:
        return plain_progress(count, label)
    bar: Iterable[int] = tqdm(range(count), desc=f"{label:<32}", unit="call", leave=True)
    return bar


def compare(title: str, function: Callable[..., Any], arguments: tuple[Any, ...], rounds: int) -> Outcome:
    """Run `function` in NumPy and compiled."""
    compiled: Any = tj.jit(function)
    expected = function(*arguments)
    start = time.perf_counter()
    actual = compiled(*arguments)
    first_ms = 1e3 * (time.perf_counter() - start)
    name = function.__name__
    differences = [ulp_differences(a, e) for a, e in zip(actual, expected, strict=True)]
    return Outcome(
        title=title,
        numpy_ms=median_ms(function, arguments, progress(rounds, f"{name}, numpy")),
        jit_ms=median_ms(compiled, arguments, progress(rounds, f"{name}, jit")),
        first_ms=first_ms,
        ulp=(max(own for own, _ in differences), max(largest for _, largest in differences)),
        explanation=compiled.explain(*arguments),
        results=actual,
    )


def table(outcomes: list[Outcome]) -> str:
    """The outcomes in columns."""
    heads = ("numpy ms", "jit ms", "speed-up", "first ms", "max ULP", "of largest", "kernels")
    lines = [f"{'':<57}" + "".join(f"{head:>11}" for head in heads)]
    for o in outcomes:
        times = f"{o.numpy_ms:>11.2f}{o.jit_ms:>11.2f}{o.numpy_ms / o.jit_ms:>10.1f}x{o.first_ms:>11.0f}"
        lines.append(f"{o.title:<57}{times}{o.ulp[0]:>11.3g}{o.ulp[1]:>11.3g}{len(o.explanation.kernels):>11}")
    return "\n".join(lines)


def save_results(folder: Path, photo: Outcome, options: Outcome) -> list[Path]:
    """Write the pictures as portable pixmaps, the prices as .npz and the explanations as text."""
    folder.mkdir(parents=True, exist_ok=True)
    sharp, edges = photo.results
    colours = (255.0 * sharp + 0.5).astype(np.uint8)
    greys = (255.0 * edges / edges.max() + 0.5).astype(np.uint8)
    paths = [folder / name for name in ("sharp.ppm", "edges.pgm", "options.npz", "photo.txt", "options.txt")]
    paths[0].write_bytes(b"P6 %d %d 255\n" % colours.shape[1::-1] + colours.tobytes())
    paths[1].write_bytes(b"P5 %d %d 255\n" % greys.shape[::-1] + greys.tobytes())
    np.savez(paths[2], call=options.results[0], put=options.results[1])
    paths[3].write_text(f"{photo.explanation}\n")
    paths[4].write_text(f"{options.explanation}\n")
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `python -m tracejit demo`."""
    parser = argparse.ArgumentParser(prog="python -m tracejit demo", description="NumPy functions, compiled unchanged.")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures, prices and explanations there")
    parser.add_argument("--quick", action="store_true", help="fewer options and rounds")
    options = parser.parse_args(arguments)
    rounds, count = (3, 50_000) if options.quick else (15, 1_000_000)

    source, image = photograph()
    shape = "x".join(map(str, image.shape))
    photo = compare(f"{source}, {shape}", finish_photo, (image, 2.2, 0.8), rounds)
    prices = compare(f"Black-Scholes, {count:,} options", black_scholes, option_market(count), rounds)

    kernels = "\n\n".join(prices.explanation.sources)
    print(f"\nWhat black_scholes became, one kernel a paragraph:\n\n{kernels}\n")
    print(table([photo, prices]))
    print(
        "\nmax ULP: largest difference from NumPy in units in the last place of the value; then, of the largest value."
    )
    if options.save is not None:
        print("\nwritten:", *save_results(options.save, photo, prices), sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
