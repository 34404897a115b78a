"""PersLay over packed points against a naive loop over padded diagrams."""

from __future__ import annotations

import copy
import math

import torch

from ple_model.layers.persistence import PersLayer, pack
from tests.factories import diagrams


def naive(layer: PersLayer, points: torch.Tensor, mask: torch.Tensor, homology: int) -> torch.Tensor:
    """The published formulas point by point in Python floats."""
    layer = copy.deepcopy(layer).requires_grad_(False)
    rows = []
    power = math.log1p(math.exp(float(layer.raw_power)))
    for i in range(points.shape[0]):
        total = [0.0] * layer.width
        for j in range(points.shape[1]):
            birth, death, index = (float(v) for v in points[i, j])
            if not mask[i, j] or index != homology:
                continue
            p = death - birth
            w = math.exp(float(layer.log_gain)) * max(p, 1e-6) ** power
            q = layer.functions
            for k in range(q):
                sx, sy = (math.log1p(math.exp(float(v))) + 1e-3 for v in layer.raw_width[k])
                cx, cy = (float(v) for v in layer.centres[k])
                total[k] += w * math.exp(-0.5 * (((birth - cx) / sx) ** 2 + ((p - cy) / sy) ** 2))
                middle = (birth + death) / 2
                total[q + k] += w * max(0.0, p / 2 - abs(float(layer.tents[k]) - middle))
                a, b = (float(v) for v in layer.lines.weight[k])
                total[2 * q + k] += w * math.tanh(a * birth + b * p + float(layer.lines.bias[k]))
            total[3 * q] += 1
            total[3 * q + 1] += p
        rows.append([math.copysign(math.log1p(abs(v)), v) for v in total])
    return torch.tensor(rows, dtype=torch.float64)


def pooled(layer: PersLayer, points: torch.Tensor, mask: torch.Tensor, homology: int) -> torch.Tensor:
    own = list(pack(points, mask, 3).by_homology())[homology]
    return layer(*own, len(points))


def test_packed_layer_agrees_with_the_naive_loop_for_each_homology_index() -> None:
    torch.manual_seed(0)
    points, mask = diagrams(torch.Generator().manual_seed(1), 5, 20, 3)
    layer = PersLayer(4).double()
    for homology in range(3):
        wanted = naive(layer, points, mask, homology)
        torch.testing.assert_close(pooled(layer, points.double(), mask, homology), wanted)


def test_order_of_points_and_padding_do_not_matter() -> None:
    torch.manual_seed(0)
    points, mask = diagrams(torch.Generator().manual_seed(1), 5, 20, 3)
    layer = PersLayer(4)
    order = torch.randperm(20)
    before = pooled(layer, points, mask, 1)
    torch.testing.assert_close(pooled(layer, points[:, order], mask[:, order], 1), before)
    wide = torch.cat([points, torch.full((5, 30, 3), 7.0)], dim=1)
    torch.testing.assert_close(pooled(layer, wide, torch.cat([mask, torch.zeros(5, 30, dtype=torch.bool)], dim=1), 1), before)


def test_bad_points_are_counted_and_left_out() -> None:
    points = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.5, 0.0], [0.0, torch.inf, 1.0], [0.0, 1.0, 5.0], [9.0, 1.0, 0.0]]])
    mask = torch.tensor([[True, True, True, True, False]])
    packed = pack(points, mask, 3)
    assert (packed.bad.tolist(), packed.valid.tolist(), packed.sizes) == ([3], [1], (1, 0, 0))
    assert packed.birth.tolist() == [0.0]
    assert packed.death.tolist() == [1.0]


def test_a_diagram_without_points_is_zero() -> None:
    points, mask = torch.zeros(3, 10, 3), torch.zeros(3, 10, dtype=torch.bool)
    out = pooled(PersLayer(4), points, mask, 0)
    assert out.shape == (3, 14)
    assert (out == 0).all()


def test_a_point_on_the_diagonal_weighs_nothing() -> None:
    layer = PersLayer(4)
    assert layer.weight(torch.tensor([0.0])).abs().max() < 1e-5
    assert layer.weight(torch.tensor([2.0])) > layer.weight(torch.tensor([1.0]))
