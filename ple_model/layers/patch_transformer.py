"""Transformer encoder over patches of consecutive steps (PatchTST: Nie et al., ICLR 2023), 6 days a token instead of one.

Attention is causal over patches, so that a token's state depends on what came before its end only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PatchLayer(nn.Module):
    """Pre-norm attention and feed-forward, both residual."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        heard = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(heard.transpose(1, 2).flatten(2))
        out: Tensor = x + self.feed(self.norm_feed(x))
        return out


class PatchTransformer(nn.Module):
    """Patches -> linear embedding with learned positions -> layers."""

    def __init__(self, inputs: int, length: int, patch: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.patch = patch
        tokens = -(-length // patch)
        self.pad = tokens * patch - length
        self.embed = nn.Linear(inputs * patch, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.layers = nn.ModuleList(PatchLayer(width, heads, 4) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, F] -> [B, tokens, width]; the oldest patch is padded with zeros where the length is no multiple."""
        x = functional.pad(x, (0, 0, self.pad, 0)) if self.pad else x
        h = self.embed(x.reshape(x.shape[0], -1, self.patch * x.shape[2])) + self.position
        for layer in self.layers:
            h = layer(h)
        out: Tensor = self.norm(h)
        return out
