"""The CfC layer against the published cell step by step, and elapsed time against a plain count."""

from __future__ import annotations

import torch

from ple_model.layers.liquid import CfC, elapsed_steps


def test_layer_agrees_with_the_cell_written_out() -> None:
    torch.manual_seed(0)
    n = 5
    layer = CfC(3, n).double()
    x = torch.randn(4, 11, 3, dtype=torch.float64)
    gap = 1 + 4 * torch.rand(4, 11, 1, dtype=torch.float64)
    w = torch.cat([layer.from_input.weight, layer.from_state.weight], dim=1)
    h = torch.zeros(4, n, dtype=torch.float64)
    wanted = []
    for t in range(11):
        joined = torch.cat([x[:, t], h], dim=1)
        g, k, a, b = (joined @ w[i * n : (i + 1) * n].T + layer.from_input.bias[i * n : (i + 1) * n] for i in range(4))
        clock = torch.sigmoid(a * gap[:, t] + b)
        h = torch.tanh(g) * (1 - clock) + clock * torch.tanh(k)
        wanted.append(h)
    torch.testing.assert_close(layer(x, gap), torch.stack(wanted, dim=1))


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    layer = CfC(2, 3).double()
    x = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    gap = (1 + torch.rand(2, 6, 1, dtype=torch.float64)).requires_grad_()
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda x, gap, *_: layer(x, gap), (x, gap, *parameters))


def test_layer_is_causal_and_its_states_stay_within_one() -> None:
    torch.manual_seed(0)
    layer = CfC(3, 5)
    x = 10 * torch.randn(2, 30, 3)
    gap = torch.ones(2, 30, 1)
    later = x.clone()
    later[:, 20:] += 1.0
    a, b = layer(x, gap), layer(later, gap)
    torch.testing.assert_close(a[:, :20], b[:, :20])
    assert not torch.allclose(a[:, 20:], b[:, 20:])
    assert a.abs().max() <= 1


def test_elapsed_counts_steps_since_the_last_event() -> None:
    x = torch.zeros(2, 8, 3)
    x[0, [1, 4, 5], 0] = 1.0
    want = [[1, 2, 1, 2, 3, 1, 1, 2], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert elapsed_steps(x)[:, :, 0].tolist() == want
    assert elapsed_steps(x, limit=4)[1, :, 0].max() == 4
