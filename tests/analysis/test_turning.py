"""Which tasks turned when, from the lines of a training."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.figures import training as figures
from analysis.stats.training import TrainingStats, measure
from analysis.stats.turning import train_ratio, turns

RATIO = {"retention": [0.80, 0.85, 0.90], "churn": [0.9, 0.7, 0.75], "life_stage": [0.95, 0.9, 0.8]}


@pytest.fixture(scope="module")
def stats() -> TrainingStats:
    """Three epochs: retention is best at 1, churn at 2, life_stage still improves; the weights of epoch 2 were kept."""
    lines = [{"event": "phase", "phase": 1, "epoch": 1}]
    for i in range(3):
        ratio = {t: r[i] for t, r in RATIO.items()}
        lines.append(
            {
                "event": "epoch", "epoch": i + 1, "phase": 1, "best": i < 2, "lr": 1e-3,
                "train": {"tasks": dict.fromkeys(RATIO, 1.0)},
                "valid": {"tasks": {t: 2 * r for t, r in ratio.items()}, "ratio": ratio, "mean_ratio": 0.8},
            }
        )  # fmt: skip
    lines += [{"event": "freeze", "epoch": 2}, {"event": "phase", "phase": 2, "epoch": 3}]
    return measure(lines)


def test_each_task_has_its_own_best_epoch(stats: TrainingStats) -> None:
    found = {t.task: t for t in turns(stats)}
    assert {k: (t.best_epoch, t.improving) for k, t in found.items()} == {
        "retention": (1.0, False), "churn": (2.0, False), "life_stage": (3.0, True),
    }  # fmt: skip
    assert {t.kept_epoch for t in found.values()} == {2.0}
    assert found["retention"].lost == pytest.approx(0.05)
    assert found["churn"].lost == 0
    assert found["life_stage"].lost == pytest.approx(0.1)


def test_the_gap_is_training_skill_minus_validation_skill(stats: TrainingStats) -> None:
    """The log has losses of 1 where a constant has 2: a skill of one half on the training rows."""
    assert train_ratio(stats)["churn"] == pytest.approx(np.full(3, 0.5))
    assert next(t.gap for t in turns(stats) if t.task == "churn") == pytest.approx(0.7 - 0.5)
    drawn = figures.gap(stats)
    assert list(drawn.data[0].y) == pytest.approx([0.5, 0.5, 0.5])
    assert list(drawn.data[1].y) == pytest.approx([0.2, 0.2, 0.2])


def test_a_log_without_validation_has_no_turns() -> None:
    assert turns(measure([{"event": "epoch", "epoch": 1, "train": {"tasks": {"churn": 1.0}}}])) == ()


def test_the_figure_marks_each_best_epoch_and_the_kept_one(stats: TrainingStats) -> None:
    drawn = figures.turning(turns(stats))
    at = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in drawn.data if trace.mode == "markers"}
    assert at == {"its own best epoch": {"retention": 1.0, "churn": 2.0}, "still improving at the end": {"life_stage": 3.0}}
    assert [a.text for a in drawn.layout.annotations] == ["kept weights"]


def test_names_of_marks_an_epoch_apart_do_not_meet(stats: TrainingStats) -> None:
    """They run along their lines, the freeze from the bottom and the phase from the top."""
    notes = {a.text: a for a in figures.learning_rate(stats).layout.annotations}
    assert notes.keys() == {"phase 2", "gates frozen"}
    assert {a.textangle for a in notes.values()} == {-90}
    assert (notes["phase 2"].yanchor, notes["gates frozen"].yanchor) == ("top", "bottom")


def test_a_task_that_never_changes_has_not_turned_and_does_not_improve() -> None:
    lines = [{"event": "epoch", "epoch": i, "valid": {"tasks": {"ctr": 0.9}, "ratio": {"ctr": 0.9}}} for i in (1, 2, 3)]
    (flat,) = turns(measure(lines))
    assert (flat.level, flat.improving) == (True, False)
    drawn = figures.turning([flat])
    assert [(t.name, list(t.y)) for t in drawn.data if t.mode == "markers"] == [("the same in every epoch", ["ctr"])]
    assert [list(t.y) for t in drawn.data if t.mode == "lines"] == [[]]
    (once,) = turns(measure(lines[:1]))
    assert not once.level
