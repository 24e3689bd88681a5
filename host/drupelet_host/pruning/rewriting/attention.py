"""Attention whose inner width is its own, where other attention fixes it to the width around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

_MASK_RANK = 3


class HeadedAttention(nn.Module):
    """Attention of several heads (Vaswani et al., "Attention Is All You Need", 2017); pruning narrows every head.

    Args:
        query: From the width outside to the inner width, as are `key` and `value`.
        key: The same for keys.
        value: The same for values.
        out: From the inner width to the width outside.
        heads: How many heads share the inner width.
        scale: What products of queries and keys are multiplied with; it stays when heads get narrower.
        origins: What the layer was called that each of the four came from; "" where it was no layer of its own.
    """

    def __init__(
        self,
        *,
        query: nn.Linear,
        key: nn.Linear,
        value: nn.Linear,
        out: nn.Linear,
        heads: int,
        scale: float,
        origins: Mapping[str, str],
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = query, key, value, out
        self.num_heads, self.scale, self.origins = heads, scale, dict(origins)

    def scores(self, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Return the attention weights of every head, of shape (batch, heads, queries, keys).

        Args:
            query: The queries.
            key: The keys.
            mask: What is added to the products, or None.
        """
        products = self._split(self.query(query)) * self.scale @ self._split(self.key(key)).transpose(-2, -1)
        return (products if mask is None else products + mask).softmax(dim=-1)

    def mix(self, weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Return the weighted values of all heads, joined, of shape (batch, queries, width)."""
        mixed: torch.Tensor = self.out((weights @ self._split(self.value(value))).transpose(1, 2).flatten(2))
        return mixed

    def _split(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.reshape(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)


class SelfAttention(HeadedAttention):
    """Attention of one tensor to itself, of shape (batch, tokens, width)."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the tokens attend to."""
        return self.mix(self.scores(tokens, tokens, None), tokens)


class MultiheadAttention(HeadedAttention):
    """Attention with the interface of `nn.MultiheadAttention`, without its extra biases, zeros and dropout.

    Args:
        original: The layer to copy the weights from.
    """

    in_proj_bias = None
    # What a transformer layer of torch looks at: together they keep it from reading the weights past `forward`.
    _qkv_same_embed_dim = False

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__(
            query=_projection(original, "q", 0),
            key=_projection(original, "k", 1),
            value=_projection(original, "v", 2),
            out=original.out_proj,
            heads=original.num_heads,
            scale=original.head_dim**-0.5,
            origins={"query": "", "key": "", "value": "", "out": "out_proj"},
        )
        self.batch_first = original.batch_first

    def forward(  # noqa: PLR0917 - torch's signature
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,  # noqa: FBT001, FBT002 - torch's signature
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: FBT001, FBT002 - as above
        is_causal: bool = False,  # noqa: FBT001, FBT002, ARG002 - torch asks for the mask beside it
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend. Arguments and results are those of `nn.MultiheadAttention`, for batches."""
        if not self.batch_first:
            query, key, value = (tokens.transpose(0, 1) for tokens in (query, key, value))
        mask = _joined_mask(attn_mask, key_padding_mask, batch=len(query), heads=self.num_heads)
        weights = self.scores(query, key, mask)
        mixed = self.mix(weights, value)
        answer = mixed if self.batch_first else mixed.transpose(0, 1)
        if not need_weights:
            return answer, None
        return answer, weights.mean(dim=1) if average_attn_weights else weights


def rows_of(
    weight: torch.Tensor, bias: torch.Tensor | None, rows: Sequence[int], bias_rows: Sequence[int]
) -> nn.Linear:
    """Make a linear layer of some rows of a weight and a bias, with their gradients.

    Args:
        weight: The weight.
        bias: The bias, or None.
        rows: The rows of the weight.
        bias_rows: The rows of the bias.

    Returns:
        The layer.
    """
    layer = nn.Linear(weight.shape[1], len(rows), bias=bias is not None)
    layer.weight = _chosen(weight, rows)
    if bias is not None:
        layer.bias = _chosen(bias, bias_rows)
    return layer


def _chosen(parameter: torch.Tensor, rows: Sequence[int]) -> nn.Parameter:
    index = torch.tensor(rows)
    chosen = nn.Parameter(parameter.detach()[index].clone(), requires_grad=parameter.requires_grad)
    chosen.grad = None if parameter.grad is None else parameter.grad[index].clone()
    return chosen


def _projection(module: nn.MultiheadAttention, letter: str, place: int) -> nn.Linear:
    rows = range(place * module.embed_dim, (place + 1) * module.embed_dim)
    if module.in_proj_weight is not None:
        return rows_of(module.in_proj_weight, module.in_proj_bias, rows, rows)
    weight = getattr(module, f"{letter}_proj_weight")
    return rows_of(weight, module.in_proj_bias, range(module.embed_dim), rows)


def _joined_mask(
    mask: torch.Tensor | None, padding: torch.Tensor | None, *, batch: int, heads: int
) -> torch.Tensor | None:
    joined = None
    if mask is not None:
        joined = _additive(mask)
        if mask.ndim == _MASK_RANK:
            joined = joined.view(batch, heads, *mask.shape[1:])
    if padding is not None:
        padded = _additive(padding)[:, None, None, :]
        joined = padded if joined is None else joined + padded
    return joined


def _additive(mask: torch.Tensor) -> torch.Tensor:
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros(mask.shape).masked_fill(mask, float("-inf"))
