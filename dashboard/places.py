"""Where data that is made in the app goes, and from where it may be taken: folders beside the runs, and no other."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from dashboard import state
from dashboard.server import FOLDERS_VARIABLE
from ple_model.data.importers.source_files import TABLE_SUFFIXES
from ple_model.data.importers.source_map import SourceMap
from ple_model.errors import UserError
from ple_model.safe_paths import make_folder, write_bytes

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAMES = ("data", "datasets")
MAX_LISTED = 200


class Outside(UserError):
    """A path that is not in an allowed folder."""


def data_folder() -> Path:
    """Where new datasets go: `data` beside the folder that takes new runs."""
    return state.folders()[-1].absolute().parent / "data"


def allowed() -> tuple[Path, ...]:
    """The folders that files may be taken from, those that are there or will be."""
    beside = [f.absolute().parent / name for f in state.folders() for name in NAMES]
    more = [Path(p) for p in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if p]
    return tuple(dict.fromkeys([data_folder(), *(p for p in [*beside, *more] if p.is_dir())]))


def inside(typed: str) -> Path:
    """A typed path as an absolute one inside an allowed folder, links followed; a relative one is below the data folder.
    `Outside` for any other, `UserError` for what is no path."""
    try:
        found = (data_folder() / typed.strip()).resolve()
        roots = [root.resolve() for root in allowed()]
    except (OSError, ValueError, RuntimeError) as e:
        raise UserError(f"{typed[:60]!r} is no path") from e
    if not any(found == root or root in found.parents for root in roots):
        raise Outside(typed)
    return found


def named_outside(mapping: SourceMap, source: Path) -> str | None:
    """The first file of a map that is not in an allowed folder: a map says which files of its source are read."""
    base = source if source.is_dir() else source.parent
    for table in mapping.tables.values():
        try:
            inside(str(base / (table.file or "")))
        except UserError:
            return table.file
    return None


def _in_order(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and not p.is_symlink())
    except OSError:
        return []


def event_folders() -> list[Path]:
    """Folders of event tables in the allowed folders."""
    return [p for root in allowed() for p in _in_order(root) if (p / "events.json").is_file()]


def sources() -> list[Path]:
    """Files that hold a table, and folders of such files, in the allowed folders and one folder below them."""
    found: list[Path] = []
    for root in allowed():
        for path in _in_order(root):
            if path.is_dir() and not ((path / "events.json").is_file() or (path / "dataset.json").is_file()):
                tables = [p for p in _in_order(path) if _is_table(p)]
                found += [*([path] if len(tables) > 1 else []), *tables]
            elif _is_table(path):
                found.append(path)
    return found[:MAX_LISTED]


def _is_table(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in TABLE_SUFFIXES


def short(path: Path) -> str:
    """A path below the data folder by its relative name."""
    root = data_folder()
    return str(path.relative_to(root)) if root in path.parents else str(path)


def keep_upload(files: Iterable[tuple[str, bytes]]) -> Path:
    """Write uploaded files to a folder of their own in the data folder, named by what they hold; the file, or the folder where
    they are several. The same files again are the same folder."""
    given = [(_plain(name), data) for name, data in files]
    mark = hashlib.sha256()
    for name, data in sorted(given):
        mark.update(f"{name}\0{len(data)}\0".encode() + hashlib.sha256(data).digest())
    folder = data_folder() / "uploads" / mark.hexdigest()[:12]
    make_folder(folder)
    for name, data in given:
        path = folder / name
        if not path.is_file() or path.stat().st_size != len(data):
            write_bytes(path, data)
    return folder / given[0][0] if len(given) == 1 else folder


def _plain(name: str) -> str:
    """The last part of a browser's file name, without what a path could be built of."""
    last = re.split(r"[/\\]", name)[-1]
    kept = re.sub(r"[\x00-\x1f]", "", last).lstrip(".")
    return kept[-120:] or "file"


def dataset_at(name: str) -> Path:
    """Where a new dataset of this name goes."""
    return data_folder() / name


def map_of(source: Path) -> Path:
    """Where the map of a source lies: the same source has the same map, so that what was corrected is found again."""
    mark = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", source.name.split(".")[0]).strip("-") or "map"
    return make_folder(data_folder() / "maps") / f"{stem[:40]}-{mark}.yaml"


def mark_of(path: Path) -> str:
    """Size and time of a file, or of the files of a folder: what is told of them is told anew when it changes."""
    files = _in_order(path) if path.is_dir() else [path]
    try:
        found = [(f.name, s.st_size, s.st_mtime_ns) for f in files if (s := f.stat())]
    except OSError:
        return ""
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16]
