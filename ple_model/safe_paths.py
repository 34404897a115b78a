"""The one way into a folder that may come from a stranger: a run, a dataset, its artifacts, an analysis, a folder of jobs.

Such a folder holds plain files and folders, nothing else. A link (its target may be anywhere), a FIFO (opening one waits for
ever), a device or a socket is refused by name, wherever below the folder it lies, and a file is no larger than its kind
allows, so that reading it ends. `check_tree` looks at a folder once, when it is opened; `open_file` and `append_file` look
again at what they open, on the open descriptor. Formats are read in `safe_text` and `safe_arrays`.

Not promised: a folder that somebody else changes while it is being read. Between a look and an open by name (the readers of
safetensors and DuckDB take names only) another user who may write there could swap a file.
"""

from __future__ import annotations

import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from ple_model.errors import UserError
from ple_model.staging import staged_file

MAX_ENTRIES = 100_000
"""Files and folders below one run or dataset."""
MAX_DEPTH = 16
"""Folders within folders; a run has three."""

_KINDS = (
    (stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip
_NAME = re.compile(r"[^/\\\x00-\x1f]{1,200}")


def _kind(mode: int) -> str:
    return next((word for test, word in _KINDS if test(mode)), "no file")


def check_tree(folder: Path) -> None:
    """`UserError` naming the first thing below `folder` that is neither a file nor a folder. The folder itself may be reached
    through a link: its name is the caller's own. One that is not there is left to whoever reads it."""
    count = 0
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_symlink() or not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
                        what = _kind(entry.stat(follow_symlinks=False).st_mode)
                        raise UserError(f"{entry.path} is {what}; only plain files and folders are read here")
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((Path(entry.path), depth + 1))
        except (FileNotFoundError, NotADirectoryError):
            continue  # gone since: what reads it says so
        except OSError as e:
            raise UserError(f"{here} cannot be read: {e.strerror or e}") from e
        if depth > MAX_DEPTH:
            raise UserError(f"{folder}: folders are nested more than {MAX_DEPTH} deep")
        if count > MAX_ENTRIES:
            raise UserError(f"{folder} holds more than {MAX_ENTRIES:,} files; this is not the folder of a run or a dataset")


def check_file(path: Path, limit: int | None = None) -> int:
    """Size of the plain file `path`. `UserError` for anything else or a larger one; `FileNotFoundError` where nothing is."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise FileNotFoundError(f"{path} is missing") from e
    except (OSError, ValueError) as e:
        raise UserError(f"{path} cannot be read: {e}") from e
    return _regular(path, found, limit)


def _regular(path: Path, found: os.stat_result, limit: int | None) -> int:
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is {_kind(found.st_mode)}, a plain file is expected")
    if limit is not None and found.st_size > limit:
        raise UserError(f"{path} has {found.st_size:,} bytes, at most {limit:,} are read")
    return found.st_size


def is_file(path: Path) -> bool:
    """Whether something of this name is there that is no folder; what it is, `open_file` says."""
    try:
        return not stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder, and no link to one, is there."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def open_file(path: Path, limit: int | None = None) -> BufferedReader:
    """The plain file `path`, open for reading; never waits, never follows a link. Errors as `check_file`."""
    check_file(path, limit)  # first, since opening a device may already do something
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise UserError(f"{path} cannot be read: {e.strerror or e}") from e
    try:
        _regular(path, os.fstat(descriptor), limit)
    except UserError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, limit: int) -> bytes:
    """All of a plain file of at most `limit` bytes; what is added to it meanwhile is left out."""
    with open_file(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes of a plain file of any size."""
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        return file.read(min(size, limit))


def append_file(path: Path) -> int:
    """A descriptor that appends to the plain file `path`, made if it is not there. A file with a second name is refused: it
    would be changed under that name too."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        check_file(path)
    except FileNotFoundError:
        flags |= os.O_EXCL
    descriptor = os.open(path, flags, 0o644)
    found = os.fstat(descriptor)
    try:
        _regular(path, found, None)
        if found.st_nlink > 1:
            raise UserError(f"{path} is a hard link, which other names share; copy the file and put the copy in its place")
    except UserError:
        os.close(descriptor)
        raise
    return descriptor


def create_file(path: Path) -> BinaryIO:
    """A new file, open for writing; a leftover of that name is removed first, a link is replaced and never followed."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    return os.fdopen(descriptor, "wb")


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `staged_file`; the parent folder must exist."""
    with staged_file(path, len(data)) as temporary, create_file(temporary) as f:
        f.write(data)


def make_folder(path: Path) -> Path:
    """A folder below one that was checked, made if it is not there; `UserError` if something else has its name."""
    path.mkdir(parents=True, exist_ok=True)
    if not is_folder(path):
        raise UserError(f"{path} is {_kind(os.lstat(path).st_mode)}, a plain folder is expected")
    return path


def plain_name(name: object, where: str) -> str:
    """`name` if it names one thing directly inside a folder: no path, no parent, nothing hidden. `where` begins the error."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name.startswith("."):
        shown = repr(name) if len(repr(name)) <= 80 else repr(name)[:77] + "..."
        raise UserError(f"{where}: {shown} is not the name of a file in this folder")
    return name
