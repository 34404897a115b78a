"""Amounts add up: the mean given a predicted logarithm, against planted heavy tails and an independent Poisson regression."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.amounts import FEW, AmountMap, MeanShift, amount_metrics, fit_amounts, fit_shift
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.run import Run, load_run
from ple_model.scoring import score


def planted(n: int, seed: int, spread: float = 1.3) -> tuple[np.ndarray, np.ndarray]:
    """(predicted logarithm, label): the median is known exactly, the spread grows with it, a sixth spend nothing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(4.0, 1.0, n)
    amount = np.expm1(z) * np.exp(rng.normal(size=n) * spread * (0.7 + 0.1 * z)) * (rng.random(n) > 1 / 6)
    return z, np.log1p(np.maximum(amount, 0))


def test_medians_fall_short_and_means_add_up_on_rows_not_seen() -> None:
    z, label = planted(6000, 1)
    unseen, paid = planted(6000, 2)
    found = fit_amounts(z, label)
    assert found is not None
    assert found.sum_ratio_before < 0.6
    total = np.expm1(paid).sum()
    assert np.expm1(unseen).sum() / total < 0.6
    assert found(unseen).sum() / total == pytest.approx(1, abs=0.08)
    # one smearing factor for all overstates where the spread is small and understates where it is large
    low = unseen < np.median(unseen)
    assert found(unseen[low]).sum() / np.expm1(paid[low]).sum() == pytest.approx(1, abs=0.25)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 500), scale=st.sampled_from([0.0, 1e-3, 1.0, 1e6]))
@settings(max_examples=50, deadline=None)
def test_on_its_own_rows_the_sum_is_exact_and_the_order_kept(seed: int, n: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    z, amount = rng.normal(3, 2, n), scale * rng.pareto(1.2, n)
    found = fit_amounts(z, np.log1p(amount))
    if amount.sum() <= 0:
        assert found is None
        return
    assert found is not None
    assert found(z).sum() == pytest.approx(amount.sum(), rel=1e-6)
    assert (np.diff(found(np.sort(z))) >= 0).all()
    assert found.b == 1 or n >= FEW


def test_the_fit_is_that_of_a_poisson_regression() -> None:
    from sklearn.linear_model import PoissonRegressor

    z, label = planted(3000, 5, spread=0.6)
    found = fit_amounts(z, label)
    oracle = PoissonRegressor(alpha=0, max_iter=2000, tol=1e-10).fit(z[:, None], np.expm1(label))
    assert found is not None
    assert found.b == pytest.approx(float(oracle.coef_[0]), abs=2e-3)
    assert found.a == pytest.approx(float(oracle.intercept_), abs=2e-2)


def test_numpy_and_torch_agree_and_the_gradient_is_there() -> None:
    found = AmountMap(0.4, 1.2, 10, 0.5)
    z = torch.tensor([-3.0, 0.0, 5.0, 500.0], dtype=torch.float64, requires_grad=True)
    amount = found.of(z)
    np.testing.assert_allclose(amount.detach().numpy(), found(z.detach().numpy()))
    assert torch.isfinite(amount).all()
    (gradient,) = torch.autograd.grad(amount[1], z)
    assert gradient[1] == pytest.approx(1.2 * float(amount[1].detach()))


def test_metrics_of_amounts_by_hand() -> None:
    found = amount_metrics([0.0, 10.0, 20.0], [5.0, 5.0, 5.0])
    assert found["sum_ratio"] == pytest.approx(0.5)
    assert found["mae_amount"] == pytest.approx(25 / 3)
    assert found["r2_amount"] == pytest.approx(1 - 275 / 200)
    assert np.isnan(amount_metrics([1.0, 2.0], [1.0, np.nan])["sum_ratio"])


def test_a_run_keeps_the_map_and_every_reader_uses_it(tiny_run: Run) -> None:
    amounts = {n for n, spec in tiny_run.config.tasks.items() if spec.log_scale}
    assert set(tiny_run.amounts) == amounts >= {"ltv", "engagement"}
    model = tiny_run.model()
    assert model.shows("ltv") == "mean"
    value = torch.tensor([0.0, 1.0])
    expected = tiny_run.amounts["ltv"](model.to_label("ltv", value).numpy())
    np.testing.assert_allclose(model.to_units("ltv", value).numpy(), expected, rtol=1e-5)
    kept = tiny_run.metrics()["splits"]
    assert kept["validation"]["ltv"]["metrics"]["sum_ratio"] == pytest.approx(1, abs=1e-6)
    found = next(t for t in evaluate(tiny_run, bootstrap_rounds=20, boosting=False).tasks if t.task == "ltv")
    assert found.metrics["sum_ratio_low"] <= found.metrics["sum_ratio"] <= found.metrics["sum_ratio_high"]
    assert found.metrics["r2_amount"] == pytest.approx(kept["test"]["ltv"]["metrics"]["r2_amount"], rel=1e-4)
    assert found.baselines["constant"]["r2_amount"] <= 1e-9


def test_a_run_of_before_shows_medians_and_says_so(tiny_run: Run, tmp_path: Path) -> None:
    old = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (old / "preprocess" / "amounts.json").unlink()
    model = load_run(old).model()
    assert model.shows("ltv") == "median"
    assert model.shows("balance_util") == "mean"
    (old / "preprocess" / "shifts.json").unlink()
    model = load_run(old).model()
    assert (model.shows("balance_util"), model.shifts) == ("median", {})
    value = torch.tensor([0.5])
    assert float(model.to_units("ltv", value)[0]) == pytest.approx(float(torch.expm1(model.to_label("ltv", value))[0]))


def test_huber_tasks_fall_short_and_their_shift_adds_up_on_rows_not_seen() -> None:
    """A skewed label whose predictions are medians given the customer."""

    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        middle = rng.uniform(0.1, 0.6, n)
        return middle, middle * np.exp(0.5 * rng.normal(size=n))

    guess, label = draw(2000, 1)
    found = fit_shift(guess, label)
    assert found is not None
    assert found.sum_ratio_before == pytest.approx(guess.sum() / label.sum())
    assert found.sum_ratio_before < 0.92
    assert found(guess).sum() / label.sum() == pytest.approx(1, abs=1e-12)
    unseen, what_was = draw(2000, 2)
    assert found(unseen).sum() / what_was.sum() == pytest.approx(1, abs=0.04)
    assert fit_shift([np.nan, 1.0], [1.0, np.nan]) is None
    assert fit_shift([np.nan, 1.0], [1.0, 3.0]) == MeanShift(2.0, 1, pytest.approx(1 / 3))


def test_shown_values_of_plain_labels_add_up_on_validation_wherever_they_are_shown(
    tiny_run: Run, tiny_dataset: Dataset
) -> None:
    model = tiny_run.model()
    plain = {k for k, s in model.tasks.items() if s.kind == "regression" and not s.log_scale and s.out_dim == 1}
    assert set(tiny_run.shifts) == plain >= {"balance_util", "merchant_affinity"}
    validation = score(model, tiny_dataset, "validation")
    batch = tiny_dataset.load("validation")
    with torch.no_grad():
        output = model(batch.inputs)
    for task in plain:
        rows = validation.tasks[task]
        assert rows.prediction.sum() == pytest.approx(rows.label.sum(), rel=1e-4, abs=1e-3)
        shown = model.to_units(task, output.predictions[task]).numpy()
        np.testing.assert_allclose(shown[rows.row], rows.prediction, rtol=1e-4, atol=1e-4)
        assert model.shows(task) == "mean"


@pytest.mark.parametrize("bad", [{"shift": "x"}, {"shift": 1}, 3, {"shift": float("inf"), "n": 1, "sum_ratio_before": 1}])
def test_a_damaged_shift_is_named(bad: object, tiny_run: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (run / "preprocess" / "shifts.json").write_text(json.dumps({"balance_util": bad}))
    with pytest.raises(UserError, match=r"shifts\.json"):
        _ = load_run(run).shifts


@pytest.mark.parametrize("bad", [{"a": "x"}, {"a": 1, "b": 0, "n": 1, "sum_ratio_before": 1}, 3, {"a": 1e999, "b": 1}])
def test_a_damaged_map_is_named(bad: object, tiny_run: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (run / "preprocess" / "amounts.json").write_text(json.dumps({"ltv": bad}))
    with pytest.raises(UserError, match=r"amounts\.json is damaged"):
        _ = load_run(run).amounts
