"""Eager library calls: every op of the table as a function that works on arrays at once."""

from tracejit.eager.functions import NAMES, function

__all__ = ["NAMES", "function"]
