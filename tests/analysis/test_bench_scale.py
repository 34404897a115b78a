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


def test_a_command_is_watched_to_its_end() -> None:
    found = watch(("presets",))
    assert found.wall_s > 0
    assert found.first_mb > 5
    assert found.shard_mb == 0, "it started none"
    with pytest.raises(UserError, match=r"ple presets --nothing: exit 2: .*--nothing"):
        watch(("presets", "--nothing"))


def test_hours_of_millions_are_those_of_thousands_in_proportion() -> None:
    """36 s alone and 720 s by shards at 10,000: at 5,000,000, 500 times that, the latter among 64."""
    w = Watched(wall_s=99.0, first_s=36.0, shards_s=720.0, first_mb=512.0, shard_mb=1024.0)
    rows = scale.sizing(10_000, dict.fromkeys(scale.STAGES, w))
    found = {r.measure: r for r in rows}["sizing: build of 5,000,000 customers by 64 processes"]
    assert found.value == pytest.approx(5.0 + 100 / 64)
    assert dict(found.detail) == {"alone_h": 5.0, "shards_h": 1.56, "memory_gb": 64.5}
    assert found.source == "in proportion to 10,000 customers"


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
    scale.run(Settings(sizes=(100, 200), bank=tmp_path, seed=1))
    assert len(asked) == 6, "of another seed nothing is kept"
