"""The 18 task records: what each predicts, with which loss, fed by which HMM mode (reference, "18 tasks" and "Task Tower").

A task is added by adding a record here. The config may switch a task on or off and override `weight`, `focal_alpha`
and `domain_experts` under `task_experts.tasks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["binary", "regression", "multiclass", "contrastive"]
LossName = Literal["focal", "mse", "huber", "nll", "infonce"]
HmmMode = Literal["journey", "lifecycle", "behavior"]
HMM_MODES: tuple[HmmMode, ...] = ("journey", "lifecycle", "behavior")


@dataclass(frozen=True)
class Condition:
    """For whom a task is defined at a cut-off: one record that labels, scores, explanations and pages share.

    `idle_days`: at most so many days since the last activity (a purchase, a deposit or a session; 1 is the day before the
    cut-off; a refund alone is none). `credit_line`: holds an open product with a credit limit.
    """

    name: str
    en: str
    ko: str
    idle_days: int | None = None
    credit_line: bool = False

    def holds(self, idle: NDArray[np.float64], credit_line: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[n] bool of rows with `idle` days since the last activity (NaN: never active) and with or without a credit line."""
        found = np.ones(len(idle), np.bool_) if self.idle_days is None else idle <= self.idle_days
        return found & credit_line if self.credit_line else found

    def unmet(self) -> str:
        """What is said in place of a number."""
        return f"not defined for this customer: the task is for customers {self.en}"


EVERYONE = Condition("everyone", "known before the cut-off", "기준일 이전에 알려진")
ACTIVE_28 = Condition("active_28d", "active in the 28 days before the cut-off", "기준일 이전 28일 안에 활동이 있는", 28)
ACTIVE_84 = Condition("active_84d", "active in the 84 days before the cut-off", "기준일 이전 84일 안에 활동이 있는", 84)
ACTIVE_365 = Condition("active_365d", "active in the 365 days before the cut-off", "기준일 이전 365일 안에 활동이 있는", 365)
CREDIT_LINE = Condition("credit_line", "with an open credit line at the cut-off", "기준일에 신용 한도가 있는", credit_line=True)
TASK_PRESENCE = "task:"
"""Presence key of a task: `task:churn` says which rows it is defined for; without the key it is defined for all."""


@dataclass(frozen=True)
class TaskSpec:
    """One task. `out_dim` is the tower's output width; for `contrastive` it is the width of the query embedding."""

    name: str
    title: str
    group: str
    kind: Kind
    loss: LossName
    out_dim: int
    hmm_mode: HmmMode
    weight: float
    domain_experts: tuple[str, ...]
    focal_alpha: float | None = None
    enabled: bool = True
    unit: str = ""
    """Unit of the label on its original scale, for pages."""
    log_scale: bool = False
    """The label is log(1 + x): pages show expm1 of it."""
    question: str = ""
    """What the task asks, in one sentence."""
    classes: tuple[str, ...] = ()
    """Class names of a multiclass task, where they do not depend on the dataset."""
    condition: Condition = EVERYONE
    """For whom the task is defined; outside it there is no label and no score."""


def _t(*args: object, **kwargs: object) -> TaskSpec:
    return TaskSpec(*args, **kwargs)  # type: ignore[arg-type]


LIFE_STAGES = ("under 25", "25-34", "35-44", "45-54", "55-64", "65 and over")
CHANNELS = ("branch or store", "app", "web")
CYCLES = ("daily", "every 2-3 days", "weekly", "every two weeks", "monthly", "less than monthly", "irregular")
OFFERS = (
    "credit card upgrade", "cash-back card", "instalment loan", "savings plan", "time deposit", "fund",
    "insurance", "travel card", "mortgage review", "mobile wallet", "merchant coupon", "premium membership",
)  # fmt: skip
SPENDING_CATEGORIES = (
    "groceries", "dining", "fuel and transport", "clothing", "home", "health", "leisure", "travel",
    "electronics", "education", "services", "online",
)  # fmt: skip

_ALL = (
    _t("ctr", "Click", "Engagement", "binary", "focal", 1, "journey", 1.0, ("perslay", "temporal", "unified_hgcn"),
       focal_alpha=0.25, question="Will the customer click the campaign shown next?"),
    _t("cvr", "Conversion", "Engagement", "binary", "focal", 1, "journey", 1.5, ("perslay", "temporal", "unified_hgcn"),
       focal_alpha=0.20, question="Will the customer convert on the campaign shown next?"),
    _t("engagement", "Engagement", "Engagement", "regression", "mse", 1, "journey", 0.8, ("temporal",),
       unit="active days", log_scale=True, question="On how many days will the customer be active?"),
    _t("uplift", "Uplift", "Engagement", "regression", "mse", 1, "journey", 1.0, ("temporal",), enabled=False,
       question="How much does the campaign change the customer's response?"),
    _t("churn", "Churn", "Lifecycle", "binary", "focal", 1, "lifecycle", 1.2, ("perslay", "temporal"),
       focal_alpha=0.60, condition=ACTIVE_28,
       question="Will an active customer fall silent for the next 28 days?"),
    _t("retention", "Retention", "Lifecycle", "binary", "focal", 1, "lifecycle", 1.0, ("perslay", "temporal"),
       focal_alpha=0.20, question="Will the customer be active in days 57 to 84 from now?"),
    _t("life_stage", "Life stage", "Lifecycle", "multiclass", "nll", 6, "lifecycle", 0.8, ("perslay", "temporal"),
       classes=LIFE_STAGES, question="Which age band does the customer belong to?"),
    _t("ltv", "Lifetime value", "Lifecycle", "regression", "huber", 1, "lifecycle", 1.5, ("temporal", "deepfm"),
       unit="currency", log_scale=True, question="How much will the customer spend in the horizon?"),
    _t("balance_util", "Balance utilisation", "Value", "regression", "huber", 1, "behavior", 1.0, ("temporal",),
       unit="share of limit", question="Which share of the credit limit will be in use?", condition=CREDIT_LINE),
    _t("channel", "Channel", "Value", "multiclass", "nll", 3, "behavior", 0.8, ("temporal",), classes=CHANNELS,
       question="Through which channel will the customer come next?", condition=ACTIVE_365),
    _t("timing", "Timing", "Value", "multiclass", "nll", 28, "behavior", 0.8, ("temporal",),
       classes=tuple(f"in {d} days" if d != 1 else "in 1 day" for d in range(28)),
       question="In how many days is the next activity?", condition=ACTIVE_84),
    _t("nba", "Next best action", "Consumption", "multiclass", "nll", 12, "behavior", 2.0,
       ("perslay", "unified_hgcn", "lightgcn"), classes=OFFERS, question="Which offer will the customer respond to first?"),
    _t("spending_category", "Spending category", "Consumption", "multiclass", "nll", 12, "behavior", 1.2,
       ("unified_hgcn", "perslay"), classes=SPENDING_CATEGORIES, condition=ACTIVE_365,
       question="In which category will most be spent?"),
    _t("consumption_cycle", "Consumption cycle", "Consumption", "multiclass", "nll", 7, "behavior", 0.8, ("temporal",),
       classes=CYCLES, question="How often will the customer buy?", condition=ACTIVE_84),
    _t("spending_bucket", "Spending percentile", "Consumption", "regression", "huber", 1, "behavior", 0.8, ("deepfm",),
       unit="percentile", question="At which percentile of spending will the customer be?"),
    _t("category_uplift", "Category uplift", "Consumption", "regression", "mse", 12, "behavior", 1.5, ("unified_hgcn",),
       enabled=False, question="How much does the campaign change spending in each category?"),
    _t("brand_prediction", "Next brand", "Consumption", "contrastive", "infonce", 128, "behavior", 2.0, ("unified_hgcn",),
       question="Which brand will the customer buy next?", condition=ACTIVE_365),
    _t("merchant_affinity", "Merchant affinity", "Consumption", "regression", "huber", 1, "behavior", 1.0,
       ("unified_hgcn", "temporal"), unit="share of spend", question="Which share of spend goes to the favourite merchant?",
       condition=ACTIVE_365),
)  # fmt: skip

TASKS: dict[str, TaskSpec] = {t.name: t for t in _ALL}

LOGIT_TRANSFERS: tuple[tuple[str, str, str], ...] = (
    ("ctr", "cvr", "sequential"),
    ("churn", "retention", "inverse"),
    ("cvr", "ltv", "feature"),
    ("nba", "spending_category", "feature"),
    ("spending_category", "brand_prediction", "feature"),
)
"""Default (source, target, type) edges of the transfer DAG (reference, "Logit Transfer")."""

GROUP_STRENGTH: dict[str, float] = {"Engagement": 0.8, "Lifecycle": 0.7, "Value": 0.6, "Consumption": 0.7}
"""adaTT intra-group transfer strengths; between groups it is 0.3."""
