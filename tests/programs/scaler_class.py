"""A class with methods and attributes, in the manner of an estimator."""

import numpy as np

from tests.programs import Program


class RobustScaler:
    """Scales columns by mean and deviation, clipped."""

    def __init__(self, limit):
        self.limit = limit
        self.mean = None
        self.scale = None

    def fit(self, x):
        self.mean = x.mean(axis=0)
        self.scale = x.std(axis=0) + 1e-8
        return self

    def transform(self, x):
        return np.clip((x - self.mean) / self.scale, -self.limit, self.limit)

    def inverse(self, z):
        return z * self.scale + self.mean


def round_trip(x, fresh, limit):
    scaler = RobustScaler(limit).fit(x)
    z = scaler.transform(fresh)
    return z, scaler.inverse(z)


FITTED = RobustScaler(2.0).fit(np.arange(12.0).reshape(4, 3) ** 2)


def make_round_trip(rng, size):
    return rng.normal(size=(size, 3)), rng.normal(size=(size, 3)), 1.5


def make_method(rng, size):
    return (rng.normal(20, 30, size=(size, 3)),)


PROGRAMS = [
    Program("scaler_round_trip", round_trip, make_round_trip),
    Program("scaler_bound_method", FITTED.transform, make_method, (0.0, 0.0)),
]
