"""`ple forecast` on tables of one's own: the way that is best, its interval, times and units, and what it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.sequences.plain_series import PlainSeries
from ple_model.sequences.table_forecast import forecast_table
from ple_model.sequences.table_series import ForecastPlan, season_of
from ple_model.sequences.windows import windows

PLAN = ForecastPlan(horizon=7, lookback=28)


def shop(name: str = "north", n: int = 300, noise: float = 0.1, seed: int = 0) -> PlainSeries:
    """Two channels with a weekly rhythm."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(n) / 7)[:, None] * np.array([1.0, 10.0])
    values = np.array([5.0, 100.0]) + wave + noise * rng.standard_normal((n, 2)) * np.array([1.0, 10.0])
    times = np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "D")
    return PlainSeries(name, times, values, np.ones(n, bool), ("visitors", "sales"))


def test_the_interval_holds_and_the_rhythm_goes_on() -> None:
    found = forecast_table([shop(n=600)], PLAN)
    assert set(found.errors) == {"last value", "last season", "ridge"}
    assert found.chosen == "ridge"  # a mean over several weeks: less noise than in the last one
    assert found.errors["ridge"].mse < found.errors["last season"].mse < found.errors["last value"].mse
    assert found.covered == pytest.approx(0.9, abs=0.06)
    assert found.season == 7
    (ahead,) = found.series
    assert str(ahead.times[0]) == "2025-08-23T00:00:00.000000"  # the 600 days end on the day before
    truth = 100 + 10 * np.sin(2 * np.pi * np.arange(600, 607) / 7)
    np.testing.assert_allclose(ahead.forecast[:, 1], truth, atol=1.5)
    assert (ahead.low < ahead.forecast).all()
    assert (ahead.forecast < ahead.high).all()


def test_series_of_other_sizes_learn_together_each_in_its_own_units() -> None:
    one, other = shop("north"), shop("south", seed=1)
    large = replace(one, values=1000 * one.values)
    plain = forecast_table([one, other], PLAN)
    scaled = forecast_table([large, other], PLAN)
    np.testing.assert_allclose(scaled.series[0].forecast, 1000 * plain.series[0].forecast, rtol=1e-4)
    np.testing.assert_allclose(scaled.series[1].high, plain.series[1].high, rtol=1e-4)
    assert plain.windows["train"] == 2 * (210 - 35 + 1)


def test_a_series_whose_end_is_not_seen_is_left_empty_and_said_so() -> None:
    gone = shop("south")
    seen = gone.seen.copy()
    seen[-28:] = False
    found = forecast_table([shop(), replace(gone, values=np.where(seen[:, None], gone.values, 0.0), seen=seen)], PLAN)
    assert np.isnan(found.series[1].forecast).all()
    assert np.isfinite(found.series[0].high).all()
    assert any("1 of 2 series have no seen step" in n for n in found.notes)


def test_the_fewest_steps_are_said_and_are_enough() -> None:
    with pytest.raises(UserError, match=r"series 'north' has 60 steps; .* takes 70: choose a shorter"):
        forecast_table([shop(n=60)], PLAN)
    assert forecast_table([shop(n=70)], PLAN).windows["validation"] == 1
    with pytest.raises(UserError, match="has 69 steps"):
        forecast_table([shop(n=69)], PLAN)
    with pytest.raises(UserError, match="--season"):
        forecast_table([shop()], replace(PLAN, season=29))


def test_too_few_windows_to_choose_by_give_no_interval_and_say_so() -> None:
    few = forecast_table([shop(n=70)], PLAN)
    assert np.isnan(few.covered)
    assert np.isinf(few.series[0].high).all()
    assert np.isfinite(few.series[0].forecast).all()
    assert "no interval: it takes 9 seen values of every step ahead in the choosing part, of one there are 1" in few.notes
    enough = forecast_table([shop(n=150)], PLAN)  # 15 steps: nine windows of seven
    assert enough.windows["validation"] == 9
    assert np.isfinite(enough.series[0].high).all()
    assert any("2 that do not overlap, 90% takes 9" in n for n in enough.notes)
    assert not any("do not overlap" in n for n in forecast_table([shop(n=700)], PLAN).notes)
    holes = shop(n=150)
    seen = np.arange(150) % 20 > 0
    gaps = forecast_table([replace(holes, values=np.where(seen[:, None], holes.values, 0.0), seen=seen)], PLAN)
    assert "ridge" not in gaps.errors
    assert any("ridge regression is left out" in n for n in gaps.notes)


def blind(series: PlainSeries, first: int, last: int) -> PlainSeries:
    """The series with unseen steps from `first` to before `last`."""
    seen = series.seen & ~((np.arange(len(series)) >= first) & (np.arange(len(series)) < last))
    return replace(series, values=np.where(seen[:, None], series.values, 0.0), seen=seen)


def test_a_part_without_a_seen_step_is_unknown() -> None:
    with pytest.raises(UserError, match=r"no step of the choosing part .* is seen"):
        forecast_table([blind(shop(), 210, 240)], PLAN)
    found = forecast_table([blind(shop(), 240, 300), shop("south")], PLAN)
    assert found.errors["ridge"].mse > 0  # the other series judges
    alone = forecast_table([blind(shop(), 240, 300)], PLAN)
    assert np.isnan([e.mse for e in alone.errors.values()]).all()
    assert np.isnan(alone.covered)
    assert any("no step of the last part is seen" in n for n in alone.notes)
    assert not any("would have been better" in n for n in alone.notes)
    assert "0.000" not in str(alone).split("MSE, choosing")[1]
    assert "unknown" in str(alone)


def test_the_table_that_is_read_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "shop.csv"
    table.write_text("when,x\n" + "".join(f"{t!s:.10},{k % 7}\n" for k, t in enumerate(shop(n=120).times)))
    before = table.read_bytes()
    (tmp_path / "link.csv").symlink_to(table)
    for out in (table, tmp_path / "." / "shop.csv", tmp_path / "link.csv"):
        assert main(["forecast", str(table), str(out), "--horizon", "3", "--quiet"]) == 2
        assert "is the table that is read" in capsys.readouterr().err
    assert table.read_bytes() == before
    assert main(["forecast", str(table), str(tmp_path / "ahead.parquet"), "--horizon", "3", "--quiet"]) == 2
    assert "ahead.csv" in capsys.readouterr().err
    assert not (tmp_path / "ahead.parquet").exists()


def test_the_times_after_the_last_step() -> None:
    def of(*days: str) -> PlainSeries:
        return PlainSeries("", np.array(days, "datetime64[us]"), np.zeros((len(days), 1)), np.ones(len(days), bool), ("x",))

    ends = of("2023-12-31", "2024-01-31", "2024-02-29").after(3)
    assert [str(t)[:10] for t in ends] == ["2024-03-31", "2024-04-30", "2024-05-31"]
    assert [str(t)[:16] for t in of("2024-01-01T22:30", "2024-01-01T23:00").after(2)] == [
        "2024-01-01T23:30",
        "2024-01-02T00:00",
    ]
    with pytest.raises(UserError, match="takes two"):
        of("2024-01-01").after(1)


def test_an_encoder_starts_as_the_ridge_regression_and_ends_no_worse_where_it_is_chosen() -> None:
    found = forecast_table([shop(n=200)], replace(PLAN, encoder=True))
    assert found.watched["ridge + encoder"] <= found.watched["ridge"] + 1e-6


def test_the_command_writes_a_row_a_series_step_and_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "shops.csv", tmp_path / "out" / "ahead.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("when", "shop", "visitors", "sales"))
        for series in (shop("north", 120), shop("south", 120, seed=1)):
            for t, (a, b) in zip(series.times, series.values, strict=True):
                writer.writerow((str(t)[:10], series.name, f"{a:.3f}", f"{b:.3f}"))
    words = ["forecast", str(table), str(out), "--id", "shop", "--horizon", "7", "--quiet"]
    assert main(words) == 0
    assert "<- chosen" in capsys.readouterr().out
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 2 * 7 * 2
    assert rows[0]["id"] == "north"
    assert rows[0]["time"] == "2024-04-30 00:00:00"
    assert float(rows[0]["low"]) < float(rows[0]["forecast"]) < float(rows[0]["high"])
    assert main([*words, "--channel", "sales", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"chosen", "errors", "covered", "notes", "series"} <= set(said)
    assert main([*words[:-1], "--channel", "slaes"]) == 2
    assert "did you mean 'sales'" in capsys.readouterr().err
    korean = tmp_path / "korean.csv"
    lines = ["일자,매출", *(f'{t!s:.10},"{1000 + 500 * (k % 7):,}"' for k, t in enumerate(shop(n=120).times))]
    korean.write_text("\n".join(lines), encoding="cp949")
    words = ["forecast", str(korean), str(out), "--horizon", "7", "--quiet"]
    assert main(words) == 2
    assert "encoding: " in capsys.readouterr().err
    assert main([*words, "--encoding", "cp949"]) == 2
    assert "is no number" in capsys.readouterr().err
    assert main([*words, "--encoding", "cp949", "--thousands", ","]) == 0
    assert next(csv.DictReader(out.open()))["channel"] == "매출"
    assert main(["forecast", str(table), str(out), "--quiet"]) == 2
    assert "name the column as the one of ids" in capsys.readouterr().err


def of_step(months: int, n: int = 200) -> PlainSeries:
    times = (np.datetime64("1900-01", "M") + months * np.arange(n)).astype("datetime64[D]").astype("datetime64[us]")
    return replace(shop(n=n), times=times)


@pytest.mark.parametrize(("months", "season"), [(1, 12), (3, 4), (6, 2), (12, None), (5, None)])
def test_a_season_of_months_is_as_many_as_make_a_year(months: int, season: int | None) -> None:
    assert season_of(of_step(months).step, replace(PLAN, lookback=16))[0] == season


def test_a_season_of_other_steps_and_one_that_does_not_fit() -> None:
    for step, season in ((np.timedelta64(28, "D"), None), (np.timedelta64(30, "D"), None), (np.timedelta64(7, "D"), 52)):
        assert season_of(step, replace(PLAN, lookback=60))[0] == season
    found, notes = season_of(np.timedelta64(7, "D"), replace(PLAN, lookback=32))
    assert found is None
    assert "52 steps, a year, does not fit into a look-back of 32" in notes[0]


def test_a_series_that_begins_to_move_after_its_first_part_spoils_no_other() -> None:
    alone = forecast_table([shop()], PLAN)
    values = np.full((300, 2), 0.1)  # whose mean of many is not quite 0.1
    values[215:] = 50_000 + 1000 * np.random.default_rng(1).standard_normal((85, 2))
    found = forecast_table([shop(), replace(shop("late"), values=values)], PLAN)
    assert found.watched == alone.watched
    np.testing.assert_array_equal(found.series[0].high, alone.series[0].high)
    assert np.isfinite(found.series[1].forecast).all()
    assert np.isinf(found.series[1].high).all()
    assert any("no interval of late: standing still" in n for n in found.notes)
    with pytest.raises(UserError, match="stands still in its first 70%"):
        forecast_table([replace(shop("late"), values=values)], PLAN)
    still = forecast_table([shop(), replace(shop("still"), values=np.full((300, 2), 0.1))], PLAN)
    np.testing.assert_allclose(still.series[1].forecast, 0.1)
    assert np.isfinite(still.series[1].high).all()


def test_what_the_interval_holds_is_said_by_series() -> None:
    found = forecast_table([*(shop(f"calm {k}", 700, 0.05, k) for k in range(8)), shop("wild", 700, 3.0, 9)], PLAN)
    assert min(found.covered_by, key=lambda name: found.covered_by[name]) == "wild"
    assert found.covered_by["wild"] < 0.75 < found.covered < max(found.covered_by.values())
    assert found.covered == pytest.approx(np.mean(list(found.covered_by.values())))
    assert f"by series from {found.covered_by['wild']:.1%} (wild) to" in str(found)


def test_short_ended_and_other_series_are_named() -> None:
    ended = shop("ended")
    ended = replace(ended, times=ended.times - np.timedelta64(20, "D"))
    found = forecast_table([shop(), shop("new", 10), shop("one", 1), ended], PLAN)
    assert np.isnan(found.series[1].forecast).all()
    assert str(found.series[1].times[0])[:10] == "2024-01-11"
    assert str(found.series[2].times[-1])[:10] == "2024-01-08"  # of a single step, by the step of the others
    assert np.isfinite(found.series[0].high).all()
    assert any(n.startswith("left empty: series 'new' has 10 steps; ") for n in found.notes)
    assert any("3 of 4 series end before the others" in n and "ended (2024-10-06T00:00)" in n for n in found.notes)
    weekly = shop("weekly")
    weekly = replace(weekly, times=weekly.times[0] + 7 * (weekly.times - weekly.times[0]))
    with pytest.raises(UserError, match=r"series 'north' has steps of 1 day, .*series 'weekly' of 7 days, "):
        forecast_table([shop(), weekly], PLAN)


def test_more_windows_than_are_used_are_drawn_on_all_weekdays() -> None:
    values = np.arange(2000, dtype=np.float32)[:, None]
    drawn = windows(values, np.ones(2000, bool), 28, 7).drawn(7)
    assert len(drawn) == -(-1966 // 7)
    assert len(set((drawn.past[:, 0, 0] % 7).tolist())) == 7
    assert (np.diff(drawn.past[:, 0, 0]) > 0).all()


def test_numbers_and_times_are_read_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "t.csv", tmp_path / "ahead.csv"

    def said(*words: str, rows: list[tuple[str, str]]) -> tuple[int, str]:
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([("when", "x"), *rows])
        code = main(["forecast", str(table), str(out), "--horizon", "3", "--quiet", *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    days = [str(t)[:10] for t in shop(n=120).times]
    assert said(rows=[(d, str(1_234_567_890 + k % 7)) for k, d in enumerate(days)])[0] == 0
    rows = list(csv.DictReader(out.open()))
    assert len({r["forecast"] for r in rows}) == 3
    assert all(abs(float(r["forecast"]) - 1_234_567_893) < 4 and "e" not in r["forecast"] for r in rows)
    marked = [(d, f"{1 + k % 7}.450") for k, d in enumerate(days)]
    for words, told in (
        (("--thousands", "."), "is the mark before decimals"),
        (("--thousands", "?"), "is no such mark"),
        (("--decimal", ";"), "is no such mark"),
    ):
        code, text = said(*words, rows=marked)
        assert (code, told in text) == (2, True)
    assert said("--thousands", ".", "--decimal", ",", rows=marked)[0] == 0
    assert float(next(csv.DictReader(out.open()))["forecast"]) > 1000
    code, text = said("--thousands", ",", rows=[(d, f"{1 + k % 7},5") for k, d in enumerate(days)])
    assert (code, "is no number" in text) == (2, True)
