"""Tables of series: what is read, and which row is named where one cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ple_model.errors import UserError
from ple_model.sequences.plain_series import read_series
from ple_model.sequences.windows import TimeSplit, as_series, split_windows, windows

HOURS = [f"2024-01-01 {h:02d}:00:00" for h in range(6)]


def table(path: Path, rows: list[list[object]], header: str = "date,a,b") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, r)) for r in rows)]) + "\n", encoding="utf-8")
    return path


def test_a_csv_finds_its_time_column_and_missing_numbers_are_unseen(tmp_path: Path) -> None:
    rows: list[list[object]] = [[t, k, 10 * k] for k, t in enumerate(HOURS)]
    rows[2][1] = ""
    rows[4][2] = "NaN"
    (found,) = read_series(table(tmp_path / "x.csv", rows))
    assert found.channels == ("a", "b")
    assert found.seen.tolist() == [True, True, False, True, False, True]
    assert found.values[3].tolist() == [3.0, 30.0]
    assert found.values[2].tolist() == [0.0, 0.0]
    assert found.times[0] == np.datetime64("2024-01-01T00:00")


def test_rows_in_any_order_and_a_row_that_is_missing(tmp_path: Path) -> None:
    rows = [[HOURS[k], k, k] for k in (5, 1, 0, 2, 4)]
    (found,) = read_series(table(tmp_path / "x.csv", rows))
    assert len(found) == 6
    assert found.seen.tolist() == [True, True, True, False, True, True]
    assert found.values[:, 0].tolist() == [0, 1, 2, 0, 4, 5]


def test_many_series_by_id_from_parquet(tmp_path: Path) -> None:
    days = np.arange("2024-01-01", "2024-01-09", dtype="datetime64[D]").astype("datetime64[us]")
    data = {"who": ["u"] * 5 + ["v"] * 3, "day": days[[0, 1, 2, 3, 4, 2, 3, 4]], "x": np.arange(8.0)}
    pq.write_table(pa.table(data), tmp_path / "x.parquet")
    u, v = read_series(tmp_path / "x.parquet", ids="who")
    assert (u.name, len(u), v.name, len(v)) == ("u", 5, "v", 3)
    assert v.values[:, 0].tolist() == [5.0, 6.0, 7.0]
    batch = as_series([u, v])
    assert batch.values[1, :, 0].tolist() == [0.0, 0.0, 5.0, 6.0, 7.0]
    assert batch.seen.tolist() == [[True] * 5, [False, False, True, True, True]]
    (only,) = read_series(tmp_path / "x.parquet", ids="who", time="day", channels=["x"])[:1]
    assert only.channels == ("x",)


def test_months_are_even_steps(tmp_path: Path) -> None:
    rows = [[f"2024-{m:02d}-01", m] for m in (1, 2, 3, 5, 6)]
    (found,) = read_series(table(tmp_path / "x.csv", rows, "month,a"))
    assert found.seen.tolist() == [True, True, True, False, True, True]
    assert found.times[3] == np.datetime64("2024-04-01")


@pytest.mark.parametrize(
    ("days", "missing"),
    [
        (("2024-01-31", "2024-02-29", "2024-03-31", "2024-05-31"), "2024-04-30"),
        (("2023-01-30", "2023-02-28", "2023-03-30", "2023-05-30"), "2023-04-30"),
        (("2023-04-30", "2023-06-30", "2023-07-31", "2023-08-31"), "2023-05-31"),
    ],
)
def test_ends_of_months_are_even_steps(tmp_path: Path, days: tuple[str, ...], missing: str) -> None:
    (found,) = read_series(table(tmp_path / "x.csv", [[d, k] for k, d in enumerate(days)], "month,a"))
    assert found.times[~found.seen].astype("datetime64[D]").astype(str).tolist() == [missing]
    assert found.times[found.seen].astype("datetime64[D]").astype(str).tolist() == list(days)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[HOURS[0], 1, 1], [HOURS[1], 1, 1], [HOURS[1], 2, 2]], "rows 3 and 4 have the same time"),
        (
            [[HOURS[0], 1, 1], [HOURS[1], 1, 1], ["2024-01-01 01:25:00", 2, 2], [HOURS[2], 2, 2], [HOURS[3], 0, 0]],
            "row 4 has the",
        ),
        ([[HOURS[0], 1, 1], ["", 1, 1]], "row 3 has no time in 'date'"),
        ([[HOURS[0], 1, 1], [HOURS[1], "many", 1]], "row 3, column 'a': 'many' is no number"),
        ([[HOURS[0], "", 1], [HOURS[1], "", 1]], "column 'a' has no number at all"),
        ([[HOURS[0], "inf", 1], [HOURS[1], "2", 1]], "row 2, column 'a': 'inf' is no number"),
        ([], "has no"),
    ],
)
def test_a_fault_names_its_row(tmp_path: Path, rows: list[list[object]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_series(table(tmp_path / "x.csv", rows))


def test_columns_are_named_with_the_nearest(tmp_path: Path) -> None:
    file = table(tmp_path / "x.csv", [[t, 1, 2] for t in HOURS])
    with pytest.raises(UserError, match="no column 'dat'; did you mean 'date'"):
        read_series(file, time="dat")
    with pytest.raises(UserError, match="no column of times"):
        read_series(file, channels=["a"], ids="date")
    with pytest.raises(UserError, match="column 'a' is named 2 times among the channels"):
        read_series(file, channels=["a", "a"])
    with pytest.raises(UserError, match="does not exist"):
        read_series(tmp_path / "y.csv")
    two = table(tmp_path / "z.csv", [[t, t, 2] for t in HOURS])
    with pytest.raises(UserError, match="several columns of times"):
        read_series(two)


def test_windows_are_every_stretch_and_a_part_looks_back(tmp_path: Path) -> None:
    values = np.arange(40, dtype=np.float32)[:, None]
    made = windows(values, np.ones(40, bool), 5, 3)
    assert len(made) == 33
    assert made.past[4, :, 0].tolist() == [4, 5, 6, 7, 8]
    assert made.future[4, :, 0].tolist() == [9, 10, 11]
    assert len(made.thinned(4)) == 9
    assert len(made.dropping_last(16)) == 32
    rows = [[f"2024-01-{1 + k:02d}", k] for k in range(30)]
    (series,) = read_series(table(tmp_path / "x.csv", rows, "day,a"))
    parts = split_windows(series, TimeSplit(15, 5, 8), 4, 2)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [10, 4, 7]
    back = parts.test.past * parts.std + parts.mean
    assert back[0, :, 0] == pytest.approx([16, 17, 18, 19], abs=1e-5)  # the test part begins at 20
    assert parts.mean[0] == 7.0
    with pytest.raises(UserError, match="30 steps, the split needs 31"):
        split_windows(series, TimeSplit(15, 8, 8), 4, 2)
    with pytest.raises(UserError, match="the validation part has no window"):
        split_windows(series, TimeSplit(15, 1, 8), 4, 2)


def test_an_offset_or_a_zone_is_read_as_utc_in_text_and_parquet(tmp_path: Path) -> None:
    text, zoned = tmp_path / "t.csv", tmp_path / "t.parquet"
    hours = [np.datetime64("2024-10-26T20:00") + np.timedelta64(k, "h") for k in range(12)]
    berlin = [(h + np.timedelta64(2 if k < 5 else 1, "h"), "+02:00" if k < 5 else "+01:00") for k, h in enumerate(hours)]
    text.write_text("when,x\n" + "".join(f"{h}:00{offset},{k}\n" for k, (h, offset) in enumerate(berlin)))
    utc = pa.array([h.astype("datetime64[us]").item() for h in hours], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"when": utc.cast(pa.timestamp("us", tz="Europe/Berlin")), "x": list(range(12))}), zoned)
    for file in (text, zoned):
        (found,) = read_series(file)
        assert found.utc
        np.testing.assert_array_equal(found.times, np.array(hours, "datetime64[us]"))
    text.write_text("when,x\n" + "".join(f"{h},{k}\n" for k, (h, _) in enumerate(berlin)))
    with pytest.raises(UserError, match=r"have the same time.*write them with their offset"):
        read_series(text)
    text.write_text("when,x\n2024-01-01T00:00:00Z,1\n2024-01-01T01:00:00,2\n")
    with pytest.raises(UserError, match="some times of column 'when' have an offset and some have none"):
        read_series(text)


def test_a_month_is_its_first_day(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("month,x\n" + "".join(f"{2020 + k // 12}-{1 + k % 12:02d},{k}\n" for k in range(30)))
    (found,) = read_series(file)
    assert (str(found.times[13])[:10], str(found.step), found.utc) == ("2021-02-01", "1 months", False)
