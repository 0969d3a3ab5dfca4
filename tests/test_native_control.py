"""Loops and branches that become one kernel: compiled and printed, against NumPy."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.loops import (
    B,
    M,
    N,
    T,
    argument,
    branch,
    execute,
    launches,
    loop,
    op,
    program_of,
    run,
    take,
    typed,
)
from tracejit.ir.node import Index, Node, Shape
from tracejit.ir.size import symbol
from tracejit.lower.cpu import assembly, optimized
from tracejit.lower.settled_loop import Settling, settling
from tracejit.runtime.kernel_cache import get_kernels
from tracejit.schedule.kernel import Loop
from tracejit.schedule.native_control import is_native
from tracejit.schedule.steps import Launch

RNG = np.random.default_rng(0)


# ---- scans


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8"])
@pytest.mark.parametrize("length", [0, 1, 9])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan(dtype: str, length: int, reverse: bool) -> None:
    start, x = argument(0, dtype), argument(1, dtype, T)

    def body(i: Node, c: Node, slice_of: Node) -> list[Node]:
        following = op("add", op("multiply", c, 3), slice_of)
        return [following, op("subtract", following, c)]

    last, ys = loop(body, [start], [x], T, reverse=reverse)
    data = RNG.integers(-3, 4, length).astype(dtype)
    results = run([last, ys], np.array(2, dtype), data, t=length)
    c, expected = np.dtype(dtype).type(2), np.empty(length, dtype)
    with np.errstate(over="ignore"):
        for t in range(length)[:: -1 if reverse else 1]:
            old, c = c, c * np.dtype(dtype).type(3) + data[t]
            expected[t] = c - old
    np.testing.assert_array_equal(results[0], c)
    np.testing.assert_array_equal(results[1], expected)
    assert len(launches([last, ys])) == 1


def test_counter_is_the_place_in_xs_and_ys() -> None:
    (total, places) = loop(lambda i, c: [op("add", c, i), op("multiply", i, 10)], [argument(0, "int64")], length=T)
    for reverse in (False, True):
        total, places = loop(
            lambda i, c: [op("add", c, i), op("multiply", i, 10)], [argument(0, "int64")], length=T, reverse=reverse
        )
        results = run([total, places], np.array(7), t=5)
        np.testing.assert_array_equal(results[0], 17)
        np.testing.assert_array_equal(results[1], np.arange(5) * 10)


def test_bool_and_swapped_carries() -> None:
    flag, a, b = argument(0, "bool"), argument(1, "float64"), argument(2, "float64")

    def body(i: Node, flag: Node, a: Node, b: Node) -> list[Node]:
        return [op("not_equal", op("less", a, b), flag), b, a, flag]

    parts = loop(body, [flag, a, b], length=T)
    results = run(parts, True, 1.0, 2.0, t=3)
    f, x, y, kept = True, 1.0, 2.0, []
    for _ in range(3):
        kept.append(f)
        f, x, y = (x < y) != f, y, x
    assert [r.tolist() for r in results] == [f, x, y, kept]


def test_only_used_parts_are_stored() -> None:
    parts = loop(
        lambda i, a, b: [op("add", a, b), op("multiply", b, 2)], [argument(0, "f8"), argument(1, "f8")], length=3
    )
    (launch,) = launches(parts[:1])
    assert [o.role for o in launch.kernel.operands] == ["in", "in", "out"]
    np.testing.assert_array_equal(run(parts[:1], 1.0, 2.0)[0], 15.0)


def test_constants_views_and_inlined_producers() -> None:
    """The producer of the first carry and a view of xs are part of the kernel; a constant is read before the loop."""
    start, x, w = argument(0, "f8"), argument(1, "f8", T, 2), argument(2, "f8", 4)
    column = B.view(x, (Index(0, -1, symbol("last")), Index(None, 1, 1)), (T,))
    third = B.view(w, (Index(None, 1, 2),), ())
    (last,) = loop(
        lambda i, w, k, c, x: [op("add", op("multiply", c, k), op("add", x, B.view(w, (Index(None, 1, 3),), ())))],
        [op("exp", start)],
        [column],
        T,
        constants=[w, third],
    )
    rows, weights = RNG.normal(size=(6, 2)), RNG.normal(size=4)
    (result,) = run([last], 0.5, rows, weights, t=6, last=5)
    c = np.exp(0.5)
    for t in range(6):
        c = c * weights[2] + (rows[5 - t, 1] + weights[3])
    np.testing.assert_allclose(result, c, rtol=1e-14)
    assert len(launches([last])) == 1


def test_gathers() -> None:
    """table[data] from a constant, a literal array and a slice of xs; out of bounds is an error."""
    table, x = argument(0, "f8", N), argument(1, "f8", T, M)
    literal = B.constant(np.array([1.0, 10.0, 100.0]))

    def body(i: Node, table: Node, place: Node, x: Node) -> list[Node]:
        value = op("add", take(table, place), op("multiply", take(literal, place), take(x, place)))
        return [op("add", place, 1), value]

    parts = loop(body, [argument(2, "i8")], [x], T, constants=[table])
    tables, rows = RNG.normal(size=5), RNG.normal(size=(4, 7))
    results = run(parts, tables, rows, -3, n=5, m=7, t=4)
    places = np.arange(-3, 1)
    expected = tables[places] + np.array([1.0, 10.0, 100.0])[places] * rows[np.arange(4), places]
    np.testing.assert_allclose(results[1], expected, rtol=1e-15)
    with pytest.raises(IndexError, match="out of bounds"):
        run(parts, tables, rows, 2, n=5, m=7, t=4)


# ---- while


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_newton(dtype: str) -> None:
    a = argument(0, dtype)
    (root,) = loop(
        lambda i, a, x: [op("multiply", op("add", x, op("divide", a, x)), 0.5)],
        [op("add", a, 1)],
        constants=[a],
        condition=lambda a, x: op("greater", op("absolute", op("subtract", op("multiply", x, x), a)), 1e-5),
    )
    for number in (2.0, 9.0, 0.25):
        number = np.array(number, dtype)
        (result,) = run([root], number)
        x = number + np.dtype(dtype).type(1)
        while abs(x * x - number) > np.dtype(dtype).type(1e-5):
            x = (x + number / x) * np.dtype(dtype).type(0.5)
        np.testing.assert_array_equal(result, x)
        assert result.dtype == dtype


def test_while_counts_and_may_not_begin() -> None:
    (steps, n) = loop(
        lambda i, steps, n: [op("add", i, 1), op("floor_divide", n, 2)],
        [argument(0, "i8"), argument(1, "i8")],
        condition=lambda steps, n: op("greater", n, 0),
    )
    for start in (0, 1, 1000):
        results = run([steps, n], -1, start)
        assert results[0] == (start.bit_length() or -1) and results[1] == 0


def test_endless_gather_ends_with_an_error() -> None:
    (last,) = loop(
        lambda i, w, c: [op("add", c, take(w, c))],
        [argument(1, "i8")],
        constants=[argument(0, "i8", N)],
        condition=lambda w, c: op("greater", c, 0),
    )
    program = program_of([last])
    entries = [kernel.entry for kernel in get_kernels(program.kernels)]
    with pytest.raises(IndexError):
        execute(program, entries, [np.array([1, 1, 1]), np.array(1)], {"n": 3})


# ---- loops in loops, branches


def test_loop_in_loop() -> None:
    """Each outer step adds a * x[t] for all of w, the inner loop over a view of the outer loop's constant."""
    w, x, start = argument(0, "f8", M), argument(1, "f8", T), argument(2, "f8")

    def outer(i: Node, w: Node, c: Node, x: Node) -> list[Node]:
        twice = op("multiply", x, 2)
        inner = loop(
            lambda j, twice, d, w: [op("add", d, op("multiply", twice, w))], [c], [w], M, [twice], reverse=True
        )
        return [op("subtract", inner[0], op("multiply", c, 0.5)), inner[0]]

    parts = loop(outer, [start], [x], T, [w])
    weights, data = RNG.normal(size=5), RNG.normal(size=4)
    results = run(parts, weights, data, 0.3, m=5, t=4)
    c, kept = 0.3, []
    for value in data:
        d = c
        for weight in weights[::-1]:
            d += 2 * value * weight
        kept.append(d)
        c = d - 0.5 * c
    np.testing.assert_allclose(results[0], c, rtol=1e-14)
    np.testing.assert_allclose(results[1], kept, rtol=1e-14)


def test_loop_over_slices_of_slices() -> None:
    """A scan of a scan: rows of a matrix, then their elements."""
    x = argument(0, "f8", T, M)
    (total,) = loop(
        lambda i, c, row: loop(lambda j, d, value: [op("add", op("multiply", d, 0.9), value)], [c], [row], M),
        [B.constant(0.0)],
        [x],
        T,
    )
    data = RNG.normal(size=(4, 5))
    c = 0.0
    for value in data.ravel():
        c = c * 0.9 + value
    np.testing.assert_allclose(run([total], data, t=4, m=5)[0], c, rtol=1e-14)


def test_while_in_loop() -> None:
    """Collatz: the number of steps for each start."""

    def steps(i: Node, c: Node, n: Node) -> list[Node]:
        found = loop(
            lambda k, steps, n: [
                op("add", steps, 1),
                *branch(
                    op("equal", op("remainder", n, 2), 0),
                    [lambda n: [op("add", op("multiply", n, 3), 1)], lambda n: [op("floor_divide", n, 2)]],
                    n,
                ),
            ],
            [B.constant(0), n],
            condition=lambda steps, n: op("not_equal", n, 1),
        )
        return [op("maximum", c, found[0]), found[0]]

    longest, each = loop(steps, [argument(0, "i8")], [argument(1, "i8", T)], T)
    starts = np.arange(1, 40)
    results = run([longest, each], 0, starts, t=39)
    expected = []
    for n in starts:
        expected.append(0)
        while n != 1:
            n = n // 2 if n % 2 == 0 else 3 * n + 1
            expected[-1] += 1
    np.testing.assert_array_equal(results[1], expected)
    assert results[0] == max(expected)


@pytest.mark.parametrize("selector", ["bool", "int64"])
def test_branch_does_only_the_selected_work(selector: str) -> None:
    """The other ways would read out of bounds."""
    w, s, p = argument(0, "f8", N), argument(1, selector), argument(2, "i8")
    ways = [
        lambda w, p: [take(w, op("add", p, 100)), p],
        lambda w, p: [take(w, p), op("add", p, 1)],
        lambda w, p: [op("exp", take(w, op("add", p, 2))), op("add", p, 2)],
    ]
    parts = branch(s, ways[: 2 if selector == "bool" else 3], w, p)
    weights = np.array([1.0, 2.0, 3.0])
    results = run(parts, weights, np.array(1, selector), 2, n=3)
    assert [float(r) for r in results] == [3.0, 3.0]
    with pytest.raises(IndexError):
        run(parts, weights, np.array(0, selector), 2, n=3)
    if selector == "int64":
        assert float(run(parts, weights, 2, 0, n=3)[0]) == pytest.approx(np.exp(3.0))


def test_branch_in_loop_takes_the_way_of_each_step() -> None:
    """A gather on the way not taken would be out of bounds."""
    w, x = argument(0, "f8", N), argument(1, "i8", T)

    def body(i: Node, w: Node, c: Node, x: Node) -> list[Node]:
        return branch(
            op("less", x, 3),
            [lambda w, c, x: [op("subtract", c, 1)], lambda w, c, x: [op("add", c, take(w, x))]],
            w,
            c,
            x,
        )

    (last,) = loop(body, [argument(2, "f8")], [x], T, [w])
    results = run([last], np.array([1.0, 10.0, 100.0]), np.array([0, 7, 2, 99, 1]), 0.0, n=3, t=5)
    assert results[0] == 109.0


# ---- arrays, element by element


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_mandelbrot(n: int) -> None:
    """Carries are arrays: one parallel kernel, all iterations of an element in registers."""
    zero = B.view(B.constant(0.0), (), (N,))
    x, y = argument(0, "f8", N), argument(1, "f8", N)

    def body(i: Node, x: Node, y: Node, a: Node, b: Node, escaped: Node) -> list[Node]:
        square = op("subtract", op("multiply", a, a), op("multiply", b, b))
        inside = op("less", op("add", op("multiply", a, a), op("multiply", b, b)), 4.0)
        there = [op("add", square, x), op("add", op("multiply", op("multiply", a, b), 2.0), y)]
        count = op("add", escaped, 1.0)
        return [op("where", inside, *pair) for pair in zip((*there, count), (a, b, escaped), strict=True)]

    parts = loop(body, [zero, zero, zero], length=20, constants=[x, y])
    c = RNG.uniform(-2, 1, n) + 1j * RNG.uniform(-1, 1, n)
    (result,) = run(parts[2:], c.real.copy(), c.imag.copy(), n=n)
    z, escaped = np.zeros(n, complex), np.zeros(n)
    for _ in range(20):
        inside = z.real**2 + z.imag**2 < 4
        z = np.where(inside, z * z + c, z)
        escaped += inside
    np.testing.assert_array_equal(result, escaped)
    assert len(launches(parts[2:])) == 1


def test_array_scan_with_collapsed_axes() -> None:
    """Carries of two axes, xs and ys of three: the kernel sees one axis of elements."""
    start, x = argument(0, "f4", N, M), argument(1, "f4", T, N, M)
    parts = loop(lambda i, c, x: [op("add", op("multiply", c, 0.5), x), op("maximum", c, x)], [start], [x], T)
    (launch,) = launches(parts)
    assert launch.kernel.axes == 2
    first, data = RNG.normal(size=(3, 4)).astype("f4"), RNG.normal(size=(5, 3, 4)).astype("f4")
    results = run(parts, first, data, n=3, m=4, t=5)
    c, kept = first, []
    for t in range(5):
        kept.append(np.maximum(c, data[t]))
        c = c * np.float32(0.5) + data[t]
    np.testing.assert_array_equal(results[0], c)
    np.testing.assert_array_equal(results[1], np.array(kept))


def test_array_scan_on_two_threads() -> None:
    start = argument(0, "f8", N)
    (last,) = loop(lambda i, c: [op("add", op("multiply", c, 0.999), 1.0)], [start], length=T)
    data = RNG.normal(size=5000)
    (result,) = run([last], data, n=5000, t=30)
    for _ in range(30):
        data = data * 0.999 + 1.0
    np.testing.assert_array_equal(result, data)
    (launch,) = launches([last])
    assert set(launch.extents) == {N, T}


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 300])
@pytest.mark.parametrize("reverse", [False, True])
def test_array_scan_in_tiles(n: int, reverse: bool) -> None:
    """Carries of several dtypes; a value computed before the loop, used in it and after it; xs and ys."""
    x, w, start = argument(0, "f4", T, N), argument(1, "f8", N), argument(2, "f8", N)
    flags = B.view(B.constant(False), (), (N,))
    steps = B.view(B.constant(0, "i2"), (), (N,))

    def body(i: Node, w: Node, c: Node, flag: Node, steps: Node, x: Node) -> list[Node]:
        following = op("add", op("multiply", c, w), B.cast(x, np.dtype("f8")))
        up = op("greater", following, c)
        return [following, up, op("where", up, op("add", steps, 1), steps), op("not_equal", up, flag)]

    parts = loop(body, [start, flags, steps], [x], T, [op("exp", w)], reverse=reverse)
    data, weights, first = RNG.normal(size=(6, n)).astype("f4"), RNG.normal(size=n) - 1, RNG.normal(size=n)
    results = run(parts, data, weights, first, n=n, t=6)
    c, flag, count, turns = first, np.zeros(n, bool), np.zeros(n, "i2"), np.empty((6, n), bool)
    for t in range(6)[:: -1 if reverse else 1]:
        following = c * np.exp(weights) + data[t]
        up = following > c
        turns[t] = up != flag
        c, flag, count = following, up, count + up
    # exp is within an ULP of NumPy's; where the sum nearly cancels, that is more of what is left.
    np.testing.assert_allclose(results[0], c, rtol=1e-13, atol=1e-14)
    for result, expected in zip(results[1:], (flag, count, turns), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_carries_of_a_tile_are_vector_registers() -> None:
    """The loop is one block, and in whole tiles it neither reads nor writes memory."""
    start = argument(0, "f8", N)
    (launch,) = launches(loop(lambda i, c: [op("add", op("multiply", c, 0.999), 1.0)], [start], length=T))
    code = optimized([launch.kernel])
    blocks = re.split(r"\n(?=[\w.\"]+:)", code[code.index("@tj_kernel_") :])
    loops = [block for block in blocks if re.search(r"phi <\d+ x double>", block) and "fmul" in block]
    assert any(not re.search(r"= load|store ", block) for block in loops)


def test_array_loop_with_gathers_and_rows() -> None:
    """Elements of two axes that do not collapse, since the argument is strided; each looks things up in a table."""
    c, table = argument(0, "i8", N, M), argument(1, "i8", 8)
    parts = loop(
        lambda i, table, c: [take(table, op("remainder", op("add", c, i), 8))], [c], length=T, constants=[table]
    )
    program = program_of(parts, layouts={0: "any"})
    (kernel,) = program.kernels
    assert kernel.axes == 3
    start, lookup = RNG.integers(0, 8, (6, 300))[::2, ::2], RNG.integers(0, 100, 8)
    (loaded,) = get_kernels([kernel])
    (result,) = execute(program, [loaded.entry], [start, lookup], {"n": 3, "m": 150, "t": 4})
    expected = start
    for i in range(4):
        expected = lookup[(expected + i) % 8]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("shape", [(), (N,)])
def test_results_in_place(shape: Shape) -> None:
    """x = loop(x): the kernel reads and writes the argument; what it read first is what another result sees."""
    x = argument(0, "f8", *shape)
    (last, other) = loop(lambda i, c, d: [op("add", c, d), op("multiply", d, 2)], [x, op("negative", x)], length=3)
    program = program_of([last, other], layouts={0: "C"}, writebacks=[(0, 0)])
    (launch,) = [step for step in program.steps if isinstance(step, Launch)]
    assert [o.role for o in launch.kernel.operands].count("out") == 2
    assert len({buffer.name for buffer in launch.buffers}) == 2
    data = np.array(RNG.normal(size=200 if shape else ()))
    c, d = data.copy(), -data
    (loaded,) = get_kernels([launch.kernel])
    results = execute(program, [loaded.entry], [data], {"n": 200})
    for _ in range(3):
        c, d = c + d, d * 2
    np.testing.assert_array_equal(data, c)
    np.testing.assert_array_equal(results[1], d)


def test_elements_of_other_places_are_not_native() -> None:
    c, axis = argument(0, "f8", N), Index(0, -1, symbol("last"))
    flipped = loop(lambda i, c: [B.view(c, (axis,), (N,))], [c], length=T)
    assert not is_native(flipped[0].inputs[0])
    whole = loop(lambda i, c: [op("add", c, 1)], [c], condition=lambda c: op("less", B.view(c, (Index(None),), ()), 3))
    assert not is_native(whole[0].inputs[0])
    total = loop(lambda i, c: [B.view(B.node("sum", (c,), {"axes": (0,)}, typed("f8")), (), (N,))], [c], length=T)
    assert not is_native(total[0].inputs[0])


# ---- around the loop


def test_kernels_before_and_after() -> None:
    """xs computed by another kernel, the results used by a third."""
    x, start = argument(0, "f8", T), argument(1, "f8")
    last, ys = loop(lambda i, c, x: [op("add", c, x), op("add", c, x)], [start], [op("exp", x)], T)
    data = RNG.normal(size=8)
    outputs = [op("multiply", ys, last), op("multiply", last, 2.0)]
    results = run(outputs, data, 1.0, t=8)
    sums = 1.0 + np.cumsum(np.exp(data))
    np.testing.assert_allclose(results[0], sums * sums[-1], rtol=1e-13)
    np.testing.assert_allclose(results[1], sums[-1] * 2, rtol=1e-13)


def test_loop_after_loop() -> None:
    x = argument(0, "f8", T)
    first = loop(lambda i, c, x: [op("add", c, x), op("add", c, x)], [B.constant(0.0)], [x], T)
    second = loop(lambda i, c, x: [op("maximum", c, x), op("maximum", c, x)], [first[0]], [first[1]], T, reverse=True)
    data = RNG.normal(size=8)
    results = run([second[1]], data, t=8)
    sums = np.cumsum(data)
    expected = np.maximum.accumulate(np.maximum(sums, sums[-1])[::-1])[::-1]
    np.testing.assert_array_equal(results[0], expected)


def test_python_numbers_as_starts_and_sizes() -> None:
    """A carry may begin with a Python number of the host, and a body may read another."""
    start = B.node("scalar", (), {"expression": "s"}, typed("f8"))
    factor = B.node("scalar", (), {"expression": "f"}, typed("f8"))
    (last,) = loop(lambda i, c: [op("multiply", c, factor)], [start], length=T)
    assert run([last], s=3, f=2.0, t=4)[0] == 48.0


def test_scan_is_one_loop_without_memory_traffic() -> None:
    """Carries stay in registers: inside the loop only xs is read and ys written."""
    x = argument(0, "f8", T)
    last, ys = loop(lambda i, c, x: [op("add", op("multiply", c, 0.5), x)] * 2, [B.constant(0.0)], [x], T)
    (kernel,) = program_of([last, ys]).kernels
    inner = next(line.body for line in kernel.instructions if isinstance(line.body, Loop))
    assert len(inner.carries) == 1
    text = assembly([kernel])
    assert "call" not in text.split("tj_kernel_")[1].split("tj_entry_")[0]


# ---- results of several shapes, and in pieces


def test_slices_put_together_from_pieces() -> None:
    """ys written into fresh memory: scalars, an even run of a slice of xs, and one that an earlier write loses to."""
    x, start = argument(0, "f8", T, 3), argument(1, "f8")

    def body(i: Node, c: Node, x: Node) -> list[Node]:
        y = B.node("empty", (), {}, typed("f8", 5))
        writes = [
            ((Index(None, 1, 4),), B.constant(9.0)),
            ((Index(0, 1, 1),), x),
            ((Index(None),), op("multiply", c, 2)),
        ]
        for indices, value in [*writes, ((Index(None, 1, 4),), c)]:
            y = B.node("update", (y, value), {"indices": indices}, y.type)
        return [op("add", c, 1), y, x]

    parts = loop(body, [start], [x], T)
    assert is_native(parts[0].inputs[0])
    data = RNG.normal(size=(4, 3))
    results = run(parts, data, 0.5, t=4)
    c = 0.5 + np.arange(4)
    np.testing.assert_array_equal(results[1], np.column_stack([c * 2, data, c]))
    np.testing.assert_array_equal(results[2], data)


def test_scalar_carries_beside_array_carries() -> None:
    """y' = y + h f(t, y), t' = t + h: one kernel for the time, one for all y, each with a time of its own."""
    h, t, y = argument(0, "f8"), argument(1, "f8"), argument(2, "f8", N)

    def body(i: Node, h: Node, t: Node, y: Node) -> list[Node]:
        slope = op("multiply", op("sin", y), t)
        return [op("add", t, h), op("add", y, op("multiply", slope, h)), t, slope]

    parts = loop(body, [t, y], length=T, constants=[h])
    assert len(launches(parts)) == 2
    for n in (0, 3, 200):
        start = RNG.normal(size=n)
        results = run(parts, 0.1, 2.0, start, n=n, t=5)
        time, value, times, slopes = 2.0, start, [], []
        for _ in range(5):
            times.append(time)
            slopes.append(np.sin(value) * time)
            time, value = time + 0.1, value + slopes[-1] * 0.1
        for result, expected in zip(results, (time, value, times, slopes), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-15)
    mean = loop(lambda i, t, y: [op("add", t, B.view(y, (Index(None),), ())), op("add", y, t)], [t, y], length=T)
    assert not is_native(mean[0].inputs[0])


def test_results_of_several_shapes_of_one_rank() -> None:
    """y' = y + x, and a row of a constant of another length collected: one kernel each."""
    w, y, x = argument(0, "f8", 2, M), argument(1, "f8", N), argument(2, "f8", T, N)
    row = (Index(None, 1, 1), Index(0))
    parts = loop(lambda i, w, y, x: [op("add", y, x), B.view(w, row, (M,)), y], [y], [x], T, [w])
    assert len(launches(parts)) == 2
    weights, start, data = RNG.normal(size=(2, 4)), RNG.normal(size=6), RNG.normal(size=(3, 6))
    results = run(parts, weights, start, data, n=6, m=4, t=3)
    sums = np.cumsum([start, *data], axis=0)
    np.testing.assert_array_equal(results[0], sums[-1])
    np.testing.assert_array_equal(results[1], np.broadcast_to(weights[1], (3, 4)))
    np.testing.assert_array_equal(results[2], sums[:-1])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_branch_of_arrays_hands_on_its_operands(which: int) -> None:
    """Branches that do nothing: their values come from outside the blocks."""
    s, a, b = argument(0, "i8"), argument(1, "f8", N, M), argument(2, "f8", N, M)
    parts = branch(s, [lambda a, b: [a, b], lambda a, b: [b, a], lambda a, b: [op("add", a, b), a]], a, b)
    x, y = RNG.normal(size=(2, 3, 200))
    results = run(parts, which, x, y, n=3, m=200)
    expected = ([x, y], [y, x], [x + y, x])[which]
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, value)


# ---- loops that may end early


def _masked(condition: str, limit: float, other: bool = False) -> list[Node]:
    """z*z + w as long as z is small, and how often it was."""
    z, w = argument(0, "f8", N), argument(1, "f8", N)
    count = B.view(B.constant(0, "i8"), (), (N,))

    def body(i: Node, w: Node, z: Node, count: Node) -> list[Node]:
        mask = op(condition, op("multiply", z, z), limit)
        following = op("add", op("multiply", z, z), w)
        kept = op("where", mask, z, following) if other else op("where", mask, following, z)
        step = B.cast(op("logical_not", mask) if other else mask, np.dtype("i8"))
        return [kept, op("add", count, step)]

    return loop(body, [z, count], length=T, constants=[w])


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 300])
@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2, 50])
def test_array_loop_that_settles(n: int, other: bool, steps: int) -> None:
    """Elements end at different times, some never; what is NaN stays so."""
    parts = _masked("greater" if other else "less_equal", 4.0, other)
    start, w = RNG.normal(size=n), RNG.normal(size=n)
    start[n // 2 : n // 2 + 1] = np.nan
    z, count = start, np.zeros(n, np.int64)
    for _ in range(steps):
        mask = ~(z * z > 4.0) if other else z * z <= 4.0
        z, count = np.where(mask, z * z + w, z), count + mask
    result = run(parts, start, w, n=n, t=steps)
    assert result[0].tobytes() == z.tobytes()
    np.testing.assert_array_equal(result[1], count)


def _settling(parts: list[Node]) -> Settling | None:
    (launch,) = launches(parts)
    (body,) = (line.body for line in launch.kernel.instructions if isinstance(line.body, Loop))
    return settling(launch.kernel, body)


def test_scalar_loop_that_settles_ends() -> None:
    z, w = argument(0, "f8"), argument(1, "f8")

    def body(i: Node, w: Node, z: Node) -> list[Node]:
        return [op("where", op("less_equal", z, 2.0), op("add", z, w), z)]

    parts = loop(body, [z], length=T, constants=[w])
    assert _settling(parts) is not None
    program = program_of(parts)
    entries = [kernel.entry for kernel in get_kernels(program.kernels)]
    (result,) = execute(program, entries, [np.array(0.0), np.array(1.5)], {"t": 1 << 60})  # nobody would wait for that
    assert result == 3.0


def test_no_look_where_nothing_keeps_the_state() -> None:
    z, x = argument(0, "f8", N), argument(1, "f8", T, N)
    assert _settling(loop(lambda i, z: [op("multiply", z, op("subtract", 1.0, z))], [z], length=T)) is None

    def masked(z: Node, following: Node) -> list[Node]:
        return [op("where", op("less_equal", z, 2.0), following, z)]

    assert _settling(loop(lambda i, z: masked(z, op("multiply", z, z)), [z], length=T)) is not None
    counted = loop(lambda i, z: masked(z, op("add", z, B.cast(i, np.dtype("f8")))), [z], length=T)
    assert _settling(counted) is None
    assert _settling(loop(lambda i, z, x: masked(z, op("add", z, x)), [z], [x], T)) is None
    stacked = loop(lambda i, z: [*masked(z, op("multiply", z, z)), z], [z], length=T)
    assert _settling(stacked) is None


def test_what_a_mask_does_not_decide_is_compared() -> None:
    """A bool and a maximum that settle; a sum of zeros makes 0.0 of -0.0, which is a change; NaN stays itself."""
    z, alive, most, total = argument(0, "f8", N), argument(1, "bool", N), argument(2, "f8", N), argument(3, "f8", N)

    def body(i: Node, z: Node, alive: Node, most: Node, total: Node) -> list[Node]:
        following = op("where", alive, op("multiply", z, z), z)
        still = op("logical_and", alive, op("less", following, 100.0))
        nothing = op("where", alive, op("multiply", z, 0.0), B.view(B.constant(0.0), (), (N,)))
        return [following, still, op("maximum", most, z), op("add", total, nothing)]

    parts = loop(body, [z, alive, most, total], length=T)
    found = _settling(parts)
    assert found is not None and found.compared
    data = RNG.normal(size=70) * 3
    data[::7] = np.nan
    flags, sums = RNG.random(70) < 0.5, np.where(RNG.random(70) < 0.5, -0.0, 0.0)
    results = run(parts, data, flags, data * 0, sums, n=70, t=40)
    c, alive_now, highest, added = data, flags, data * 0, sums
    with np.errstate(all="ignore"):
        for _ in range(40):
            following = np.where(alive_now, c * c, c)
            highest = np.maximum(highest, c)
            added = added + np.where(alive_now, c * 0.0, 0.0)
            c, alive_now = following, alive_now & (following < 100.0)
    for result, expected in zip(results, (c, alive_now, highest, added), strict=True):
        np.testing.assert_array_equal(result, expected)
        assert (np.signbit(result) == np.signbit(expected)).all() if result.dtype == "f8" else True
