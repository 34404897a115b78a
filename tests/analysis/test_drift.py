"""Drift: known values by hand, additivity, silence on the run's own sample, and a shift found where it was planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as reference

from analysis import diagnose
from analysis.checks import checks, run_checks
from analysis.checks.finding import Finding
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.faults.measuring import statistics_of
from analysis.reference import rescale
from analysis.stats import drift
from ple_model.data.dataset.columns import decode
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.data.dataset.writer import DatasetWriter, copy_artifacts
from ple_model.profile import Profile, ProfileRows, quantile_edges
from ple_model.run import Run
from ple_model.schema import PART_SLICES

pytestmark = pytest.mark.slow


def rows(n: int, seed: int, shift: float = 0.0) -> ProfileRows:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 734)).astype(np.float32)
    features[:, :10] += shift
    classes = {"cluster_ids": rng.integers(0, 20, n)}
    return ProfileRows(features, classes, {"txn_seq": rng.random(n) < 0.8}, rng.integers(0, 3, n))


EDGES = np.stack([quantile_edges(c) for c in rows(2000, 1).features.T])


def test_two_halves_add_up_to_the_whole() -> None:
    whole = rows(50, 3)
    parts = [
        ProfileRows(
            whole.features[s], {k: v[s] for k, v in whole.classes.items()}, {k: v[s] for k, v in whole.present.items()},
            whole.segment[s],
        )
        for s in (slice(0, 17), slice(17, None))
    ]  # fmt: skip
    one, two = (drift.measure(p, EDGES) for p in parts)
    both, at_once = one + two, drift.measure(whole, EDGES)
    np.testing.assert_array_equal(both.counts, at_once.counts)
    np.testing.assert_array_equal(both.segments, at_once.segments)
    np.testing.assert_array_equal(both.classes["cluster_ids"], at_once.classes["cluster_ids"])
    np.testing.assert_array_equal(both.present["txn_seq"], at_once.present["txn_seq"])
    assert both.n == 50


def test_a_change_of_presence_counts_beyond_chance_alone() -> None:
    """23 % of 336 rows against 35 %: more than a tenth, and within what two samples of one population show; of ten times as
    many rows it is not. The z test is scipy's chi-square of the 2 x 2 table."""
    for n, counts in ((336, False), (3360, True)):
        a, b = round(0.23 * n), round(0.35 * n)
        z = np.sqrt(reference.chi2_contingency([[a, n - a], [b, n - b]], correction=False).statistic)
        assert (z > drift.CHANCE) == (abs(a - b) / n > drift.share_chance(a, n, b, n)) == counts


def test_psi_by_hand() -> None:
    p, q = np.array([5e6, 5e6]), np.array([8e6, 2e6])
    expected = (0.5 - 0.8) * np.log(0.5 / 0.8) + (0.5 - 0.2) * np.log(0.5 / 0.2)
    assert drift.psi(p, q) == pytest.approx(expected, rel=1e-5)
    assert drift.psi(p, p) == 0
    assert drift.psi(p, q) == drift.psi(q, p)


def test_chance_is_the_chi_square_quantile_over_the_sample_sizes() -> None:
    p = np.full(10, 100.0)
    expected = reference.chi2.ppf(1 - 1e-4, 9) * (1 / 1000 + 1 / 1000)
    assert drift.psi_chance(p, p) == pytest.approx(expected, rel=0.02)


def test_sampling_adds_degrees_of_freedom_over_the_sample_sizes_on_average() -> None:
    g = np.random.default_rng(0)
    share = np.array([0.05, 0.1, 0.15, 0.2, 0.5])
    pairs = [(g.multinomial(300, share).astype(float), g.multinomial(900, share).astype(float)) for _ in range(400)]
    mean = float(np.mean([drift.psi(p, q) for p, q in pairs]))
    assert float(drift.psi_noise(*pairs[0])) == pytest.approx(4 * (1 / 300 + 1 / 900))
    assert mean == pytest.approx(4 * (1 / 300 + 1 / 900), rel=0.1)


def test_the_binned_distance_is_that_of_the_samples_at_the_edges() -> None:
    a, b = rows(3000, 5).features[:, 0], rows(3000, 6, shift=0.5).features[:, 0]
    p, q = drift.measure(rows(3000, 5), EDGES).counts[0], drift.measure(rows(3000, 6, shift=0.5), EDGES).counts[0]
    exact = reference.ks_2samp(a, b).statistic
    found = float(drift.kolmogorov_smirnov(p, q))
    assert exact - 0.1 <= found <= exact + 1e-9


def test_chi_square_is_that_of_the_contingency_table() -> None:
    p, q = np.array([30.0, 50, 20, 0]), np.array([60.0, 40, 70, 0])
    expected = reference.chi2_contingency(np.stack([p[:3], q[:3]])).statistic / 2
    assert drift.chi_square(p, q) == pytest.approx(expected)


def test_samples_of_one_distribution_have_not_moved_whatever_their_size() -> None:
    trained = drift.measure(rows(2000, 1), EDGES)
    for n in (120, 400, 2000):
        found = drift.compare(drift.measure(rows(n, 9), EDGES), trained)
        assert not found.moved(0.0).any() or found.moved(0.0).sum() <= 2
        assert not found.moved(0.25).any()


def test_a_shifted_column_has_moved_and_the_others_have_not() -> None:
    trained = drift.measure(rows(2000, 1), EDGES)
    found = drift.compare(drift.measure(rows(800, 9, shift=1.0), EDGES), trained)
    assert np.flatnonzero(found.moved(0.25)).tolist() == list(range(10))


def test_rows_of_one_customer_are_no_further_evidence() -> None:
    trained, once = drift.measure(rows(2000, 1), EDGES), drift.measure(rows(400, 9), EDGES)
    four = replace(once + once + once + once, customers=400)
    single, many = drift.compare(once, trained), drift.compare(four, trained)
    np.testing.assert_allclose(many.psi_chance, single.psi_chance)
    np.testing.assert_allclose(many.psi_noise, single.psi_noise)
    np.testing.assert_allclose(many.ks_chance, single.ks_chance)
    assert many.presence_chance == pytest.approx(single.presence_chance)
    assert many.class_chance == pytest.approx(single.class_chance)
    believed = drift.compare(replace(four, customers=0), trained)
    assert (believed.psi_noise < single.psi_noise).all()


def test_too_few_rows_say_nothing() -> None:
    trained = drift.measure(rows(2000, 1), EDGES)
    found = drift.compare(drift.measure(rows(60, 9, shift=5.0), EDGES), trained)
    assert np.isnan(found.psi).all()
    assert found.class_psi == {}
    assert found.presence == {}


def of_drift(found: tuple[Finding, ...]) -> list[Finding]:
    return [f for f in found if f.id == "DATA-DRIFT"]


def moved(dataset: Dataset, out: Path, part: str, by: float, hide: float = 0.0, split: str = "") -> Dataset:
    """The dataset with one part of features moved (of one split), and the transactions of a share of rows gone."""
    writer, rng = DatasetWriter(out), np.random.default_rng(0)
    for file in dataset.manifest.files:
        columns = dict(decode(dataset.part_table(file), dataset.path / file.name))
        features = np.array(columns["features"])
        features[:, PART_SLICES[part]] += by if split in ("", file.split) else 0.0
        columns["features"] = features
        if hide:
            columns["p_txn_seq"] = np.asarray(columns["p_txn_seq"]) & (rng.random(len(features)) >= hide)
        writer.write(columns)
    writer.close(name="moved", source="test", context=dataset.context(), normalizer=dataset.normalizer())
    copy_artifacts(dataset.path / "artifacts", out / "artifacts")
    return Dataset.open(out)


def test_the_runs_own_sample_is_silent(tiny_run: Run) -> None:
    found = of_drift(diagnose(tiny_run).findings)
    assert [f.severity for f in found] == ["ok"]


def test_a_moved_part_and_a_thinner_feed_are_named(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    other = moved(tiny_dataset, tmp_path / "moved", "credit", 2.0, hide=0.4)
    s = statistics_of(tiny_run, other)
    found = {f.subject: f for f in of_drift(run_checks(s))}
    assert found["features:credit"].severity == "warning"
    assert "`credit`" in found["features:credit"].verdict
    assert found["txn_seq"].severity == "warning"
    assert s.drift is not None
    assert s.drift.presence("txn_seq") == pytest.approx(0.6, abs=0.08)


def test_drift_of_a_quarter_of_the_rows_the_newest_is_an_alarm(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    """The test rows moved, the rest did not: among all rows the change is a third of what it is among the newest."""
    other = moved(tiny_dataset, tmp_path / "newest", "credit", 0.14, split="test")  # PSI 0.5 to 1.2
    stats = statistics_of(tiny_run, other)
    found = {f.subject: f for f in of_drift(run_checks(stats))}["features:credit"]
    assert found.severity == "warning"
    assert "test rows at 2025-05-01" in found.verdict
    trained = stats.trained
    assert stats.drift is not None
    assert stats.unseen is not None
    assert trained is not None
    where = PART_SLICES["credit"]
    diluted = drift.compare(stats.drift, trained)
    assert not diluted.moved(Thresholds().drift_psi)[where].any()
    newest = stats.unseen.judged(100)
    assert newest is not None
    assert newest[:2] == ("test", "2025-05-01")
    assert (newest[2].n, newest[2].customers) == (160, len(set(tiny_dataset.load("test").customer_id)))
    assert drift.compare(newest[2], trained).moved(Thresholds().drift_psi)[where].all()
    assert [g[:2] for g in stats.unseen.newest_first()] == [("test", "2025-05-01"), ("validation", "2025-04-01")]


def test_what_had_moved_when_the_run_was_trained_is_told_from_what_moved_since(
    tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    s = statistics_of(tiny_run, moved(tiny_dataset, tmp_path / "moved", "credit", 2.0))
    assert s.held is not None
    assert s.unseen is not None
    group = s.unseen.judged(100)
    assert group is not None

    def said(held: drift.DriftStats | None) -> list[str]:
        found = run_check(checks()["DATA-DRIFT"], replace(s, held=held), Thresholds())
        return [f.verdict for f in found if f.subject == "features:credit"]

    for held in (s.held, None):
        assert [("have drifted from training" in v) for v in said(held)] == [True]
    assert [("as they did when the run was trained" in v) for v in said(group[2])] == [True]


def test_the_rows_held_out_at_training_are_kept_with_the_profile(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    kept = Profile.load(tiny_run.preprocess)
    assert kept is not None
    assert kept.held is not None
    newest = max(tiny_dataset.manifest.cutoffs)
    whole = tiny_dataset.load("test")
    mine = [i for i, cutoff in enumerate(whole.cutoff) if cutoff == newest]
    assert (kept.held.rows, kept.held.customers) == (len(mine), len({whole.customer_id[i] for i in mine}))
    assert kept.held.counts.sum(1).max() == len(mine)
    kept.save(tmp_path)
    again = Profile.load(tmp_path)
    assert again is not None
    assert again.held is not None
    np.testing.assert_array_equal(again.held.counts, kept.held.counts)
    replace(kept, held=None).save(tmp_path)
    assert (found := Profile.load(tmp_path)) is not None
    assert found.held is None


def test_training_rows_alone_are_unknown_and_so_are_too_few(tiny_run: Run) -> None:
    statistics = diagnose(tiny_run).statistics
    assert statistics.unseen is not None
    few = {k: replace(g, n=60) for k, g in statistics.unseen.groups.items()}
    for groups, word in (({}, "training split"), (few, "60 test rows at 2025-05-01")):
        found = run_check(checks()["DATA-DRIFT"], replace(statistics, unseen=drift.DriftGroups(groups)), Thresholds())
        assert [f.severity for f in found] == ["unknown"]
        assert word in found[0].verdict


def test_groups_add_up_and_the_newest_are_kept() -> None:
    whole = rows(40, 3)
    cutoffs = [f"2025-{1 + i % 10:02d}-{1 + i % 4:02d}" for i in range(40)]
    splits = ["test" if i % 3 else "train" for i in range(40)]
    at = np.arange(40)
    parts = [
        drift.grouped(whole.take(at[s]), EDGES, splits[s], cutoffs[s]) for s in (slice(0, 13), slice(13, 30), slice(30, None))
    ]
    (one, a), (two, b), (three, c) = parts
    everything, groups = drift.grouped(whole, EDGES, splits, cutoffs)
    assert (one + two + three).n == everything.n == 40
    merged = a + (b + c)
    assert list(merged.groups) == list(groups.groups)
    assert len(groups.groups) == drift.GROUPS < len({c for c, s in zip(cutoffs, splits, strict=True) if s == "test"})
    for key, found in groups.groups.items():
        np.testing.assert_array_equal(merged.groups[key].counts, found.counts)
        assert key.endswith(" test")
    assert min(groups.groups) > min(f"{c} test" for c in cutoffs)


def test_a_single_shifted_column_is_information(tiny_run: Run) -> None:
    statistics = diagnose(tiny_run).statistics
    assert statistics.unseen is not None
    split, cutoff, rows = statistics.unseen.newest_first()[0]
    counts = rows.counts.copy()
    counts[0] = 0
    counts[0, 0] = rows.n
    unseen = drift.DriftGroups({f"{cutoff} {split}": replace(rows, counts=counts)})
    found = run_check(checks()["DATA-DRIFT"], replace(statistics, unseen=unseen), Thresholds())
    assert [(f.severity, f.subject) for f in found] == [("info", "features:rfm")]


def test_a_run_without_a_profile_is_compared_with_its_samples_training_rows(tiny_run: Run, tmp_path: Path) -> None:
    import shutil

    from ple_model.run import load_run

    shutil.copytree(tiny_run.path, tmp_path / "old", ignore=shutil.ignore_patterns("analysis"))
    (tmp_path / "old" / "preprocess" / "profile.npz").unlink()
    statistics = diagnose(load_run(tmp_path / "old")).statistics
    assert statistics.trained is not None
    assert statistics.trained.n == tiny_run.sample().rows("train")


def test_an_analysis_without_drift_is_unknown_and_never_ok(tiny_run: Run) -> None:
    statistics = replace(diagnose(tiny_run).statistics, drift=None, trained=None)
    assert [f.severity for f in run_check(checks()["DATA-DRIFT"], statistics, Thresholds())] == ["unknown"]


def test_another_normaliser_does_not_hide_a_shift(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    assert rescale(tiny_run, tiny_dataset) is None
    other = tiny_dataset.extract(tmp_path / "other", limit=50)
    kind, centre, scale = (np.array(getattr(other.normalizer(), k)) for k in ("kind", "centre", "scale"))
    kind[0], centre[0], scale[0] = 1, 7.0, 2.0
    Normalizer(kind, centre, scale).save(other.path / "artifacts")
    change = rescale(tiny_run, other)
    assert change is not None
    back = change(np.zeros((1, 734), dtype=np.float32))
    assert back[0, 0] == pytest.approx(7.0)  # 0 in the other's scale is 7 in the unit that the run reads as it is
    assert (back[0, 1:] == 0).all()
    assert np.isnan(change(np.full((1, 734), np.nan, dtype=np.float32))).all()  # what a row lacks does not become the middle


def test_a_shared_value_stays_in_its_bin_under_another_normaliser(
    tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_dataset.extract(tmp_path / "other", limit=50)
    kind, centre, scale = (np.array(getattr(other.normalizer(), k)) for k in ("kind", "centre", "scale"))
    kind[:], scale[:] = 1, np.linspace(0.3, 3.0, 734)
    Normalizer(kind, centre, scale).save(other.path / "artifacts")
    profile = Profile.load(tiny_run.preprocess)
    assert profile is not None
    shared = np.random.default_rng(0).uniform(-3, 3, 734).astype(np.float32)  # of each column the number many rows share
    edges = np.full_like(profile.edges, np.inf)
    edges[:, 0] = shared
    monkeypatch.setattr("analysis.reference.training_profile", lambda run: replace(profile, edges=edges))
    change = rescale(tiny_run, other)
    assert change is not None
    assert (change(((shared - centre) / scale)[None].astype(np.float32))[0] == shared).all()
