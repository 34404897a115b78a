"""A file or folder of this machine to a URL: whole or not at all to whoever reads it by `fetch`.

A file appears at once: an object store shows an upload when it is complete, any other filesystem is given another name first,
and renames. A folder cannot: `listing` says how it is told from one that is being written.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ple_model.errors import UserError
from ple_model.safe_paths import check_file, check_tree
from ple_model.storage.fetch import AT_ONCE, Progress
from ple_model.storage.listing import LIST, FileList, read_list, sha256
from ple_model.storage.remote import Lying, Remote, speaking

AT_ONCE_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Protocols whose files appear when they are complete."""


@contextmanager
def reserved(remote: Remote, *, folder: bool, replace: bool = False) -> Iterator[FileList]:
    """The place while a command makes what is to be put there. Whether it may write is known before it works for hours; the
    mark that tells is taken back where the command fails. `UserError` where something is there already (a file is replaced)."""
    listed = FileList(secrets.token_hex(8), None)
    if not folder:
        with _part(remote):
            yield listed
        return
    _require_free(remote, replace=replace)
    before, there = read_list(remote), _data(remote)
    listed.save(remote)
    try:
        yield listed
    except BaseException:
        with suppress(Exception):
            if _data(remote) == there:  # nothing was put there yet
                before.save(remote) if before is not None else remote.fs.rm_file(remote.at(LIST))
        raise


@contextmanager
def _part(remote: Remote) -> Iterator[None]:
    """The file's other name, which tells too whether somebody may write there."""
    if remote.files().keys() - {""}:
        raise UserError(f"{remote.url} is a folder; name the file to write")
    with speaking(remote.url, "written"):
        remote.fs.pipe_file(f"{remote.root}.ple-part", b"")
    try:
        yield
    finally:
        with suppress(Exception):  # who may write need not be allowed to remove
            remote.fs.rm_file(f"{remote.root}.ple-part")


def _data(remote: Remote) -> dict[str, Lying]:
    return {n: f for n, f in remote.files().items() if n != LIST}


def _require_free(remote: Remote, *, replace: bool) -> None:
    there = remote.files()
    if "" in there:
        raise UserError(f"{remote.url} is a file; a folder is expected")
    listed = read_list(remote) if there else None
    unfinished = listed is not None and listed.files is None
    if there and not unfinished and not replace:
        raise UserError(f"{remote.url}: {len(there):,} files are there already; name another place")


def put_file(local: Path, remote: Remote) -> None:
    """In the place of what is there."""
    check_file(local)
    with speaking(remote.url, "written"):
        if remote.url.partition("://")[0] in AT_ONCE_WHOLE:
            remote.fs.put_file(str(local), remote.root)
            return
        part = f"{remote.root}.ple-part"
        remote.fs.put_file(str(local), part)
        remote.fs.mv(part, remote.root)


def put_folder(local: Path, remote: Remote, listed: FileList, progress: Progress | None = None) -> None:
    """To a `reserved` place: what is there and is no part of it is removed, the list is written last. `UserError` where
    somebody else has begun to write there."""
    check_tree(local)
    files = {p.relative_to(local).as_posix(): p for p in sorted(local.rglob("*")) if p.is_file() and not _own(p, local)}
    digests: dict[str, str] = {}
    left = sorted(remote.files().keys() - files.keys() - {LIST})
    if left:
        with speaking(remote.url, "written"):
            remote.fs.rm([remote.at(n) for n in left])
    names = list(files)
    for k in range(0, len(names), AT_ONCE):
        some = names[k : k + AT_ONCE]
        digests |= {n: sha256(files[n]) for n in some}
        with speaking(remote.url, "written"):
            remote.fs.put([str(files[n]) for n in some], [remote.at(n) for n in some])
        if progress is not None:
            progress(k + len(some), len(names))
    now = read_list(remote)
    if now is None or now.writer != listed.writer:
        raise UserError(f"{remote.url}: another process writes there too; name another place")
    FileList(listed.writer, digests).save(remote)


def _own(path: Path, folder: Path) -> bool:
    """Locks and what is half made: of use on this machine alone."""
    parts = path.relative_to(folder).parts
    return parts[0] == LIST or any(
        p == ".lock" or (p.startswith(".") and p.endswith((".new", ".parts", ".tmp"))) for p in parts
    )
