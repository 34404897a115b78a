"""A file or a folder that appears whole or not at all, also after a kill at any moment or when two processes make it at once.

It is written under a hidden name beside its place and renamed. While a folder is filled, its maker holds a lock on it, so that
what a killed process left behind is told from what another one is working on, and swept by the next start. Nothing else in the
program renames anything (a test says so).
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ple_model.disk import writing
from ple_model.errors import UserError

TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class PlaceTaken(UserError):
    """Another process put something there first."""


@contextmanager
def staged_file(path: Path, needed: int | None = None, *, durable: bool = True) -> Iterator[Path]:
    """A free name to write a file under; at the end of the block it replaces `path`, whose folder must exist: a reader sees the
    old content or the new one, and a link of this name is replaced, not followed. After an error nothing is left behind.

    `DiskFull` where the disk is full; `needed` are the bytes to come, where they are known. Not `durable`: what can be made
    again need not outlive a loss of power, and is not waited for.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path, needed):
        try:
            temporary.unlink(missing_ok=True)
            yield temporary
            if durable:
                _flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def first_file(path: Path, content: bytes) -> None:
    """A file that its user alone can read, whole or not there; who was first keeps it: one that is there stays as it is."""
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        os.unlink(fresh)


@contextmanager
def staged_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A fresh folder to fill; at the end of the block it is put at `target`, which must be absent or empty, or is replaced.

    `PlaceTaken` if somebody else was first; what is there then is left as it is. After an error nothing is left behind.
    """
    with private_folder(target) as fresh:
        yield fresh
        put(fresh, target, replace=replace)


@contextmanager
def private_folder(target: Path, *, sweep: str | None = None) -> Iterator[Path]:
    """A fresh folder to fill and `put` at `target`; what was not put is gone at the end of the block. What killed processes
    left is swept first: of this target, or of all whose names `sweep` fits."""
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with alone(parent):  # no folder is seen before its lock is held
            _sweep(parent, sweep or glob.escape(target.name))
            root = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".new", dir=parent))
            held = os.open(root, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh = root / target.name
        fresh.mkdir()
    except OSError as e:
        raise UserError(f"{target}: the folder cannot be made: {e.strerror or e}") from e
    try:
        yield fresh
    finally:
        os.close(held)
        shutil.rmtree(root, ignore_errors=True)


def put(fresh: Path, target: Path, *, replace: bool = False) -> None:
    """A `private_folder` to its place. `replace`: what is there gives way, whole, so that a reader sees all of it or none."""
    if replace:
        with suppress(FileNotFoundError):
            os.replace(target, fresh.parent / "before")
    try:
        os.replace(fresh, target)  # atomic; an empty folder is replaced, any other one is not
    except OSError as e:
        if e.errno in TAKEN:
            raise PlaceTaken(f"{target} was made by another process at the same moment; choose another folder") from e
        raise


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one process at a time makes, sweeps or puts something in `folder`."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _sweep(parent: Path, names: str) -> None:
    """Remove what killed processes left half made: folders whose maker no longer holds their lock."""
    for old in parent.glob(f".{names}.*.new"):
        remove_unless_held(old)


def remove_unless_held(old: Path) -> None:
    """A folder that nobody holds a lock on; anything else stays as it is."""
    if old.is_symlink() or not old.is_dir():
        return
    with suppress(OSError):
        held = os.open(old, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            os.close(held)


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
