"""The op table: every op of tracejit, each defined in one place."""

from tracejit.ops import (
    along_axis,
    arithmetic,
    assignment,
    choice,
    contractions,
    control,
    convolutions,
    gathering,
    library,
    linear_algebra,
    reductions,
    sources,
    transcendental,
    views,
)
from tracejit.ops.table import OPS, SPELLINGS, Op, register

__all__ = [
    "OPS",
    "SPELLINGS",
    "Op",
    "along_axis",
    "arithmetic",
    "assignment",
    "choice",
    "contractions",
    "control",
    "convolutions",
    "gathering",
    "library",
    "linear_algebra",
    "reductions",
    "register",
    "sources",
    "transcendental",
    "views",
]
