"""Deposit, membership, investment, credit, digital and product-holding figures (91 columns)."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, between, count, div, entropy, helper, last, total


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


_SPANS = (28, 90, 365)
_IN, _OUT = "amount > 0", "amount < 0"

DEPOSIT = Part(
    "deposit", ("transactions",), ("dep", "count(*) > 0"), "0 and absent: no deposit account movement in the last 365 days",
    (
        *(_c(f"deposit_inflow_{w}d", "currency", f"Money that came into deposit accounts in the last {w} days.",
             f"최근 {w}일 동안 예금 계좌에 들어온 금액입니다.", "dep", total("amount", last(w, _IN))) for w in _SPANS),
        *(_c(f"deposit_outflow_{w}d", "currency", f"Money that left deposit accounts in the last {w} days.",
             f"최근 {w}일 동안 예금 계좌에서 나간 금액입니다.", "dep", total("-amount", last(w, _OUT))) for w in _SPANS),
        *(_c(f"deposit_net_flow_{w}d", "currency", f"Money in minus money out of deposit accounts in the last {w} days.",
             f"최근 {w}일 예금 계좌의 순유입(입금-출금)입니다.", "dep", total("amount", last(w))) for w in _SPANS),
        _c("deposit_inflow_count_90d", "count", "Number of payments into deposit accounts in the last 90 days.", "최근 90일 입금 건수입니다.", "dep",
           count(last(90, _IN))),
        _c("deposit_outflow_count_90d", "count", "Number of payments out of deposit accounts in the last 90 days.", "최근 90일 출금 건수입니다.", "dep",
           count(last(90, _OUT))),
        _c("deposit_recency_days", "days", "Days since the last deposit account movement.", "마지막 입출금 후 지난 일수입니다.", "dep", "min(d)"),
        _c("deposit_inflow_mean_90d", "currency", "Average payment into deposit accounts in the last 90 days.", "최근 90일 건당 평균 입금액입니다.",
           "dep", f"avg(amount) {last(90, _IN)}"),
        _c("deposit_inflow_max_90d", "currency", "Largest payment into deposit accounts in the last 90 days.", "최근 90일 가장 큰 입금액입니다.",
           "dep", f"max(amount) {last(90, _IN)}"),
        _c("deposit_outflow_max_90d", "currency", "Largest payment out of deposit accounts in the last 90 days.", "최근 90일 가장 큰 출금액입니다.",
           "dep", f"max(-amount) {last(90, _OUT)}"),
        _c("deposit_net_volatility", "currency", "Spread of the net flow from four weeks to four weeks over the last year.",
           "최근 1년 4주 단위 순유입의 표준편차입니다.", "block", "stddev_samp(inflow - outflow)"),
        _c("deposit_savings_rate_365d", "share", "Share of the money that came in that stayed in, last year.", "최근 1년 입금액 중 남은 금액의 비중입니다.",
           "dep", div("sum(amount)", f"sum(amount) {last(365, _IN)}")),
        _c("deposit_inflow_cv", "ratio", "Irregularity of the money coming in from four weeks to four weeks.", "4주 단위 입금액의 불규칙성입니다.", "block",
           div("stddev_samp(inflow)", "avg(inflow)")),
        _c("deposit_active_month_share", "share", "Share of the last 13 four-week periods with a deposit account movement.",
           "최근 13개 4주 구간 중 입출금이 있었던 비중입니다.", "block", "avg((inflow > 0 OR outflow > 0)::INT)"),
        _c("deposit_inflow_day_spread", "days", "Spread of the day of month on which money comes in; small for a fixed payday.",
           "입금이 이뤄지는 날짜(일)의 표준편차로, 급여일이 고정이면 작습니다.", "dep", f"stddev_samp(dom) {last(365, _IN)}"),
    ),
)  # fmt: skip

MEMBERSHIP = Part(
    "membership", ("customers", "transactions"), ("relation", "bool_or(tenure IS NOT NULL)"), "0 and absent: date of joining unknown",
    (
        _c("membership_tenure_days", "days", "Days since the customer joined.", "고객이 가입한 뒤 지난 일수입니다.", "relation", "max(tenure)"),
        _c("membership_log_tenure", "log days", "Logarithm of the days since joining, so that early days count more.",
           "가입 후 일수의 로그로, 초기 기간을 더 세밀하게 나타냅니다.", "relation", "max(ln(1 + tenure))"),
        _c("membership_days_to_anniversary", "days", "Days until the next anniversary of joining.", "다음 가입 기념일까지 남은 일수입니다.", "relation",
           "max(365 - (tenure % 365))"),
        _c("membership_first_year", "flag", "1 in the first year after joining, else 0.", "가입 후 첫해이면 1, 아니면 0입니다.", "relation",
           "max((tenure < 365)::INT)"),
        _c("membership_first_purchase_delay", "days", "Days from joining to the first known purchase.", "가입부터 첫 구매까지 걸린 일수입니다.",
           "final", "_tenure - _first_ever"),
        _c("membership_activated_share", "share", "Share of the time since joining that the customer has been buying.",
           "가입 이후 기간 중 첫 구매 이후 기간의 비중입니다.", "final", "least(_first_ever / nullif(_tenure, 0), 1)"),
        _c("membership_active_months_3m", "count", "Number of the last 3 four-week periods with a purchase.", "최근 3개 4주 구간 중 구매가 있던 구간 수입니다.",
           "block", "count(*) FILTER (WHERE n > 0 AND b < 3)"),
        _c("membership_active_months_6m", "count", "Number of the last 6 four-week periods with a purchase.", "최근 6개 4주 구간 중 구매가 있던 구간 수입니다.",
           "block", "count(*) FILTER (WHERE n > 0 AND b < 6)"),
        _c("membership_active_months_13m", "count", "Number of the last 13 four-week periods with a purchase.",
           "최근 13개 4주 구간 중 구매가 있던 구간 수입니다.", "block", "count(*) FILTER (WHERE n > 0)"),
        _c("membership_month_streak", "count", "Four-week periods in a row, up to now, with a purchase.", "현재까지 구매가 끊기지 않은 4주 구간 수입니다.",
           "block", "coalesce(min(b) FILTER (WHERE n = 0), 13)"),
        _c("membership_lapses_365d", "count", "Number of silences of 28 days or more between purchases in the last year.",
           "최근 1년 구매 사이에 28일 이상 비었던 횟수입니다.", "final", "coalesce(_lapses, 0)"),
        _c("membership_longest_lapse_365d", "days", "Longest silence between purchases in the last year.", "최근 1년 중 구매 사이의 가장 긴 공백입니다.",
           "final", "_longest_gap"),
        _c("membership_loyal_months_13m", "count", "Four-week periods of the last year with four or more purchases.",
           "최근 1년 중 구매가 4건 이상인 4주 구간 수입니다.", "block", "count(*) FILTER (WHERE n >= 4)"),
        _c("membership_spend_per_tenure_year", "currency", "Known spend a year since joining.", "가입 이후 연간 환산 지출입니다.", "final",
           "_spend_ever / greatest(_tenure / 365.0, 28 / 365.0)"),
        _c("membership_products_per_tenure_year", "count", "Products opened a year since joining.", "가입 이후 연간 환산 신규 상품 수입니다.", "final",
           "_products_ever / greatest(_tenure / 365.0, 1)"),
    ),
    helpers=(
        helper("tenure", "relation", "max(tenure)"), helper("first_ever", "ever", "max(d)"), helper("spend_ever", "ever", "sum(amount)"),
        helper("lapses", "seq", "count(*) FILTER (WHERE gap_h >= 672)"), helper("longest_gap", "seq", "max(gap_h) / 24"),
        helper("products_ever", "hold", "count(*)"),
    ),
)  # fmt: skip

INVESTMENT = Part(
    "investment", ("investment",), ("inv", "count(*) > 0"), "0 and absent: no investment movement in the last 365 days",
    (
        *(_c(f"investment_{s}_{f}_{w}d", u, f"{en} in the last {w} days.", f"최근 {w}일 {ko}입니다.", "inv",
             (total("amount", last(w, cond)) if f == "sum" else count(last(w, cond))))
          for w in (90, 365)
          for s, f, u, en, ko, cond in (
              ("bought", "sum", "currency", "Amount put into investments", "투자 매수 금액", "NOT sell"),
              ("bought", "count", "count", "Number of payments into investments", "투자 매수 건수", "NOT sell"),
              ("sold", "sum", "currency", "Amount taken out of investments", "투자 매도 금액", "sell"),
              ("sold", "count", "count", "Number of withdrawals from investments", "투자 매도 건수", "sell"))),
        _c("investment_net_365d", "currency", "Money put into investments minus money taken out in the last year.", "최근 1년 투자 순매수 금액입니다.",
           "inv", "sum(CASE WHEN sell THEN -amount ELSE amount END)"),
        _c("investment_recency_days", "days", "Days since the last investment movement.", "마지막 투자 거래 후 지난 일수입니다.", "inv", "min(d)"),
        _c("investment_active_months", "count", "Four-week periods of the last year with an investment movement.",
           "최근 1년 중 투자 거래가 있던 4주 구간 수입니다.", "inv", "count(DISTINCT (d - 1) // 28)"),
        _c("investment_mean_365d", "currency", "Average size of an investment movement in the last year.", "최근 1년 건당 평균 투자 금액입니다.", "inv",
           "avg(amount)"),
        _c("investment_max_365d", "currency", "Largest investment movement in the last year.", "최근 1년 가장 큰 투자 금액입니다.", "inv", "max(amount)"),
        _c("investment_kinds_365d", "count", "Number of kinds of investment used in the last year.", "최근 1년 이용한 투자 유형 수입니다.", "inv",
           "count(DISTINCT kind)"),
        _c("investment_kind_entropy_365d", "nats", "How evenly investment spreads over kinds in the last year.",
           "최근 1년 투자가 유형에 고르게 퍼진 정도입니다.", "invkind", entropy("amount")),
        _c("investment_size_cv_365d", "ratio", "Irregularity of the size of investments in the last year.", "최근 1년 투자 금액의 불규칙성입니다.", "inv",
           div("stddev_samp(amount)", "avg(amount)")),
        _c("investment_trend_90d", "ratio", "Investment of the last 90 days against the 90 before, from -1 (stopped) to 1 (new).",
           "최근 90일 투자를 그 이전 90일과 비교한 값으로, -1(중단)에서 1(신규)까지입니다.", "inv",
           div(f"{total('amount', last(90))} - {total('amount', between(91, 180))}", total("amount", last(180)))),
        _c("investment_top_kind_share_365d", "share", "Share of the biggest kind of investment in the last year.",
           "최근 1년 투자에서 가장 큰 유형의 비중입니다.", "invkind", div("max(amount)", "sum(amount)")),
    ),
)  # fmt: skip

CREDIT = Part(
    "credit", ("holdings",), ("hold", "count(*) FILTER (WHERE is_open AND credit_limit > 0) > 0"),
    "0 and absent: no open credit line in the last statement",
    tuple(
        _c(name, unit, en, ko, source, sql)
        for name, unit, en, ko, source, sql in (
            ("credit_limit_total", "currency", "Total limit of open credit lines.", "열린 신용 한도의 합계입니다.", "line", "sum(credit_limit)"),
            ("credit_balance_total", "currency", "Total amount in use on credit lines.", "신용 한도 중 사용 금액의 합계입니다.", "line", "sum(balance)"),
            ("credit_utilisation", "share", "Share of the total credit limit in use.", "전체 신용 한도 중 사용 비중입니다.", "line",
             div("sum(balance)", "sum(credit_limit)")),
            ("credit_utilisation_max", "share", "Highest use of any one credit line.", "개별 신용 한도 사용률 중 최댓값입니다.", "line",
             "max(balance / credit_limit)"),
            ("credit_line_count", "count", "Number of open credit lines.", "열린 신용 한도의 수입니다.", "line", "count(*)"),
            ("credit_limit_mean", "currency", "Average limit of a credit line.", "신용 한도 하나당 평균 금액입니다.", "line", "avg(credit_limit)"),
            ("credit_headroom", "currency", "Credit still available.", "아직 사용할 수 있는 신용 금액입니다.", "line", "sum(credit_limit - balance)"),
            ("credit_lines_stretched", "count", "Number of credit lines used above 80% of their limit.", "한도의 80%를 넘게 사용한 신용 수입니다.", "line",
             "count(*) FILTER (WHERE balance > 0.8 * credit_limit)"),
            ("credit_oldest_line_days", "days", "Age of the oldest credit line in days.", "가장 오래된 신용의 보유 일수입니다.", "line", "max(age)"),
            ("credit_newest_line_days", "days", "Age of the newest credit line in days.", "가장 최근 신용의 보유 일수입니다.", "line", "min(age)"),
            ("credit_utilisation_change_84d", "share", "Change of the share of credit in use over the last 12 weeks.",
             "최근 12주 신용 사용 비중의 변화입니다.", "line",
             f"{div('sum(balance) FILTER (WHERE before_balance IS NOT NULL)', 'sum(credit_limit) FILTER (WHERE before_balance IS NOT NULL)')}"
             f" - {div('sum(before_balance)', 'sum(credit_limit) FILTER (WHERE before_balance IS NOT NULL)')}"),
            ("credit_spend_to_limit_28d", "ratio", "Card spend of the last 28 days relative to the total credit limit.",
             "최근 28일 카드 지출을 전체 신용 한도로 나눈 값입니다.", "final", "coalesce(_spend_28d, 0) / nullif(_limit_total, 0)"),
        )
    ),
    helpers=(helper("spend_28d", "card", f"sum(amount) {last(28)}"), helper("limit_total", "line", "sum(credit_limit)")),
)  # fmt: skip

DIGITAL = Part(
    "digital", ("sessions",), ("ses", "count(*) > 0"), "0 and absent: no app or web session in the last 365 days",
    (
        *(_c(f"session_count_{w}d", "count", f"Number of app and web sessions in the last {w} days.", f"최근 {w}일 앱·웹 접속 횟수입니다.", "ses",
             count(last(w))) for w in (7, 28, 90)),
        _c("session_minutes_28d", "minutes", "Minutes spent in sessions in the last 28 days.", "최근 28일 접속 시간(분)입니다.", "ses",
           total("duration / 60", last(28))),
        _c("session_minutes_mean_90d", "minutes", "Average length of a session in the last 90 days, in minutes.",
           "최근 90일 접속당 평균 시간(분)입니다.", "ses", f"avg(duration / 60) {last(90)}"),
        _c("session_events_mean_90d", "count", "Average number of actions in a session in the last 90 days.", "최근 90일 접속당 평균 행동 수입니다.",
           "ses", f"avg(events) {last(90)}"),
        _c("session_recency_days", "days", "Days since the last session.", "마지막 접속 후 지난 일수입니다.", "ses", "min(d)"),
        _c("session_active_days_28d", "days", "Days with a session in the last 28 days.", "최근 28일 중 접속한 날의 수입니다.", "ses",
           f"count(DISTINCT d) {last(28)}"),
        _c("session_active_days_90d", "days", "Days with a session in the last 90 days.", "최근 90일 중 접속한 날의 수입니다.", "ses",
           f"count(DISTINCT d) {last(90)}"),
        _c("session_app_share_90d", "share", "Share of sessions in the app in the last 90 days.", "최근 90일 접속 중 앱의 비중입니다.", "ses",
           f"avg((ch = 'app')::INT) {last(90)}"),
        _c("session_night_share_90d", "share", "Share of sessions between 22:00 and 06:00 in the last 90 days.",
           "최근 90일 접속 중 22시~06시의 비중입니다.", "ses", f"avg((h >= 22 OR h < 6)::INT) {last(90)}"),
        _c("session_usual_gap_days", "days", "Average days between days with a session in the last year.", "최근 1년 접속일 사이의 평균 간격입니다.", "ses",
           "(max(d) - min(d)) / nullif(count(DISTINCT d) - 1, 0)"),
        _c("session_trend_28d", "ratio", "Sessions of the last 28 days against the 28 before, from -1 (stopped) to 1 (new).",
           "최근 28일 접속을 그 이전 28일과 비교한 값으로, -1(중단)에서 1(신규)까지입니다.", "ses",
           div(f"{count(last(28))} - {count(between(29, 56))}", count(last(56)))),
        _c("sessions_per_purchase_90d", "ratio", "Sessions for each purchase in the last 90 days.", "최근 90일 구매 1건당 접속 횟수입니다.", "final",
           "_sessions_90d / (1 + coalesce(_purchases_90d, 0))"),
    ),
    helpers=(helper("sessions_90d", "ses", count(last(90))), helper("purchases_90d", "card", count(last(90)))),
)  # fmt: skip

PRODUCT = Part(
    "product", ("holdings",), ("hold", "count(*) > 0"), "0 and absent: no product statement before the cut-off",
    tuple(
        _c(name, unit, en, ko, "hold", sql)
        for name, unit, en, ko, sql in (
            ("product_open_count", "count", "Number of products held now.", "현재 보유한 상품 수입니다.", "count(*) FILTER (WHERE is_open)"),
            ("product_ever_count", "count", "Number of products ever held.", "지금까지 보유한 상품 수입니다.", "count(*)"),
            ("product_opened_90d", "count", "Products opened in the last 90 days.", "최근 90일 동안 새로 가입한 상품 수입니다.",
             "count(*) FILTER (WHERE age <= 90)"),
            ("product_opened_365d", "count", "Products opened in the last year.", "최근 1년 동안 새로 가입한 상품 수입니다.",
             "count(*) FILTER (WHERE age <= 365)"),
            ("product_closed_365d", "count", "Products closed in the last year.", "최근 1년 동안 해지한 상품 수입니다.",
             "count(*) FILTER (WHERE closed_days <= 365)"),
            ("product_oldest_days", "days", "Age of the oldest open product in days.", "가장 오래된 보유 상품의 보유 일수입니다.",
             "max(age) FILTER (WHERE is_open)"),
            ("product_newest_days", "days", "Age of the newest open product in days.", "가장 최근 보유 상품의 보유 일수입니다.",
             "min(age) FILTER (WHERE is_open)"),
            ("product_balance_total", "currency", "Total balance over open products.", "보유 상품 잔액의 합계입니다.",
             "coalesce(sum(balance) FILTER (WHERE is_open), 0)"),
            ("product_top_balance_share", "share", "Share of the biggest product in the total balance.", "전체 잔액에서 가장 큰 상품의 비중입니다.",
             div("max(abs(balance)) FILTER (WHERE is_open)", "sum(abs(balance)) FILTER (WHERE is_open)")),
            ("product_balance_entropy", "nats", "How evenly the balance spreads over products.", "잔액이 상품에 고르게 퍼진 정도입니다.",
             entropy("abs(balance)", "is_open")),
            ("product_balance_change_84d", "ratio", "Change of the total balance over the last 12 weeks, relative to its size.",
             "최근 12주 전체 잔액의 변화를 규모로 나눈 값입니다.",
             div("sum(balance - before_balance)", "sum(abs(balance) + abs(before_balance)) / 2")),
            ("product_statement_age_days", "days", "Days since the last product statement.", "마지막 상품 명세 후 지난 일수입니다.", "min(statement_days)"),
        )
    ),
)  # fmt: skip
PARTS = (DEPOSIT, MEMBERSHIP, INVESTMENT, CREDIT, DIGITAL, PRODUCT)
