"""Sensitivities of a European call, by formula, as a named tuple."""

from typing import NamedTuple

import numpy as np

from tests.programs import Program


class Greeks(NamedTuple):
    delta: np.ndarray
    gamma: np.ndarray
    vega: np.ndarray
    theta: np.ndarray


def logistic_cdf(x):
    """A smooth stand-in for the normal distribution function, good to 1e-4, as trading desks once used."""
    return 1.0 / (1.0 + np.exp(-x * (1.5976 + 0.070565992 * x * x)))


def greeks(market, years):
    s, k, r, v = market["spot"], market["strike"], market["rate"], market["volatility"]
    root = np.sqrt(years)
    d1 = (np.log(s / k) + (r + v * v / 2) * years) / (v * root)
    d2 = d1 - v * root
    density = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    return Greeks(
        delta=logistic_cdf(d1),
        gamma=density / (s * v * root),
        vega=s * density * root,
        theta=-(s * density * v) / (2 * root) - r * k * np.exp(-r * years) * logistic_cdf(d2),
    )


def make_arguments(rng, size):
    market = {
        "spot": rng.uniform(80, 120, (size, 1)),
        "strike": rng.uniform(80, 120, (1, size + 2)),
        "rate": 0.02,
        "volatility": 0.25,
    }
    return market, rng.uniform(0.2, 1.5, (size, size + 2))


PROGRAMS = [Program("option_greeks", greeks, make_arguments, (1e-11, 1e-12))]
