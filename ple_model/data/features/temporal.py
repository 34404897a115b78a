"""When the customer buys: time of day, weekday, month phase, recent rhythm and its memory (60 columns)."""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, between, div, entropy, last


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


def _share(name: str, en: str, ko: str, condition: str, w: int = 90) -> Column:
    return _c(f"{name}_{w}d", "share", f"Share of purchases {en} in the last {w} days.",
      f"최근 {w}일 구매 중 {ko} 비중입니다.", "card",
              f"avg(({condition})::INT) {last(w)}")  # fmt: skip


_HOURS = ((0, "night", "자정~04시"), (4, "early_morning", "04~08시"), (8, "morning", "08~12시"), (12, "afternoon", "12~16시"),
          (16, "evening", "16~20시"), (20, "late_evening", "20~24시"))  # fmt: skip
_WEEKDAYS = (("monday", "월요일"), ("tuesday", "화요일"), ("wednesday", "수요일"), ("thursday", "목요일"), ("friday", "금요일"),
             ("saturday", "토요일"), ("sunday", "일요일"))  # fmt: skip
_ANGLE = "2 * pi() * h / 24"

_RHYTHM = (
    _c("hour_mean_sin_90d", "score", "Typical shopping hour on a 24-hour clock, sine part, last 90 days.",
       "최근 90일 평소 구매 시각(24시간 원형)의 사인 성분입니다.", "card", f"avg(sin({_ANGLE})) {last(90)}"),
    _c("hour_mean_cos_90d", "score", "Typical shopping hour on a 24-hour clock, cosine part, last 90 days.",
       "최근 90일 평소 구매 시각(24시간 원형)의 코사인 성분입니다.", "card", f"avg(cos({_ANGLE})) {last(90)}"),
    _c("hour_concentration_90d", "share",
       "How fixed the hour of shopping is: 0 any time, 1 always the same hour, last 90 days.",
       "최근 90일 구매 시각이 고정된 정도로, 0은 아무 때나, 1은 늘 같은 시각입니다.", "card",
       f"sqrt(pow(avg(sin({_ANGLE})) {last(90)}, 2) + pow(avg(cos({_ANGLE})) {last(90)}, 2))"),
    _c("weekday_entropy_90d", "nats", "How evenly purchases spread over the days of the week in the last 90 days.",
       "최근 90일 구매가 요일에 고르게 퍼진 정도입니다.", "weekday", entropy("n90")),
    _c("hour_entropy_90d", "nats", "How evenly purchases spread over the hours of the day in the last 90 days.",
       "최근 90일 구매가 시간대에 고르게 퍼진 정도입니다.", "hour", entropy("n90")),
    _share("month_start_share", "on days 1 to 10 of the month", "매월 1~10일의", "dom <= 10"),
    _share("month_middle_share", "on days 11 to 20 of the month", "매월 11~20일의", "dom BETWEEN 11 AND 20"),
    _share("month_end_share", "after day 20 of the month", "매월 21일 이후의", "dom > 20"),
    _share("payday_share", "around payday (day 25 to day 1)", "급여일 무렵(25일~1일)의", "dom >= 25 OR dom = 1"),
)  # fmt: skip
_MEMORY = (
    *(_c(f"weekly_autocorrelation_lag{k}", "score",
         f"How much a week's spend resembles that of {k} week{'s' * (k > 1)} before, over 26 weeks.",
         f"최근 26주간 한 주의 지출이 {k}주 전 지출과 닮은 정도입니다.", "week", f"corr(spend, spend_lag{k})") for k in (1, 2,
         4)),
    *(_c(f"daily_count_autocorrelation_lag{k}", "score",
         f"How much a day's number of purchases resembles that of {k} day{'s' * (k > 1)} before, over 90 days.",
         f"최근 90일간 하루 구매 건수가 {k}일 전과 닮은 정도입니다.", "day", f"corr(n, n_lag{k})") for k in (1, 7)),
    _c("longest_silence_90d", "days", "Longest run of days without a purchase in the last 90 days.",
       "최근 90일 중 구매 없이 이어진 가장 긴 기간입니다.",
       "run", "coalesce(max(days) FILTER (WHERE NOT active), 0)"),
    _c("longest_streak_90d", "days", "Longest run of days with a purchase every day in the last 90 days.",
       "최근 90일 중 매일 구매가 이어진 가장 긴 기간입니다.", "run", "coalesce(max(days) FILTER (WHERE active), 0)"),
    _c("active_week_streak", "count", "Number of weeks up to now with a purchase in every week, at most 26.",
       "현재까지 매주 구매가 이어진 주 수로, 최대 26입니다.", "week", "coalesce(min(w) FILTER (WHERE n = 0), 26)"),
    _c("active_week_share_12w", "share", "Share of the last 12 weeks with a purchase.",
       "최근 12주 중 구매가 있었던 주의 비중입니다.", "week",
       "avg((n > 0)::INT) FILTER (WHERE w < 12)"),
    _c("active_day_share_90d", "share", "Share of the last 90 days with a purchase.",
       "최근 90일 중 구매가 있었던 날의 비중입니다.", "day",
       "avg((n > 0)::INT)"),
    _c("spend_acceleration_12w", "ratio",
       "Change of the weekly spending trend: last 12 weeks against the 12 before, relative to average spend.",
       "주간 지출 추세의 변화로, 최근 12주와 그 이전 12주를 비교해 평균 지출로 나눈 값입니다.", "week",
       div("regr_slope(spend, -w) FILTER (WHERE w < 12) - regr_slope(spend, -w) FILTER (WHERE w BETWEEN 12 AND 23)",
         "avg(spend)")),
    _c("same_season_spend_ratio", "ratio", "Spend in the four weeks a year ago relative to the average four weeks of the year.",
       "1년 전 같은 4주의 지출을 1년 평균 4주 지출로 나눈 값입니다.", "block", div("sum(spend) FILTER (WHERE b = 12)",
       "avg(spend)")),
    _c("hour_shift_28d", "score",
       "How far the typical shopping hour moved in the last 28 days against the 62 before: 0 not at all, 2 to the opposite.",
       "최근 28일의 평소 구매 시각이 그 이전 62일에서 벗어난 정도로, 0은 그대로, 2는 정반대입니다.", "card",
       "1 - cos(atan2({}, {}) - atan2({}, {}))".format(
           *(f"avg({t}({_ANGLE})) {f}" for f in (last(28), between(29, 90)) for t in ("sin", "cos")))),
    _c("weekend_ticket_ratio_365d", "ratio",
       "Average weekend purchase relative to the average weekday purchase in the last year.",
       "최근 1년 주말 건당 금액(평일 건당 금액 대비)입니다.", "card",
       div("avg(amount) FILTER (WHERE wd >= 6)", "avg(amount) FILTER (WHERE wd < 6)")),
    _c("days_to_expected_purchase", "days", "Days until the next purchase is due at the usual pace; negative when overdue.",
       "평소 속도로 다음 구매가 예상되기까지의 일수이며, 음수이면 지연된 것입니다.", "cardday",
       "(max(d) - min(d)) / nullif(count(*) - 1, 0) - min(d)"),
)  # fmt: skip

TEMPORAL = Part(
    "temporal", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        *(_share(f"hour_share_{s}", f"between {h:02d}:00 and {h + 4:02d}:00", f"{ko}에 이뤄진",
          f"h >= {h} AND h < {h + 4}") for h, s, ko in _HOURS),
        *(_share(f"weekday_share_{s}", f"on {s.capitalize()}s", f"{ko}에 이뤄진", f"wd = {i}") for i, (s,
          ko) in enumerate(_WEEKDAYS, 1)),
        *(_share("weekend_share", "at the weekend", "주말에 이뤄진", "wd >= 6", w) for w in (28, 90, 365)),
        *(_share("overnight_share", "between 22:00 and 06:00", "22시~06시에 이뤄진", "h >= 22 OR h < 6", w) for w in (28, 90)),
        *_RHYTHM,
        *(_c(f"week_{w + 1:02d}_spend_share", "share",
             f"Share of the last 12 weeks' spend that falls {w} to {w + 1} weeks ago.",
             f"최근 12주 지출 중 {w}~{w + 1}주 전 한 주의 비중입니다.", "week",
             div(f"sum(spend) FILTER (WHERE w = {w})", "sum(spend) FILTER (WHERE w < 12)")) for w in range(12)),
        *(_c(f"month_{b + 1:02d}_spend_ratio", "ratio",
             f"Spend {4 * b} to {4 * b + 4} weeks ago relative to the average four weeks of the year.",
             f"{4 * b}~{4 * b + 4}주 전 4주 지출(1년 평균 4주 지출 대비)입니다.", "block",
             div(f"sum(spend) FILTER (WHERE b = {b})", "avg(spend)")) for b in range(1, 7)),
        *_MEMORY,
    ),
)  # fmt: skip
