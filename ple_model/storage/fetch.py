"""A place by URL as a folder or file of this machine: copied whole and compared, or found among the copies that are there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path

from ple_model.disk import writing
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.numerals import megabytes
from ple_model.safe_paths import is_file
from ple_model.staging import staged_folder
from ple_model.storage.cache import CACHE, hold, one_at_a_time, place_of, sweep_copies
from ple_model.storage.listing import LIST, FileList, read_list, sha256
from ple_model.storage.remote import Lying, Remote, open_remote, speaking
from ple_model.storage.url import AtUrl, Kind

Progress = Callable[[int, int], None]
"""Hears how many of how many files are there."""
AT_ONCE = 32
"""Files that are asked for together: a library that can do so copies them side by side."""
SEEN = ".seen.json"
"""Beside a copy: what it was made of."""


@contextmanager
def fetched(place: AtUrl, progress: Progress | None = None) -> Iterator[Path]:
    """The copy of what lies at a URL now; it stays as it is for the time of the block. `UserError` where nothing lies there, of
    another kind than is expected, where it is being written, and where it changes while it is copied."""
    remote = open_remote(place.url)
    files = lying_at(remote, place.kind)
    state = hashlib.sha256(json.dumps([[n, *astuple(f)] for n, f in files.items()]).encode()).hexdigest()[:24]
    copies = place_of(place.url, "read")
    with one_at_a_time(copies):
        if not _is_whole(copies / state, place.name, files):
            with staged_folder(copies / state, replace=True) as fresh:
                copy_to(fresh / place.name, remote, files, _earlier(copies, place.name), progress)
                write_json(fresh / SEEN, {n: astuple(f) for n, f in files.items()})
        held = hold(copies / state)
        sweep_copies(copies, state)
    try:
        yield copies / state / place.name
    finally:
        os.close(held)


def lying_at(remote: Remote, kind: Kind = "either") -> dict[str, Lying]:
    """`Remote.files`, of which there are some, of this kind."""
    files = remote.files()
    if not files:
        bucket = remote.url.partition("://")[2].partition("/")[0]
        raise UserError(f"{remote.url}: nothing is there, or there is no bucket '{bucket}'")
    if kind != "either" and (kind == "file") != ("" in files):
        raise UserError(f"{remote.url} is a {'file; a folder' if '' in files else 'folder; a file'} is expected")
    return files


def _is_whole(copy: Path, name: str, files: Mapping[str, Lying]) -> bool:
    """Whether a copy is there and still is what was copied: others may sweep caches, file by file."""
    if not (copy / SEEN).is_file() or not (copy / name).exists():
        return False
    there = sum(1 for p in (copy / name).rglob("*") if not p.is_dir()) or int((copy / name).is_file())
    wanted = {n: f for n, f in files.items() if n != LIST}
    return there == len(wanted) and _unchanged(copy, name) == wanted


def _unchanged(copy: Path, name: str) -> dict[str, Lying]:
    """Files of a copy that have the size they had, and were not written since."""
    found: dict[str, Lying] = {}
    with suppress(OSError, UserError, TypeError, ValueError, AttributeError):  # a damaged copy is none
        made = (copy / SEEN).stat().st_mtime_ns
        for n, (size, mark) in read_json(copy / SEEN).items():
            with suppress(FileNotFoundError, NotADirectoryError):
                file = os.lstat(copy / name / n if n else copy / name)
                if stat.S_ISREG(file.st_mode) and file.st_size == size and file.st_mtime_ns <= made:
                    found[n] = Lying(size, mark)
    return found


def _earlier(copies: Path, name: str) -> dict[tuple[str, int, str], Path]:
    """Files of copies that are there, by name, size and mark."""
    return {
        (n, f.size, f.mark): copy / name / n if n else copy / name
        for copy in sorted(p.parent for p in copies.glob(f"*/{SEEN}"))
        for n, f in _unchanged(copy, name).items()
    }


def _take(old: Path, new: Path) -> None:
    """A file of another copy, which is never changed: the same one by another name, where the disk has such."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        with writing(new, old.stat().st_size):
            shutil.copyfile(old, new, follow_symlinks=False)


def copy_to(
    target: Path, remote: Remote, files: Mapping[str, Lying],
    earlier: Mapping[tuple[str, int, str], Path] | None = None, progress: Progress | None = None,
) -> None:  # fmt: skip
    """All files to `target`, which is not there; its parent folder is. Those that `earlier` knows are taken from there."""
    listed = None if "" in files else read_list(remote)
    if listed is not None and listed.files is None:
        raise UserError(
            f"{remote.url} is being written, or a command that wrote it was stopped: the same command writes it again"
        )
    wanted = {n: f for n, f in files.items() if n != LIST}
    places = {n: target / n if n else target for n in wanted}
    for folder in {p.parent for p in places.values()} | (set() if "" in files else {target}):
        folder.mkdir(parents=True, exist_ok=True)
    missing = []
    for n, f in wanted.items():
        old = (earlier or {}).get((n, f.size, f.mark))
        if old is not None and is_file(old):
            _take(old, places[n])
        else:
            missing.append(n)
    needed = sum(wanted[n].size for n in missing)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise UserError(
            f"{remote.url} holds {megabytes(needed)} to copy, {megabytes(free)} are free in {target.parent}; see {CACHE}"
        )
    for k in range(0, len(missing), AT_ONCE):
        some = missing[k : k + AT_ONCE]
        with writing(target, needed), speaking(remote.url, "read"):
            here = [str(places[n].absolute()) for n in some]  # some libraries make the folder of each, which a mere name lacks
            remote.fs.get([remote.at(n) for n in some], here)
        if progress is not None:
            progress(len(wanted) - len(missing) + k + len(some), len(wanted))
    _compare(remote, wanted, places, listed)
    if remote.files() != files:
        raise UserError(f"{remote.url} was changed while it was read; try again")


def _compare(remote: Remote, files: Mapping[str, Lying], places: Mapping[str, Path], listed: FileList | None) -> None:
    """With what was said to lie there."""
    cut = next((n for n, f in files.items() if not is_file(places[n]) or places[n].stat().st_size != f.size), None)
    if cut is not None:
        raise UserError(f"{remote.url}: {cut or 'it'} was not read whole; try again")
    if listed is None or listed.files is None:
        return
    odd = sorted(set(files) ^ set(listed.files))
    other = odd[:1] or [n for n, digest in sorted(listed.files.items()) if sha256(places[n]) != digest][:1]
    if other:
        raise UserError(f"{remote.url} is not what was written there: {other[0]} differs from {LIST}; write it again")
