"""What laws ask an explanation of an automated decision to hold, with who fills it: the model, in this report, or the bank.

Korea: Personal Information Protection Act art. 37-2 (in force since 15 March 2024), Credit Information Act art. 36-2, AI Basic
Act art. 34 (in force since 22 January 2026, fines deferred by at least a year). European Union: GDPR art. 22, AI Act art. 86.
From secondary sources, and no legal advice: a bank's counsel checks what applies and from when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from analysis.i18n import section
from analysis.results.explanation import Explanation
from analysis.results.review import ReviewBlock
from analysis.review.weights import LITTLE
from ple_model.numerals import Language

Filler = Literal["model", "bank", "both"]
LAWS = ("pipa", "credit", "ai_basic", "eu")


@dataclass(frozen=True)
class Demand:
    """One thing that a law asks for. `key` names its words in the catalogue, `where` the part of the report that holds it."""

    law: str
    key: str
    filled: Filler
    where: str
    needs_reasons: bool = False
    """Not filled where the reasons are withheld, or there are none."""
    to_a_person: bool = False
    """It has to mean something to whom it is about: not filled by reasons alone that carry less than half."""


DEMANDS = (
    Demand("pipa", "pipa_explained", "model", "reasons", needs_reasons=True, to_a_person=True),
    Demand("pipa", "pipa_30_days", "bank", "review"),
    Demand("pipa", "pipa_refusal", "bank", "review"),
    Demand("pipa", "pipa_human", "bank", "review"),
    Demand("credit", "credit_result", "model", "decision"),
    Demand("credit", "credit_criteria", "model", "reasons", needs_reasons=True),
    Demand("credit", "credit_data", "model", "data"),
    Demand("credit", "credit_correction", "bank", "review"),
    Demand("ai_basic", "ai_result", "model", "decision"),
    Demand("ai_basic", "ai_criteria", "model", "reasons", needs_reasons=True),
    Demand("ai_basic", "ai_training", "model", "data"),
    Demand("ai_basic", "ai_oversight", "bank", "review"),
    Demand("ai_basic", "ai_records", "both", "record"),
    Demand("eu", "eu_intervention", "bank", "review"),
    Demand("eu", "eu_contest", "bank", "review"),
    Demand("eu", "eu_role", "bank", "review"),
    Demand("eu", "eu_elements", "model", "reasons", needs_reasons=True),
)


def carries_little(found: Explanation) -> bool:
    """Whether the reasons that are shown carry less than half of what moved the number."""
    return not found.withheld and sum(map(found.weight, (*found.reasons, *found.against))) < LITTLE


def checklist(found: Explanation, language: Language, *, recorded: bool = False) -> tuple[ReviewBlock, ...]:
    """One table, a heading a law: what it asks for, who fills it, and where it stands. `recorded`: the report is noted in an
    audit record."""
    w = section("checklist", language)
    rows: list[tuple[str, ...]] = []
    heads: list[int] = []
    for law in LAWS:
        heads.append(len(rows))
        rows.append((w[law], "", ""))
        rows += [_row(d, found, w, recorded) for d in DEMANDS if d.law == law]
    head = (w["asks"], w["by"], w["where"])
    return (
        ReviewBlock("", "table", tuple(rows), head, heads=tuple(heads), key="laws"),
        ReviewBlock(w["advice_heading"], "lines", ((w["advice"],),), key="advice"),
    )


def _row(demand: Demand, found: Explanation, w: dict[str, str], recorded: bool) -> tuple[str, str, str]:
    if demand.where == "record" and not recorded:
        return w[demand.key], w["by_bank"], w["where_unrecorded"]
    if demand.needs_reasons and (found.withheld or found.unreasoned):
        by_bank = demand.to_a_person or found.person_because != "check"  # of the model they are not known, by anybody
        return w[demand.key], w["by_bank"], w["where_withheld" if by_bank else "where_unknown"]
    if demand.to_a_person and carries_little(found):
        return w[demand.key], w["by_both"], w["where_little"]
    return w[demand.key], w[f"by_{demand.filled}"], w[f"where_{demand.where}"]
