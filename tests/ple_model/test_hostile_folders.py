"""A seeded part of the drill with hostile folders; all of it: `python -m tests.drills.hostile_folders`."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from ple_model.run import Run, list_runs
from tests.drills.hostile_folders import cases, drill

QUICK = {"runs", "validate", "validate dataset"}
"""The commands that read a folder without running its model: a case costs milliseconds."""
TEN = (
    "manifest.json is a fifo", "manifest.json is a zero", "manifest.json is nested", "manifest.json: seed is text",
    "manifest.json: created is text", "config.yaml is a link", "config.yaml is b'a: 2001-99-99'", "preprocess/ leads outside",
    "progress.jsonl is a socket", "config.yaml is noise",
)  # fmt: skip


def test_hostile_folders_end_in_sentences_and_nothing_outside_is_read_or_written(tiny_run: Run) -> None:
    every = cases()
    assert len(every) >= 100
    bad = [o for o in drill(tiny_run.path, random.Random(0).sample(every, 25), QUICK) if o.fault]
    assert bad == []


def test_a_folder_with_hostile_runs_lists_each_with_its_reason_and_the_good_ones_too(tiny_run: Run, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    runs = tmp_path / "runs"
    shutil.copytree(tiny_run.path, runs / "good")
    by_name = {c.name: c for c in cases()}
    for number, name in enumerate(TEN):
        bad = runs / f"bad{number}"
        bad.mkdir()
        for part in ("manifest.json", "config.yaml", "progress.jsonl"):
            shutil.copy(tiny_run.path / part, bad / part)
        by_name[name].spoil(bad, canary)
    found = {e.name: e for e in list_runs(runs)}
    assert found["good"].error is None
    reasons = {n: e.error for n, e in found.items() if e.error is not None}
    assert len(reasons) == len(TEN)
    assert all(f"/{n}" in str(reason) for n, reason in reasons.items())
