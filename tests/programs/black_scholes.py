"""European option prices: call and put at once."""

import numpy as np

from tests.programs import Program

try:
    from scipy.special import erf
except ImportError:  # SciPy is a test dependency only
    erf = None


BOTTOM = (16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831, 793.826512519948, 440.413735824752)


def normal_cdf(x):
    """The normal distribution function by Hart's rational approximation, and a continued fraction in the tails."""
    z = np.abs(x)
    top = 3.52624965998911e-02 * z + 0.700383064443688
    for c in (6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931, 220.206867912376):
        top = top * z + c
    bottom = 8.83883476483184e-02 * z + 1.75566716318264
    for c in BOTTOM:
        bottom = bottom * z + c
    fraction = z + 1.0 / (z + 2.0 / (z + 3.0 / (z + 4.0 / (z + 0.65))))
    density = np.exp(-0.5 * z * z)
    tail = np.where(z < 7.07106781186547, density * top / bottom, density / (fraction * 2.506628274631))
    return np.where(x > 0, 1.0 - tail, tail)


def black_scholes(spot, strike, years, rate, volatility):
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d2 = d1 - spread
    discounted = strike * np.exp(-rate * years)
    call = spot * normal_cdf(d1) - discounted * normal_cdf(d2)
    put = discounted * normal_cdf(-d2) - spot * normal_cdf(-d1)
    return call, put


def black_scholes_erf(spot, strike, years, rate, volatility):
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    d2 = d1 - spread
    discounted = strike * np.exp(-rate * years)
    n1 = 0.5 * (1.0 + erf(d1 / np.sqrt(2.0)))
    n2 = 0.5 * (1.0 + erf(d2 / np.sqrt(2.0)))
    call = spot * n1 - discounted * n2
    return {"call": call, "put": call - spot + discounted}


def make_arguments(rng, size):
    n = size * size
    return rng.uniform(50, 150, n), rng.uniform(50, 150, n), rng.uniform(0.1, 2, n), 0.03, rng.uniform(0.1, 0.6, n)


PROGRAMS = [Program("black_scholes", black_scholes, make_arguments, (1e-11, 1e-12))]
if erf is not None:
    PROGRAMS.append(Program("black_scholes_erf", black_scholes_erf, make_arguments, (1e-11, 1e-12)))
