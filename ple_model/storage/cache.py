"""Where copies of places by URL lie on this machine: `PLE_CACHE`, else a folder of the user's own cache.

A copy is named by its URL and by what lies there (names, sizes and marks of all files), so it is never changed: where the place
has changed, another copy is made. Whoever reads a copy holds a lock on it (on a file in it: NFS locks no folders across
machines); copies of an older state that nobody holds are removed. Copies hold customers' data: the folder is its user's alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from ple_model.errors import UserError

CACHE = "PLE_CACHE"
HELD = ".held"
"""The file of a copy that its readers lock."""
RESULT = "result"
"""In the folder of what is to be put at a URL: where a command makes it, and where it waits."""


def cache_root() -> Path:
    """`PLE_CACHE`, or `ple-scope/urls` in the user's cache."""
    own = os.environ.get(CACHE)
    return (
        Path(own).absolute() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ple-scope" / "urls"
    )


def place_of(url: str, kind: str) -> Path:
    """The folder of all copies of a URL (kind `read`), or of what is to be put there (`made`)."""
    place = cache_root() / kind / hashlib.sha256(url.encode()).hexdigest()[:24]
    for folder in (place.parent, place):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(folder)
            own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if own and found.st_mode & 0o077:
                folder.chmod(0o700)
        except OSError as e:
            raise UserError(f"{CACHE}: {folder} cannot be made: {e.strerror or e}") from e
        if not own:  # whoever owns it reads and changes what lies there
            raise UserError(f"{CACHE}: {folder} is another account's; name a folder of your own")
    return place


def forget_made(local: Path, url: str) -> None:
    """Remove what waited to be put at the URL, where it is `local`: it has been put there."""
    here = place_of(url, "made")
    if local.absolute().parent == here / RESULT:
        with one_at_a_time(here, f"{url}: another command of this machine makes it"):
            shutil.rmtree(here / RESULT, ignore_errors=True)


@contextmanager
def one_at_a_time(place: Path, why: str | None = None) -> Iterator[None]:
    """Only one process works there; others wait, or are told `why` they may not."""
    lock = FileLock(place / ".lock", timeout=-1 if why is None else 0)
    try:
        lock.acquire()
    except Timeout as e:
        raise UserError(why or "") from e
    try:
        yield
    finally:
        lock.release()


def hold(copy: Path) -> int:
    """A descriptor: until it is closed the copy is not removed."""
    held = _lock_of(copy)
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def _lock_of(copy: Path) -> int:
    return os.open(copy / HELD, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)  # NFS: locks need a writer


def hold_copy(place: Path) -> None:
    """Hold the copy that a path lies in, where it lies in one, until this process ends."""
    root = cache_root() / "read"
    if root in place.parents and len(place.relative_to(root).parts) >= 3:
        with suppress(OSError):  # gone: whoever opens the place says so
            _held_to_the_end(root.joinpath(*place.relative_to(root).parts[:2]))


@cache
def _held_to_the_end(copy: Path) -> int:
    return hold(copy)


def sweep_copies(place: Path, keep: str) -> None:
    """Remove the copies in `place` but the one named `keep` and those that somebody holds."""
    for old in place.iterdir():
        if old.name == keep or old.name.startswith(".") or old.is_symlink() or not old.is_dir():
            continue
        with suppress(OSError):
            held = _lock_of(old)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                os.close(held)
