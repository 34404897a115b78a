"""The lines of a starter map: what was guessed, and what is asked."""

from __future__ import annotations

from collections.abc import Mapping

from ple_model.data.events.spec import ColumnSpec
from ple_model.data.importers.guess_roles import Roles
from ple_model.data.importers.guess_writing import OpenTable
from ple_model.data.importers.map_text import comment, key_lines, one_line, scalar
from ple_model.data.importers.source_map import IMPORTABLE, OPEN, TableMap


def file_lines(found: TableMap, unsure: bool) -> list[str]:
    lines = []
    if unsure:
        lines.append(f"    encoding: {scalar(OPEN)}  # {found.encoding}, if the letters are right")
    elif found.encoding not in (None, "utf-8"):
        lines.append(f"    encoding: {found.encoding}")
    if found.delimiter not in (None, ","):
        lines.append(f"    delimiter: {scalar(str(found.delimiter))}")
    if found.skip_lines:
        lines.append(f"    skip_lines: {found.skip_lines}  # lines above the header")
    if found.sheet:
        lines.append(f"    sheet: {scalar(found.sheet)}")
    return lines


def column_lines(
    source: OpenTable, column: ColumnSpec, columns: Mapping[str, tuple[str, ...]], remarks: Mapping[str, str], roles: Roles
) -> list[str]:
    if column.name in columns:
        originals = columns[column.name]
        shown = scalar(originals[0]) if len(originals) == 1 else f"[{', '.join(scalar(o) for o in originals)}]"
        remark = one_line(remarks.get(column.name, ""))
        source.lines.append(f"  {column.name:<12} <- {one_line(' + '.join(originals)):<20} {remark}".rstrip())
        return [f"      {column.name}: {shown}" + (f"  {comment(remark)}" if remark else "")]
    if column.name in roles.open:
        fitting = one_line("; ".join(f"{c} ({source.profiles[c]})" for c in roles.open[column.name]))
        none = "" if column.required else ", or take the line out"
        source.open_questions.append(f"several columns may be '{column.name}': {fitting}; name the right one{none}")
        return [f"      {column.name}: {scalar(OPEN)}  {comment(f'which of: {fitting}')}"]
    if column.required:
        choices = one_line(", ".join(source.found))
        source.open_questions.append(f"no column looks like '{column.name}'; put one of these in its place: {choices}")
        return [f"      {column.name}: {scalar(OPEN)}  {comment(f'which of: {choices}')}"]
    return []


def writing_lines(found: TableMap) -> list[str]:
    lines = []
    if found.formats:
        lines.append("    formats:")
        lines += [f"      {c}: {scalar(f)}" for c, f in found.formats.items()]
    if found.thousands:
        lines.append(f"    thousands: {scalar(found.thousands)}")
    if found.decimal != ".":
        lines.append(f"    decimal: {scalar(found.decimal)}")
    if found.spending != "positive":
        lines.append(f"    spending: {scalar(found.spending)}  # the sign of money spent: positive or negative")
    if found.drop_incomplete:
        lines.append("    drop_incomplete: true  # rows without one of the columns every row needs, such as a total at the end")
    if found.rows:
        lines.append("    rows:  # keep or drop; a row whose cell is empty is kept")
        for name, rule in found.rows.items():
            lines += key_lines("      ", name, None)
            for value, to in rule.items():
                lines += key_lines("        ", value, scalar(to) if to == OPEN else to)
    if found.values:
        lines.append("    values:")
        for name, pairs in found.values.items():
            allowed = next(c.allowed for spec in IMPORTABLE.values() for c in spec.columns if c.name == name and c.allowed)
            lines.append(f"      {name}:  # one of: {', '.join(allowed)}; ~ is unknown")
            for value, meant in pairs.items():
                lines += key_lines("        ", value, "~" if meant is None else scalar(meant) if meant == OPEN else meant)
    return lines
