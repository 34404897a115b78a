"""A file or folder of this machine to a URL: whole or not at all to whoever reads it by `fetch`.

A file appears at once: an object store shows an upload when it is complete, in Hadoop it has another name first and is renamed.
A folder cannot: `listing` says how it is told from one that is being written. Who reserved a folder last may write it: whoever
finds another's mark there stops. Nothing is written over or removed that is not in the list of the folder itself.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ple_model.errors import UserError
from ple_model.safe_paths import check_file, check_tree
from ple_model.storage.fetch import AT_ONCE, Progress
from ple_model.storage.listing import LIST, FileList, read_list, sha256
from ple_model.storage.remote import Lying, Remote, speaking
from ple_model.storage.url import NAME

RENAMED = frozenset({"hdfs"})
"""Protocols that show a file while it is written; all others show it when it is complete."""


@contextmanager
def reserved(remote: Remote, *, folder: bool, replace: bool = False) -> Iterator[FileList]:
    """The place while a command makes what is to be put there. Whether it may write is known before it works for hours; the
    mark that tells is taken back where the command fails. `UserError` where something is there already (a file is replaced)."""
    writer = secrets.token_hex(8)
    if not folder:
        with _part(remote):
            yield FileList(writer, None)
        return
    there = remote.files()
    before = read_list(remote) if LIST in there else None
    _require_free(remote, there, before, replace=replace)
    listed = FileList(writer, None, _known(before))
    listed.save(remote)
    try:
        yield listed
    except BaseException:
        with suppress(Exception):
            mark = read_list(remote)
            untouched = _data(remote.files()) == _data(there)  # nothing was put there yet
            if untouched and mark is not None and mark.writer == writer:
                before.save(remote) if before is not None else remote.fs.rm_file(remote.at(LIST))
        raise


@contextmanager
def _part(remote: Remote) -> Iterator[None]:
    """An empty file beside it, which tells whether somebody may write there."""
    if remote.files().keys() - {""}:
        raise UserError(f"{remote.url} is a folder; name the file to write")
    _require_outside(remote)
    part = f"{remote.root}.{secrets.token_hex(8)}.ple-part"  # nobody else's
    with speaking(remote.url, "written"):
        remote.fs.pipe_file(part, b"")
    try:
        yield
    finally:
        with suppress(Exception):  # who may write need not be allowed to remove
            remote.fs.rm_file(part)


def _data(files: Mapping[str, Lying]) -> dict[str, Lying]:
    return {n: f for n, f in files.items() if n != LIST}


def _known(listed: FileList | None) -> tuple[str, ...]:
    """What may be written over and removed."""
    return () if listed is None else tuple(sorted(listed.old if listed.files is None else listed.files))


def _require_free(remote: Remote, there: Mapping[str, Lying], listed: FileList | None, *, replace: bool) -> None:
    if "" in there:
        raise UserError(f"{remote.url} is a file; a folder is expected")
    below = next((n for n in there if n.endswith(f"/{LIST}")), None)
    if below is not None:
        inner = below.removesuffix(f"/{LIST}")
        raise UserError(f"{remote.url} holds a folder of its own, {inner}; name the place of one folder")
    _require_outside(remote)
    unfinished = listed is not None and listed.files is None
    if there and not unfinished and not replace:
        raise UserError(f"{remote.url}: {len(there):,} files are there already; name another place")
    _require_known(remote, there, _known(listed))


def _require_known(remote: Remote, there: Collection[str], known: Collection[str]) -> None:
    foreign = sorted(set(there) - {LIST, *known})
    if foreign:
        raise UserError(
            f"{remote.url}: {foreign[0]} lies there, and {LIST} does not name it: another program put it there, so nothing is"
            " written over or removed; name another place"
        )


def _require_outside(remote: Remote) -> None:
    """Of folders that are whole: one file more, and nobody may read them."""
    for folder in (str(p) for p in PurePosixPath(remote.root).parents if p.name):
        found = False
        with suppress(Exception):  # who may write in a folder need not be allowed to look above it
            found = bool(remote.fs.exists(f"{folder}/{LIST}"))
        if found:
            raise UserError(f"{remote.url} lies in a folder that was written whole ({folder}); name a place outside of it")


def put_file(local: Path, remote: Remote) -> None:
    """In the place of what is there."""
    size = check_file(local)
    with speaking(remote.url, "written"):
        if remote.url.partition("://")[0] in RENAMED:
            part = f"{remote.root}.{secrets.token_hex(8)}.ple-part"  # nobody else's
            try:
                remote.fs.put_file(str(local), part)
                remote.fs.mv(part, remote.root)
            except BaseException:
                with suppress(Exception):
                    remote.fs.rm_file(part)
                raise
        else:
            remote.fs.put_file(str(local), remote.root)
    there = remote.lying("")
    if there is None or there.size != size:
        raise UserError(f"{remote.url} was not written whole; try again")


def to_put(local: Path) -> dict[str, Path]:
    """The files of a folder by name. `UserError` for names that no reader takes."""
    check_tree(local)
    files = {p.relative_to(local).as_posix(): p for p in sorted(local.rglob("*")) if p.is_file() and not _own(p, local)}
    odd = next((n for n in files if any(NAME.fullmatch(part) is None for part in n.split("/"))), None)
    if odd is not None:
        raise UserError(f"{local / odd}: a file of this name cannot lie at a URL; name it otherwise")
    below = next((n for n in files if n.endswith(f"/{LIST}")), None)
    if below is not None:
        raise UserError(f"{(local / below).parent} is the copy of a folder of its own; copy such folders one by one")
    return files


def put_folder(local: Path, remote: Remote, listed: FileList, progress: Progress | None = None) -> None:
    """To a `reserved` place: files first, then what its old list names besides is removed, and the list is written last.
    `UserError` where somebody else has begun to write there, before anything of theirs is touched."""
    files, seen = to_put(local), _require_ours(remote, listed, None)
    _require_known(remote, remote.files(), listed.old)
    listed = dataclasses.replace(listed, old=tuple(sorted({*listed.old, *files})))
    listed.save(remote)  # whoever goes on after a kill knows what was put there
    digests: dict[str, str] = {}
    names = list(files)
    for k in range(0, len(names), AT_ONCE):
        some = names[k : k + AT_ONCE]
        digests |= {n: sha256(files[n]) for n in some}
        seen = _require_ours(remote, listed, seen)
        with speaking(remote.url, "written"):
            remote.fs.put([str(files[n]) for n in some], [remote.at(n) for n in some])
        if progress is not None:
            progress(k + len(some), len(names))
    _require_ours(remote, listed, seen)
    there = _data(remote.files())
    _require_known(remote, there, listed.old)
    cut = next((n for n in names if n not in there or there[n].size != files[n].stat().st_size), None)
    if cut is not None:
        raise UserError(f"{remote.url}: {cut} was not written whole; try again")
    for n in sorted(there.keys() - files.keys()):
        with speaking(remote.url, "written"):
            remote.fs.rm_file(remote.at(n))
    _require_ours(remote, listed, seen)
    FileList(listed.writer, digests).save(remote)


def _require_ours(remote: Remote, listed: FileList, seen: Lying | None) -> Lying | None:
    """The list as it lies there; it is not read again while it is the one that was `seen`."""
    now = remote.lying(LIST)
    if now is None or now != seen:
        mark = read_list(remote)
        if mark is None or mark.writer != listed.writer:
            raise UserError(f"{remote.url}: another process writes there too; name another place")
    return now


def _own(path: Path, folder: Path) -> bool:
    """Locks and what is half made: of use on this machine alone."""
    parts = path.relative_to(folder).parts
    return parts[0] == LIST or any(
        p == ".lock" or (p.startswith(".") and p.endswith((".new", ".parts", ".tmp"))) for p in parts
    )
