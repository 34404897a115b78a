"""Tasks of the group Engagement: what campaigns reach, and how often a customer comes."""

from __future__ import annotations

from ple_model.tasks.record import SHOWN_84, TaskSpec
from ple_model.tasks.treatment import transformed

_FIRST_SHOWN = """
    SELECT row_id, first.{column} AS label FROM (
        SELECT s.row_id, min({{'ts': exposed_at, 'id': campaign_id, 'clicked': (clicked_at IS NOT NULL)::INT,
                              'converted': (converted_at IS NOT NULL)::INT}}) AS first
        FROM label_spine s JOIN campaigns c ON c.customer_id = s.customer_id
         AND c.exposed_at >= s.cutoff AND c.exposed_at < s.cutoff + $horizon_days GROUP BY 1)"""

TASKS = (
    TaskSpec(
        "ctr", "Click", "Engagement", "binary", "focal", 1, "journey", 1.0, ("perslay", "temporal", "unified_hgcn"),
        focal_alpha=0.25, title_ko="클릭",
        question="Will the customer click the campaign shown next?", question_ko="고객이 다음에 보는 캠페인을 클릭할까요?",
        label=_FIRST_SHOWN.format(column="clicked"),
    ),
    TaskSpec(
        "cvr", "Conversion", "Engagement", "binary", "focal", 1, "journey", 1.5, ("perslay", "temporal", "unified_hgcn"),
        focal_alpha=0.20, title_ko="전환",
        question="Will the customer convert on the campaign shown next?",
        question_ko="고객이 다음에 보는 캠페인에서 전환할까요?",
        label=_FIRST_SHOWN.format(column="converted"),
    ),
    TaskSpec(
        "engagement", "Engagement", "Engagement", "regression", "mse", 1, "journey", 0.8, ("temporal",), unit="active days",
        log_scale=True, title_ko="참여",
        question="On how many days will the customer be active?", question_ko="고객이 며칠 동안 활동할까요?",
        label="""
            SELECT row_id, ln(1 + count(d)) AS label
            FROM label_spine LEFT JOIN (SELECT * FROM label_days WHERE d >= 0 AND d < $horizon_days) USING (row_id)
            WHERE covered >= $horizon_days GROUP BY 1""",
    ),
    TaskSpec(
        "uplift", "Uplift", "Engagement", "regression", "mse", 1, "journey", 1.0, ("temporal",), enabled=False, unit="share",
        title_ko="업리프트",
        question="How much does the campaign change the customer's response?",
        question_ko="캠페인이 고객의 반응을 얼마나 바꿀까요?",
        condition=SHOWN_84,
        label=transformed("""
            SELECT s.row_id, (count(c.customer_id) > 0)::INT AS outcome FROM label_spine s LEFT JOIN campaigns c
              ON c.customer_id = s.customer_id AND least(c.clicked_at, c.converted_at) >= s.cutoff
             AND least(c.clicked_at, c.converted_at) < s.cutoff + $response_days GROUP BY 1"""),
        needs="customers who were shown a campaign in the week from a cut-off on, and others who were not",
    ),
)  # fmt: skip
