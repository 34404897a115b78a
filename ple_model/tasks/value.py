"""Tasks of the group Value: how much of a credit line is used, and when and where a customer comes next."""

from __future__ import annotations

from ple_model.tasks.record import ACTIVE_84, ACTIVE_365, CREDIT_LINE, TaskSpec, position

CHANNELS = ("branch or store", "app", "web")

TASKS = (
    TaskSpec(
        "balance_util", "Balance utilisation", "Value", "regression", "huber", 1, "behavior", 1.0, ("temporal",),
        unit="share of limit", title_ko="한도 사용률",
        question="Which share of the credit limit will be in use?", question_ko="신용 한도 중 얼마를 사용하고 있을까요?",
        condition=CREDIT_LINE,
        label="""
            SELECT row_id, min({'d': as_of, 'u': balance / credit_limit}).u AS label FROM (
                SELECT s.row_id, o.as_of, sum(o.balance) AS balance, sum(o.credit_limit) AS credit_limit
                FROM label_spine s JOIN holdings o ON o.customer_id = s.customer_id
                 AND o.as_of >= s.cutoff AND o.as_of < s.cutoff + $horizon_days AND o.credit_limit > 0
                 AND o.balance IS NOT NULL GROUP BY 1, 2
            ) GROUP BY 1""",
    ),
    TaskSpec(
        "channel", "Channel", "Value", "multiclass", "nll", 3, "behavior", 0.8, ("temporal",), classes=CHANNELS,
        title_ko="채널",
        question="Through which channel will the customer come next?", question_ko="고객이 다음에 어느 채널을 이용할까요?",
        condition=ACTIVE_365,
        label=f"""
            SELECT row_id, min({{'ts': ts, 'c': c}}).c AS label FROM (
                SELECT s.row_id, e.ts, {position("e.channel", CHANNELS)} AS c
                FROM label_spine s JOIN (
                    SELECT customer_id, ts, channel FROM transactions WHERE kind = 'deposit' OR ($purchase)
                    UNION ALL SELECT customer_id, ts, channel FROM sessions
                ) e ON e.customer_id = s.customer_id AND e.ts >= s.cutoff AND e.ts < s.cutoff + $horizon_days
            ) WHERE c IS NOT NULL GROUP BY 1""",
    ),
    TaskSpec(
        "timing", "Timing", "Value", "multiclass", "nll", 28, "behavior", 0.8, ("temporal",),
        classes=tuple(f"in {d} days" if d != 1 else "in 1 day" for d in range(28)), title_ko="시점",
        question="In how many days is the next activity?", question_ko="다음 활동은 며칠 뒤일까요?",
        condition=ACTIVE_84,
        label="SELECT row_id, min(d) AS label FROM label_days WHERE d >= 0 AND d < $timing_days GROUP BY 1",
    ),
)  # fmt: skip
