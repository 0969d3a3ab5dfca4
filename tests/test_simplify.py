"""Every row of the simplification table fires on its pattern and keeps the values; every pass shows what it does."""

from __future__ import annotations

import ast
import inspect
import os
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tracejit as tj
from tests.comparing import assert_bit_equal, assert_within_ulp
from tracejit.ir.graph import Graph
from tracejit.ir.node import ArrayType, Builder, Node, broadcast_indices
from tracejit.ir.verify import verify
from tracejit.ops import OPS
from tracejit.passes import PIPELINE
from tracejit.passes.simplify import RULES, Rule, simplify

DTYPES = {"b": (np.bool_,), "i": (np.int8, np.int64), "u": (np.uint8, np.uint64), "f": (np.float32, np.float64)}
CASES = [(rule, np.dtype(dtype)) for rule in RULES for kind in rule.kinds for dtype in DTYPES[kind]]


def defined(rule: Rule, dtype: np.dtype[Any]) -> bool:
    """Whether every op of the pattern takes the dtype."""
    called = {node.func.id for node in ast.walk(ast.parse(rule.pattern)) if isinstance(node, ast.Call)}  # type: ignore[attr-defined]
    return all(dtype.kind in OPS[name].dtypes for name in called if OPS[name].resolve is not None)


cases = pytest.mark.parametrize(
    ("rule", "dtype"),
    [case for case in CASES if defined(*case)],
    ids=lambda value: value.pattern if isinstance(value, Rule) else str(value),
)


def build(rule: Rule, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Graph:
    """The graph of the pattern alone, its operands as inputs."""
    builder = Builder()
    names = sorted({node.id for node in ast.walk(ast.parse(rule.pattern)) if isinstance(node, ast.Name)} - set(OPS))
    inputs = {
        name: builder.node(
            "input", (), {"position": number}, ArrayType(np.dtype(bool) if name == "c" else dtype, shape)
        )
        for number, name in enumerate(names)
    }

    def make(part: ast.expr) -> Node:
        if isinstance(part, ast.Name):
            return inputs[part.id]
        if isinstance(part, ast.Call):
            assert isinstance(part.func, ast.Name)
            operands = tuple(map(make, part.args))
            return builder.node(part.func.id, operands, {}, ArrayType(operands[-1].dtype, shape))
        constant = builder.constant(np.asarray(ast.literal_eval(part), dtype))
        return builder.view(constant, broadcast_indices((), shape), shape)

    output = make(ast.parse(rule.pattern, mode="eval").body)
    return Graph(tuple(inputs[name] for name in names), (output,))


@cases
def test_fires(rule: Rule, dtype: np.dtype[Any]) -> None:
    """The pattern is gone after the pass, and what stands for it is a valid graph."""
    graph = build(rule, dtype, (3,))
    result = verify(simplify(graph))
    assert str(result) != str(graph), f"{rule.pattern} does not fire"
    assert len(result.nodes) <= len(graph.nodes)


def python_of(rule: Rule, dtype: np.dtype[Any]) -> Any:
    """The pattern as a NumPy function of its operands."""
    tree = ast.parse(rule.pattern, mode="eval")
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(OPS))
    namespace = {name: getattr(np, name) for name in OPS if hasattr(np, name)}
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, field, [number(item, dtype) for item in value])
    text = f"lambda {', '.join(names)}: {ast.unparse(tree)}"
    return eval(text, {**namespace, "dtype": dtype}), names  # noqa: S307


def number(item: Any, dtype: np.dtype[Any]) -> Any:
    """Literals in the dtype of the operands."""
    if isinstance(item, ast.Constant | ast.UnaryOp):
        return ast.parse(f"dtype.type({ast.unparse(item)})", mode="eval").body
    return item


def operands(names: list[str], dtype: np.dtype[Any]) -> list[np.ndarray]:
    """Every pair of special and ordinary values."""
    if dtype.kind == "b":
        values = np.array([False, True])
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = np.array([info.min, info.max, 0, 1, 2, 3, 5], dtype)
    else:
        info = np.finfo(dtype)
        special = [np.nan, np.inf, 0.0, info.smallest_subnormal, info.tiny, info.max, 1.0, 0.1, 3.0, 1e-3, 12345.678]
        values = np.array([*special, *(-x for x in special)], dtype)
    left, right = (grid.ravel() for grid in np.meshgrid(values, values))
    drawn = iter([left, right])
    return [np.arange(left.size) % 2 == 0 if name == "c" else next(drawn) for name in names]


@cases
def test_keeps_values(rule: Rule, dtype: np.dtype[Any]) -> None:
    """To the bit; a pattern with an approximate op (`power`) within the op's own promise."""
    function, names = python_of(rule, dtype)
    values = operands(names, dtype)
    simplified = tj.jit(function)
    with np.errstate(all="ignore"):
        got = simplified(*values)
        with mock.patch.dict(os.environ, TRACEJIT_PASSES_OFF="simplify"):
            plain = tj.jit(function)(*values)
        wanted = function(*values)
    ulp = max(OPS[name].ulp for name in OPS if f"{name}(" in rule.pattern)
    if ulp:
        assert_within_ulp(got, wanted, wanted, ulp + 1, rule.pattern)
        assert_within_ulp(got, plain, plain, ulp + 1, rule.pattern)
    else:
        assert_bit_equal(got, wanted, rule.pattern)
        assert_bit_equal(got, plain, rule.pattern)


def test_zeros_of_both_signs_stay_apart() -> None:
    """`x + 0.0` is not x where x is -0.0; `x - -0.0` neither."""
    functions = [lambda x: x + 0.0, lambda x: x - (-0.0), lambda x: 0.0 - x, lambda x: x * 0.0, lambda x: x * -1.0]
    x = np.array([0.0, -0.0, 1.0, np.nan, np.inf])
    for function in functions:
        with np.errstate(all="ignore"):
            assert_bit_equal(tj.jit(function)(x), function(x))


PASSES = list(dict.fromkeys(PIPELINE))


@pytest.mark.parametrize("function", PASSES, ids=lambda function: function.__name__)
def test_a_pass_shows_before_and_after(function: Any) -> None:
    """Its module's docstring has the IR before and after it, in the printer's own form."""
    text = inspect.getmodule(function).__doc__ or ""
    assert "->" in text and ": f64" in text


@pytest.mark.parametrize("function", PASSES, ids=lambda function: function.__name__)
def test_a_pass_is_pure_and_settles(function: Any) -> None:
    """The graph that goes in stays as it is, and a second run changes nothing more than the first left to change."""

    def program(x: np.ndarray) -> np.ndarray:
        y = np.zeros(x.shape)
        y[1:-1] = x[2:] - 2.0 * x[1:-1] + x[:-2] * 1.0
        y[::2] += np.sum(x**2, axis=0)
        return np.broadcast_to(y[:4], (3, 4)) * (2.0 * 3.0)

    graph = tj.jit(program).trace(np.arange(8.0))
    before = str(graph)
    once = verify(function(graph))
    assert str(graph) == before
    assert str(function(function(once))) == str(function(once))
