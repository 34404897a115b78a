"""`events.json`: where the tables of an events folder come from and what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from ple_model.errors import UserError, did_you_mean
from ple_model.money import require_currency
from ple_model.safe_paths import write_bytes
from ple_model.safe_text import read_object
from ple_model.stored import Stored, shown

EVENTS_VERSION = 1
MAX_BUCKETS = 1000
"""Names of their files have three digits, and a table is written to all of them at once."""
LABEL_POLICIES = ("derived", "labels_only")


@dataclass(frozen=True)
class TableEntry:
    """What `events.json` records of one table."""

    rows: int
    sha256: str | None = None


@dataclass(frozen=True)
class Defaults:
    """What a build uses unless told otherwise."""

    cutoffs: tuple[str, ...] = ()
    """ISO dates; features see what is before each, labels what is at or after it."""
    horizon_days: int | None = None
    """How many days after each of its cut-offs the source covers; None: up to its last event."""
    label_policy: str = "derived"
    """`derived`: labels from the event tables, `labels.parquet` overriding. `labels_only`: only `labels.parquet` labels a row,
    because the transactions are a thinned sample from which no label may be read."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EventsManifest:
    """`events.json`: where the tables come from and what they hold."""

    source: str
    name: str
    tables: Mapping[str, TableEntry] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)
    absent_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns the source cannot fill, by table."""
    absent_tables: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """How the folder was made (seed, customers, mapping, ...)."""
    version: int = EVENTS_VERSION
    currency: str = ""
    """ISO 4217 code of all amounts; empty where it is not known."""
    buckets: int = 1
    """How many files a table that names customers has (`data.events.buckets`); 1: it is not in buckets."""

    def save(self, folder: Path) -> None:
        """Write `events.json` (temporary file, then rename)."""
        write_bytes(folder / "events.json", json.dumps(asdict(self), indent=1, ensure_ascii=False).encode())

    @staticmethod
    def load(folder: Path) -> EventsManifest:
        """Read `events.json`; `UserError` where it is missing, damaged or of an unknown version."""
        path = folder / "events.json"
        try:
            plain = read_object(path)
        except FileNotFoundError as e:
            raise UserError(f"{path} is missing: '{folder}' is not an events folder") from e
        try:
            version = int(plain.get("version", EVENTS_VERSION))
            if version > EVENTS_VERSION:
                raise UserError(f"{path} has version {version}; this program reads up to {EVENTS_VERSION}")
            return EventsManifest(
                source=str(plain["source"]),
                name=str(plain["name"]),
                tables={k: TableEntry(int(v["rows"]), v.get("sha256")) for k, v in plain.get("tables", {}).items()},
                defaults=_defaults(path, plain.get("defaults", {})),
                absent_columns={k: tuple(v) for k, v in plain.get("absent_columns", {}).items()},
                absent_tables=tuple(plain.get("absent_tables", ())),
                parameters=dict(plain.get("parameters", {})),
                version=version,
                currency=require_currency(f"{path}: currency", plain.get("currency")),
                buckets=Stored.of(path, {"buckets": 1, **plain}).whole("buckets", 1, MAX_BUCKETS),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
            raise UserError(f"{path} is damaged: {shown(str(e))}") from e


def _defaults(path: Path, given: Mapping[str, Any]) -> Defaults:
    """The part `defaults` of events.json; `UserError` names the key and what arrived."""
    known = {f.name for f in fields(Defaults)}
    for key in given:
        if key not in known:
            raise UserError(f"{path}: unknown key 'defaults.{key}'{did_you_mean(key, known)}")
    lists = {}
    for key in ("cutoffs", "notes"):
        lists[key] = given.get(key) or []
        if not isinstance(lists[key], list):
            raise UserError(f"{path}: defaults.{key} is {lists[key]!r}; give a list")
    cutoffs = []
    for value in lists["cutoffs"]:
        try:
            cutoffs.append(date.fromisoformat(value).isoformat())
        except (TypeError, ValueError) as e:
            raise UserError(f"{path}: defaults.cutoffs holds {value!r}, which is no date such as 2024-07-01") from e
    horizon = given.get("horizon_days")
    if horizon is not None and (not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1):
        raise UserError(f"{path}: defaults.horizon_days is {horizon!r}; give a whole number of days, at least 1")
    policy = given.get("label_policy", "derived")
    if policy not in LABEL_POLICIES:
        raise UserError(f"{path}: defaults.label_policy is {policy!r}{did_you_mean(str(policy), LABEL_POLICIES)}")
    return Defaults(tuple(cutoffs), horizon, policy, tuple(str(n) for n in lists["notes"]))
