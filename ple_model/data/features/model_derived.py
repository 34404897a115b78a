"""Bandit statistics of offers and liquid-time statistics of daily spend (22 columns; hidden Markov summaries: `derived.py`).

Bandit: each offer is an arm with a Beta(1, 1) prior (Thompson 1933; Auer et al. 2002). Liquid-time statistics describe the
series y = ln(1 + spend) of the last 90 days, silent days included, in closed form. Of waves of equal power (a single purchase
has them all) the longest is the strongest, to six decimals: which one a sum's last bit prefers is chance.
"""

from __future__ import annotations

from ple_model.data.features.column import Column, Part, div, entropy


def _c(name: str, unit: str, en: str, ko: str, source: str, sql: str) -> Column:
    return Column(name, unit, en, ko, source, sql)


_MEAN = "(1.0 + clicks) / (2 + shown)"
BANDIT = Part(
    "bandit", ("campaigns",), ("camp", "count(*) > 0"), "0 and absent: no campaign shown in the last 365 days",
    (
        _c("bandit_best_offer_rate", "share", "Estimated response rate to the customer's best offer so far.",
           "지금까지 가장 좋았던 제안의 추정 반응률입니다.",
           "offer", f"max({_MEAN})"),
        _c("bandit_exploration_entropy", "nats", "How evenly the offers shown so far spread over kinds of offer.",
           "지금까지 노출된 제안이 종류별로 고르게 퍼진 정도입니다.", "offer", entropy("shown")),
        _c("bandit_uncertainty_bonus", "score", "How much is still to learn about the customer's response to offers.",
           "제안에 대한 고객 반응에서 아직 알아낼 여지가 남은 정도입니다.", "offer",
           "avg(sqrt(2 * ln(1 + all_shown) / (1 + shown)))"),
        _c("bandit_regret_rate", "share", "Response lost per exposure by showing other offers than the best one.",
           "가장 좋은 제안 대신 다른 제안을 보여 노출당 잃은 반응률입니다.", "offer",
           f"max({_MEAN}) - {div(f'sum(shown * {_MEAN})', 'sum(shown)')}"),
    ),
)  # fmt: skip


_BY_CUSUM = "(round(abs(cusum), 6), -t)"
_SPLIT = f"arg_max(t, {_BY_CUSUM})"
"""Of equals the earliest, and equal is what differs by less than threads that add in another order leave."""
_PATTERNS = 6
_HJORTH = "sqrt(var_samp(dy) / nullif(var_samp(y), 0))"

LNN = Part(
    "lnn", ("transactions",), ("card", "count(*) FILTER (WHERE d <= 90) > 1"),
    "0 and absent: fewer than two purchases in the last 90 days",
    (
        _c("lnn_mean", "log currency", "Average of daily spend (logarithm) over the last 90 days.",
           "최근 90일 일별 지출(로그)의 평균입니다.", "day", "avg(y)"),
        _c("lnn_std", "log currency", "Spread of daily spend (logarithm) over the last 90 days.",
           "최근 90일 일별 지출(로그)의 표준편차입니다.", "day",
           "stddev_samp(y)"),
        _c("lnn_skewness", "score", "Lopsidedness of daily spend (logarithm) over the last 90 days.",
           "최근 90일 일별 지출(로그)의 비대칭 정도입니다.", "day",
           "CASE WHEN stddev_samp(y) > 0 THEN skewness(y) END"),
        _c("lnn_kurtosis", "score", "How extreme the extreme days of spend are over the last 90 days.",
           "최근 90일 일별 지출에서 극단적인 날의 정도입니다.",
           "day", "CASE WHEN stddev_samp(y) > 0 THEN kurtosis(y) END"),
        _c("lnn_dominant_period", "days", "Length of the strongest wave in daily spend over the last 90 days.",
           "최근 90일 일별 지출에서 가장 강한 파동의 주기입니다.", "wave", "90.0 / arg_max(f, (round(power, 6), -f))"),
        _c("lnn_dominant_share", "share", "Share of the strongest wave in all examined waves of daily spend.",
           "조사한 파동 전체에서 가장 강한 파동의 비중입니다.", "wave", div("max(power)", "sum(power)")),
        _c("lnn_spectral_entropy", "nats", "How evenly the movement of daily spend spreads over waves of different length.",
           "일별 지출의 움직임이 여러 주기에 고르게 퍼진 정도입니다.", "wave", entropy("power")),
        _c("lnn_slow_share", "share", "Share of waves of 30 days and longer in the movement of daily spend.",
           "일별 지출의 움직임 중 30일 이상 주기의 비중입니다.", "wave", div("sum(power) FILTER (WHERE f <= 3)", "sum(power)")),
        _c("lnn_change_strength", "score", "How clearly daily spend changed level once in the last 90 days.",
           "최근 90일 중 일별 지출 수준이 한 번 바뀐 뚜렷함입니다.",
           "day", div("max(abs(cusum))", "stddev_samp(y) * sqrt(count(*))")),
        _c("lnn_change_days_ago", "days", "Days since the most likely change of the level of daily spend.",
           "일별 지출 수준이 바뀐 것으로 보이는 시점부터 지난 일수입니다.",
           "day", f"90 - {_SPLIT}"),
        _c("lnn_change_shift", "log currency", "Level of daily spend after the most likely change minus the level before.",
           "수준 변화 이후와 이전의 일별 지출 차이입니다.", "day",
           f"-arg_max(cusum, {_BY_CUSUM}) * 90.0 / nullif({_SPLIT} * (90 - {_SPLIT}), 0)"),
        *(_c(f"lnn_autocorrelation_lag{k}", "score",
             f"How much the spend of a day resembles that of {k} day{'s' * (k > 1)} before, over 90 days.",
             f"최근 90일간 하루 지출이 {k}일 전 지출과 닮은 정도입니다.", "day", f"corr(y, y_lag{k})") for k in (1, 7, 14, 28)),
        _c("lnn_permutation_entropy", "share", "How unpredictable the ups and downs of daily spend are: 0 regular, 1 random.",
           "일별 지출의 오르내림이 예측하기 어려운 정도로, 0은 규칙적, 1은 무작위입니다.", "pattern",
           f"({entropy('n')}) / ln({_PATTERNS})"),
        _c("lnn_crossing_rate", "share", "How often daily spend crosses its own average.",
           "일별 지출이 자기 평균을 넘나드는 빈도입니다.", "day",
           "avg(crossing::INT)"),
        _c("lnn_complexity", "ratio", "Hjorth complexity of daily spend: how far its shape is from a pure wave.",
           "일별 지출의 요르트(Hjorth) 복잡도로, 순수한 파동에서 벗어난 정도입니다.", "day",
           f"sqrt(var_samp(ddy) / nullif(var_samp(dy), 0)) / nullif({_HJORTH}, 0)"),
    ),
)  # fmt: skip
PARTS = (BANDIT, LNN)
