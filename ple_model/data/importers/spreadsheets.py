"""Excel and OpenDocument sheets (.xlsx, .xlsm, .xlsb, .xls, .ods) as UTF-8 CSV, so that what follows reads one kind of text.

Cells keep their meaning: dates are ISO, whole numbers have no decimals. A spreadsheet's numbers have 15 digits: a longer one
has lost the rest before the file was written, so it is written with its exponent, which the import refuses in an id.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from ple_model.errors import UserError, did_you_mean

EXACT = 1e15
"""From here on a cell's number may lack digits."""


@dataclass(frozen=True)
class Sheet:
    """One sheet that holds something."""

    name: str
    rows: int


def sheets(path: Path) -> tuple[Sheet, ...]:
    """The sheets with rows, as the file orders them."""
    book = _open(path)
    found = [Sheet(n, book.get_sheet_by_name(n).height) for n in book.sheet_names]
    return tuple(s for s in found if s.rows)


def sheet_as_csv(path: Path, wanted: str | None, out: Path) -> None:
    """Write one sheet to `out`; without a name, the only one that holds rows. `UserError` names the sheets to choose from."""
    there = sheets(path)
    names = [s.name for s in there]
    if not names:
        raise UserError(f"'{path}' is a spreadsheet whose sheets are all empty")
    if wanted is None and len(names) > 1:
        raise UserError(f"'{path}' has the sheets {', '.join(names)}; write 'sheet: NAME' under its table in the map")
    if wanted is not None and wanted not in names:
        raise UserError(f"'{path}' has no sheet '{wanted}' with rows{did_you_mean(wanted, names)}; it has {', '.join(names)}")
    try:
        rows = _open(path).get_sheet_by_name(wanted or names[0]).iter_rows()
        with out.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([_cell(v) for v in row] for row in rows)
    except CalamineError as e:
        raise UserError(f"'{path}' cannot be read as a spreadsheet: {str(e)[:120]}") from e


def _open(path: Path) -> CalamineWorkbook:
    try:
        with path.open("rb") as stream:  # by its bytes: the name may say something else
            return CalamineWorkbook.from_filelike(io.BytesIO(stream.read()))
    except PasswordError as e:
        raise UserError(f"'{path}' is locked with a password; save it without one") from e
    except (CalamineError, OSError) as e:
        raise UserError(f"'{path}' is no spreadsheet that can be read ({str(e)[:120]}); save it as .xlsx or CSV") from e


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if abs(value) >= EXACT:
            return f"{value:.14E}"
        return str(int(value)) if value == int(value) else repr(float(value))
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "seconds") if value.time() != dt.time() else value.date().isoformat()
    if isinstance(value, dt.timedelta):
        return str(value)
    return str(value)
