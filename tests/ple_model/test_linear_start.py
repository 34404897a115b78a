"""The linear map that is fitted before the first step: held against scikit-learn, and what it does where there is little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ple_model.answer import Answer
from ple_model.linear_start import FALLBACK, fit_linear_start, focal_line
from ple_model.losses import focal

CLASSES = 4


def task(name: str, kind: str, start: int, y: Tensor, width: int = 1) -> Answer:
    # a focal loss with gamma 0 and alpha 1/2 is half the log loss: its best raw output is the log-odds themselves
    return Answer(name, kind, slice(start, start + width), y, alpha=0.5, gamma=0.0)


def planted(n: int, columns: int, seed: int = 0) -> tuple[Tensor, list[Answer]]:
    """Columns of unequal size and correlation, and a task of each kind that follows them."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, columns, generator=g) @ torch.randn(columns, columns, generator=g) * 0.4
    x = x + torch.randn(columns, generator=g)
    z = (x - x.mean(0)) / x.std(0)
    score = z[:, 0] + 0.5 * z[:, 1]
    draw = torch.rand(n, generator=g)
    binary = (draw < torch.sigmoid(score - 1)).float()
    classes = ((score + torch.randn(n, generator=g)) * 0.7 + 2).long().clamp(0, CLASSES - 1).float()
    amount = score + 0.3 * torch.randn(n, generator=g)
    binary[::7] = torch.nan
    return x, [
        task("bought", "binary", 0, binary), task("class", "multiclass", 1, classes, CLASSES),
        task("amount", "mse", 1 + CLASSES, amount), task("tailed", "huber", 2 + CLASSES, amount.exp()),
    ]  # fmt: skip


def nobody(n: int) -> np.ndarray:
    return np.zeros(n, dtype=bool)


@pytest.mark.parametrize(("n", "columns"), [(300, 12), (60, 90)])
def test_each_task_is_fitted_as_scikit_learn_fits_it_alone(n: int, columns: int) -> None:
    """More rows than columns, and fewer."""
    from sklearn.linear_model import LogisticRegression, Ridge

    x, answers = planted(n, columns)
    found = fit_linear_start(x, answers, nobody(n))
    z = ((x - x.mean(0)) / x.std(0, correction=0)).double().numpy()
    out = (x @ found.weight.T + found.bias).double().numpy()
    bought, classes, amount = (a.y.numpy() for a in answers[:3])
    there = np.isfinite(bought)
    told = LogisticRegression(C=1 / (FALLBACK * there.sum()), tol=1e-8, max_iter=5000)
    np.testing.assert_allclose(out[:, 0], told.fit(z[there], bought[there]).decision_function(z), atol=0.02)
    told = LogisticRegression(C=1 / (FALLBACK * n), tol=1e-8, max_iter=5000)
    given = torch.softmax(torch.from_numpy(out[:, answers[1].where]), dim=1).numpy()
    np.testing.assert_allclose(given, told.fit(z, classes).predict_proba(z), atol=0.005)
    # the mean squared error has no half in front, the penalty has
    np.testing.assert_allclose(out[:, 1 + CLASSES], Ridge(FALLBACK * n / 2).fit(z, amount).predict(z), atol=0.02)


def test_hubers_loss_ends_where_its_slope_is_the_penalty() -> None:
    x, answers = planted(300, 12)
    found = fit_linear_start(x, answers, nobody(300))
    z = (x - x.mean(0)) / x.std(0, correction=0)
    where = answers[3].where.start
    gap = (x @ found.weight[where] + found.bias[where] - answers[3].y).clamp(-1, 1)
    weight = found.weight[where] * x.std(0, correction=0)
    torch.testing.assert_close(z.T @ gap / 300, -FALLBACK * weight, atol=2e-3, rtol=0.0)
    assert abs(float(gap.mean())) < 2e-3


def test_each_task_has_its_own_strength_and_none_where_nothing_is_told() -> None:
    g = torch.Generator().manual_seed(3)
    n = 600
    x = torch.randn(n, 40, generator=g)
    plain = x @ torch.randn(40, generator=g)
    faint = 0.25 * x[:, 0] + torch.randn(n, generator=g)
    noise = torch.randn(n, generator=g)
    answers = [task(name, "mse", i, y) for i, (name, y) in enumerate({"plain": plain, "faint": faint, "noise": noise}.items())]
    found = fit_linear_start(x, answers, np.arange(n) % 5 == 0)
    strengths = found.strengths
    assert strengths["plain"] == 0.001
    assert strengths["faint"] is not None
    assert strengths["faint"] > 0.01
    assert strengths["noise"] is None
    assert float(found.weight[2].abs().max()) == 0
    torch.testing.assert_close(found.bias[2], noise.mean())
    assert float((x @ found.weight[0] + found.bias[0] - plain).square().mean() / plain.var()) < 0.01


def test_what_is_missing_or_constant_sends_no_prediction_anywhere() -> None:
    x, answers = planted(200, 12, seed=1)
    x[:, 3] = 7.0
    x[:20, 5] = torch.nan
    x[:, 6] = torch.nan
    one = task("one", "binary", 3 + CLASSES, torch.ones(200))
    none = task("none", "binary", 4 + CLASSES, torch.full((200,), torch.nan))
    classes = answers[1].y.clone()
    classes[classes == 2] = 1  # a class that training never saw
    answers = [answers[0], replace(answers[1], y=classes), *answers[2:], one, none]
    found = fit_linear_start(x, answers, np.arange(200) % 4 == 0)
    assert bool(torch.isfinite(found.weight).all())
    assert bool(torch.isfinite(found.bias).all())
    assert float(found.weight[:, [3, 6]].abs().max()) == 0
    assert found.strengths["one"] is found.strengths["none"] is None
    assert float(found.bias[one.where]) > 5
    assert float(found.bias[none.where]) == pytest.approx(0, abs=1e-6)
    shares = torch.softmax(torch.nan_to_num(x) @ found.weight[answers[1].where].T + found.bias[answers[1].where], dim=1)
    assert float(shares[20:, 2].max()) < 0.05


def test_the_same_rows_give_the_same_bits() -> None:
    x, answers = planted(200, 12)
    watch = np.arange(200) % 4 == 0
    state = torch.get_rng_state()
    one, two = (fit_linear_start(x, answers, watch) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(one.bias, two.bias)
    assert torch.equal(state, torch.get_rng_state())  # no random number is taken


def test_progress_rises_to_its_end() -> None:
    x, answers = planted(200, 12)
    said: list[float] = []
    fit_linear_start(x, answers, np.arange(200) % 4 == 0, lambda share, what: said.append(share))
    assert said == sorted(said)
    assert said[-1] == 1.0


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 2.0), (0.5, 0.0)])
def test_the_line_puts_log_odds_where_the_focal_loss_wants_them(alpha: float, gamma: float) -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(2000, generator=g).double() - 2
    slope, offset = focal_line(z, alpha, gamma)
    p = torch.sigmoid(z)

    def expected(raw: Tensor) -> float:
        q = torch.sigmoid(raw)
        positive, negative = (focal(q, torch.full_like(q, y), alpha, gamma) for y in (1.0, 0.0))
        return float((p * positive + (1 - p) * negative).mean())

    shifted = minimize_scalar(lambda b: expected(z + b), bounds=(-6, 6), method="bounded")
    assert slope > 0
    assert expected(slope * z + offset) <= float(shifted.fun) + 1e-6  # at least as good as the best shift alone
    if gamma == 0:
        assert (slope, offset) == pytest.approx((1.0, 0.0), abs=0.01)
