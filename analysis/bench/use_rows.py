"""What `ple bench reasons` found where the model uses the cause: the share of questions whose cause is named, among those that
an attribution of this model can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from analysis.bench.reason_rows import WANTED, Places, share_row
from analysis.bench.uses import Use
from ple_model.bench.measure import Row

Uses = Mapping[tuple[str, str], Use]
Item = TypeVar("Item")


def use_rows(places: Mapping[str, Places], uses: Uses) -> list[Row]:
    """Each cause's proof, then the shares over the questions of which a true cause is used, and of which it weighs enough."""
    asked = {t: p for t, p in places.items() if p.customers}
    found = [_proof(task, cause, use) for (task, cause), use in uses.items()]
    if not asked:
        return found
    method = next(iter(next(iter(asked.values())).shown))
    for said, kept in (
        ("where the model uses the cause", {t: _used(t, p, uses) for t, p in asked.items()}),
        ("where it uses the cause and that weighs enough",
         {t: [u and w for u, w in zip(_used(t, p, uses), p.weighs, strict=True)] for t, p in asked.items()}),
    ):  # fmt: skip
        some = {t: _some(p, kept[t]) for t, p in asked.items() if any(kept[t])}
        if not some:
            continue
        questions = sum(len(p.customers) for p in some.values()), sum(len(p.customers) for p in asked.values())
        for measure, of in (("all tasks", list(some.values())), *((t, [p]) for t, p in some.items())):
            row = share_row(f"{measure}, {said}", of, method, WANTED)
            own = {"questions": float(sum(len(p.customers) for p in of))}
            of_all = {"of all questions": questions[0] / questions[1]} if measure == "all tasks" else {}
            found.append(replace(row, detail={**row.detail, **own, **of_all}))
    return found


def _proof(task: str, cause: str, use: Use) -> Row:
    detail = {"used": float(use.used), "customers": float(use.customers)}
    if use.along is not None:
        detail |= {"goes along": use.along.value, "from": use.along.low, "to": use.along.high}
    measure = f"{task}: loss with what carries {cause} from others, less own"
    return Row("reasons", measure, use.rise.value, unit="loss", low=use.rise.low, high=use.rise.high, detail=detail)


def _used(task: str, places: Places, uses: Uses) -> list[bool]:
    """[customers] whether the model uses one of the true causes."""
    return [any((task, c) in uses and uses[task, c].used for c in causes) for causes in places.causes]


def _some(p: Places, kept: Sequence[bool]) -> Places:
    at = np.flatnonzero(kept)

    def of(values: Sequence[Item]) -> list[Item]:
        return [values[int(i)] for i in at]

    def by_method(places: Mapping[str, list[int]]) -> dict[str, list[int]]:
        return {m: of(v) for m, v in places.items()}

    return Places(
        of(p.customers), of(p.causes), by_method(p.shown), by_method(p.either), by_method(p.counted), of(p.chance), of(p.weighs)
    )
