"""Loops, branches and custom derivatives along a batch axis.

Where examples part ways (a branch whose selector differs, a loop that some leave earlier), all ways are computed for
the whole batch and each example keeps what it would have computed alone; `BatchAxis.active` tells the examples that
are really there, so that the others neither read out of bounds nor keep a loop running.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracejit.autodiff.batch_axis import BatchAxis, Batched
from tracejit.autodiff.batched_rules import BatchedCustom
from tracejit.ir.graph import Graph
from tracejit.ir.node import Node
from tracejit.trace.control import branch_parts, loop_parts


class BatchedControl(BatchAxis):
    """The part of the batching context that re-makes control nodes."""

    def batched_loop(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> list[Batched]:
        """A loop over all examples at once; the carries that differ between examples are batched."""
        operands = list(zip(inputs, flags, strict=True))
        first, last = node["constants"], node["constants"] + node["carries"]
        constants, carries, xs = operands[:first], operands[first:last], operands[last:]
        body: Graph = node["body"]
        loop = _Loop(self, body, node["condition"], constants, [flag for _, flag in xs])
        carried = [flag for _, flag in carries]
        while (found := loop.carried(carried)) != carried:
            carried = found
        graph, condition, results = loop.graphs(carried)
        parts = loop_parts(
            self.trace,
            graph,
            condition,
            node["length"],
            [source for source, _ in loop.constants],
            [
                self.widened(source, flag) if wide else source
                for (source, flag), wide in zip(carries, carried, strict=True)
            ],
            [self.moved(source, 0, 1) if flag else source for source, flag in xs],
            node["reverse"],
            node.line,
        )
        count = len(carries)
        stacked = [self.moved(y, 1, 0) if wide else y for y, wide in zip(parts[count:], results[count:], strict=True)]
        return list(zip([*parts[:count], *stacked], results, strict=True))

    def batched_branch(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> list[Batched]:
        """One branch for the whole batch, or each example's own choice among the results of all."""
        operands = list(zip(inputs, flags, strict=True))
        if flags[0]:
            return self._all_branches(node["branches"], inputs[0], operands[1:])
        if self.active is not None:
            operands.append((self.active, True))
        rows = [_on_parameters(self, graph, operands[1:]) for graph in node["branches"]]
        wide = [any(flags) for flags in zip(*([flag for _, flag in results] for _, _, results in rows), strict=True)]
        graphs = [Graph(inputs, outer._outputs(results, wide)) for inputs, outer, results in rows]
        parts = branch_parts(self.trace, inputs[0], graphs, [source for source, _ in operands[1:]], node.line)
        return list(zip(parts, wide, strict=True))

    def _all_branches(self, graphs: Sequence[Graph], selector: Node, operands: Sequence[Batched]) -> list[Batched]:
        chosen: list[Node] = []
        for place, graph in enumerate(graphs):
            if selector.dtype.kind == "b":
                mask = selector if place else self.apply("logical_not", selector)
            else:
                mask = self.apply("equal", selector, place)
            active = mask if self.active is None else self.apply("logical_and", mask, self.active)
            inner = self.inner(_standing(graph.inputs, operands), active)
            results = inner._outputs(inner.results(graph.outputs), [True] * len(graph.outputs))
            chosen = (
                [self.select(mask, *pair) for pair in zip(results, chosen, strict=True)] if place else list(results)
            )
        return [(node, True) for node in chosen]

    def _outputs(self, results: Sequence[Batched], wide: Sequence[bool]) -> tuple[Node, ...]:
        """The results as a body returns them: those that are `wide` with the batch axis."""
        return tuple(self.widened(n, flag) if w else n for (n, flag), w in zip(results, wide, strict=True))

    def batched_custom(self, node: Node, inputs: Sequence[Node], flags: Sequence[bool]) -> list[Batched]:
        """Values with a derivative rule, which is the rule of one example along the batch axis."""
        wide = [self.widened(source, flag) for source, flag in zip(inputs, flags, strict=True)]
        params = {**dict(node.params), "rule": BatchedCustom(self, node)}
        custom = self.builder.node("custom", tuple(wide), params, node.type, node.line)
        return [(self.builder.part(custom, k, source.type), True) for k, source in enumerate(wide[: node["count"]])]


def _standing(parameters: Sequence[Node], operands: Sequence[Batched]) -> dict[int, Batched]:
    """What stands for each parameter; operands without one are left out."""
    return {id(parameter): operand for parameter, operand in zip(parameters, operands, strict=False)}


def _on_parameters(
    axis: BatchedControl, graph: Graph, operands: Sequence[Batched]
) -> tuple[tuple[Node, ...], BatchedControl, list[Batched]]:
    """A body on parameters like its batched operands: they, the context of it, and the results."""
    inputs = axis.builder.parameters(source.type for source, _ in operands)
    known = _standing(graph.inputs, [(new, flag) for new, (_, flag) in zip(inputs, operands, strict=True)])
    inner = axis.inner(known, inputs[-1] if axis.active is not None else None)
    return inputs, inner, inner.results(graph.outputs)


@dataclass
class _Loop:
    """A loop being batched.  What tells the absent examples goes with the constants."""

    axis: BatchedControl
    body: Graph
    condition: Graph | None
    outer: Sequence[Batched]
    xs: Sequence[bool]

    @property
    def constants(self) -> list[Batched]:
        active = self.axis.active
        return [*self.outer, *([(active, True)] if active is not None else [])]

    def _condition(self, operands: Sequence[Batched]) -> Batched | None:
        """Whether to go on, each example or all at once, for given constants and carries."""
        if self.condition is None:
            return None
        masked = self.axis.active is not None
        active = operands[len(self.outer)][0] if masked else None
        kept = [*operands[: len(self.outer)], *operands[len(self.outer) + masked :]]
        inner = self.axis.inner(_standing(self.condition.inputs, kept), active)
        ((test, flag),) = inner.results(self.condition.outputs)
        if active is None:
            return test, flag
        return self.axis.apply("logical_and", self.axis.widened(test, flag), active), True

    def _parameters(self, carried: Sequence[bool]) -> tuple[tuple[Node, ...], list[Batched]]:
        """New inputs of the body, and the body's operands in the order of the old ones."""
        counter, *rest = self.body.inputs
        held, own = self.constants, rest[len(self.outer) :]
        flags = [*carried, *self.xs]
        types = [counter.type, *(node.type for node, _ in held)]
        types += [self.axis.along(p.type) if flag else p.type for p, flag in zip(own, flags, strict=True)]
        inputs = self.axis.builder.parameters(types)
        return inputs, list(zip(inputs, [False, *(flag for _, flag in held), *flags], strict=True))

    def _results(self, operands: Sequence[Batched], carried: Sequence[bool]) -> tuple[BatchedControl, list[Batched]]:
        """The batched body's results; an example that has left the loop keeps its carries."""
        first = 1 + len(self.outer)
        masked = self.axis.active is not None
        last = first + masked
        carries = operands[last : last + len(carried)]
        active = operands[first][0] if masked else None
        going = self._condition([*operands[1:last], *carries])
        if going is not None and going[1]:
            active = going[0]
        inner = self.axis.inner(_standing(self.body.inputs, [*operands[:first], *operands[last:]]), active)
        results = inner.results(self.body.outputs)
        if going is not None and going[1]:
            pairs = zip(results, carries, strict=False)
            kept = [(inner.select(going[0], inner.widened(*new), inner.widened(*old)), True) for new, old in pairs]
            results = [*kept, *results[len(carried) :]]
        return inner, results

    def carried(self, carried: Sequence[bool]) -> list[bool]:
        """Which carries are batched after one round, if these are before it."""
        _, operands = self._parameters(carried)
        _, results = self._results(operands, carried)
        return [before or after for before, (_, after) in zip(carried, results, strict=False)]

    def graphs(self, carried: Sequence[bool]) -> tuple[Graph, Graph | None, list[bool]]:
        """The new body and condition, and which of the body's results are batched."""
        inputs, operands = self._parameters(carried)
        inner, results = self._results(operands, carried)
        wide = [*carried, *(flag for _, flag in results[len(carried) :])]
        body = Graph(inputs, inner._outputs(results, wide))
        if self.condition is None:
            return body, None, wide
        last = 1 + len(self.constants) + len(carried)
        fresh = self.axis.builder.parameters(node.type for node in inputs[1:last])
        test = self._condition([(new, flag) for new, (_, flag) in zip(fresh, operands[1:last], strict=True)])
        assert test is not None
        goes = self.axis.reduce("any", test[0], (0,)) if test[1] else test[0]
        return body, Graph(fresh, (goes,)), wide
