"""Elements at computed positions."""

from __future__ import annotations

from tracejit.ops.table import Op, register

register(Op("gather", "gather", doc="Elements at computed positions of some axes.", cost=4))
