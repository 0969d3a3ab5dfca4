"""NumPy's array functions in terms of ops; importing the package registers them."""

from tracejit.trace.array_functions import (
    choice,
    creation,
    joins,
    library_loops,
    linear_algebra,
    products,
    shapes,
    statistics,
)

__all__ = ["choice", "creation", "joins", "library_loops", "linear_algebra", "products", "shapes", "statistics"]
