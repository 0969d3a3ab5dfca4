"""Where values come from: arguments, constants, memory, positions."""

from __future__ import annotations

from tracejit.ops.table import Op, register

register(Op("input", "source", doc="An array argument of the segment, by position."))
register(Op("scalar", "source", doc="A Python number computed on the host from arguments and sizes."))
register(Op("scalars", "source", doc="Such numbers side by side, as an array of one axis."))
register(Op("constant", "source", doc="A literal array, held as bytes."))
register(Op("empty", "source", doc="Uninitialized memory of a shape; the start of a chain of updates."))
register(Op("iota", "source", doc="0, 1, 2, ... along one axis."))
