"""Random numbers by explicit keys (Threefry, counter-based): the same for any number of threads, on any device."""

from tracejit.random.distributions import (
    bernoulli,
    bits,
    categorical,
    integers,
    normal,
    permutation,
    truncated_normal,
    uniform,
)
from tracejit.random.generator import Generator, default_generator, seed
from tracejit.random.keys import fold_in, key, split

__all__ = [
    "Generator",
    "bernoulli",
    "bits",
    "categorical",
    "default_generator",
    "fold_in",
    "integers",
    "key",
    "normal",
    "permutation",
    "seed",
    "split",
    "truncated_normal",
    "uniform",
]
