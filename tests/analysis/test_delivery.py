"""Inputs as they were delivered: columns times one number, and sequences that end before the cut-off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.checks import run_checks
from analysis.checks.finding import Finding
from analysis.consistency import silences
from analysis.faults.rows import changed, rewrite
from analysis.record import record
from analysis.stats.run import Statistics
from ple_model.consistency import Consistency, consistency_of
from ple_model.data.dataset.reader import Dataset
from ple_model.fields import FIELD_SHAPES
from ple_model.run import Run
from ple_model.schema import PART_SLICES, RAW_PART
from tests.analysis.planted import FOUR, four_inputs, healthy


def found(s: Statistics) -> dict[str, list[Finding]]:
    out: dict[str, list[Finding]] = {}
    for f in run_checks(s):
        if f.alarm:
            out.setdefault(f.id, []).append(f)
    return out


def steps(days: int, rows: int = 400, usual: float = 0.25, silent: int = 0) -> tuple[int, np.ndarray]:
    count = np.random.default_rng(days).binomial(rows, usual, days).astype(float)
    if silent:
        count[-silent:] = 0
    return rows, count


@pytest.mark.parametrize(
    ("silent", "then", "alarm"),
    [(0, 0, False), (30, 0, True), (7, 0, True), (2, 0, False), (30, 30, False), (12, 5, True), (30, None, True)],
)
def test_a_sequence_that_ends_early_is_told_from_one_that_always_does(silent: int, then: int | None, alarm: bool) -> None:
    trained = {} if then is None else {"txn_seq": steps(180, silent=then)[1] / 400}
    older, newer = steps(180), steps(180, silent=silent)
    stats = silences({("txn_seq", "2025-03-01"): older, ("txn_seq", "2025-04-01"): newer}, trained)
    x = healthy()
    assert x.consistency is not None
    got = found(replace(x, consistency=replace(x.consistency, silent=stats))).get("DATA-STALE", [])
    assert bool(got) is alarm
    if alarm:
        assert got[0].subject == "txn_seq"
        assert f"newest {silent} of its 180 steps before 2025-04-01" in got[0].verdict


def test_few_rows_or_rare_events_are_no_silence() -> None:
    x = healthy()
    assert x.consistency is not None
    for rows, usual in ((60, 0.3), (150, 0.01)):
        stats = silences({("txn_seq", "2025-04-01"): steps(180, rows, usual, silent=7)}, {})
        assert "DATA-STALE" not in found(replace(x, consistency=replace(x.consistency, silent=stats)))


def test_what_training_had_in_each_step_is_kept(tmp_path: Path) -> None:
    one = consistency_of(FOUR, four_inputs(400, 1), ["2025-04-01"] * 400, four_inputs(200, 2))
    active = {"txn_seq": np.linspace(0, 1, 180)}
    replace(one, active=active).save(tmp_path)
    loaded = Consistency.load(tmp_path)
    assert loaded is not None
    np.testing.assert_allclose(loaded.active["txn_seq"], active["txn_seq"], atol=1e-6)
    one.save(tmp_path)
    older = Consistency.load(tmp_path)
    assert older is not None
    assert older.active == {}


def test_a_stopped_feed_and_another_unit_are_named(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    def spoil(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        days, channels = FIELD_SHAPES["txn_seq"]
        changed(columns, "txn_seq").reshape(-1, days, channels)[:, -30:] = 0
        changed(columns, "features")[:, PART_SLICES[RAW_PART].start : PART_SLICES[RAW_PART].start + 8] *= 100

    before = found(record(tiny_run, tiny_dataset).statistics)
    assert {"DATA-STALE", "INPUT-UNIT"} & set(before) == set()
    after = found(record(tiny_run, rewrite(tiny_dataset, tmp_path / "spoiled", spoil)).statistics)
    assert [f.subject for f in after["DATA-STALE"]] == ["txn_seq"]
    assert [f.subject for f in after["INPUT-UNIT"]] == [f"features:{RAW_PART}"]
    assert "about 100 times" in after["INPUT-UNIT"][0].verdict
    assert after["INPUT-UNIT"][0].cause == "Cents where whole units were."
