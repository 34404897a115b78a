"""What the map says of a table's currency, and its use: one code for all amounts, one of several kept, or all converted.

currency: KRW
currency: {column: Currency, keep: USD}
currency: {column: Currency, to: USD, rates: {KRW: 0.00075, USD: 1}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from ple_model.data.importers.currencies import WORDS, currency_columns, in_header, shares, signs
from ple_model.errors import UserError, did_you_mean
from ple_model.money import currencies, require_currency
from ple_model.sql_text import literal, quote

MONEY = frozenset({"amount", "balance", "credit_limit", "prior_spend_28d"})
"""Columns of event tables that hold amounts of money."""
KEYS = ("column", "keep", "to", "rates")
MOST = 10_000
"""Different values of a currency column that are looked at."""


@dataclass(frozen=True)
class CurrencyRule:
    """Every amount is in `code` afterwards. With a `column`, only its rows of `code` are kept, or, with `rates`, all are
    converted: an amount of currency c times `rates[c]`."""

    code: str = ""
    column: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)


def parse_rule(where: str, value: object) -> CurrencyRule:
    """The rule of a map; `UserError` names the key and what arrived."""
    if not isinstance(value, dict):
        return CurrencyRule(require_currency(where, value))
    for key in value:
        if key not in KEYS:
            raise UserError(f"{where}: unknown key '{key}'{did_you_mean(str(key), KEYS)}")
    column, keep, to, rates = (value.get(k) for k in KEYS)
    if not isinstance(column, str) or not column or (keep is None) == (to is None):
        raise UserError(f"{where} is {value!r}; give 'column' and either 'keep: USD' or 'to: USD' with 'rates'")
    if keep is not None:
        if rates is not None:
            raise UserError(f"{where} has 'rates' beside 'keep'; rates belong to 'to'")
        return CurrencyRule(require_currency(f"{where}.keep", keep), column)
    if not isinstance(rates, dict) or not rates:
        raise UserError(
            f"{where}.rates is {rates!r}; give for each currency what one of it is in {to}, for example {{KRW: 0.00075}}"
        )
    code, found = require_currency(f"{where}.to", to), {}
    for name, rate in rates.items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not math.isfinite(rate) or rate <= 0:
            raise UserError(f"{where}.rates.{name} is {rate!r}; give a number above 0")
        found[require_currency(f"a key of {where}.rates", name)] = float(rate)
    if found.setdefault(code, 1.0) != 1.0:
        raise UserError(f"{where}.rates.{code} is {found[code]:g}; one {code} is 1 {code}")
    return CurrencyRule(code, column, found)


def apply_rule(
    con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str], rule: CurrencyRule, file: str, where: str,
    problems: list[str],
) -> tuple[str, str, list[str]]:  # fmt: skip
    """The relation that is left, SQL that an amount is multiplied by (empty: none), and notes of what was done."""
    if not rule.column:
        return scan, "", []
    if rule.column not in found:
        problems.append(f"{file} has no column '{rule.column}' for {where}.column{did_you_mean(rule.column, found)}")
        return scan, "", []
    value = f"nullif(trim(CAST({quote(rule.column)} AS VARCHAR)), '')"
    rows = con.execute(
        f"SELECT v, count(*) AS n FROM (SELECT {value} AS v FROM {scan}) GROUP BY v ORDER BY n DESC, v LIMIT {MOST}"
    ).fetchall()
    counts = {str(v): int(n) for v, n in rows if v is not None}
    empty = sum(int(n) for v, n in rows if v is None)
    codes = {v: WORDS.get(v, v.upper()) for v in counts}
    if not rule.rates:
        kept = [literal(v) for v, code in codes.items() if code == rule.code]
        if not kept:
            problems.append(
                f"{file} has no row in {rule.code}, which {where}.keep names; '{rule.column}' holds {shares(counts)}"
            )
            return scan, "", []
        out = sum(n for v, n in counts.items() if codes[v] != rule.code) + empty
        note = f"{out:,} rows in another currency than {rule.code} were left out, as the map says"
        return f"(SELECT * FROM {scan} WHERE {value} IN ({', '.join(kept)}))", "", [note] if out else []
    without = {v: n for v, n in counts.items() if codes[v] not in rule.rates}
    if without or empty:
        said = [f"{v} ({n:,} rows)" for v, n in list(without.items())[:5]]
        said += [f"{empty:,} rows that name no currency"] if empty else []
        problems.append(f"{file}: {where}.rates gives no rate for {', '.join(said)}")
        return scan, "", []
    whens = " ".join(f"WHEN {literal(v)} THEN {rule.rates[code]!r}" for v, code in codes.items())
    done = ", ".join(f"{n:,} {v} times {rule.rates[codes[v]]:g}" for v, n in counts.items() if codes[v] != rule.code)
    notes = [f"amounts were converted to {rule.code} ({done}), as the map says"] if done else []
    return scan, f"CASE {value} {whens} END", notes


def currency_of(
    con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str], rule: CurrencyRule, amounts: tuple[str, ...],
    file: str, where: str, problems: list[str],
) -> str:  # fmt: skip
    """The code of a table's amounts: the map's, else the only one that its rows name; empty where nothing names one."""
    if rule.column:
        return rule.code
    columns = {c: next(iter(counts)) for c, counts in currency_columns(con, scan, found).items() if len(counts) == 1}
    named = {c: WORDS.get(v, v.upper()) for c, v in columns.items()}
    for column in amounts:
        if found.get(column) == "VARCHAR" and len(beside := signs(con, scan, quote(column))) == 1:
            named[column] = next(iter(beside))
        if column not in named and in_header(column):
            named[column] = in_header(column)
    named = {c: code for c, code in named.items() if code in currencies()}
    if rule.code:
        other = next((c for c, code in named.items() if code != rule.code), None)
        if other is not None:
            problems.append(f"{file}: {where} is {rule.code}, but '{other}' says {named[other]}")
        return rule.code
    codes = set(named.values())
    return codes.pop() if len(codes) == 1 else ""
