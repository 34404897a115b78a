"""One customer with other values: an intervention on a single row, before and after, from the explainer's model.

`columns` says what the customer's columns are now and where they stand among the training customers, `try_on` what the model
answers to other values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from analysis.engine.columns import FeatureRows, TrainingColumns
from analysis.engine.explainer import Explainer, single
from analysis.engine.score import Score, answer, class_names, distance, shown
from analysis.explain.lookup import chosen_task, class_name, find
from analysis.opening import opened_run
from analysis.results.whatif import CustomerWhatIf, Note, TaskMove
from ple_model.edits import changed_keys, edit
from ple_model.errors import UserError
from ple_model.finite import require_finite
from ple_model.intervention import Intervention
from ple_model.output import Encoded, PLEClusterOutput
from ple_model.run import Run
from ple_model.schema import FeatureColumn

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset


@dataclass(frozen=True)
class ColumnNow:
    """One column of one customer. `value` is None where the customer lacks the column's part."""

    column: FeatureColumn
    value: float | None
    percentile: float
    """Share of the training customers below the value, those equal to it half; NaN where it is unknown."""
    low: float
    middle: float
    high: float
    n: int
    """Customers behind the percentile."""
    trained: bool
    """They are training customers."""
    whole: bool
    """The range is that of the whole training profile, not of these customers alone."""
    constant: bool
    """The same for every training customer: the model reads nothing of it."""


def columns(
    run: Run | Path | str,
    customer_id: str,
    names: tuple[str, ...],
    cutoff: str | None = None,
    dataset: Dataset | Path | str | None = None,
) -> tuple[ColumnNow, ...]:
    """What these columns of a customer are now. `UserError` for an unknown customer or column."""
    opened = opened_run(run)
    data, row = find(opened, customer_id, cutoff, dataset)
    training, normalizer = TrainingColumns.cached(opened), data.normalizer()
    own = FeatureRows.of([data.take([row]).inputs])
    found = []
    for name in names:
        column = opened.context().schema.column(name)
        there = own.values(column, normalizer)
        value = float(there[0]) if len(there) else None
        known = training.range(name)
        percentile = float("nan") if value is None else training.percentile(name, value)
        found.append(
            ColumnNow(
                column,
                value,
                percentile,
                known.low,
                known.middle,
                known.high,
                training.n(name),
                training.trained,
                known.whole,
                known.constant,
            )
        )
    return tuple(found)


def try_on(
    run: Run | Path | str,
    customer_id: str,
    intervention: Intervention | str | tuple[str, ...],
    task: str | None = None,
    cutoff: str | None = None,
    dataset: Dataset | Path | str | None = None,
    target: int | None = None,
) -> CustomerWhatIf:
    """See `analysis.whatif.whatif_customer`."""
    opened = opened_run(run)
    chosen = chosen_task(opened, task)
    data, row = find(opened, customer_id, cutoff, dataset)
    e = Explainer.cached(opened)
    model, batch = e.model, data.take([row])
    change = _parse(e, intervention)
    model.check(change)
    inputs, normalizer = single(batch.inputs), data.normalizer()
    with torch.no_grad():
        known = model.encode(inputs)
        before = model.decode(known, sae=False, evidential=False)
        encoded: Encoded = known
        if change.features:
            edits = change.feature_edits
            encoded = model.encode_again(
                edit(inputs, edits, normalizer, model.context.own), known, changed_keys(edits, model.context.own)
            )
        after = model.decode(encoded, change.after_experts, sae=False, evidential=False)
        require_finite(str(data.path), inputs, before, batch.customer_id)
        require_finite(change.describe(), inputs, after, batch.customer_id)
        moves = [_move(e, name, before, after) for name in model.tasks if model.context.learned(name)]
        spec, names = model.tasks[chosen], class_names(model, chosen)
        if spec.kind in ("multiclass", "contrastive"):
            p = answer(model, before, chosen, e.calibration)[0]
            target = int(p.argmax()) if target is None else target
            if not 0 <= target < len(p):
                raise UserError(f"{chosen}: no class {target}, valid: 0 to {len(p) - 1}")
        score = Score(model, chosen, target, e.calibration.get(chosen))
        values = float(score(before)[0]), float(score(after)[0])
    notes: tuple[Note, ...] = ()
    if change.features:
        notes = tuple(TrainingColumns.cached(opened).notes(change.feature_edits, FeatureRows.of([inputs]), normalizer))
    return CustomerWhatIf(
        customer_id=batch.customer_id[0],
        cutoff=batch.cutoff[0],
        intervention=change.describe(),
        arguments=tuple(change.to_strings()),
        task=chosen,
        target_name="" if target is None or spec.kind == "binary" else class_name(names, target),
        before=values[0],
        after=values[1],
        tasks=tuple(sorted(moves, key=lambda m: -m.distance)),
        notes=notes,
    )


def _move(e: Explainer, task: str, before: PLEClusterOutput, after: PLEClusterOutput) -> TaskMove:
    """What one task says of the customer before and after, and how far apart that is among customers."""
    model, spec = e.model, e.model.tasks[task]
    names = class_names(model, task)
    (a, top_a), (b, top_b) = (shown(model, output, task, e.calibration) for output in (before, after))
    labels = ["" if top is None else class_name(names, int(top[0])) for top in (top_a, top_b)]
    one, two = (answer(model, output, task, e.calibration)[0] for output in (before, after))
    spread, apart = e.spread[task], float(distance(spec.kind, one, two))
    return TaskMove(
        task, spec.title, spec.kind, spec.unit if spec.kind == "regression" else "probability", float(a[0]), float(b[0]),
        labels[0], labels[1], apart / spread if spread > 0 else 0.0,
    )  # fmt: skip


def _parse(e: Explainer, intervention: Intervention | str | tuple[str, ...]) -> Intervention:
    """An intervention with the mean blocks it may need: of the explainer's population."""
    if isinstance(intervention, Intervention):
        return intervention
    blocks: Mapping[str, torch.Tensor] = dict(
        zip(e.model.expert_names, torch.split(e.encoded.shared_concat.mean(0), e.model.dims), strict=True)
    )
    return Intervention.parse([intervention] if isinstance(intervention, str) else intervention, blocks)
