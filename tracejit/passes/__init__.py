"""Passes: pure functions Graph -> Graph, one a file; `PIPELINE` orders them."""

from tracejit.passes.pipeline import PIPELINE, optimize

__all__ = ["PIPELINE", "optimize"]
