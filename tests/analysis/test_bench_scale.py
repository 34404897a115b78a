"""`ple bench scale`: what is watched of a command, what is kept, and the sums that follow. No time is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from analysis.bench import scale
from analysis.bench.watched import Watched, watch
from ple_model.bench.measure import Settings
from ple_model.cli import build_parser, gather
from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.files import write_json


def test_a_command_is_watched_to_its_end() -> None:
    found = watch(("presets",))
    assert found.wall_s > 0
    assert found.first_mb > 5
    assert found.shard_mb == 0, "it started none"
    with pytest.raises(UserError, match=r"ple presets --nothing: exit 2: .*--nothing"):
        watch(("presets", "--nothing"))


def test_a_crash_is_no_quick_diagnosis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A traceback exits with 1, as a diagnosis that has found something does."""
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\n[ $4 = good ] && echo '{}' || echo Traceback\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(fake))
    watch(("diagnose", "good", "--json"), good=(0, 1))
    with pytest.raises(UserError, match="exit 1"):
        watch(("diagnose", "bad", "--json"), good=(0, 1))


def test_hours_of_millions_are_those_of_thousands_in_proportion() -> None:
    """36 s alone and 720 s by shards at 10,000: at 5,000,000, 500 times that, the latter among 64."""
    w = Watched(wall_s=99.0, first_s=36.0, shards_s=720.0, first_mb=512.0, shard_mb=1024.0)
    rows = scale.sizing(10_000, dict.fromkeys(scale.STAGES, w))
    found = {r.measure: r for r in rows}["sizing: build of 5,000,000 customers by 64 processes"]
    assert found.value == pytest.approx(5.0 + 100 / 64)
    assert dict(found.detail) == {"alone_h": 5.0, "shards_h": 1.56, "memory_gb": 64.5}
    assert found.source == "in proportion to 10,000 customers"
    assert "memory_gb" not in {r.measure: r for r in rows}["sizing: build of 50,000,000 customers by 256 processes"].detail


def test_a_further_customer_is_judged_without_the_start_of_the_program() -> None:
    """60 s of start, 1 ms a customer up to 100,000 and 2 ms beyond: the mean falls, each further one costs twice."""
    seconds = {10_000: 70.0, 100_000: 160.0, 300_000: 560.0}
    found = {n: dict.fromkeys(scale.STAGES, Watched(s, s, 0.0, 1.0, 1.0)) for n, s in seconds.items()}
    row = {r.measure: r for r in scale._further(found)}[
        "build, processor time a further customer: 100,000 to 300,000 / 10,000 to 100,000"
    ]
    assert (row.value, row.met) == (pytest.approx(2.0), False)
    mean = {r.measure: r for r in scale._growth(found, 20_000)}
    assert mean["build, processor time a customer: 300,000 / 10,000"].met is True
    assert mean["build, peak memory of a shard's process: 300,000 / 100,000"].met is True
    assert mean["diagnose, peak memory of a shard's process: 300,000 / 100,000"].met is True
    del found[100_000]
    assert mean.keys() >= {r.measure for r in scale._growth(found, 20_000) if "first process" in r.measure}
    assert {r.met for r in scale._growth(found, 20_000) if "shard's process" in r.measure} == {None}, "10,000 fill no shard"


def test_buckets_are_those_that_the_program_makes() -> None:
    assert [scale.bucket_of(s) for s in ((10_000, 300_000), (20_000,), (300, 600))] == [20_000, 20_000, 150]
    assert [scale.buckets_of_size(n, 20_000) for n in (10_000, 20_000, 45_000)] == [2, 2, 3], "one is not worked on by shards"
    with pytest.raises(UserError, match="it must be at most 20,000,000"):
        scale.bucket_of((300, 50_000_000))


def test_what_was_measured_is_kept_and_growth_is_that_of_the_largest_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    parser = build_parser(gather())
    parser.parse_args(scale.training(tmp_path, tmp_path / "run"))
    load_config("small", overrides=list(scale.SHORT))
    kills = [("predict", 200)]

    def planted(words: Sequence[str], good: Sequence[int] = (0,)) -> Watched:
        size = int(next(p for w in words for p in Path(w).parts if p.startswith("customers-")).removeprefix("customers-"))
        parser.parse_args(words)
        home = tmp_path / f"customers-{size}"
        left = [home / "dataset", home / "run" / "analysis", home / ".scores.parquet.parts"]
        part = left[scale.STAGES.index(words[0])]
        assert not part.exists(), "what is measured begins anew"
        part.mkdir(parents=True)
        if words[0] == "build":
            write_json(part / "dataset.json", {"cutoffs": ["2024-09-01", "2024-10-01"]})
        assert words[0] != "predict" or words[words.index("--cutoff") + 1] == "2024-10-01", "each customer once"
        asked.append((words[0], size))
        if asked[-1] in kills:
            kills.clear()
            raise UserError("killed")
        return Watched(1.0, 0.1 * size, 0.3 * size * (1.5 if size == 200 else 1.0), 100.0, 50.0)

    monkeypatch.setattr(scale, "watch", planted)
    monkeypatch.setattr(scale._Size, "_buckets", lambda self: self.home / "buckets")
    monkeypatch.setattr(scale._Size, "_train", lambda self, dataset, run: None)
    settings = Settings(sizes=(100, 200), bank=tmp_path)
    with pytest.raises(UserError, match="killed"):
        scale.run(settings)
    rows = {r.measure: r for r in scale.run(settings)}
    assert [a for a in asked if a != ("predict", 200)] == [(s, n) for n in (100, 200) for s in scale.STAGES][:-1], "once each"
    assert rows["build, processor time a customer, 100 customers"].value == pytest.approx(400.0)
    grown = rows["build, processor time a customer: 200 / 100"]
    assert (grown.value, grown.met) == (pytest.approx(0.55 / 0.4), False)
    assert rows["build, peak memory of a shard's process: 200 / 100"].met is True
    asked.clear()
    for folder in ("buckets", "run"):
        (tmp_path / "customers-100" / folder).mkdir(exist_ok=True)
        (tmp_path / "customers-100" / folder / "old").touch()
    scale.run(Settings(sizes=(100, 200), bank=tmp_path, seed=1))
    assert len(asked) == 6, "of another seed nothing is kept"
    assert not list(tmp_path.glob("customers-*/*/old")), "no bank and no run either"
    asked.clear()
    monkeypatch.setattr(scale, "library_versions", lambda: {"torch": "another"})
    scale.run(Settings(sizes=(100, 200), bank=tmp_path, seed=1))
    assert len(asked) == 6, "nor of other libraries"
