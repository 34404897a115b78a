"""The files behind a name: one file, a folder or a pattern of files of one layout, taken as one table.

A name that exists is that very file or folder, whatever characters it has; only a name that does not exist is a pattern.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from ple_model.errors import UserError, did_you_mean

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def is_pattern(name: str) -> bool:
    """Whether a name that does not exist may stand for several files."""
    return any(mark in name for mark in "*?[")


def find_files(place: Path) -> tuple[Path, ...]:
    """The files of a file, folder or pattern, in the order of their names; `UserError` where there are none."""
    if place.is_file():
        return (place,)
    if place.is_dir():
        found = [p for p in place.iterdir() if p.is_file() and _is_table(p)]
        if not found:
            folders = [p for p in place.iterdir() if p.is_dir()]
            deeper = f"; it holds folders, for example '{sorted(folders)[0]}'" if folders else ""
            raise UserError(f"the folder '{place}' holds no CSV, Excel or Parquet file{deeper}")
        return tuple(sorted(found))
    if is_pattern(str(place)):
        found = [p for p in map(Path, glob.glob(str(place))) if p.is_file() and not p.name.startswith(".")]
        if not found:
            raise UserError(f"no file fits the pattern '{place}'")
        return tuple(sorted(found))
    if place.exists():
        raise UserError(f"'{place}' is neither a file nor a folder")
    near = did_you_mean(place.name, [p.name for p in place.parent.iterdir()]) if place.parent.is_dir() else ""
    raise UserError(f"'{place}' does not exist; give a CSV, Excel or Parquet file, or a folder or pattern of such files{near}")


def folder_of(place: Path) -> Path:
    """The folder that a file, folder or pattern lies in; `UserError` where that is none."""
    folder = place.resolve().parent if place.exists() else place.parent
    while not place.exists() and not folder.is_dir() and is_pattern(str(folder)):
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"'{folder}' is not a folder of tables")
    return folder


def passed_over(place: Path) -> tuple[str, ...]:
    """Files of a folder that are taken for no part of the table."""
    if not place.is_dir():
        return ()
    return tuple(sorted(p.name for p in place.iterdir() if p.is_file() and not _is_table(p) and not p.name.startswith(".")))


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in TABLE_SUFFIXES and not path.name.startswith((".", "~$"))


def require_one_layout(files: Sequence[Path], columns: Sequence[Sequence[str]]) -> None:
    """`UserError` names the first file whose columns are not those of most files."""
    kinds = [tuple(sorted(c)) for c in columns]
    usual = max(kinds, key=lambda k: (kinds.count(k), -kinds.index(k)))
    for file, kind in zip(files, kinds, strict=True):
        if kind != usual:
            lacks, has = sorted(set(usual) - set(kind)), sorted(set(kind) - set(usual))
            parts = [f"lacks {', '.join(lacks)}" if lacks else "", f"has {', '.join(has)}" if has else ""]
            raise UserError(
                f"'{file}' has another layout than the {kinds.count(usual)} files like '{files[kinds.index(usual)].name}':"
                f" it {' and '.join(p for p in parts if p)[:200]}; move it elsewhere or give its columns the same names"
            )
