"""What validation found in the events is kept with the dataset, where the Data page reads it."""

from __future__ import annotations

from pathlib import Path

from ple_model.data.build.build import BuildSettings, build
from tests.ple_model.data.tiny_events import tables, write_events


def test_faults_of_the_events_are_noted_in_the_dataset(tmp_path: Path) -> None:
    frames = {k: v for k, v in tables(40).items() if k in ("customers", "transactions")}
    frames["transactions"].loc[:2, "customer_id"] = "nobody"
    dataset = build(write_events(tmp_path / "events", frames), tmp_path / "dataset", settings=BuildSettings(workers=1))
    found = [n for n in dataset.manifest.notes if n.startswith("validation, ")]
    assert any("transactions.customer_id" in n and "3 rows" in n for n in found), dataset.manifest.notes
