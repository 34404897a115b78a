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
from ple_model.sequences.table_forecast import ForecastPlan, forecast_table

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
    assert "no interval: it takes 9 windows in the choosing part, there are 1" in few.notes
    enough = forecast_table([shop(n=150)], PLAN)  # 15 steps: nine windows of seven
    assert enough.windows["validation"] == 9
    assert np.isfinite(enough.series[0].high).all()
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
    found = forecast_table([blind(shop(), 240, 300), shop(n=70)], replace(PLAN, horizon=7))
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
