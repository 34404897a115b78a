"""One export from its file to the pages: found, asked, answered, imported, built, trained, diagnosed, scored and shown.

The file has what trips: German words in cp1252, decimal commas, two-digit years, refunds and cards long silent.
`test_import_cases.py` has each kind of file by itself, up to its event tables.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from ple_model.cli import main
from ple_model.data.events.connect import connect
from ple_model.data.events.manifest import EventsManifest
from tests.dashboard.test_views import opened

CARDS, SILENT = 26, 8
LAST = date(2023, 12, 31)


def payments() -> list[tuple[str, date, float, str, str]]:
    """Two years of 18 cards; of 8 others all payments are more than a year before the last day."""
    rng = random.Random(7)
    rows = []
    for card in range(CARDS):
        latest = (LAST - timedelta(days=560) if card < SILENT else LAST) - date(2022, 1, 1)
        for _ in range(24):
            day = date(2022, 1, 1) + timedelta(days=rng.randrange(latest.days + 1))
            amount = round(rng.lognormvariate(3, 1), 2) * (-1 if rng.random() < 0.03 else 1)
            rows.append(
                (f"{card:06d}", day, amount, f"Bäckerei {rng.randrange(12)}", rng.choice(("Lebensmittel", "Gaststätte")))
            )
    return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    lines = ["Karte;Buchungstag;Betrag;Händler;Kategorie"]
    lines += [f"{c};{d:%d.%m.%y};{a:.2f}".replace(".", ",").replace(f"{d:%d,%m,%y}", f"{d:%d.%m.%y}") + f";{m};{k}"
              for c, d, a, m, k in payments()]  # fmt: skip
    (folder / "umsatz.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    plan = folder / "map.yaml"
    assert main(["import", "map", str(folder / "umsatz.csv"), str(plan)]) in (0, 1)
    said = yaml.safe_load(plan.read_text(encoding="utf-8"))
    for pairs in said["tables"]["transactions"]["values"].values():
        pairs.update({word: None for word, meant in pairs.items() if meant == "?"})
    plan.write_text(
        yaml.safe_dump({**said, "cutoffs": said["cutoffs"][-2:], "currency": "EUR"}, allow_unicode=True), encoding="utf-8"
    )
    steps = [
        ["import", "tables", str(folder / "umsatz.csv"), str(folder / "events"), "--map", str(plan)],
        ["validate", str(folder / "events")],
        ["build", str(folder / "events"), str(folder / "data"), "--workers", "1"],
        ["train", str(folder / "data"), str(folder / "runs" / "first"), "--preset", "small", "--no-baselines",
         "--set", "training.phase1_epochs=1", "--set", "training.phase2_epochs=1"],
        ["diagnose", str(folder / "runs" / "first")],
        ["predict", str(folder / "runs" / "first"), str(folder / "events"), str(folder / "scores.parquet"),
         "--cutoff", said["cutoffs"][-1].isoformat()],
    ]  # fmt: skip
    for words in steps:
        assert main(words) in ((0, 1) if words[0] == "diagnose" else (0,)), words
    return folder


def test_the_events_are_the_file(place: Path) -> None:
    assert EventsManifest.load(place / "events").currency == "EUR"
    with connect(place / "events") as store:
        found = store.con.execute("SELECT customer_id, ts::DATE, amount, merchant_id, mcc_l2 FROM transactions").fetchall()
    assert sorted(found) == sorted(payments())


def test_every_card_is_scored_where_its_tasks_are_defined(place: Path) -> None:
    scores = pq.read_table(place / "scores.parquet").to_pandas().set_index("customer_id")
    assert len(scores) == CARDS
    silent = scores.loc[[f"{c:06d}" for c in range(SILENT)]]
    assert silent["churn"].isna().all()
    assert silent["churn_reason"].str.contains("active in the 28 days before").all()
    assert silent["ltv_fallback"].all()
    active = scores.drop(silent.index)
    assert active["ltv"].notna().all()
    assert active["churn"].dropna().between(0, 1).all()


@pytest.mark.parametrize("name", ["overview", "data", "uncertainty", "why_recommended"])
def test_the_pages_show_the_run(place: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    app = opened(place / "runs", monkeypatch, name, lang="ko")
    assert app.title
