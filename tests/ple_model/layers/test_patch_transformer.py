"""Patches, padding and causality of the patch Transformer."""

from __future__ import annotations

import torch

from ple_model.layers.patch_transformer import PatchLayer, PatchTransformer


def test_thirty_tokens_for_180_days_and_an_odd_length_is_padded_at_its_oldest_end() -> None:
    assert PatchTransformer(16, 180, 6, 8, 2, 1)(torch.randn(2, 180, 16)).shape == (2, 30, 8)
    model = PatchTransformer(3, 10, 6, 8, 2, 1)
    x = torch.randn(2, 10, 3)
    assert model(x).shape == (2, 2, 8)
    newest = x.clone()
    newest[:, 4:] += 1.0  # the second patch holds steps 4 to 9
    torch.testing.assert_close(model(x)[:, 0], model(newest)[:, 0])
    assert not torch.allclose(model(x)[:, 1], model(newest)[:, 1])


def test_attention_agrees_with_the_formula() -> None:
    torch.manual_seed(0)
    layer = PatchLayer(8, 2, 4).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    q, k, v = layer.qkv(layer.norm_attention(x)).chunk(3, dim=2)
    heard = torch.zeros_like(x)
    for head in (slice(0, 4), slice(4, 8)):
        for t in range(5):
            scores = (q[:, t, None, head] * k[:, : t + 1, head]).sum(dim=2) / 2.0
            heard[:, t, head] = (torch.softmax(scores, dim=1)[..., None] * v[:, : t + 1, head]).sum(dim=1)
    mixed = x + layer.mix(heard)
    torch.testing.assert_close(layer(x), mixed + layer.feed(layer.norm_feed(mixed)))
