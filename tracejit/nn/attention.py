"""Attention and the transformer's block."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracejit.nn import functional
from tracejit.nn.layers import Dropout, Linear
from tracejit.nn.module import Module
from tracejit.nn.normalization import LayerNorm
from tracejit.nn.positions import positions


class MultiHeadAttention(Module):
    """Several attentions side by side, each over its share of the features (Vaswani et al., 2017).

    features: of queries, keys, values and results; a multiple of `heads`.  causal: a place sees none after it.

    >>> import numpy as np
    >>> from tracejit import nn
    >>> nn.MultiHeadAttention(8, 2)(np.zeros((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    def __init__(self, features: int, heads: int, causal: bool = False, dtype: Any = np.float32) -> None:
        super().__init__()
        if features % heads:
            raise ValueError(f"{features} features cannot be shared out among {heads} heads evenly")
        self.features, self.heads, self.causal = features, heads, causal
        self.query, self.key, self.value, self.result = (Linear(features, features, dtype=dtype) for _ in range(4))

    def forward(self, x: Any, context: Any = None, mask: Any = None) -> Any:
        """Attention of x to itself, or to `context`; both are (batch, places, features).

        mask: booleans that broadcast to (batch, heads, places of x, places of context); False hides a place.
        """
        source = x if context is None else context
        query, key, value = self._split(self.query(x)), self._split(self.key(source)), self._split(self.value(source))
        if self.causal:
            seen = positions(x.shape[1])[:, None] >= positions(source.shape[1])[None, :]
            mask = seen if mask is None else seen & mask
        found = np.swapaxes(functional.attention(query, key, value, mask), 1, 2)
        return self.result(found.reshape(x.shape))

    def _split(self, x: Any) -> Any:
        """(batch, heads, places, features of a head)."""
        return np.swapaxes(x.reshape(x.shape[0], x.shape[1], self.heads, self.features // self.heads), 1, 2)

    def extra(self) -> str:
        return f"{self.features}, heads={self.heads}"


class TransformerBlock(Module):
    """x + attention(norm(x)), then x + MLP(norm(x)): the block with the norms first (Xiong et al., 2020)."""

    def __init__(
        self,
        features: int,
        heads: int,
        hidden: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        wide = hidden or 4 * features
        self.first_norm, self.second_norm = LayerNorm(features, dtype=dtype), LayerNorm(features, dtype=dtype)
        self.attention = MultiHeadAttention(features, heads, causal, dtype)
        self.wide, self.narrow = (
            Linear(features, wide, activation="gelu", dtype=dtype),
            Linear(wide, features, dtype=dtype),
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Any, mask: Any = None) -> Any:
        x = x + self.dropout(self.attention(self.first_norm(x), mask=mask))
        return x + self.dropout(self.narrow(self.wide(self.second_norm(x))))
