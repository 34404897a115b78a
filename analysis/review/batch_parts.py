"""Reports of a batch that were made and are in no audit record yet: a folder that the batch's own account alone can enter, a
packed file a customer, which is no report. The file is named by the customer's mask: without the masks' key nobody finds by an
id whose it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from analysis.review.issue import Desk, Format, MadeReport, digests
from analysis.review.reports import BatchOrder, ReportOutcome
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.safe_paths import make_folder, read_bytes, write_bytes
from ple_model.sources import source_digest

PARTS = ".parts"
MADE_BY = "analysis.review.reports"
LARGEST = 1 << 30
"""Bytes of a customer's file, packed or not."""


def parts_folder(out: Path, batch: object, desk: Desk, order: BatchOrder) -> Path:
    """Where reports of a batch wait, made if it is not there. One folder holds what was made of one batch, in the same formats,
    under one key of masks, for one audit record (a report names it) and by one version of the program."""
    of = {"batch": batch, "formats": sorted(order.formats), "masks": desk.masks.named, "record": str(desk.record)}
    key = hashlib.sha256(f"{json.dumps(of, sort_keys=True)}|{source_digest(MADE_BY)}".encode()).hexdigest()[:16]
    try:
        make_folder(out / PARTS).chmod(0o700)
        return make_folder(out.absolute() / PARTS / key)
    except OSError as e:
        raise UserError(f"{out / PARTS}: the folder cannot be made for one account alone: {e.strerror or e}") from e


def clear_parts(out: Path) -> None:
    """After a batch, whoever made it: nothing of it waits any more. `UserError` where something cannot be removed."""
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(out / PARTS)
    except OSError as e:
        raise UserError(f"{out / PARTS}: reports that no record names cannot be removed: {e.strerror or e}; remove it") from e


def part_of(parts: Path, desk: Desk, customer: str) -> Path:
    """A customer's file."""
    return parts / f"{desk.masks(customer)}.part"


def save_part(path: Path, outcome: ReportOutcome) -> None:
    """Whole or not at all."""
    report = outcome.report
    plain = {**vars(outcome), "report": None}
    if report is not None:
        files = {kind: base64.b64encode(data).decode("ascii") for kind, data in report.files.items()}
        plain["report"] = {**vars(report), "files": files}
    write_bytes(path, zlib.compress(dump(plain).encode()))


def is_made(path: Path, formats: Sequence[Format]) -> bool:
    """Whether the customer needs no further work: there is a report in all formats, or the task is not defined. What could not
    be explained is tried again."""
    try:
        outcome = load_part(path)
    except (UserError, FileNotFoundError):
        return False
    return outcome.outside or (outcome.report is not None and set(outcome.report.files) == set(formats))


def load_part(path: Path) -> ReportOutcome:
    """What `save_part` saved. `UserError` where it is damaged, or a report is not what its line of the record will say."""
    try:
        plain = json.loads(_unpacked(read_bytes(path, LARGEST)))
        report = plain.pop("report")
        if report is not None:
            files = {kind: base64.b64decode(text, validate=True) for kind, text in report["files"].items()}
            report = MadeReport(**report | {"files": files})
        outcome = ReportOutcome(report, **plain)
    except (zlib.error, binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise UserError(f"{path} is damaged: {' '.join(str(e).split())[:300]}") from e
    if report is not None and digests(report.files) != report.facts.get("files"):
        raise UserError(f"{path}: a report is not what was made")
    return outcome


def _unpacked(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data, LARGEST)
    if not stream.eof:
        raise ValueError("it is not whole, or too long")
    return found
