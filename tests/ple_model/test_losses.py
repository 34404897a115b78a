import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch.nn import functional as F

from ple_model.context import LabelScaler
from ple_model.losses import BrandTable, LossWeighting, focal, huber, label_mask, masked_mean, mse, nll, standardise, task_loss
from ple_model.tasks import TASKS
from tests.fakes import reference_config

RNG = np.random.default_rng(0)


def focal_loop(p: np.ndarray, y: np.ndarray, alpha: float, gamma: float) -> list[float]:
    """Lin et al. 2017, eq. 5, one number at a time in double precision."""
    out = []
    for pi, yi in zip(p.tolist(), y.tolist(), strict=True):
        pt, at = (pi, alpha) if yi == 1 else (1 - pi, 1 - alpha)
        out.append(-at * (1 - pt) ** gamma * math.log(pt))
    return out


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 2.0), (0.2, 0.0), (0.5, 3.5)])
def test_focal_equals_the_formula_in_double_precision(alpha: float, gamma: float) -> None:
    p, y = RNG.uniform(0.01, 0.99, 200), RNG.integers(0, 2, 200)
    got = focal(torch.tensor(p, dtype=torch.float32), torch.tensor(y), alpha, gamma)
    assert got.tolist() == pytest.approx(focal_loop(p, y, alpha, gamma), rel=1e-4, abs=1e-7)


def test_focal_of_the_reference_s_worked_example() -> None:
    """p_t = 0.9: CE 0.105, focal 0.00105; p_t = 0.1: CE 2.303, focal 1.865 (before alpha)."""
    got = focal(torch.tensor([0.9, 0.1]), torch.tensor([1, 1]), 0.5) / 0.5
    assert got.tolist() == pytest.approx([0.00105, 1.865], rel=5e-3)


def test_focal_without_focusing_is_half_the_log_loss() -> None:
    p, y = RNG.uniform(0.01, 0.99, 50), np.array([0, 1] * 25)
    got = focal(torch.tensor(p), torch.tensor(y), 0.5, 0.0).mean().item()
    assert got == pytest.approx(log_loss(y, p) / 2, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_focal_is_finite_at_certain_and_wrong_predictions(dtype: torch.dtype) -> None:
    logits = torch.tensor([-80.0, 80.0, 0.0], dtype=dtype).requires_grad_()
    spec = TASKS["ctr"]
    value, _ = task_loss(spec, torch.sigmoid(logits), logits[:, None], torch.tensor([1, 0, 1]), None, None, 2.0, 1.0)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_the_best_constant_of_a_focal_loss_is_no_probability() -> None:
    """At a 3.8% base rate and alpha 0.25 the optimum is near 0.17, which is why outputs are calibrated."""
    p = torch.linspace(0.001, 0.999, 999)
    loss = 0.038 * focal(p, torch.ones(999), 0.25) + 0.962 * focal(p, torch.zeros(999), 0.25)
    assert p[loss.argmin()].item() == pytest.approx(0.17, abs=0.02)


@given(st.floats(-5, 5, allow_subnormal=False), st.floats(-5, 5, allow_subnormal=False), st.floats(0.1, 3))
@settings(deadline=None)
def test_huber_is_quadratic_inside_and_linear_outside(a: float, b: float, delta: float) -> None:
    d = abs(a - b)
    expected = 0.5 * d * d if d <= delta else delta * (d - delta / 2)
    assert huber(torch.tensor(a), torch.tensor(b), delta).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_nll_equals_sklearn_s_log_loss_over_labelled_rows() -> None:
    logits, y = RNG.normal(size=(40, 6)), RNG.integers(0, 6, 40)
    y[:5] = -1
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    value, n = masked_mean(nll(torch.tensor(logits), torch.tensor(y)), torch.tensor(y) >= 0)
    assert n.item() == 35
    assert value.item() == pytest.approx(log_loss(y[5:], p[5:], labels=list(range(6))), rel=1e-5)


def test_mse_by_hand() -> None:
    assert mse(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])).tolist() == [4.0, 0.0]


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.kind != "contrastive"])
@settings(max_examples=15, deadline=None)
@given(gone=st.lists(st.booleans(), min_size=6, max_size=6))
def test_missing_labels_leave_the_mean_over_the_others(name: str, gone: list[bool]) -> None:
    spec, g = TASKS[name], torch.Generator().manual_seed(3)
    logits = torch.randn(6, spec.out_dim, generator=g, requires_grad=True)
    prediction = logits[:, 0] if spec.out_dim == 1 else logits
    if spec.kind == "regression":
        y = torch.randn(prediction.shape, generator=g)
    else:
        y = torch.randint(0, 2 if spec.kind == "binary" else spec.out_dim, (6,), generator=g)
    missing = float("nan") if spec.kind == "regression" else -1
    masked = y.clone()
    masked[gone] = missing
    keep = [i for i in range(6) if not gone[i]]
    scaler = LabelScaler(0.3, 2.0)
    value, n = task_loss(spec, prediction, logits, masked, None, scaler, 2.0, 1.0)
    assert n.item() == label_mask(spec, masked).sum().item()
    if keep:
        expected, _ = task_loss(spec, prediction[keep], logits[keep], y[keep], None, scaler, 2.0, 1.0)
        torch.testing.assert_close(value, expected)
    else:
        assert value.item() == 0.0
    value.backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[gone] == 0).all()


def test_regression_labels_are_standardised() -> None:
    assert standardise(torch.tensor([5.0, 1.0]), LabelScaler(3.0, 2.0)).tolist() == [1.0, -1.0]
    assert standardise(torch.tensor([5.0]), None).tolist() == [5.0]


def infonce_numpy(q: np.ndarray, keys: np.ndarray, y: np.ndarray, temperature: float) -> np.ndarray:
    keys = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    s = q @ keys.T / temperature
    return np.log(np.exp(s).sum(1)) - s[np.arange(len(y)), y]


def queries(n: int, dim: int) -> torch.Tensor:
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(5)), dim=1)


def test_infonce_over_all_brands_equals_numpy() -> None:
    torch.manual_seed(0)
    table, q, y = BrandTable(30, 16, (), 0.07, 2048), queries(20, 16), torch.arange(20)
    expected = infonce_numpy(q.double().numpy(), table.keys.detach().double().numpy(), y.numpy(), 0.07)
    assert table.loss(q, y).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_an_unseen_brand_has_no_loss() -> None:
    table = BrandTable(30, 16, (), 0.07, 2048)
    assert table.loss(queries(3, 16), torch.tensor([-1, 4, -1]))[[0, 2]].tolist() == [0.0, 0.0]


def test_sampled_infonce_with_log_q_correction_estimates_the_full_one() -> None:
    """Without the correction the loss is far off."""
    torch.manual_seed(0)
    counts = tuple(int(1000 / (i + 1)) for i in range(400))
    table = BrandTable(400, 16, counts, 0.2, 200).train()
    q, y = queries(64, 16), torch.randint(0, 400, (64,))
    full = nll(table.logits(q), y).mean().item()
    sampled = torch.stack([table.loss(q, y).mean() for _ in range(60)]).mean().item()
    assert sampled == pytest.approx(full, abs=0.1)
    table.log_q.fill_(0.0)
    wrong = (
        table.sampled_loss(q, y, torch.multinomial(torch.tensor(counts, dtype=torch.float), 200, replacement=True))
        .mean()
        .item()
    )
    assert abs(wrong - full) > 0.3


def test_evaluation_never_samples() -> None:
    torch.manual_seed(0)
    table = BrandTable(50, 8, (), 0.1, 10).eval()
    q, y = queries(4, 8), torch.tensor([0, 1, 2, -1])
    assert torch.equal(table.loss(q, y), nll(table.logits(q), y))


def weighting(strategy: str = "uncertainty") -> LossWeighting:
    tasks = {n: TASKS[n] for n in ("ctr", "cvr", "ltv")}
    return LossWeighting(tasks, {"ctr": 0.02, "cvr": 0.5}, strategy, 4.0)


def test_kendall_weighting_by_hand() -> None:
    w = weighting()
    with torch.no_grad():
        w.task_log_vars.copy_(torch.tensor([0.5, -1.0, 0.0]))
    terms = w(torch.tensor([0.01, 0.25, 2.0]), torch.tensor([5, 3, 0]), torch.tensor([1.0, 1.5, 2.0]))
    expected = [1.0 * (math.exp(-0.5) * 0.5 + 0.5), 1.5 * 1.5 * (math.exp(1.0) * 0.5 - 1.0), 0.0]
    assert terms.tolist() == pytest.approx(expected, rel=1e-6)


def test_a_task_without_labels_pushes_neither_its_loss_nor_its_s() -> None:
    w = weighting()
    w(torch.tensor([0.01, 0.25, 0.0]), torch.tensor([5, 3, 0]), torch.ones(3)).sum().backward()
    assert w.task_log_vars.grad[2] == 0
    assert (w.task_log_vars.grad[:2] != 0).all()


def test_the_optimum_of_s_is_the_log_of_the_loss_ratio() -> None:
    w = weighting()
    optimizer = torch.optim.SGD([w.task_log_vars], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        w(torch.tensor([0.01, 0.25, 3.0]), torch.ones(3), torch.ones(3)).sum().backward()
        optimizer.step()
    assert w.task_log_vars.tolist() == pytest.approx([math.log(0.5), math.log(0.5), math.log(3.0)], abs=1e-3)


def test_s_is_projected_and_can_come_back_from_the_limit() -> None:
    w = weighting()
    with torch.no_grad():
        w.task_log_vars.copy_(torch.tensor([9.0, -9.0, 1.0]))
    w.project_()
    assert w.task_log_vars.tolist() == [4.0, -4.0, 1.0]
    w(torch.tensor([0.01, 0.5, 1.0]), torch.ones(3), torch.ones(3)).sum().backward()
    assert w.task_log_vars.grad[0] > 0  # descends from the upper limit


def test_fixed_weights_leave_s_out() -> None:
    w = weighting("fixed")
    terms = w(torch.tensor([0.01, 0.25, 2.0]), torch.tensor([1, 1, 1]), torch.ones(3))
    assert terms.tolist() == pytest.approx([0.5, 1.5 * 0.5, 1.5 * 2.0])
    assert not w.task_log_vars.requires_grad


def test_focal_alphas_and_weights_are_those_of_the_reference() -> None:
    tasks = reference_config().tasks
    assert {n: t.focal_alpha for n, t in tasks.items() if t.kind == "binary"} == {
        "ctr": 0.25, "cvr": 0.20, "churn": 0.60, "retention": 0.20,
    }  # fmt: skip
    assert sum(t.weight for t in tasks.values()) == pytest.approx(18.2)
