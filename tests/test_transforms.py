"""`grad` and its kin over whole programs: structures, writes, breaks, composition, rules of the user's, and errors."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tracejit as tj

RNG = np.random.default_rng(5)


def difference(function: Any, x: Any, step: float = 1e-6) -> Any:
    """The gradient of a scalar function by central differences, element by element."""
    result = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = step
        result[place] = (function(x + unit) - function(x - unit)) / (2 * step)
    return result


def written_in_place(x: Any) -> Any:
    y = x.copy()
    y[1:] += 2 * x[:-1]
    y[0] = 3 * y[2]
    y[::2] *= x[::2]
    return np.sum(y * x)


def through_views(x: Any) -> Any:
    m = x.reshape(2, 3)
    rows = m.T[::-1]
    stacked = np.concatenate([rows, rows * rows], axis=1)
    return np.sum(stacked[1:, :2] * stacked[:-1, 2:]) + m[1, 2] * m[0, 0]


def with_indices(x: Any) -> Any:
    picked = x[np.array([0, 0, 2, 5])]
    return np.sum(picked**2) + np.sum(x[x > 0.5 * np.max(x)] * 0 + 1) * x[1]


def writes_to_argument(x: Any) -> Any:
    x[0] = x[1] * 2
    x += 1
    return np.sum(x**2)


def reductions(x: Any) -> Any:
    m = x.reshape(2, 3)
    return np.sum(np.mean(m, axis=0) * np.var(m, axis=0)) + np.prod(m, axis=1)[0] + np.max(m) * np.min(m) + np.std(m)


def while_loop(x: Any) -> Any:
    total = np.sum(x)
    while total > 1:
        total = total / 3 + 0.1 * x[0]
    return total * np.sum(x * x)


def branches(x: Any) -> Any:
    result = 0.0
    for value in x:
        result = result + value**2 if value > 0 else result - np.sin(value)
    return result


def matrices(x: Any) -> Any:
    m = x.reshape(2, 3)
    v = m @ x[:3]
    return np.sum(m.T @ m) + v @ v + np.sum(x[:2] @ m) + np.sum(np.stack([m, m]) @ m.T)


PROGRAMS = (
    written_in_place,
    through_views,
    with_indices,
    writes_to_argument,
    reductions,
    while_loop,
    branches,
    matrices,
)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("how", ["grad", "jit(grad)", "grad(jit)", "value_and_grad", "jacobian", "jvp"])
def test_gradients_of_programs(program: Any, how: str) -> None:
    x = RNG.standard_normal(6) + 0.2
    before = x.copy()
    expected = difference(lambda v: program(v.copy()), x)
    if how == "jvp":
        direction = RNG.standard_normal(6)
        _, tangent = tj.jvp(program, (x,), (direction,))
        np.testing.assert_allclose(tangent, expected @ direction, rtol=1e-5, atol=1e-7)
        return
    if how == "jacobian" and program in (while_loop, branches, with_indices):
        found = tj.jacobian(program, mode="reverse")(x)
    else:
        found = {
            "grad": lambda: tj.grad(program)(x),
            "jit(grad)": lambda: tj.jit(tj.grad(program))(x),
            "grad(jit)": lambda: tj.grad(tj.jit(program))(x),
            "value_and_grad": lambda: tj.value_and_grad(program)(x)[1],
            "jacobian": lambda: tj.jacobian(program)(x),
        }[how]()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_without_a_trace_the_tape_gives_the_same(program: Any) -> None:
    if program is writes_to_argument:
        pytest.skip("a tape refuses writes to a variable, as the error test shows")
    x = RNG.standard_normal(6) + 0.2
    compiled = tj.grad(program)(x)
    with tj.disable_jit():
        np.testing.assert_allclose(tj.grad(program)(x), compiled, rtol=1e-12, atol=1e-13)


def test_second_order_and_composition() -> None:
    x = RNG.standard_normal(4)

    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * x[::-1] ** 2) * np.exp(0.1 * x[0])

    hessian = tj.hessian(f)(x)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    np.testing.assert_allclose(hessian, tj.jacobian(tj.grad(f), mode="reverse")(x), atol=1e-12)
    np.testing.assert_allclose(hessian, tj.jit(tj.hessian(f))(x), atol=1e-12)
    by_differences = np.stack([difference(lambda v, i=i: tj.grad(f)(v)[i], x) for i in range(4)])
    np.testing.assert_allclose(hessian, by_differences, rtol=1e-6, atol=1e-8)
    tj.check_grads(f, (x,), order=3, tolerance=1e-5)


def test_each_derivative_has_variables_of_its_own() -> None:
    # The classic confusion of nested derivatives: d/dx (x * d/dy (x + y)) = 1 (Siskind and Pearlmutter, 2005).
    assert tj.grad(lambda x: x * tj.grad(lambda y: x + y)(2.0))(1.0) == 1.0
    assert tj.jvp(lambda x: x * tj.jvp(lambda y: x * y, (1.0,), (1.0,))[1], (3.0,), (1.0,))[1] == 6.0


Point = namedtuple("Point", "x y")


@dataclass
class Layer:
    w: Any
    b: Any


def test_pytrees_and_argnums() -> None:
    def f(layers: Any, point: Any, scale: Any) -> Any:
        h = np.tanh(layers["first"].w @ np.array([1.0, 2.0]) + layers["first"].b)
        return np.sum(h * layers["rest"][0]) * scale + point.x**2 * point.y

    layers = {"first": Layer(RNG.standard_normal((3, 2)), RNG.standard_normal(3)), "rest": [RNG.standard_normal(3)]}
    point = Point(2.0, np.float64(3.0))
    found_layers, found_point = tj.grad(f, argnums=(0, 1))(layers, point, 0.5)
    assert isinstance(found_layers["first"], Layer) and isinstance(found_point, Point)
    assert found_point.x == 12.0 and found_point.y == 4.0
    h = np.tanh(layers["first"].w @ np.array([1.0, 2.0]) + layers["first"].b)
    np.testing.assert_allclose(found_layers["rest"][0], 0.5 * h)
    np.testing.assert_allclose(found_layers["first"].b, 0.5 * layers["rest"][0] * (1 - h * h))
    assert tj.grad(f, argnums=-1)(layers, point, 0.5) == pytest.approx(float(np.sum(h * layers["rest"][0])))


def test_dtypes_follow_the_arguments() -> None:
    weights = np.ones(3, np.float32)
    assert tj.grad(lambda w: np.sum(w * 2.0))(weights).dtype == np.float32
    assert tj.grad(lambda w, s: np.sum(w * s), argnums=1)(weights, 2.0).dtype == np.float64
    value, gradient = tj.value_and_grad(lambda s: np.sum(weights * s))(2.0)
    assert value.dtype == np.float32 and gradient == 3.0
    mixed = tj.grad(lambda w: np.sum(w.astype(np.float64) * np.arange(3.0)))(weights)
    assert mixed.dtype == np.float32 and mixed.tolist() == [0.0, 1.0, 2.0]


def test_aux_and_unconnected() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(x**2), {"twice": 2 * x, "name": "loss"}

    (value, aux), gradient = tj.value_and_grad(f, has_aux=True)(np.array([1.0, 2.0]), 3.0)
    assert value == 5.0 and aux["name"] == "loss" and aux["twice"].tolist() == [2.0, 4.0]
    assert gradient.tolist() == [2.0, 4.0]
    gradient, aux = tj.grad(f, argnums=1, has_aux=True)(np.array([1.0, 2.0]), 3.0)
    assert gradient == 0.0
    assert tj.grad(lambda x, y: x * x, argnums=(0, 1), unconnected="none")(3.0, 4.0) == (6.0, None)


def test_vjp_and_linearize() -> None:
    w, x = RNG.standard_normal((3, 4)), RNG.standard_normal(4)
    (y, _), pullback = tj.vjp(lambda w, x: (w @ x, np.sum(w)), w, x)
    seeds = RNG.standard_normal(3)
    to_w, to_x = pullback((seeds, 2.0))
    np.testing.assert_allclose(to_w, np.outer(seeds, x) + 2)
    np.testing.assert_allclose(to_x, w.T @ seeds)
    np.testing.assert_allclose(y, w @ x)
    y, pushforward = tj.linearize(lambda x: np.sin(x) * 2, x)
    np.testing.assert_allclose(pushforward(np.ones(4)), 2 * np.cos(x))

    @tj.jit
    def inside(x: Any) -> Any:
        y, pullback = tj.vjp(np.sin, x)
        _, pushforward = tj.linearize(np.exp, x)
        return pullback(y)[0] + pushforward(x)

    np.testing.assert_allclose(inside(x), np.sin(x) * np.cos(x) + x * np.exp(x))


def test_jacobian_modes_agree() -> None:
    def f(x: Any, w: Any) -> Any:
        return {"a": np.tanh(w @ x), "b": (np.sum(x) * w[0, 0],)}

    x, w = RNG.standard_normal(3), RNG.standard_normal((2, 3))
    found = [tj.jacobian(f, argnums=(0, 1), mode=mode)(x, w) for mode in ("forward", "reverse")]
    h = np.tanh(w @ x)
    for one in found:
        assert one["a"][0].shape == (2, 3) and one["a"][1].shape == (2, 2, 3)
        np.testing.assert_allclose(one["a"][0], (1 - h * h)[:, None] * w)
        np.testing.assert_allclose(one["b"][0][1], np.array([[np.sum(x), 0, 0], [0, 0, 0]]), atol=1e-15)
    np.testing.assert_allclose(found[0]["a"][1], found[1]["a"][1])


def test_custom_rules() -> None:
    @tj.custom_vjp
    def clipped(x: Any, low: Any) -> Any:
        return np.clip(x, low, 1.0)

    clipped.defvjp(lambda x, low: (np.clip(x, low, 1.0), 2.0 * x), lambda twice, c: (c * twice, None))
    x = np.array([-3.0, 0.5, 3.0])
    assert clipped(x, -1.0).tolist() == [-1.0, 0.5, 1.0]
    assert tj.grad(lambda x: np.sum(clipped(x, -1.0)))(x).tolist() == [-6.0, 1.0, 6.0]
    assert tj.jit(tj.grad(lambda x: np.sum(clipped(x * 2, -1.0))))(x).tolist() == [-24.0, 4.0, 24.0]
    assert tj.grad(tj.grad(lambda x: clipped(x, -1.0)))(0.7) == 2.0

    @tj.custom_jvp
    def softened(x: Any) -> Any:
        return np.abs(x)

    softened.defjvp(lambda primals, tangents: (np.abs(primals[0]), tangents[0] * np.tanh(primals[0])))
    np.testing.assert_allclose(tj.grad(lambda x: np.sum(softened(x)))(x), np.tanh(x))
    np.testing.assert_allclose(tj.jvp(softened, (x,), (x,))[1], x * np.tanh(x))
    np.testing.assert_allclose(tj.grad(tj.grad(softened))(0.3), 1 - np.tanh(0.3) ** 2)


def test_checkpoint_computes_anew() -> None:
    def block(x: Any, w: Any) -> Any:
        return np.tanh(np.exp(-x * x) * w + np.sin(x))

    def loss(x: Any, w: Any, wrap: Any) -> Any:
        for _ in range(3):
            x = wrap(block)(x, w)
        return np.sum(x)

    x, w = RNG.standard_normal(5), RNG.standard_normal(5)
    plain = tj.grad(lambda x, w: loss(x, w, lambda f: f), argnums=(0, 1))
    saving = tj.grad(lambda x, w: loss(x, w, tj.checkpoint), argnums=(0, 1))
    for a, b in zip(plain(x, w), saving(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    # The forward pass stands twice in the graph, but for the last block's, whose result no derivative needs.
    count = [sum(n.op == "sin" for n in f.compiled.trace(x, w).nodes) for f in (plain, saving)]
    assert count[0] == 3 and count[1] == 5


def test_stop_gradient() -> None:
    assert tj.grad(lambda x: x * tj.stop_gradient(x) + tj.stop_gradient({"a": x})["a"])(3.0) == 3.0
    assert tj.stop_gradient(3.0) == 3.0


def test_check_grads_finds_a_wrong_rule() -> None:
    @tj.custom_vjp
    def wrong(x: Any) -> Any:
        return x**3

    wrong.defvjp(lambda x: (x**3, x), lambda x, c: (c * 2 * x,))
    tj.check_grads(wrong, (2.0,), modes=("forward",))
    with pytest.raises(AssertionError, match="reverse mode"):
        tj.check_grads(wrong, (2.0,))


def test_new_sizes_do_not_trace_again() -> None:
    gradient = tj.grad(lambda x: np.sum(np.sin(x) ** 2) / len(x.shape))
    for n in (3, 10, 100):
        gradient(np.ones(n))
    assert gradient.compiled.stats.traces == 1


ERRORS = {
    "vector": (
        lambda: tj.grad(np.sin)(np.ones(3)),
        ValueError,
        "sin returns an array of shape (3,), and a gradient is of a scalar: reduce it (np.sum, np.mean), or use "
        "tracejit.vjp or tracejit.jacobian",
    ),
    "integer": (
        lambda: tj.grad(np.sin)(3),
        TypeError,
        "sin is differentiated by an argument of type int, and derivatives are of real floats: pass floats (3.0, "
        "x.astype(float)), or choose other arguments with argnums",
    ),
    "integers": (
        lambda: tj.grad(np.sum)(np.arange(3)),
        TypeError,
        "sum is differentiated by an argument of dtype int64, and derivatives are of real floats: pass floats (3.0, "
        "x.astype(float)), or choose other arguments with argnums",
    ),
    "complex": (
        lambda: tj.grad(np.abs)(np.ones((), complex)),
        TypeError,
        "absolute is differentiated by an argument of dtype complex128, and derivatives are of real floats: split it "
        "into real and imaginary parts",
    ),
    "two results": (
        lambda: tj.grad(lambda x: (x, x))(1.0),
        TypeError,
        "<lambda> returns 2 values, and a gradient is of one scalar: return the loss alone, or (loss, aux) with "
        "has_aux=True",
    ),
    "argnums": (
        lambda: tj.grad(np.sin, argnums=1)(1.0),
        ValueError,
        "argnums names argument 1 of sin, which was given 1 positional arguments",
    ),
    "unconnected": (
        lambda: tj.grad(np.sin, unconnected="nan")(1.0),
        ValueError,
        'unconnected must be "zero" or "none", not \'nan\'',
    ),
    "cotangent shape": (
        lambda: tj.vjp(np.sin, np.ones(3))[1](np.ones(4)),
        ValueError,
        "one of the cotangents has shape (4,), and what it belongs to has shape (3,)",
    ),
    "tangents": (
        lambda: tj.jvp(np.sin, (1.0,), ()),
        ValueError,
        "jvp got 1 primals and 0 tangents; give each primal one tangent",
    ),
    "custom without a rule": (
        lambda: tj.grad(tj.custom_vjp(abs))(1.0),
        TypeError,
        "abs is a custom_vjp without a rule: call its defvjp first",
    ),
    "mode": (
        lambda: tj.jacobian(np.sin, mode="both"),
        ValueError,
        'mode must be "auto", "forward" or "reverse", not \'both\'',
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    call, kind, text = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).splitlines()[0] == text


def test_a_value_that_leaves_the_trace_is_no_silent_constant() -> None:
    def foreign(x: Any) -> Any:
        return np.vectorize(lambda v: v * v)(x)

    with pytest.raises(TypeError, match=r"handed to code that needs a plain array \(at .*, where its derivative would"):
        tj.grad(lambda x: np.sum(foreign(x)))(np.ones(3))
    found = tj.grad(lambda x: np.sum(foreign(tj.stop_gradient(x)) * x))(np.array([1.0, 2.0]))
    assert found.tolist() == [1.0, 4.0]
    # A plain number counts as constant, as in PyTorch.
    assert tj.grad(lambda x: x * float(x))(3.0) == 3.0


def test_a_training_loop_with_breaks_lets_go_of_its_steps() -> None:
    @tj.jit
    def train(w: Any, x: Any) -> Any:
        for _ in range(6):
            loss, gradient = tj.value_and_grad(lambda w: np.sum((np.tanh(x * w) - 0.3) ** 2))(w)
            if loss < 1e-9:
                break
            w = w - 0.1 * gradient
        return w

    w, x = RNG.standard_normal(4), RNG.standard_normal(4)
    for _ in range(2):
        np.testing.assert_allclose(train(w, x), train.function(w, x), rtol=1e-12)
    segment = train.roots[0]
    widest = 0
    while segment.following is not None and segment.following.latest is not None:
        segment = segment.following.latest
        widest = max(widest, max((node["position"] for node in segment.traced.inputs), default=0))
    assert widest <= 5, "places of leaves are used again"
