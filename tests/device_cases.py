"""Programs on a device, compared with NumPy: `python -m tests.device_cases GROUP` runs a group in the simulator.

Each case is a function without arguments that raises where something is wrong.
"""

from __future__ import annotations

import copy
import pickle
import sys
import time
import traceback
from collections.abc import Callable

import numpy as np

import tracejit as tj

GROUPS: dict[str, dict[str, Callable[[], None]]] = {}


def case(group: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        GROUPS.setdefault(group, {})[function.__name__] = function
        return function

    return register


def check(function, *args, rtol=1e-12, atol=1e-13, **options):
    """jit(device="cuda") of a function gives what NumPy gives, twice (the second call traces nothing)."""
    expected = function(*args)
    jitted = tj.jit(function, device="cuda", **options)
    compare(jitted(*args), expected, rtol, atol)
    traces = jitted.stats.traces
    compare(jitted(*args), expected, rtol, atol)
    assert jitted.stats.traces == traces
    return jitted


def compare(found, expected, rtol, atol):
    if isinstance(expected, (tuple, list)):
        assert type(found) is type(expected) and len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            compare(a, b, rtol, atol)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            compare(found[key], expected[key], rtol, atol)
    else:
        assert isinstance(found, tj.Array), type(found)
        assert found.device == tj.Device("cuda")
        value, wanted = np.asarray(found), np.asarray(expected)
        assert value.dtype == wanted.dtype, (value.dtype, wanted.dtype)
        assert value.shape == wanted.shape, (value.shape, wanted.shape)
        np.testing.assert_allclose(value, wanted, rtol, atol)


def raises(kind, function, *parts):
    """The text of the exception, which has these parts."""
    try:
        function()
    except kind as error:
        text = str(error) + "".join(getattr(error, "__notes__", ()))
        for part in parts:
            assert part in text, text
        return text
    raise AssertionError(f"no {kind.__name__}")


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=37), RNG.normal(size=37)
MATRIX = RNG.normal(size=(5, 7))


# ---- arrays


@case("arrays")
def put_and_read_back():
    x = tj.device_put({"w": MATRIX, "n": 3, "s": np.float32(2)}, "cuda")
    assert x["n"] == 3 and x["w"].device == x["s"].device == tj.Device("cuda:0")
    assert x["w"].shape == (5, 7) and x["w"].dtype == float and x["s"].dtype == np.float32 and x["s"].shape == ()
    np.testing.assert_array_equal(np.asarray(x["w"]), MATRIX)
    np.testing.assert_array_equal(x["w"].numpy(), MATRIX)
    assert float(x["s"]) == 2.0 and x["w"][1, 2].item() == MATRIX[1, 2] and x["w"].tolist() == MATRIX.tolist()
    assert x["w"].to("cuda") is x["w"] and x["w"].to("cpu").device == tj.Device("cpu")
    np.testing.assert_array_equal(x["w"].to("cpu"), MATRIX)
    assert repr(tj.device_put(np.array([1.0, 2.0]), "cuda")) == "Array([1., 2.], device='cuda:0')"
    assert tj.device_put(x["w"], "cuda") is x["w"]
    again = tj.Array(x["w"])
    assert again.device == tj.Device("cuda") and f"{x['s']:.1f}" == "2.0" and str(again) == str(MATRIX)
    assert tj.devices() == [tj.Device("cpu"), tj.Device("cuda", 0)]


@case("arrays")
def views():
    x = tj.device_put(MATRIX, "cuda")
    for key in (1, -1, slice(1, 4), (slice(None), 2), (slice(None, None, -2), None, 3), ..., (..., -1)):
        np.testing.assert_array_equal(np.asarray(x[key]), MATRIX[key])
    np.testing.assert_array_equal(np.asarray(x.T), MATRIX.T)
    np.testing.assert_array_equal(np.asarray(x.reshape(7, 5)), MATRIX.reshape(7, 5))
    np.testing.assert_array_equal(np.asarray(x.T.reshape(-1)), MATRIX.T.reshape(-1))
    np.testing.assert_array_equal(np.asarray(x.T.copy()), MATRIX.T)
    assert [row.shape for row in x] == [(7,)] * 5


@case("arrays")
def writes_show_in_views():
    plain, x = MATRIX.copy(), tj.device_put(MATRIX, "cuda")
    row, plain_row = x[1], plain[1]
    first, plain_first = x[0, 0], plain[0, 0]
    x[1:3] = 4.0
    plain[1:3] = 4.0
    row[2] = -1
    plain_row[2] = -1
    x += 1
    plain += 1
    x[:, 0] = x[:, 1]
    plain[:, 0] = plain[:, 1]
    for found, expected in ((x, plain), (row, plain_row), (first, plain_first)):
        np.testing.assert_array_equal(np.asarray(found), expected)


@case("arrays")
def eager_operations():
    x, y = tj.device_put(X, "cuda"), tj.device_put(Y, "cuda")
    compare(x + y * 2 - 1, X + Y * 2 - 1, 0, 0)
    compare(np.where(x > 0, x, -y), np.where(X > 0, X, -Y), 0, 0)
    compare(-x, -X, 0, 0)
    compare(2.0 / x, 2.0 / X, 0, 0)
    compare(x.astype(np.float32), X.astype(np.float32), 0, 0)
    compare(x < y, X < Y, 0, 0)
    compare(tj.sin(x), np.sin(X), 1e-14, 0)
    s = x[0]
    t = s
    s += 1  # a scalar is another one afterwards
    assert t.item() == X[0] and s.item() == X[0] + 1


@case("arrays")
def devices_do_not_mix():
    x = tj.device_put(X, "cuda")
    text = "add is given arrays of different devices: float64[37] on cuda:0, float64[37] on cpu"
    raises(ValueError, lambda: x + Y, text, "tracejit.device_put(x")
    raises(ValueError, lambda: tj.jit(lambda a, b: a * b)(x, Y), "arrays of different devices meet", "cuda:0")
    raises(ValueError, lambda: tj.jit(lambda a: a * 2, device="cpu")(x), "jitted for cpu", "x.to('cpu')")
    raises(ValueError, lambda: x.__setitem__(slice(None), Y), "assigned an array of NumPy's")
    inner = tj.jit(lambda a: a * 2, device="cuda")
    raises(ValueError, lambda: tj.jit(lambda a: inner(a) + 1)(X), "is called by a function traced for cpu")
    compare(tj.jit(lambda a: inner(a) + 1, device="cuda")(X), X * 2 + 1, 0, 0)
    compare(x * np.float64(2), X * 2, 0, 0)


@case("arrays")
def other_libraries_share_memory():
    x = tj.device_put(MATRIX, "cuda")
    interface = x[1:].__cuda_array_interface__
    assert interface["shape"] == (4, 7) and interface["typestr"] == "<f8" and interface["version"] == 3
    assert interface["data"][0] == x.__cuda_array_interface__["data"][0] + 56
    assert x.T.__cuda_array_interface__["strides"] == (8, 56)
    assert x.__dlpack_device__() == (2, 0)
    again = tj.from_dlpack(x)
    assert again.__cuda_array_interface__["data"] == x.__cuda_array_interface__["data"]
    transposed = tj.from_dlpack(x.T)
    del x
    np.testing.assert_array_equal(np.asarray(again), MATRIX)
    np.testing.assert_array_equal(np.asarray(transposed), MATRIX.T)


@case("arrays")
def memory_is_recycled():
    from tracejit.runtime.devices import cuda_home

    home = cuda_home(0)
    x = tj.device_put(np.ones(1000), "cuda")
    before = tj.memory_stats("cuda")
    for _ in range(5):
        y = tj.device_put(np.ones(1000), "cuda")
    after = tj.memory_stats("cuda")
    assert after.requests == before.requests + 5 and after.driver_calls <= before.driver_calls + 2
    assert after.in_use == before.in_use + 8192
    del x, y
    assert tj.memory_stats("cuda").in_use == before.in_use - 8192
    tj.set_memory_limit(tj.memory_stats("cuda").in_use + 4096)
    try:
        raises(MemoryError, lambda: tj.device_put(np.ones(5000), "cuda"), "no memory on cuda:0", "its limit is")
        tj.device_put(np.ones(500), "cuda")
    finally:
        tj.set_memory_limit(None)
    home.memory.trim()
    assert tj.memory_stats("cuda").idle == 0


@case("arrays")
def streams():
    x = tj.device_put(X, "cuda")
    stream, other = tj.Stream("cuda"), tj.Stream("cuda:0")
    with stream:
        y = x * 2
        with other:
            z = y + 1
    stream.synchronize()
    other.wait_for(stream)
    compare(y, X * 2, 0, 0)
    compare(z, X * 2 + 1, 0, 0)
    assert stream.handle != other.handle
    raises(ValueError, lambda: tj.Stream("cpu"), "Stream is of GPUs")


@case("arrays")
def captured_calls():
    f = tj.jit(lambda x, w, n: (np.sin(x) * n, np.sum(np.cos(x) * w)))
    x, w = tj.device_put((X, Y), "cuda")
    step = tj.capture(f, x, w, 2.0)
    for values in (X, X + 1, X[::-1].copy()):
        x[...] = tj.device_put(values, "cuda")
        compare(step(), (np.sin(values) * 2.0, np.sum(np.cos(values) * Y)), 1e-12, 1e-13)
    held = tj.Array(x, requires_grad=True) * x  # a record holds the value of x
    x[...] = tj.device_put(X, "cuda")
    raises(RuntimeError, step, "has other memory now")
    del held
    raises(RuntimeError, lambda: tj.capture(lambda a: a * float(a[0]), x), "looks at a value", "which no CUDA graph")
    raises(RuntimeError, lambda: tj.capture(tj.jit(lambda a: a * X, device="cuda"), x), "copies an array")
    compare(x + 1, np.asarray(x) + 1, 0, 0)
    raises(ValueError, lambda: tj.capture(f, X, Y, 2.0), "Arrays on one GPU")


# ---- functions


@case("elementwise")
def chain():
    jitted = check(lambda x, y: np.sin(x) ** 2 + np.cos(y) * np.exp(-x * y), X, Y, rtol=1e-14)
    x, y = tj.device_put((X, Y), "cuda")
    compare(jitted(x, y), jitted.function(X, Y), 1e-14, 0)
    compare(jitted(x[::2], y[::2]), jitted.function(X[::2], Y[::2]), 1e-14, 0)
    compare(jitted(x[:20], y[:20]), jitted.function(X[:20], Y[:20]), 1e-14, 0)
    assert "runs on cuda:0" in jitted.explain(x, y).native


@case("elementwise")
def jit_follows_its_arguments():
    f = tj.jit(lambda x, n: {"twice": x * n, "pair": (x + 1, -x)})
    x = tj.device_put(MATRIX, "cuda")
    compare(f(x, 2), {"twice": MATRIX * 2, "pair": (MATRIX + 1, -MATRIX)}, 0, 0)
    assert isinstance(f(MATRIX, 2)["twice"], np.ndarray)
    compare(f(x.T, 3.0)["twice"], MATRIX.T * 3, 0, 0)
    calls = f.stats.traces
    compare(f(x, 2)["twice"], MATRIX * 2, 0, 0)
    assert f.stats.traces == calls


@case("elementwise")
def dtypes():
    for dtype in "?bhilqBHILQefd":
        values = (RNG.normal(size=19) * 40).astype(dtype)
        check(lambda x: (x + x, x * 2, np.where(x > 0, x, 1)), values)
        check(lambda x: x.astype(np.float64) / 3, values)


@case("elementwise")
def broadcasting_and_scalars():
    check(lambda a, b, c: a[:, None] * b[None, :] + c, X[:5], Y[:6], 2.5)
    check(lambda a, c: a * c + np.float64(3), MATRIX, np.float64(0.5))
    check(lambda a: np.broadcast_to(a, (3, 5)), X[:5])
    check(lambda n: np.zeros(n) + n, 6)
    check(lambda a: a + np.arange(7.0), MATRIX)
    check(lambda a: (a[:0] * 2, a.T), MATRIX)
    table = np.arange(7.0)
    check(lambda a: a * table, MATRIX)


@case("elementwise")
def writes_to_arguments():
    def f(x, y):
        x += y
        x[1:3] = 0
        return x * 2

    plain, x = X.copy(), tj.device_put(X, "cuda")
    jitted = tj.jit(f)
    for _ in range(3):
        expected = f(plain, Y)
        compare(jitted(x, tj.device_put(Y, "cuda")), expected, 0, 0)
        compare(x, plain, 0, 0)
    raises(ValueError, lambda: tj.jit(f, device="cuda")(X, Y), "read-only")


@case("elementwise")
def stencil_loop():
    def jacobi(grid, steps):
        for _ in range(steps):
            grid[1:-1, 1:-1] = 0.25 * (grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:])
        return grid + 0

    start = RNG.normal(size=(8, 9))
    x = tj.device_put(start, "cuda")
    compare(tj.jit(jacobi)(x, 5), jacobi(plain := start.copy(), 5), 0, 0)
    compare(x, plain, 0, 0)


@case("elementwise")
def a_value_decides():
    def f(x):
        if x[0] > 0:
            return x * 2
        return x - 1

    jitted = tj.jit(f)
    for values in (X, -X, np.abs(X), X):
        compare(jitted(tj.device_put(values, "cuda")), f(values), 0, 0)
    assert jitted.stats.traces == 2


@case("elementwise")
def what_only_numpy_does():
    x = tj.device_put(X, "cuda")
    m = tj.device_put(MATRIX, "cuda")
    for where in (tj.jit(lambda a: np.linalg.svdvals(a) + 1), np.linalg.svdvals):
        raises(TypeError, lambda where=where: where(m), "np.linalg.svdvals has no kernel", "cuda:0", 'x.to("cpu")')
    raises(TypeError, lambda: tj.jit(lambda a: np.fft.fft(a))(x), "np.fft.fft has no kernel", "device_cases.py")
    raises(TypeError, lambda: np.unique(m, axis=0), "np.unique along an axis has no form on cuda:0", 'x.to("cpu")')
    raises(TypeError, lambda: np.sort(m.astype(complex)), "has no")


# ---- reductions and whole models


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layernorm(x, gain, bias):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + bias


@case("reductions")
def of_all_elements():
    check(lambda x, y: np.sum((x - y) ** 2), X, Y)
    check(lambda x: (x.mean(), x.max(), x.min(), np.prod(x[:5])), X)
    check(lambda x: np.sum(x > 0), X)
    check(lambda x: x.sum(), MATRIX.astype(np.float32), rtol=1e-6)
    total = tj.jit(np.sum)(tj.device_put(X, "cuda"))
    assert total.shape == () and abs(float(total) - X.sum()) < 1e-12


@case("reductions")
def of_rows_and_columns():
    for axis in (0, 1, (0, 1)):
        check(lambda x, axis: (x.sum(axis=axis), x.max(axis=axis)), MATRIX, axis, static_argnames="axis")
    check(lambda x: (x.mean(axis=1), x.var(axis=1), np.log(np.exp(x).sum(axis=1))), MATRIX)
    check(lambda x: (np.argmax(x, axis=1), np.argmin(x, axis=0)), MATRIX)
    check(lambda x: x.sum(axis=(0, 2)), RNG.normal(size=(3, 4, 5)))


@case("reductions")
def softmax_and_layernorm():
    check(softmax, MATRIX)
    check(softmax, MATRIX.astype(np.float32), rtol=1e-6)
    check(layernorm, MATRIX, Y[:7], X[:7])


@case("models")
def matrix_products():
    a, b = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 3))
    check(lambda a, b: a @ b, a, b)
    check(lambda a, b: np.maximum(a @ b + b[0], 0), a, b)
    check(lambda a, b: (b.T @ a.T, a @ b[:, 0], a[0] @ b), a, b)
    check(lambda a, b: a @ b, RNG.normal(size=(3, 2, 4)), RNG.normal(size=(4, 2)))
    check(lambda a, b: a @ b, np.arange(6).reshape(2, 3), np.arange(3))
    check(lambda a, b: a @ b, RNG.normal(size=(70, 3)), RNG.normal(size=(3, 67)))
    check(lambda a, b: a @ b, RNG.normal(size=(2, 65, 2)), RNG.normal(size=(2, 2, 3)))
    check(lambda a, b: a.T @ b.T, RNG.normal(size=(3, 66)).astype("f"), RNG.normal(size=(4, 3)).astype("f"), rtol=1e-5)
    check(lambda a, b: a @ b, np.ones((3, 0)), np.ones((0, 2)))
    x, y = tj.device_put((a, b), "cuda")
    compare(x @ y, a @ b, 1e-12, 0)
    compare(np.matmul(y.T, x.T), b.T @ a.T, 1e-12, 0)


def mlp(x, w1, b1, w2):
    return np.tanh(x @ w1 + b1) @ w2


def loss(w1, b1, w2, x, y):
    return np.mean((mlp(x, w1, b1, w2) - y) ** 2)


@case("models")
def a_network_and_its_gradient():
    given = RNG.normal(size=(4, 5)), RNG.normal(size=5), RNG.normal(size=(5, 2))
    x, y = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 2))
    check(mlp, x, *given)
    gradient = tj.grad(loss, (0, 1, 2))
    expected = gradient(*given, x, y)
    found = tj.jit(gradient, device="cuda")(*given, x, y)
    compare(found, expected, 1e-11, 1e-13)
    compare(gradient(*tj.device_put((*given, x, y), "cuda")), expected, 1e-11, 1e-13)
    compare(tj.grad(tj.jit(loss, device="cuda"), (0, 1, 2))(*given, x, y), expected, 1e-11, 1e-13)


@case("models")
def training_steps():
    optimizer = tj.optim.Adam(0.05, clip_norm=1.0)
    parameters = {"w1": RNG.normal(size=(3, 4)), "b1": np.zeros(4), "w2": RNG.normal(size=(4, 1))}
    x, y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 1))

    def step(parameters, state, x, y):
        value, gradient = tj.value_and_grad(lambda p: loss(p["w1"], p["b1"], p["w2"], x, y))(parameters)
        return value, *optimizer.update(gradient, state, parameters)

    here, there = tj.jit(step), tj.jit(step)
    mine, state = parameters, optimizer.init(parameters)
    theirs, their_state, *data = tj.device_put((parameters, state, x, y), "cuda")
    for _ in range(4):
        value, mine, state = here(mine, state, x, y)
        found, theirs, their_state = there(theirs, their_state, *data)
        compare(found, value, 1e-10, 0)
    compare(theirs, mine, 1e-9, 1e-12)


@case("models")
def eager_gradients():
    w = tj.device_put(MATRIX, "cuda")
    w.requires_grad = True
    x = tj.device_put(X[:7], "cuda")
    np.sum(np.tanh(w * x) ** 2).backward()
    plain = tj.Array(MATRIX, requires_grad=True)
    np.sum(np.tanh(plain * tj.Array(X[:7])) ** 2).backward()
    compare(w.grad, plain.grad, 1e-12, 1e-14)
    raises(RuntimeError, lambda: w.to("cpu"), "move it first")
    with tj.no_grad():
        w -= 0.1 * w.grad
    compare(w.detach(), MATRIX - 0.1 * np.asarray(plain.grad), 1e-12, 1e-14)


@case("control")
def gather_and_scatter():
    rows = np.array([4, 0, -1, 2])
    check(lambda x, i: x[i] * 2, MATRIX, rows)
    check(lambda x, i: x[i, 1], MATRIX, rows)

    def put(x, i, values):
        out = x * 0
        out[i] = values
        out[:, 1][i] = 7.0
        return out

    check(put, MATRIX, np.array([0, 3, 0]), RNG.normal(size=(3, 7)))
    check(put, MATRIX > 0, np.array([0, 3, 0]), RNG.normal(size=7) > 0)
    check(put, MATRIX.astype(np.float32), np.array([-1, 3]), np.float32(2), rtol=0)

    def add(x, i, values):
        np.add.at(x, i, values)
        return x * 1

    plain, x = MATRIX.copy(), tj.device_put(MATRIX, "cuda")
    given = np.array([0, 3, 0, -1]), RNG.normal(size=(4, 7))
    compare(tj.jit(add)(x, *tj.device_put(given, "cuda")), add(plain, *given), 0, 0)
    compare(x, plain, 0, 0)
    picked = tj.grad(lambda x, i, j: np.sum(x[i, j] ** 2))
    args = MATRIX, np.array([0, 3, 0, -1]), np.array([1, 2, 1, 0])
    compare(tj.jit(picked, device="cuda")(*args), picked(*args), 1e-15, 0)
    x = tj.device_put(MATRIX, "cuda")
    x[tj.device_put(rows, "cuda")] = 5.0
    changed = MATRIX.copy()
    changed[rows] = 5.0
    compare(x, changed, 0, 0)
    x = tj.device_put(MATRIX, "cuda")
    compare(x[tj.device_put(rows, "cuda")], MATRIX[rows], 0, 0)

    def take(x, i):
        return x[i] + 1

    result = tj.jit(take)(x, tj.device_put(np.array([1, 9]), "cuda"))
    raises(IndexError, lambda: np.asarray(result), "index is out of bounds", "device_cases.py")
    compare(x + 1, MATRIX + 1, 0, 0)


@case("control")
def scan_and_cond():
    def running(x):
        return tj.scan(lambda total, item: (total + item, total * item), np.zeros(7), x)

    check(running, MATRIX)
    check(lambda x: tj.cond(x[0] > 0, lambda a: a * 2, lambda a: a - 1, x), X)
    check(lambda x: tj.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] * 1.5), (0, x)), X)
    check(lambda x: tj.fori_loop(0, 4, lambda i, a: np.sin(a) + i, x), X)


@case("control")
def running_totals():
    check(lambda x: (np.cumsum(x), np.cumprod(x)), X, rtol=0, atol=0)
    check(lambda x: (np.cumsum(x, axis=0), np.cumsum(x, axis=1), x.cumsum()), MATRIX, rtol=0, atol=0)
    check(lambda x: np.cumsum(x, axis=1), RNG.normal(size=(2, 3, 4)), rtol=0, atol=0)
    check(np.cumsum, np.array([-0.0, -0.0, 1.0]), rtol=0, atol=0)
    check(np.cumsum, X > 0)
    check(np.cumsum, np.arange(5, dtype=np.uint8))
    check(np.cumsum, RNG.normal(size=2500), rtol=1e-11)
    check(np.cumsum, np.ones(0))
    check(lambda x: (np.argmax(x), np.argmin(x)), X)


@case("control")
def loops_run_by_the_host():
    w = RNG.normal(size=(3, 3)) / 2

    def recurrent(w, x):
        return tj.scan(lambda h, item: (np.tanh(h @ w + item), h.sum()), np.zeros(3), x)

    jitted = check(recurrent, w, RNG.normal(size=(4, 3)))
    compare(jitted(*(args := (w, RNG.normal(size=(6, 3))))), recurrent(*args), 1e-12, 1e-13)
    check(lambda a: tj.while_loop(lambda m: np.sum(m) < 50, lambda m: m @ m + 1, a), np.ones((2, 2)))
    check(lambda a, b: tj.cond(a[0, 0] > 0, lambda x, y: x @ y, lambda x, y: y @ x, a, b), w, w.T)
    check(lambda x: (np.cumsum(x), np.cumsum(x * 2), np.cumprod(x)), X)


@case("control")
def random_numbers_are_the_cpus():
    def draw(key):
        a, b = tj.random.split(key)
        return tj.random.normal(a, (6,)), tj.random.uniform(b, (5, 3)), tj.random.bits(a, (4,))

    key = tj.random.key(3)
    expected = tj.jit(draw)(key)
    found = tj.jit(draw, device="cuda")(key)
    compare(found[1:], expected[1:], 0, 0)
    compare(found[0], expected[0], 1e-14, 0)


@case("graph")
def graph_mode():
    import tracejit.graph as tf

    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float64, (None, 3))
        w = tf.Variable(np.ones((3, 1)))
        with tf.device("/gpu:0"):
            y = tf.tanh(x @ w)
            change = w.assign_sub(0.5 * tf.gradients(tf.reduce_sum(y), w)[0])
        session.run(tf.global_variables_initializer())
        values, weights = RNG.normal(size=(4, 3)), np.ones((3, 1))
        for _ in range(3):
            found = session.run(y, {x: values})
            assert type(found) is np.ndarray
            np.testing.assert_allclose(found, np.tanh(values @ weights), 1e-12)
            session.run(change, {x: values})
            weights -= 0.5 * values.T @ (1 - np.tanh(values @ weights) ** 2)
            assert session.values[w].device == tj.Device("cuda")
        np.testing.assert_allclose(session.run(w), weights, 1e-12)
        assert isinstance(session.values[w], np.ndarray)
        assert isinstance(session.run(tf.reduce_sum(y), {x: values}), np.float64)
        raises(tf.GraphError, lambda: session.run(y, {x: values}, eager=True), "node by node")


# ---- what stands on top of jit


def both(function, *args, rtol=1e-11):
    """A function of Arrays on the device gives what it gives of NumPy's arrays."""
    compare(function(*tj.device_put(args, "cuda")), function(*args), rtol, 1e-12)


@case("transforms")
def derivatives():
    def f(v):
        return np.sum(np.sin(v) ** 2)

    x = X[:6]
    both(lambda v: tj.vmap(f)(v), MATRIX)
    both(lambda v: tj.jvp(f, (v,), (v,)), x)
    both(lambda v: tj.vjp(np.sin, v)[1](v), x)
    both(lambda v: tj.linearize(np.sin, v)[1](v), x)
    both(lambda v: (tj.hessian(f)(v), tj.jacobian(np.sin)(v), *tj.value_and_grad(f)(v)), x)
    both(lambda v: tj.grad(lambda u: np.sum(tj.checkpoint(np.sin)(u)))(v), x)

    @tj.custom_vjp
    def exponential(v):
        return np.exp(v)

    exponential.defvjp(lambda v: (np.exp(v), np.exp(v)), lambda result, g: (g * result,))
    both(lambda v: tj.grad(lambda u: np.sum(exponential(u)))(v), x)
    with tj.GradientTape() as tape:
        variable = tj.device_put(x, "cuda")
        tape.watch(variable)
        y = np.sum(variable**3)
    compare(tape.gradient(y, variable), 3 * x**2, 1e-12, 1e-12)


@case("transforms")
def loops_outside_of_jit():
    both(lambda v: tj.scan(lambda c, item: (c + item, c * item), v[0], v)[1], X[:6])
    both(lambda v: tj.cond(v[0] > 0, lambda u: u + 1, lambda u: u - 1, v), X[:6])


@case("transforms")
def functions_of_numpy():
    both(lambda m: np.einsum("ij,kj->ik", m, m), MATRIX)
    both(lambda m: (np.concatenate([m, m]), np.stack([m, m * 2], axis=1), np.outer(m[0], m[1])), MATRIX)
    both(lambda m: (m.mean(axis=0), np.std(m, axis=1), np.clip(m, -0.5, 0.5), np.isnan(m).any()), MATRIX)
    both(lambda m: (np.maximum.reduce(m), tj.nn.functional.softmax(m)), MATRIX)
    check(lambda n: np.linspace(0, 1, n), 7)
    check(lambda a, b: tj.conv1d(a, b), RNG.normal(size=(1, 2, 80)), RNG.normal(size=(3, 2, 3)))
    check(lambda a: tj.max_pool1d(a, 2), RNG.normal(size=(1, 2, 8)))
    out = tj.device_put(np.zeros(37), "cuda")
    x = tj.device_put(X, "cuda")
    assert np.add(x, x, out=out) is out
    compare(out, X + X, 0, 0)
    assert copy.deepcopy(x).device == tj.Device("cuda") and pickle.loads(pickle.dumps(x)).device == tj.Device("cpu")
    raises(TypeError, lambda: x * 1j, "has no kernel")


# ---- what NumPy does between kernels on the CPU


NAN = np.where(np.arange(300) % 7 == 3, np.nan, RNG.normal(size=300).round(1))
NAN[7], NAN[8] = -0.0, 0.0
PLACES = RNG.integers(0, 9, 40)


@case("library")
def sorted_arrays():
    check(lambda x: (np.sort(x), np.argsort(x, kind="stable")), NAN)
    check(lambda m: (np.sort(m, axis=0), np.argsort(m, axis=1), np.sort(m, axis=None), np.sort(m[:, :0])), MATRIX)
    check(lambda i: (np.sort(i), np.argsort(i, kind="stable"), np.sort(i > 3), np.argsort(i > 3, stable=True)), PLACES)
    for dtype in "bHifeQ":
        check(lambda i: (np.sort(i), np.argsort(i, kind="stable")), (PLACES * 3).astype(dtype))
    check(lambda x: (np.partition(x, 4)[4], x[np.argpartition(x, 4)[4]]), X)
    check(lambda m: np.argsort(-m, axis=1)[:, :3], MATRIX)
    sort = tj.jit(lambda m: m.sort(axis=0))
    sort(x := tj.device_put(MATRIX, "cuda"))
    compare(x, np.sort(MATRIX, axis=0), 0, 0)


@case("library")
def ranks():
    check(lambda m: (np.median(m), np.median(m, axis=0), np.median(m, axis=1, keepdims=True)), MATRIX)
    check(lambda x: (np.median(x), np.percentile(x, 30)), NAN)
    check(lambda m: (np.percentile(m, [5, 50, 90]), np.quantile(m, 0.3, axis=1)), MATRIX)
    for method in ("nearest", "lower", "hazen", "midpoint"):
        check(lambda m, method=method: np.quantile(m, [0.2, 0.7], axis=0, method=method), MATRIX)
    check(lambda m: (np.median(m), np.percentile(m, 30)), MATRIX.astype("f"), rtol=1e-6)
    check(lambda i: (np.median(i), np.percentile(i, 30)), PLACES)


@case("library")
def looked_up():
    edges = np.sort(MATRIX[0])
    check(lambda s, m: (np.searchsorted(s, m), np.searchsorted(s, 0.2), np.searchsorted(s, m, "right")), edges, MATRIX)
    check(lambda s, m: (np.digitize(m, s), np.digitize(m, s[::-1], right=True)), edges, MATRIX)
    check(lambda s, m: (np.interp(m, s, m[1]), np.interp(m, s, m[1], left=-5, right=9.0)), edges, MATRIX)


@case("library")
def chosen_elements():
    check(lambda m: (m[m > 0] * 2, m[:, m[0] > 0], m[m[:, 0] > 0], m[m[:, 0] > 0, 1], m[m > 99]), MATRIX)
    check(lambda m: (*np.nonzero(m > 0), np.flatnonzero(m > 0), np.argwhere(m > 0), *np.where(m > 0)), MATRIX)
    check(lambda i: (np.compress(i > 3, i), np.extract(i > 4, i), i.compress([True, False, True])), PLACES)

    def doubled(m):
        m[m > 0] = m[m > 0] * 2
        return m + 1

    compare(tj.jit(doubled)(x := tj.device_put(MATRIX, "cuda")), doubled(plain := MATRIX.copy()), 0, 0)
    compare(x, plain, 0, 0)
    compare(x[x > 0], plain[plain > 0], 0, 0)
    raises(IndexError, lambda: tj.jit(lambda m, k: m[k])(x, x[:3, 0] > 0), "did not match indexed array along axis 0")


@case("library")
def distinct_elements():
    check(lambda i: np.unique(i, return_index=True, return_inverse=True, return_counts=True), PLACES.reshape(5, 8))
    check(lambda x: (np.unique(x), np.unique(x, equal_nan=False), np.unique(x[:0])), NAN)


@case("library")
def counted():
    check(lambda i: (np.bincount(i), np.bincount(i, minlength=20), np.bincount(i, weights=i * 0.1)), PLACES)
    check(lambda m: (*np.histogram(m), *np.histogram(m, 5, (-1, 1)), *np.histogram(m, 4, density=True)), MATRIX)
    check(lambda m, e: (*np.histogram(m, bins=e), *np.histogram(m, e, weights=m)), MATRIX, np.array([-1, 0, 0.5, 2]))
    x = tj.device_put(PLACES, "cuda")
    raises(ValueError, lambda: np.bincount(x - 20), "no negative elements")


@case("library")
def scattered():
    def f(i):
        sums, numbers, grid = np.zeros(9), np.zeros(9, int), np.ones((9, 9))
        np.add.at(sums, i, 0.1)
        np.add.at(numbers, i, 1)
        np.multiply.at(grid, (i, i), 2.0)
        np.maximum.at(grid, (i, 0), i * 1.0)
        np.subtract.at(sums, i, i * 0.1)
        return sums, numbers, grid

    check(f, PLACES, rtol=0, atol=0)
    check(lambda i: tj.grad(lambda t: np.sum(t[i] ** 2))(np.arange(9.0)), PLACES)


@case("library")
def running_extrema():
    check(lambda m: (np.maximum.accumulate(m, axis=1), np.minimum.accumulate(m, axis=0), np.cumsum(m)), MATRIX)
    check(lambda m: (np.cumprod(m, axis=1), np.add.accumulate(m), np.maximum.accumulate(m > 0)), MATRIX)
    check(lambda x: (np.maximum.accumulate(x), np.minimum.accumulate(x), np.cumsum(x > 0)), NAN)
    check(lambda m: (np.cumsum(m > 0, axis=1), np.cumprod(m > -1, axis=0)), RNG.normal(size=(2, 257)))
    check(lambda x: np.cumsum(x), X.astype(np.float16), rtol=1e-2, atol=1e-2)


@case("library")
def linear_systems():
    square = MATRIX[:, :5]
    check(lambda m: (np.linalg.inv(m), np.linalg.solve(m, m[0]), np.linalg.solve(m, m[:, :2])), square)
    check(lambda m: (np.linalg.det(m), *np.linalg.slogdet(m), np.linalg.det(m * 0)), square)
    stack = RNG.normal(size=(3, 4, 4)).astype("f")
    check(lambda m: (np.linalg.inv(m), np.linalg.solve(m, m[0]), np.linalg.det(m)), stack, rtol=1e-4, atol=1e-4)
    check(lambda m: np.linalg.solve(m, np.ones(2)), np.array([[0.0, 1.0], [2.0, 0.0]]))
    compare(tj.grad(lambda m: np.linalg.det(m))(x := tj.device_put(square, "cuda")), _det_slope(square), 1e-10, 1e-10)
    raises(np.linalg.LinAlgError, lambda: np.asarray(np.linalg.inv(x * 0)), "Singular matrix")


def _det_slope(m):
    return np.linalg.det(m) * np.linalg.inv(m).T


@case("library")
def sliding_products():
    for mode in ("full", "same", "valid"):
        check(lambda x, y, mode=mode: (np.convolve(x, y, mode), np.correlate(x, y, mode)), X, Y[:4])
        check(lambda x, y, mode=mode: (np.convolve(x, y, mode), np.correlate(x, y, mode)), PLACES[:5], PLACES)


@case("library")
def sets_and_sequences():
    check(lambda i: (np.isin(i, [1, 2]), np.isin(i, i[:3], invert=True), np.isin(i, i[:0])), PLACES)
    check(lambda i: (np.union1d(i, i + 3), np.setdiff1d(i, [1, 2]), np.intersect1d(i, i + 3)), PLACES)
    check(lambda i: (np.lexsort((i, i % 3)), np.repeat(i, i), np.trim_zeros(i * (i > 4))), PLACES)
    raises(ValueError, lambda: np.repeat(tj.device_put(PLACES, "cuda"), tj.device_put(PLACES - 5, "cuda")), "negative")


@case("library")
def pieces_put_together():
    places = np.array([0, 3, 2, 4])
    check(lambda m, p: (np.add.reduceat(m, p), np.maximum.reduceat(m, p, axis=1)), MATRIX, places)
    check(lambda i, p: (np.add.reduceat(i, p), np.multiply.reduceat(i > 2, p)), PLACES.astype(np.int32), places)
    x = tj.device_put(MATRIX, "cuda")
    raises(IndexError, lambda: np.asarray(np.add.reduceat(x, [0, 5])), "add.reduceat is out of bounds", "[0, 5)")


@case("library")
def ranks_without_nan():
    m = np.where(MATRIX > 1, np.nan, MATRIX)
    check(lambda m: (np.nanmedian(m), np.nanmedian(m, axis=1), np.nanmedian(m, axis=0, keepdims=True)), m)
    check(lambda m: (np.nanpercentile(m, 30), np.nanquantile(m, 0.7, axis=1)), m)


@case("library")
def gradients_of_writes():
    def loss(values, places, base):
        written = base * 2
        written[places] = values
        return np.sum(written**3)

    both(lambda m: tj.grad(loss, (0, 2))(m[0, :3], (m[1, :3] > 0) * 2, m[2]), MATRIX)


@case("library")
def composed():
    windows = np.lib.stride_tricks.sliding_window_view
    check(lambda x: (windows(x, 4).mean(axis=-1), windows(x, 3)[::2] * 2), X)
    check(lambda m: (*np.divmod(m, 0.3), *divmod(m, 2), *np.modf(m)), MATRIX)
    check(lambda m: (np.cov(m), np.corrcoef(m), np.cov(m[0], m[1]), np.corrcoef(m[0], m[1])), MATRIX)
    check(lambda x: (np.insert(x, 0, 0), np.insert(x, 2, [7.0, 8.0]), np.append(x, 1.0), np.delete(x, 3)), X)


def main(groups: list[str]) -> int:
    sys.setswitchinterval(1e-5)  # simulated threads wait for each other by looking again and again
    failed = 0
    for group in groups:
        for name, function in GROUPS[group].items():
            started = time.perf_counter()
            try:
                function()
                print(f"{name}: {time.perf_counter() - started:.1f} s")
            except BaseException:
                failed += 1
                print(f"---- {name}\n{traceback.format_exc()}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) != 0)
