"""The parts that models fill: topology, phase transition, mixture posteriors, sequence encoder, hidden Markov summaries.

The names are declared here; the steps in `ple_model.data.derived` fill them by name (reference, "TDA", "GMM", "HMM").
"""

from __future__ import annotations

from ple_model.data.features.column import Column, Part

_DIAGRAM = (
    ("count", "count", "number of features", "특징 개수", "number of finite points of the diagram"),
    ("total_persistence", "score", "total lifetime", "총 지속 길이", "sum of death - birth"),
    ("max_persistence", "score", "longest lifetime", "최대 지속 길이", "max of death - birth"),
    ("second_persistence", "score", "second longest lifetime", "두 번째로 긴 지속 길이", "second largest death - birth"),
    ("mean_persistence", "score", "average lifetime", "평균 지속 길이", "mean of death - birth"),
    ("std_persistence", "score", "spread of lifetimes", "지속 길이의 표준편차", "standard deviation of death - birth"),
    (
        "p90_persistence",
        "score",
        "high-end lifetime (90th percentile)",
        "지속 길이의 90백분위",
        "0.9 quantile of death - birth",
    ),
    ("entropy", "nats", "entropy of lifetimes", "지속 길이의 엔트로피", "- sum p ln p with p = lifetime / total lifetime"),
    ("mean_birth", "score", "average scale of appearance", "평균 생성 척도", "mean of birth"),
    ("mean_death", "score", "average scale of disappearance", "평균 소멸 척도", "mean of death"),
    (
        "landscape_norm",
        "score",
        "size of the landscape",
        "지형 함수의 크기",
        "L2 norm of the first persistence landscape, 50 grid points",
    ),
    ("amplitude", "score", "combined strength", "종합 강도", "square root of the sum of squared lifetimes"),
)
_KIND = {
    0: ("separate spending regimes (connected components)", "서로 분리된 소비 국면(연결 성분)"),
    1: ("recurring spending cycles (loops)", "반복되는 소비 주기(고리)"),
    2: ("enclosed gaps in spending behaviour (voids)", "소비 행동의 빈 영역(공동)"),
}


def _topology(span: str, en: str, ko: str, dims: tuple[int, ...]) -> tuple[Column, ...]:
    return tuple(
        Column(
            f"tda_{span}_h{k}_{stat}", unit,
            f"{what_en.capitalize()} of {_KIND[k][0]} in the shape of activity over {en}.",
            f"{ko} 활동의 형태에서 {_KIND[k][1]}의 {what_ko}입니다.",
            "model", how=f"tda: {formula}; homology H{k} of the delay embedding over {en}",
        )
        for k in dims
        for stat, unit, what_en, what_ko, formula in _DIAGRAM
    )  # fmt: skip


def _model(name: str, unit: str, en: str, ko: str, how: str) -> Column:
    return Column(name, unit, en, ko, "model", how=how)


_PHASE = (
    ("phase_distance_last", "score", "How far the shape of spending moved between the two latest quarters.",
     "최근 두 분기 사이에 소비 형태가 얼마나 달라졌는지입니다.",
     "L2 distance between the landscapes of the last two of four 13-week windows"),
    ("phase_distance_mean", "score", "Average movement of the shape of spending from quarter to quarter.",
     "분기마다 소비 형태가 평균적으로 얼마나 움직이는지입니다.",
     "mean of the three landscape distances between consecutive windows"),
    ("phase_distance_max", "score", "Largest movement of the shape of spending between neighbouring quarters in the year.",
     "한 해 동안 이웃한 분기 사이에서 소비 형태가 가장 크게 변한 정도입니다.", "max of the three landscape distances"),
    ("phase_distance_trend", "score", "Whether the shape of spending is changing faster than before.",
     "소비 형태의 변화가 이전보다 빨라지고 있는지입니다.", "last landscape distance minus first landscape distance"),
    ("phase_days_since_shift", "days", "Days since the largest change of the shape of spending.",
     "소비 형태가 가장 크게 바뀐 뒤 지난 일수입니다.", "days from the border of the largest landscape distance to the cut-off"),
    ("phase_component_change", "score", "Change in how fragmented spending is, latest quarter against the one before.",
     "직전 분기와 비교한 소비 국면 분열 정도의 변화입니다.", "H0 total persistence, last window minus the one before"),
    ("phase_loop_change", "score", "Change in how cyclical spending is, latest quarter against the one before.",
     "직전 분기와 비교한 소비 주기성의 변화입니다.", "H1 total persistence, last window minus the one before"),
    ("phase_variance_ratio", "ratio", "Whether spending swings more than before, an early sign of a change of regime.",
     "소비 변동이 이전보다 커졌는지로, 국면 전환의 초기 신호입니다.",
     "variance of weekly spend in the last 13 weeks over that of the 13 before, log"),
    ("phase_slowing", "score",
      "Whether spending recovers more slowly from swings than before, an early sign of a change of regime.",
     "소비가 변동 뒤 이전보다 느리게 회복되는지로, 국면 전환의 초기 신호입니다.",
     "lag-1 autocorrelation of weekly spend, last 26 weeks minus the 26 before"),
    ("phase_transition_score", "share", "How likely it is that the customer is in the middle of a change of spending regime.",
     "고객이 소비 국면의 전환 중에 있을 가능성입니다.",
     "logistic of the mean of the standardised last distance, variance ratio and slowing"),
)  # fmt: skip

TDA_SHORT = Part(
    "tda_short", ("transactions", "sessions"), ("model", ""), "0 and absent: fewer than 10 active days in the last 90",
    _topology("short", "the last 90 days", "최근 90일", (0, 1)),
)  # fmt: skip
TDA_LONG = Part(
    "tda_long", ("transactions",), ("model", ""), "0 and absent: fewer than 10 active weeks in the last 12 months",
    _topology("long", "the last 12 months", "최근 12개월", (0, 1, 2)),
)  # fmt: skip
PHASE_TRANSITION = Part(
    "phase_transition", ("transactions",), ("model", ""), "0 and absent: fewer than 10 active weeks in the last 12 months",
    tuple(_model(*row) for row in _PHASE),
)  # fmt: skip
GMM = Part(
    "gmm", ("transactions",), ("model", ""), "0 and absent: no purchase in the last 365 days",
    (
        *(_model(f"gmm_posterior_{k:02d}", "share", f"Probability that the customer belongs to spending segment {k}.",
                 f"고객이 소비 세그먼트 {k}에 속할 확률입니다.", f"gmm: posterior of component {k} of 20") for k in range(20)),
        _model("gmm_distance", "score", "How far the customer is from the centre of the nearest spending segment.",
               "가장 가까운 소비 세그먼트의 중심에서 고객이 떨어진 거리입니다.",
               "gmm: Mahalanobis distance to the most likely component"),
        _model("gmm_entropy", "nats", "How unclear it is to which spending segment the customer belongs.",
               "고객이 어느 소비 세그먼트에 속하는지 불분명한 정도입니다.", "gmm: entropy of the 20 posteriors"),
    ),
)  # fmt: skip
MAMBA_TEMPORAL = Part(
    "mamba_temporal", ("transactions", "sessions"), ("model", ""), "0 and absent: no activity in the last 180 days",
    tuple(
        _model(f"mamba_temporal_{k:02d}", "score",
               f"Coordinate {k} of a learned summary of how daily activity has moved over half a year.",
               f"반년간 일별 활동의 흐름을 학습해 요약한 좌표 {k}번입니다.",
               f"mamba: unit {k} of 50 of the last state of the encoder trained by forecasting and then frozen")
        for k in range(50)
    ),
)  # fmt: skip
HMM_SUMMARY = Part(
    "hmm_summary", ("transactions", "sessions"), ("model", ""), "0 and absent: no hidden Markov sequence for the customer",
    (
        _model("hmm_journey_top_probability", "share", "How clearly the customer is in one stage of the daily journey.",
               "고객이 일별 여정의 한 단계에 분명히 속하는 정도입니다.", "hmm: largest journey posterior at the cut-off"),
        _model("hmm_journey_entropy", "nats", "How unclear the customer's stage in the daily journey is.",
               "일별 여정에서 고객의 단계가 불분명한 정도입니다.", "hmm: entropy of the journey posterior"),
        _model("hmm_lifecycle_top_probability", "share", "How clearly the customer is in one stage of the monthly life cycle.",
               "고객이 월별 생애주기의 한 단계에 분명히 속하는 정도입니다.", "hmm: largest lifecycle posterior at the cut-off"),
        _model("hmm_lifecycle_exit_rate", "per month",
               "How quickly the customer is expected to leave the present life cycle stage.",
               "고객이 현재 생애주기 단계를 떠날 것으로 예상되는 속도입니다.", "hmm: exit rate of the lifecycle dynamics"),
        _model("hmm_behavior_top_probability", "share", "How clearly the customer follows one monthly behaviour pattern.",
               "고객이 월별 행동 유형 하나를 분명히 따르는 정도입니다.", "hmm: largest behaviour posterior at the cut-off"),
    ),
)  # fmt: skip
PARTS = (TDA_SHORT, TDA_LONG, PHASE_TRANSITION, GMM, MAMBA_TEMPORAL, HMM_SUMMARY)
