"""Where copies of places by URL lie on this machine: `PLE_CACHE`, else a folder of the user's own cache.

A copy is named by its URL and by what lies there (names, sizes and marks of all files), so it is never changed: where the place
has changed, another copy is made. Whoever reads a copy holds a lock on it; copies of an older state that nobody holds are
removed. Copies hold customers' data: the folder is its user's alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ple_model.errors import UserError
from ple_model.staging import remove_unless_held

CACHE = "PLE_CACHE"


def cache_root() -> Path:
    """`PLE_CACHE`, or `ple-scope/urls` in the user's cache."""
    own = os.environ.get(CACHE)
    return (
        Path(own).absolute() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ple-scope" / "urls"
    )


def place_of(url: str, kind: str) -> Path:
    """The folder of all copies of a URL (kind `read`), or of what is to be put there (`made`)."""
    place = cache_root() / kind / hashlib.sha256(url.encode()).hexdigest()[:24]
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"{CACHE}: {place} cannot be made: {e.strerror or e}") from e
    return place


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
    held = os.open(copy, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def sweep_copies(place: Path, keep: str) -> None:
    """Remove the copies in `place` but the one named `keep` and those that somebody holds."""
    for old in place.iterdir():
        if old.name != keep and not old.name.startswith("."):
            remove_unless_held(old)
