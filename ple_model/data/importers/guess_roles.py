"""Which column of a source is which of ours: by what the values are, with the header as a word that may decide between equals.

A header that is one of our names or a source's usual one proposes its column, and the values confirm it. What no header
proposes is found by content alone. Where several columns fit and no header decides, nothing is chosen: they are asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ple_model.data.importers.column_profile import AMOUNT, CLOCK, DATE, ID, NAMES, NUMBER, WORDS, ColumnProfile

HINTS: dict[str, tuple[str, ...]] = {
    "customer_id": (
        "card", "kart", "carte", "tarjeta", "cartão", "cartao", "kort", "kárty", "κάρτ", "כרטיס", "بطاقة",
        "บัตร", "cust", "client", "kunde", "cliente", "account", "konto", "compte", "cuenta",
        "member",
        "user", "카드", "고객", "회원", "カード", "会員", "卡", "客户", "карт",
    ),
    "ts": (
        "date", "datum", "dátum", "fecha", "tag", "data", "tarih", "day", "time", "posted", "일자", "일시",
        "날짜", "日付", "日期",
        "利用日", "дата",
    ),
    "amount": (
        "amount", "amt", "betrag", "montant", "importe", "kwota", "částka", "összeg", "tutar", "belopp",
        "bedrag", "valor", "value", "total", "price", "금액",
        "金額", "金额", "сумма",
    ),
    "merchant_id": (
        "merchant", "shop", "store", "vendor", "supplier", "payee", "händler", "haendler", "laden", "empfänger", "commer",
        "comerc", "akceptant", "sklep", "obchod", "keresked", "negozio", "estabelec", "butik", "işyeri", "winkel",
        "가맹점", "이용처", "加盟店", "店", "商户", "магазин",
    ),
    "mcc_l1": (
        "categ", "catég", "kateg", "industry", "branche", "segment", "sector", "desc", "mcc", "업종", "분류",
        "カテゴリ", "分類", "类别", "分类",
        "катег",
    ),
}  # fmt: skip
"""Pieces of headers in several languages; they only choose between columns whose values fit equally."""

FITS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ts": ((DATE,),),
    "amount": ((AMOUNT,), (NUMBER,)),
    "customer_id": ((ID,),),
    "merchant_id": ((NAMES,), (WORDS,)),
    "mcc_l1": ((WORDS,),),
}
"""Kinds of values for each of our columns, the better first."""
WRONG: dict[str, tuple[str, ...]] = {
    "ts": (AMOUNT, NUMBER, CLOCK, WORDS, NAMES), "amount": (DATE, CLOCK, WORDS, NAMES), "customer_id": (DATE, CLOCK, AMOUNT),
    "merchant_id": (DATE, CLOCK, AMOUNT), "mcc_l1": (DATE, CLOCK, AMOUNT),
}  # fmt: skip
"""Kinds that a header cannot make true while another column fits."""


FEW_CATEGORIES = 5
"""Fewer different words, beside a column with more, are a payment's states or channels; merchants are sorted into more."""


@dataclass(frozen=True)
class Roles:
    """Our column -> the source's; and where several fit: our column -> those."""

    columns: Mapping[str, str]
    open: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def guess_roles(profiles: Mapping[str, ColumnProfile], named: Mapping[str, str], wanted: tuple[str, ...]) -> Roles:
    """`named` is what headers propose (some of it for columns of other tables); `wanted` are ours, in the order of need."""
    columns = dict(named)
    asked: dict[str, tuple[str, ...]] = {}
    for ours in wanted:
        if ours not in FITS:
            continue
        theirs = columns.get(ours)
        if theirs is not None and profiles[theirs].kind not in WRONG[ours]:
            continue
        candidates = _candidates(profiles, ours, {c for k, c in columns.items() if k != ours})
        if theirs is not None and not candidates:
            continue  # nothing else fits: the header's column stays, and what is wrong with it is said
        columns.pop(ours, None)
        if ours == "mcc_l1":  # two to four words are states or channels where another column has more
            candidates = [c for c in candidates if profiles[c].distinct >= FEW_CATEGORIES] or candidates
        chosen = _one_of(ours, candidates) or _by_number(ours, candidates, profiles)
        if chosen is not None:
            columns[ours] = chosen
        elif candidates and (ours != "merchant_id" or NAMES in {profiles[c].kind for c in candidates}):
            asked[ours] = tuple(candidates)
    return Roles(columns, asked)


def _candidates(profiles: Mapping[str, ColumnProfile], ours: str, taken: set[str]) -> list[str]:
    for kinds in FITS[ours]:
        found = [n for n, p in profiles.items() if p.kind in kinds and n not in taken]
        if found:
            return found
    return []


def _one_of(ours: str, candidates: list[str]) -> str | None:
    if len(candidates) == 1:
        return candidates[0]
    hinted = [c for c in candidates if any(h in c.lower() for h in HINTS[ours])]
    return hinted[0] if len(hinted) == 1 else None


def _by_number(ours: str, candidates: list[str], profiles: Mapping[str, ColumnProfile]) -> str | None:
    """Of two columns of words the one with at least twice as many different ones names merchants, the other categories."""
    if ours not in ("merchant_id", "mcc_l1") or len(candidates) != 2:
        return None
    few, many = sorted(candidates, key=lambda c: profiles[c].distinct)
    if profiles[many].distinct < 2 * profiles[few].distinct:
        return None
    return many if ours == "merchant_id" else few


def rivals(profiles: Mapping[str, ColumnProfile], amount: str, taken: set[str]) -> list[str]:
    """Other columns of amounts, of which one may be the right one: a billing amount beside the original."""
    counted = re.compile(
        r"fee|tax|vat|tip|discount|rate|balance|limit|수수료|세금|부가세|잔액|한도|할인|gebühr|steuer|saldo", re.IGNORECASE
    )
    return [n for n, p in profiles.items() if p.kind == AMOUNT and n != amount and n not in taken and not counted.search(n)]


def clock_of(profiles: Mapping[str, ColumnProfile], taken: set[str]) -> str | None:
    """The only column of times of day."""
    found = [n for n, p in profiles.items() if p.kind == CLOCK and n not in taken]
    return found[0] if len(found) == 1 else None
