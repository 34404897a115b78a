"""Words for people: values in their units and titles of input groups, in English and Korean."""

from __future__ import annotations

import math
from typing import Literal

from ple_model.money import is_money, money
from ple_model.registry import expert_classes
from ple_model.tasks import TASKS

Language = Literal["en", "ko"]

PART_TITLES: dict[str, tuple[str, str]] = {
    "rfm": ("recency, frequency and spend", "최근성·빈도·금액"),
    "category": ("spending by category", "업종별 소비"),
    "transaction_stats": ("purchase amounts", "구매 금액의 통계"),
    "temporal": ("times of purchase", "구매 시점"),
    "deposit": ("deposits", "예금"),
    "membership": ("membership", "멤버십"),
    "investment": ("investments", "투자"),
    "credit": ("credit", "신용"),
    "digital": ("app and web use", "앱·웹 이용"),
    "product": ("products held", "보유 상품"),
    "tda_short": ("shape of activity over the last months", "최근 활동의 형태"),
    "tda_long": ("shape of activity over a year", "1년 활동의 형태"),
    "phase_transition": ("shifts in behaviour", "행동의 전환"),
    "gmm": ("spending segment", "소비 세그먼트"),
    "mamba_temporal": ("learned summary of daily activity", "일별 활동의 학습된 요약"),
    "income_decomposition": ("income", "소득"),
    "financial_behavior": ("financial behaviour", "금융 행동"),
    "chemical": ("switching between categories", "업종 간 전환"),
    "epidemic": ("adopting and dropping brands", "브랜드의 수용과 이탈"),
    "interference": ("rhythm of spending", "소비의 리듬"),
    "crime": ("unusual purchases", "평소와 다른 구매"),
    "bandit": ("answers to past offers", "과거 제안에 대한 반응"),
    "hmm_summary": ("behaviour states", "행동 상태"),
    "lnn": ("statistics of the activity series", "활동 시계열의 통계"),
    "insurance": ("insurance", "보험"),
    "consultation": ("consultations", "상담"),
    "campaign": ("campaigns", "캠페인"),
    "overseas": ("spending abroad", "해외 소비"),
    "other_channel": ("other channels", "기타 채널"),
    "mcc_l1": ("merchant sectors", "가맹점 대분류"),
    "mcc_l2": ("merchant types", "가맹점 중분류"),
    "merchant_brand": ("brands", "브랜드"),
    "merchant_stats": ("merchants", "가맹점"),
    "radius": ("reach of shopping", "구매 반경"),
    "raw_power_law": ("amounts and counts in their own scale", "원래 척도의 금액과 건수"),
}
FIELD_TITLES: dict[str, tuple[str, str]] = {
    "cluster_probs": ("customer cluster", "고객 군집"),
    "hierarchy_features": ("place in the merchant, product and region tree", "가맹점·상품·지역 계층에서의 위치"),
    "tda_features": ("shape of activity", "활동의 형태"),
    "tda_short_diagrams": ("shape of activity over the last months, in detail", "최근 활동 형태의 세부"),
    "tda_long_diagrams": ("shape of activity over a year, in detail", "1년 활동 형태의 세부"),
    "tda_global_stats": ("overall shape of activity", "활동 형태의 요약"),
    "tda_phase_transition": ("shifts in behaviour", "행동의 전환"),
    "hmm_journey": ("daily behaviour states", "일별 행동 상태"),
    "hmm_lifecycle": ("monthly life-cycle states", "월별 생애주기 상태"),
    "hmm_behavior": ("monthly behaviour states", "월별 행동 상태"),
    "txn_seq": ("day-by-day transactions", "일별 거래 흐름"),
    "session_seq": ("app sessions one by one", "앱 세션 흐름"),
    "collaborative_features": ("customers with similar purchases", "구매가 비슷한 고객"),
    "coldstart_features": ("what is known of a new customer", "신규 고객 정보"),
    "anonymous_features": ("what is known of an anonymous visitor", "비식별 방문자 정보"),
}
MODULE_TITLES: dict[str, tuple[str, str]] = {
    "journey": ("daily behaviour states (journey)", "일별 행동 상태 (journey)"),
    "lifecycle": ("life-cycle states", "생애주기 상태"),
    "behavior": ("behaviour states", "행동 상태"),
    "cluster": ("customer cluster", "고객 군집"),
}
"""What adds to a prediction beside the experts, whose titles stand in their classes."""
OPAQUE = ("tda_short", "tda_long", "phase_transition", "gmm", "mamba_temporal", "hmm_summary", "lnn")
"""Parts whose single columns say nothing to a reviewer: they are given as one reason."""
ROUNDING = 1e-12
"""What arithmetic in double precision leaves of nothing."""
_UNITS = {
    "count": ("{} (count)", "{}건"), "days": ("{} days", "{}일"),
    "hours": ("{} hours", "{}시간"), "minutes": ("{} minutes", "{}분"), "score": ("{} (score)", "{}(점수)"),
    "ratio": ("{} (ratio)", "{}(비율)"), "nats": ("{} nats", "{} nats"), "per month": ("{} per month", "월 {}"),
    "log currency": ("{} (log of the amount)", "{}(금액의 로그)"), "active days": ("{} active days", "활동 {}일"),
    "log ratio": ("{} (log ratio)", "{}(로그 비율)"),
    "log days": ("{} (log days)", "{}(로그 일수)"),
}  # fmt: skip


def number(value: float) -> str:
    """A number at the precision a reader needs."""
    if not math.isfinite(value):
        return "unknown"
    size = abs(value)
    if size >= 100 or (size >= 1 and abs(value - round(value)) < 0.05):
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:,.1f}"
    return "0" if size < 5e-4 else f"{value:.2f}" if size >= 0.05 else f"{value:.3f}"


def statistic(value: float | None, none: str = "–") -> str:
    """A statistic in a card, a table or a report: three significant digits, thousands separated; `none` where there is none."""
    if value is None or not math.isfinite(value):
        return none
    if abs(value) < ROUNDING:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float) -> str:
    """A probability to a tenth of a percent; what rounds to nothing has no sign."""
    return f"{0.0 if abs(value) < 5e-4 else value:.1%}"


def quantity(value: float, unit: str, language: Language = "en", *, signed: bool = False) -> str:
    """A value with its unit: `12 days`, `34%`, `yes`, `$1,234.50`. `signed`: a difference, with a plus where it is one."""
    if is_money(unit):
        return money(value, unit, language, signed=signed)
    text = _quantity(value, unit, language)
    return f"+{text}" if signed and value > 0 and number(value) != "0" else text


def _quantity(value: float, unit: str, language: Language) -> str:
    if unit == "share":
        value = 0.0 if abs(value) < 5e-4 else value  # nothing, up to the rounding of a normaliser
        return f"{value:.0%}" if abs(value) >= 0.095 or value == 0 else f"{value:.1%}"
    if unit == "flag":
        yes = value >= 0.5
        return ("yes" if yes else "no") if language == "en" else ("예" if yes else "아니요")
    form = _UNITS.get(unit, ("{} " + unit, "{} " + unit))[language == "ko"]
    return form.format(number(value)).rstrip()


def title(group: str, language: Language = "en") -> str:
    """A feature part's or input field's name for a reviewer."""
    found = PART_TITLES.get(group) or FIELD_TITLES.get(group)
    return found[language == "ko"] if found else group.replace("_", " ")


def module_title(module: str, language: Language = "en") -> str:
    """A shared expert's name for a reviewer with its name in the configuration; the title of an HMM mode or of the cluster."""
    found = MODULE_TITLES.get(module)
    if found is not None:
        return found[language == "ko"]
    known = expert_classes().get(module)
    return f"{known.title[language == 'ko']} ({module})" if known is not None else module


def task_title(task: str, language: Language = "en") -> str:
    """A task's name in Korean; empty for other languages (the task record has it) and unknown tasks."""
    return TASKS[task].title_ko if language == "ko" and task in TASKS else ""


def given_title(task: str, title: str) -> str:
    """The title, where it is a label's own and not the task's; else empty."""
    return "" if task not in TASKS or title == TASKS[task].title else title


def particle(word: str, with_final: str, without: str) -> str:
    """The Korean particle that fits the last syllable of `word`."""
    last = word[-1] if word else ""
    if "가" <= last <= "힣":
        return with_final if (ord(last) - ord("가")) % 28 else without
    return f"{with_final}({without})"


def statement(sentence: str, language: Language = "en") -> str:
    """A schema sentence as the subject of a longer one."""
    text = sentence.strip().rstrip(".")
    return text.removesuffix("입니다").rstrip() if language == "ko" else text
