"""A small random bank for tests: every event table, seeded, written as an events folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ple_model.data.events.manifest import Defaults, EventsManifest
from ple_model.tasks import CHANNELS, OFFERS, SPENDING_CATEGORIES

START = pd.Timestamp("2023-01-01")
DAYS = 560
CUTOFFS = ("2024-02-01", "2024-03-01", "2024-04-01")


def tables(customers: int = 60, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Pandas frames of all event tables; customer 0 has no event at all, customer 1 is new."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"c{i:03d}" for i in range(customers)])
    people = pd.DataFrame(
        {
            "customer_id": ids,
            "birth_year": rng.integers(1940, 2004, customers),
            "region": rng.choice(["North/City", "North/Hills", "South/City"], customers),
            "joined_on": pd.Timestamp("2022-06-01") + pd.to_timedelta(rng.integers(0, 300, customers), "D"),
            "income_band": rng.choice(["low", "high"], customers),
        }
    )
    n_merchants = 40
    leaf = rng.integers(0, 12, n_merchants)
    merchants = pd.DataFrame(
        {
            "merchant_id": [f"m{i}" for i in range(n_merchants)],
            "brand": [f"brand {i % 10}" for i in range(n_merchants)],
            "mcc_l1": np.array(SPENDING_CATEGORIES)[leaf],
            "mcc_l2": [f"group {i}" for i in leaf],
            "mcc": [f"leaf {i}" for i in range(n_merchants)],
            "region": rng.choice(["North/City", "South/City"], n_merchants),
        }
    )

    def events(rate: float) -> tuple[np.ndarray, pd.Series]:
        pace = rng.uniform(0.3, 1.7, customers) * rate
        pace[0] = 0
        day = rng.random((customers, DAYS)) < pace[:, None]
        day[1, :380] = False
        who, when = np.nonzero(day)
        return who, START + pd.to_timedelta(when * 86400 + rng.integers(6 * 3600, 23 * 3600, len(who)), "s")

    who, ts = events(0.35)
    m = rng.integers(0, n_merchants, len(who))
    kind = np.where(rng.random(len(who)) < 0.85, "card", "deposit")
    card = kind == "card"
    transactions = pd.DataFrame(
        {
            "customer_id": ids[who],
            "ts": ts,
            "amount": np.where(card, 1, rng.choice([-1, 1], len(who))) * rng.lognormal(3, 1, len(who)),
            "merchant_id": np.where(card, merchants["merchant_id"].to_numpy()[m], None),
            "mcc_l1": np.where(card, merchants["mcc_l1"].to_numpy()[m], None),
            "mcc_l2": np.where(card, merchants["mcc_l2"].to_numpy()[m], None),
            "mcc": np.where(card, merchants["mcc"].to_numpy()[m], None),
            "brand": np.where(card, merchants["brand"].to_numpy()[m], None),
            "product": np.where(card, "credit card", "savings account"),
            "kind": kind,
            "channel": rng.choice(CHANNELS, len(who)),
        }
    )
    who, ts = events(0.3)
    sessions = pd.DataFrame(
        {
            "customer_id": ids[who],
            "ts": ts,
            "duration": rng.lognormal(4, 1, len(who)),
            "channel": rng.choice(CHANNELS[1:], len(who)),
            "events": rng.integers(1, 30, len(who)).astype(np.int32),
        }
    )
    who, ts = events(0.03)
    clicked = pd.Series(ts + pd.Timedelta("1h")).where(rng.random(len(who)) < 0.3)
    campaigns = pd.DataFrame(
        {
            "customer_id": ids[who],
            "campaign_id": [f"k{i}" for i in range(len(who))],
            "offer": rng.choice(OFFERS, len(who)),
            "exposed_at": ts,
            "clicked_at": clicked.to_numpy(),
            "converted_at": (clicked + pd.Timedelta("1h")).where(rng.random(len(who)) < 0.4).to_numpy(),
        }
    )
    months = pd.date_range(START, periods=18, freq="MS")
    who = np.repeat(np.arange(customers), len(months))
    holdings = pd.DataFrame(
        {
            "customer_id": ids[who],
            "product": "credit card",
            "as_of": np.tile(months, customers),
            "opened_on": pd.Timestamp("2022-06-01"),
            "closed_on": pd.NaT,
            "balance": rng.uniform(0, 900, len(who)),
            "credit_limit": 1000.0,
        }
    )
    side = {}
    for name in ("insurance", "consultation", "overseas", "investment"):
        who, ts = events(0.01)
        side[name] = pd.DataFrame({"customer_id": ids[who], "ts": ts, "kind": "other", "amount": rng.lognormal(3, 1, len(who))})
    return {
        "customers": people, "transactions": transactions, "sessions": sessions, "holdings": holdings,
        "campaigns": campaigns, "merchants": merchants, **side,
    }  # fmt: skip


def write_events(
    folder: Path,
    frames: dict[str, pd.DataFrame],
    *,
    cutoffs: tuple[str, ...] = CUTOFFS,
    horizon: int = 84,
    policy: str = "derived",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    EventsManifest("test", "tiny bank", defaults=Defaults(cutoffs, horizon, policy)).save(folder)
    return folder
