"""Networks of one task: they learn what one column says, and are judged as the run is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ple_model.baseline_rows import BaselineRows
from ple_model.bench import single
from ple_model.bench.measure import Settings
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.row_loss import Yardstick, yardstick
from ple_model.run import Run
from ple_model.tasks import TASKS


@pytest.mark.parametrize(("inputs", "parameters"), [(910, 3_176_016), (50, 20_000), (910, 100)])
def test_a_network_of_the_same_size_has_about_as_many_weights(inputs: int, parameters: int) -> None:
    first, second = single.same_size(inputs, parameters)
    weights = inputs * first + first * second
    assert 0.97 * parameters <= weights <= 1.01 * parameters or (first, second) == (2, 1)


def planted(task: str, n: int, seed: int) -> tuple[torch.Tensor, BaselineRows]:
    """The first of five columns decides the label."""
    x = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    spec = TASKS[task]
    x0 = x[:, 0].astype(np.float64)
    label = 3.0 * x0 + 10 if spec.kind == "regression" else (x0 > 0).astype(np.float64)
    if spec.kind == "regression" and spec.out_dim > 1:
        label = np.stack([label] * spec.out_dim, axis=1)
    ids = np.array([str(i) for i in range(n)], dtype=object)
    return torch.from_numpy(x), BaselineRows(x, ids, ids, {task: label}, {})


@pytest.mark.parametrize("task", ["churn", "life_stage", "ltv", "engagement"])
def test_a_network_learns_what_one_column_says(task: str) -> None:
    x, rows = {}, {}
    for seed, split in enumerate(("train", "validation", "test")):
        x[split], rows[split] = planted(task, 3000, seed)
    judge = yardstick(TASKS[task], rows["train"].labels[task])
    assert isinstance(judge, Yardstick)
    fit = single._fit(judge, rows, x, (256, 128), (0.3,), Settings())
    assert fit is not None
    label = rows["test"].labels[task]
    own, constant = single._losses(judge, label, fit.outputs), judge.of_constant(label)
    assert own.mean() < 0.4 * constant.mean()


def test_a_run_stands_beside_them_and_rows_without_a_label_are_left_out(tiny_run: Run, tiny_dataset: Dataset) -> None:
    settings = Settings(quick=True, run=tiny_run.path, data=tiny_dataset.path, tasks=("churn", "nba"))
    found = single.run(settings)
    assert [r.measure.partition(":")[0] for r in found] == [
        "128-64, churn", "same size, churn", "128-64, nba", "same size, nba", "128-64, mean", "same size, mean",
    ]  # fmt: skip
    for row in found:
        assert row.ours is not None
        assert row.reference is not None
        assert row.value == pytest.approx(row.ours - row.reference, abs=1e-9)
    small = [r for r in found if r.measure.startswith("128-64")]
    assert small[-1].ours == pytest.approx(np.mean([r.ours for r in small[:-1] if r.ours is not None]))
    assert all(r.low is not None and r.high is not None and r.low <= r.value <= r.high for r in small[:-1])


def test_what_is_missing_is_named(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "single"]) == 2
    assert "give --run RUN" in capsys.readouterr().err
    assert main(["bench", "single", "--run", str(tiny_run.path), "--task", "chrun"]) == 2
    assert "--task: 'chrun' is not known; did you mean 'churn'" in capsys.readouterr().err
