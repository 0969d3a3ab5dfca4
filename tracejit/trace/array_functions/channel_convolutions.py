"""Convolutions of arrays with channels, and pooling, as nodes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ir.node import ArrayType
from tracejit.ops import channel_convolutions as ops
from tracejit.ops import pooling
from tracejit.trace.dispatch import asarray, implements
from tracejit.trace.number import as_dimension
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import fresh


def _traced(function: Any, rank: int) -> None:
    name = function.__name__

    @implements(function)
    def call(x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: Any = 1) -> Any:
        trace = current()
        images, weights = asarray(x), asarray(w)
        ops.check_shapes(name, images, weights, groups, rank)
        kernel = tuple(operator.index(length) for length in weights.shape[2:])
        strides, dilations = ops.each(stride, rank, "stride"), ops.each(dilation, rank, "dilation")
        around = ops.widths(padding, images.shape[2:], kernel, strides, dilations)
        places = ops.result_places(name, images.shape[2:], kernel, strides, around, dilations)
        dtype = np.result_type(images.dtype, weights.dtype)
        params = {
            "kernel": kernel,
            "stride": strides,
            "padding": tuple((as_dimension(low), as_dimension(high)) for low, high in around),
            "dilation": dilations,
            "groups": operator.index(groups),
        }
        shape = (images.symbolic_shape[0], weights.symbolic_shape[0], *(as_dimension(n) for n in places))
        operands = (trace.builder.cast(images.node, dtype), trace.builder.cast(weights.node, dtype))
        return fresh(trace, trace.builder.node("convolution", operands, params, ArrayType(dtype, shape), user_line()))  # type: ignore[arg-type]


_traced(ops.conv1d, 1)
_traced(ops.conv2d, 2)

for _function in (pooling.max_pool1d, pooling.max_pool2d, pooling.avg_pool1d, pooling.avg_pool2d):
    implements(_function)(_function.__wrapped__)  # type: ignore[attr-defined]
