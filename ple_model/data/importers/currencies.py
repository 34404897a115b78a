"""Currencies in a source: a column of codes, and signs beside amounts. Different ones are never added unasked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import duckdb

from ple_model.sql_text import literal, quote

CODES = [
    "AED",
    "ARS",
    "AUD",
    "BDT",
    "BGN",
    "BHD",
    "BRL",
    "CAD",
    "CHF",
    "CLP",
    "CNY",
    "COP",
    "CZK",
    "DKK",
    "EGP",
    "EUR",
    "GBP",
    "HKD",
    "HUF",
    "IDR",
    "ILS",
    "INR",
    "ISK",
    "JOD",
    "JPY",
    "KES",
    "KRW",
    "KWD",
    "KZT",
    "LKR",
    "MAD",
    "MXN",
    "MYR",
    "NGN",
    "NOK",
    "NZD",
    "OMR",
    "PEN",
    "PHP",
    "PKR",
    "PLN",
    "QAR",
    "RON",
    "RSD",
    "RUB",
    "SAR",
    "SEK",
    "SGD",
    "THB",
    "TRY",
    "TWD",
    "UAH",
    "USD",
    "UYU",
    "VND",
    "XAF",
    "XOF",
    "ZAR",
    "CNH",
]
"""ISO 4217, those that cards are mostly used in."""
WORDS = {"원": "KRW", "₩": "KRW", "￦": "KRW", "円": "JPY", "€": "EUR", "£": "GBP", "zł": "PLN", "Kč": "CZK", "R$": "BRL"}
"""Signs that stand for one currency; $, ¥, kr and Fr. stand for several and are taken as they are."""
PATTERN = r"R\$|\p{Sc}|zł|Kč|kr\.?|Fr\.|원|円|元|(?i:" + "|".join(CODES) + ")"
FEW = 30
"""A column with more different values is no column of currencies."""


def is_currency(text: str) -> bool:
    """Whether a text is a currency's code or sign and nothing else."""
    bare = text.strip()
    return bare.upper() in CODES or bare in WORDS or bare in ("$", "¥", "元", "kr", "Fr.")


def in_header(name: str) -> str:
    """The one currency that a header names, as 'Valor (R$)' or 'Amt (EUR)' does; empty where it names none or several."""
    words = set(re.findall(r"R\$|[€£₩￦원円]|zł|Kč|(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])", name))
    codes = {WORDS.get(w, w if w in CODES else "") for w in words} - {""}
    return codes.pop() if len(codes) == 1 else ""


def paired_with(amount: str, columns: Sequence[str]) -> str | None:
    """The only currency column that shares a word with an amount's header: 'Kwota rozliczenia' and 'Waluta rozliczenia'."""
    alike = [c for c in columns if _words(amount) & _words(c)]
    return alike[0] if len(alike) == 1 else None


def _words(name: str) -> set[str]:
    return {w for w in re.split(r"[\W_]+", name.lower()) if len(w) > 2} - {"amount", "currency"}


def currency_columns(con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Text columns that hold nothing but currencies: their values by number of rows, most frequent first."""
    out: dict[str, dict[str, int]] = {}
    texts = {n: f"nullif(trim({quote(n)}), '')" for n, kind in found.items() if kind == "VARCHAR"}
    if not texts:
        return out
    longest = con.execute(f"SELECT {', '.join(f'max(length({v}))' for v in texts.values())} FROM {scan}").fetchall()[0]
    for (name, value), length in zip(texts.items(), longest, strict=True):
        if length is None or length > 3:
            continue
        if con.execute(f"SELECT approx_count_distinct({value}) FROM {scan}").fetchall()[0][0] > 2 * FEW:
            continue
        rows = con.execute(
            f"SELECT v, count(*) AS n FROM (SELECT {value} AS v FROM {scan}) WHERE v IS NOT NULL"
            f" GROUP BY v ORDER BY n DESC, v LIMIT {FEW + 1}"
        ).fetchall()
        if len(rows) <= FEW and all(is_currency(v) for v, _ in rows):
            out[name] = {v: int(n) for v, n in rows}
    return out


def signs(con: duckdb.DuckDBPyConnection, scan: str, expression: str, weight: str = "1") -> dict[str, int]:
    """Currency signs and codes written beside the numbers of a text column, by number of rows; `weight` is how many rows one
    of the relation stands for. Values of digits alone are passed over: the pattern is slow."""
    rows = con.execute(
        f"SELECT upper(s) AS k, sum(r) AS c FROM (SELECT unnest(list_distinct(regexp_extract_all({expression},"
        f" {literal(PATTERN)}))) AS s, {weight} AS r FROM {scan} WHERE translate({expression}, '0123456789., -', '') <> '')"
        " GROUP BY k ORDER BY c DESC, k"
    ).fetchall()
    merged: dict[str, int] = {}
    for sign, n in rows:
        name = next((code for word, code in WORDS.items() if word.upper() == sign), sign)
        merged[name] = merged.get(name, 0) + int(n)
    return merged


def shares(counts: Mapping[str, int]) -> str:
    """'USD 67%, KRW 33%'."""
    total = sum(counts.values())
    return ", ".join(f"{k} {n / total:.0%}" if n / total >= 0.005 else f"{k} {n:,} rows" for k, n in counts.items())
