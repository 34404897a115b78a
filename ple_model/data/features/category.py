"""Spending by category: shares, counts, trends, recency and diversity over the 12 categories (64 columns).

Unknown categories count in every total (category 0, "other") but have no column of their own.
"""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, div, entropy
from ple_model.tasks import SPENDING_CATEGORIES

EN = {"home": "household goods", "online": "online shops and services"}
"""What a category is called in a sentence, where that is another word than its name."""
KO = (
    "식료품", "외식", "주유·교통", "의류", "가정용품", "건강 관련 업종", "여가", "여행", "전자제품", "교육", "서비스",
    "온라인 쇼핑·서비스",
)  # fmt: skip
SLUGS = tuple(name.replace(" ", "_") for name in SPENDING_CATEGORIES)
NAMED = tuple(zip(range(1, 13), SLUGS, (EN.get(c, c) for c in SPENDING_CATEGORIES), KO, strict=True))
"""(index in relation `cat`, slug for column names, English, Korean)."""


def _c(name: str, unit: str, en: str, ko: str, sql: str) -> Column:
    return Column(name, unit, en, ko, "cat", sql)


def _only(column: str, c: int) -> str:
    return f"coalesce(sum({column}) FILTER (WHERE c = {c}), 0)"


CATEGORY = Part(
    "category", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        *(_c(f"category_share_{s}_{w}d", "share", f"Share of spend on {en} in the last {w} days.",
             f"최근 {w}일 지출 중 {ko} 비중입니다.",
             div(_only(f"s{w}", c), f"sum(s{w})")) for w in (90, 365) for c, s, en, ko in NAMED),
        *(_c(f"category_count_{s}_90d", "count", f"Number of purchases in {en} in the last 90 days.",
             f"최근 90일 동안 {ko} 결제 건수입니다.", _only("n90", c)) for c, s, en, ko in NAMED),
        *(_c(f"category_trend_{s}_90d", "ratio",
             f"Spend on {en}, last 90 days against the 90 before, from -1 (stopped) to 1 (new).",
             f"{ko} 지출을 최근 90일과 그 이전 90일로 비교한 값으로, -1(중단)에서 1(신규)까지입니다.",
             div(f"2 * {_only('s90', c)} - {_only('s180', c)}", _only("s180", c))) for c, s, en, ko in NAMED),
        *(_c(f"category_recency_{s}", "days", f"Days since the last purchase in {en}, 365 when there was none in a year.",
             f"마지막 {ko} 결제 후 지난 일수이며, 1년간 없으면 365입니다.",
             f"coalesce(min(last_d) FILTER (WHERE c = {c}), 365)") for c, s, en, ko in NAMED),
        *(_c(f"category_entropy_{w}d", "nats", f"How evenly spend spreads over categories in the last {w} days.",
             f"최근 {w}일 지출이 업종에 고르게 퍼진 정도입니다.", entropy(f"s{w}")) for w in (90, 365)),
        _c("category_top_share_90d", "share", "Share of the biggest category in the spend of the last 90 days.",
           "최근 90일 지출에서 가장 큰 업종의 비중입니다.", div("max(s90)", "sum(s90)")),
        _c("category_used_90d", "count", "Number of categories with a purchase in the last 90 days.",
           "최근 90일 동안 구매가 있었던 업종 수입니다.", "count(*) FILTER (WHERE n90 > 0)"),
    ),
)  # fmt: skip
