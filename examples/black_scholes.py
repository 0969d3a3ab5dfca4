"""European options by the formula of Black and Scholes: prices and deltas of a million options in one kernel."""

import time

import numpy as np

import tracejit as tj


def normal_cdf(x):
    """The normal distribution function (Abramowitz and Stegun 26.2.17; error below 7.5e-8)."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi) * series
    return np.where(x > 0, 1.0 - tail, tail)


@tj.jit
def price(spot, strike, years, rate, volatility):
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    discounted = strike * np.exp(-rate * years)
    delta = normal_cdf(d1)
    call = spot * delta - discounted * normal_cdf(d1 - spread)
    put = call - spot + discounted
    return {"call": call, "put": put, "delta": delta}


def main(count=1_000_000):
    rng = np.random.default_rng(1)
    spot, strike = rng.uniform(50, 150, count), rng.uniform(50, 150, count)
    years, volatility = rng.uniform(0.1, 2.0, count), rng.uniform(0.1, 0.6, count)
    arguments = spot, strike, years, 0.03, volatility

    start = time.perf_counter()
    with tj.disable_jit():
        plain = price(*arguments)
    numpy_time = time.perf_counter() - start

    kernels = len(price.explain(*arguments).kernels)
    start = time.perf_counter()
    options = price(*arguments)
    jit_time = time.perf_counter() - start

    difference = max(np.abs(options[name] - plain[name]).max() for name in options)
    print(f"{count} options: {kernels} kernel, largest difference {difference:.1e}")
    print(f"NumPy {1e3 * numpy_time:.1f} ms, jit {1e3 * jit_time:.1f} ms")
    print(f"the first: call {options['call'][0]:.4f}, put {options['put'][0]:.4f}, delta {options['delta'][0]:.4f}")


if __name__ == "__main__":
    main()
