"""Heavy-tailed amounts and counts in their own units, never normalised (90 columns; reference, "raw power-law")."""

from __future__ import annotations

from ple_model.data.features.category import NAMED
from ple_model.data.features.column import Column, Part, count, last, net, total

_WINDOWS = (7, 14, 28, 56, 90, 180, 365)
_ORDINAL = ((2, "Second"), (3, "Third"), (4, "Fourth"), (5, "Fifth"))


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(f"raw_{name}", unit, en, ko, source, sql)


def _cat(column: str, c: int, fn: str = "sum") -> str:
    return f"coalesce({fn}({column}) FILTER (WHERE c = {c}), 0)"


_OTHER_SOURCES = (
    ("deposit_inflow_365d", "currency", "Money into deposit accounts in the last year", "최근 1년 예금 입금액", "dep",
     total("amount", last(365, "amount > 0"))),
    ("deposit_outflow_365d", "currency", "Money out of deposit accounts in the last year", "최근 1년 예금 출금액", "dep",
     total("-amount", last(365, "amount < 0"))),
    ("deposit_largest_inflow_365d", "currency", "Largest payment into deposit accounts in the last year",
      "최근 1년 가장 큰 입금액", "dep",
     f"max(amount) {last(365, 'amount > 0')}"),
    ("deposit_largest_outflow_365d", "currency", "Largest payment out of deposit accounts in the last year",
      "최근 1년 가장 큰 출금액", "dep",
     f"max(-amount) {last(365, 'amount < 0')}"),
    ("balance_total", "currency", "Total balance of open products", "보유 상품 잔액 합계", "hold",
      "sum(balance) FILTER (WHERE is_open)"),
    ("balance_largest", "currency", "Largest balance of one open product", "보유 상품 중 가장 큰 잔액", "hold",
      "max(balance) FILTER (WHERE is_open)"),
    ("credit_limit_total", "currency", "Total limit of open credit lines", "이용 중인 신용한도 합계",
      "line", "sum(credit_limit)"),
    ("investment_365d", "currency", "Amount of investment movements in the last year", "최근 1년 투자 거래 금액", "inv",
      "sum(amount)"),
    ("insurance_premium_365d", "currency", "Insurance premiums paid in the last year", "최근 1년 납입 보험료", "ins",
     total("amount", last(365, "role = 'premium'"))),
    ("insurance_claim_365d", "currency", "Insurance claims received in the last year", "최근 1년 수령 보험금", "ins",
     total("amount", last(365, "role = 'claim'"))),
    ("overseas_spend_365d", "currency", "Amount spent abroad in the last year", "최근 1년 해외 지출", "ovs", "sum(amount)"),
    ("session_count_365d", "count", "App and web sessions in the last year", "최근 1년 앱·웹 접속 횟수", "ses", "count(*)"),
    ("session_event_count_365d", "count", "Actions in sessions in the last year", "최근 1년 앱·웹 안에서 한 행동 수", "ses",
      "sum(events)"),
    ("session_minutes_365d", "minutes", "Minutes in sessions in the last year", "최근 1년 접속 시간(분)", "ses",
      "sum(duration) / 60"),
    ("merchant_count_365d", "count", "Different merchants in the last year", "최근 1년 이용 가맹점 수", "mer", "count(*)"),
    ("brand_count_365d", "count", "Different brands in the last year", "최근 1년 이용 브랜드 수", "brand", "count(*)"),
    ("campaign_exposure_count_365d", "count", "Campaigns shown in the last year", "최근 1년 노출 캠페인 수", "camp",
      "count(*)"),
)  # fmt: skip

RAW_POWER_LAW = Part(
    "raw_power_law", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        *(_c(f"spend_{w}d", "currency", f"Amount spent in the last {w} days, refunds taken off, in its own scale.",
             f"최근 {w}일 지출 금액(환불 차감, 원래 척도)입니다.", "allcard", net(last(w))) for w in _WINDOWS),
        _c("spend_ever", "currency", "Amount ever spent, in its own scale.", "지금까지의 총지출(원래 척도)입니다.", "ever",
           net()),
        *(_c(f"purchase_count_{w}d", "count", f"Number of purchases in the last {w} days, in its own scale.",
             f"최근 {w}일 구매 건수(원래 척도)입니다.", "card", count(last(w))) for w in _WINDOWS),
        *(_c(f"max_ticket_{w}d", "currency", f"Largest purchase in the last {w} days, in its own scale.",
             f"최근 {w}일 최대 구매 금액(원래 척도)입니다.",
             "card", f"max(amount) {last(w)}") for w in (28, 90, 365)),
        *(_c(f"ticket_rank_{k}_365d", "currency", f"{en} largest purchase of the last year, in its own scale.",
             f"최근 1년 {k}번째로 큰 구매 금액(원래 척도)입니다.", "card", f"max(amount, 5)[{k}]") for k, en in _ORDINAL),
        _c("max_daily_spend_365d", "currency", "Spend of the biggest day of the last year, in its own scale.",
           "최근 1년 하루 최대 지출(원래 척도)입니다.",
           "cardday", "max(amount)"),
        _c("max_weekly_spend_26w", "currency", "Spend of the biggest of the last 26 weeks, in its own scale.",
           "최근 26주 중 주간 최대 지출(원래 척도)입니다.",
           "week", "max(spend)"),
        _c("max_monthly_spend_13m", "currency", "Spend of the biggest four weeks of the last year, in its own scale.",
           "최근 1년 4주 최대 지출(원래 척도)입니다.", "block", "max(spend)"),
        *(_c(f"spend_{s}_{w}d", "currency", f"Amount spent on {en} in the last {w} days, in its own scale.",
             f"최근 {w}일 {ko} 결제 금액(원래 척도)입니다.", "cat", _cat(f"s{w}", c)) for w in (28, 365) for c, s, en,
             ko in NAMED),
        *(_c(f"max_ticket_{s}_365d", "currency", f"Largest purchase in {en} in the last year, in its own scale.",
             f"최근 1년 {ko} 결제 중 최고 금액(원래 척도)입니다.", "cat",
             _cat("max_amount", c, "max")) for c, s, en, ko in NAMED),
        *(_c(f"purchase_count_{s}_365d", "count", f"Number of purchases in {en} in the last year, in its own scale.",
             f"최근 1년 {ko} 결제 건수(원래 척도)입니다.", "cat", _cat("n365", c)) for c, s, en, ko in NAMED),
        *(_c(name, unit, f"{en}, in its own scale.", f"{ko}(원래 척도)입니다.", source, sql) for name, unit, en, ko, source,
             sql in _OTHER_SOURCES),
    ),
)  # fmt: skip
