"""What the benchmark of two readers reckons with: the pace of a stretch, the slowest tenth, pairs of rounds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from dashboard.bench_viewers import _ninety, _page_rows, _speed_row, pace, positions


def test_the_pace_is_that_of_the_stretch_alone(tmp_path: Path) -> None:
    lines = [{"event": "step", "time": t, "epoch": e, "step": s, "steps": 10} for t, e, s in ((1, 1, 2), (3, 1, 8), (5, 2, 4))]
    text = "\n".join(map(json.dumps, [{"event": "start"}, *lines])) + '\n{"event": "st'
    (tmp_path / "progress.jsonl").write_text(text)
    found = positions(tmp_path)
    assert found == [(1.0, 2), (3.0, 8), (5.0, 14)]
    assert pace(found, 0, 9, 32) == 32 * 12 / 4
    assert pace(found, 2, 9, 32) == 32 * 6 / 2
    assert math.isnan(pace(found, 4, 9, 32))
    assert positions(tmp_path / "none") == []


@pytest.mark.parametrize(("n", "ninth"), [(1, 1), (9, 9), (10, 9), (11, 10), (20, 18)])
def test_nine_of_ten_do_not_exceed_it(n: int, ninth: int) -> None:
    assert _ninety([float(x) for x in range(n, 0, -1)]) == ninth


def test_rows_are_of_pages_and_of_rounds_that_both_have_a_pace() -> None:
    rows = _page_rows({"without": {"a": [(1.0, 2.0)], "b": [(3.0, 4.0)]}, "beside": {"a": [(2.0, 6.0)], "b": [(6.0, 8.0)]}})
    by = {r.measure.split(",")[0]: r for r in rows}
    assert by["all pages: script has run"].value == 4 / 2
    assert by["a: painted"].value == 6 / 2
    speed = _speed_row({"alone": [100.0, float("nan"), 50.0], "beside": [50.0, 1.0, 40.0]})
    assert (speed.value, speed.low, speed.high, speed.detail["rounds"]) == (0.65, 0.5, 0.8, 2.0)
