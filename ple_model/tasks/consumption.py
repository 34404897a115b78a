"""Tasks of the group Consumption: what a customer buys next, where, how often, and which offer fits."""

from __future__ import annotations

from ple_model.tasks.record import ACTIVE_84, ACTIVE_365, SHOWN_84, TaskSpec, position
from ple_model.tasks.treatment import transformed

CYCLES = ("daily", "every 2-3 days", "weekly", "every two weeks", "monthly", "less than monthly", "irregular")
CYCLE_GAPS = (1.5, 4.5, 10.0, 21.0, 45.0)
"""Upper mean gap in days of daily, every 2-3 days, weekly, every two weeks, monthly."""
IRREGULAR_CV = 1.25
"""Gaps whose coefficient of variation is above this have no cycle."""
OFFERS = (
    "credit card upgrade", "cash-back card", "instalment loan", "savings plan", "time deposit", "fund",
    "insurance", "travel card", "mortgage review", "mobile wallet", "merchant coupon", "premium membership",
)  # fmt: skip
SPENDING_CATEGORIES = (
    "groceries", "dining", "fuel and transport", "clothing", "home", "health", "leisure", "travel",
    "electronics", "education", "services", "online",
)  # fmt: skip
_CYCLE = " ".join(f"WHEN gap < {g} THEN {i}" for i, g in enumerate(CYCLE_GAPS))

TASKS = (
    TaskSpec(
        "nba", "Next best action", "Consumption", "multiclass", "nll", 12, "behavior", 2.0,
        ("perslay", "unified_hgcn", "lightgcn"), classes=OFFERS, title_ko="다음 최적 제안",
        question="Which offer will the customer respond to first?", question_ko="고객이 어떤 제안에 가장 먼저 응할까요?",
        label=f"""
            SELECT row_id, min({{'ts': r, 'o': o}}).o AS label FROM (
                SELECT s.row_id, {position("c.offer", OFFERS)} AS o, least(clicked_at, converted_at) AS r, s.cutoff
                FROM label_spine s JOIN campaigns c ON c.customer_id = s.customer_id
            ) WHERE o IS NOT NULL AND r >= cutoff AND r < cutoff + $horizon_days GROUP BY 1""",
    ),
    TaskSpec(
        "spending_category", "Spending category", "Consumption", "multiclass", "nll", 12, "behavior", 1.2,
        ("unified_hgcn", "perslay"), classes=SPENDING_CATEGORIES, title_ko="소비 업종",
        question="In which category will most be spent?", question_ko="어느 업종에서 가장 많이 쓸까요?",
        condition=ACTIVE_365,
        label=f"""
            SELECT row_id, -max({{'v': v, 'c': -c}}).c AS label FROM (
                SELECT row_id, {position("mcc_l1", SPENDING_CATEGORIES)} AS c, sum(amount) AS v FROM label_buys GROUP BY 1, 2
            ) WHERE c IS NOT NULL AND v > 0 GROUP BY 1""",
    ),
    TaskSpec(
        "consumption_cycle", "Consumption cycle", "Consumption", "multiclass", "nll", 7, "behavior", 0.8, ("temporal",),
        classes=CYCLES, title_ko="소비 주기",
        question="How often will the customer buy?", question_ko="고객이 얼마나 자주 구매할까요?",
        condition=ACTIVE_84,
        label=f"""
            WITH gaps AS (
                SELECT row_id, d - lag(d) OVER (PARTITION BY row_id ORDER BY d) AS g
                FROM (SELECT DISTINCT row_id, d FROM label_buys WHERE amount > 0)
            ), cycle AS (
                SELECT row_id, count(*) AS n, CASE WHEN count(*) >= 3 THEN avg(g) ELSE $horizon_days / count(*) END AS gap,
                       coalesce(stddev_pop(g) / avg(g), 0) AS cv
                FROM gaps GROUP BY 1
            )
            SELECT row_id, CASE WHEN n >= 3 AND cv > {IRREGULAR_CV} THEN 6 {_CYCLE} ELSE 5 END AS label
            FROM label_spine JOIN cycle USING (row_id) WHERE covered >= $horizon_days""",
    ),
    TaskSpec(
        "spending_bucket", "Spending percentile", "Consumption", "regression", "huber", 1, "behavior", 0.8, ("deepfm",),
        unit="percentile", title_ko="소비 백분위",
        question="At which percentile of spending will the customer be?", question_ko="고객의 소비 수준은 몇 백분위일까요?",
        label="""
            WITH spend AS (
                SELECT row_id, cutoff_index, coalesce(greatest(sum(amount), 0), 0)::FLOAT AS total
                FROM label_spine LEFT JOIN label_buys USING (row_id) WHERE covered >= $horizon_days GROUP BY 1, 2
            )
            SELECT row_id, 100.0::DOUBLE * (2 * below + level) / (2 * n) AS label FROM (
                SELECT row_id, rank() OVER (PARTITION BY cutoff_index ORDER BY total) - 1 AS below,
                       count(*) OVER (PARTITION BY cutoff_index, total) AS level, count(*) OVER (PARTITION BY cutoff_index) AS n
                FROM spend)""",
    ),
    TaskSpec(
        "category_uplift", "Category uplift", "Consumption", "regression", "mse", 12, "behavior", 1.5, ("unified_hgcn",),
        enabled=False, unit="log ratio", title_ko="업종별 업리프트", condition=SHOWN_84, classes=SPENDING_CATEGORIES,
        question="How much does the campaign change spending in each category?",
        question_ko="캠페인이 업종별 소비를 얼마나 바꿀까요?",
        label=transformed(f"""
            SELECT row_id, [ln(1 + greatest(coalesce(spent[i], 0), 0)) FOR i IN range(0, {len(SPENDING_CATEGORIES)})] AS outcome
            FROM label_spine LEFT JOIN (
                SELECT row_id, map(list(c), list(v)) AS spent FROM (
                    SELECT row_id, {position("mcc_l1", SPENDING_CATEGORIES)} AS c, sum(amount) AS v
                    FROM label_buys WHERE d < $response_days GROUP BY 1, 2
                ) WHERE c IS NOT NULL GROUP BY 1
            ) USING (row_id)""", wide=True),
        needs="customers who were shown a campaign in the week from a cut-off on, and others who were not",
    ),
    TaskSpec(
        "brand_prediction", "Next brand", "Consumption", "contrastive", "infonce", 128, "behavior", 2.0, ("unified_hgcn",),
        title_ko="다음 브랜드",
        question="Which brand will the customer buy next?", question_ko="고객이 다음에 어느 브랜드를 살까요?",
        condition=ACTIVE_365,
        label="""
            SELECT row_id, min({'ts': ts, 'b': brand}).b AS label
            FROM label_buys WHERE brand IS NOT NULL AND amount > 0 GROUP BY 1""",
    ),
    TaskSpec(
        "merchant_affinity", "Merchant affinity", "Consumption", "regression", "huber", 1, "behavior", 1.0,
        ("unified_hgcn", "temporal"), unit="share of spend", title_ko="가맹점 선호",
        question="Which share of spend goes to the favourite merchant?",
        question_ko="가장 자주 가는 가맹점에서 쓰는 비중은 얼마일까요?",
        condition=ACTIVE_365,
        label="""
            SELECT row_id, max(v) / nullif(sum(v), 0) AS label FROM (
                SELECT row_id, merchant_id, greatest(sum(amount), 0) AS v, count(*) FILTER (amount > 0) AS n FROM label_buys
                WHERE merchant_id IS NOT NULL GROUP BY 1, 2
            ) JOIN label_spine USING (row_id) WHERE covered >= $horizon_days GROUP BY 1 HAVING sum(n) >= 2""",
    ),
)  # fmt: skip
