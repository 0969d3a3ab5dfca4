"""Other looks at the same elements, and writes through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracejit.ops.table import Op, register


def _view_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    return rules.view(tangents[0], node["indices"], node.shape)


def _view_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    return [rules.unview(cotangent, node)]


def _reshape_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    return rules.reshape(tangents[0], node.shape)


def _reshape_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    return [rules.reshape(cotangent, node.inputs[0].shape)]


def _update_jvp(rules: Any, node: Any, tangents: Sequence[Any]) -> Any:
    base, value = (t if t is not None else rules.zeros(s.type) for t, s in zip(tangents, node.inputs, strict=True))
    return rules.update(base, value, node["indices"])


def _update_vjp(rules: Any, node: Any, cotangent: Any) -> list[Any]:
    """The base has lost what was written over; the value has what is there now."""
    value = node.inputs[1]
    base = rules.mark(rules.update(cotangent, rules.zeros(value.type), node["indices"]))
    return [base, rules.view(cotangent, node["indices"], value.shape)]


def _view_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.view(inputs[0], rules.shifted(node["indices"]), rules.along(node.type).shape)


def _reshape_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    return rules.reshape(inputs[0], rules.along(node.type).shape)


def _update_batch(rules: Any, node: Any, inputs: Sequence[Any], batched: Sequence[bool]) -> Any:
    base, value = map(rules.widened, inputs, batched)
    return rules.update(base, value, rules.shifted(node["indices"]))


register(
    Op(
        "view",
        "view",
        jvp=_view_jvp,
        vjp=_view_vjp,
        batch=_view_batch,
        doc="Affine indexing: slices, flips, transposes, broadcasts and inserted axes are all this.",
    )
)
register(
    Op(
        "reshape",
        "view",
        jvp=_reshape_jvp,
        vjp=_reshape_vjp,
        batch=_reshape_batch,
        doc="The same elements in C order under another shape.",
    )
)
register(
    Op(
        "update",
        "update",
        jvp=_update_jvp,
        vjp=_update_vjp,
        batch=_update_batch,
        doc="The base with the elements under an affine view replaced.",
    )
)
