"""Convolutions and pooling of images with channels: values, derivatives, batching, errors."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracejit as tj
from tests.graph_interpreter import interpreted
from tracejit.ops import channel_convolutions, pooling

RNG = np.random.default_rng(0)


def plain(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The convolution by its definition, from windows of the padded images."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    rank = w.ndim - 2
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, tuple(range(2, rank + 2)))
    keep = (*[slice(None, None, s) for s in stride], *[slice(None, None, d) for d in dilation])
    windows = windows[(slice(None), slice(None), *keep)]
    each = w.shape[0] // groups
    found = []
    for group in range(groups):
        channels = windows[:, group * w.shape[1] : (group + 1) * w.shape[1]]
        axes = (1, *range(rank + 2, 2 * rank + 2))
        found.append(np.tensordot(channels, w[group * each : (group + 1) * each], (axes, (1, *range(2, rank + 2)))))
    return np.moveaxis(np.concatenate(found, -1), -1, 1)


@st.composite
def convolutions(draw: Any, rank: int) -> Any:
    """Operands and options of a convolution."""
    groups, each, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilation = [draw(st.integers(1, 2)) for _ in range(rank)]
    stride = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    padding = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(rank)]
    least = [max(1, d * (k - 1) + 1 - sum(p)) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    places = [n + draw(st.integers(0, 6)) for n in least]
    dtype = draw(st.sampled_from(["float32", "float64"]))
    x = RNG.standard_normal((draw(st.integers(0, 3)), groups * each, *places)).astype(dtype)
    w = RNG.standard_normal((groups * outputs, each, *kernel)).astype(dtype)
    return x, w, stride, tuple(padding), tuple(dilation), groups


@settings(max_examples=8, deadline=None)
@given(convolutions(rank=2))
def test_conv2d(case: Any) -> None:
    check(tj.conv2d, channel_convolutions.conv2d, case)


@settings(max_examples=4, deadline=None)
@given(convolutions(rank=1))
def test_conv1d(case: Any) -> None:
    check(tj.conv1d, channel_convolutions.conv1d, case)


def check(ours: Any, reference: Any, case: Any) -> None:
    x, w, *options = case
    expected = plain(x, w, *options)
    tolerance = 1e-4 if x.dtype == np.float32 else 1e-11
    for found in (ours(x, w, *options), reference(x, w, *options)):
        assert found.dtype == x.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, tolerance, tolerance)


@settings(max_examples=3, deadline=None)
@given(convolutions(rank=2), st.booleans())
def test_derivatives(case: Any, one_axis: bool) -> None:
    x, w, stride, padding, dilation, groups = case
    x, w = x.astype(float), w.astype(float)
    function = tj.conv2d
    if one_axis:
        x, w, function = x[..., 0], w[..., 0], tj.conv1d
        stride, padding, dilation = stride[:1], padding[:1], dilation[:1]
    if not x.size:
        return

    def convolved(x: Any, w: Any) -> Any:
        return function(x, w, stride, padding, dilation, groups)

    tj.check_grads(convolved, (x, w), order=2)


@pytest.mark.parametrize("which", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("groups", [1, 2])
def test_vmap(which: tuple[bool, bool], groups: int) -> None:
    x, w = RNG.standard_normal((3, 2, 4, 7, 8)), RNG.standard_normal((3, 6, 4 // groups, 3, 2))
    given_x, given_w = x if which[0] else x[0], w if which[1] else w[0]
    axes = tuple(0 if one else None for one in which)

    def convolved(x: Any, w: Any) -> Any:
        return tj.conv2d(x, w, stride=2, padding=1, groups=groups)

    def gradients(x: Any, w: Any) -> Any:
        return tj.grad(lambda x, w: np.sum(convolved(x, w) ** 2), argnums=(0, 1))(x, w)

    for function in (convolved, lambda x, w: gradients(x, w)[0], lambda x, w: gradients(x, w)[1]):
        found = tj.vmap(function, in_axes=axes)(given_x, given_w)
        each = [function(x[n if which[0] else 0], w[n if which[1] else 0]) for n in range(3)]
        np.testing.assert_allclose(found, np.stack(each), 1e-10, 1e-10)


def test_same_padding_is_that_of_tensorflow() -> None:
    for n in range(3, 9):
        for stride in (1, 2, 3):
            found = tj.conv1d(RNG.standard_normal((1, 1, n)), np.ones((1, 1, 3)), stride=stride, padding="same")
            assert found.shape[2] == -(-n // stride)
    np.testing.assert_array_equal(tj.conv1d(np.ones((1, 1, 4)), np.ones((1, 1, 2)), padding="same")[0, 0], [2, 2, 2, 1])


def test_integers_and_mixed_dtypes() -> None:
    x, w = RNG.integers(-5, 5, (2, 3, 6, 7)), RNG.integers(-5, 5, (4, 3, 3, 3))
    found = tj.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(found, plain(x, w, (1, 1), ((1, 1), (1, 1)), (1, 1), 1))
    assert found.dtype == np.int64
    assert tj.conv2d(x.astype(np.float32), w.astype(np.float64)).dtype == np.float64


def test_large_kernels_are_gathered() -> None:
    x, w = RNG.standard_normal((2, 2, 20, 21)), RNG.standard_normal((3, 2, 9, 10))
    for stride, dilation in ((1, 1), (2, 1), (1, 2)):
        found = tj.conv2d(x, w, stride=stride, padding=3, dilation=dilation)
        expected = plain(x, w, (stride,) * 2, ((3, 3),) * 2, (dilation,) * 2, 1)
        np.testing.assert_allclose(found, expected, 1e-11, 1e-11)
    tj.check_grads(lambda x, w: tj.conv2d(x, w, stride=2, padding=1), (x, w), order=1)


def test_a_layer_is_one_kernel_beside_its_padding() -> None:
    @tj.jit
    def layer(x: Any, w: Any, b: Any) -> Any:
        return np.maximum(tj.conv2d(x, w) + b[:, None, None], 0)

    x, w, b = RNG.standard_normal((2, 3, 9, 8)), RNG.standard_normal((4, 3, 3, 3)), RNG.standard_normal(4)
    assert [kernel.form for kernel in layer.explain(x, w, b).kernels] == ["panels"]
    expected = np.maximum(plain(x, w, (1, 1), ((0, 0), (0, 0)), (1, 1), 1) + b[:, None, None], 0)
    np.testing.assert_allclose(layer(x, w, b), expected, 1e-12, 1e-12)


def test_derivatives_by_weights_are_made_by_panels() -> None:
    @tj.jit
    def slope(x: Any, w: Any) -> Any:
        return tj.grad(lambda w: np.sum(np.tanh(tj.conv2d(x, w))))(w)

    forms = [
        k.form for k in slope.explain(RNG.standard_normal((2, 3, 9, 8)), RNG.standard_normal((4, 3, 3, 3))).kernels
    ]
    assert forms.count("panels") == 2


def test_graphs_mean_what_the_reference_says() -> None:
    x, w = RNG.standard_normal((2, 4, 9, 8)), RNG.standard_normal((6, 2, 3, 3))

    def both(x: Any, w: Any) -> Any:
        return tj.grad(lambda x, w: np.sum(tj.conv2d(x, w, 2, 1, groups=2) ** 3), argnums=(0, 1))(x, w)

    for found, expected in zip(tj.jit(both)(x, w), interpreted(both, x, w), strict=True):
        np.testing.assert_allclose(found, expected, 1e-10, 1e-10)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(
    "window, stride, padding", [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), ((0, 1), (1, 0))), (2, 1, "same")]
)
def test_pooling(largest: bool, window: Any, stride: Any, padding: Any) -> None:
    # Far from where the largest of a window changes.
    x = (RNG.permutation(432).reshape(2, 3, 9, 8) / 100).astype(np.float32)
    function = tj.max_pool2d if largest else tj.avg_pool2d
    lengths = (window,) * 2 if isinstance(window, int) else window
    steps = lengths if stride is None else (stride,) * 2 if isinstance(stride, int) else stride
    around = {0: ((0, 0),) * 2, 1: ((1, 1),) * 2, "same": ((0, 1),) * 2}.get(padding, padding)
    wide = np.pad(x, ((0, 0), (0, 0), *around), constant_values=-np.inf if largest else 0)
    windows = np.lib.stride_tricks.sliding_window_view(wide, lengths, (2, 3))[:, :, :: steps[0], :: steps[1]]
    expected = windows.max((-2, -1)) if largest else windows.mean((-2, -1))
    found = function(x, window, stride, padding)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, 1e-6, 1e-6)
    tj.check_grads(lambda x: function(x, window, stride, padding), (x.astype(float),), order=2)


def test_pooling_one_axis_and_other_dtypes() -> None:
    x = RNG.integers(-9, 9, (2, 3, 8))
    np.testing.assert_array_equal(tj.max_pool1d(x, 2), x.reshape(2, 3, 4, 2).max(-1))
    np.testing.assert_allclose(tj.avg_pool1d(x, 4), x.reshape(2, 3, 2, 4).mean(-1))
    np.testing.assert_array_equal(tj.max_pool1d(x, 3, 1, 1)[..., 0], x[..., :2].max(-1))
    np.testing.assert_allclose(tj.vmap(lambda x: tj.avg_pool1d(x, 2))(x[None]), x.reshape(1, 2, 3, 4, 2).mean(-1))


def test_arrays_and_disabled() -> None:
    x, w = RNG.standard_normal((2, 3, 9, 8)), RNG.standard_normal((4, 3, 3, 3))
    expected = plain(x, w, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    np.testing.assert_allclose(np.asarray(tj.conv2d(tj.Array(x), w)), expected, 1e-12, 1e-12)
    with tj.disable_jit():
        np.testing.assert_allclose(tj.conv2d(x, w), expected, 1e-12, 1e-12)
        np.testing.assert_array_equal(tj.max_pool2d(x, 2), x[:, :, :8].reshape(2, 3, 4, 2, 4, 2).max((3, 5)))


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(
    "shapes, options, message",
    [
        (((3, 8, 8), (4, 3, 3, 3)), {}, "takes images"),
        (((1, 3, 8, 8), (4, 2, 3, 3)), {}, "channels"),
        (((1, 3, 8, 8), (4, 1, 3, 3)), {"groups": 3}, "outputs"),
        (((1, 3, 8, 8), (4, 3, 9, 3)), {}, "does not fit"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"stride": 0}, "positive"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"stride": (1, 1, 1)}, "2 of them"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"padding": "full"}, "'same', 'valid'"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"padding": -1}, "none negative"),
    ],
)
def test_errors(jitted: bool, shapes: Any, options: Any, message: str) -> None:
    function = tj.conv2d if jitted else channel_convolutions.conv2d
    with pytest.raises(ValueError, match=message):
        function(np.ones(shapes[0]), np.ones(shapes[1]), **options)


def test_pooling_errors() -> None:
    with pytest.raises(ValueError, match="takes images"):
        tj.max_pool2d(np.ones((3, 8, 8)), 2)
    with pytest.raises(ValueError, match="does not fit"):
        tj.avg_pool1d(np.ones((1, 3, 4)), 5)


def test_beside_torch() -> None:
    torch = pytest.importorskip("torch")
    x, w = RNG.standard_normal((2, 4, 11, 9)), RNG.standard_normal((6, 2, 3, 2))
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w)]
    result = torch.nn.functional.conv2d(*theirs, stride=2, padding=1, dilation=(1, 2), groups=2)
    (result**2).sum().backward()

    def loss(x: Any, w: Any) -> Any:
        return np.sum(tj.conv2d(x, w, 2, 1, (1, 2), 2) ** 2)

    np.testing.assert_allclose(tj.conv2d(x, w, 2, 1, (1, 2), 2), result.detach().numpy(), 1e-11, 1e-11)
    for ours, own in zip(tj.grad(loss, argnums=(0, 1))(x, w), theirs, strict=True):
        np.testing.assert_allclose(ours, own.grad.numpy(), 1e-10, 1e-10)


@pytest.mark.parametrize("module", [channel_convolutions, pooling])
def test_documentation(module: Any) -> None:
    for name in ("conv1d", "conv2d", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"):
        function = getattr(module, name, None)
        if function is not None:
            example = doctest.DocTestParser().get_doctest(function.__doc__, {"np": np, name: function}, name, None, 0)
            assert doctest.DocTestRunner().run(example).failed == 0 and example.examples
