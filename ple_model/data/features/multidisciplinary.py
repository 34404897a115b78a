"""Four models borrowed from other sciences (24 columns).

Chemical: categories react into each other, with rates estimated from consecutive purchases (first-order kinetics). Epidemic:
brand adoption as SIR contagion (Kermack and McKendrick 1927; Bass 1969). Interference: weekly spending rhythms add up or cancel
like waves. Crime: routine-activity anomalies, the mismatch of a purchase with the customer's routine in time, place and amount
(Cohen and Felson 1979).
"""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, div, last, net_share


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


_REACT = "prev_c IS NOT NULL AND prev_c <> c"
_FWD = "prev_essential AND NOT essential"
_BWD = "NOT prev_essential AND essential"
CHEMICAL = Part(
    "chemical", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        _c("chemical_reaction_rate", "share", "How often one purchase is followed by one in another category, last year.",
           "최근 1년 한 구매 다음에 다른 업종 구매가 이어지는 빈도입니다.", "seq",
           div(f"count(*) FILTER (WHERE {_REACT})", "count(prev_c)")),
        _c("chemical_forward_rate", "share", "How often a purchase of necessities leads to a treat, last year.",
           "최근 1년 필수재 구매가 선택재 구매로 이어지는 빈도입니다.", "seq",
           div(f"count(*) FILTER (WHERE {_FWD})", "count(*) FILTER (WHERE prev_essential)")),
        _c("chemical_backward_rate", "share", "How often a treat is followed by a purchase of necessities, last year.",
           "최근 1년 선택재 구매 다음에 필수재 구매가 이어지는 빈도입니다.", "seq",
           div(f"count(*) FILTER (WHERE {_BWD})", "count(*) FILTER (WHERE NOT prev_essential)")),
        _c("chemical_equilibrium", "log ratio",
           "Towards which side the mix tends: positive to treats, negative to necessities.",
           "소비 구성이 향하는 쪽으로, 양수는 선택재, 음수는 필수재입니다.", "seq",
           f"ln((1 + count(*) FILTER (WHERE {_FWD})) / (1.0 + count(*) FILTER (WHERE prev_essential)))"
           f" - ln((1 + count(*) FILTER (WHERE {_BWD})) / (1.0 + count(*) FILTER (WHERE NOT prev_essential)))"),
        _c("chemical_reaction_hours", "hours", "Typical time until a purchase in another category follows, last year.",
           "최근 1년 다른 업종 구매가 이어지기까지의 보통 시간입니다.", "seq", f"median(gap_h) FILTER (WHERE {_REACT})"),
        _c("chemical_mix_change_90d", "share",
           "How much the mix of categories changed, last 90 days against the 90 before: 0 same, 1 wholly different.",
           "업종 구성의 변화로, 최근 90일과 그 이전 90일이 0이면 같고 1이면 완전히 다릅니다.", "cat",
           f"1 - {div('sum(s90 * (s180 - s90))', 'sqrt(sum(s90 * s90)) * sqrt(sum((s180 - s90) * (s180 - s90)))')}"),
    ),
)  # fmt: skip

_NOW, _BEFORE = "n90 > 0", "n365 > n90"
EPIDEMIC = Part(
    "epidemic", ("transactions",), ("brand", "count(*) > 0"),
    "0 and absent: no purchase with a known brand in the last 365 days",
    (
        _c("epidemic_infection_rate", "share", "New brands adopted in the last 90 days for each brand already in use.",
           "최근 90일에 새로 이용한 브랜드 수를 기존 이용 브랜드 수로 나눈 값입니다.", "brand",
           f"count(*) FILTER (WHERE first_d <= 90) / (1.0 + count(*) FILTER (WHERE {_BEFORE}))"),
        _c("epidemic_recovery_rate", "share", "Share of earlier brands that were given up in the last 90 days.",
           "이전에 이용하던 브랜드 중 최근 90일에 이용하지 않은 비중입니다.", "brand",
           div("count(*) FILTER (WHERE n90 = 0)", f"count(*) FILTER (WHERE {_BEFORE})")),
        _c("epidemic_reproduction_number", "ratio",
           "Brands adopted for each brand given up in the last 90 days; above 1 the repertoire grows.",
           "최근 90일에 떠난 브랜드 하나당 새로 이용한 브랜드 수로, 1보다 크면 이용 폭이 넓어집니다.", "brand",
           "(1.0 + count(*) FILTER (WHERE first_d <= 90)) / (1 + count(*) FILTER (WHERE n90 = 0))"),
        _c("epidemic_exposure_90d", "share",
           "How widespread among customers the brands bought in the last 90 days are, by visits.",
           "최근 90일에 이용한 브랜드가 고객들 사이에 퍼진 정도(방문 가중)입니다.", "brandmarket",
           div("sum(n90 * adopted_share)", "sum(n90) FILTER (WHERE adopted_share IS NOT NULL)")),
        _c("epidemic_early_adoption", "ratio",
           "How fast the newly adopted brands are spreading among customers; high for followers of a new trend.",
           "새로 이용한 브랜드가 고객들 사이에 퍼지는 속도로, 유행을 빨리 따를수록 큽니다.", "brandmarket",
           f"avg(growth) FILTER (WHERE {_NOW} AND first_d <= 90)"),
    ),
)  # fmt: skip


def _amplitude(period: int) -> str:
    return f"sqrt(pow(sum(y * sin(2 * pi() * d / {period})), 2) + pow(sum(y * cos(2 * pi() * d / {period})), 2)) * 2 / count(*)"


INTERFERENCE = Part(
    "interference", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        _c("interference_weekly_amplitude", "log currency", "Strength of the 7-day wave in daily spend over the last 90 days.",
           "최근 90일 일별 지출에서 7일 주기 파동의 세기입니다.", "day", _amplitude(7)),
        _c("interference_biweekly_amplitude", "log currency",
           "Strength of the 14-day wave in daily spend over the last 90 days.",
           "최근 90일 일별 지출에서 14일 주기 파동의 세기입니다.", "day", _amplitude(14)),
        _c("interference_monthly_amplitude", "log currency",
           "Strength of the 30-day wave in daily spend over the last 90 days.",
           "최근 90일 일별 지출에서 30일 주기 파동의 세기입니다.", "day", _amplitude(30)),
        _c("interference_weekly_phase", "score", "Where in the week the wave peaks, as the cosine of its phase.",
           "주간 파동이 정점에 이르는 위치(위상의 코사인)입니다.", "day",
           "cos(atan2(sum(y * sin(2 * pi() * d / 7)), sum(y * cos(2 * pi() * d / 7)) + 1e-9))"),
        _c("interference_necessity_treat_correlation", "score",
           "Whether necessities and treats rise together (1) or displace each other (-1), week by week.",
           "주별로 필수재와 선택재 지출이 함께 오르는지(1) 서로 밀어내는지(-1)입니다.", "week",
           "corr(essential, spend - essential)"),
        _c("interference_intensity", "ratio",
           "How far weekly swings of necessities and treats add up (above 0) or cancel out (below 0).",
           "필수재와 선택재의 주간 변동이 더해지는지(양수) 상쇄되는지(음수)의 정도입니다.", "week",
           f"{div('var_samp(spend)', 'var_samp(essential) + var_samp(spend - essential)')} - 1"),
        _c("interference_visibility", "share", "Contrast between the strongest and the weakest weekday in the last 90 days.",
           "최근 90일 가장 강한 요일과 가장 약한 요일의 대비입니다.", "weekday",
           div("max(n90) - CASE WHEN count(*) FILTER (WHERE n90 > 0) < 7 THEN 0 ELSE min(n90) END",
               "max(n90) + CASE WHEN count(*) FILTER (WHERE n90 > 0) < 7 THEN 0 ELSE min(n90) END")),
        _c("interference_weekend_correlation", "score",
           "Whether weekend and weekday spend rise together (1) or displace each other (-1), week by week.",
           "주별로 주말과 평일 지출이 함께 오르는지(1) 서로 밀어내는지(-1)입니다.", "week", "corr(weekend, spend - weekend)"),
    ),
)  # fmt: skip

CRIME = Part(
    "crime", ("transactions",), ("card", "count(*) > 0"), "0 and absent: no purchase in the last 365 days",
    (
        _c("crime_unusual_hour_share_28d", "share",
           "Share of the last 28 days' purchases at hours rarely used in the year before.",
           "최근 28일 구매 중 이전 1년간 드물던 시간대의 비중입니다.", "hour",
           div("coalesce(sum(n28) FILTER (WHERE all_before > 0 AND n365 - n28 <= 0.02 * all_before), 0)",
             "sum(n28) FILTER (WHERE all_before > 0)")),
        _c("crime_unusual_place_share_28d", "share",
           "Share of the last 28 days' purchases at merchants never visited in the year before.",
           "최근 28일 구매 중 이전 1년간 방문하지 않은 가맹점의 비중입니다.", "mer",
           div("coalesce(sum(n28) FILTER (WHERE first_d <= 28), 0)", "sum(n28)")),
        _c("crime_unusual_amount_share_28d", "share",
           "Share of the last 28 days' purchases far above the customer's usual amounts.",
           "최근 28일 구매 중 평소 금액을 크게 벗어난 비중입니다.", "seq",
           f"avg((amount > avg_amount + 3 * std_amount)::INT) {last(28)}"),
        _c("crime_velocity_max_28d", "count", "Most purchases within an hour of each other in the last 28 days.",
           "최근 28일 중 한 시간 안에 이뤄진 최다 구매 건수입니다.", "seq", f"max(hour_count) {last(28)}"),
        _c("crime_unguarded_share_90d", "share", "Share of the last 90 days' spend between midnight and 05:00.",
           "최근 90일 지출 중 자정~05시의 비중입니다.", "allcard",
           net_share(last(90, "h < 5"), last(90))),
    ),
)  # fmt: skip
PARTS = (CHEMICAL, EPIDEMIC, INTERFERENCE, CRIME)
