"""The guide is followed: its commands, on a small file in its format, with its map."""

from __future__ import annotations

import csv
import random
import re
import shlex
from datetime import date, timedelta
from pathlib import Path

import pytest

from ple_model.cli import build_parser, gather, main
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.connect import connect
from ple_model.data.events.spec import TABLES
from ple_model.data.importers.source_map import TableMap, load_map
from ple_model.tasks import TASKS

GUIDE = Path(__file__).parents[2] / "docs" / "bring-your-own-data.md"
CARDS = 24


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _commands() -> list[list[str]]:
    lines = [line for block in _blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("ple ")]


def _write_payments(path: Path) -> None:
    """As the guide's example: its header, its dates and amounts, the categories of its map, a total at the end."""
    header, *examples = csv.reader(_blocks("csv")[0].splitlines())
    categories = [*load_map(_map(path.parent)).tables["transactions"].values["mcc_l1"], ""]
    merchants = [row[3] for row in examples if row[3]]
    rng = random.Random(4)
    first, days = date(2024, 11, 1), 425
    rows = []
    for card in range(CARDS):
        for day in sorted({0 if card == 0 else rng.randrange(60), *(rng.randrange(days) for _ in range(25))}):
            amount = 1_352_520 if card == day == 0 else rng.randrange(1_000, 90_000) * (-1 if rng.random() < 0.02 else 1)
            when = (first + timedelta(days=day)).strftime("%Y/%m/%d")
            rows.append([when, f"{amount:,}", f"9410-{card:04d}", rng.choice(merchants), rng.choice(categories)])
    rows.append(["2025/12/30", "1,450", "9410-0000", merchants[0], categories[0]])
    with path.open("w", encoding="utf-8-sig", newline="") as out:
        csv.writer(out).writerows([header, *rows, examples[-1]])


def _map(folder: Path) -> Path:
    path = folder / "guide.yaml"
    path.write_text(_blocks("yaml")[0], encoding="utf-8")
    return path


def test_every_command_of_the_guide_is_one() -> None:
    commands = _commands()
    parser = build_parser(gather())
    assert [parser.parse_args(words).command for words in commands][:7] == [
        "import", "import", "validate", "build", "train", "evaluate", "diagnose",
    ]  # fmt: skip


def test_every_key_of_a_map_and_every_table_is_in_the_guide() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert [k for k in ("name", "cutoffs", "horizon_days", *TableMap.__dataclass_fields__) if f"`{k}`" not in text] == []
    assert [t for t in TABLES if f"`{t}`" not in text] == []


def test_the_guide_defines_every_task() -> None:
    table = GUIDE.read_text(encoding="utf-8").split("### What each task asks")[1].split("**Mean or median.**")[0]
    lines = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    rows = {name: cells for cells in lines for name in re.findall(r"`(\w+)`", cells[1])}
    assert set(TASKS) == set(rows)
    for name, spec in TASKS.items():
        if not spec.enabled:
            continue
        days = spec.condition.idle_days
        who = f"active in the {days} days before" if days else "credit line" if spec.condition.credit_line else "all"
        shown = {"binary": "probability", "regression": "mean" if spec.log_scale else ""}.get(spec.kind, "likel")
        assert who in rows[name][4], name
        assert shown in rows[name][5], name


def test_the_guide_leads_from_one_file_of_transactions_to_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write_payments(tmp_path / "payments.csv")
    starter, tables, validate, build = _commands()[:4]
    assert main(starter) == 0
    assert "STILL OPEN" not in capsys.readouterr().out
    shown, written = load_map(tmp_path / "guide.yaml"), load_map(tmp_path / "map.yaml")
    assert written.cutoffs == shown.cutoffs
    ours, guides = written.tables["transactions"], shown.tables["transactions"]
    assert (ours.columns, ours.thousands, ours.drop_incomplete) == (guides.columns, guides.thousands, guides.drop_incomplete)
    assert ours.values == guides.values
    (tmp_path / "guide.yaml").replace(tmp_path / "map.yaml")
    assert main(tables) == 0
    assert main(validate) == 0
    said = capsys.readouterr().out
    assert f"the customers are the {CARDS} different customer_id" in said
    assert "1 rows without customer_id or ts or amount were left out" in said
    with connect(tmp_path / "events") as store:
        known = store.con.execute("SELECT DISTINCT mcc_l1 FROM transactions ORDER BY 1").fetchall()
        assert known == [("dining",), ("fuel and transport",), ("groceries",), ("online",), (None,)]
    assert main([*build, "--workers", "1"]) == 0
    said = capsys.readouterr().out
    unlabelled = "no labels for: ctr, cvr, uplift, life_stage, balance_util, channel, nba, category_uplift"
    assert unlabelled in said
    assert unlabelled in GUIDE.read_text(encoding="utf-8")
    assert Dataset.open(tmp_path / "dataset").manifest.cutoffs == shown.cutoffs
