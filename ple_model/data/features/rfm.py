"""Recency, frequency and monetary value over several windows (34 columns)."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, between, count, div, last, net, net_share

_N = (7, 14, 28, 56, 90, 180, 365)
_DAYS = (7, 28, 90, 180, 365)


def _c(name: str, unit: str, en: str, ko: str, sql: str, source: str = "card") -> Column:
    return Column(name, unit, en, ko, source, sql)


RFM = Part(
    "rfm", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        _c("recency_days", "days", "Days since the last purchase.", "마지막 구매 후 지난 일수입니다.", "min(d)"),
        *(_c(f"purchase_count_{w}d", "count", f"Number of purchases in the last {w} days.",
             f"최근 {w}일 동안의 구매 건수입니다.",
             count(last(w))) for w in _N),
        *(_c(f"active_days_{w}d", "days", f"Number of days with a purchase in the last {w} days.",
             f"최근 {w}일 중 구매가 있었던 날의 수입니다.", count(last(w)), "cardday") for w in _DAYS),
        *(_c(f"spend_{w}d", "currency", f"Amount spent in the last {w} days, refunds taken off.",
             f"최근 {w}일 동안의 구매 금액(환불 차감)입니다.", net(last(w)), "allcard") for w in _N),
        *(_c(f"avg_ticket_{w}d", "currency", f"Average amount of a purchase in the last {w} days.",
             f"최근 {w}일 동안의 건당 평균 구매 금액입니다.", f"avg(amount) {last(w)}") for w in (28, 90, 365)),
        *(_c(f"max_ticket_{w}d", "currency", f"Largest single purchase in the last {w} days.",
             f"최근 {w}일 동안 가장 큰 단건 구매 금액입니다.", f"max(amount) {last(w)}") for w in (90, 365)),
        _c("spend_ratio_28d_to_previous_28d", "ratio",
           "Spend of the last 28 days relative to the 28 days before, from -1 (stopped) to 1 (new).",
           "최근 28일의 지출을 그 이전 28일과 비교한 값으로, -1(중단)에서 1(신규)까지입니다.",
           div(f"{net(last(28))} - {net(between(29, 56))}", f"{net(last(28))} + {net(between(29, 56))}"), "allcard"),
        _c("spend_ratio_90d_to_previous_90d", "ratio",
           "Spend of the last 90 days relative to the 90 days before, from -1 (stopped) to 1 (new).",
           "최근 90일의 지출을 그 이전 90일과 비교한 값으로, -1(중단)에서 1(신규)까지입니다.",
           div(f"{net(last(90))} - {net(between(91, 180))}", f"{net(last(90))} + {net(between(91, 180))}"), "allcard"),
        _c("count_ratio_28d_to_previous_28d", "ratio",
           "Purchases of the last 28 days relative to the 28 days before, from -1 (stopped) to 1 (new).",
           "최근 28일의 구매 건수를 그 이전 28일과 비교한 값으로, -1(중단)에서 1(신규)까지입니다.",
           div(f"{count(last(28))} - {count(between(29, 56))}", count(last(56)))),
        _c("spend_share_28d_of_365d", "share", "Share of the year's spend that falls in the last 28 days.",
           "최근 1년 지출 중 마지막 28일이 차지하는 비중입니다.", net_share(last(28)), "allcard"),
        _c("first_purchase_days", "days", "Days since the customer's earliest purchase within the last 365 days.",
           "최근 365일 안에서 가장 이른 구매 후 지난 일수입니다.",
           "max(d)"),
        _c("recency_to_usual_gap", "ratio",
           "Time since the last purchase as a multiple of the customer's usual gap between shopping days.",
           "마지막 구매 후 지난 기간(평소 구매 간격 대비)입니다.", div("min(d)",
           "(max(d) - min(d)) / nullif(count(*) - 1, 0)"), "cardday"),
        _c("expected_shopping_days_28d", "days", "Shopping days to expect in the next 28 days at the pace of the last year.",
           "지난 1년의 속도로 볼 때 앞으로 28일간 예상되는 구매일 수입니다.", div("28.0 * count(*)", "max(d)"), "cardday"),
        _c("probability_alive", "share",
           "Rough chance that the customer is still active, from how the silence compares with past shopping.",
           "과거 구매 흐름과 현재의 공백을 비교한 고객 활동 지속 가능성입니다.",
           "pow((max(d) - min(d)) / max(d), count(*))", "cardday"),
        _c("spend_per_active_day_90d", "currency", "Average spend on a day with a purchase in the last 90 days.",
           "최근 90일 중 구매일 하루당 평균 지출입니다.", f"avg(amount) {last(90)}", "cardday"),
    ),
)  # fmt: skip
