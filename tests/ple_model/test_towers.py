import pytest
import torch

from ple_model.tasks import TASKS
from ple_model.towers import TaskTowers, predict
from tests.fakes import reference_config

TASKS_16 = reference_config().tasks


def towers() -> TaskTowers:
    torch.manual_seed(0)
    return TaskTowers(TASKS_16, 32, [64, 32], 0.2).eval()


def test_stacked_towers_have_the_parameters_of_sixteen_separate_ones() -> None:
    one = sum(a * b + b + 2 * b for a, b in ((32, 64), (64, 32)))
    expected = sum(one + 32 * t.out_dim + t.out_dim for t in TASKS_16.values())
    assert sum(p.numel() for p in towers().parameters()) == expected == 76_909


def test_a_subset_of_towers_gives_what_all_of_them_give() -> None:
    t, x = towers(), torch.randn(16, 5, 32)
    every = t(x, list(TASKS_16))
    index = torch.tensor([9, 2, 14])
    names = [list(TASKS_16)[i] for i in index]
    for name, out in t(x[index], names, index).items():
        torch.testing.assert_close(out, every[name])


def test_a_tower_sees_only_its_own_input() -> None:
    t = towers()
    x = torch.randn(16, 3, 32, requires_grad=True)
    t(x, list(TASKS_16))["timing"].sum().backward()
    touched = x.grad.abs().sum((1, 2)) > 0
    assert [n for n, hit in zip(TASKS_16, touched.tolist(), strict=True) if hit] == ["timing"]


def test_dropout_acts_in_training_only() -> None:
    t, x = towers(), torch.randn(16, 8, 32)
    assert torch.equal(t(x, list(TASKS_16))["ctr"], t(x, list(TASKS_16))["ctr"])
    t.train()
    assert not torch.equal(t(x, list(TASKS_16))["ctr"], t(x, list(TASKS_16))["ctr"])


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.parametrize("n", [1, 4])
def test_predictions_have_the_shape_and_range_of_their_kind(name: str, n: int) -> None:
    spec = TASKS[name]
    p = predict(spec, 3 * torch.randn(n, spec.out_dim).half())
    assert p.dtype == torch.float32
    assert p.shape == ((n,) if spec.out_dim == 1 else (n, spec.out_dim))
    if spec.kind == "binary":
        assert ((p > 0) & (p < 1)).all()
    if spec.kind == "multiclass":
        torch.testing.assert_close(p.sum(1), torch.ones(n))
    if spec.kind == "contrastive":
        torch.testing.assert_close(p.norm(dim=1), torch.ones(n))
