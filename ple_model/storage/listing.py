"""`.ple-files.json`: what a folder at a URL holds, by name, size and SHA-256, written last; before, that it is not whole yet.

An object store renames nothing, so a folder there cannot appear at once. Whoever writes one says first that it is being written
and names the files last; whoever reads one that is being written refuses it, and compares what it read with the list. A folder
without a list (another program wrote it) is read as it is.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.safe_paths import open_file
from ple_model.safe_text import read_object
from ple_model.storage.remote import Remote, speaking

LIST = ".ple-files.json"
FORMAT = 1
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class FileList:
    """What was written to a folder."""

    writer: str
    """A random name: who wrote it, or is about to."""
    files: Mapping[str, str] | None
    """SHA-256 by name; None while it is being written."""
    old: tuple[str, ...] = ()
    """While it is being written: files that may lie there, of the list before and of uploads that came to no end. No others are
    written over or removed."""

    def save(self, remote: Remote) -> None:
        """As the folder's list."""
        told = {"format": FORMAT, "writer": self.writer, "files": None if self.files is None else dict(self.files)}
        text = dump(told | ({"old": list(self.old)} if self.old else {}))
        with speaking(remote.url, "written"):
            remote.fs.pipe_file(remote.at(LIST), (text + "\n").encode())


def read_list(remote: Remote) -> FileList | None:
    """The folder's list; None where there is none. `UserError` where it is damaged."""
    where = f"{remote.url}/{LIST}"
    with tempfile.TemporaryDirectory(prefix="ple-") as scratch:
        file = Path(scratch) / "list.json"
        with speaking(where, "read"):
            remote.fs.invalidate_cache()
            if not remote.fs.exists(remote.at(LIST)):
                return None
            if int(remote.fs.info(remote.at(LIST)).get("size") or 0) > MAX_BYTES:
                raise UserError(f"{where} is damaged: it is larger than {MAX_BYTES:,} bytes")
            remote.fs.get_file(remote.at(LIST), str(file))
        try:
            raw = read_object(file, MAX_BYTES)
        except UserError as e:
            raise UserError(str(e).replace(str(file), where)) from e
    files, old = raw.get("files", 0), raw.get("old", [])
    if raw.get("format") != FORMAT or not isinstance(raw.get("writer"), str):
        raise UserError(f"{where} is damaged, or of another version of this package")
    if files is not None and not (isinstance(files, dict) and _are_texts(files.values())):
        raise UserError(f"{where} is damaged: it lists no files")
    if not (isinstance(old, list) and _are_texts(old)):
        raise UserError(f"{where} is damaged: 'old' is no list of names")
    return FileList(raw["writer"], files, tuple(old))


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(v, str) for v in values)


def sha256(path: Path) -> str:
    """Of a plain file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
