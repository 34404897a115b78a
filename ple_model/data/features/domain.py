"""Income decomposition and financial behaviour (17 columns): what comes in, how steadily, and how spending follows it."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, between, div, helper, last, net, net_share, total


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


_PHASE = "2 * pi() * dom / 30.4"
INCOME = Part(
    "income_decomposition", ("transactions",), ("dep", "count(*) FILTER (WHERE amount > 0) > 0"),
    "0 and absent: no money into a deposit account in the last 365 days",
    (
        _c("income_monthly_mean", "currency", "Average money coming in each four weeks over the last year.",
           "최근 1년 4주당 평균 입금액입니다.", "block",
           "avg(inflow)"),
        _c("income_permanent_share", "share",
           "Share of income that comes every month: what even a middling month brings, capped, over the total.",
           "매월 꾸준히 들어오는 소득의 비중으로, 중간 수준의 달까지의 금액을 전체로 나눈 값입니다.", "income",
           div("sum(least(inflow, middle_inflow))", "sum(inflow)")),
        _c("income_monthly_cv", "ratio", "Irregularity of income from four weeks to four weeks.",
           "4주 단위 소득의 불규칙성입니다.", "income",
           div("stddev_samp(inflow)", "avg(inflow)")),
        _c("income_growth_84d", "ratio", "Income of the last 12 weeks against the 12 before, from -1 (stopped) to 1 (new).",
           "최근 12주 소득을 그 이전 12주와 비교한 값으로, -1(중단)에서 1(신규)까지입니다.", "dep",
           div(f"{total('amount', last(84, 'amount > 0'))} - {total('amount', between(85, 168, 'amount > 0'))}",
               total("amount", last(168, "amount > 0")))),
        _c("income_largest_share_365d", "share", "Share of the largest single payment in the income of the last year.",
           "최근 1년 소득에서 가장 큰 입금 한 건의 비중입니다.", "dep", div("max(amount)",
           "sum(amount) FILTER (WHERE amount > 0)")),
        _c("income_payments_per_month", "count", "Average number of payments received in four weeks over the last year.",
           "최근 1년 4주당 평균 입금 건수입니다.", "dep", "count(*) FILTER (WHERE amount > 0) / 13.0"),
        _c("income_payday_concentration", "share",
           "How fixed the day of month of income is, by amount: 0 any day, 1 always the same.",
           "금액 기준으로 소득이 들어오는 날짜가 고정된 정도로, 0은 아무 날, 1은 늘 같은 날입니다.", "dep",
           div(f"sqrt(pow(sum(amount * sin({_PHASE})) FILTER (WHERE amount > 0), 2)"
               f" + pow(sum(amount * cos({_PHASE})) FILTER (WHERE amount > 0), 2))",
               "sum(amount) FILTER (WHERE amount > 0)")),
        _c("income_recency_days", "days", "Days since money last came in.", "마지막 입금 후 지난 일수입니다.", "dep",
           "min(d) FILTER (WHERE amount > 0)"),
    ),
)  # fmt: skip

FINANCIAL_BEHAVIOR = Part(
    "financial_behavior", ("transactions", "holdings"), ("card", "count(*) > 0"),
    "0 and absent: no purchase in the last 365 days",
    (
        _c("spend_to_income_90d", "ratio", "Card spend relative to money received in the last 90 days.",
           "최근 90일 입금액 대비 카드 지출입니다.", "final",
           div("_card_90d", "_inflow_90d")),
        _c("essential_share_90d", "share",
           "Share of spend on necessities (groceries, fuel and transport, health, education) in the last 90 days.",
           "최근 90일 지출 중 생활필수 업종(식료품, 주유·교통, 건강 관련, 교육) 비중입니다.", "allcard",
           net_share(last(90, "essential"), last(90))),
        _c("essential_share_shift_28d", "share", "Change of the share of necessities, last 28 days against the last year.",
           "생활필수 업종 비중의 변화로, 최근 28일과 최근 1년을 비교한 값입니다.", "allcard",
           f"{net_share(last(28, 'essential'), last(28))} - {net_share(last(365, 'essential'))}"),
        _c("spend_income_correlation", "score", "Whether spending rises and falls with income from four weeks to four weeks.",
           "4주 단위로 지출이 소득을 따라 오르내리는 정도입니다.", "block", "corr(spend, inflow)"),
        _c("consumption_smoothing", "ratio",
           "Swings of spending relative to swings of income; below 1 means spending is smoothed.",
           "소득 변동 대비 지출 변동으로, 1보다 작으면 지출이 평탄합니다.", "block",
           div("stddev_samp(spend) / nullif(avg(spend), 0)", "stddev_samp(inflow) / nullif(avg(inflow), 0)")),
        _c("payday_week_spend_share_365d", "share",
           "Share of the year's spend that falls within three days after money came in.",
           "최근 1년 지출 중 입금 후 사흘 안에 쓴 비중입니다.", "payday",
           div("coalesce(sum(spend) FILTER (WHERE after_payday), 0)", "sum(spend)")),
        _c("liquidity_months", "ratio", "Months of usual card spend that the balances outside credit would cover.",
           "신용을 제외한 잔액으로 감당할 수 있는 평소 카드 지출의 개월 수입니다.", "final", div("_savings", "_monthly_spend")),
        _c("new_merchant_spend_share_90d", "share", "Share of the last 90 days' spend at merchants first visited in that time.",
           "최근 90일 지출 중 그 기간에 처음 방문한 가맹점의 비중입니다.", "mer",
           div("coalesce(sum(s90) FILTER (WHERE first_d <= 90), 0)", "sum(s90)")),
        _c("lifestyle_premium_90d", "log ratio",
           "Spend of the last 90 days relative to what a middling customer spends in the same categories.",
           "최근 90일 지출을 같은 업종의 중간 고객 지출과 비교한 값입니다.", "catmarket",
           "ln(1 + sum(s90)) - ln(1 + sum(median_spend))"),
    ),
    helpers=(
        helper("card_90d", "allcard", net(last(90))), helper("inflow_90d", "dep",
          f"sum(amount) {last(90, 'amount > 0')}"),
        helper("savings", "hold", "sum(balance) FILTER (WHERE is_open AND coalesce(credit_limit, 0) = 0)"),
        helper("monthly_spend", "block", "nullif(avg(spend), 0)"),
    ),
)  # fmt: skip
PARTS = (INCOME, FINANCIAL_BEHAVIOR)
