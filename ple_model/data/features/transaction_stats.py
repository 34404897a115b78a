"""Shape of amounts, gaps, daily, weekly and monthly spending (80 columns)."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, count, div, last, total

_AMOUNT = (
    ("std", "currency", "Spread of purchase amounts", "구매 금액의 표준편차", "stddev_samp(amount) {f}"),
    ("cv", "ratio", "Spread of purchase amounts relative to their average", "평균 대비 구매 금액의 변동",
     "stddev_samp(amount) {f} / nullif(avg(amount) {f}, 0)"),
    ("p10", "currency", "Amount that 10% of purchases stay below", "구매 금액의 10백분위",
      "(quantile_cont(amount, [0.1, 0.25, 0.5, 0.75, 0.9]) {f})[1]"),
    ("p25", "currency", "Amount that a quarter of purchases stay below", "구매 금액의 25백분위",
     "(quantile_cont(amount, [0.1, 0.25, 0.5, 0.75, 0.9]) {f})[2]"),
    ("median", "currency", "Middle purchase amount", "구매 금액의 중앙값",
      "(quantile_cont(amount, [0.1, 0.25, 0.5, 0.75, 0.9]) {f})[3]"),
    ("p75", "currency", "Amount that three quarters of purchases stay below", "구매 금액의 75백분위",
     "(quantile_cont(amount, [0.1, 0.25, 0.5, 0.75, 0.9]) {f})[4]"),
    ("p90", "currency", "Amount that 90% of purchases stay below", "구매 금액의 90백분위",
     "(quantile_cont(amount, [0.1, 0.25, 0.5, 0.75, 0.9]) {f})[5]"),
    ("skewness", "score", "How much a few large purchases stand out", "몇 건의 큰 구매가 두드러지는 정도",
     "CASE WHEN stddev_samp(amount) {f} > 0 THEN skewness(amount) {f} END"),
    ("log_mean", "log currency", "Average of the logarithm of purchase amounts", "구매 금액 로그의 평균",
      "avg(ln(1 + amount)) {f}"),
    ("log_std", "log currency", "Spread of the logarithm of purchase amounts", "구매 금액 로그의 표준편차",
      "stddev_samp(ln(1 + amount)) {f}"),
)  # fmt: skip
_GAP = (
    ("mean", "hours", "Average time between purchases", "구매 사이의 평균 시간", "avg(gap_h) {f}"),
    ("std", "hours", "Spread of the time between purchases", "구매 간격의 표준편차", "stddev_samp(gap_h) {f}"),
    ("cv", "ratio", "Irregularity of the time between purchases", "구매 간격의 불규칙성",
      "stddev_samp(gap_h) {f} / nullif(avg(gap_h) {f}, 0)"),
    ("median", "hours", "Middle time between purchases", "구매 간격의 중앙값", "(quantile_cont(gap_h, [0.5, 0.9]) {f})[1]"),
    ("p90", "hours", "Time between purchases that 90% of gaps stay below", "구매 간격의 90백분위",
      "(quantile_cont(gap_h, [0.5, 0.9]) {f})[2]"),
    ("max", "hours", "Longest time between purchases", "가장 긴 구매 간격", "max(gap_h) {f}"),
    ("min", "hours", "Shortest time between purchases", "가장 짧은 구매 간격", "min(gap_h) {f}"),
    ("burstiness", "ratio", "Whether purchases come in bursts (1), at random (0) or like clockwork (-1)",
     "구매가 몰리는지(1), 무작위인지(0), 규칙적인지(-1)의 정도",
     "(stddev_samp(gap_h) {f} - avg(gap_h) {f}) / nullif(stddev_samp(gap_h) {f} + avg(gap_h) {f}, 0)"),
)  # fmt: skip


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


def _daily(w: int) -> tuple[Column, ...]:
    e, k = f"in the last {w} days", f"최근 {w}일"
    return (
        _c(f"daily_spend_median_{w}d", "currency", f"Middle spend of a shopping day {e}.", f"{k} 구매일 지출의 중앙값입니다.",
           "cardday",
           f"median(amount) {last(w)}"),
        _c(f"daily_spend_std_{w}d", "currency", f"Spread of spend between shopping days {e}.",
           f"{k} 구매일 지출의 표준편차입니다.", "cardday",
           f"stddev_samp(amount) {last(w)}"),
        _c(f"daily_spend_max_{w}d", "currency", f"Spend of the most expensive day {e}.",
           f"{k} 중 지출이 가장 큰 날의 금액입니다.", "cardday",
           f"max(amount) {last(w)}"),
        _c(f"daily_count_mean_{w}d", "count", f"Average purchases on a shopping day {e}.",
           f"{k} 구매일 하루당 평균 구매 건수입니다.", "cardday",
           f"avg(n) {last(w)}"),
        _c(f"daily_count_max_{w}d", "count", f"Most purchases in one day {e}.", f"{k} 중 하루 최다 구매 건수입니다.",
           "cardday", f"max(n) {last(w)}"),
    )  # fmt: skip


_WEEK = (
    _c("weekly_spend_mean_26w", "currency", "Average spend a week over the last 26 weeks.", "최근 26주 주당 평균 지출입니다.",
       "week", "avg(spend)"),
    _c("weekly_spend_std_26w", "currency", "Spread of weekly spend over the last 26 weeks.",
       "최근 26주 주간 지출의 표준편차입니다.", "week",
       "stddev_samp(spend)"),
    _c("weekly_spend_cv_26w", "ratio", "Spread of weekly spend relative to its average over the last 26 weeks.",
       "최근 26주 주간 지출의 평균 대비 변동입니다.", "week", div("stddev_samp(spend)", "avg(spend)")),
    _c("weekly_spend_max_26w", "currency", "Spend of the biggest week of the last 26.",
       "최근 26주 중 지출이 가장 큰 주의 금액입니다.", "week", "max(spend)"),
    _c("weekly_silent_share_26w", "share", "Share of the last 26 weeks without a purchase.",
       "최근 26주 중 구매가 없었던 주의 비중입니다.", "week",
       "avg((n = 0)::INT)"),
    _c("weekly_spend_slope_26w", "ratio", "Weekly growth of spend over the last 26 weeks, relative to the average week.",
       "최근 26주 주간 지출의 추세를 평균 주간 지출로 나눈 값입니다.", "week", div("regr_slope(spend, -w)", "avg(spend)")),
    _c("monthly_spend_mean_13m", "currency", "Average spend in four weeks over the last year.",
       "최근 1년 4주당 평균 지출입니다.", "block", "avg(spend)"),
    _c("monthly_spend_std_13m", "currency", "Spread of four-week spend over the last year.",
       "최근 1년 4주 지출의 표준편차입니다.", "block",
       "stddev_samp(spend)"),
    _c("monthly_spend_cv_13m", "ratio", "Spread of four-week spend relative to its average over the last year.",
       "최근 1년 4주 지출의 평균 대비 변동입니다.", "block", div("stddev_samp(spend)", "avg(spend)")),
    _c("monthly_spend_max_13m", "currency", "Spend of the biggest four weeks of the last year.",
       "최근 1년 중 지출이 가장 큰 4주의 금액입니다.", "block",
       "max(spend)"),
    _c("monthly_spend_min_13m", "currency", "Spend of the smallest four weeks of the last year.",
       "최근 1년 중 지출이 가장 작은 4주의 금액입니다.", "block",
       "min(spend)"),
    _c("monthly_silent_share_13m", "share", "Share of four-week periods of the last year without a purchase.",
       "최근 1년의 4주 구간 중 구매가 없었던 비중입니다.", "block", "avg((n = 0)::INT)"),
    _c("monthly_spend_slope_13m", "ratio",
       "Growth of spend from four weeks to four weeks over the last year, relative to the average.",
       "최근 1년 4주 지출의 추세를 평균으로 나눈 값입니다.", "block", div("regr_slope(spend, -b)", "avg(spend)")),
    _c("monthly_spend_last_to_mean", "ratio", "Spend of the last four weeks relative to the average four weeks of the year.",
       "최근 4주 지출(1년 평균 4주 지출 대비)입니다.", "block", div("sum(spend) FILTER (WHERE b = 0)", "avg(spend)")),
)  # fmt: skip
_MIX = (
    _c("top1_purchase_share_90d", "share", "Share of the largest purchase in the spend of the last 90 days.",
       "최근 90일 지출에서 가장 큰 구매의 비중입니다.", "card", div(f"max(amount) {last(90)}", f"sum(amount) {last(90)}")),
    _c("top3_purchase_share_90d", "share", "Share of the three largest purchases in the spend of the last 90 days.",
       "최근 90일 지출에서 가장 큰 세 건의 비중입니다.", "card", div(f"list_sum(max(amount, 3) {last(90)})",
       f"sum(amount) {last(90)}")),
    _c("purchase_gini_365d", "share",
       "Inequality of purchase amounts in the last year: 0 all equal, 1 one purchase is everything.",
       "최근 1년 구매 금액의 불평등도로, 0은 모두 같음, 1은 한 건에 집중됨을 뜻합니다.", "seq",
       div("2 * sum(rank_amount * amount) - (count(*) + 1) * sum(amount)", "count(*) * sum(amount)")),
    _c("round_amount_share_90d", "share", "Share of purchases with a round amount in the last 90 days.",
       "최근 90일 구매 중 금액이 정수로 떨어지는 비중입니다.",
       "card", f"avg((amount = round(amount))::INT) {last(90)}"),
    _c("large_purchase_share_90d", "share",
       "Share of the last 90 days' purchases above twice the customer's average of the year.",
       "최근 90일 구매 중 연평균 금액의 두 배를 넘는 비중입니다.", "seq", f"avg((amount > 2 * avg_amount)::INT) {last(90)}"),
    _c("small_purchase_share_90d", "share",
       "Share of the last 90 days' purchases below half the customer's average of the year.",
       "최근 90일 구매 중 연평균 금액의 절반 미만인 비중입니다.", "seq", f"avg((amount < avg_amount / 2)::INT) {last(90)}"),
    _c("refund_count_365d", "count", "Number of refunds in the last year.", "최근 1년의 환불 건수입니다.", "allcard",
       count("FILTER (WHERE amount < 0)")),
    _c("refund_share_365d", "share", "Refunded amount relative to the amount spent in the last year.",
       "최근 1년 지출 대비 환불 금액의 비중입니다.", "allcard",
       div(total("-amount", "FILTER (WHERE amount < 0)"), "sum(amount) FILTER (WHERE amount > 0)")),
    _c("repeated_amount_share_365d", "share",
       "Share of purchases that repeat an earlier amount at the same merchant, such as subscriptions.",
       "같은 가맹점에서 같은 금액이 반복된 구매(구독 등)의 비중입니다.", "card",
       "1 - count(DISTINCT hash(m, amount))::DOUBLE / count(*)"),
    _c("quick_repeat_share_90d", "share", "Share of purchases made within an hour of the one before in the last 90 days.",
       "최근 90일 구매 중 직전 구매 후 한 시간 안에 이뤄진 비중입니다.", "seq",
       f"avg((coalesce(gap_h, 1e9) <= 1)::INT) {last(90)}"),
)  # fmt: skip

TRANSACTION_STATS = Part(
    "transaction_stats", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        *(_c(f"amount_{s}_{w}d", unit, f"{en} in the last {w} days.", f"최근 {w}일 {ko}입니다.", "card", sql.format(f=last(w)))
          for w in (28, 90, 365) for s, unit, en, ko, sql in _AMOUNT),
        *(_c(f"gap_{s}_{w}d", unit, f"{en} in the last {w} days.", f"최근 {w}일 {ko}입니다.", "seq", sql.format(f=last(w)))
          for w in (90, 365) for s, unit, en, ko, sql in _GAP),
        *_daily(28), *_daily(90), *_WEEK, *_MIX,
    ),
)  # fmt: skip
