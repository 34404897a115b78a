"""A folder that appears whole or not at all, also when two processes make it at once.

It is filled under a hidden name of its own beside its place and renamed. While it is filled, its maker holds a lock on a file
beside it, so that what a killed process left behind is told from what another one is working on, and swept by the next start.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ple_model.errors import UserError

TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A fresh folder to fill; at the end of the block it is put at `target`, which must be absent or empty.

    `UserError` if somebody else was first; what is there then is left as it is. After an error nothing is left behind.
    """
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with _alone(parent):
            _sweep(parent, target.name)
            fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".new", dir=parent))
            held = os.open(fresh, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        raise UserError(f"{target}: the folder cannot be made: {e.strerror or e}") from e
    try:
        yield fresh
        os.chmod(fresh, 0o777 & ~_umask())
        os.rename(fresh, target)  # atomic; an empty folder is replaced, any other one is not
    except OSError as e:
        if e.errno in TAKEN and str(e.filename) == str(fresh):
            raise UserError(f"{target} was made by another process at the same moment; choose another folder") from e
        raise
    finally:
        os.close(held)
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Only one process at a time makes or sweeps a hidden folder in `parent`: no folder is seen before its lock is held."""
    folder = os.open(parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _sweep(parent: Path, name: str) -> None:
    """Remove what killed processes left half made."""
    for old in parent.glob(f".{_literal(name)}.*.new"):
        if old.is_symlink() or not old.is_dir():
            continue
        folder = os.open(old, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(folder)


def _literal(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
