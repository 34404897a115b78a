"""Numbers with jackknife replicates: the same values as on the pages, groups of whole customers, honest intervals."""

from __future__ import annotations

import json
import shutil
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import AnalysisStore, diagnose
from analysis.cohort import CohortFilter
from analysis.compare import GROUPS, Estimate, Key, RunNumbers, compare, leave_one_out
from analysis.replicates import PROFILES, Gap, Mean, customer_groups, gaps, means, profile, replicate_values, share_error
from analysis.stats import expert
from analysis.stored_rows import FORMAT
from ple_model.run import Run

WARM = (CohortFilter("segment", "in", ("warm_start",)),)


@pytest.fixture(scope="module")
def store(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> AnalysisStore:
    """What was measured of a tiny run."""
    path = tmp_path_factory.mktemp("measured") / "tiny"
    shutil.copytree(tiny_run.path, path, ignore=shutil.ignore_patterns("analysis"))
    return diagnose(path).store


def small(folder: Path, **columns: list[object]) -> AnalysisStore:
    """A store of a few rows."""
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    n = len(columns["customer_id"])
    (folder / "meta.json").write_text(json.dumps({"format": FORMAT, "fingerprint": "x", "rows": n}), encoding="utf-8")
    return AnalysisStore(folder)


def test_rows_of_one_customer_are_left_out_together(tmp_path: Path) -> None:
    store = small(tmp_path / "s", customer_id=["a", "a", "b", "b", "c"], x=[1.0, 3.0, 5.0, 7.0, 9.0])
    value, left, n = means(store, [Mean(("x",))])
    assert (value[0], n[0]) == (5.0, 5.0)
    assert set(np.round(left[:, 0], 6)) == {5.0, 7.0, round(13 / 3, 6), 4.0}  # nobody, a, b or c left out


def test_a_mean_leaves_out_what_is_not_finite_or_excluded(tmp_path: Path) -> None:
    store = small(
        tmp_path / "s", customer_id=["a", "b", "c", "d"], x=[1.0, float("nan"), 3.0, 100.0], y=[3.0, 1.0, 5.0, 100.0],
        away=[False, False, False, True],
    )  # fmt: skip
    value, _, n = means(store, [Mean(("x",), unless="away"), Mean(("x", "y"), unless="away"), Mean(("away",))])
    assert value.tolist() == [2.0, 3.0, 0.25]
    assert n.tolist() == [2, 2, 4]


def test_errors_count_labelled_rows_of_one_split(tmp_path: Path) -> None:
    store = small(
        tmp_path / "s", customer_id=["a", "b", "c", "d"], split=["test", "test", "test", "train"], p=[0.5, 1.0, 0.0, 0.0],
        y=[1, 0, None, 1],
    )  # fmt: skip
    value, _, n = means(store, [Mean(("p", "y"), error=e, split="test") for e in ("squared", "absolute", "wrong")])
    assert value.tolist() == [0.625, 0.75, 1.0]
    assert n.tolist() == [2, 2, 2]


def test_a_customer_is_in_the_same_group_in_every_run() -> None:
    assert customer_groups(["a", "b", "a"]).tolist() == customer_groups(np.array(["a", "b", "a"])).tolist()
    assert len(set(customer_groups([str(i) for i in range(1000)]).tolist())) == GROUPS


def test_leaving_out_a_group_is_measuring_all_the_others() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) * [1.0, 2.0, 0.1]
    parts = [expert.measure({"e": x[i::5]}, {"e": np.ones(12, bool)}) for i in range(5)]
    left = replicate_values(parts, [lambda s: s.effective_rank("e"), lambda s: float(s.n)])
    for i in range(5):
        others = reduce(add, [p for j, p in enumerate(parts) if j != i])
        assert left[i] == pytest.approx([others.effective_rank("e"), 48.0])


@pytest.mark.parametrize("filters", [(), WARM], ids=["all", "cohort"])
def test_profiles_say_the_numbers_of_the_pages(store: AnalysisStore, filters: tuple[CohortFilter, ...]) -> None:
    cohort, s = store.cohort(filters), store.statistics
    found = {area: profile(store, area, filters) for area in ("experts", "gates", "hmm", "transfer")}
    assert {p.n for p in found.values()} == {cohort.n}
    got = {area: {k: e.value for k, e in p.estimates.items()} for area, p in found.items()}
    for i, e in enumerate(cohort.experts):
        assert got["experts"][Key(e, "fallback")] == pytest.approx(cohort.fallback_share[i], abs=1e-9)
        assert got["experts"][Key(e, "norm")] == pytest.approx(cohort.norm_mean[i], rel=1e-5)
        assert got["experts"][Key(e, "weight")] == pytest.approx(cohort.gates.importance[i], rel=1e-5)
        for j, t in enumerate(cohort.gates.tasks):
            assert got["gates"][Key(t, "weight", e)] == pytest.approx(cohort.gates.mean[j, i], abs=1e-6)
    for t, n in zip(cohort.gates.tasks, cohort.gates.effective_experts, strict=True):
        assert got["gates"][Key(t, "effective")] == pytest.approx(n, rel=1e-5)
    assert {k.subject: v for k, v in got["hmm"].items() if k.measure == "rate"} == pytest.approx(cohort.hmm_default)
    strengths = {k.subject: v for k, v in got["transfer"].items() if k.measure == "strength"}
    assert strengths == pytest.approx({e: cohort.transfer[e] for e in s.facts.edges}, rel=1e-5)
    mean = {k.subject: e.value for k, e in profile(store, "uncertainty", filters).estimates.items()}
    assert mean == pytest.approx({t: v[0] for t, v in cohort.uncertainty.items()}, rel=1e-5)
    if not filters:
        assert s.experts is not None
        assert s.hmm is not None
        assert [got["experts"][Key(e, "rank")] for e in s.experts.names] == [
            s.experts.effective_rank(e) for e in s.experts.names
        ]
        assert [got["hmm"][Key(m, "spread")] for m in s.hmm.modes] == s.hmm.spread.tolist()


def test_every_number_of_a_measured_run_has_an_interval(store: AnalysisStore) -> None:
    for area in PROFILES:
        found = compare(profile(store, area), profile(store, area), min_rows=1)
        assert found.rows
        assert found.judged == len(found.rows) - len(found.few)
        assert found.alike


def test_what_a_filter_asks_of_a_run_that_lacks_it_is_named(store: AnalysisStore) -> None:
    assert gaps(store, WARM) == ()
    assert gaps(store, [CohortFilter("segment", "in", ("warm_start", "gold"))]) == (Gap("values", "segment", ("gold",)),)
    assert gaps(store, [CohortFilter("raw:nothing", "between", (0.0, 1.0))]) == (Gap("column", "raw:nothing"),)
    (found,) = gaps(store, [CohortFilter("p:ctr", "between", (2.0, 3.0))])
    assert (found.kind, found.values) == ("values", ("p:ctr between 2.0, 3.0",))
    assert gaps(store, [CohortFilter("cluster", "in", ("gold",))]) == (Gap("values", "cluster", ("gold",)),)


def test_the_error_of_a_share_is_not_zero_where_none_was_seen() -> None:
    assert share_error(0.0, 98) == pytest.approx(np.sqrt(0.01 * 0.99 / 100))
    assert share_error(0.5, 98) == pytest.approx(np.sqrt(0.25 / 100))


@pytest.mark.parametrize("shared", [0.0, 3.0], ids=["apart", "same customers"])
def test_two_samples_of_one_population_differ_in_about_one_of_twenty(shared: float) -> None:
    rng = np.random.default_rng(0)
    groups = customer_groups([str(i) for i in range(1000)])
    key, differ = Key("e", "norm"), 0
    for _ in range(400):
        customer = shared * rng.normal(size=1000)
        profiles = []
        for _ in range(2):
            x = customer + rng.exponential(size=1000)
            sums, counts = (np.bincount(groups, w, GROUPS)[:, None] for w in (x, np.ones(1000)))
            value, left = leave_one_out(sums, counts)
            profiles.append(RunNumbers(1000, {key: Estimate(float(value[0]), 1000, "length", left[:, 0])}))
        differ += len(compare(*profiles).shown)
    assert 0.025 < differ / 400 < 0.085
