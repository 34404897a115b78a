"""A build bucket by bucket: rows and labels of the whole build, the same bytes from every engine, and nothing done twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ple_model.data.build import sharded
from ple_model.data.build.artifacts import Fitted
from ple_model.data.build.build import BuildSettings, build, transform
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.buckets import write_buckets
from ple_model.data.events.connect import table_files
from ple_model.engine import open_engine
from ple_model.errors import UserError
from ple_model.tasks import TASKS
from tests.in_process import InProcess
from tests.ple_model.data.tiny_events import tables, write_events

pytestmark = pytest.mark.slow

ONE = BuildSettings(workers=1)
BUCKETS = 2
UNFITTED = ("txn_seq", "session_seq", "tda_short_diagrams", "customer_segment", "coldstart_features")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("bank") / "events", tables())


@pytest.fixture(scope="module")
def buckets(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bank") / "buckets"
    write_buckets(events, out, BUCKETS)
    return out


@pytest.fixture(scope="module")
def made(buckets: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Fitted]:
    """The dataset and what was fitted for it."""
    real, found = Fitted.fit, []

    def noted(*args: object) -> Fitted:
        found.append(real(*args))  # type: ignore[arg-type]
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fitted, "fit", staticmethod(noted))
        data = build(buckets, tmp_path_factory.mktemp("bank") / "dataset", settings=ONE, engine=InProcess())
    return data, found[0]


@pytest.fixture(scope="module")
def built(made: tuple[Dataset, Fitted]) -> Dataset:
    return made[0]


def _table(data: Dataset, columns: list[str]) -> pd.DataFrame:
    keys = ["customer_id", "cutoff"]
    return data.table([*keys, *columns]).to_pandas().sort_values(keys, ignore_index=True)


@pytest.fixture(scope="module")
def whole(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build(events, tmp_path_factory.mktemp("bank") / "whole", settings=ONE)


def test_rows_splits_and_labels_are_those_of_the_whole_build(built: Dataset, whole: Dataset) -> None:
    """Labels that rank a customer among the others included."""
    columns = ["split", *(f"y_{t}" for t in TASKS), "raw:spend_28d", "raw:segment"]
    ours, theirs = _table(built, columns), _table(whole, columns)
    brands = [d.context().brands for d in (built, whole)]
    assert brands[0] == brands[1]
    for name in ours.columns:
        if name.startswith("y_") and ours[name].dtype == object:
            np.testing.assert_array_equal(np.stack(ours[name]), np.stack(theirs[name]), err_msg=name)
        else:
            pd.testing.assert_series_equal(ours[name], theirs[name], rtol=1e-12)
    assert built.manifest.label_counts == whole.manifest.label_counts
    assert built.manifest.splits == whole.manifest.splits
    assert built.manifest.presence == pytest.approx(whole.manifest.presence)


def test_what_needs_no_fit_is_what_the_whole_build_has(built: Dataset, whole: Dataset) -> None:
    ours, theirs = built.load(), whole.load()
    order = [np.lexsort((b.cutoff, b.customer_id)) for b in (ours, theirs)]
    for name in UNFITTED:
        a, b = (getattr(x.inputs, name).numpy()[o] for x, o in zip((ours, theirs), order, strict=True))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_every_engine_writes_the_same_bytes(built: Dataset, buckets: Path, tmp_path: Path, engine: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    with open_engine(engine, workers=2) as opened:
        again = build(buckets, tmp_path / "dataset", settings=ONE, engine=opened)
    assert again.manifest.fingerprint == built.manifest.fingerprint
    names = sorted(p.relative_to(again.path) for p in again.path.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(built.path) for p in built.path.rglob("*") if p.is_file())
    for name in names:
        assert (again.path / name).read_bytes() == (built.path / name).read_bytes(), name


@pytest.mark.parametrize("stage", ["_collect", "_write"])
def test_a_build_that_lost_a_shard_goes_on_with_the_rest(
    made: tuple[Dataset, Fitted], buckets: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, fitted = made
    monkeypatch.setattr(Fitted, "fit", staticmethod(lambda *_: fitted))  # of the same rows it would be the same again
    out = tmp_path / "dataset"
    with pytest.raises(UserError, match="shard 000: lost"):
        build(buckets, out, settings=ONE, engine=InProcess(fails=f"{stage} 000"))
    assert not (out / "dataset.json").exists()
    done: list[str] = []
    real = sharded.collect if stage == "_collect" else sharded.write_rows

    def noted(*args: object, **kwargs: object) -> object:
        done.append(stage)
        return real(*args, **kwargs)  # type: ignore[operator]

    monkeypatch.setattr(sharded, real.__name__, noted)
    if stage == "_write":
        assert build(buckets, out, settings=ONE, engine=InProcess()).manifest.fingerprint == built.manifest.fingerprint
        assert len(done) == 1, "the other was written before"
    else:
        steps = {p: p.stat().st_mtime_ns for k in ("001",) for p in (out / ".build" / k).glob("features-*/*.npy")}
        assert len(steps) == 2
        with pytest.raises(UserError, match="shard 001: lost"):
            build(buckets, out, settings=ONE, engine=InProcess(fails="_write 001"))
        assert steps == {p: p.stat().st_mtime_ns for p in steps}, "what was collected is not collected again"


def test_an_empty_bucket_is_no_error(buckets: Path, tmp_path: Path) -> None:
    filled = set(pq.read_table(table_files(buckets, "customers")[-1], columns=["customer_id"]).column(0).to_pylist())
    frames = {k: f[f["customer_id"].isin(filled)] if "customer_id" in f else f for k, f in tables().items()}
    write_buckets(write_events(tmp_path / "events", frames), tmp_path / "one", BUCKETS)
    sizes = [pq.read_metadata(f).num_rows for f in table_files(tmp_path / "one", "customers")]
    assert sizes == [0, len(filled)]
    built = build(tmp_path / "one", tmp_path / "dataset", settings=ONE, engine=InProcess())
    assert built.rows() == built.manifest.rows > 0


def test_new_customers_are_made_of_buckets_too(
    built: Dataset, whole: Dataset, events: Path, buckets: Path, tmp_path: Path
) -> None:
    """With artifacts applied unchanged every input is the same, whichever way."""
    artifacts = built.path / "artifacts"
    ours = transform(buckets, artifacts, tmp_path / "ours", settings=ONE, engine=InProcess()).load()
    theirs = transform(events, artifacts, tmp_path / "theirs", settings=ONE).load()
    order = [np.lexsort((b.cutoff, b.customer_id)) for b in (ours, theirs)]
    for name in ("features", "cluster_probs", "hmm_journey", "collaborative_features", "hyperbolic_features"):
        a, b = (getattr(x.inputs, name).numpy()[o] for x, o in zip((ours, theirs), order, strict=True))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)
