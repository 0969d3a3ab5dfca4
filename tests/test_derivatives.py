"""Derivatives of every elementwise op of the table: an op added there is tested here without a line being written.

The texts of the table are held against exact derivatives and against differences of the op itself; then the engine
against both, forwards and in reverse, jitted and eagerly, broadcast, in float32, and a second time.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest

import tracejit as tj
from benchmarks.ulp import CASES, Case
from tests.comparing import outcome
from tests.test_op_table import arity, reference, spelt
from tracejit.ops import OPS, Op

Function = Callable[..., Any]

ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise" and op.resolve is not None]
DIFFERENTIABLE = [op for op in ELEMENTWISE if op.derivative is not None]
WITHOUT = {
    "trigamma": "its derivative is another polygamma function, which is no op",
    "nextafter": "a step of one unit in the last place is no smooth function",
}
"""Ops with float results that cannot be differentiated, and why."""

ops = pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
LETTERS = "xy"


# ---- the texts


def names_of(text: str) -> tuple[set[str], set[str]]:
    """The names that a derivative text reads, and those that it calls."""
    nodes = list(ast.walk(ast.parse(text, mode="eval").body))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - called, called


ALLOWED = (
    *(ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Load),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub),
    *(ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq),
)


@ops
def test_texts_are_of_the_table(op: Op) -> None:
    """One text an operand, of the operands, the result, numbers and elementwise ops called with all their operands."""
    assert op.derivative is not None and len(op.derivative) == arity(op)
    for text in op.derivative:
        read, called = names_of(text)
        assert read <= {*LETTERS[: arity(op)], "out"}, text
        assert all(OPS[name].kind == "elementwise" for name in called), text
        for node in ast.walk(ast.parse(text, mode="eval").body):
            assert isinstance(node, ALLOWED), f"{text}: {ast.unparse(node)}"
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert len(node.args) == (3 if name == "where" else arity(OPS[name])) and not node.keywords, text


def gives_floats(op: Op) -> bool:
    """Whether the op on float64 gives floats."""
    if op.position_of:
        return False
    if op.resolve is None:
        return True
    rule: Any = op.resolve.resolve_dtypes
    found, _ = outcome(rule, (np.dtype(float),) * op.resolve.nin + (None,) * op.resolve.nout)
    return found is not None and found[-1].kind == "f"


@pytest.mark.parametrize(
    "op",
    [op for op in OPS.values() if op.kind in ("elementwise", "reduce", "gather", "contract")],
    ids=lambda op: op.name,
)
def test_every_float_op_has_a_derivative(op: Op) -> None:
    has = op.derivative is not None or (op.jvp is not None and op.vjp is not None)
    assert has == (gives_floats(op) and op.name not in WITHOUT), f"{op.name}: has a derivative: {has}"


def value_of(text: str, operands: Sequence[Any], out: Any) -> Any:
    """A derivative text computed by NumPy, one op after the other, in the dtype of the operands."""
    _, called = names_of(text)
    scope = {name: np.where if name == "where" else reference(OPS[name]) for name in called}
    scope.update(zip(LETTERS, operands, strict=False), out=out)
    with np.errstate(all="ignore"):
        value = eval(compile(text, "<derivative>", "eval"), {}, scope)  # noqa: S307 - a text of the table
    return np.broadcast_to(np.asarray(value, np.result_type(out)), np.shape(out))


def partials(op: Op, operands: Sequence[Any]) -> list[Any]:
    """The partial derivatives by the op's texts."""
    assert op.derivative is not None
    with np.errstate(all="ignore"):
        out = reference(op)(*operands)
    return [value_of(text, operands, out) for text in op.derivative]


def test_value_of_computes_what_the_text_says() -> None:
    """The evaluation that the other tests lean on."""
    x, y = np.array([1.0, 4.0]), np.array([2.0, 4.0])
    np.testing.assert_array_equal(value_of("where(x == y, 0.5, -x ** 2 / out)", (x, y), x + y), [-1 / 3, 0.5])
    np.testing.assert_array_equal(value_of("0", (x, y), x + y), [0.0, 0.0])


# ---- against exact derivatives


def moderate(values: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Which operands a numerical derivative in a few hundred bits is good at."""
    size = [np.abs(v) for v in values]
    return np.all([(s > 1e-30) & (s < 1e6) for s in size], axis=0)  # type: ignore[no-any-return]


def exact_partial(case: Case, operands: Sequence[float], position: int) -> Any:
    def along(value: Any) -> Any:
        given = [mpmath.mpf(v) for v in operands]
        given[position] = value
        return case.exact(*given)

    return mpmath.diff(along, mpmath.mpf(operands[position]), relative=True)


@pytest.mark.parametrize("name", CASES)
def test_texts_are_accurate_everywhere(name: str) -> None:
    """Against mpmath, also far out in the tails where a careless formula cancels."""
    op, case = OPS["power" if name == "pow" else name], CASES[name]
    if op.derivative is None:
        assert op.name in WITHOUT
        return
    random = np.random.default_rng(5)
    for sampler in case.samples:
        operands = [np.asarray(v, float) for v in sampler(random, 12, np.float64)]
        with np.errstate(all="ignore"):
            good = moderate(operands) & np.isfinite(reference(op)(*operands))
        operands = [v[good] for v in operands]
        for position, found in enumerate(partials(op, operands)):
            with mpmath.workprec(400):
                wanted = [float(exact_partial(case, point, position)) for point in zip(*operands, strict=True)]
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-300, err_msg=f"{name} by {LETTERS[position]}")


# ---- against differences


def differences(function: Function, operands: Sequence[Any], position: int) -> tuple[Any, Any]:
    """The elementwise partial derivative by central differences, and which of them converged.

    Richardson's extrapolation to the limit, of halved steps; of each element the entry that changed least (Ridders,
    Advances in Engineering Software 4, 1982).  Beside a kink or a jump none settles; on a staircase the long steps see
    a slope, and the shortest does not.
    """
    x = operands[position]
    step = np.maximum(np.abs(x), 0.1) * 0.01

    def central(h: Any) -> Any:
        def at(value: Any) -> Any:
            return function(*operands[:position], value, *operands[position + 1 :])

        with np.errstate(all="ignore"):
            above, below = x + h, x - h
            return (at(above) - at(below)) / (above - below)

    best, error = np.zeros_like(x), np.full_like(x, np.inf)
    row = [central(step)]
    for level in range(1, 6):
        following = [central(step / 2**level)]
        for order, before in enumerate(row, 1):
            following.append(following[-1] + (following[-1] - before) / (4**order - 1))
            change = np.maximum(np.abs(following[-1] - following[-2]), np.abs(following[-1] - before))
            best, error = np.where(change < error, following[-1], best), np.fmin(change, error)
        row = following
    size = np.maximum(np.abs(best), 1e-2)
    return best, (error < 1e-7 * size) & (np.abs(row[0] - best) < 1e-3 * size)


def test_differences_settle_on_the_derivative_only() -> None:
    x = np.array([0.5, 2.0, 1.0 + 1e-5, 3.0])
    found, settled = differences(lambda v: np.where(v < 1, v, v * v * v), (x,), 0)
    np.testing.assert_array_equal(settled, [True, True, False, True])
    np.testing.assert_allclose(found[settled], [1, 12, 27], rtol=1e-10)
    found, settled = differences(
        lambda v, w: np.floor(v / w), (np.array([-7.835]), np.array([-0.03732374558883933])), 0
    )
    assert not settled.any() or found == 0


def draw(op: Op, seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    """Operands from within the op's domain, away from its ends."""
    low, high = op.domain
    margin = 0.02 * (high - low)
    rng = np.random.default_rng(seed)
    return [rng.uniform(low + margin, high - margin, shape) for shape in shapes]


def loops_of(ufunc: np.ufunc) -> set[str]:
    """The operand dtypes that a ufunc has loops for, as codes."""
    return {signature.split("->")[0] for signature in ufunc.types}


def in_extended_precision(op: Op) -> Function:
    """The op's reference, in NumPy's longest float where it has such a loop."""
    function = reference(op)
    if not isinstance(function, np.ufunc) or np.dtype(np.longdouble).char * arity(op) not in loops_of(function):
        return function
    return lambda *operands: function(*(np.asarray(v, np.longdouble) for v in operands))


def assert_settled(settled: Any, op: Op) -> None:
    """Kinks and jumps may spoil some differences, not most."""
    assert np.mean(settled) > 0.75, f"{op.name}: only {np.sum(settled)} of {settled.size} differences settled"


@ops
def test_texts_are_the_op_s_derivatives(op: Op) -> None:
    operands = draw(op, 1, *[(60,)] * arity(op))
    for position, found in enumerate(partials(op, operands)):
        wanted, settled = differences(in_extended_precision(op), operands, position)
        assert_settled(settled, op)
        np.testing.assert_allclose(found[settled], wanted[settled], rtol=1e-6, atol=1e-8, err_msg=op.name)


# ---- through the engine


def pulled(op: Op) -> Function:
    """(operands, cotangent) -> cotangents, in reverse mode."""
    function = spelt(op)
    return lambda operands, cotangent: tj.vjp(lambda *v: function(*v), *operands)[1](cotangent)


def pushed(op: Op) -> Function:
    """(operands, tangents) -> (result, tangent), in forward mode."""
    function = spelt(op)
    return lambda operands, tangents: tj.jvp(lambda *v: function(*v), tuple(operands), tuple(tangents))


def both_modes(op: Op) -> Function:
    """(operands, tangents, cotangent) -> everything of the first order."""
    pull, push = pulled(op), pushed(op)
    return lambda operands, tangents, cotangent: (*push(operands, tangents), *pull(operands, cotangent))


def summed_to(value: Any, shape: tuple[int, ...]) -> Any:
    """The sum over the axes that broadcasting from `shape` repeated."""
    added = np.ndim(value) - len(shape)
    axes = (*range(added), *(added + n for n, d in enumerate(shape) if d == 1))
    return np.sum(value, axis=axes, keepdims=True, dtype=float).reshape(shape)


SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (((3, 1), (4,)), ((3, 4), ()), ((), (2, 3)), ((0, 4), (1, 4)))


def broadcast_cases(op: Op, dtype: Any) -> list[tuple[Any, Any, Any]]:
    """(operands, tangents, cotangent) of shapes that broadcast; of one shape for ops of one operand."""
    shapes = SHAPES if arity(op) == 2 else (((3, 4),), ((),), ((0, 4),))
    cases = []
    for number, group in enumerate(shapes):
        rng = np.random.default_rng(number)
        operands = [np.asarray(v, dtype) for v in draw(op, number, *group)]
        tangents = [np.asarray(rng.standard_normal(shape), dtype) for shape in group]
        cotangent = np.asarray(rng.standard_normal(np.broadcast_shapes(*group)), dtype)
        cases.append((operands, tangents, cotangent))
    return cases


def check_first_order(op: Op, case: tuple[Any, Any, Any], results: Sequence[Any], dtype: Any) -> None:
    """Values, dtypes and shapes of both modes against the partials by NumPy, and the modes against each other."""
    operands, tangents, cotangent = case
    out, tangent, *cotangents = results
    slopes = partials(op, np.broadcast_arrays(*operands))
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == np.float64 else {"rtol": 2e-4, "atol": 1e-4}
    assert np.asarray(out).dtype == np.asarray(tangent).dtype == dtype and np.shape(tangent) == np.shape(out)
    with np.errstate(all="ignore"):
        along = sum(s * np.asarray(t, float) for s, t in zip(slopes, tangents, strict=True))
        np.testing.assert_allclose(tangent, along, **close, err_msg=f"{op.name} forwards")
        for slope, operand, found in zip(slopes, operands, cotangents, strict=True):
            assert np.asarray(found).dtype == dtype and np.shape(found) == operand.shape
            back = summed_to(cotangent * slope.astype(float), operand.shape)
            np.testing.assert_allclose(found, back, **close, err_msg=f"{op.name} in reverse")
    forwards = np.sum(np.asarray(cotangent, float) * tangent)
    backwards = sum(np.sum(np.asarray(t, float) * c) for t, c in zip(tangents, cotangents, strict=True))
    np.testing.assert_allclose(forwards, backwards, **close, err_msg=f"{op.name}: <v, J u> against <J^T v, u>")


@ops
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_both_modes_broadcast(op: Op, dtype: Any) -> None:
    jitted = tj.jit(lambda cases: [both_modes(op)(*case) for case in cases])
    cases = broadcast_cases(op, dtype)
    for case, results in zip(cases, jitted(cases), strict=True):
        check_first_order(op, case, results, dtype)


@ops
def test_eager_is_the_same(op: Op) -> None:
    """Called outside `jit`, op by op on the tape too, and on Python floats."""
    case = broadcast_cases(op, np.float64)[0]
    check_first_order(op, case, both_modes(op)(*case), np.float64)
    with tj.disable_jit():
        check_first_order(op, case, both_modes(op)(*case), np.float64)
    if op.derivative != ("0",):
        point = [float(v) for v in draw(op, 3, *[()] * arity(op))]
        found = [tj.grad(lambda *v: spelt(op)(*v), n)(*point) for n in range(arity(op))]
        np.testing.assert_allclose(found, partials(op, point), rtol=1e-10, atol=1e-12, err_msg=op.name)


@ops
def test_engine_agrees_with_differences(op: Op) -> None:
    operands = draw(op, 2, *[(40,)] * arity(op))
    cotangent = np.linspace(0.5, 1.5, 40)
    for position, found in enumerate(tj.jit(pulled(op))(operands, cotangent)):
        wanted, settled = differences(in_extended_precision(op), operands, position)
        assert_settled(settled, op)
        wanted = cotangent * wanted.astype(float)
        np.testing.assert_allclose(found[settled], wanted[settled], rtol=1e-6, atol=1e-8, err_msg=op.name)


@ops
def test_second_order(op: Op) -> None:
    """The derivative of the derivative, forwards over reverse and reverse over reverse, against differences of it."""
    count = arity(op)
    if any(OPS[name].name in WITHOUT for text in op.derivative or () for name in names_of(text)[1]):
        return
    operands = draw(op, 4, *[(30,)] * count)
    ones = np.ones(30)
    gradient = tj.jit(pulled(op))

    def slopes(*given: Any) -> Any:
        return pulled(op)(given, ones)

    def both(operands: Any) -> Any:
        zeros = np.zeros(30)
        units = [tuple(ones if n == position else zeros for n in range(count)) for position in range(count)]
        forward = [tj.jvp(slopes, tuple(operands), unit)[1] for unit in units]
        _, pull = tj.vjp(slopes, *operands)
        return forward, [pull(unit) for unit in units]

    forward, reverse = tj.jit(both)(operands)
    for first in range(count):
        for second in range(count):
            wanted, settled = differences(lambda *v, n=first: gradient(v, ones)[n], operands, second)
            assert_settled(settled, op)
            label = f"{op.name} by {LETTERS[first]} and {LETTERS[second]}"
            for found in (forward[second][first], reverse[first][second]):
                np.testing.assert_allclose(found[settled], wanted[settled], rtol=1e-5, atol=1e-6, err_msg=label)
