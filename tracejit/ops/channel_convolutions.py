"""Convolutions of arrays with channels: `conv1d` and `conv2d`, and the two ops that their derivatives are made of.

    convolution(x, w)[n, o, y]          = sum over c, i of x[n, c, y * stride + i * dilation - before] * w[o, c, i]
    convolution_input(g, w)[n, c, z]    : the x-cotangent of g[n, o, y], linear in g and in w
    convolution_weights(x, g)[o, c, i]  : the w-cotangent of g[n, o, y], linear in x and in g

Each is bilinear, and the derivatives of each are the other two, so the three are closed under differentiation to any
order.  As everywhere where there are layers of them, the kernel is not turned around (a correlation).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tracejit.ops.library import library, overridable
from tracejit.ops.table import Op, register

# ---- NumPy references: one product of matrices for each place in the kernel


def _split(a: Any, axis: int, groups: int) -> Any:
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


def _padded(x: Any, padding: Sequence[tuple[int, int]]) -> Any:
    return np.pad(x, ((0, 0), (0, 0), *padding))


def _taps(node: Mapping[str, Any], places: Sequence[int]) -> Iterator[Any]:
    """The index of each place in the kernel, and of what it meets in the padded array."""
    for tap in np.ndindex(*node["kernel"]):
        rows = zip(tap, node["stride"], node["dilation"], places, strict=True)
        yield (..., *tap), (..., *(slice(i * d, i * d + s * (n - 1) + 1 if n else 0, s) for i, s, d, n in rows))


def convolved(x: Any, w: Any, shape: Sequence[int], **node: Any) -> Any:
    """The reference of `convolution`; shape: of the result; node: the op's parameters."""
    groups = node["groups"]
    parts, weights = _split(_padded(x, node["padding"]), 1, groups), _split(w, 0, groups)
    total = np.zeros((shape[0], groups, shape[1] // groups, *shape[2:]), x.dtype)
    for tap, met in _taps(node, shape[2:]):
        total += np.einsum("ngc...,goc->ngo...", parts[met], weights[tap])
    return total.reshape(shape)


def convolved_input(g: Any, w: Any, shape: Sequence[int], **node: Any) -> Any:
    """The reference of `convolution_input`."""
    parts, weights, padding = _split(g, 1, node["groups"]), _split(w, 0, node["groups"]), node["padding"]
    wide = [n + low + high for n, (low, high) in zip(shape[2:], padding, strict=True)]
    total = np.zeros((shape[0], node["groups"], shape[1] // node["groups"], *wide), g.dtype)
    for tap, met in _taps(node, g.shape[2:]):
        total[met] += np.einsum("ngo...,goc->ngc...", parts, weights[tap])
    inner: Any = (..., *(slice(low, low + n) for n, (low, _) in zip(shape[2:], padding, strict=True)))
    return total[inner].reshape(shape)


def convolved_weights(x: Any, g: Any, shape: Sequence[int], **node: Any) -> Any:
    """The reference of `convolution_weights`."""
    parts, given = _split(_padded(x, node["padding"]), 1, node["groups"]), _split(g, 1, node["groups"])
    total = np.zeros((node["groups"], shape[0] // node["groups"], *shape[1:]), x.dtype)
    flat = (*given.shape[:3], -1)
    for tap, met in _taps(node, g.shape[2:]):
        pieces = parts[met]
        total[tap] = np.einsum("ngcp,ngop->goc", pieces.reshape(*pieces.shape[:3], -1), given.reshape(flat))
    return total.reshape(shape)


# ---- derivatives and batching


def _bilinear_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    (a, b), (left, right) = node.inputs, tangents
    terms = [rules.convolution(node.op, left, b, node, node.type)] if left is not None else []
    terms += [rules.convolution(node.op, a, right, node, node.type)] if right is not None else []
    return terms[0] if len(terms) == 1 else rules.add(*terms)


def _convolution_vjp(rules: Any, node: Any, g: Any) -> list[Any]:
    x, w = node.inputs
    return [
        rules.convolution("convolution_input", g, w, node, x.type),
        rules.convolution("convolution_weights", x, g, node, w.type),
    ]


def _input_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    g, w = node.inputs
    return [
        rules.convolution("convolution", cotangent, w, node, g.type),
        rules.convolution("convolution_weights", cotangent, g, node, w.type),
    ]


def _weights_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    x, g = node.inputs
    return [
        rules.convolution("convolution_input", g, cotangent, node, x.type),
        rules.convolution("convolution", x, cotangent, node, g.type),
    ]


def _image_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    """A batch of images beside the images' own; where the weights differ too, as groups of channels."""
    (images, weights), full = inputs, rules.along(node.type)
    if not batched[1]:
        merged = rules.convolution(node.op, rules.merged(images, 0), weights, node, rules.merged_type(full, 0))
        return rules.reshape(merged, full.shape)
    channels = rules.merged(rules.moved(rules.widened(images, batched[0]), 0, 1), 1)
    size, count, *rest = full.shape
    apart = type(full)(full.dtype, (count, size, *rest))
    type_of_both = rules.merged_type(apart, 1)
    merged = rules.convolution(node.op, channels, rules.merged(weights, 0), node, type_of_both, rules.size)
    return rules.moved(rules.reshape(merged, apart.shape), 1, 0)


def _weights_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    x, g = (rules.merged(rules.moved(rules.widened(i, flag), 0, 1), 1) for i, flag in zip(inputs, batched, strict=True))
    full = rules.along(node.type)
    together = rules.convolution(node.op, x, g, node, rules.merged_type(full, 0), rules.size)
    return rules.reshape(together, full.shape)


for _name, _reference, _vjp, _batch, _doc in (
    ("convolution", convolved, _convolution_vjp, _image_batch, "Convolution of images with channels."),
    ("convolution_input", convolved_input, _input_vjp, _image_batch, "Cotangent of a convolution's images."),
    ("convolution_weights", convolved_weights, _weights_vjp, _weights_batch, "Cotangent of a convolution's weights."),
):
    register(Op(_name, "contract", reference=_reference, jvp=_bilinear_jvp, vjp=_vjp, batch=_batch, doc=_doc))


# ---- what users call


def each(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """An option as one positive integer for each axis."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{name} must be an integer or {rank} of them, not {value!r}")
    found = tuple(operator.index(one) for one in values)
    if min(found) < 1:
        raise ValueError(f"{name} must be positive, not {value!r}")
    return found


def widths(
    padding: Any, places: Sequence[Any], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[Any, Any]]:
    """Zeros before and after each axis; "same" counts as TensorFlow does, with the odd one behind."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"padding must be 'same', 'valid' or integers, not {padding!r}")
        if padding == "valid":
            return [(0, 0)] * len(kernel)
        totals = []
        for n, k, s, d in zip(places, kernel, stride, dilation, strict=True):
            missing = d * (k - 1) if s == 1 else (-(-n // s) - 1) * s + d * (k - 1) + 1 - n
            totals.append(missing if s == 1 or missing > 0 else 0)
        return [(total // 2, total - total // 2) for total in totals]
    values = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * len(kernel)
    if len(values) != len(kernel):
        raise ValueError(f"padding must be an integer or {len(kernel)} integers or pairs, not {padding!r}")
    pairs = [tuple(value) if isinstance(value, (tuple, list)) else (value, value) for value in values]
    if any(len(pair) != 2 or operator.index(pair[0]) < 0 or operator.index(pair[1]) < 0 for pair in pairs):
        raise ValueError(f"padding must be an integer or {len(kernel)} integers or pairs, none negative: {padding!r}")
    return [(pair[0], pair[1]) for pair in pairs]


def check_shapes(name: str, x: Any, w: Any, groups: Any, rank: int) -> None:
    """Raise ValueError for operands that no convolution over `rank` axes has."""
    letters = ", ".join(("length",) if rank == 1 else ("height", "width"))
    if x.ndim != rank + 2 or w.ndim != rank + 2:
        raise ValueError(
            f"{name} takes images (batch, channels, {letters}) and weights (outputs, channels // groups, {letters}), "
            f"not arrays of {x.ndim} and {w.ndim} axes"
        )
    if operator.index(groups) < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups != 0:
        raise ValueError(
            f"{name}: {x.shape[1]} channels and {w.shape[0]} outputs in {groups} groups do not fit weights for "
            f"{w.shape[1]} channels a group"
        )


def result_places(
    name: str,
    places: Sequence[Any],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[Any, Any]],
    dilation: Sequence[int],
) -> list[Any]:
    """The lengths of the result; raises ValueError where the kernel is longer than the padded images."""
    found = []
    for n, k, s, (before, after), d in zip(places, kernel, stride, padding, dilation, strict=True):
        room = n + before + after - d * (k - 1) - 1
        if k < 1 or room < 0:
            raise ValueError(f"{name}: a kernel of {k} (dilation {d}) does not fit {n} padded by {before} and {after}")
        found.append(room // s + 1)
    return found


def _plain(name: str, rank: int) -> Callable[..., Any]:
    def call(x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
        images, weights = np.asarray(x), np.asarray(w)
        check_shapes(name, images, weights, groups, rank)
        dtype = np.result_type(images, weights)
        kernel, strides, dilations = weights.shape[2:], each(stride, rank, "stride"), each(dilation, rank, "dilation")
        around = widths(padding, images.shape[2:], kernel, strides, dilations)
        places = result_places(name, images.shape[2:], kernel, strides, around, dilations)
        return convolved(
            images.astype(dtype, copy=False),
            weights.astype(dtype, copy=False),
            kernel=kernel,
            stride=strides,
            padding=around,
            dilation=dilations,
            groups=groups,
            shape=(images.shape[0], weights.shape[0], *places),
        )

    call.__name__ = call.__qualname__ = name
    call.__doc__ = _DOCUMENTATION.format(
        name=name,
        axes="length" if rank == 1 else "height, width",
        kernel="kernel length" if rank == 1 else "kernel height, kernel width",
        ones=", ".join("1" * (rank + 1)),
    )
    return overridable(call)


_DOCUMENTATION = """Convolution of images with channels (a correlation: the kernel is not turned around).

    x: (batch, channels, {axes}).  w: (outputs, channels // groups, {kernel}).
    stride, dilation: an integer, or one for each axis.
    padding: zeros around the images: an integer, for each axis an integer or a pair (before, after), "valid" (none) or
        "same" (the result is as long as x, divided by the stride and rounded up).
    groups: the channels and the outputs fall into so many groups, which have nothing to do with each other.
    Returns (batch, outputs, {axes}) in the common dtype of x and w.

    Raises ValueError for arrays of other ranks, channels that do not fit, and a kernel longer than the padded images.

    >>> {name}(np.array([1.0, 2, 4]).reshape({ones}, 3), np.array([1.0, 10]).reshape({ones}, 2)).ravel()
    array([21., 42.])
    """

conv1d = _plain("conv1d", 1)
conv2d = _plain("conv2d", 2)

OPTIONS = ("stride", "padding", "dilation", "groups")

library(conv1d, "Convolution of images with channels, along one axis.", options=OPTIONS)
library(conv2d, "Convolution of images with channels, along two axes.", options=OPTIONS)
