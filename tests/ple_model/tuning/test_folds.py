"""Time-ordered folds: an expanding window, no customer on both sides, no row of the test split."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from sklearn.model_selection import TimeSeriesSplit

from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.tuning.folds import fold_dataset, overlap_days, plan, without_test
from ple_model.tuning.record import StudySpec
from ple_model.tuning.trial import places
from tests.factories import random_context
from tests.fakes import BRANDS, make_batch
from tests.shared import shared

DATES = ("2025-02-01", "2025-03-01", "2025-04-01")


def _made(path: Path, dates: tuple[str, ...]) -> Dataset:
    """Training and validation customers at the same cut-offs, test customers at a later one, as a build has them."""
    parts = [
        make_batch(60, "train", dates, 0),
        make_batch(30, "validation", dates, 1),
        make_batch(9, "test", ("2025-05-01",), 2),
    ]
    context = replace(random_context(0, brands=BRANDS), label_scalers={})
    return write_dataset(path, parts, context=context, name="dated", group_rows=64)


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.open(shared(tmp_path_factory, "dated", lambda folder: _made(folder, DATES)))


def _column(data: Dataset, name: str, split: str) -> list[str]:
    return data.table([name], split).column(0).to_pylist()


def test_the_folds_are_those_of_time_series_split(dated: Dataset) -> None:
    cutoffs = sorted(set(_column(dated, "cutoff", "train")))
    expected = [
        (tuple(cutoffs[i] for i in learns), tuple(cutoffs[i] for i in judged))
        for learns, judged in TimeSeriesSplit(n_splits=len(cutoffs) - 1, test_size=1).split(cutoffs)
    ]
    found = plan(dated, len(cutoffs) - 1)
    assert [(f.learns, (f.judged,)) for f in found] == expected
    assert [f.number for f in found] == list(range(1, len(cutoffs)))
    assert plan(dated, 1)[0].learns == tuple(cutoffs[:-1])


def test_no_future_no_customer_and_no_test_row_crosses(dated: Dataset, tmp_path: Path) -> None:
    test = set(_column(dated, "customer_id", "test"))
    for fold in plan(dated, 2):
        data = fold_dataset(dated, fold, tmp_path / f"fold-{fold.number}")
        assert data.rows("test") == 0
        assert max(_column(data, "cutoff", "train")) < min(_column(data, "cutoff", "validation"))
        assert set(_column(data, "cutoff", "validation")) == {fold.judged}
        mine = {s: set(_column(data, "customer_id", s)) for s in ("train", "validation")}
        assert not mine["train"] & mine["validation"]
        assert not (mine["train"] | mine["validation"]) & test
        again = fold_dataset(dated, fold, tmp_path / f"fold-{fold.number}")
        assert again.manifest.fingerprint == data.manifest.fingerprint


def test_one_cut_off_is_a_clear_sentence(tmp_path: Path) -> None:
    data = _made(tmp_path / "d", DATES[:1])
    with pytest.raises(UserError, match=r"has one cut-off .* at least two"):
        plan(data, 1)


def test_more_folds_than_there_are(dated: Dataset) -> None:
    with pytest.raises(UserError, match="make at most"):
        plan(dated, 99)


def test_what_is_hidden_leaves_the_rest_as_it_is(dated: Dataset) -> None:
    hidden = without_test(dated)
    assert hidden.rows("test") == 0
    assert hidden.manifest.fingerprint == dated.manifest.fingerprint
    for split in ("train", "validation"):
        one, other = (d.load(split).inputs.features.numpy() for d in (hidden, dated))
        assert np.array_equal(one, other)
    with pytest.raises(UserError, match="has no rows"):
        hidden.table(["customer_id"], "test")


def test_labels_that_reach_into_those_judged_are_counted(dated: Dataset) -> None:
    fold = plan(dated, 1)[0]
    assert (fold.learns[-1], fold.judged) == ("2025-03-01", "2025-04-01")
    settings = dated.manifest.settings
    long = replace(dated.manifest, settings={**settings, "horizon_days": 84})
    short = replace(dated.manifest, settings={**settings, "horizon_days": 28})
    days = [overlap_days(Dataset(dated.path, m, 64, None), fold) for m in (long, short, dated.manifest)]
    assert days == [84 - 31, 0, 0]


def _places(folder: Path, data: Path) -> None:
    places(folder, cast(StudySpec, SimpleNamespace(folds=2)), Dataset.open(data), "trial-0001")


def test_processes_that_need_the_folds_at_once_make_them_once(dated: Dataset, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_places, args=(tmp_path / "s", dated.path)) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert [w.exitcode for w in workers] == [0] * 4
    assert sorted(p.name for p in (tmp_path / "s" / "folds").iterdir() if not p.name.startswith(".")) == ["fold-1", "fold-2"]
