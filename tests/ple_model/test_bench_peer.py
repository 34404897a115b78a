"""The stacked form computes what a library computes that goes expert by expert and task by task. The library itself is not
installed here: its layers stand in, written out as its documentation describes them."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ple_model.bench import peer
from ple_model.bench.measure import Settings
from ple_model.errors import UserError


class Mlp(nn.Module):
    """Linear, batch norm, activation, dropout; of a tower one linear layer more."""

    def __init__(self, d_in: int, d_out: int, activation: nn.Module, *last: nn.Module) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(d_in, d_out), nn.BatchNorm1d(d_out), activation, nn.Dropout(0.0), *last)
        nn.init.uniform_(self.mlp[1].weight, 0.5, 1.5)
        nn.init.normal_(self.mlp[1].bias)


class OneByOne(nn.Module):
    """An MMOE (`own` = 0) or a PLE of one level with an expert of each task."""

    def __init__(self, own: int) -> None:
        super().__init__()
        experts = peer.EXPERTS + own
        self.specific = nn.ModuleList(Mlp(peer.INPUTS, peer.WIDTH, nn.ReLU()) for _ in range(own * peer.TASK_COUNT))
        self.shared = nn.ModuleList(Mlp(peer.INPUTS, peer.WIDTH, nn.ReLU()) for _ in range(peer.EXPERTS))
        self.gates = nn.ModuleList(Mlp(peer.INPUTS, experts, nn.Softmax(dim=1)) for _ in range(peer.TASK_COUNT))
        self.towers = nn.ModuleList(
            Mlp(peer.WIDTH, peer.TOWER, nn.ReLU(), nn.Linear(peer.TOWER, 1)) for _ in range(peer.TASK_COUNT)
        )

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        x = given["x"]
        common = [e.mlp(x) for e in self.shared]
        said = []
        for gate, tower, specific in zip(self.gates, self.towers, self.specific or repeat(None), strict=False):
            mine = [specific.mlp(x), *common] if specific is not None else common
            mixed = (gate.mlp(x)[:, :, None] * torch.stack(mine, dim=1)).sum(dim=1)
            said.append(torch.sigmoid(tower.mlp(mixed)))
        return torch.cat(said, dim=1)


@pytest.mark.parametrize("own", [0, 1])
def test_stacked_is_the_same_as_one_by_one(own: int) -> None:
    torch.manual_seed(0)
    theirs = OneByOne(own)
    ours = peer.Stacked(theirs.specific, theirs.shared, theirs.gates, theirs.towers)
    assert peer.check(theirs, ours, torch.randn(64, peer.INPUTS)) < peer.TOLERANCE
    with torch.no_grad():
        ours.hidden_weight[3] += 0.1
    with pytest.raises(AssertionError, match="differs by"):
        peer.check(theirs, ours, torch.randn(64, peer.INPUTS))


def test_our_modules_learn_every_task() -> None:
    torch.manual_seed(0)
    ours = peer.Ours()
    x, y = torch.randn(256, peer.INPUTS), (torch.rand(256, peer.TASK_COUNT) < 0.2).float()
    optimizer = torch.optim.Adam(ours.parameters(), 1e-2)
    before = torch.nn.functional.binary_cross_entropy_with_logits(ours(x), y, reduction="none").mean(dim=0)
    for _ in range(20):
        peer.step(ours, ours, x, y, optimizer, half=False)
    after = torch.nn.functional.binary_cross_entropy_with_logits(ours(x), y, reduction="none").mean(dim=0)
    assert (after < before).all()


def test_without_the_library_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(peer.PEER, str(tmp_path))
    with pytest.raises(UserError, match=r"PLE_PEER: '.*' is no folder with torch_rechub; `pip install --no-deps"):
        peer.mmoe(Settings(quick=True))
