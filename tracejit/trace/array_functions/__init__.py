"""NumPy's array functions in terms of ops; importing the package registers them."""

from tracejit.trace.array_functions import (
    calculus,
    channel_convolutions,
    choice,
    creation,
    diagonals,
    einsum,
    joins,
    library_loops,
    linear_algebra,
    nan_statistics,
    norms,
    positions,
    products,
    shapes,
    statistics,
    writes,
)

__all__ = [
    "calculus",
    "channel_convolutions",
    "choice",
    "creation",
    "diagonals",
    "einsum",
    "joins",
    "library_loops",
    "linear_algebra",
    "nan_statistics",
    "norms",
    "positions",
    "products",
    "shapes",
    "statistics",
    "writes",
]
