"""The guide for any series is followed: every command and its Python, on a table in its format."""

from __future__ import annotations

import csv
import re
import shlex
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from ple_model.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "any-series.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_shops(path: Path, days: int = 150) -> None:
    """With the guide's own header and first rows, a gap among them."""
    header, *examples = csv.reader(blocks("csv")[0].splitlines())
    rng = np.random.default_rng(0)
    rows = []
    for day in range(days):
        for shop, height in (("north", 100), ("south", 40)):
            visitors = height * (1 + 0.4 * np.sin(2 * np.pi * day / 7)) + 5 * rng.standard_normal()
            when = (date(2024, 1, 1) + timedelta(days=day)).isoformat()
            rows.append([when, shop, f"{visitors:.0f}", f"{30 * visitors:.2f}"])
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *examples, *rows[len(examples) :]])


def test_every_command_and_the_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shops(tmp_path / "shops.csv")
    lines = [shlex.split(line, comments=True)[1:] for line in blocks("bash")[0].splitlines()]
    assert len(lines) == 4
    for words in lines:
        assert main([*words, "--quiet"]) == 0, words
        head = (tmp_path / "ahead.csv").read_text().splitlines()[0]
        assert head == blocks("csv")[1].splitlines()[0]
    said = capsys.readouterr().out
    assert blocks("text")[0].splitlines()[1].split() == ["MSE", "MAE", "MSE,", "choosing"]
    assert said.count("<- chosen") == 3  # the fourth is JSON
    names: dict[str, object] = {}
    exec(compile(blocks("python")[0], str(GUIDE), "exec"), names)
    assert names["found"].series[0].forecast.shape == (14, 2)  # type: ignore[attr-defined]
