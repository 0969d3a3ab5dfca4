"""From a panel product and what follows it to a kernel of the form `panels`: see `kernel` and `panel_products`."""

from __future__ import annotations

from collections.abc import Sequence

from tracejit.ir.node import Index as IrIndex
from tracejit.ir.node import Indices, Node, compose
from tracejit.ir.size import Dimension
from tracejit.schedule import kernel as k
from tracejit.schedule.grouping import Group
from tracejit.schedule.kernel_builder import KernelBuilder
from tracejit.schedule.kernel_draft import BuiltKernel, Memory
from tracejit.schedule.panel_products import PanelProduct, Piece
from tracejit.schedule.steps import Buffer


class PanelBuilder(KernelBuilder):
    """Builds one kernel: a stage for each piece of the panel, one for the product, one for what follows it."""

    def __init__(self, group: Group, product: PanelProduct, memory: Memory, stored: set[int], fastmath: bool) -> None:
        super().__init__(group, memory, stored, fastmath)
        self.product = product
        self.roots = {id(root): len(product.pieces) for root in group.roots}
        self.extents = []
        self.batch = [self._axis(length) for length in product.lengths(product.batch)]
        self.columns = [self._axis(length) for length in product.lengths(product.columns)]
        self.rows = self._axis(product.node.shape[-2])
        self.depth = self._axis(product.node.inputs[1].shape[-2])
        self.tile_indices: Indices = tuple(map(IrIndex, (*self.batch, self.rows, *self.columns)))

    def _axis(self, length: Dimension) -> int:
        self.extents.append(length)
        return len(self.extents) - 1

    def build(self) -> BuiltKernel:
        """The kernel; its outer axes are those of the stack and the first of the columns."""
        depth = self.product.depth
        joined = [self._inner_axis(n, length) for n, length in zip(depth, self.product.lengths(depth), strict=True)]
        self.panel = self._panel((*joined, *self.columns))
        self.tile = self._panel((self.rows, *self.columns))
        stages = []
        for piece in self.product.pieces:
            stages.append(self._piece(piece))
            self.stage += 1
        stages.append(k.Stage((), (self._multiplied(),)))
        self.lines = []
        for root in self.group.roots:
            if id(root) in self.stored:
                self._store_to(root, self.tile_indices, self._value(root, self.tile_indices))
        stages.append(k.Stage((self.rows, *self.columns), tuple(self.lines)))
        return self._built("panels", (*self.batch, self.columns[0]), tuple(stages))

    def _panel(self, axes: Sequence[int]) -> int:
        """Scratch memory for a panel or tile; its last axes are those of the columns."""
        dtype = self.product.node.dtype
        unit = (False,) * (len(axes) - 1) + (True,)
        self.operands.append(k.Operand(dtype.name, len(axes), unit, "scratch", tuple(axes)))
        self.buffers.append(Buffer(-1, "scratch", dtype, ()))
        return len(self.operands) - 1

    def _piece(self, piece: Piece) -> k.Stage:
        """The loops that write one piece of the right operand into the panel."""
        self.lines = []
        value, indices, product = piece.value, piece.indices, self.product
        axes = dict(zip((*product.batch, *product.columns), (*self.batch, *self.columns), strict=True))
        own = {position: axis for position, axis in axes.items() if piece.covers(position)}
        places: list[IrIndex] = [IrIndex(None)] * len(value.shape)
        for position, index in enumerate(indices):
            if index.axis is not None:
                if position not in own:
                    own[position] = self._inner_axis(position, value.shape[index.axis])
                places[index.axis] = IrIndex(own[position])
        written = [
            k.Index(own.get(position), indices[position].step, self._index(indices[position]).start)
            for position in (*product.depth, *product.columns)
        ]
        number = self._value(value, tuple(places))
        self._emit(k.Store(self.panel, tuple(written), number))
        # In the order of the whole, whose last axis is the piece's nearest in memory too, as a rule.
        inner = [own[position] for position in sorted(own) if position not in product.batch]
        return k.Stage(tuple(inner), tuple(self.lines))

    def _multiplied(self) -> k.Instruction:
        self.lines = []
        left = self.product.left
        shape, batch = left.shape, self.batch[len(self.batch) - (len(left.shape) - 2) :]
        axes = [*(None if d == 1 else a for a, d in zip(batch, shape[:-2], strict=True)), self.rows, self.depth]
        source, indices = self._viewed(left, tuple(map(IrIndex, axes)))
        operand = self._operand(source, "in")
        located = tuple(map(self._index, indices))
        self._emit(k.Product(operand, located, self.rows, self.depth, self.panel, self.tile))
        return self.lines[0]

    def _viewed(self, node: Node, indices: Indices) -> tuple[Node, Indices]:
        """What a view looks at, and where."""
        while id(node) not in self.memory.buffers:
            node, indices = node.inputs[0], compose(node["indices"], indices)
        return node, indices

    def _from_memory(self, node: Node) -> bool:
        return self.product.is_result(node) or super()._from_memory(node)

    def _load(self, node: Node, indices: Indices) -> int:
        if not self.product.is_result(node):
            return super()._load(node, indices)
        return self._emit(k.Load(self.tile, tuple(map(self._index, indices[len(self.batch) :]))), node.dtype.name)
