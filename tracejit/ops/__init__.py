"""The op table: every op of tracejit, each defined in one place."""

from tracejit.ops import (
    along_axis,
    arithmetic,
    assignment,
    channel_convolutions,
    choice,
    contractions,
    control,
    convolutions,
    gathering,
    library,
    linear_algebra,
    pooling,
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
    "channel_convolutions",
    "choice",
    "contractions",
    "control",
    "convolutions",
    "gathering",
    "library",
    "linear_algebra",
    "pooling",
    "reductions",
    "register",
    "sources",
    "transcendental",
    "views",
]
