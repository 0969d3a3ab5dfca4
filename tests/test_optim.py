"""Optimizers against PyTorch's, schedules, clipping, L-BFGS."""

from __future__ import annotations

import numpy as np
import pytest

import tracejit as tj
from tracejit import nn, optim
from tracejit.optim import schedules

RULES = {
    "sgd": (optim.SGD(0.05), lambda t, p: t.optim.SGD(p, 0.05)),
    "momentum": (optim.SGD(0.05, 0.9), lambda t, p: t.optim.SGD(p, 0.05, momentum=0.9)),
    "nesterov": (optim.SGD(0.05, 0.9, True), lambda t, p: t.optim.SGD(p, 0.05, momentum=0.9, nesterov=True)),
    "adagrad": (optim.Adagrad(0.05), lambda t, p: t.optim.Adagrad(p, 0.05)),
    "rmsprop": (optim.RMSProp(0.01), lambda t, p: t.optim.RMSprop(p, 0.01)),
    "rmsprop with momentum": (
        optim.RMSProp(0.01, momentum=0.5),
        lambda t, p: t.optim.RMSprop(p, 0.01, momentum=0.5),
    ),
    "adam": (optim.Adam(0.01), lambda t, p: t.optim.Adam(p, 0.01)),
    "adamw": (optim.AdamW(0.01, 0.1), lambda t, p: t.optim.AdamW(p, 0.01, weight_decay=0.1)),
}


def loss(parameters):
    w, b = parameters["w"], parameters["b"]
    return np.sum((w @ np.array([1.0, -2.0, 0.5]) + b - 1.0) ** 2) + 0.1 * np.sum(w**4)


def start():
    rng = np.random.default_rng(0)
    return {"w": rng.standard_normal((4, 3)), "b": rng.standard_normal(4)}


@pytest.mark.parametrize("name", RULES)
def test_against_torch(name):
    torch = pytest.importorskip("torch")
    rule, make = RULES[name]
    parameters, state = start(), rule.init(start())
    theirs = {key: torch.tensor(value, requires_grad=True) for key, value in start().items()}
    other = make(torch, list(theirs.values()))
    gradient = tj.grad(loss)
    step = tj.jit(lambda p, s: rule.update(gradient(p), s, p))
    for _ in range(20):
        parameters, state = step(parameters, state)
        other.zero_grad()
        w, b = theirs["w"], theirs["b"]
        value = (w @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + b - 1).pow(2).sum() + 0.1 * w.pow(4).sum()
        value.backward()
        other.step()
    for key, value in parameters.items():
        np.testing.assert_allclose(value, theirs[key].detach().numpy(), rtol=1e-12)
    assert state.step == 20


def test_lion():
    rule = optim.Lion(0.1, beta1=0.5, beta2=0.75)
    parameter = np.array([1.0, -1.0])
    state = rule.init(parameter)
    parameter, state = rule.update(np.array([2.0, -4.0]), state, parameter)
    np.testing.assert_allclose(parameter, [0.9, -0.9])
    np.testing.assert_allclose(state.slots[0][0], [0.5, -1.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "rule", [optim.SGD(0.1, 0.9), optim.Adam(0.1), optim.Adagrad(0.1), optim.AdamW(), optim.Lion()]
)
def test_dtypes_stay(rule, dtype):
    parameters = [np.ones(3, dtype), np.array(2.0, dtype)]
    state = rule.init(parameters)
    for run in (rule.update, tj.jit(rule.update)):
        new, changed = run([p * 2 for p in parameters], state, parameters)
        assert [p.dtype for p in new] == [dtype] * 2
        assert all(slot.dtype == dtype for slots in changed.slots for slot in slots)


def test_one_update_is_one_kernel():
    rule = optim.Adam(0.01)
    parameters = [np.ones((5, 4)), np.ones((5, 4)), np.ones((5, 4))]
    update = tj.jit(rule.update)
    update(parameters, rule.init(parameters), parameters)
    assert update.stats.kernels_compiled + update.stats.cache_hits <= 2


def test_weight_decay_and_clipping():
    rule = optim.SGD(0.1, weight_decay=0.5)
    assert rule.update(np.array(0.0), rule.init(np.array(2.0)), np.array(2.0))[0] == 2 - 0.1 * 0.5 * 2
    clipped = optim.SGD(1.0, clip_norm=1.0)
    gradients = [np.array([30.0]), np.array([40.0])]
    zeros = [np.zeros(1), np.zeros(1)]
    np.testing.assert_allclose(clipped.update(gradients, clipped.init(zeros), zeros)[0], [[-0.6], [-0.8]])
    np.testing.assert_allclose(optim.global_norm(gradients), 50)
    np.testing.assert_array_equal(optim.clip_by_value([np.array([-9.0, 0.5])], -1, 1)[0], [-1, 0.5])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.SGD(-1.0), "learning_rate must not be negative"),
        (lambda: optim.SGD(nesterov=True), "needs a momentum"),
        (lambda: optim.Adam(beta1=1.0), "beta1 must be at least 0 and below 1"),
        (lambda: optim.SGD(weight_decay=-1.0), "weight_decay must not be negative"),
        (lambda: optim.SGD(clip_norm=0.0), "clip_norm must be positive"),
        (lambda: optim.LBFGS(iterations=0), "iterations and history must be at least 1"),
        (lambda: schedules.piecewise([1], [0.1]), "1 boundaries part 2 rates, not 1"),
    ],
)
def test_bad_options(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_bad_parameters():
    rule = optim.SGD(0.1)
    with pytest.raises(TypeError, match="changes arrays of floats, and a parameter is"):
        rule.init([np.arange(3)])
    with pytest.raises(ValueError, match="different structures"):
        rule.update([np.ones(1)], rule.init({"a": np.ones(1)}), {"a": np.ones(1)})


SCHEDULES = {
    "constant": (schedules.constant(0.5), [0.5, 0.5, 0.5]),
    "exponential": (schedules.exponential(1.0, 10, 0.5), [1.0, 0.5**0.5, 0.5**10]),
    "staircase": (schedules.exponential(1.0, 10, 0.5, staircase=True), [1.0, 1.0, 0.5**10]),
    "step": (schedules.step_decay(1.0, 50, 0.1), [1.0, 1.0, 0.01]),
    "piecewise": (schedules.piecewise([5, 100], [1.0, 0.5, 0.1]), [1.0, 0.5, 0.1]),
    "cosine": (schedules.cosine(1.0, 10, 0.2), [1.0, 0.6, 0.2]),
    "warmup": (schedules.warmup(1.0, 10), [0.1, 0.6, 1.0]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    schedule, expected = SCHEDULES[name]
    for step, value in zip((0, 5, 100), expected, strict=True):
        np.testing.assert_allclose(schedule(np.int64(step)), value, rtol=1e-12)
        np.testing.assert_allclose(tj.jit(schedule)(np.array(step)), value, rtol=1e-12)


def test_a_schedule_inside_an_optimizer():
    rule = optim.SGD(schedules.piecewise([1], [1.0, 0.1]))
    parameter, state = np.array(0.0), rule.init(np.array(0.0))
    update = tj.jit(rule.update)
    for expected in (-1.0, -1.1, -1.2):
        parameter, state = update(np.array(1.0), state, parameter)
        np.testing.assert_allclose(parameter, expected)


def test_lbfgs():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((20, 6))
    target = rng.standard_normal(20)

    def residual(parameters, y):
        return np.sum((matrix @ parameters["x"] + parameters["c"] - y) ** 2)

    found = optim.LBFGS(gradient_tolerance=1e-9).minimize(residual, {"x": np.zeros(6), "c": np.zeros(())}, target)
    design = np.column_stack([matrix, np.ones(20)])
    expected = np.linalg.lstsq(design, target, rcond=None)[0]
    np.testing.assert_allclose(np.append(found.parameters["x"], found.parameters["c"]), expected, rtol=1e-6)
    assert found.converged
    assert found.evaluations < 60
    with pytest.raises(ValueError, match="nowhere to go"):
        optim.LBFGS().minimize(lambda x: np.sum(np.log(x)), np.array([-1.0]))
    stopped = optim.LBFGS(iterations=2).minimize(residual, {"x": np.zeros(6), "c": np.zeros(())}, target)
    assert not stopped.converged
    assert "limit of iterations" in stopped.message


# ---- bound to eager parameters


@pytest.mark.parametrize(
    "rule", [optim.SGD(0.05, 0.9), optim.AdamW(0.01, 0.1), optim.Adam(lambda step: 0.1 / (step + 1))]
)
def test_bound_to_arrays_it_does_what_the_pure_rule_does(rule):
    parameters, state = start(), rule.init(start())
    gradient = tj.grad(loss)
    arrays = {key: tj.Array(value, requires_grad=True) for key, value in start().items()}
    bound = rule.over(arrays.values())
    for _ in range(5):
        parameters, state = rule.update(gradient(parameters), state, parameters)
        bound.zero_grad()
        loss(arrays).backward()
        bound.step()
    for key, value in parameters.items():
        np.testing.assert_allclose(np.asarray(arrays[key]), value, rtol=1e-12)


def test_bound_to_a_module_and_resumed_exactly():
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 3)), rng.random((8, 1))

    def trained(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            nn.losses.mean_squared_error(model(x), y).backward()
            optimizer.step()

    model = nn.Linear(3, 1, dtype=np.float64)
    optimizer = optim.Adam(0.01).over(model.parameters())
    trained(model, optimizer, 3)
    weights, state = model.state_dict(), optimizer.state_dict()
    assert state["step"] == 3
    trained(model, optimizer, 2)
    other = nn.Linear(3, 1, dtype=np.float64)
    other.load_state_dict(weights)
    resumed = optim.Adam(0.01).over(other.parameters())
    resumed.load_state_dict(state)
    trained(other, resumed, 2)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    with pytest.raises(KeyError, match=r"no 0\.mean, 0\.squares"):
        resumed.load_state_dict({"step": 1, "1.mean": 0, "1.squares": 0})


def test_a_parameter_without_a_gradient_stays():
    used, unused = (tj.Array([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.SGD(0.5, 0.9).over([used, unused])
    (used * 2).sum().backward()
    optimizer.step()
    assert float(used[0]) == 0
    assert float(unused[0]) == 1
    optimizer.zero_grad()
    with pytest.raises(ValueError, match="no parameter has a gradient"):
        optimizer.step()
    with pytest.raises(ValueError, match="no parameters"):
        optim.SGD(0.5).over([])
    with pytest.raises(TypeError, match="not ndarray"):
        optim.SGD(0.5).over([np.ones(3)])
