"""The app killed (SIGKILL) at random moments: its server, a training, a study, a build of data, their workers, or all at once.

The real server on a loopback address, with its own workers and its queue; jobs begin and go on by what the app's buttons call
(`tests.drills.app_server`). After every kill the server stands again, no job is missing from its lists, every folder is read or
said to be unfinished in a sentence, and no process is left without a job. In the end each job has what one has that nobody
disturbed: the same weights, the same trials, the same files of a dataset. With `--keep FOLDER` a drill that was broken off goes
on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dashboard.browser import free_port
from dashboard.server import ROOT, app_command, app_environment
from tests.drills.kit import Outcome, Report
from tests.drills.tunings import result as trials_of
from tests.fakes import TINY, make_dataset, with_quick_baselines
from tests.ple_model.resume_driver import result as training_of

KINDS = ("train", "tune", "build")
PEOPLE = {"train": "trainer", "tune": "tuner", "build": "builder"}
VICTIMS = ("server", "process", "process", "worker", "everything")
"""What is killed; `process` is the trainer, the tuner or the builder itself."""
MARK = "PLE_DRILL"
"""Environment variable by which every process of a drill is known."""
LIMIT_S = 900.0
POLL_S = 0.05


def _settings(plain: dict[str, Any], name: str = "") -> Iterator[str]:
    """`key=value` of every leaf."""
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{name}{key}.")
        else:
            yield f"{name}{key}={json.dumps(value)}"


class Server:
    """The app's server; `ask` opens its door."""

    def __init__(self, base: Path) -> None:
        self.base, self.port = base, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = app_command(self.port, True)
        words[words.index(str(ROOT / "dashboard" / "serve.py"))] = str(ROOT / "tests" / "drills" / "app_server.py")
        variables = {**app_environment([self.base / "runs"]), "XDG_STATE_HOME": str(self.base / "state"), MARK: str(self.base),
                     "OMP_NUM_THREADS": "1"}  # fmt: skip
        with (self.base / "server.log").open("ab") as log:
            self.process = subprocess.Popen(words, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        began = time.monotonic()
        while time.monotonic() - began < LIMIT_S:
            with contextlib.suppress(OSError):
                self.ask("list")
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"the server does not start: {(self.base / 'server.log').read_text()[-2000:]}")
            time.sleep(POLL_S)
        raise RuntimeError("the server does not answer")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, act: str, **values: Any) -> Any:
        """What the app answers; `refused: ` and its sentence where it refuses."""
        body = json.dumps({"act": act, **values}, default=str).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/drill", body)
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.loads(reply.read())
        return answer["said"] if "said" in answer else f"refused: {answer['refused']}"


def processes(base: Path, server: int | None) -> dict[int, str]:
    """The processes of this drill but its server: id and command line."""
    found, mark = {}, f"{MARK}={base}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in (os.getpid(), server):
            continue
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if words:  # a zombie has none
                    found[int(folder.name)] = words
    return found


def _worker_of(pid: int) -> int:
    """The parent of a job's process."""
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


class Drill:
    """A tiny bank, the server, and the jobs."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.seed, self.server = base, seed, Server(base)
        self.jobs: list[str] = []
        (base / "runs").mkdir(exist_ok=True)
        data = base / "data" / "bank"
        if not data.exists():
            with_quick_baselines(make_dataset(data, train=96, validation=64, test=32))
        short = {**TINY, "training": {**TINY["training"], "phase1_epochs": 2, "phase2_epochs": 0}}
        longer = {**TINY, "training": {**TINY["training"], "phase1_epochs": 6}}
        self.how: dict[str, dict[str, Any]] = {
            "train": {"dataset": data, "config": yaml.safe_dump(longer)},
            "tune": {"dataset": data, "trials": 4, "settings": list(_settings(short)),
                     "keys": ["training.learning_rate=1e-3..1e-2:log", "global.dropout=0..0.4"]},
            "build": {"customers": 60},
        }  # fmt: skip

    def target(self, kind: str, name: str) -> Path:
        return self.base / ("data" if kind == "build" else "runs") / f"{kind}-{name}"

    def begin(self, kind: str, name: str) -> str:
        job = str(self.server.ask("start", kind=kind, target=self.target(kind, name), how=self.how[kind]))
        if job.startswith("refused"):
            raise RuntimeError(job)
        self.jobs.append(job)
        return job

    def status(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.ask("list")[job]
        return found

    def ended(self, job: str) -> str:
        """Its status once it is over."""
        began = time.monotonic()
        while (now := self.status(job))["active"]:
            if time.monotonic() - began > LIMIT_S:
                return "hangs"
            time.sleep(POLL_S)
        return str(now["status"])

    def undisturbed(self, kind: str) -> tuple[object, float]:
        """What a job comes to that nobody kills, and the seconds that it takes."""
        began = time.monotonic()
        ended = self.ended(self.begin(kind, "whole"))
        if ended != "finished":
            raise RuntimeError(f"an undisturbed {kind} ended as {ended}: {self.log()}")
        return self.result(kind, "whole"), time.monotonic() - began

    def result(self, kind: str, name: str) -> object:
        target = self.target(kind, name)
        if kind == "train":
            return training_of(target)
        return trials_of(target) if kind == "tune" else _files(target)

    def log(self) -> str:
        logs = sorted((self.base / "state").rglob("*.log"), key=lambda p: p.stat().st_mtime)
        return logs[-1].read_text(errors="replace")[-600:] if logs else ""

    def kill(self, victim: str, job: str) -> str:
        """Kill it; what was killed in which state of the job, empty where the job had ended before."""
        now = self.status(job)
        if not now["active"]:
            return ""
        pid, rest = now["pid"], processes(self.base, self.server.process.pid if self.server.process else None)
        if victim in ("server", "everything"):
            self.server.kill()
        if victim == "everything":
            for other in rest:
                _kill(other)
        if victim in ("process", "worker") and pid is None:
            return ""  # its worker has not come up: there is nothing yet to be killed
        if victim == "worker" and now["status"] == "running":
            with contextlib.suppress(OSError, ValueError):
                pid = _worker_of(pid)
        if victim in ("process", "worker"):
            _kill(pid)
        who = PEOPLE[now["kind"]] if victim == "process" else victim
        return f"{who} while {now['status']}"

    def faults(self, job: str) -> str:
        """What is wrong after a kill, empty if nothing is."""
        found, wrong = self.server.ask("list"), []
        wrong += [f"job {j} is not listed" for j in self.jobs if j not in found]
        for one in found.values():
            said = str(self.server.ask("read", kind=one["kind"], target=one["target"]))
            if "\n" in said or "Traceback" in said or len(said) > 400:
                wrong.append(f"{one['target']} is told of by {said[:200]!r}")
            if one["status"] == "finished" and said != "whole":
                wrong.append(f"{one['target']} is finished and not whole: {said}")
        return "; ".join(wrong)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _files(dataset: Path) -> dict[str, str]:
    """Every file of a dataset, by its digest."""
    files = sorted(p for p in dataset.rglob("*") if p.is_file())
    return {str(p.relative_to(dataset)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def cycle(drill: Drill, number: int, most: int, whole: dict[str, tuple[object, float]]) -> Iterator[Outcome]:
    """One job, killed up to `most` times, gone on with and compared."""
    rng, kind, name = random.Random(f"{drill.seed}-{number}"), KINDS[number % len(KINDS)], f"{number:03d}"
    seconds, job = whole[kind][1], drill.begin(kind, name)
    for turn in range(most):
        victim, after = rng.choice(VICTIMS), rng.uniform(0.0, seconds)
        time.sleep(after)
        if not (said := drill.kill(victim, job)):
            continue
        case = f"{name} {kind}, kill {turn + 1} after {after:.2f} s: {said}"
        if drill.server.process is None:
            drill.server.start()
        if victim in ("process", "everything") and drill.ended(job) == "hangs":
            yield Outcome(case, "hangs", drill.log())
            return
        wrong = drill.faults(job)
        yield Outcome(case, "wrong" if wrong else "right", wrong)
        if not drill.status(job)["active"] and drill.status(job)["status"] != "finished":
            job = _resumed(drill, kind, job)
            if job.startswith("refused"):
                yield Outcome(f"{case}, resumed", "refused to go on", job)
                return
    yield _judged(drill, kind, name, job, whole[kind][0])


def _resumed(drill: Drill, kind: str, job: str) -> str:
    again = str(drill.server.ask("resume", kind=kind, job=job))
    if not again.startswith("refused"):
        drill.jobs.append(again)
    return again


def _judged(drill: Drill, kind: str, name: str, job: str, whole: object) -> Outcome:
    """The job to its end, and what came of it beside the undisturbed one."""
    case = f"{name} {kind}, to its end"
    ended = drill.ended(job)
    if ended != "finished":  # killed at last: gone on with once more
        again = _resumed(drill, kind, job)
        ended = again if again.startswith("refused") else drill.ended(again)
    if ended != "finished":
        return Outcome(case, "does not go on", f"{ended}: {drill.log()}")
    wrong = drill.faults(job)
    left = _left(drill)
    mine = drill.result(kind, name)
    if mine != whole:
        return Outcome(case, "other result", f"{_difference(mine, whole)} {wrong} {left}")
    return Outcome(case, "left behind" if wrong or left else "right", f"{wrong} {left}".strip())


def _left(drill: Drill) -> str:
    """Processes without a job, and half-made files."""
    assert drill.server.process is not None
    for _ in range(100):  # what ends just now is given five seconds
        alive = processes(drill.base, drill.server.process.pid)
        if not alive:
            break
        time.sleep(POLL_S)
    names = [str(p.relative_to(drill.base)) for p in drill.base.rglob("*") if p.name.endswith((".tmp", ".new"))]
    return "; ".join([*(f"{pid} {words[:120]}" for pid, words in alive.items()), *names])


def _difference(mine: object, whole: object) -> str:
    if isinstance(mine, dict) and isinstance(whole, dict):
        return str([k for k in {*mine, *whole} if mine.get(k) != whole.get(k)])[:300]
    return f"{mine} / {whole}"[:600]


def run_cases(base: Path, seed: int, kills: int, done: int = 0, number: int = 0) -> Iterator[tuple[int, Outcome]]:
    """(number of the job, outcome) until so many kills are done."""
    drill = Drill(base, seed)
    drill.server.start()
    try:
        whole = {kind: _whole(drill, kind) for kind in KINDS}
        while done < kills:
            for one in cycle(drill, number, min(1 + number % 4, kills - done), whole):
                done += ", kill " in one.case and ", resumed" not in one.case
                yield number, one
            number += 1
    finally:
        drill.server.kill()
        for left in processes(base, None):
            _kill(left)


def _whole(drill: Drill, kind: str) -> tuple[object, float]:
    """The undisturbed job; of a drill that goes on the one that is there."""
    seconds = drill.base / f"{kind}.seconds"
    if seconds.exists():
        return drill.result(kind, "whole"), float(seconds.read_text())
    found = drill.undisturbed(kind)
    seconds.write_text(str(found[1]))
    return found


def drill(base: Path, seed: int, kills: int) -> Report:
    """The report of all outcomes, those of earlier calls on the same folder included."""
    report, kept = Report("app kills", seed), base / "outcomes.jsonl"
    before = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    report.add(Outcome(**{k: v for k, v in line.items() if k != "number"}) for line in before)
    done = sum(", kill " in line["case"] and ", resumed" not in line["case"] for line in before)
    number = max((line["number"] for line in before), default=-1) + 1

    def noted() -> Iterator[Outcome]:
        for at, one in run_cases(base, seed, kills, done, number):
            with kept.open("a") as file:
                file.write(json.dumps({"number": at, **dataclasses.asdict(one)}) + "\n")
            yield one

    return report.add(noted()) if done < kills else report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.app_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how often something is killed (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="what is killed and when (default 0)")
    parser.add_argument("--keep", type=Path, help="folder that keeps the bank, the jobs and the count; a second call goes on")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if given.keep is None:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ple-drill-")))
        else:
            base = given.keep.absolute()
            base.mkdir(parents=True, exist_ok=True)
        report = drill(base, given.seed, given.kills)
    print(json.dumps(report.to_dict(), indent=1, ensure_ascii=False) if given.json else report)
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main())
