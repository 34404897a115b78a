"""What headers of other people's tables call our columns."""

from __future__ import annotations

from ple_model.data.importers.guess_writing import plain_name

NAMES: dict[str, tuple[str, ...]] = {
    "customer_id": (
        "customer", "client", "client id", "cust id", "card number", "card no", "card", "card id", "account", "account number",
        "account id", "member", "member id", "user", "user id", "고객번호", "고객id", "고객", "회원번호", "카드번호",
        "이용카드", "계좌번호",
    ),
    "ts": (
        "date", "datetime", "timestamp", "time stamp", "transaction date", "transaction time", "posted", "posting date",
        "booking date",
        "purchase date", "거래일자", "거래일시", "거래일", "이용일자", "이용일시", "이용일", "승인일자", "승인일시", "승인일",
        "매출일자", "일자", "날짜",
    ),
    "amount": (
        "amt", "value", "sum", "total", "price", "transaction amount", "purchase amount", "spend", "이용금액", "거래금액",
        "승인금액",
        "결제금액", "매출금액", "사용금액", "금액",
    ),
    "merchant_id": (
        "merchant", "merchant name", "store", "store name", "shop", "payee", "counterparty", "가맹점명", "가맹점",
        "이용가맹점", "이용처", "사용처",
        "상호",
    ),
    "brand": ("brand name", "chain", "브랜드", "브랜드명"),
    "mcc": ("mcc code", "merchant category code", "업종코드"),
    "mcc_l1": (
        "category", "merchant category", "spending category", "category name", "main category", "업종", "업종명",
        "가맹점업종", "카테고리",
        "분류", "대분류",
    ),
    "mcc_l2": ("subcategory", "sub category", "중분류", "소분류"),
    "product": ("product name", "상품", "상품명"),
    "channel": ("채널",),
    "birth_year": ("year of birth", "yob", "출생연도", "출생년도"),
    "age_band": ("age group", "age", "연령대"),
    "region": ("city", "province", "area", "지역", "시도", "거주지"),
    "joined_on": ("joined", "join date", "customer since", "since", "가입일", "가입일자"),
    "as_of": ("statement date", "month", "기준일", "기준일자"),
    "balance": ("outstanding", "잔액"),
    "credit_limit": ("limit", "한도"),
    "duration": ("seconds", "체류시간"),
    "campaign_id": ("campaign", "캠페인", "캠페인id"),
    "offer": ("action", "제안"),
    "exposed_at": ("sent at", "shown at", "발송일시", "노출일시"),
    "clicked_at": ("clicked", "클릭일시"),
    "converted_at": ("converted", "responded at", "전환일시"),
}  # fmt: skip
"""What sources call our columns, beside our own names; compared without case, spaces and punctuation."""
TIMES = ("time", "transaction time", "purchase time", "거래시간", "이용시간", "승인시간", "시간")
"""A column of its own for the time of day, joined to the date."""
CLAIMED = ("balance", "credit_limit", "duration", "birth_year", "age_band")
"""Numbers whose header says that they are no amount of a purchase."""


def guess_columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> dict[str, str]:
    """Our column -> the source's, by name; of several that fit, the one whose word stands first in `NAMES`."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(plain_name(name), name)
    out: dict[str, str] = {}
    for column in wanted:
        words = (column, *NAMES.get(column, ()))
        hit = next((plain[p] for p in map(plain_name, words) if p in plain and plain[p] not in out.values()), None)
        if hit is not None:
            out[column] = hit
    return out
