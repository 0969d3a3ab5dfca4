"""What has no kernel: NumPy is called with the real arrays, inside the graph where the result's type is known
beforehand, else by interrupting the trace.  Also `bool(t)` and its like, which interrupt it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from types import FunctionType
from typing import Any

import numpy as np

from tracejit.ir.node import ArrayType, Node, Shape
from tracejit.ops.table import OPS
from tracejit.records import dataclass
from tracejit.trace.number import HostNumber
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import as_tracer
from tracejit.trace.state import NotDifferentiable, Untraceable, current, user_line
from tracejit.trace.tracer import Tracer, fresh


@dataclass(frozen=True)
class Slot:
    """In a call's argument template: the traced operand that goes here."""

    position: int


@dataclass(frozen=True)
class Expression:
    """In a call's argument template: a host number, computed anew at each call; `number`: as it is in this trace."""

    text: str
    number: HostNumber | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Call:
    """A NumPy call between kernels: the function and its arguments with slots for the traced ones."""

    function: Callable[..., Any]
    args: Any
    options: Any
    name: str

    def text(self, operands: list[str]) -> str:
        """How the call prints."""

        def show(item: Any) -> str:
            if isinstance(item, Slot):
                return operands[item.position]
            if isinstance(item, Expression):
                return item.text
            if isinstance(item, tuple):
                return f"({', '.join(map(show, item))})"
            if isinstance(item, list):
                return f"[{', '.join(map(show, item))}]"
            return repr(item) if not isinstance(item, np.ndarray) else f"array{item.shape}"

        shown = [show(item) for item in self.args] + [f"{key}={show(item)}" for key, item in self.options.items()]
        return f"{self.name}({', '.join(shown)})"

    def filled(self, operand: Callable[[int], Any]) -> tuple[Any, Any]:
        """The arguments as the tracing function gave them; `operand` gives what stands in a slot."""

        def fill(item: Any) -> Any:
            if isinstance(item, Slot):
                return operand(item.position)
            if isinstance(item, Expression):
                return item.number
            if isinstance(item, Call):
                return item.function(*map(fill, item.args))
            return type(item)(map(fill, item)) if type(item) in (tuple, list) else item

        return tuple(map(fill, self.args)), {key: fill(value) for key, value in self.options.items()}


_ENTRIES: dict[Any, str] = {op.reference: op.name for op in OPS.values() if op.kind == "call" and op.reference}
"""Function -> the op whose entry has its rules."""


def template(value: Any, operands: list[Tracer]) -> Any:
    """The argument structure with tracers replaced by slots (appended to `operands`)."""
    if isinstance(value, Tracer):
        operands.append(value)
        return Slot(len(operands) - 1)
    if isinstance(value, HostNumber):
        return Expression(value.text, value)
    if isinstance(value, np.ndarray):
        return template(as_tracer(current(), value), operands) if value.dtype != object else value
    if type(value) in (tuple, list):
        return type(value)(template(item, operands) for item in value)
    if isinstance(value, dict):
        return {key: template(item, operands) for key, item in value.items()}
    if isinstance(value, slice):
        parts = [template(part, operands) for part in (value.start, value.stop, value.step)]
        return (
            Call(slice, tuple(parts), {}, "slice") if any(isinstance(p, (Slot, Expression)) for p in parts) else value
        )
    if isinstance(value, FunctionType) and any(map(_is_traced, value.__closure__ or ())):
        raise Untraceable(
            f"a function that reads traced values of the function around it is handed to NumPy (at {user_line()})"
        )
    return value


def _is_traced(cell: Any) -> bool:
    """Whether a closure's cell holds a value of this call, which later calls must not see."""
    try:
        return isinstance(cell.cell_contents, (Tracer, HostNumber))
    except ValueError:  # not bound yet
        return False


def spelling(function: Any) -> str:
    """The dotted name of a NumPy function, as a user writes it."""
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy._core.", "numpy.")
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", repr(function))
    if module.startswith("tracejit."):
        return str(name)
    return f"{module.split('._')[0]}.{name}".replace("builtins.", "").replace("numpy.", "np.")


def call_node(
    function: Callable[..., Any], args: Any, options: Any, shape: Shape, dtype: Any, scalar: bool = False
) -> Tracer:
    """A call inside the graph; the caller vouches for the result's shape and dtype."""
    trace = current()
    operands: list[Tracer] = []
    call = Call(function, template(tuple(args), operands), template(dict(options), operands), spelling(function))
    nodes: tuple[Node, ...] = tuple(tracer.node for tracer in operands)
    trace.opaque.append(f"{call.name} at {user_line()}")
    type = ArrayType(np.dtype(dtype), shape)
    node = trace.builder.node(_ENTRIES.get(function, "call"), nodes, {"call": call}, type, user_line())
    return fresh(trace, node, scalar)


def interrupt_call(function: Callable[..., Any], args: Any, options: Any) -> Any:
    """A call whose result's type only the call can tell: the trace goes on with what it returns."""
    trace = current()
    operands: list[Tracer] = []
    call = Call(function, template(tuple(args), operands), template(dict(options), operands), spelling(function))
    trace.opaque.append(f"{call.name} at {user_line()} (ends a segment)")
    if trace.interrupt is None:
        raise RuntimeError(f"{call.name} needs values, and this trace has none")
    return trace.interrupt(trace, call, operands, False)


def outcome(tracer: Tracer, convert: Callable[[Any], Any], name: str) -> Any:
    """The plain value of a tracer; each different outcome is a branch of the trace."""
    trace = current()
    if trace.interrupt is None:
        raise RuntimeError(f"{name}() of a traced value needs values, and this trace has none")
    if name in ("bool", "int", "float", "complex", "index") and tracer.ndim and trace.value(tracer_size(tracer)) != 1:
        convert(np.empty(tuple(trace.value(d) for d in tracer.symbolic_shape), tracer.dtype))
    node = tracer.node
    if node.op == "constant":
        shape: Any = node.shape
        return convert(np.frombuffer(node["data"], node.dtype).reshape(shape).copy())
    return trace.interrupt(trace, Call(convert, (Slot(0),), {}, name), [tracer], True)


def tracer_size(tracer: Tracer) -> Any:
    """Number of elements as a dimension."""
    number = tracer.size
    return number.size if isinstance(number, HostNumber) else number


def plain_array(tracer: Tracer) -> Any:
    """np.asarray(t) outside the stand-in's reach: the values of this run, guarded as an outcome.

    Raises NotDifferentiable for a value that depends on a variable: the plain array would count as constant.
    """
    if tracer.dtype.kind == "f" and current().is_differentiated(tracer.node):
        raise NotDifferentiable(
            f"a value that is differentiated is handed to code that needs a plain array (at {user_line()}), where its "
            "derivative would be lost. Compute with np.* functions, give the code a rule with tracejit.custom_vjp, or "
            "say that it counts as constant with tracejit.stop_gradient."
        )
    return outcome(tracer, FrozenArray, "asarray").array.copy()


class FrozenArray:
    """An array as an outcome: equal when all its bits are."""

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)
        self._key = (self.array.dtype.str, self.array.shape, self.array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenArray) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


HANDLERS["outcome"] = outcome
HANDLERS["plain_array"] = plain_array
