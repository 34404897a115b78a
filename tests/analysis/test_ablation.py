"""What an expert is worth to a task: losses against an independent library, and what must be exactly nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss

from analysis.ablation import Ablation, Cell, ablate, planted_pairs, row_losses
from analysis.engine.effects import Engine
from ple_model.errors import UserError
from ple_model.interval import Interval
from ple_model.run import Run


@pytest.fixture(scope="module")
def engine(tiny_run: Run) -> Engine:
    return Engine.cached(tiny_run)


def test_losses_are_those_of_an_independent_library(engine: Engine) -> None:
    seen = set()
    for task, prediction in engine.before.items():
        found = row_losses(engine, task, prediction)
        kind = engine.kinds[task]
        if found is None or kind == "contrastive":
            continue
        seen.add(kind)
        values, known, constant = found
        label = engine.targets[task].numpy()[known]
        if kind == "regression":
            scaler = engine.model.context.label_scalers[task]
            y = (label - scaler.mean) / scaler.std
            assert values[known].mean() == pytest.approx(np.mean((prediction.raw[known] - y) ** 2), rel=1e-5)
            assert constant == pytest.approx(y.var(), rel=1e-5)
        else:
            p = prediction.shown[known]
            p = np.clip(np.stack([1 - p, p], 1) if kind == "binary" else prediction.raw[known], 1e-6, 1)
            classes = np.arange(p.shape[1])
            p = p / p.sum(1, keepdims=True)
            assert values[known].mean() == pytest.approx(log_loss(label, p, labels=classes), rel=1e-3)
            share = np.bincount(label, minlength=len(classes)) / len(label)
            assert constant == pytest.approx(log_loss(label, np.tile(share, (len(label), 1)), labels=classes), rel=1e-6)
    assert {"binary", "regression"} <= seen


def test_a_run_in_its_own_place_loses_nothing(tiny_run: Run) -> None:
    found = ablate(tiny_run, without={"perslay": tiny_run}, bootstrap=20)
    assert found.how == "left out"
    assert found.experts == ("perslay",)
    assert [c.extra.value for c in found.cells] == [0.0] * len(found.cells)
    assert not any(c.clear for c in found.cells)


def test_every_expert_and_task_has_a_cell_and_the_interval_holds_the_value(tiny_run: Run) -> None:
    found = ablate(tiny_run, bootstrap=30)
    assert len(found.cells) == len(found.experts) * len(found.tasks) > 0
    joint = "deepfm + causal + optimal_transport"
    assert found.experts == (*tiny_run.config.shared_experts, joint)
    assert any(c.extra.value != 0 for c in found.cells)
    assert all(c.extra.low - 1e-9 <= c.extra.value <= c.extra.high + 1e-9 or not np.isfinite(c.extra.low) for c in found.cells)


def test_experts_of_one_input_are_ablated_together_and_share_what_is_planted(tiny_run: Run, engine: Engine) -> None:
    joint = "deepfm + causal + optimal_transport"
    found = ablate(tiny_run, planted=frozenset({("causal", "ltv"), ("deepfm", "ctr"), ("perslay", "churn")}), bootstrap=5)
    assert {p for p in found.planted if p[0] == joint} == {(joint, t) for t in ("ltv", "ctr") if t in found.tasks}
    task = found.tasks[0]
    before, after = (
        row_losses(engine, task, p)
        for p in (engine.before[task], engine.predict(engine.parse([f"ablate.{e}=mean" for e in joint.split(" + ")]))[task])
    )
    assert before is not None
    assert after is not None
    expected = 100 * (after[0].sum() - before[0].sum()) / before[1].sum() / before[2]
    assert found.cell(joint, task).extra.value == pytest.approx(expected, rel=1e-6)


def test_an_unknown_expert_is_named_with_the_nearest(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"perslai.*perslay"):
        ablate(tiny_run, without={"perslai": tiny_run})


def test_planted_pairs_come_from_the_truth_table(tmp_path: Path) -> None:
    table = pa.table({"cause": ["loop_break", "loop_break", "age"], "task": ["churn", "churn", "life_stage"]})
    pq.write_table(table, tmp_path / "truth.parquet")
    assert planted_pairs(tmp_path / "truth.parquet") == {("perslay", "churn")}
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"broken\.parquet"):
        planted_pairs(tmp_path / "broken.parquet")


def test_the_table_marks_what_is_planted_and_what_is_clear() -> None:
    cells = (
        Cell("a", "churn", 100, 80.0, Interval(3.0, 1.0, 5.0)),
        Cell("a", "ctr", 100, 95.0, Interval(0.5, -1.0, 2.0)),
        Cell("b", "churn", 100, 80.0, Interval(-0.2, -0.5, 0.1)),
        Cell("b", "ctr", 100, 95.0, Interval(-1.0, -2.0, -0.5)),
    )
    found = Ablation("run", "bank", 100, "ablated", cells, frozenset({("a", "churn")}))
    assert found.summary("a") == (3.0, 0.5)
    assert found.markdown().splitlines()[2:] == [
        "| *loss* | 80 | 95 |  |  |",
        "| a | [**+3.0**] | +0.5 | +3.00 | +0.50 |",
        "| b | -0.2 | **-1.0** | – | -0.60 |",
    ]
    assert "[+3.00*]" in str(found)
