"""Statistics of labels: heaps a power of ten apart, columns that give a label away, and the profile of the training labels."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.checks import checks, run_checks
from analysis.checks.finding import Finding
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.faults.rows import changed, rewrite
from analysis.i18n.sentences import templates
from analysis.labels import _level
from analysis.quality import rows_twice
from analysis.record import record
from analysis.stats.factor import LEVELS, UNITS, factor, said, unit
from analysis.stats.giveaways import giveaway, ranks
from analysis.stats.labels import Rate, Refound, Scales, scales
from ple_model import label_profile
from ple_model.data.dataset.reader import Dataset
from ple_model.interval import Interval
from ple_model.metrics import weighted_ranks
from ple_model.run import Run
from tests.analysis.planted import healthy, task_skill

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


@pytest.mark.parametrize("gap", [np.nan, 0.0, -999.0])
@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
def test_a_column_that_is_filled_in_some_rows_alone_gives_these_away(kind: str, gap: float) -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(900, 60)).astype(np.float32)
    y = rng.normal(size=900) if kind == "regression" else rng.integers(0, 2 if kind == "binary" else 5, 900).astype(float)
    columns = [("features:rfm", f"c{i}") for i in range(60)]
    before = giveaway(kind, y, ranks(x), columns)
    assert before is not None
    assert before.tells < 0.3
    x[:, 7] = np.where(rng.random(900) < 0.6, gap, 3 * y + 1)
    found = giveaway(kind, y, ranks(x), columns)
    assert found is not None
    assert (found.column, found.alike) == ("c7", 1)
    assert found.tells == pytest.approx(1, abs=0.01)
    assert found.share == pytest.approx(0.4, abs=0.05)
    assert found.next_tells < 0.3


def test_a_few_rows_of_a_column_give_nothing_away_by_chance() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(900, 400)).astype(np.float32)
    x[rng.random((900, 400)) < 0.85] = 0
    y = (rng.random(900) < 0.3).astype(float)
    found = giveaway("binary", y, ranks(x), [("f", str(i)) for i in range(400)])
    assert found is not None
    assert found.tells < 0.6


@pytest.mark.parametrize("times", [100.0, 1300.0, 0.001, 7.0])
def test_one_factor_for_all_amounts_is_told_and_growth_is_not(times: float) -> None:
    rng = np.random.default_rng(4)
    then, now = np.exp(rng.normal(4, 1.2, 20_000)), np.exp(rng.normal(4, 1.2, 300))

    def found(x: np.ndarray) -> tuple[float, float]:
        f = factor(np.quantile(x, LEVELS), np.quantile(then, LEVELS), len(x))
        assert f is not None
        return f.times, f.uneven

    one, uneven = found(times * now)
    assert one == pytest.approx(times, rel=0.35)
    assert uneven < 0.2
    assert found(1.4 * now)[0] < 2
    assert found(np.where(np.arange(300) < 150, times * now, now))[1] > 0.2


def test_a_factor_is_said_as_people_say_it() -> None:
    assert [said(x) for x in (99.1, 1288.0, 0.00101, 6.94, 0.13)] == ["100", "1,300", "0.001", "6.9", "0.13"]
    assert unit(101.0) == UNITS[2]
    assert unit(0.00099) == UNITS[-3]
    assert unit(1300.0) == unit(7.0) == "Another currency or another unit."
    words = templates("ko")
    assert {*UNITS.values(), unit(7.0)} <= set(words)


def test_rows_in_two_splits_are_told_from_rows_that_are_there_twice(tmp_path: Path) -> None:
    def write(*rows: tuple[str, str]) -> Path:
        ids, splits = zip(*rows, strict=True)
        pq.write_table(pa.table({"customer_id": ids, "cutoff": ["2025-01-01"] * len(ids), "split": splits}), tmp_path / "r")
        return tmp_path / "r"

    assert rows_twice(write(("a", "train"), ("b", "test"))) == (0, "", 0, "")
    assert rows_twice(write(("a", "train"), ("a", "train"), ("b", "test"))) == (2, "a", 0, "")
    both = write(("a", "train"), ("a", "test"), ("b", "train"), ("b", "test"), ("c", "test"), ("c", "test"))
    assert rows_twice(both) == (6, "a", 4, "test, train")

    x = healthy()
    assert x.consistency is not None
    for across, said_so in ((4, True), (0, False)):
        s = replace(x, consistency=replace(x.consistency, twice=6, across=across, splits="test, train", measured=600))
        (finding,) = (f for f in run_checks(s) if f.id == "INPUT-DUPLICATE")
        assert ("more than one split: test, train" in finding.verdict) is said_so
        assert ("loaded twice" in finding.cause) is not said_so


@pytest.mark.parametrize(
    ("counts", "trained", "says"),
    [
        ((160, 140, 0), (400, 350, 150), "rows were chosen|no longer delivers"),
        ((120, 180, 0), (400, 400, 200), "grew by as much"),
        ((0, 120, 180), (400, 350, 250), "numbered from another start"),
        ((150, 0, 150), (500, 0, 500), ""),
        ((150, 150, 0), (500, 499, 1), ""),
    ],
)
def test_a_class_of_training_that_is_gone_is_no_wrong_join(
    counts: tuple[int, ...], trained: tuple[int, ...], says: str
) -> None:
    x = healthy()
    lost = Refound(300, 0.3, Interval(0.0, -0.01, 0.01), 0.2, 0.03)
    one = replace(x.labels["channel"], counts=counts, named=(), own=(), trained=trained, names=("a", "b", "web"), refound=lost)
    skill = {"test": {**x.skill["test"], "channel": task_skill("channel", "multiclass", 300, model=-0.1)}}
    found = {f.id: f for f in run_checks(replace(x, labels={**x.labels, "channel": one}, skill=skill)) if f.alarm}
    assert ("LABEL-CLASS" in found) is bool(says)
    if says:
        assert re.search(says, found["LABEL-CLASS"].cause)
        gone = counts.index(0)
        assert f"Class {gone} ({one.names[gone]}) of channel" in found["LABEL-CLASS"].verdict
        assert "LABEL-JOIN" not in found or found["LABEL-JOIN"].follows == "LABEL-CLASS channel"


@pytest.mark.parametrize(("rows", "severity"), [(3, "info"), (5, "warning")])
def test_a_class_without_a_training_row_is_an_alarm_where_chance_would_have_given_it_one(rows: int, severity: str) -> None:
    """By Fisher's exact test: of `rows` of 300 + 900 that have the class all in the 300, a chance of 0.0155 and 0.00096."""
    x = healthy()
    one = replace(x.labels["channel"], counts=(160, 140 - rows, rows), named=(), own=(), trained=(500, 400, 0))
    found = [f for f in run_checks(replace(x, labels={**x.labels, "channel": one})) if f.id == "LABEL-CLASS"]
    assert [f.severity for f in found] == [severity]


@pytest.mark.parametrize(("here", "join"), [(0.2, True), (0.55, False)])
def test_labels_whose_share_of_positives_moved_are_no_wrong_join(here: float, join: bool) -> None:
    x = healthy()
    lost = Refound(300, 0.3, Interval(0.0, -0.01, 0.01), 0.2, 0.03)
    one = replace(x.labels["churn"], rate=Rate(300, 300, here, 0.2, 0.21, 0.02), refound=lost)
    skill = {"test": {**x.skill["test"], "churn": task_skill("churn", "binary", 300, model=-0.3)}}
    found = {f.id: f for f in run_checks(replace(x, labels={**x.labels, "churn": one}, skill=skill)) if f.alarm}
    assert ("LABEL-JOIN" in found, "LABEL-RATE" in found) == (join, not join)
    if not join:
        assert found["SKILL-HARMFUL"].follows == "LABEL-RATE churn"


@pytest.mark.parametrize(
    ("here", "trained", "expected", "said"),
    [
        (0.04, 0.925, 0.045, True),  # the model's probabilities were fitted on rows with the right labels
        (0.04, 0.925, 0.925, False),  # inverted here: the order of the predictions says so
        (0.41, 0.6, 0.41, False),  # a season
        (0.2, 0.925, 0.21, False),  # neither training's positives nor its negatives
    ],
)
def test_a_label_that_was_inverted_in_training_alone_is_told_by_its_share(
    here: float, trained: float, expected: float, said: bool
) -> None:
    x = healthy()
    one = replace(x.labels["churn"], rate=Rate(170, 170, here, trained, expected, 0.015))
    found = [f for f in run_checks(replace(x, labels={**x.labels, "churn": one})) if f.id == "LABEL-RATE" and f.alarm]
    assert [("exchanged there" in f.verdict, f.severity) for f in found] == ([(True, "error")] if said else [])


@pytest.mark.parametrize("logs", [True, False])
@pytest.mark.parametrize(("times", "expected", "severity"), [(1.0, 1.0, ""), (1 / 3, 1.0, "error"), (1 / 3, 1 / 3, "")])
def test_amounts_far_from_training_and_from_the_model_are_told(
    logs: bool, times: float, expected: float, severity: str
) -> None:
    rng = np.random.default_rng(0)
    usual = rng.gamma(4.0, 50.0, 300)
    said = expected * usual * rng.uniform(0.8, 1.2, 300)
    before = np.log1p(usual) if logs else usual
    values = {"y": times * usual, "z" if logs else "p": np.log1p(said) if logs else said}
    level = _level(logs, values, 300, (float(before.mean()), float(before.std())))
    x = healthy()
    one = replace(x.labels["ltv"], level=level)
    found = run_check(checks()["LABEL-RATE"], replace(x, labels={**x.labels, "ltv": one}), Thresholds())
    assert [(f.subject, f.severity) for f in found if f.alarm] == ([("ltv", severity)] if severity else [])
    unit = replace(one, scales=Scales(300, 0.5, 3.01, 6.0, 1.9, 1.5))  # LABEL-UNIT says so
    found = run_check(checks()["LABEL-RATE"], replace(x, labels={**x.labels, "ltv": unit}), Thresholds())
    assert not [f for f in found if f.alarm]


def test_a_model_whose_amounts_have_no_number_leaves_no_level() -> None:
    usual = np.random.default_rng(0).gamma(4.0, 50.0, 300)
    values = {"y": usual, "z": np.log1p(usual) + 800}  # beyond what a double holds
    assert _level(True, values, 300, (5.0, 1.0)) is None


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


def test_ranks_within_some_rows_are_counted_as_they_would_be_sorted() -> None:
    rng = np.random.default_rng(3)
    values = np.round(rng.normal(size=(300, 6)), 1).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[rng.random(300) < 0.3, 1] = 0
    found, rows = ranks(values), np.sort(rng.permutation(300)[:120])
    for j in range(6):
        mine = rows[np.isfinite(values[rows, j])]
        assert found.among(j, mine) == pytest.approx(weighted_ranks(values[mine, j]))
    assert 1 in found.filled[0].columns.tolist()
    assert found.there.shape == (6, 300)


def test_what_is_left_without_a_common_value_is_counted_as_if_its_rows_were_taken_out() -> None:
    rng = np.random.default_rng(5)
    values = np.round(rng.normal(size=(400, 3)), 1).astype(np.float32)
    values[:120, 0], values[120:200, 0], values[380:, 0] = 0.0, 7.0, np.nan
    ranked = ranks(values)
    assert [f.columns.tolist() for f in ranked.filled] == [[0], [0]]
    marks = rng.random((3, 400)).astype(np.float32)
    for which, found in enumerate(ranked.sums(marks)):
        rows = ranked.rows(which, 0, np.arange(400))
        assert len(rows) == int(np.isfinite(values[:, 0]).sum() - (values[:, 0] == [None, 0.0, 7.0][which]).sum())
        r = ranked.ranks[0, rows].astype(np.float64)
        for one, power in zip(found, (np.ones_like(r), r, r * r), strict=True):
            assert one[0] == pytest.approx(marks[:, rows] @ power, abs=1e-4)
