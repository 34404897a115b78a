"""Hostile folders against every command that opens one: `python -m tests.drills.hostile_folders --json`.

Each case takes a good run or dataset and spoils one thing. A command must answer with a sentence (`UserError`), or work; never
with another exception, never late, and never by reading or writing outside: a canary file beside the folder must keep its
content and its time of access, and its words must not be shown. Counts of all three are wanted to be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

SECRET = "the canary's own words"
CPU_LIMIT_S = 60
WALL_LIMIT_S = 600
"""A hang is a minute of this process's own work, or ten minutes of waiting: another process's load makes none."""
Spoil = Callable[[Path, Path], None]
"""(run folder, canary) -> None."""


@dataclass(frozen=True)
class Case:
    name: str
    spoil: Spoil


# --- ways to spoil a file

ODD: dict[str, Any] = {
    "null": None, "true": True, "text": "x", "negative": -1, "huge": 10**30, "float": 1e308, "list": [1, [2]],
    "mapping": {"a": {}}, "empty": "", "escape": "\x1b]0;x\x07", "image": "![](http://127.0.0.1:9/x.png)",
}  # fmt: skip


def _json_value(file: str, keys: tuple[str, ...], value: Any) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        path = run / file
        whole = json.loads(path.read_text())
        part = whole
        for key in keys[:-1]:
            part = part[int(key) if isinstance(part, list) else key]
        part[int(keys[-1]) if isinstance(part, list) else keys[-1]] = value
        path.write_text(json.dumps(whole))

    return spoil


def _content(file: str, data: bytes) -> Spoil:
    return lambda run, canary: (run / file).write_bytes(data) and None


def _cut(file: str) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        path = run / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return spoil


def _gone(file: str) -> None:
    if os.path.isdir(file) and not os.path.islink(file):
        shutil.rmtree(file)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)


def _kind(file: str, kind: str) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        path = run / file
        _gone(str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "link":
            path.symlink_to(canary)
        elif kind == "folder":
            path.mkdir()
        elif kind == "outside":
            path.symlink_to(canary.parent)
        elif kind == "dangling":
            path.symlink_to("nowhere")
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # the name of a socket is short
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.bind(path.name)
            finally:
                os.chdir(here)

    return spoil


def _npz(file: str, member: str, header: str, body: bytes = b"") -> Spoil:
    """An npz whose one array has this header, as bytes."""

    def spoil(run: Path, canary: Path) -> None:
        text = header.encode() + b" " * (63 - (len(header) + 10) % 64) + b"\n"
        data = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
        with zipfile.ZipFile(run / file, "w") as z:
            z.writestr(f"{member}.npy", data)

    return spoil


def _pickle(file: str) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        np.savez(run / file, kind=np.array([{"a": 1}], dtype=object))

    return spoil


def _tensor_header(file: str, header: dict[str, Any]) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        text = json.dumps(header).encode()
        (run / file).write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 64)

    return spoil


def _part_name(name: str) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        path = run / "sample/dataset.json"
        whole = json.loads(path.read_text())
        whole["files"][0]["name"] = name.replace("CANARY", str(canary))
        path.write_text(json.dumps(whole))

    return spoil


def _rows(rows: int) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        path = run / "sample/dataset.json"
        whole = json.loads(path.read_text())
        part = whole["files"][0]
        whole["rows"] += rows - part["rows"]
        whole["splits"][part["split"]] += rows - part["rows"]
        part["rows"], part["group_rows"] = rows, [rows]
        path.write_text(json.dumps(whole))

    return spoil


def _place(path: str) -> Spoil:
    def spoil(run: Path, canary: Path) -> None:
        (run / "state").mkdir(exist_ok=True)
        (run / "state/dataset.json").write_text(json.dumps({"path": path.replace("CANARY", str(canary))}))

    return spoil


def _hard_link(run: Path, canary: Path) -> None:
    (run / "progress.jsonl").unlink()
    os.link(canary, run / "progress.jsonl")


NESTED = b"[" * 100_000 + b"]" * 100_000
BOMB = ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(f"{c}: &{c} [{', '.join(f'*{p}' for _ in range(9))}]\n"
        for p, c in zip("abcdefgh", "bcdefghi", strict=True))).encode()  # fmt: skip
LINE = b'{"event": "epoch", "epoch": 1, "x": "' + b"a" * (8 << 20) + b'"}\n'
JSONS = (
    "manifest.json", "metrics.json", "preprocess/context.json", "preprocess/calibration.json", "sample/dataset.json",
)  # fmt: skip
FILES = (*JSONS, "config.yaml", "progress.jsonl", "model.safetensors", "preprocess/hierarchy.npz", "preprocess/normalizer.npz")
MANIFEST_KEYS = (
    "preset", "seed", "threads", "batch_size", "data", "versions", "status", "created", "warnings", "format_version",
    "parameters", "reason",
)  # fmt: skip
CONTEXT_KEYS = ("hierarchy_names", "raw_mean", "brands", "brand_counts", "label_scalers", "constant_loss", "class_names")
DATASET_KEYS = (
    "schema_version", "name", "cutoffs", "splits", "rows", "fields", "tasks", "presence", "label_counts", "files", "settings",
)  # fmt: skip


def cases() -> list[Case]:
    found: list[Case] = []

    def add(name: str, spoil: Spoil) -> None:
        found.append(Case(name, spoil))

    for file in FILES:
        for kind in ("fifo", "zero", "link", "folder", "dangling", "loop", "socket"):
            add(f"{file} is a {kind}", _kind(file, kind))
        add(f"{file} is cut", _cut(file))
        add(f"{file} is empty", _content(file, b""))
        add(f"{file} is noise", _content(file, random.Random(file).randbytes(4096)))
    for folder in ("preprocess", "sample", "analysis", "state"):
        add(f"{folder}/ leads outside", _kind(folder, "outside"))
        add(f"{folder} is a fifo", _kind(folder, "fifo"))
    for file in JSONS:
        add(f"{file} is nested", _content(file, NESTED))
        for name in ("null", "text", "list", "huge"):
            add(f"{file} is {name}", _content(file, json.dumps(ODD[name]).encode()))
        add(f"{file} has a number of 5,000 digits", _content(file, b'{"format_version": ' + b"9" * 5000 + b"}"))
    for where, keys in (
        ("manifest.json", MANIFEST_KEYS), ("preprocess/context.json", CONTEXT_KEYS), ("sample/dataset.json", DATASET_KEYS),
    ):  # fmt: skip
        for key in keys:
            for name, value in ODD.items():
                add(f"{where}: {key} is {name}", _json_value(where, (key,), value))
    for text in (
        b"a: 2001-99-99",
        b"a: !!float x",
        b"a: !!python/object:os.system x",
        BOMB,
        NESTED,
        b"a: *b",
        b"&a [*a]",
        b"a: !!bool 1",
    ):
        add(f"config.yaml is {text[:30]!r}", _content("config.yaml", text))
    for key, text in (("shared", b"shared_experts: {temporal: {patch: -1}}"), ("wide", b"cgc: {hidden: 1000000000}")):
        add(f"config.yaml is {key}", _content("config.yaml", text))
    for name in ("../../secret.parquet", "/dev/zero", "CANARY", "..", "", "a\0b", "sub/part.parquet", ".hidden"):
        add(f"a part is called {name!r}", _part_name(name))
    for rows in (0, -1, 10**12, 2**62):
        add(f"a part claims {rows} rows", _rows(rows))
    for file in ("preprocess/hierarchy.npz", "preprocess/normalizer.npz"):
        member = "ball" if "hier" in file else "kind"
        shape = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
        add(f"{file} claims 10^12 values", _npz(file, member, shape))
        add(f"{file} holds a shape below zero", _npz(file, member, shape.replace("1000000000000", "-1")))
        add(f"{file} holds objects", _pickle(file))
        add(f"{file} has a header of words", _npz(file, member, "__import__('os')"))
        add(
            f"{file} is of another type",
            _npz(file, member, "{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", b"\0" * 16),
        )
    for name, header in (
        ("beyond the file", {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        ("backwards", {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}),
        ("of nothing", {}),
        ("another model's", {"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}),
    ):
        add(f"the weights are {name}", _tensor_header("model.safetensors", header))
    for place in ("CANARY", "/dev/zero", "/", "relative", "a\0b", "/proc/self"):
        add(f"the dataset's place is {place!r}", _place(place))
    add("a progress line of 8 MB", _content("progress.jsonl", LINE))
    for key in ("train", "valid", "gates", "grad_norm", "epoch", "s", "adatt"):
        line = {"event": "epoch", "epoch": 1, "phase": 1, key: [{"x": "y"}]}
        add(f"progress: {key} of another type", _content("progress.jsonl", json.dumps(line).encode() + b"\n"))
    add("progress.jsonl has a second name", _hard_link)
    for task in ("ctr", "nowhere"):
        for value in (None, [], {"form": "beta", "a": "x"}, {"form": "beta", "a": 1e400}, {"form": "beta", "a": -1, "b": -1}):
            add(
                f"calibration of {task} is {value}", _content("preprocess/calibration.json", json.dumps({task: value}).encode())
            )
    add("a checkpoint of noise", lambda run, canary: _put(run / "state/checkpoint.safetensors", b"noise"))
    add("a checkpoint that is a link", _kind("state/checkpoint.safetensors", "link"))
    add("labels of latents are a list", lambda run, canary: _put(run / "analysis/latent_labels.json", b"[1]"))
    return found


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


# --- the commands


def commands(run: Path, out: Path) -> dict[str, list[str]]:
    """The argument lists, each as a person would type it; an events folder that is not there ends `predict` after the run."""
    r = str(run)
    return {
        "runs": ["runs", str(run.parent)],
        "validate": ["validate", r],
        "validate dataset": ["validate", str(run / "sample")],
        "evaluate": ["evaluate", r, "--bootstrap", "2", "--no-boosting", "--json"],
        "diagnose": ["diagnose", r, "--sample", "40", "--json"],
        "predict": ["predict", r, str(run / "sample"), str(out / "p.parquet")],
        "explain": ["explain", r, "--customer", "nobody"],
        "whatif": ["whatif", r, "--ablate", "perslay", "--json"],
        "resume": ["train", str(run / "sample"), r, "--resume", "--quiet", "--no-baselines"],
    }


class Late(BaseException):
    """Past its time; no command catches it."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    before = {number: signal.signal(number, late) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.alarm(WALL_LIMIT_S)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class Outcome:
    case: str
    command: str
    fault: str
    """"" (a sentence, or done), "traceback", "hang" or "outside"."""
    said: str


def _state(canary: Path) -> tuple[bytes, int, int]:
    found = canary.stat()
    descriptor = os.open(canary, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
    with os.fdopen(descriptor, "rb") as file:
        return file.read(), found.st_mtime_ns, len(list(canary.parent.iterdir()))


def attempt(case: str, command: str, words: list[str], canary: Path) -> Outcome:
    """One command in this process, under a limit."""
    from ple_model.cli import main

    before, said, fault = _state(canary), io.StringIO(), ""
    try:
        with _limited(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(words)
            fault = "" if code in (0, 1, 2) else "traceback"
    except Late:
        fault = "hang"
    except SystemExit as e:
        fault = "" if e.code in (0, 1, 2) else "traceback"
    except BaseException:
        fault = "traceback"
        said.write(traceback.format_exc())
    text = said.getvalue()
    if "Traceback (most recent call last)" in text:
        fault = "traceback"
    if _state(canary) != before or SECRET in text:
        fault = "outside"
    return Outcome(case, command, fault, text[-1500:])


def app_list(run: Path, canary: Path, case: str) -> Outcome:
    """What the app asks of a folder of runs before it shows a page."""
    from ple_model.run import list_runs

    before = _state(canary)
    fault, said = "", ""
    try:
        with _limited():
            found = {e.name: e for e in list_runs(run.parent)}
            said = str(found)
            if "good" not in found or found["good"].error is not None:
                fault = "traceback"
    except Late:
        fault = "hang"
    except BaseException:
        fault, said = "traceback", traceback.format_exc()
    return Outcome(case, "app list", "outside" if _state(canary) != before or SECRET in said else fault, said[-1500:])


def drill(
    good: Path, chosen: list[Case], only: set[str] | None = None, tell: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Every chosen case with every command (or `only` some); `tell` hears of each attempt."""
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as place:
        root = Path(place)
        outside = root / "outside"
        outside.mkdir()
        canary = outside / "canary.txt"
        canary.write_text(SECRET)
        for case in chosen:
            runs = root / "runs"
            shutil.rmtree(runs, ignore_errors=True)
            shutil.copytree(good, runs / "bad")
            (runs / "good").mkdir()
            for name in ("manifest.json", "config.yaml"):
                shutil.copy(good / name, runs / "good" / name)
            case.spoil(runs / "bad", canary)
            for command, words in commands(runs / "bad", root / "out").items():
                if only is None or command in only:
                    found.append(attempt(case.name, command, words, canary))
                    tell(found[-1])
            found.append(app_list(runs / "bad", canary, case.name))
            tell(found[-1])
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path(__file__).resolve().parents[1] / "runs" / "healthy")
    parser.add_argument("--cases", type=int, help="a seeded choice of this many")
    parser.add_argument("--part", help="I/N: the I-th of N parts of all cases, in a seeded order")
    parser.add_argument("--only", nargs="*", help="these commands alone")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    every = cases()
    chosen = every if args.cases is None else random.Random(0).sample(every, min(args.cases, len(every)))
    if args.part:
        part, parts = (int(n) for n in args.part.split("/"))
        chosen = random.Random(0).sample(every, len(every))[part - 1 :: parts]
    begun = time.monotonic()

    def tell(o: Outcome) -> None:
        if o.fault:
            print(f"{o.fault}: {o.case} · {o.command}: {' / '.join(o.said[-300:].splitlines())}", file=sys.stderr, flush=True)

    found = drill(args.run, chosen, set(args.only) if args.only else None, tell)
    count = {kind: sum(o.fault == kind for o in found) for kind in ("traceback", "hang", "outside")}
    summary = {"cases": len(chosen), "attempts": len(found), **count, "seconds": round(time.monotonic() - begun, 1)}
    bad = [vars(o) for o in found if o.fault]
    if args.json:
        print(json.dumps({"summary": summary, "faults": bad}, indent=1))
    else:
        print(summary, *(f"{o['fault']}: {o['case']} · {o['command']}: {o['said']}" for o in bad), sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
