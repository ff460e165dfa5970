"""nn.MultiheadAttention with fewer heads than its width has room for."""

import torch
from torch import nn
from torch.nn import functional as F


class PrunedAttention(nn.Module):
    """Answers as nn.MultiheadAttention does, and keeps its parameters under their names, for any number of heads.

    nn.MultiheadAttention itself has always as many heads as fit in its width. An `attn_mask` of three dimensions is
    [batch * heads, queries, keys] with the heads that are left. `out_proj` is called on [batch, queries, heads * width
    of a head], head after head, so hooks on it see what each head says.
    """

    def __init__(self, whole: nn.MultiheadAttention) -> None:
        """Takes the parameters of `whole` over; not one with kdim, vdim, bias_k or add_zero_attn."""
        super().__init__()
        self.in_proj_bias: nn.Parameter | None
        self.out_proj: nn.Linear
        self.embed_dim, self.num_heads, self.head_dim = whole.embed_dim, whole.num_heads, whole.head_dim
        self.dropout, self.batch_first = whole.dropout, whole.batch_first
        self.in_proj_weight: nn.Parameter = whole.in_proj_weight
        self.register_parameter("in_proj_bias", whole.in_proj_bias)
        self.out_proj = whole.out_proj
        self.training = whole.training
        self._qkv_same_embed_dim = False  # so nn.TransformerEncoderLayer calls forward() in eval mode, too

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The answer, and the weights [batch, queries, keys] (of each head if not averaged) if they are needed."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint about attn_mask; give the mask as well")
        q, k, v = self._projected(query, key, value)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            mask = _mask(q, attn_mask, key_padding_mask)
            scores = q * self.head_dim**-0.5 @ k.transpose(-2, -1)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            heads = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            causal = is_causal and key_padding_mask is None
            mask = None if causal else _mask(q, attn_mask, key_padding_mask)
            heads = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal)
        answer = self.out_proj(heads.transpose(1, 2).flatten(2))
        if query.dim() == 2:
            return answer.squeeze(0), None if weights is None else weights.squeeze(0)
        return answer if self.batch_first else answer.transpose(0, 1), weights

    def _projected(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values, each [batch, heads, length, width of a head]."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is key and key is value:
            q, k, v = F.linear(query, weight, bias).chunk(3, dim=-1)
        else:
            biases = (None, None, None) if bias is None else bias.chunk(3)
            q, k, v = (F.linear(*each) for each in zip((query, key, value), weight.chunk(3), biases, strict=True))
        return self._apart(q), self._apart(k), self._apart(v)

    def _apart(self, projected: torch.Tensor) -> torch.Tensor:
        heads = torch.unflatten(projected, -1, (self.num_heads, self.head_dim))
        if heads.dim() == 3:
            return heads.transpose(0, 1).unsqueeze(0)
        return heads.transpose(1, 2) if self.batch_first else heads.permute(1, 2, 0, 3)


def _mask(q: torch.Tensor, attn_mask: torch.Tensor | None, padding: torch.Tensor | None) -> torch.Tensor | None:
    """What is added to the scores [batch, heads, queries, keys]: a shape that broadcasts to theirs."""
    mask = None
    if attn_mask is not None:
        mask = _added(attn_mask, q.dtype)
        if mask.dim() == 3:
            mask = torch.unflatten(mask, 0, q.shape[:2])
    if padding is not None:
        keys = torch.unflatten(_added(padding, q.dtype), -1, (1, 1, -1))
        mask = keys if mask is None else mask + keys
    return mask


def _added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if mask.dtype is not torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)
