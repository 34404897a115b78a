"""A disk that is full, a quota or a limit on file sizes: one sentence, whichever library met it, and nothing half-written.

Every library says it in its own way (`OSError` with a number, Arrow's and DuckDB's texts, a `SafetensorError`); memory-mapped
files do not say it at all, but kill the process (SIGBUS) when a page that was promised cannot be had: `preallocate` asks first.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ple_model.errors import UserError
from ple_model.numerals import megabytes

NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WORDS = re.compile(
    r"no space left on device|os error (28|27|122)\b|errno (28|27|122)\b|disk quota exceeded|file too large", re.I
)
QUOTED = re.compile(r"['\"](/[^'\"\n]+)['\"]")


class DiskFull(UserError):
    """What was to be written does not fit."""


def is_disk_full(error: BaseException) -> bool:
    """Whether this error, or one that led to it, is about space on a disk."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in NUMBERS:
            return True
        if not isinstance(one, UserError) and WORDS.search(str(one)):
            return True
        one = one.__cause__ or one.__context__
    return False


def disk_full(error: BaseException, path: Path | None = None, needed: int | None = None) -> DiskFull:
    """The sentence for such an error: which file, on which file system, what is free, what is needed if it is known."""
    if isinstance(error, DiskFull):
        return error
    file = path or named_file(error)
    if file is None:
        return DiskFull("no space is left on a disk that is written to; make room and start again")
    mount = _mount(file)
    free = shutil.disk_usage(mount).free
    want = f"{megabytes(needed)} are needed, " if needed is not None else ""
    if (needed or 0) < free and "too large" in f"{error} {error.__cause__}".lower():
        return DiskFull(f"{file}: {want}the system's limit on the size of a file (see `ulimit -f`) does not allow it")
    left = f"{want}{megabytes(free)} are free"
    return DiskFull(f"no space left on {mount} while writing {file}: {left}; make room and start again")


def named_file(error: BaseException) -> Path | None:
    """The file that the error itself names; of a copy, the one that was to be written."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return Path(str(error.args[0][0][1]))
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    named = named or next(iter(QUOTED.findall(str(error))), None)
    return Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else None


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """`DiskFull` that names `path` if what is done inside runs out of space."""
    try:
        yield
    except Exception as e:
        if is_disk_full(e):
            raise disk_full(e, path, needed) from e
        raise


def preallocate(path: Path) -> None:
    """Have the disk promise all bytes of a sparse file. `DiskFull` if it cannot; the file is removed then."""
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDWR)
    with writing(path, size):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def _mount(path: Path) -> Path:
    place = path.absolute()
    while not (place.exists() and os.path.ismount(place)):
        if place == place.parent:
            break
        place = place.parent
    return place
