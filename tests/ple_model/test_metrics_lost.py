"""A prediction that becomes no number never makes any metric better, of whatever kind, weighted or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import evidence
from analysis.uncertainty import reliability
from ple_model import metrics as m

HIGHER = {"auc", "pr_auc", "accuracy", "top3_accuracy", "macro_f1", "r2", "spearman", "recall_at_10", "mrr"}


def _better(name: str, before: float, after: float) -> bool:
    return after > before + 1e-12 if name in HIGHER else after < before - 1e-12


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["binary", "multiclass", "regression", "contrastive"]), st.integers(0, 10_000), st.integers(3, 40),
    st.integers(2, 6), st.sampled_from([np.nan, np.inf, -np.inf]), st.floats(0.05, 0.9), st.booleans(),
)  # fmt: skip
def test_losing_predictions_never_improves_a_metric(
    kind: str, seed: int, n: int, classes: int, value: float, share: float, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    lost = rng.random(n) < share
    w = rng.integers(1, 4, n).astype(float) if weighted else None
    if kind == "binary":
        y, p = rng.integers(0, 2, n), np.round(rng.random(n), 1)
    elif kind == "multiclass":
        y, p = rng.integers(0, classes, n), rng.dirichlet(np.ones(classes), n)
    elif kind == "regression":
        y, p = rng.normal(size=n), rng.normal(size=n)
    else:
        y, p = np.zeros(n), rng.integers(1, 30, n).astype(float)
        value = np.inf if value < 0 else value
    q = p.copy()
    q[lost] = value
    before, after = m.BY_KIND[kind](y, p, w), m.BY_KIND[kind](y, q, w)
    assert [k for k in before if _better(k, before[k], after[k])] == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 60), st.booleans())
def test_nor_what_pages_and_checks_show_of_calibration(seed: int, n: int, several: bool) -> None:
    rng = np.random.default_rng(seed)
    lost, u = rng.random(n) < 0.3, rng.random(n)
    y = rng.integers(0, 4 if several else 2, n)
    p = rng.dirichlet(np.ones(4), n) if several else rng.random(n)
    q = p.copy()
    q[lost] = np.nan
    kind = "multiclass" if several else "binary"
    before, after = (evidence.measure(kind, u, 1 / u, x, y) for x in (p, q))
    assert after.ece >= before.ece - 1e-12
    assert after.brier >= before.brier - 1e-12
    assert (after.lost, after.labelled) == (int(lost.sum()), n - int(lost.sum()))
    shown = p.max(1) if several else p
    hit = (p.argmax(1) == y).astype(float) if several else y.astype(float)
    stood = np.where(lost, 1.0 if several else 1.0 - y, shown)
    one = reliability(kind, shown, y, hit)
    two = reliability(kind, stood, y, np.where(lost & several, 0.0, hit), lost)
    for name in ("ece", "brier", "nll"):
        assert getattr(two, name) >= getattr(one, name) - 1e-12, name


def test_a_class_that_was_only_said_wrongly_does_not_leave_the_mean() -> None:
    y = np.array([0, 0, 1, 1])
    p = np.eye(3)[[0, 2, 1, 1]]
    q = np.where(np.arange(4)[:, None] == 1, np.nan, p)
    assert m.multiclass_metrics(y, q)["macro_f1"] <= m.multiclass_metrics(y, p)["macro_f1"]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_lost_row_is_not_among_the_first_three_of_two_classes(classes: int) -> None:
    p = np.full((4, classes), np.nan)
    assert m.multiclass_metrics(np.zeros(4, dtype=int), p)["top3_accuracy"] == 0


def test_lost_positives_share_no_precision_at_the_lower_end() -> None:
    y, p = np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.7, 0.6])
    lost = np.where(y == 1, np.nan, p)
    assert m.average_precision(y, lost) == 0.0  # tied at the end they would have 0.5, above the 0.42 of the scores themselves
    assert m.average_precision(y, p) == pytest.approx((1 / 3 + 2 / 4) / 2)
