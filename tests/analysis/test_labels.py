"""Statistics of labels: heaps a power of ten apart, columns that give a label away, and the profile of the training labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.checks import run_checks
from analysis.checks.finding import Finding
from analysis.faults.rows import changed, rewrite
from analysis.record import record
from analysis.stats.labels import giveaway, ranks, scales
from ple_model import label_profile
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run

RNG = np.random.default_rng(3)


def test_one_unit_is_one_heap_however_the_amounts_scatter() -> None:
    predicted = np.exp(RNG.normal(5, 1, 2000))
    found = scales(predicted * np.exp(RNG.normal(0, 0.8, 2000)), predicted, 1.0)
    assert found is not None
    assert found.apart < 2
    assert abs(found.step) < 0.05


@pytest.mark.parametrize(("share", "power"), [(0.5, 3), (0.1, 3), (0.5, -3), (0.3, 2), (0.1, -2)])
def test_a_share_in_another_unit_is_a_heap_of_its_own(share: float, power: int) -> None:
    predicted = np.exp(RNG.normal(5, 1, 2000))
    amount = predicted * np.exp(RNG.normal(0, 0.8, 2000))
    amount[: int(share * 2000)] *= 10.0**power
    found = scales(amount, predicted, 1.5)
    assert found is not None
    assert found.apart > 2
    assert found.step == pytest.approx(power, abs=0.1)
    assert found.share == pytest.approx(share, abs=0.03)


def test_all_amounts_in_another_unit_are_one_heap_away_from_the_predictions() -> None:
    predicted = np.exp(RNG.normal(5, 1, 500))
    found = scales(1000 * predicted * np.exp(RNG.normal(0, 0.5, 500)), predicted, 1.0, 3.0)
    assert found is not None
    assert found.apart == 0
    assert found.step == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
def test_the_column_that_is_the_label_gives_it_away_in_whatever_order(kind: str) -> None:
    x = RNG.normal(size=(400, 30)).astype(np.float32)
    y = RNG.normal(size=400) if kind == "regression" else RNG.integers(0, 2 if kind == "binary" else 5, 400).astype(float)
    y[:20] = np.nan
    columns = [("features:rfm", f"c{i}") for i in range(30)]
    before = giveaway(kind, y, ranks(x), columns)
    assert before is not None
    assert before.tells < 0.5
    x[20:, 7] = -np.exp(y[20:])
    x[3:9, 4] = np.nan
    found = giveaway(kind, y, ranks(x), columns)
    assert found is not None
    assert (found.column, found.alike) == ("c7", 1)
    assert found.tells == pytest.approx(1, abs=0.01)
    assert found.next_tells < 0.5


def test_a_label_of_one_value_has_no_giveaway() -> None:
    x = RNG.normal(size=(100, 3)).astype(np.float32)
    assert giveaway("binary", np.zeros(100), ranks(x), [("f", str(i)) for i in range(3)]) is None


def test_a_run_keeps_what_its_training_labels_were(tiny_run: Run, tiny_dataset: Dataset) -> None:
    found = label_profile.load(tiny_run.preprocess)
    assert found is not None
    churn = found["churn"]
    y = np.asarray(tiny_dataset.table(["y_churn"], "train").column(0))
    assert churn.counts == (int((y == 0).sum()), int((y == 1).sum()))
    assert churn.n == sum(churn.counts)
    assert len(found["ltv"].quantiles) == 101
    assert label_profile.load(Path("nowhere")) is None


def _findings(run: Run, rows: Dataset) -> dict[tuple[str, str], Finding]:
    found = run_checks(record(run, rows).statistics)
    return {(f.id, f.subject): f for f in found if f.alarm and not f.follows and f.id.startswith("LABEL-")}


def test_labels_of_the_rows_are_held_against_those_of_training(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    def spoil(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        y = changed(columns, "y_ltv")
        half = (rng.random(len(y)) < 0.5) & (y > 0)
        y[half] = np.log1p(1000 * np.expm1(y[half]))
        changed(columns, "y_churn")[:] = 0
        z = columns["y_retention"]
        changed(columns, "features")[:, 200] = np.where(z >= 0, z, 0)

    assert _findings(tiny_run, tiny_dataset) == {}
    found = _findings(tiny_run, rewrite(tiny_dataset, tmp_path / "spoiled", spoil))
    assert set(found) == {("LABEL-UNIT", "ltv"), ("LABEL-CONSTANT", "churn"), ("LABEL-LEAK", "retention")}
    assert "1000 times" in found["LABEL-UNIT", "ltv"].verdict
