"""DeepFM's second order against the double loop over pairs."""

from __future__ import annotations

import torch

from ple_model.experts.deepfm import fm_second_order


def test_square_of_sum_agrees_with_the_double_loop_over_pairs() -> None:
    x, v = torch.randn(3, 12, dtype=torch.float64), torch.randn(12, 4, dtype=torch.float64)
    wanted = torch.zeros(3, 4, dtype=torch.float64)
    for row in range(3):
        for i in range(12):
            for j in range(i + 1, 12):
                wanted[row] += v[i] * v[j] * x[row, i] * x[row, j]
    torch.testing.assert_close(fm_second_order(x, v), wanted)
    torch.testing.assert_close(fm_second_order(x.float(), v.float()).double(), wanted, rtol=1e-4, atol=1e-4)


def test_a_single_column_has_no_second_order() -> None:
    x = torch.zeros(1, 12)
    x[0, 5] = 3.0
    assert fm_second_order(x, torch.randn(12, 4)).abs().max() < 1e-5
