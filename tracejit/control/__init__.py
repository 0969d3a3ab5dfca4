"""Structured control flow: loops and branches that are compiled once, and are part of a jitted function's graph."""

from tracejit.control.branching import cond, switch
from tracejit.control.looping import fori_loop, map, scan, while_loop

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]
