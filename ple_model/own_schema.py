"""`columns.json`: the columns of a table of one's own, kept with the dataset's artifacts and the run's `preprocess/`.

A folder without it holds the package's columns. Each source column is a part: its presence is known row by row, and the
indicator columns of a categorical one belong together.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.safe_paths import is_file
from ple_model.schema import COLUMN_FIELDS, FeatureColumn, FeatureSchema

FILE = "columns.json"
VERSION = 1
SCALES = ("linear", "log", "raw")
MAX_COLUMNS = 100_000


def own_schema(
    columns: tuple[FeatureColumn, ...], fixed: frozenset[str] = frozenset(), barred: frozenset[str] = frozenset()
) -> FeatureSchema:
    """The schema of these columns. `ValueError` where names repeat, a part is torn, or a raw column stands before another."""
    index = {c.name: i for i, c in enumerate(columns)}
    for key, marked in (("fixed", fixed), ("barred", barred)):
        if not marked <= set(index):
            raise ValueError(f"no column is named '{min(marked - set(index))}', which '{key}' names")
    if len(index) != len(columns):
        raise ValueError("two columns have one name")
    parts: dict[str, slice] = {}
    for i, column in enumerate(columns):
        if column.index != i or column.scale not in SCALES:
            raise ValueError(f"column '{column.name}' has the number {column.index} or the scale '{column.scale}'")
        if i and column.scale != "raw" and columns[i - 1].scale == "raw":
            raise ValueError(f"column '{column.name}' follows a raw one")
        known = parts.get(column.part)
        if known is not None and known.stop != i:
            raise ValueError(f"the columns of '{column.part}' do not stand together")
        parts[column.part] = slice(i if known is None else known.start, i + 1)
    return FeatureSchema(
        VERSION, columns, MappingProxyType(index), MappingProxyType(parts), own=True, fixed=fixed, barred=barred
    )


def save_own(schema: FeatureSchema, folder: Path) -> None:
    columns = [{f: getattr(c, f) for f in COLUMN_FIELDS} for c in schema.columns]
    write_json(
        folder / FILE, {"version": VERSION, "columns": columns, "fixed": sorted(schema.fixed), "barred": sorted(schema.barred)}
    )


def load_own(folder: Path) -> FeatureSchema | None:
    """What `save_own` wrote; None where the folder holds the package's columns. `UserError` names a damaged file."""
    path = folder / FILE
    if not is_file(path):
        return None
    stored: Any = read_json(path)
    try:
        entries = stored["columns"]
        if stored["version"] != VERSION or not isinstance(entries, list) or not 0 < len(entries) <= MAX_COLUMNS:
            raise ValueError("no columns of a version that is read here")
        if not all(isinstance(e[f], str) for e in entries for f in COLUMN_FIELDS):
            raise ValueError("a column's fields are not all text")
        marks = {key: stored.get(key, []) for key in ("fixed", "barred")}  # a dataset from before it could be said has none
        for key, names in marks.items():
            if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                raise ValueError(f"'{key}' is no list of names")
        columns = tuple(FeatureColumn(i, **{f: e[f] for f in COLUMN_FIELDS}) for i, e in enumerate(entries))
        return own_schema(columns, frozenset(marks["fixed"]), frozenset(marks["barred"]))
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise UserError(f"{path} is damaged: {e}") from e
