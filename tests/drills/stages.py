"""The commands that work by shards, on a bank of 96 customers, and what each comes to: `shards` and `nodes` disturb them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.bench.many import repeated_run
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.buckets import write_buckets
from ple_model.train import train
from ple_model.tuning.record import load_trials
from tests.fakes import make_dataset, tiny_config
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

LIMIT_S = 600
WRONG = "failed"
RANGE = 512
"""Rows of a range of a diagnosis, and of a shard of `ple sae`, here: a chunk (`analysis.engine.concepts`); the real ones are
longer than the whole of it."""
ROWS = 4 * RANGE
FEW = 4
"""Customers of a shard of reports."""
PROGRAM = f"""
import sys
from pathlib import Path
import analysis.engine.concept_shards, analysis.recording.shards, analysis.review.batch_shards
from ple_model.cli import main
from tests.drills.attempts import note
analysis.recording.shards.SHARD_ROWS, analysis.review.batch_shards.CUSTOMERS = {RANGE}, {FEW}
analysis.engine.concept_shards.SHARD_ROWS = {RANGE}
note(Path(sys.argv[1]))
sys.exit(main(sys.argv[2:]))
"""
MOMENT = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC|[\w-]+-audit")
"""What differs between two reports of the same."""


@dataclass(frozen=True)
class Stage:
    """A command that writes to a place, and what it came to there."""

    name: str
    words: Callable[[Path], Sequence[str]]
    outcome: Callable[[Path], str]


def digest(files: Sequence[Path]) -> str:
    """Empty where there is none."""
    h, files = hashlib.sha256(), [f for f in files if f.exists()]
    if not files:
        return ""
    for path in sorted(files):
        h.update(MOMENT.sub(b"", path.read_bytes()))
    return f"{len(files)} files {h.hexdigest()[:16]}"


def stages(base: Path, only: Sequence[str] = ()) -> list[Stage]:
    """Of a tiny bank and a run of it; `only`: these, empty: all."""
    write_buckets(write_events(base / "events", tables(96)), base / "buckets", 4)
    subprocess.run([sys.executable, "-m", "ple_model", "build", str(base / "buckets"), str(base / "data")], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    short = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 1}})
    run = train(Dataset.open(base / "data"), base / "run", short, preset="small", device="cpu")
    many = repeated_run(run.path, base / "many", ROWS)
    ids = list(dict.fromkeys(run.sample().table(["customer_id"]).column(0).to_pylist()))[: 5 * FEW]
    (base / "ids.txt").write_text("\n".join(ids))
    planted = make_dataset(base / "planted", train=96, validation=64, test=64)
    (base / "mask.key").write_text("0123456789abcdef" * 4)
    quick = ("--preset", "small", "--key", "training.learning_rate=1e-3..1e-2:log", "--only", "--trials", "4", "--seed", "1")
    every = [
        Stage("build", lambda to: ("build", str(base / "buckets"), str(to)), lambda to: DatasetManifest.load(to).fingerprint),
        Stage(
            "predict",
            lambda to: ("predict", str(run.path), str(base / "buckets"), f"{to}.parquet", "--cutoff", CUTOFFS[-1]),
            lambda to: digest([to.with_suffix(".parquet")]),
        ),
        Stage(
            "diagnose",
            lambda to: ("diagnose", str(_copy(many.path, to / "run"))),
            lambda to: digest([f for f in (to / "run" / "analysis").glob("*/*") if f.name != "meta.json"]),
        ),
        Stage(
            "sae",
            lambda to: ("sae", str(_copy(many.path, to / "run")), "--sample", str(4 * RANGE)),
            lambda to: digest([f for f in (to / "run" / "analysis").glob("latents-*/*") if f.suffix != ".json"]),
        ),
        Stage(
            "explain",
            lambda to: ("explain", str(run.path), "--customers", str(base / "ids.txt"), "--out", str(to), "--mask-key",
                        str(base / "mask.key"), "--audit", f"{to}-audit"),
            lambda to: digest(list(to.glob("*.html"))),
        ),
        Stage(
            "tune",
            lambda to: ("tune", str(planted.path), str(to), *quick),
            lambda to: ", ".join(f"{t.number} {t.state}" for t in load_trials(to)),
        ),
    ]  # fmt: skip
    return [s for s in every if not only or s.name in only]


def asked_for() -> list[str]:
    """The stages that `DRILL_STAGES` names (`build,predict`); empty: all."""
    return [name for name in os.environ.get("DRILL_STAGES", "").split(",") if name]


def _copy(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to, ignore=shutil.ignore_patterns("analysis")))


def begin(stage: Stage, to: Path, *engine: str) -> subprocess.Popen[str]:
    attempts(to).mkdir()
    words = [sys.executable, "-c", PROGRAM, str(attempts(to)), *stage.words(to), *engine]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def attempts(to: Path) -> Path:
    """Where the attempts at the shards of a command are noted that writes to `to`."""
    return Path(f"{to}-attempts")


def end(stage: Stage, to: Path, begun: subprocess.Popen[str]) -> str:
    """What it came to; `WRONG` and why where that is nothing."""
    try:
        _, errors = begun.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        begun.kill()  # whoever works for it ends with it
        begun.communicate()
        return f"{WRONG}: not ended within {LIMIT_S} s"
    if begun.returncode not in (0, 1):
        return f"{WRONG}, exit {begun.returncode}: {errors[-300:]}"
    return stage.outcome(to) or f"{WRONG}: nothing was made"


def judged(found: str, expected: str) -> str:
    """Two that came to nothing do not agree."""
    return WRONG if found.startswith(WRONG) else "right" if found == expected else "other"
