"""A report is issued: masked, made, noted in the audit record, and only then handed out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from analysis.results.explanation import Explanation
from analysis.results.review import RunFacts
from analysis.review.about import run_facts
from analysis.review.content import review
from analysis.review.html import to_html
from analysis.review.mask import Mask
from analysis.review.pdf import to_pdf
from analysis.review.record import Person, Receipt, append, record_folder
from ple_model.numerals import Language

if TYPE_CHECKING:
    from ple_model.run import Run

Format = Literal["html", "pdf"]
LONGEST = 150
"""Signs of a customer in the name of a file."""
DIGEST = 16
"""Digits of the digest that stands for the rest."""


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """sha256 by format."""
    return {kind: hashlib.sha256(data).hexdigest() for kind, data in files.items()}


@dataclass(frozen=True)
class Issued:
    """One report: `name` without an ending, the files by format, its place in the record (None: nothing was recorded)."""

    name: str
    customer: str
    files: dict[str, bytes]
    receipt: Receipt | None

    def digests(self) -> dict[str, str]:
        """sha256 by format."""
        return digests(self.files)


@dataclass(frozen=True)
class MadeReport:
    """A report that stands in no record yet, so that nobody may be handed it. `facts`: what the record is to say of it."""

    name: str
    customer: str
    files: dict[str, bytes]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Desk:
    """What all reports of one sitting share. `mask`: what stands for a customer in the record, and in the reports unless
    `show_ids`; `record` None: nothing is recorded (an app that may not write)."""

    about: RunFacts
    language: Language
    by: Person
    masks: Mask
    show_ids: bool
    record: Path | None

    @staticmethod
    def of(
        run: Run, language: Language, *, by: Person | None = None, show_ids: bool = False, key_file: Path | None = None,
        record: Path | None = None, recorded: bool = True, masks: Mask | None = None,
    ) -> Desk:  # fmt: skip
        """For a run; `record`: the folder of the record (default: in the run's own). Not `recorded`: nothing at all is
        written, neither a line of the record nor a key. `masks` instead of those of the user's key."""
        masks = masks or Mask.of(run.manifest.data.fingerprint, key_file, keep=recorded)
        place = (record_folder(run.path) if record is None else record) if recorded else None
        return Desk(run_facts(run), language, by or Person.of_account(), masks, show_ids, place)

    @property
    def mask(self) -> Mask | None:
        """Of what is handed out; None: ids are shown."""
        return None if self.show_ids else self.masks

    def customer(self, customer_id: str) -> str:
        """As the reports show a customer."""
        return customer_id if self.mask is None else self.mask(customer_id)

    def file_name(self, customer_id: str, task: str) -> str:
        """Of a report, without its ending; an id that is shown keeps its letters and digits, all else is written as %XX."""
        shown = quote(self.customer(customer_id), safe="").replace(".", "%2E")
        if len(shown) > LONGEST:  # two long ids that begin alike stay two
            shown = f"{shown[:LONGEST]}-{hashlib.sha256(shown.encode()).hexdigest()[:DIGEST]}"
        return f"{shown}-{task}"

    def issue(self, found: Explanation, formats: Sequence[Format]) -> Issued:
        """The report of an explanation in these formats, noted in the record before it is handed out."""
        return self.hand_out(self.make(found, formats))

    def make(self, found: Explanation, formats: Sequence[Format]) -> MadeReport:
        """The report, not in the record yet."""
        customer = self.customer(found.customer_id)
        name = self.file_name(found.customer_id, found.task)
        place = None if self.record is None else str(self.record)
        report = review(found, self.about, self.language, customer=None if self.show_ids else customer, record=place)
        how = {"html": lambda: to_html(report).encode(), "pdf": lambda: to_pdf(report)}
        files: dict[str, bytes] = {kind: how[kind]() for kind in formats}
        return MadeReport(name, customer, files, self._facts("report", found, digests(files), report.digest()))

    def hand_out(self, made: MadeReport) -> Issued:
        """A report that was made, here or elsewhere, noted in the record."""
        receipt = None if self.record is None else append(self.record, made.facts, self.by)
        return Issued(made.name, made.customer, made.files, receipt)

    def note(self, what: Literal["json", "details"], found: Explanation, data: bytes) -> bytes:
        """Another form of the explanation, handed back once it is noted in the record."""
        if self.record is not None:
            digest = hashlib.sha256(data).hexdigest()
            append(self.record, self._facts(what, found, {what: digest}, digest), self.by)
        return data

    def _facts(self, what: str, found: Explanation, files: dict[str, str], contents: str) -> dict[str, Any]:
        """The customer is masked whatever the report shows, and the exact prediction stays out: with it the customer's row in
        the run would be found without any key. It is in the report, whose digest is here."""
        audit = found.audit
        return {
            "what": what, "customer": self.masks(found.customer_id), "mask_key": self.masks.named,
            "masked": not self.show_ids, "cutoff": found.cutoff, "task": found.task, "decision": found.decided,
            "asked_about": found.target_name, "target": found.target, "barred": audit.get("barred"),
            "sensitive": audit.get("sensitive"), "anyway": found.anyway,
            "withheld": found.withheld, "language": self.language, "run": self.about.run,
            "weights": audit.get("weights_sha256"), "training_data": audit.get("training_data"),
            "customer_data": audit.get("customer_data"), "release": audit.get("version"), "contents": contents,
            "files": files,
        }  # fmt: skip


def masked(found: Explanation, mask: Mask | None) -> Explanation:
    """The explanation with masks in the place of all customers' ids."""
    if mask is None:
        return found
    near = tuple(replace(s, customer_id=mask(s.customer_id)) for s in found.similar)
    return replace(found, customer_id=mask(found.customer_id), similar=near)
