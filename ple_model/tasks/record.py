"""What a task is: one record holds its name, tower, loss, routing, label and for whom it is defined.

The label is one SELECT of `row_id` and `label` over what `data.labels` lays ready beside the event tables:

    label_spine  row_id, customer_id, cutoff, cutoff_index (0, 1, ..), covered: days from the cut-off on that the source covers
    label_days   row_id, d: days with activity, d = 0 the cut-off's own date, negative before it
    label_buys   row_id, ts, d, amount, merchant_id, brand, mcc_l1: card purchases and refunds within the horizon

`$horizon_days` and the other windows of `data.labels.LabelSettings` stand for their days, `$purchase` for the condition of a
purchase in `transactions`. A row that the SELECT leaves out, or gives NULL, has no label. By kind a label is a whole number
from 0 on (binary, multiclass), a number, or a list of `out_dim` numbers (regression), a brand's name (contrastive). A label
that compares customers with one another does so within a `cutoff_index`: by that name it is known that it must be made of all
of them at once, and not bucket by bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ple_model.sql_text import sql_list

Kind = Literal["binary", "regression", "multiclass", "contrastive"]
LossName = Literal["focal", "mse", "huber", "nll", "infonce"]
HmmMode = Literal["journey", "lifecycle", "behavior"]
HMM_MODES: tuple[HmmMode, ...] = ("journey", "lifecycle", "behavior")


@dataclass(frozen=True)
class Condition:
    """For whom a task is defined at a cut-off: one record that labels, scores, explanations and pages share.

    `idle_days`: at most so many days since the last activity (a purchase, a deposit or a session; 1 is the day before the
    cut-off; a refund alone is none). `credit_line`: holds an open product with a credit limit. `shown_days`: at most so many
    days since a campaign was last shown.
    """

    name: str
    en: str
    ko: str
    idle_days: int | None = None
    credit_line: bool = False
    shown_days: int | None = None

    def holds(self, idle: NDArray[np.float64], credit_line: NDArray[np.bool_], shown: NDArray[np.float64]) -> NDArray[np.bool_]:
        """[n] bool of rows with `idle` days since the last activity and `shown` days since the last campaign (NaN: never),
        with or without a credit line."""
        found = np.ones(len(idle), np.bool_) if self.idle_days is None else idle <= self.idle_days
        if self.shown_days is not None:
            found = found & (shown <= self.shown_days)
        return found & credit_line if self.credit_line else found

    def unmet(self) -> str:
        """What is said in place of a number."""
        return f"not defined for this customer: the task is for customers {self.en}"


EVERYONE = Condition("everyone", "known before the cut-off", "기준일 이전에 알려진")
ACTIVE_28 = Condition("active_28d", "active in the 28 days before the cut-off", "기준일 이전 28일 안에 활동이 있는", 28)
ACTIVE_84 = Condition("active_84d", "active in the 84 days before the cut-off", "기준일 이전 84일 안에 활동이 있는", 84)
ACTIVE_365 = Condition("active_365d", "active in the 365 days before the cut-off", "기준일 이전 365일 안에 활동이 있는", 365)
CREDIT_LINE = Condition("credit_line", "with an open credit line at the cut-off", "기준일에 신용 한도가 있는", credit_line=True)
SHOWN_84 = Condition(
    "shown_84d", "shown a campaign in the 84 days before the cut-off", "기준일 이전 84일 안에 캠페인이 노출된", shown_days=84
)


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
    """On where a config does not say which tasks it has."""
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
    title_ko: str = ""
    question_ko: str = ""
    label: str = ""
    """SQL, see the module docstring; empty: only a source's own table can label the task."""
    needs: str = ""
    """What a source must have for a label, where it is not plain from the tables; said where it has none."""

    @property
    def compares(self) -> bool:
        """Its label compares customers with one another."""
        return "cutoff_index" in self.label


def position(column: str, names: Sequence[str]) -> str:
    """SQL: position of a column's value among `names`, NULL where it is none of them."""
    return f"nullif(list_position([{sql_list(names)}], {column}), 0) - 1"
