"""The course of a training from its epoch lines, and what FIT-* says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.checks.finding import Finding
from analysis.checks.registry import checks, run_check
from analysis.checks.thresholds import Thresholds
from analysis.stats.fit import course
from analysis.stats.run import Facts, Statistics
from analysis.stats.training import measure
from ple_model.run import Run


def lines(train: list[float], valid: list[float], **more: list[Any]) -> list[dict[str, Any]]:
    out = []
    for i, (a, b) in enumerate(zip(train, valid, strict=True)):
        line = {
            "event": "epoch", "epoch": i + 1, "phase": 1, "steps": 20, "lr": 1e-3,
            "train": {"mean_ratio": a, "n": {"ctr": 300}}, "valid": {"mean_ratio": b},
        }  # fmt: skip
        out.append(line | {k: v[i] for k, v in more.items()})
    return out


def said(epochs: list[dict[str, Any]], parent: str | None = None, **training: Any) -> dict[str, Finding]:
    facts = Facts({"training": training, "global": {"dropout": 0.0}}, ("ctr",), {}, {}, {}, (), {}, run={"parent": parent})
    s = Statistics(facts=facts, n=0, training=measure(epochs))
    found = [f for i in ("FIT-OVER", "FIT-UNDER", "FIT-RATE") for f in run_check(checks()[i], s, Thresholds())]
    return {f.id: f for f in found if f.alarm}


def test_the_training_curve_of_older_lines_comes_from_their_losses() -> None:
    line = {
        "event": "epoch", "epoch": 1, "phase": 1, "train": {"tasks": {"a": 0.5, "b": 3.0}},
        "valid": {"tasks": {"a": 0.8, "b": 2.0}, "ratio": {"a": 0.8, "b": 1.0}, "mean_ratio": 0.9},
    }  # fmt: skip
    c = course(measure([line]))
    assert c.train[0] == pytest.approx((0.5 + 1.5) / 2)
    assert c.gap[0] == pytest.approx(-0.1)
    assert np.isnan(c.size[0])
    assert np.isnan(c.reach)


def test_a_training_writes_its_own_curve_and_the_size_of_its_steps(tiny_run: Run) -> None:
    c = course(measure(tiny_run.progress(steps=False)))
    assert np.isfinite(c.train).all()
    assert (c.size > 0).all()
    assert np.allclose(c.growth, 1, atol=0.5)
    assert c.reach > 0.01
    assert c.size.min() > 0.02 * c.size.max()  # also where the rate is next to nothing at the end of a phase


def test_a_training_that_settles_is_silent() -> None:
    assert said(lines([1.1, 0.95, 0.88, 0.8, 0.75], [1.0, 0.9, 0.85, 0.84, 0.86])) == {}


def test_rows_learned_by_heart_are_told_from_early_stopping() -> None:
    found = said(lines([1.0, 0.84, 0.7, 0.6], [1.1, 1.07, 1.12, 1.13]))
    assert set(found) == {"FIT-OVER"}
    assert "300 training rows" in found["FIT-OVER"].verdict
    assert found["FIT-OVER"].fix is not None
    assert found["FIT-OVER"].fix.override() == "global.dropout=0.1"
    turned = said(lines([0.95, 0.8, 0.5, 0.3], [0.95, 0.9, 1.0, 1.1]))
    assert set(turned) == {"FIT-OVER"}
    assert "After epoch 2" in turned["FIT-OVER"].verdict


@pytest.mark.parametrize(("worse", "by_heart"), [(1, False), (3, True)])
def test_what_few_tasks_lose_is_not_learned_by_heart(worse: int, by_heart: bool) -> None:
    """One of four tasks with labels turned round in training pulls the mean above the constant's."""
    ratio = {f"task{i}": 4.0 if i < worse else 0.6 for i in range(4)}
    mean = sum(ratio.values()) / 4
    epochs = lines([0.9, 0.8, 0.7, 0.6], [mean + 0.04, mean + 0.02, mean, mean + 0.02])
    for line in epochs:
        line["valid"]["ratio"] = ratio
    assert set(said(epochs)) == ({"FIT-OVER"} if by_heart else set())


def test_a_loss_that_turned_in_few_tasks_is_a_note() -> None:
    epochs = lines([0.95, 0.8, 0.5, 0.3], [0.95, 0.9, 1.0, 1.1])
    for line, x in zip(epochs, (0.9, 0.9, 1.3, 1.7), strict=True):
        line["valid"]["ratio"] = {"a": x, "b": 0.9, "c": 0.9, "d": 0.9}
    assert said(epochs) == {}


def test_a_single_epoch_and_a_training_that_still_falls_ended_too_soon() -> None:
    one = said(lines([3.6], [1.16]), phase1_epochs=1)
    assert set(one) == {"FIT-UNDER"}
    assert one["FIT-UNDER"].fix is not None
    assert one["FIT-UNDER"].fix.override() == "training.phase1_epochs=2"
    assert set(said(lines([1.2, 1.0, 0.9], [1.0, 0.93, 0.9]), phase1_epochs=3)) == {"FIT-UNDER"}


def test_weights_of_another_run_may_move_little_where_they_are_better_than_a_constant() -> None:
    little = {"step_size": [{"cgc": 4e-5}, {"cgc": 4e-5}]}
    assert set(said(lines([0.7, 0.69], [0.7, 0.699], **little), learning_rate=1e-3)) == {"FIT-RATE"}
    assert said(lines([0.7, 0.69], [0.7, 0.699], **little), "best", learning_rate=1e-3) == {}
    assert set(said(lines([1.2, 1.19], [1.2, 1.199], **little), "best", learning_rate=1e-3)) == {"FIT-RATE"}


def test_a_rate_at_which_nothing_moves_or_nothing_settles_is_named() -> None:
    still = said(lines([16.5, 16.4], [16.6, 16.595], step_size=[{"cgc": 4e-7}, {"cgc": 4e-7}]), learning_rate=1e-7)
    assert set(still) == {"FIT-RATE"}
    assert still["FIT-RATE"].fix is not None
    assert still["FIT-RATE"].fix.override() == "training.learning_rate=0.0005"
    older = said(lines([16.5, 16.4], [16.6, 16.595]), learning_rate=1e-7)
    assert set(older) == {"FIT-RATE"}
    start = {"event": "start", "weight_norm": {"cgc": 1.0, "towers": 2.0}}
    grown = lines([2.0, 1.0, 0.98], [0.99, 0.93, 0.93], weight_norm=[{"cgc": 3.0, "towers": 9.0}] * 3)
    large = said([start, *grown], learning_rate=0.1)
    assert set(large) == {"FIT-RATE"}
    assert large["FIT-RATE"].fix is not None
    assert large["FIT-RATE"].fix.override() == "training.learning_rate=0.0005"
