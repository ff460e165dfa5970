"""Small transformers: hand-written, torch's own, a mixture of experts. Rows are tables whose columns are the tokens."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from pruneguard.pruning import parts, surgery
from pruneguard.pruning.group import Group
from pruneguard.pruning.surgery import Chosen
from pruneguard.workload import Floats
from tests.pruning.networks import CLASSES, seeded

TOKENS: Floats = np.random.default_rng(3).random((5, 6), dtype=np.float32)
"""Five rows of six tokens; the last tokens of some rows are 0, which is what padding is."""
TOKENS[1, 4:] = TOKENS[3, 2:] = 0
WIDTH = 16


class Attention(nn.Module):
    """Four heads, apart from each other in the rows of q, k, v and the columns of out."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.width = heads, WIDTH // heads
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (each(x).unflatten(-1, (self.heads, self.width)).transpose(1, 2) for each in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FusedAttention(nn.Module):
    """One layer for queries, keys and values without biases, an inner width, a temperature for each head, a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.inner_dim = 3, 12
        self.to_qkv = nn.Linear(WIDTH, 3 * self.inner_dim, bias=False)
        self.temperature = nn.Parameter(torch.rand(self.num_heads, 1, 1) + 1)
        self.to_out = nn.Sequential(nn.Linear(self.inner_dim, WIDTH), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        b, t, _ = x.shape
        q, k, v = self.to_qkv(x).reshape(b, t, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / self.temperature).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).reshape(b, t, self.inner_dim)), weights


class SharedKeys(nn.Module):
    """Grouped-query attention: four heads, two keys."""

    def __init__(self) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = 4, 2, 4
        self.wq, self.wo = nn.Linear(WIDTH, 16, bias=False), nn.Linear(16, WIDTH, bias=False)
        self.wk, self.wv = nn.Linear(WIDTH, 8, bias=False), nn.Linear(WIDTH, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, _ = x.shape
        q = self.wq(x).view(b, t, self.n_heads, self.head_dim).transpose(1, 2)
        k, v = (w(x).view(b, t, self.n_kv_heads, self.head_dim).transpose(1, 2) for w in (self.wk, self.wv))
        heads = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.wo(heads.transpose(1, 2).reshape(b, t, -1))


class SelfAttention(nn.Module):
    """As in BERT: its output projection stands beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.num_attention_heads, self.attention_head_size, self.all_head_size = 4, 4, 16
        self.query, self.key, self.value = (nn.Linear(WIDTH, 16) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        def heads(y: torch.Tensor) -> torch.Tensor:
            return y.view(*y.shape[:-1], self.num_attention_heads, self.attention_head_size).permute(0, 2, 1, 3)

        said = F.scaled_dot_product_attention(heads(self.query(x)), heads(self.key(x)), heads(self.value(x)))
        return (said.permute(0, 2, 1, 3).reshape(*x.shape[:-1], self.all_head_size),)


class SelfOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(16, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, said: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.dense(said) + x)


class Bert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self = SelfAttention()
        self.output = SelfOutput()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output(self.self(x)[0], x)


class Layer(nn.Module):
    """A transformer layer around any attention and any feed-forward network."""

    def __init__(self, attention: nn.Module, feed: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.feed = attention, feed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        said = self.attention(self.norm1(x))
        x = x + (said[0] if isinstance(said, tuple) else said)
        return x + self.feed(self.norm2(x))


class Mixture(nn.Module):
    """Four experts, two of which answer for each token."""

    def __init__(self, top_k: int = 2) -> None:
        super().__init__()
        self.num_experts, self.top_k = 4, top_k
        self.experts = nn.ModuleList(feed() for _ in range(self.num_experts))
        self.router = nn.Linear(WIDTH, self.num_experts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(self.top_k, dim=-1)
        share = (F.one_hot(chosen, self.num_experts) * weights.unsqueeze(-1)).sum(-2)
        share = share / share.sum(-1, keepdim=True)
        answers = torch.stack([expert(x) for expert in self.experts], -1)
        return (answers * share.unsqueeze(-2)).sum(-1)


class Classifier(nn.Module):
    """Tokens through any layers to a class."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Linear(1, WIDTH)
        self.place = nn.Parameter(torch.randn(TOKENS.shape[1], WIDTH))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.unsqueeze(2)) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.last(x.mean(1))


class Encoder(nn.Module):
    """nn.TransformerEncoder, which is told what is padding; the class is read off the first token."""

    def __init__(self, *, padded: bool = True, batch_first: bool = True, norm_first: bool = False) -> None:
        super().__init__()
        self.padded, self.batch_first = padded, batch_first
        self.embed = nn.Linear(1, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, dim_feedforward=32, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=batch_first and not norm_first)
        self.last = nn.Linear(WIDTH, CLASSES)
        for parameter in self.encoder.parameters():  # its layers begin as copies of one
            nn.init.normal_(parameter, std=0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = x == 0 if self.padded else None
        x = self.embed(x.unsqueeze(2))
        if self.batch_first:
            return self.last(self.encoder(x, src_key_padding_mask=padding)[:, 0])
        return self.last(self.encoder(x.transpose(0, 1), src_key_padding_mask=padding)[0])


class Decoder(nn.Module):
    """nn.TransformerDecoder, causal, over the memory of an encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, WIDTH)
        self.encoder = nn.TransformerEncoderLayer(WIDTH, 4, dim_feedforward=16, batch_first=True)
        layer = nn.TransformerDecoderLayer(WIDTH, 4, dim_feedforward=16, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.last = nn.Linear(WIDTH, CLASSES)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(TOKENS.shape[1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x.unsqueeze(2))
        return self.last(self.decoder(x, self.encoder(x), tgt_mask=self.mask, tgt_is_causal=True)[:, -1])


def feed() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Linear(24, WIDTH))


def written(*attentions: type[nn.Module]) -> nn.Module:
    """A hand-written encoder, one layer for each attention given (two with `Attention` if none is)."""
    return seeded(lambda: Classifier(*(Layer(kind(), feed()) for kind in attentions or (Attention, Attention))))


def encoder(**options: bool) -> nn.Module:
    return seeded(lambda: Encoder(**options))


def decoder() -> nn.Module:
    return seeded(Decoder)


def mixture() -> nn.Module:
    """A transformer with a mixture of experts in each of its two layers."""
    return seeded(lambda: Classifier(*(Layer(Attention(), Mixture()) for _ in range(2))))


def without(model: nn.Module, groups: Sequence[Group], chosen: Chosen) -> nn.Module:
    """The network cut by the knife, in the mode of `model`, which is left alone."""
    kept = surgery.consequence(model, groups, chosen)
    return parts.cut(model, removed=surgery.removal(groups, chosen), kept=kept)[0]


def answer(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.from_numpy(TOKENS))


def unlike(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference of two answers."""
    assert found.shape == expected.shape
    return float((found - expected).detach().abs().max())


EVERY = {
    "written": written,
    "fused": lambda: written(FusedAttention, FusedAttention),
    "shared keys": lambda: written(SharedKeys, SharedKeys),
    "bert": lambda: written(Bert, Bert),
    "mixture": mixture,
    "decoder": decoder,
} | {
    f"encoder, padded={padded}, batch_first={first}, norm_first={norm}": (
        lambda padded=padded, first=first, norm=norm: encoder(padded=padded, batch_first=first, norm_first=norm)
    )
    for padded, first, norm in itertools.product((True, False), repeat=3)
}
"""Name -> a network of its kind, each time a fresh one with the same weights."""
