"""NumPy's array functions in terms of ops; importing the package registers them."""

from tracejit.trace.array_functions import (
    calculus,
    choice,
    creation,
    diagonals,
    joins,
    library_loops,
    linear_algebra,
    nan_statistics,
    norms,
    products,
    shapes,
    statistics,
    writes,
)

__all__ = [
    "calculus",
    "choice",
    "creation",
    "diagonals",
    "joins",
    "library_loops",
    "linear_algebra",
    "nan_statistics",
    "norms",
    "products",
    "shapes",
    "statistics",
    "writes",
]
