"""What `validate` reports: one fault in one place, and all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ple_model.errors import UserError

Severity = Literal["error", "warning"]
NOTHING_BUILT = "Nothing is built."
UNKNOWN = "It counts as unknown."


@dataclass(frozen=True)
class Fault:
    """One kind of fault in one place."""

    table: str
    column: str | None
    kind: str
    severity: Severity
    rows: int
    """How many rows have it; 0 where it concerns the table or the column as a whole."""
    example: str
    message: str
    handling: str
    """What a build does about it."""

    def __str__(self) -> str:
        place = self.table if self.column is None else f"{self.table}.{self.column}"
        count = f" ({self.rows:,} rows, for example {self.example})" if self.rows else ""
        return f"{self.severity}: {place}: {self.message}{count}. {self.handling}"


@dataclass(frozen=True)
class ValidationReport:
    """All faults found under `path`, errors first."""

    path: str
    tables: Mapping[str, int]
    """Rows of each table that could be read."""
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> tuple[Fault, ...]:
        return tuple(f for f in self.faults if f.severity == "error")

    @property
    def ok(self) -> bool:
        """No error; warnings may remain."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """Plain data for `ple validate --json`."""
        return {"path": self.path, "ok": self.ok, "tables": dict(self.tables), "faults": [asdict(f) for f in self.faults]}

    def __str__(self) -> str:
        warnings = len(self.faults) - len(self.errors)
        head = f"{self.path}: {len(self.tables)} tables, {len(self.errors)} errors, {warnings} warnings"
        return "\n".join([head, *(f"  {f}" for f in self.faults)])

    def raise_errors(self) -> None:
        """`UserError` with the first error and how many more there are."""
        if self.errors:
            more = f" (and {len(self.errors) - 1} more: run `ple validate {self.path}`)" if len(self.errors) > 1 else ""
            raise UserError(f"{self.path}: {self.errors[0]}{more}")


def show(value: object) -> str:
    """An example of a value, quoted, short, control characters escaped."""
    text = "NULL" if value is None else str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...") if value is not None else text


def first_line(e: BaseException) -> str:
    """The first line of an error's text."""
    return str(e).splitlines()[0][:160] if str(e) else type(e).__name__
