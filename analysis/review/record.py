"""The audit record: one line of JSON a report, appended and never changed, each with the digest of the line before.

A line that was altered, taken out or put in breaks the chain from there on. What a chain cannot show by itself is that lines
are missing at the end, or that all of it was written anew: for that somebody else keeps the last digest (the head), and
`verify` is given it. A write that a power cut or a full disk cut short leaves a last line without end. Somebody who writes over
the last lines can leave the same, so such an end is not called whole, and the chain cannot tell which it was. The next line
holds the digest of what was left there, so that it is not changed any more unnoticed; only an end that lacks nothing but its
newline is mended, since what it says still fits.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ple_model.disk import writing
from ple_model.errors import UserError
from ple_model.safe_paths import append_file, check_file, make_folder, open_file, tail
from ple_model.staging import alone

FOLDER, FILE = "audit", "explanations.jsonl"
START = "0" * 64
"""What stands in the place of a digest before the first line."""
LINE = 64 * 1024
"""Bytes of a line at most."""
WINDOW = 8 * LINE
"""Bytes at the end in which the last line is looked for."""
TORN = "is no line of a record: it was cut short or overwritten"


@dataclass(frozen=True)
class Person:
    """Who asked for a report: the account of the operating system, or the login of the app."""

    name: str
    known_by: Literal["account", "login"]

    @staticmethod
    def of_account() -> Person:
        try:
            return Person(pwd.getpwuid(os.getuid()).pw_name, "account")
        except KeyError:
            return Person(f"uid {os.getuid()}", "account")


@dataclass(frozen=True)
class Receipt:
    """Where a report stands in the record: number and digest of its line."""

    number: int
    digest: str


@dataclass(frozen=True)
class RecordVerdict:
    """What `verify` found. `broken`: the first line that does not fit the ones before, and why; None for a whole chain."""

    file: str
    entries: int
    head: str
    first: str
    last: str
    """Times of the first and the last line; empty without any."""
    torn: tuple[int, ...]
    """Lines that were left unfinished or were overwritten: the chain cannot tell which. The next line vouches for each but
    those at the end."""
    open: bool
    """The record ends with such a line, or holds none at all: lines may be gone."""
    broken: tuple[int, str] | None

    @property
    def whole(self) -> bool:
        return self.broken is None and not self.open

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(self) | {"whole": self.whole, "torn": list(self.torn)}
        plain["broken"] = None if self.broken is None else {"line": self.broken[0], "why": self.broken[1]}
        return plain

    def __str__(self) -> str:
        if self.broken is not None:
            return f"{self.file}: line {self.broken[0]} {self.broken[1]}; {self.entries:,} lines before it fit"
        lines = ", ".join(map(str, self.torn))
        torn = f"; unfinished or overwritten, the chain cannot tell which: line {lines}" if lines else ""
        if self.open and not torn:
            torn = "; it is new or was emptied, the chain cannot tell which"
        span = f" from {self.first} to {self.last}" if self.entries else ""
        state = "the chain has an open end" if self.open else "the chain is whole"
        return f"{self.file}: {self.entries:,} lines{span}, {state}{torn}\nhead {self.head}"


def record_folder(run: Path) -> Path:
    """Where the record of a run is kept unless another folder is given."""
    return run / FOLDER


def append(folder: Path, facts: Mapping[str, Any], by: Person) -> Receipt:
    """A line about one report, on disk when this returns. `UserError` where the folder cannot be written to, or where the last
    line is no line of a record: nothing is appended to what was tampered with at its end."""
    try:
        make_folder(folder)
        with alone(folder), writing(folder / FILE):
            return _append(folder / FILE, facts, by)
    except OSError as e:
        raise UserError(f"{folder}: the audit record cannot be written ({e.strerror or e}); give another folder") from e


def _append(path: Path, facts: Mapping[str, Any], by: Person) -> Receipt:
    before = _last(path)
    plain = {
        "number": before.number + 1, "before": before.digest, "torn": before.torn,
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "by": by.name, "known_by": by.known_by, **facts,
    }  # fmt: skip
    digest = _digest(plain)
    line = _text({**plain, "digest": digest})
    if len(line) > LINE:
        raise UserError(f"{path}: a line of {len(line):,} bytes is too long for the record")
    descriptor = append_file(path)
    try:
        data = (b"" if before.ended else b"\n") + line + b"\n"
        if os.write(descriptor, data) != len(data):
            raise UserError(f"{path}: the line could not be written whole; the report is not made")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Receipt(before.number + 1, digest)


@dataclass(frozen=True)
class _Before:
    number: int
    digest: str
    torn: str = ""
    """Digest of what interrupted writes left behind it; empty where nothing is."""
    ended: bool = True
    """The file's last line has its newline."""


def _last(path: Path) -> _Before:
    """The last line that is whole, and what lies behind it."""
    try:
        size = check_file(path)
    except FileNotFoundError:
        size = 0
    found, left, ended = _Before(0, START), list[bytes](), True
    if size:
        lines = tail(path, WINDOW).split(b"\n")
        ended = not lines[-1]
        if ended:
            lines.pop()
        elif not isinstance(_entry(lines[-1]), dict):  # else it lacks its newline alone
            left = [lines.pop()]
        while lines:
            entry = _entry(lines[-1])
            if isinstance(entry, dict):
                found = _Before(entry["number"], entry["digest"])
                break
            if entry != TORN:
                raise UserError(f"{path}: the last line {entry}; `ple audit verify` names the first that was changed")
            left.insert(0, lines.pop())
        if not lines and size > WINDOW:
            raise UserError(f"{path}: its last {WINDOW:,} bytes hold no line of an audit record")
    return _Before(found.number, found.digest, _torn(left) if left else "", ended)


def _torn(lines: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def _text(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(plain)).hexdigest()


def _entry(line: bytes) -> dict[str, Any] | str:
    """What stands in a line, or why it is none of a record."""
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return TORN
    if not isinstance(plain, dict) or not isinstance(plain.get("number"), int) or not isinstance(plain.get("digest"), str):
        return "is no entry of an audit record"
    try:
        own = _digest({k: v for k, v in plain.items() if k != "digest"})
        exact = _text(plain) == line
    except ValueError:
        return "is no entry of an audit record"
    if own != plain["digest"]:
        return "was changed: its digest is not that of what it says"
    return plain if exact else "was changed: it is not written as the record writes"


def entries(path: Path) -> Iterator[bytes]:
    """The lines of a record without their ends, one at a time; a longer one than the record writes comes in pieces."""
    with open_file(path) as file:
        while line := file.readline(LINE + 1):
            yield line


def verify(folder: Path, head: str | None = None) -> RecordVerdict:
    """Whether the record of a folder is whole; `head`: the digest that its last line, or one before, must have. `UserError`
    where there is no record."""
    path = folder / FILE
    chain = _Chain(path)
    try:
        for number, raw in enumerate(entries(path), 1):
            if (why := chain.take(number, raw)) is not None:
                return chain.verdict(why)
    except FileNotFoundError as e:
        raise UserError(f"{folder} holds no audit record ({FILE}): no report has been made of it") from e
    return chain.verdict(chain.end(head))


class _Chain:
    """What has been read of a record so far."""

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.times = path, _Before(0, START), list[str]()
        self.heads = set[str]()
        self.waiting: list[tuple[int, bytes]] = []
        """Lines that are none, with their numbers: torn if the next line says so, or if they are the last."""
        self.torn: list[int] = []
        self.cut = self.open = False
        """`cut`: the last line has no end. `open`: see `RecordVerdict`."""

    def take(self, number: int, raw: bytes) -> tuple[int, str] | None:
        """One more line; which line is broken and why, or None."""
        line, self.cut = raw.removesuffix(b"\n"), not raw.endswith(b"\n")
        found = _entry(line)
        if found == TORN or (self.cut and isinstance(found, str)):
            self.waiting.append((number, line))
            return None
        if isinstance(found, str):
            return self._first((number, found))
        left = [text for _, text in self.waiting]
        if found.get("torn") != (_torn(left) if left else ""):
            return self._first((number, "speaks of a torn line before it that is not there"))
        self.torn += [n for n, _ in self.waiting]
        self.waiting.clear()
        if found["number"] != self.at.number + 1 or found.get("before") != self.at.digest:
            where = f"is number {found['number']} and does not follow number {self.at.number}"
            return number, f"{where}: lines were taken out, put in or moved"
        self.at = _Before(found["number"], found["digest"])
        self.heads.add(self.at.digest)
        self.times = [*self.times[:1], str(found.get("at", ""))]
        return None

    def _first(self, otherwise: tuple[int, str]) -> tuple[int, str]:
        return (self.waiting[0][0], TORN) if self.waiting else otherwise

    def end(self, head: str | None) -> tuple[int, str] | None:
        """What is wrong with the end: lines that are none and were ended, or a head that no line has (that of an empty record
        is START)."""
        if self.waiting and not self.cut:
            return self.waiting[0][0], TORN
        self.torn += [n for n, _ in self.waiting]
        empty = not self.at.number and not self.torn
        if empty and head == START:
            return None
        self.open = bool(self.waiting) or empty
        if head is not None and head not in self.heads:
            return self.at.number + len(self.torn) + 1, f"is missing: no line has the digest {head}"
        return None

    def verdict(self, broken: tuple[int, str] | None) -> RecordVerdict:
        first, last = (self.times[0], self.times[-1]) if self.times else ("", "")
        torn = tuple(self.torn)
        return RecordVerdict(str(self.path), self.at.number, self.at.digest, first, last, torn, self.open, broken)
