"""For whom a task is defined: one record that labels, stored rows and words share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ple_model.data.build.build import BuildSettings, build, transform
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.dataset.columns import is_class_task
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.connect import connect
from ple_model.data.labels.conditions import load_own, save_own
from ple_model.data.labels.labels import LabelSettings, compute_labels
from ple_model.tasks import EVERYONE, TASKS
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

ONE = BuildSettings(workers=1)
CONDITIONED = {t: s.condition for t, s in TASKS.items() if s.condition is not EVERYONE}
CUT = pd.Timestamp(CUTOFFS[1])


def silenced() -> dict[str, pd.DataFrame]:
    """The tiny bank with some customers whose last activity is 20, 60, 200 and 400 days back, and who come back after the
    cut-off; those of 400 days have a refund the day before it."""
    frames = tables(80, seed=4)
    ids = sorted(frames["customers"]["customer_id"])[1:41]
    back = dict(zip(ids, [20, 60, 200, 400] * 10, strict=True))
    for name in ("transactions", "sessions"):
        f = frames[name]
        idle = f["customer_id"].map(back)
        frames[name] = f[idle.isna() | (f["ts"] >= CUT)]
    bought = frames["transactions"][frames["transactions"]["kind"] == "card"].iloc[0]
    rows = [
        {**bought, "customer_id": c, "ts": CUT - pd.Timedelta(days=d + k), "amount": 10.0}
        for c, d in back.items() for k in range(6)
    ]  # fmt: skip
    rows += [
        {**bought, "customer_id": c, "ts": CUT - pd.Timedelta(days=1), "amount": -5.0} for c, d in back.items() if d == 400
    ]
    frames["transactions"] = pd.concat([frames["transactions"], pd.DataFrame(rows)], ignore_index=True)
    frames["customers"]["joined_on"] = pd.Timestamp("2020-01-01")
    return frames


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("silent") / "events", silenced())


@pytest.fixture(scope="module")
def built(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build(events, tmp_path_factory.mktemp("silent") / "dataset", [CUTOFFS[1]], settings=ONE)


def idle_days(frames: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Days since the last purchase, deposit or session before the cut-off, by customer; worked out in pandas."""
    t = frames["transactions"]
    days = pd.concat([t[(t["kind"] == "deposit") | (t["amount"] > 0)], frames["sessions"]])
    days = days[days["ts"] < CUT]
    last = days.groupby("customer_id")["ts"].max().dt.normalize()
    return {str(c): float((CUT - d).days) for c, d in last.items()}


def test_no_label_lies_outside_its_condition_and_the_stored_rows_say_the_same(built: Dataset) -> None:
    idle = idle_days(silenced())
    table = built.table(["customer_id", *(f"y_{t}" for t in CONDITIONED), *(f"p_task:{t}" for t in CONDITIONED)]).to_pandas()
    days = table["customer_id"].map(idle).to_numpy(float)
    assert {20, 60, 200, 400} <= set(days[np.isfinite(days)])
    for task, condition in CONDITIONED.items():
        said, label = table[f"p_task:{task}"].to_numpy(bool), np.stack(table[f"y_{task}"].to_numpy())
        if condition.idle_days is not None:
            assert said.tolist() == (days <= condition.idle_days).tolist(), task
        labelled = label >= 0 if is_class_task(task) else np.isfinite(label.reshape(len(label), -1)).all(axis=1)
        assert not (labelled & ~said).any(), task
        assert labelled.any(), task


def test_the_silent_are_dormant_and_a_refund_wakes_nobody(built: Dataset) -> None:
    idle = idle_days(silenced())
    batch = built.load()
    assert batch.inputs.customer_segment is not None
    segment = dict(zip(batch.customer_id, batch.inputs.customer_segment.tolist(), strict=True))
    days = {c: idle.get(c, float("nan")) for c in segment}
    assert {s for c, s in segment.items() if days[c] == 400} == {3}
    assert {c for c, s in segment.items() if s == 3} == {c for c, d in days.items() if not d <= 365}
    names = built.table(["customer_id", "raw:segment"]).to_pandas().set_index("customer_id")["raw:segment"]
    assert names[next(c for c, d in days.items() if d == 400)] == "dormant"


def test_new_customers_get_the_same_definition(built: Dataset, events: Path, tmp_path: Path) -> None:
    scored = transform(events, built.path / "artifacts", tmp_path / "scored", [CUTOFFS[1]], settings=ONE)
    keys = ["customer_id", *(f"p_task:{t}" for t in CONDITIONED)]
    one, two = (d.table(keys).to_pandas().sort_values("customer_id").reset_index(drop=True) for d in (built, scored))
    assert one.equals(two)


def test_a_source_with_labels_of_its_own_says_for_whom_they_are(tmp_path: Path) -> None:
    frames = silenced()
    who = sorted(frames["customers"]["customer_id"])
    frames["labels"] = pd.DataFrame({"customer_id": who, "cutoff": CUT.date(), "churn": np.arange(len(who)) % 2})
    with connect(write_events(tmp_path / "events", frames)) as store:
        create_spine(store.con, (CUTOFFS[1],), SplitSettings())
        labels = compute_labels(store, LabelSettings())
    assert (labels.columns["churn"] >= 0).all()
    assert labels.own == ("churn",)
    assert "churn" not in labels.defined
    assert "timing" in labels.defined
    save_own(tmp_path, labels.own)
    assert load_own(tmp_path) == ("churn",)


def test_every_condition_is_said_in_both_languages() -> None:
    for spec in TASKS.values():
        assert spec.condition.en
        assert any("가" <= ch <= "힣" for ch in spec.condition.ko), spec.name
    assert TASKS["churn"].condition.unmet() == (
        "not defined for this customer: the task is for customers active in the 28 days before the cut-off"
    )
