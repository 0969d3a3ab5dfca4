"""How a kernel of the form `panels` is cut into units, in emitted code: the same as `abi.panel_units` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracejit.lower.integers import larger, quotient, smaller
from tracejit.lower.llvm_types import word
from tracejit.schedule.kernel import ENOUGH_PANELS, PANEL_ELEMENTS, PANEL_WIDTH, ROW_BLOCK


@dataclass(frozen=True)
class PanelCuts:
    """Numbers of the emitted code: places on the tiled axis in a tile, tiles, rows in a block, blocks."""

    steps: Any
    tiles: Any
    rows: Any
    blocks: Any


def emit_panel_cuts(builder: Any, batch: Any, tiled: Any, inner: Any, depth: Any, rows: Any) -> PanelCuts:
    """The cuts of sizes (i64), which `abi.panel_axes` names."""
    one, eight, (least, most) = word(1), word(8), PANEL_WIDTH
    width = builder.sdiv(word(PANEL_ELEMENTS), larger(builder, one, depth))
    width = smaller(builder, larger(builder, width, word(least)), word(most))
    steps = larger(builder, one, builder.sdiv(width, larger(builder, one, inner)))
    steps = larger(builder, one, quotient(builder, tiled, larger(builder, one, quotient(builder, tiled, steps))))
    tiles = quotient(builder, tiled, steps)
    several = larger(builder, one, builder.sdiv(rows, word(ROW_BLOCK)))
    enough = builder.icmp_signed(">=", builder.mul(batch, tiles), word(ENOUGH_PANELS))
    blocks = builder.select(enough, one, several)
    height = builder.mul(quotient(builder, rows, builder.mul(eight, blocks)), eight)
    height = larger(builder, eight, height)
    return PanelCuts(steps, tiles, height, quotient(builder, rows, height))
