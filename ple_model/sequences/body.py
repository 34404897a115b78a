"""What mixes the tokens of a series: pre-norm attention, the Mamba-2 block or the closed-form liquid cell.

The attention is our own: `nn.TransformerEncoderLayer` takes a fast path in eval mode that passes by whatever stands in for its
linear layers (an adapter), and gives no maps. A token that is not seen is heard by none but itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from ple_model.layers.liquid import CfC, running_max
from ple_model.layers.precision import full_precision, widen
from ple_model.layers.selective_scan import Mamba2Block
from ple_model.sequences.config import EncoderConfig


class AttentionBlock(nn.Module):
    """Pre-norm attention and feed-forward, both residual; projections are linear layers of their own, for adapters."""

    def __init__(self, width: int, heads: int, feed: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm_attention = nn.LayerNorm(width)
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.mix = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed_in, self.feed_out = nn.Linear(width, feed * width), nn.Linear(feed * width, width)
        self.dropout = nn.Dropout(dropout)

    def heard(self, seen: Tensor) -> Tensor:
        """[N, 1, P, P] bool: which token hears which; each at least itself, so that no row is empty."""
        own = torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)
        open_ = seen[:, None, None, :]
        if self.causal:
            open_ = open_ & torch.ones_like(own).tril()
        return open_ | own

    def forward(self, x: Tensor, seen: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [N, P, D], seen [N, P] -> (x, attention [N, H, P, P] where `maps` asks for it)."""
        h = self.norm_attention(x)
        q, k, v = (f(h).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        open_ = self.heard(seen)
        weights: Tensor | None = None
        if maps:
            scores = (q @ k.transpose(2, 3)) / q.shape[3] ** 0.5
            weights = torch.softmax(scores.masked_fill(~open_, float("-inf")), dim=3)
            mixed = weights @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=open_)
        x = x + self.dropout(self.mix(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_out(functional.gelu(self.feed_in(self.norm_feed(x))))), weights


class LiquidBlock(nn.Module):
    """Pre-norm residual CfC; the time between tokens is the number of places since the last one that was seen."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cell = CfC(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """x [N, P, D], seen [N, P] -> [N, P, D]; a token depends on those up to it."""
        places = torch.arange(1, x.shape[1] + 1, device=x.device)
        last = running_max(torch.where(seen, places, 0))
        before = functional.pad(last, (1, 0))[:, :-1]
        with full_precision(x):
            states = self.cell(widen(self.norm(x)), (places - before)[..., None].to(widen(x).dtype))
        out: Tensor = x + self.out(states.to(x.dtype))
        return out


class Body(nn.Module, ABC):
    @abstractmethod
    def forward(self, x: Tensor, seen: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [N, P, D], seen [N, P] bool -> (x, attention [N, layers, H, P, P] or None)."""


class AttentionBody(Body):
    def __init__(self, c: EncoderConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AttentionBlock(c.width, c.heads, c.feed, c.dropout, c.causal) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)

    def forward(self, x: Tensor, seen: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        found: list[Tensor] = []
        for block in self.blocks:
            x, weights = block(x, seen, maps)
            if weights is not None:
                found.append(weights)
        return self.norm(x), torch.stack(found, dim=1) if found else None


class ScanBody(Body):
    """Mamba-2 or liquid blocks, which hear earlier tokens alone; one that is not seen is passed on as the mark of such."""

    def __init__(self, c: EncoderConfig, tokens: int) -> None:
        super().__init__()
        chunk = min(20, tokens)
        self.blocks = nn.ModuleList(
            Mamba2Block(c.width, c.state, c.heads, 4, chunk) if c.body == "mamba" else LiquidBlock(c.width)
            for _ in range(c.layers)
        )
        self.norm = nn.LayerNorm(c.width)

    def forward(self, x: Tensor, seen: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        for block in self.blocks:
            x = block(x, seen) if isinstance(block, LiquidBlock) else block(x)
        return self.norm(x), None


def make_body(config: EncoderConfig, tokens: int) -> Body:
    return AttentionBody(config) if config.body == "transformer" else ScanBody(config, tokens)
