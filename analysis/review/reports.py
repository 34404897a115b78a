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


@dataclass(frozen=True)
class ReportOutcome:
    """Of one customer: a report and what is told of it, or neither."""

    report: MadeReport | None = None
    told: dict[str, Any] | None = None
    """What the batch keeps beside the files."""
    broken: str = ""
    """Why the row could not be explained, with the customer as the reports show one; without it and a report the task is not
    defined for the customer."""


def outcome_of(run: Run, data: Dataset, row: int, customer: str, desk: Desk, order: BatchOrder) -> ReportOutcome:
    """The report of the customer in a row."""
    try:
        found = explain_row(run, data, row, order.task, anyway=order.anyway, barred=order.barred)
    except Undefined:
        return ReportOutcome()
    except (UserError, ValueError, ArithmeticError, RuntimeError) as e:
        shown = desk.customer(customer)
        return ReportOutcome(broken=f"{shown}: {str(e).replace(customer, shown)}")
    report = desk.make(found, order.formats)
    told = {
        "customer": report.customer, "cutoff": found.cutoff, "task": found.task, "decision": found.target_name,
        "prediction": found.shown(found.prediction), "withheld": found.withheld, "failed": found.faithfulness.withheld,
        "fallback": None if found.fallback is None else found.fallback.marked,
    }  # fmt: skip
    return ReportOutcome(report, told)
