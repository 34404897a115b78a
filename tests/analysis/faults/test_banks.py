"""The banks of the planted faults are kept between benchmarks, and made anew when the generator's code is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.faults import base
from ple_model.config import Config, load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run


def test_a_kept_bank_is_made_anew_only_when_the_generator_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def generate(out: Path, customers: int, seed: int) -> None:
        assert not out.exists()
        made.append(seed)
        out.mkdir()
        (out / "events.json").write_text("{}")

    monkeypatch.setattr(base, "generate", generate)
    monkeypatch.setattr(base, "build", lambda *a, **k: None)
    for _ in range(2):
        base.bank_rows(tmp_path / "bank", 3, 10, lambda text: None, base.SPLIT)
    assert made == [3]
    (tmp_path / "bank" / "generator").write_text("the digest of other code")
    said: list[str] = []
    base.bank_rows(tmp_path / "bank", 3, 10, said.append, base.SPLIT)
    assert made == [3, 3]
    assert said[0].startswith("seed 3: the generator has changed")


def test_a_kept_run_is_trained_anew_only_when_the_code_of_the_training_changed(
    tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    said: list[str] = []

    def train_run(rows: Dataset, path: Path, config: Config, customers: int) -> Run:
        path.mkdir(parents=True)
        made.append(path)
        return tiny_run

    monkeypatch.setattr(base, "train_run", train_run)
    monkeypatch.setattr(base, "load_run", lambda path: tiny_run)
    for code in ("one", "one", "another"):
        monkeypatch.setattr(base, "source_digest", lambda *modules, code=code: code if "ple_model.train" in modules else "")
        base._healthy(tmp_path, "tiny", load_config("small"), tiny_dataset, 10, said.append)
    assert len(made) == 2
    assert [p for p in made if p.exists()] == made[1:]
    assert "is kept from before" in said[1]
    assert "has changed since the one that is kept" in said[2]
