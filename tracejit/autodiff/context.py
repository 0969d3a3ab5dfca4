"""What derivative rules are written with: nodes from nodes, and texts of the op table made into nodes.

The entries of the op table may not import the IR; they are handed a `Rules` and say with it what a cotangent becomes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from tracejit.ir import size as sizes
from tracejit.ir.graph import literal
from tracejit.ir.node import ArrayType, Builder, Index, Indices, Node, Shape, broadcast_indices, respaced_indices
from tracejit.ir.size import Dimension
from tracejit.ops.library import NoRule
from tracejit.ops.table import OPS
from tracejit.trace.opaque import Call, Slot
from tracejit.trace.record import as_tracer
from tracejit.trace.state import NotDifferentiable, Trace
from tracejit.trace.tracer import fresh

Operand: TypeAlias = Node | int | float


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "power",
    ast.USub: "negative",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}


@cache
def parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def literal_text(text: str) -> float | None:
    """The number that a derivative text is, if it is nothing else."""
    try:
        return float(text)
    except ValueError:
        return None


@cache
def choice_texts(text: str) -> tuple[str, str, str] | None:
    """The test and the two sides of a derivative text that is a choice."""
    match parsed(text):
        case ast.Call(func=ast.Name(id="where"), args=[test, yes, no]):
            return ast.unparse(test), ast.unparse(yes), ast.unparse(no)
    return None


class Rules:
    """Makes nodes for derivative rules.

    A cotangent that is zero because something masks it (`where`, a tie, a slice) must stay zero when it meets an
    infinite or undefined partial derivative: such cotangents are marked, and `scale` heeds the mark.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.builder: Builder = trace.builder
        self._marked: set[int] = set()
        self._keep: list[Node] = []
        self.line = ""

    def pull(self, outputs: Sequence[Node], seeds: Sequence[Node | None], wrt: Sequence[Node]) -> Sequence[Node | None]:
        """Reverse mode over the body of a rule's own node; see `derivation.Derivation`."""
        raise NotImplementedError

    def push(self, outputs: Sequence[Node], wrt: Sequence[Node], given: Sequence[Node]) -> Sequence[Node | None]:
        """Forward mode likewise."""
        raise NotImplementedError

    # ---- marks

    def mark(self, node: Node) -> Node:
        """Note that the node has zeros that must win over infinities."""
        self._marked.add(id(node))
        self._keep.append(node)
        return node

    def is_marked(self, node: Node) -> bool:
        return id(node) in self._marked

    def _inherit(self, result: Node, *sources: Node) -> Node:
        return self.mark(result) if any(id(source) in self._marked for source in sources) else result

    # ---- elementwise

    def constant(self, value: Any, type: ArrayType) -> Node:
        """A number under a shape."""
        number = self.builder.constant(np.asarray(value, type.dtype))
        return self.builder.view(number, broadcast_indices((), type.shape), type.shape) if type.shape else number

    def zeros(self, type: ArrayType) -> Node:
        return self.constant(0, type)

    def apply(self, name: str, *operands: Operand) -> Node:
        """An elementwise op on operands of one shape; numbers take dtype and shape of the others."""
        like = next(o for o in reversed(operands) if isinstance(o, Node))
        nodes = tuple(o if isinstance(o, Node) else self.constant(o, like.type) for o in operands)
        return self.builder.node(name, nodes, {}, ArrayType(self._result(name, nodes), like.shape), self.line)

    @staticmethod
    def _result(name: str, nodes: Sequence[Node]) -> np.dtype[Any]:
        rule = OPS[name].resolve
        if rule is None:
            return nodes[-1].dtype
        resolve: Any = rule.resolve_dtypes
        return resolve((*(node.dtype for node in nodes), *[None] * rule.nout))[-1]  # type: ignore[no-any-return]

    def expression(self, text: str, names: Mapping[str, Node]) -> Node:
        """A derivative text on the nodes that its names stand for."""
        like = next(iter(names.values()))

        def build(item: ast.expr) -> Operand:
            match item:
                case ast.Name():
                    return names[item.id]
                case ast.Constant(value=int() | float() as value):
                    return value
                case ast.BinOp():
                    return self.apply(_OPERATORS[type(item.op)], build(item.left), build(item.right))
                case ast.UnaryOp(operand=ast.Constant(value=int() | float() as value)):
                    return -value
                case ast.UnaryOp():
                    return self.apply(_OPERATORS[type(item.op)], build(item.operand))
                case ast.Compare(ops=[op], comparators=[right]):
                    return self.apply(_OPERATORS[type(op)], build(item.left), build(right))
                case ast.Call(func=ast.Name(id="where"), args=[test, yes, no]):
                    return self.where(build(test), build(yes), build(no), like.type)
                case ast.Call(func=ast.Name(id=name)):
                    return self.apply(name, *map(build, item.args))
            raise ValueError(f"derivative text {text!r}: {ast.unparse(item)} is not of its language")

        result = build(parsed(text))
        return result if isinstance(result, Node) else self.constant(result, like.type)

    def where(self, test: Operand, yes: Operand, no: Operand, type: ArrayType) -> Node:
        branches = tuple(o if isinstance(o, Node) else self.constant(o, type) for o in (yes, no))
        assert isinstance(test, Node)
        return self.builder.node("where", (test, *branches), {}, ArrayType(branches[0].dtype, type.shape), self.line)

    def choose(self, test: Node, yes: Operand, no: Operand, like: Node) -> Node:
        """`where` on a cotangent: what is not chosen is a zero that must stay one."""
        return self.mark(self.where(test, yes, no, like.type))

    def add(self, a: Node, b: Node) -> Node:
        total = self.apply("add", a, b)
        return self.mark(total) if self.is_marked(a) and self.is_marked(b) else total

    def negative(self, a: Node) -> Node:
        return self._inherit(self.apply("negative", a), a)

    def multiply(self, a: Operand, b: Operand) -> Node:
        return self._inherit(self.apply("multiply", a, b), *(o for o in (a, b) if isinstance(o, Node)))

    def scale(self, cotangent: Node, partial: Node) -> Node:
        """cotangent * partial, where a marked cotangent's zeros win."""
        if partial.dtype != cotangent.dtype:
            partial = self.builder.cast(partial, cotangent.dtype)
        if not self.is_marked(cotangent):
            return self.apply("multiply", cotangent, partial)
        return self.mark(self.apply("multiply" if _is_finite_constant(partial) else "scale", cotangent, partial))

    def cast(self, node: Node, dtype: Any) -> Node:
        return self._inherit(self.builder.cast(node, np.dtype(dtype), self.line), node)

    # ---- structure

    def view(self, node: Node, indices: Indices, shape: Shape) -> Node:
        return self._inherit(self.builder.view(node, indices, shape, self.line), node)

    def reshape(self, node: Node, shape: Shape) -> Node:
        if node.shape == shape:
            return node
        indices = respaced_indices(node.shape, shape)
        if indices is not None:
            return self.view(node, indices, shape)
        type = ArrayType(node.dtype, shape)
        return self._inherit(self.builder.node("reshape", (node,), {}, type, self.line), node)

    def update(self, base: Node, value: Node, indices: Indices) -> Node:
        node = self.builder.node("update", (base, value), {"indices": indices}, base.type, self.line)
        return self._inherit(node, base, value)

    def sum(self, node: Node, axes: Sequence[int]) -> Node:
        return self.reduce("sum", node, axes)

    def reduce(self, name: str, node: Node, axes: Sequence[int]) -> Node:
        if not axes:
            return node
        kept = tuple(d for axis, d in enumerate(node.shape) if axis not in axes)
        return self.builder.node(name, (node,), {"axes": tuple(axes)}, ArrayType(node.dtype, kept), self.line)

    def accumulate(self, name: str, node: Node, axis: int) -> Node:
        """Running totals along an axis."""
        return self._inherit(self.builder.node(name, (node,), {"axis": axis}, node.type, self.line), node)

    def spread(self, node: Node, axes: Sequence[int], shape: Shape) -> Node:
        """What a reduction over `axes` of `shape` gave, at every element that it was of."""
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        indices = tuple(Index(None) if shape[axis] == 1 else Index(axis) for axis in kept)
        return self.view(node, indices, shape)

    def transposed(self, node: Node, order: Sequence[int]) -> Node:
        """The node with its axes in another order."""
        places = {axis: position for position, axis in enumerate(order)}
        indices = tuple(Index(None) if d == 1 else Index(places[axis]) for axis, d in enumerate(node.shape))
        return self.view(node, indices, tuple(node.shape[axis] for axis in order))

    def unbroadcast(self, node: Node, shape: Shape) -> Node:
        """Sum over the axes that a broadcast from `shape` to the node's shape repeats."""
        shift = len(node.shape) - len(shape)
        axes = [a for a, d in enumerate(node.shape) if a < shift or (shape[a - shift] == 1 and d != 1)]
        return self.reshape(self.sum(node, axes), shape)

    def gather(self, source: Node, indices: Sequence[Node], like: Node) -> Node:
        """Like a gather node, of another source."""
        params = {key: like[key] for key in ("axes", "at", "rank")}
        rank, at = params["rank"], params["at"]
        rest = [d for axis, d in enumerate(source.shape) if axis not in params["axes"]]
        shape = (*rest[:at], *indices[0].shape[:rank], *rest[at:])
        return self.builder.node("gather", (source, *indices), params, ArrayType(source.dtype, shape), self.line)

    def scatter_add(self, base: Node, values: Node, indices: Sequence[Node], like: Node) -> Node:
        """`base` with `values` added at the positions that a gather node like `like` reads."""
        params = {key: like[key] for key in ("axes", "at", "rank")}
        slots = tuple(Slot(position) for position in range(2 + len(indices)))
        call = Call(OPS["scatter_add"].reference, (params["axes"], params["at"], *slots), {}, "scatter_add")  # type: ignore[arg-type]
        node = self.builder.node(
            "scatter_add", (base, values, *indices), {**params, "call": call}, base.type, self.line
        )
        return self.mark(node)

    def matmul(self, a: Node, b: Node) -> Node:
        """np.matmul of nodes with two axes or more whose batch axes agree or are missing on one side."""
        batch = a.shape[:-2] if len(a.shape) >= len(b.shape) else b.shape[:-2]
        type = ArrayType(a.dtype, (*batch, a.shape[-2], b.shape[-1]))
        return self.builder.node("matmul", (a, b), {}, type, self.line)

    def product(self, a: Node, b: Node, like: Node) -> Node:
        """np.matmul of the operands of a matmul node, or of their tangents."""
        return self._inherit(self.builder.node("matmul", (a, b), {}, like.type, self.line), a, b)

    def convolution(self, op: str, a: Node, b: Node, like: Node, type: ArrayType, more: Dimension = 1) -> Node:
        """A convolution, or one of the ops of its derivatives, like another but for op and type; `more`: groups."""
        params = dict(like.params)
        params["groups"] = sizes.multiply(params["groups"], more)
        return self._inherit(self.builder.node(op, (a, b), params, type, self.line), a, b)

    def outer(self, a: Node, b: Node) -> Node:
        """The products of all elements of two vectors (a cotangent of no axes is a number)."""
        if not a.shape:
            return self.multiply(self.spread(a, (0,), b.shape), b)
        shape = (*a.shape, *b.shape)
        return self.multiply(self.spread(a, (1,), shape), self.spread(b, (0,), shape))

    def matrix_vector(self, a: Node, b: Node) -> Node:
        type = ArrayType(a.dtype, a.shape[:1])
        return self.builder.node("matmul", (a, b), {}, type, self.line)

    def batched_matmul_vjp(self, node: Node, cotangent: Node) -> list[Node]:
        """Of stacks of matrices; a vector is a matrix of one row or column."""
        a, b = node.inputs
        left = a if len(a.shape) > 1 else self.reshape(a, (1, *a.shape))
        right = b if len(b.shape) > 1 else self.reshape(b, (*b.shape, 1))
        batch = node.shape[: max(len(left.shape), len(right.shape)) - 2]
        full = self.reshape(cotangent, (*batch, left.shape[-2], right.shape[-1]))
        to_left = self.matmul(full, self._swapped(right))
        if len(right.shape) == 2 and len(left.shape) > 2:
            # One matrix met a stack: one product of the flattened stack is its cotangent.
            rows = sizes.product(left.shape[:-1])
            flat = self.reshape(left, (rows, left.shape[-1]))
            to_right = self.matmul(self._swapped(flat), self.reshape(full, (rows, right.shape[-1])))
        else:
            to_right = self.unbroadcast(self.matmul(self._swapped(left), full), right.shape)
        return [self.reshape(self.unbroadcast(to_left, left.shape), a.shape), self.reshape(to_right, b.shape)]

    def _swapped(self, node: Node) -> Node:
        rank = len(node.shape)
        return self.transposed(node, (*range(rank - 2), rank - 1, rank - 2))

    def traced(self, function: Callable[..., Any], *given: Node, by: Node, like: Node) -> Node:
        """What a NumPy function makes of nodes, and of the arguments of the call node `by`; of the type of `like`."""
        args, options = by["call"].filled(lambda position: fresh(self.trace, by.inputs[position]))
        try:
            return self.numpy(function, *given, like=like, rest=args, **options)
        except NoRule as reason:
            raise NotDifferentiable(f"{by['call'].name} has no derivative here (at {by.line}): {reason}") from None

    def numpy(
        self, function: Callable[..., Any], *given: Node, like: Node, rest: Sequence[Any] = (), **options: Any
    ) -> Node:
        """What a NumPy function makes of nodes, then of the `rest` of its arguments; of the type of `like`."""
        trace = self.trace
        interrupt, trace.interrupt = trace.interrupt, None
        try:
            result = function(*(fresh(trace, node) for node in given), *rest, **options)
        finally:
            trace.interrupt = interrupt
        node = self.builder.cast(as_tracer(trace, result).node, like.dtype, self.line)
        return self._inherit(self.shaped(node, like.shape), *given[:1])

    def shaped(self, node: Node, shape: Shape) -> Node:
        """The node under a shape that says the same in other words."""
        same = len(node.shape) == len(shape) and all(map(self.trace.equal, node.shape, shape))
        if not same:
            raise ValueError(f"a derivative rule gave the shape {node.shape} for {shape} (at {self.line})")
        return self.reshape(node, shape)

    def stand_in(
        self, function: Callable[..., Any], node: Node, *given: Node, **options: Any
    ) -> tuple[Node, list[Node]]:
        """What else has a node's value, of variables of its own in the place of the node's inputs.

        In the place of a call the function takes its arguments; of other nodes the inputs, and what is given.
        """
        taps = [self.builder.node("tap", (source,), {}, source.type) for source in node.inputs]
        own = {id(tap): tap for tap in taps}
        self.trace.variables.update(own)
        if node.kind == "call":
            value = self.traced(function, by=self.builder.rebuilt(node, tuple(taps)), like=node)
        else:
            value = self.numpy(function, *taps, *given, like=node, **options)
        for key in own:
            del self.trace.variables[key]
        return value, taps

    def unview(self, cotangent: Node, node: Node) -> Node | Patch:
        """The cotangent of a view's source from the view's."""
        source, indices = node.inputs[0], node["indices"]
        used = {index.axis for index in indices if index.axis is not None}
        repeated = [axis for axis, dimension in enumerate(node.shape) if axis not in used and dimension != 1]
        kept = [axis for axis in range(len(node.shape)) if axis in used]
        summed = self._inherit(self.sum(cotangent, repeated), cotangent)
        summed = self.reshape(summed, tuple(node.shape[axis] for axis in kept))
        places = {axis: position for position, axis in enumerate(kept)}
        moved = tuple(
            Index(places[index.axis], index.step, index.start) if index.axis is not None else index for index in indices
        )
        whole = self._inverse(moved, self._canonical(summed.shape), self._canonical(source.shape))
        return self.view(summed, whole, source.shape) if whole is not None else Patch(summed, moved)

    def _canonical(self, shape: Shape) -> Shape:
        """The shape with the equalities that the trace knows applied."""
        return tuple(self.trace.canonical(dimension) for dimension in shape)

    @staticmethod
    def _inverse(indices: Indices, shape: Shape, source: Shape) -> Indices | None:
        """The view back, where a view shows every element of its source once."""
        inverse: dict[int, Index] = {}
        for axis, (index, length) in enumerate(zip(indices, source, strict=True)):
            if index.axis is None:
                if length != 1:
                    return None
                continue
            flipped = index.step == -1 and index.start == sizes.subtract(length, 1)
            if (
                index.axis in inverse
                or shape[index.axis] != length
                or not (flipped or (index.step, index.start) == (1, 0))
            ):
                return None
            inverse[index.axis] = Index(axis, index.step, index.start)
        return tuple(inverse.get(axis, Index(None)) for axis in range(len(shape)))


def _is_finite_constant(node: Node) -> bool:
    while node.op == "view":
        node = node.inputs[0]
    return node.op == "constant" and bool(np.all(np.isfinite(literal(node))))


class Patch:
    """A cotangent that is zero but for the elements under an affine view."""

    def __init__(self, value: Node, indices: Indices) -> None:
        self.value, self.indices = value, indices

    def onto(self, rules: Rules, total: Node | None, type: ArrayType) -> Node:
        """Added to what other uses have given, by writing only the elements under the view."""
        if total is None:
            return rules.mark(rules.update(rules.zeros(type), self.value, self.indices))
        before = rules.view(total, self.indices, self.value.shape)
        return rules.update(total, rules.add(before, self.value), self.indices)
