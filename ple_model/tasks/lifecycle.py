"""Tasks of the group Lifecycle: whether a customer stays, in which phase of life, and what for."""

from __future__ import annotations

from ple_model.tasks.record import ACTIVE_28, TaskSpec, position

LIFE_STAGES = ("under 25", "25-34", "35-44", "45-54", "55-64", "65 and over")

TASKS = (
    TaskSpec(
        "churn", "Churn", "Lifecycle", "binary", "focal", 1, "lifecycle", 1.2, ("perslay", "temporal"), focal_alpha=0.60,
        title_ko="이탈",
        question="Will an active customer fall silent for the next 28 days?",
        question_ko="활동 중인 고객이 앞으로 28일 동안 활동을 멈출까요?",
        condition=ACTIVE_28,
        label="""
            SELECT row_id, (NOT bool_or(d >= 0 AND d < $active_days))::INT AS label
            FROM label_spine JOIN label_days USING (row_id)
            WHERE covered >= $active_days GROUP BY 1 HAVING bool_or(d < 0)""",
    ),
    TaskSpec(
        "retention", "Retention", "Lifecycle", "binary", "focal", 1, "lifecycle", 1.0, ("perslay", "temporal"),
        focal_alpha=0.20, title_ko="유지",
        question="Will the customer be active in days 57 to 84 from now?", question_ko="고객이 앞으로 57~84일째에 활동할까요?",
        label="""
            SELECT row_id, coalesce(bool_or(d BETWEEN $retention_from - 1 AND $retention_to - 1), false)::INT AS label
            FROM label_spine LEFT JOIN label_days USING (row_id)
            WHERE covered >= $retention_to GROUP BY 1""",
    ),
    TaskSpec(
        "life_stage", "Life stage", "Lifecycle", "multiclass", "nll", 6, "lifecycle", 0.8, ("perslay", "temporal"),
        classes=LIFE_STAGES, title_ko="생애 단계",
        question="Which age band does the customer belong to?", question_ko="고객은 어느 연령대에 속할까요?",
        label=f"""
            SELECT row_id, coalesce({position("age_band", LIFE_STAGES)}, CASE
                WHEN birth_year IS NULL THEN NULL WHEN year(cutoff) - birth_year < 25 THEN 0
                ELSE least(5, (year(cutoff) - birth_year - 15) // 10) END) AS label
            FROM label_spine JOIN (SELECT customer_id, age_band, birth_year FROM customers) USING (customer_id)""",
    ),
    TaskSpec(
        "ltv", "Lifetime value", "Lifecycle", "regression", "huber", 1, "lifecycle", 1.5, ("temporal", "deepfm"),
        unit="currency", log_scale=True, title_ko="생애 가치",
        question="How much will the customer spend in the horizon?", question_ko="고객이 예측 기간에 얼마를 쓸까요?",
        label="""
            SELECT row_id, ln(1 + coalesce(greatest(sum(amount), 0), 0)) AS label
            FROM label_spine LEFT JOIN label_buys USING (row_id)
            WHERE covered >= $horizon_days GROUP BY 1""",
    ),
)  # fmt: skip
