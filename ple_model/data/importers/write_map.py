"""A map as YAML that reads back as the same map: for one that was corrected in a form instead of in the file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from ple_model.data.importers.currency_rule import CurrencyRule
from ple_model.data.importers.source_map import SourceMap, TableMap, load_map
from ple_model.safe_paths import create_file
from ple_model.staging import staged_file


def map_text(mapping: SourceMap) -> str:
    """The YAML; what is as it would be without a word is left out."""
    plain: dict[str, Any] = {"name": mapping.name, "cutoffs": list(mapping.cutoffs)}
    if mapping.horizon_days is not None:
        plain["horizon_days"] = mapping.horizon_days
    if mapping.currency:
        plain["currency"] = mapping.currency
    plain["tables"] = {name: _table(table) for name, table in mapping.tables.items()}
    text: str = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=float("inf"))
    return text


def write_map(path: Path, text: str) -> None:
    """A map's text as it is, not read back."""
    with create_file(path) as file:
        file.write(text.encode())


def save_map(mapping: SourceMap, path: Path) -> None:
    """Put it at `path`, whole, once it has been read back."""
    with staged_file(path) as temporary:
        write_map(temporary, map_text(mapping))
        load_map(temporary)


def _table(table: TableMap) -> dict[str, Any]:
    usual = TableMap()
    out: dict[str, Any] = {}
    for one in fields(TableMap):
        value = getattr(table, one.name)
        if value == getattr(usual, one.name):
            continue
        if one.name == "columns":
            value = {c: o[0] if len(o) == 1 else list(o) for c, o in value.items()}
        elif one.name == "currency":
            value = _currency(value)
        elif one.name in ("values", "rows"):
            value = {c: dict(pairs) for c, pairs in value.items()}
        elif one.name == "leave_out":
            value = {file: list(rows) for file, rows in value.items()}
        elif one.name in ("constants", "formats"):
            value = dict(value)
        out[one.name] = value
    return out


def _currency(rule: CurrencyRule) -> str | dict[str, Any]:
    if not rule.column:
        return rule.code
    if not rule.rates:
        return {"column": rule.column, "keep": rule.code}
    return {"column": rule.column, "to": rule.code, "rates": dict(rule.rates)}
