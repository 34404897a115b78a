"""The whole build: its columns, no look into the future, splits, restarts, and unchanged artifacts for new customers."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

from ple_model import sources
from ple_model.baseline_folder import REACHABLE
from ple_model.cli import main
from ple_model.data.build.build import BuildSettings, build, transform
from ple_model.data.build.count import count_labels
from ple_model.data.build.floating_point import flushes_subnormals
from ple_model.data.build.reachable import write_reachable
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.connect import connect
from ple_model.data.labels.labels import LabelSettings
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES, OPTIONAL_FIELDS
from ple_model.reachable import ReachableRows
from ple_model.schema import PARTS, load_schema
from ple_model.tasks import EVERYONE, SPENDING_CATEGORIES, TASKS
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

pytestmark = pytest.mark.slow

ONE = BuildSettings(workers=1)
CONDITIONS = {f"task:{t}" for t, s in TASKS.items() if s.condition is not EVERYONE}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("bank") / "events", tables())


@pytest.fixture(scope="module")
def built(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build(events, tmp_path_factory.mktemp("bank") / "dataset", settings=ONE)


def test_every_field_part_and_label_is_there_and_finite(built: Dataset) -> None:
    m = built.manifest
    assert m.fields == tuple(FIELD_SHAPES)
    assert set(m.presence) == {*OPTIONAL_FIELDS, *(f"features:{p}" for _, p, _ in PARTS), *CONDITIONS}
    assert set(m.tasks) == set(TASKS)
    inputs = built.load().inputs
    inputs.validate()
    for name in FIELD_SHAPES:
        assert torch.isfinite(getattr(inputs, name).float()).all(), name
    assert inputs.cluster_probs is not None
    assert torch.allclose(inputs.cluster_probs.sum(1), torch.ones(len(inputs)), atol=1e-5)
    assert m.label_counts["churn"]["train"] > 20
    assert built.context().brands


def test_a_train_cutoff_is_before_every_test_cutoff_and_no_customer_is_in_two_splits(built: Dataset) -> None:
    table = built.table(["customer_id", "cutoff", "split"]).to_pandas()
    assert table.groupby("customer_id")["split"].nunique().max() == 1
    assert set(table["split"]) == {"train", "validation", "test"}
    assert table.loc[table["split"] != "test", "cutoff"].max() < table.loc[table["split"] == "test", "cutoff"].min()


def test_absent_values_are_zero_and_said(built: Dataset) -> None:
    batch = built.load()
    inputs = batch.inputs
    assert inputs.presence is not None
    silent = torch.tensor([c == "c000" for c in batch.customer_id])  # joined, never active
    assert silent.any()
    assert inputs.customer_segment is not None
    assert inputs.txn_seq is not None
    assert (inputs.customer_segment[silent] == 3).all()  # dormant
    for name in ("txn_seq", "session_seq", "tda_features", "hmm_journey", "features:rfm", "features:gmm", "cluster_probs"):
        assert not inputs.presence[name][silent].any(), name
    assert (inputs.txn_seq[silent] == 0).all()
    for part, columns in load_schema().parts.items():
        gone = ~inputs.presence[f"features:{part}"]
        assert (inputs.features[gone][:, columns] == 0).all(), part


def with_future(frames: dict[str, pd.DataFrame], cutoff: str) -> dict[str, pd.DataFrame]:
    """The same bank with conspicuous events of every kind for every customer at the cut-off; and everyone's age changes."""
    ids = frames["customers"]["customer_id"].to_numpy()
    moment = pd.Timestamp(cutoff)
    n = len(ids)
    new = {
        "transactions": pd.DataFrame(
            {
                "customer_id": ids, "ts": moment, "amount": 9e6, "merchant_id": "m0", "mcc_l1": SPENDING_CATEGORIES[0],
                "mcc_l2": "new group", "mcc": "new leaf", "brand": "brand 1", "product": "credit card",
                "kind": np.where(np.arange(n) % 2, "card", "deposit"), "channel": "web",
            }
        ),
        "sessions": pd.DataFrame(
            {"customer_id": ids, "ts": moment, "duration": 9e5, "channel": "web", "events": np.int32(999)}
        ),
        "campaigns": pd.DataFrame(
            {
                "customer_id": ids, "campaign_id": "late", "offer": "fund", "exposed_at": moment,
                "clicked_at": moment + pd.Timedelta("1h"), "converted_at": moment + pd.Timedelta("2h"),
            }
        ),
        "holdings": pd.DataFrame(
            {
                "customer_id": ids, "product": "mortgage", "as_of": moment, "opened_on": moment, "closed_on": pd.NaT,
                "balance": 9e6, "credit_limit": 1e7,
            }
        ),
        **{
            t: pd.DataFrame({"customer_id": ids, "ts": moment, "kind": "claim", "amount": 9e6})
            for t in ("insurance", "consultation", "overseas", "investment")
        },
    }  # fmt: skip
    late = frames["campaigns"].copy()
    open_click = late["clicked_at"].isna() & (late["exposed_at"] < moment)
    late.loc[open_click, "clicked_at"] = moment + pd.Timedelta("5h")  # a response to an old exposure, after the cut-off
    people = frames["customers"].assign(birth_year=lambda f: f["birth_year"].to_numpy()[::-1], age_group="x")
    frames = {**frames, "campaigns": late, "customers": people}
    return {t: pd.concat([frames[t], new[t]], ignore_index=True) if t in new else frames[t] for t in frames}


def test_planted_future_events_and_age_move_no_input(tmp_path: Path) -> None:
    frames = tables(40, seed=3)
    cutoff = CUTOFFS[1]
    plain = build(write_events(tmp_path / "plain", frames), tmp_path / "a", [cutoff], settings=ONE).load()
    planted = write_events(tmp_path / "future", with_future(frames, cutoff))
    future = build(planted, tmp_path / "b", [cutoff], settings=ONE).load()
    assert plain.customer_id == future.customer_id
    for name in FIELD_SHAPES:
        a, b = getattr(plain.inputs, name), getattr(future.inputs, name)
        moved = (a.float() - b.float()).abs().flatten(1).amax(1) if a.dim() > 1 else (a != b).float()
        assert moved.max() < 1e-4, f"{name}: {int((moved > 1e-4).sum())} rows moved"
    assert plain.inputs.presence is not None
    assert future.inputs.presence is not None
    for name, there in plain.inputs.presence.items():
        assert torch.equal(there, future.inputs.presence[name]), name
    assert plain.inputs.targets is not None
    assert future.inputs.targets is not None
    assert not torch.equal(plain.inputs.targets["ltv"], future.inputs.targets["ltv"])  # the plant is seen where it may be


def test_a_build_that_is_there_is_kept_and_said_to_be(events: Path, built: Dataset) -> None:
    steps: list[str] = []
    told: list[str] = []
    again = build(events, built.path, progress=lambda s, _: steps.append(s), settings=ONE, tell=told.append)
    assert not steps
    assert again.manifest == built.manifest
    assert [s.split(":")[0] for s in told] == [f"'{built.path}' is reused"]


def test_a_build_that_is_there_is_made_anew_when_the_code_of_a_label_has_changed(
    events: Path, built: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(built.path, tmp_path / "dataset")
    shutil.copytree(sources.BASE / "ple_model", tmp_path / "ple_model", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "ple_model" / "data" / "labels.py").open("a") as f:
        f.write("# another definition\n")
    monkeypatch.setattr(sources, "BASE", tmp_path)

    class Stopped(Exception):
        pass

    def stop(step: str, share: float) -> None:
        raise Stopped  # it would be built: that is all there is to know

    told: list[str] = []
    with pytest.raises(Stopped):
        build(events, tmp_path / "dataset", progress=stop, settings=ONE, tell=told.append)
    assert told == [f"'{tmp_path / 'dataset'}' is built anew: the program has changed since it was built"]
    monkeypatch.undo()
    other = BuildSettings(workers=1, seed=5)
    with pytest.raises(Stopped):
        build(events, tmp_path / "dataset", progress=stop, settings=other, tell=told.append)
    assert told[1].endswith("it was built from other events, cut-offs or settings")
    assert Dataset.open(tmp_path / "dataset").manifest == built.manifest  # until the new one is there


def test_a_killed_build_goes_on_with_its_finished_steps(events: Path, built: Dataset, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(step: str, share: float) -> None:
        if step == "topology":
            raise Killed

    with pytest.raises(Killed):
        build(events, tmp_path / "dataset", progress=kill, settings=ONE)
    with pytest.raises(UserError, match="is not a dataset"):
        Dataset.open(tmp_path / "dataset")
    steps: list[tuple[str, float]] = []
    told: list[str] = []
    before, threads = flushes_subnormals(), torch.get_num_threads()
    torch.set_flush_denormal(not before)  # the caller's floating-point mode and threads have no say
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        resumed = build(
            events, tmp_path / "dataset", progress=lambda s, x: steps.append((s, x)), settings=ONE, tell=told.append
        )  # fmt: skip
        assert flushes_subnormals() is not before
        assert torch.get_num_threads() != threads
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(before)
    assert ("features", 0.0) not in steps
    assert ("sequences", 0.0) not in steps
    assert ("topology", 0.0) in steps
    assert [s.split("'")[1] for s in told] == ["features", "sequences", "segments"]
    assert resumed.manifest.fingerprint == built.manifest.fingerprint
    assert not (tmp_path / "dataset" / ".build").exists()


def test_new_customers_get_the_same_numbers_from_stored_artifacts(events: Path, built: Dataset, tmp_path: Path) -> None:
    scored = transform(events, built.path / "artifacts", tmp_path / "new", [CUTOFFS[0]], settings=ONE)
    assert scored.rows("train") == 0
    new, old = scored.load(), built.load()
    place = {(c, t): i for i, (c, t) in enumerate(zip(new.customer_id, new.cutoff, strict=True))}
    pairs = [(i, place[k]) for i, k in enumerate(zip(old.customer_id, old.cutoff, strict=True)) if k in place]
    assert len(pairs) > 20
    mine, theirs = (torch.tensor(x) for x in zip(*pairs, strict=True))
    for name in FIELD_SHAPES:
        a, b = getattr(old.inputs, name)[mine], getattr(new.inputs, name)[theirs]
        torch.testing.assert_close(a.float(), b.float(), rtol=1e-4, atol=1e-4, msg=name)
    assert scored.context().brands == built.context().brands
    # a row does not depend on the others that are scored with it
    alone = {t: f[f["customer_id"] == "c005"] if "customer_id" in f else f for t, f in tables().items()}
    folder = write_events(tmp_path / "one", alone)
    single = transform(folder, built.path / "artifacts", tmp_path / "out", [CUTOFFS[0]], settings=ONE).load()
    assert single.customer_id == ["c005"]
    row = new.customer_id.index("c005")
    for name in FIELD_SHAPES:
        a, b = getattr(single.inputs, name)[0].float(), getattr(new.inputs, name)[row].float()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4, msg=name)


def test_a_source_of_transactions_alone_builds_and_says_what_is_absent(tmp_path: Path) -> None:
    frames = {k: v for k, v in tables(40).items() if k in ("customers", "transactions")}
    dataset = build(write_events(tmp_path / "events", frames), tmp_path / "dataset", settings=ONE)
    assert {"sessions", "campaigns", "holdings"} <= set(dataset.manifest.absent_sources)
    assert dataset.manifest.presence["session_seq"] == 0
    assert dataset.manifest.presence["features:digital"] == 0
    assert dataset.manifest.label_counts["ctr"]["train"] == 0
    assert dataset.manifest.label_counts["churn"]["train"] > 0


def test_bad_cutoffs_are_named(events: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'2024-13-01' is not a date"):
        build(events, tmp_path / "a", ["2024-13-01"], settings=ONE)
    with pytest.raises(UserError, match="no customer has joined"):
        build(events, tmp_path / "b", ["1999-01-01"], settings=ONE)


def test_damaged_artifacts_are_named(events: Path, built: Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "artifacts"
    shutil.copytree(built.path / "artifacts", copy)
    (copy / "gmm.npz").write_bytes(b"?")
    with pytest.raises(UserError, match=r"gmm\.npz is damaged"):
        transform(events, copy, tmp_path / "out", settings=ONE)


def test_what_a_source_tells_of_its_own_probabilities_goes_with_the_rows(events: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(events, tmp_path / "events"))
    with connect(folder) as store:
        create_spine(store.con, CUTOFFS, SplitSettings())
        row = store.con.execute("SELECT customer_id FROM spine WHERE cutoff = ? LIMIT 1", [CUTOFFS[0]]).fetchone()
    assert row is not None
    who = row[0]
    told = pd.DataFrame(
        {
            "customer_id": [who, who, who, "nobody", who],
            "cutoff": [date.fromisoformat(CUTOFFS[0])] * 4 + [date(1999, 1, 1)],
            "task": ["ctr", "nba", "nba", "ctr", "ctr"],
            "class": pd.array([None, 1, 0, None, None], dtype="Int32"),
            "p": [0.3, 0.6, 0.4, 0.2, 0.1],
        }
    )
    out = tmp_path / "dataset"
    out.mkdir()
    with connect(folder) as store:
        create_spine(store.con, CUTOFFS, SplitSettings())
        write_reachable(store, LabelSettings(), out)
        assert not (out / REACHABLE).exists()
    told.to_parquet(folder / "probabilities.parquet")
    with connect(folder) as store:
        create_spine(store.con, CUTOFFS, SplitSettings())
        write_reachable(store, LabelSettings(), out)
        found = pd.read_parquet(out / REACHABLE)
        assert found[["customer_id", "cutoff", "task", "p"]].to_numpy().tolist() == [
            [who, CUTOFFS[0], "ctr", 0.3], [who, CUTOFFS[0], "nba", 0.4], [who, CUTOFFS[0], "nba", 0.6],
        ]  # fmt: skip
        write_reachable(store, LabelSettings(horizon_days=28), out)  # another question than the one that they answer
        assert not (out / REACHABLE).exists()
    planted = ReachableRows(tmp_path, [who], [CUTOFFS[0]])
    assert planted.of(TASKS["ctr"]) is None
    told.assign(cutoff=told["cutoff"].astype(str)).to_parquet(tmp_path / REACHABLE)
    planted = ReachableRows(tmp_path, ["c002", who], [CUTOFFS[0]] * 2)
    np.testing.assert_array_equal(planted.of(TASKS["ctr"]), [np.nan, 0.3])
    assert planted.of(TASKS["nba"]) is None  # twelve offers, two of them told
    assert planted.of(TASKS["churn"]) is None


def test_labels_are_counted_before_as_the_build_counts_them(
    built: Dataset, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    m = built.manifest
    found = count_labels(events)
    assert (found.cutoffs, dict(found.rows)) == (m.cutoffs, m.splits)
    assert found.tasks == m.label_counts
    assert found.horizon_days == m.settings["horizon_days"]
    later = count_labels(events, ["2024-06-20"])
    assert sum(later.tasks["retention"].values()) == 0  # the events end before its window does
    assert any("events end on" in note for note in later.notes)
    assert main(["labels", str(events), "--cutoff", CUTOFFS[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cutoffs"] == [CUTOFFS[0]]


def test_two_builds_into_one_folder_are_kept_apart(events: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset" / ".build").mkdir(parents=True)
    with FileLock(tmp_path / "dataset" / ".build" / ".lock"), pytest.raises(UserError, match="another process builds there"):
        build(events, tmp_path / "dataset", settings=ONE)
