"""Functions that write into an array by index: each is an assignment of the array's storage."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tracejit.ir.node import ArrayType, Node
from tracejit.ops.gathering import scatter_add
from tracejit.ops.table import OPS
from tracejit.trace.dispatch import asarray, copy, implements
from tracejit.trace.indexing import along_axis_key, basic_step, is_advanced, normalize_key, place_arrays
from tracejit.trace.opaque import Call, Slot, call_node, interrupt_call
from tracejit.trace.protocol import HANDLERS
from tracejit.trace.record import as_tracer, broadcast, broadcast_shapes, operand, operand_node
from tracejit.trace.state import current, user_line
from tracejit.trace.tracer import Tracer


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    tracer = asarray(arr)
    if axis is None:
        raise_flat = tracer.reshape(-1)
        raise_flat[asarray(indices)] = values
        tracer.write(raise_flat.reshape(tracer.shape).node)
    else:
        tracer[along_axis_key(tracer, asarray(indices), axis)] = values
