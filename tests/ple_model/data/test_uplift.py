"""Labels of uplift: their mean is the difference between the treated and the others, worked out here in pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.checking.validation import validate
from ple_model.data.events.connect import connect
from ple_model.data.labels.labels import Labels, LabelSettings, compute_labels
from ple_model.errors import UserError
from ple_model.tasks import SPENDING_CATEGORIES
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

CUT = pd.Timestamp(CUTOFFS[0])
UPLIFTS = ("uplift", "category_uplift")


def days(n: float) -> pd.Timedelta:
    return pd.Timedelta(days=n)


def labels_of(folder: Path, frames: dict[str, pd.DataFrame]) -> tuple[Labels, list[str]]:
    """Labels at one cut-off, and the customer of each row."""
    with connect(write_events(folder, frames)) as store:
        create_spine(store.con, CUTOFFS[:1], SplitSettings())
        who = [str(r[0]) for r in store.con.execute("SELECT customer_id FROM spine ORDER BY row_id").fetchall()]
        return compute_labels(store, LabelSettings()), who


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    """The tiny bank with campaigns of chance, a fifth of whose customers see none before the cut-off."""
    found = tables(120, seed=5)
    rng = np.random.default_rng(1)
    ids = np.array(sorted(found["customers"]["customer_id"]))
    n = 3000
    shown = CUT + pd.to_timedelta(rng.uniform(-120, 60, n), "D")
    clicked = pd.Series(shown + pd.to_timedelta(rng.uniform(0.01, 3, n), "D")).where(rng.random(n) < 0.3)
    campaigns = pd.DataFrame(
        {
            "customer_id": rng.choice(ids, n), "campaign_id": [f"k{i % 40}" for i in range(n)], "offer": "fund",
            "exposed_at": shown, "clicked_at": clicked.to_numpy(), "converted_at": pd.NaT,
        }
    )  # fmt: skip
    campaigns["converted_at"] = campaigns["converted_at"].astype("datetime64[ns]")
    never = set(ids[::5])
    unseen = campaigns["customer_id"].isin(never) & (campaigns["exposed_at"] < CUT)
    # half of the others see none in the week of treatment
    spared = campaigns["customer_id"].isin(set(ids[1::2])) & campaigns["exposed_at"].between(CUT, CUT + days(7))
    found["campaigns"] = campaigns[~unseen & ~spared].reset_index(drop=True)
    found["customers"]["joined_on"] = pd.Timestamp("2022-01-01")
    return found


def groups(frames: dict[str, pd.DataFrame]) -> tuple[set[str], set[str]]:
    """(reached in the 84 days before the cut-off, of them shown a campaign in the week from it on)."""
    c = frames["campaigns"]
    reached = set(c["customer_id"][c["exposed_at"].between(CUT - days(84), CUT, inclusive="left")])
    return reached, reached & set(c["customer_id"][c["exposed_at"].between(CUT, CUT + days(7), inclusive="left")])


def test_the_mean_of_the_label_is_the_difference_between_treated_and_others(
    frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    found, who = labels_of(tmp_path, frames)
    reached, treated = groups(frames)
    assert 20 < len(treated) < len(reached) - 20
    labelled = {w for w, y in zip(who, found.columns["uplift"], strict=True) if np.isfinite(y)}
    assert labelled == reached
    c = frames["campaigns"]
    answered = set(c["customer_id"][c["clicked_at"].between(CUT, CUT + days(28), inclusive="left")])
    share = [np.mean([w in answered for w in group]) for group in (sorted(treated), sorted(reached - treated))]
    assert np.nanmean(found.columns["uplift"]) == pytest.approx(share[0] - share[1], abs=1e-5)

    t = frames["transactions"]
    t = t[(t["kind"] == "card") & t["ts"].between(CUT, CUT + days(28), inclusive="left")]
    t = t.merge(frames["merchants"][["merchant_id", "mcc_l1"]], on="merchant_id", suffixes=("", "_of"))
    spent = t.groupby(["customer_id", "mcc_l1_of" if "mcc_l1_of" in t else "mcc_l1"])["amount"].sum().clip(lower=0)
    logs = np.log1p(spent.unstack().reindex(index=sorted(reached), columns=SPENDING_CATEGORIES).fillna(0.0))
    apart = logs.loc[sorted(treated)].mean() - logs.loc[sorted(reached - treated)].mean()
    assert np.nanmean(found.columns["category_uplift"], axis=0) == pytest.approx(apart.to_numpy(), abs=1e-4)


@pytest.mark.parametrize("who", ["nobody", "everybody", "no table"])
def test_without_a_treated_and_an_untreated_group_there_is_no_label(
    frames: dict[str, pd.DataFrame], tmp_path: Path, who: str
) -> None:
    c = frames["campaigns"]
    week = c["exposed_at"].between(CUT, CUT + days(7))
    shown = {"nobody": c[~week], "everybody": c[c["customer_id"].isin(groups(frames)[1])], "no table": c[:0]}[who]
    changed = {k: v for k, v in frames.items() if k != "campaigns"}
    found, _ = labels_of(tmp_path, changed if who == "no table" else {**changed, "campaigns": shown})
    assert all(np.isnan(found.columns[t]).all() for t in UPLIFTS)
    assert (found.columns["ltv"] >= 0).all()
    assert found.defined["uplift"].any() == (who != "no table")


def own(frames: dict[str, pd.DataFrame], **columns: object) -> dict[str, pd.DataFrame]:
    ids = sorted(frames["customers"]["customer_id"])[:3]
    return {**frames, "labels": pd.DataFrame({"customer_id": ids, "cutoff": CUT.date(), **columns})}


def test_a_source_may_bring_its_own_uplift(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    twelve = [float(k) for k in range(12)]
    found, who = labels_of(tmp_path, own(frames, uplift=[0.5, None, -0.25], category_uplift=[twelve, None, twelve[::-1]]))
    at = {w: i for i, w in enumerate(who)}
    first, second, third = sorted(frames["customers"]["customer_id"])[:3]
    assert found.columns["uplift"][[at[first], at[third]]].tolist() == [0.5, -0.25]
    assert found.columns["category_uplift"][[at[first], at[third]]].tolist() == [twelve, twelve[::-1]]
    assert set(found.own) == set(UPLIFTS)
    assert np.isfinite(found.columns["uplift"][at[second]]) == (second in groups(frames)[0])


@pytest.mark.parametrize(
    ("given", "said"),
    [([[1.0], [2.0], [3.0]], "not a list of 12 numbers"), ([1.0, 2.0, 3.0], "expected lists of 12 numbers")],
)
def test_a_wrong_list_is_named_before_anything_is_built(
    frames: dict[str, pd.DataFrame], tmp_path: Path, given: list[object], said: str
) -> None:
    folder = write_events(tmp_path, own(frames, category_uplift=given))
    faults = [str(f) for f in validate(folder).faults]
    assert any("category_uplift" in f and said in f for f in faults), faults
    with pytest.raises(UserError, match="lists of 12 numbers"):
        labels_of(tmp_path / "again", own(frames, category_uplift=given))
