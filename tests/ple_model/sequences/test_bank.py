"""The bank that proofs are measured on is not another one than was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ple_model.bench.bank import bank
from ple_model.bench.measure import Settings
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.manifest import EventsManifest
from ple_model.errors import UserError
from tests.encoders import tiny_encoder


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"customers": 7}, "a bank of customers 120, asked for is 7"),
        ({"customers": 120, "seed": 4}, "a bank of seed 3, asked for is 4"),
        ({"customers": 120, "seed": 3}, "is not the encoder of this benchmark: encoder.patch is 30, asked for is 7"),
        ({"quick": True, "seed": 3}, "a bank of customers 120, asked for is 300"),
    ],
)
def test_what_is_kept_must_be_what_is_asked_for(
    small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    (tmp_path / "events").mkdir()
    EventsManifest("synthetic bank", "bank", {}, parameters={"customers": 120, "seed": 3}).save(tmp_path / "events")
    (tmp_path / "dataset").symlink_to(small_dataset.path)
    (tmp_path / "encoder").symlink_to(tiny_encoder(tmp_path_factory, small_dataset))
    with pytest.raises(UserError, match=said), bank(Settings(bank=tmp_path, **settings)):  # type: ignore[arg-type]
        pass
