"""A cohort is a list of filters over the per-row scalars of an analysis; it travels in the page's URL as one string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import quote as percent_encoded
from urllib.parse import unquote

from ple_model.errors import UserError, did_you_mean
from ple_model.sql_text import quote

Op = Literal["in", "not_in", "eq", "ne", "lt", "le", "gt", "ge", "between"]
OPS: tuple[str, ...] = get_args(Op)
_SQL = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
Value = str | float | bool


@dataclass(frozen=True)
class CohortFilter:
    """`column op values`: for example ("segment", "in", ("warm_start",)) or ("raw:spend_28d", "between", (10.0, 99.0))."""

    column: str
    op: Op
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise UserError(f"cohort filter on '{self.column}': no operator '{self.op}'{did_you_mean(self.op, OPS)}")
        wanted = 2 if self.op == "between" else 1
        if len(self.values) < wanted or (self.op not in ("in", "not_in") and len(self.values) != wanted):
            raise UserError(f"cohort filter on '{self.column}': '{self.op}' takes {wanted} value(s), got {len(self.values)}")

    def describe(self) -> str:
        """For people: `segment in warm_start, cold_start`."""
        shown = ", ".join(str(v) for v in self.values)
        return f"{self.column} {self.op.replace('_', ' ')} {shown}"

    def sql(self) -> tuple[str, list[Value]]:
        """(condition with placeholders, parameters). Values never enter the SQL text."""
        column = quote(self.column)
        if self.op == "between":
            return f"{column} BETWEEN ? AND ?", list(self.values)
        if self.op in ("in", "not_in"):
            marks = ", ".join("?" for _ in self.values)
            return f"{column} {'NOT IN' if self.op == 'not_in' else 'IN'} ({marks})", list(self.values)
        return f"{column} {_SQL[self.op]} ?", list(self.values)


def to_url(filters: Sequence[CohortFilter]) -> str:
    """`column:op:value,value;column:op:value`, each piece percent-encoded; "" for no filter."""
    parts = []
    for f in filters:
        values = ",".join(_encode(v) for v in f.values)
        parts.append(f"{percent_encoded(f.column, safe='')}:{f.op}:{values}")
    return ";".join(parts)


def from_url(text: str) -> tuple[CohortFilter, ...]:
    """The inverse of `to_url`; `UserError` names the piece that does not parse."""
    filters = []
    for piece in filter(None, text.split(";")):
        fields = piece.split(":")
        if len(fields) != 3 or fields[1] not in OPS:
            raise UserError(f"cohort filter '{piece}' is not column:operator:values; operators: {', '.join(OPS)}")
        values = tuple(_decode(v) for v in fields[2].split(","))
        filters.append(CohortFilter(unquote(fields[0]), fields[1], values))  # type: ignore[arg-type]
    return tuple(filters)


def where(filters: Sequence[CohortFilter]) -> tuple[str, list[Value]]:
    """A WHERE clause ("" when there is no filter) and its parameters."""
    if not filters:
        return "", []
    pieces = [f.sql() for f in filters]
    return "WHERE " + " AND ".join(p for p, _ in pieces), [v for _, vs in pieces for v in vs]


def _encode(value: Value) -> str:
    if isinstance(value, bool):
        return "b!" + ("1" if value else "0")
    if isinstance(value, (int, float)):
        return "n!" + percent_encoded(repr(float(value)), safe="")
    return percent_encoded(value, safe="")  # a '!' inside text is encoded, so that the number mark cannot be forged


def _decode(text: str) -> Value:
    if text.startswith("b!"):
        return text[2:] == "1"
    if text.startswith("n!"):
        try:
            return float(unquote(text[2:]))
        except ValueError as e:
            raise UserError(f"cohort filter value '{text}' is not a number") from e
    return unquote(text)
