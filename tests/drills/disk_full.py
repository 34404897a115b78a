"""A disk that fills up, in every command that writes: one sentence, nothing half-written, and it goes on once there is room.

Each command first runs with room enough, which says how many bytes it needs; then on a file system (tmpfs) of a share of
them, and under a limit on the size of a file (`RLIMIT_FSIZE`) of a share of its largest file. A training that failed is
resumed with room, everything else is run again, and must end well. Mounting needs root; without it only the limits are tried.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.drills.kit import Outcome, Report, run_as_script
from tests.drills.process import Ended, ple, warm_up
from tests.fakes import tiny_config

SENTENCE = re.compile(r"no space left on|no space is left|the system's limit on the size of a file")
KEPT = (".build", ".lock")
"""Hidden names that may stay: finished steps of a build, which the next one takes up."""


@dataclass(frozen=True)
class Case:
    """One command; `{at}` in its words is the place that fills up. `needs` is copied there before."""

    name: str
    words: tuple[str, ...]
    needs: Path | None = None
    again: tuple[str, ...] = ()


def cases(base: Path) -> tuple[Case, ...]:
    train = ("train", f"{base}/dataset", "{at}/run", "--preset", "small", "--config", f"{base}/tiny.yaml", "--device", "cpu",
             "--no-baselines")  # fmt: skip
    quiet = ("--quiet", "--sample", "40")
    run = base / "runs" / "run"
    return (
        Case("synth", ("synth", "{at}/events", "--customers", "60", "--workers", "1")),
        Case("build", ("build", f"{base}/events", "{at}/data", "--workers", "1")),
        Case(
            "train", (*train, *quiet), None, ("train", f"{base}/dataset", "{at}/run", "--resume", "--quiet", "--no-baselines")
        ),
        Case("predict", ("predict", f"{run}", f"{base}/events", "{at}/out.parquet", "--quiet", "--workers", "1")),
        Case("diagnose", ("diagnose", "{at}/run", "--json"), run),
        Case("explain", ("explain", f"{run}", "--customer", _customer(run), "--html", "{at}/why.html")),
    )


def _customer(run: Path) -> str:
    import pyarrow.parquet as pq

    return str(pq.read_table(next((run / "sample").glob("*.parquet")), columns=["customer_id"]).column(0)[0].as_py())


def prepare(base: Path, log: Path) -> None:
    """Small event tables, a dataset of them and a run on it."""
    config = tiny_config({"training": {"phase1_epochs": 2, "phase2_epochs": 0}})
    (base / "tiny.yaml").write_text(config.to_yaml())
    for words in (
        ["synth", f"{base}/events", "--customers", "120", "--workers", "1"],
        ["build", f"{base}/events", f"{base}/dataset", "--workers", "1"],
        ["train", f"{base}/dataset", f"{base}/runs/run", "--preset", "small", "--config", f"{base}/tiny.yaml", "--device",
         "cpu", "--quiet", "--sample", "40", "--no-baselines"],
    ):  # fmt: skip
        done = ple(words, log)
        if done.code != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.said[-2000:]}")


def mount(place: Path, size: int) -> bool:
    """A tmpfs of `size` bytes at `place`; False where this process may not mount."""
    place.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size // 4096 * 4096 + 4096}", "tmpfs", str(place)]
    return shutil.which("mount") is not None and subprocess.run(words, check=False, capture_output=True).returncode == 0


def enlarge(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=400m", str(place)], check=True, capture_output=True)


def unmount(place: Path) -> None:
    subprocess.run(["umount", str(place)], check=True, capture_output=True)


def judge(case: Case, done: Ended, at: Path) -> Outcome:
    """What became of a command whose disk is too small."""
    last = done.said.strip().splitlines()[-1:] or [""]
    out = Outcome(case.name, "refused", last[0][:300])
    if done.signal is not None:
        return dataclasses.replace(out, result=f"killed by signal {done.signal}")
    if done.traceback:
        return dataclasses.replace(out, result="traceback", said=done.said[-600:])
    if done.code in (0, 1):
        return dataclasses.replace(out, result="accepted")
    if SENTENCE.search(last[0]) is None:
        return dataclasses.replace(out, result="another sentence")
    left = [str(p.relative_to(at)) for p in at.rglob("*") if _torn(p, at)]
    return dataclasses.replace(out, result="half-written", said=str(left[:5])) if left else out


def _torn(path: Path, at: Path) -> bool:
    parts = path.relative_to(at).parts
    if any(p in KEPT for p in parts):
        return path.name.endswith((".tmp", ".partial"))
    return (
        any(p.startswith(".") for p in parts)
        or path.name.endswith((".tmp", ".partial", ".new"))
        or (path.name in ("why.html", "out.parquet"))
    )


def _words(words: Sequence[str], at: Path) -> list[str]:
    return [w.replace("{at}", str(at)) for w in words]


def _used(folder: Path) -> tuple[int, int]:
    sizes = [f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink()]
    return sum(sizes), max(sizes, default=0)


def _put(case: Case, at: Path) -> None:
    if case.needs is not None:
        shutil.copytree(case.needs, at / case.needs.name)


def one(case: Case, at: Path, size: int, log: Path, *, limit: bool) -> Iterator[Outcome]:
    """The command where too little fits, then again where all fits. `size`: bytes of the disk, or of the largest file."""
    kind = f"{case.name} {'file limit' if limit else 'disk'} {size:,}"
    if not limit and not mount(at, size):
        return
    try:
        if limit:
            shutil.rmtree(at, ignore_errors=True)
            at.mkdir()
        try:
            _put(case, at)
        except OSError:
            return
        found = judge(case, ple(_words(case.words, at), log, file_limit=size if limit else None), at)
        yield dataclasses.replace(found, case=kind)
        if found.result == "accepted":
            return
        if not limit:
            enlarge(at)
        resumed = case.again if (at / "run" / "manifest.json").exists() and case.again else case.words
        done = ple(_words(resumed, at), log)
        good = done.code in (0, 1) and not done.traceback
        yield Outcome(f"{kind}, again", "right" if good else "does not go on", done.said[-400:] if not good else "")
    finally:
        if limit:
            shutil.rmtree(at, ignore_errors=True)
        else:
            unmount(at)


def run_cases(base: Path, seed: int, rounds: int, names: Sequence[str] = ()) -> Iterator[Outcome]:
    rng, log, at = random.Random(seed), base / "log", base / "small"
    for case in cases(base):
        if names and case.name not in names:
            continue
        whole = base / "whole"
        whole.mkdir()
        _put(case, whole)
        held = _used(whole)[0]
        done = ple(_words(case.words, whole), log)
        total, largest = _used(whole)
        shutil.rmtree(whole)
        if done.code not in (0, 1) or done.traceback:
            yield Outcome(case.name, "does not run at all", done.said[-400:])
            continue
        for k in range(rounds):
            share = (k + rng.random()) / rounds * 0.95
            if k % 3 == 2:
                yield from one(case, at, max(4096, int(largest * share)), log, limit=True)
            else:
                yield from one(case, at, held + int((total - held) * share) + 65_536, log, limit=False)


def drill(seed: int = 0, rounds: int = 6) -> Report:
    report = Report("disk full", seed)
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        base = Path(scratch)
        warm_up()
        prepare(base, base / "log")
        return report.add(run_cases(base, seed, rounds))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_as_script("disk_full", drill, 6)
