"""The banks of the planted faults are kept between benchmarks, and made anew when the generator's code is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.faults import base


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
        base.bank_rows(tmp_path / "bank", 3, 10, lambda text: None)
    assert made == [3]
    (tmp_path / "bank" / "generator").write_text("the digest of other code")
    base.bank_rows(tmp_path / "bank", 3, 10, lambda text: None)
    assert made == [3, 3]
