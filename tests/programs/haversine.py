"""Great-circle distances between two lists of places."""

import numpy as np

from tests.programs import Program

EARTH_RADIUS_KM = 6371.0


def haversine_matrix(first, second):
    lat1, lon1 = np.radians(first).T
    lat2, lon2 = np.radians(second).T
    dlat = lat1[:, None] - lat2[None, :]
    dlon = lon1[:, None] - lon2[None, :]
    a = np.sin(dlat / 2) ** 2 + np.cos(lat1)[:, None] * np.cos(lat2)[None, :] * np.sin(dlon / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(a))


def make_arguments(rng, size):
    scale = np.array([80.0, 180.0])
    return rng.uniform(-1, 1, (size, 2)) * scale, rng.uniform(-1, 1, (size + 5, 2)) * scale


PROGRAMS = [Program("haversine_matrix", haversine_matrix, make_arguments, (1e-11, 1e-10))]
