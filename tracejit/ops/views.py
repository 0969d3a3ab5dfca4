"""Other looks at the same elements, and writes through them."""

from __future__ import annotations

from tracejit.ops.table import Op, register

register(
    Op("view", "view", doc="Affine indexing: slices, flips, transposes, broadcasts and inserted axes are all this.")
)
register(Op("reshape", "view", doc="The same elements in C order under another shape."))
register(Op("update", "update", doc="The base with the elements under an affine view replaced."))
