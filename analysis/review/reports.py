"""One customer's report of a batch in the making: the explanation and its files, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.explain.customer import explain_row
from analysis.explain.lookup import Undefined
from analysis.review.issue import Desk, Format, MadeReport
from ple_model.errors import UserError

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run


@dataclass(frozen=True)
class BatchOrder:
    """What is to be made of every customer."""

    task: str
    formats: tuple[Format, ...]
    cutoff: str | None = None
    anyway: bool = False
    barred: list[str] | None = None
    """What may not be a reason; None: what the run's configuration says."""
    sensitive: list[str] | None = None
    """What is marked in a reason; None: what the run's configuration says."""


@dataclass(frozen=True)
class ReportOutcome:
    """Of one customer one thing: a report and what is told of it, why there is none, or that there is nothing to explain."""

    report: MadeReport | None = None
    told: dict[str, Any] | None = None
    """What the batch keeps beside the files."""
    broken: str = ""
    """Why the row could not be explained, with the customer as the reports show one."""
    outside: bool = False
    """The task is not defined for the customer."""

    def __post_init__(self) -> None:
        if (self.report is not None) + bool(self.broken) + self.outside != 1 or (self.report is None) != (self.told is None):
            raise ValueError("an outcome is a report with what is told of it, a reason why there is none, or outside")


def outcome_of(run: Run, data: Dataset, row: int, customer: str, desk: Desk, order: BatchOrder) -> ReportOutcome:
    """The report of the customer in a row: the same wherever it is made."""
    from ple_model.data.build.floating_point import reproducible  # late: torch

    try:
        with reproducible():
            found = explain_row(run, data, row, order.task, anyway=order.anyway, barred=order.barred, sensitive=order.sensitive)
    except Undefined:
        return ReportOutcome(outside=True)
    except (UserError, ValueError, ArithmeticError, RuntimeError) as e:
        shown = desk.customer(customer)
        return ReportOutcome(broken=f"{shown}: {str(e).replace(customer, shown) or type(e).__name__}")
    report = desk.make(found, order.formats)
    told = {
        "customer": report.customer, "cutoff": found.cutoff, "task": found.task, "decision": found.target_name,
        "prediction": found.shown(found.prediction), "withheld": found.withheld, "failed": found.faithfulness.withheld,
        "fallback": None if found.fallback is None else found.fallback.marked,
    }  # fmt: skip
    return ReportOutcome(report, told)
