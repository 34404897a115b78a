"""What would have to differ: the fewest changeable features that, moved to their typical values, change the decision.

Immutable is what a customer cannot change (tenure, age of a record) and what is computed from the rest (clusters, states,
shapes,
learned summaries): those stay as they are, so that the answer names levers. Derived columns do not follow the changed ones; the
counterfactual is the model's answer to these columns alone, not a forecast of what would happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.engine.score import distribution
from analysis.explain.source_columns import as_changed, by_source, columns_of
from analysis.results.explanation import Counterfactual, FeatureChange, FeatureContribution

if TYPE_CHECKING:
    from analysis.engine.explainer import Explainer
    from analysis.engine.reference import Path
    from analysis.engine.score import Score
    from ple_model.schema import FeatureSchema

IMMUTABLE_PARTS = ("tda_short", "tda_long", "phase_transition", "gmm", "mamba_temporal", "hmm_summary", "lnn", "bandit")
IMMUTABLE_WORDS = ("tenure", "_age_", "age_days")
LIMIT = 16
"""At most this many features are moved."""
SHOWN = 5
"""Changes that are given where none of them turns the decision."""


def changeable(f: FeatureContribution, schema: FeatureSchema) -> bool:
    """Of a table of one's own, its schema file says what is fixed; the package's columns say it by part and name."""
    if schema.own:
        return f.name not in schema.fixed
    return f.part not in IMMUTABLE_PARTS and not any(w in f.name for w in IMMUTABLE_WORDS)


def counterfactual(
    explainer: Explainer, path: Path, score: Score, features: Sequence[FeatureContribution], names: Sequence[str],
    barred: NDArray[np.bool_],
) -> Counterfactual | None:  # fmt: skip
    """None for a customer without a changeable feature that matters; what is `barred` [columns] stays as it is.

    The decision is the most probable class; for binary and regression tasks, the side of the population's mean prediction.
    """
    model, spec = explainer.model, score.spec
    line = explainer.mean_score(score)
    with torch.no_grad():
        before = float(score(model(path.customer))[0])
    sign = 1.0 if score.target is not None or before >= line else -1.0
    schema = model.context.schema
    chosen = [
        f
        for f in by_source(schema, features)
        if changeable(f, schema) and not barred[schema.index[f.name]] and f.contribution * sign > 0
    ][:LIMIT]
    if not chosen:
        return None
    moved = [columns_of(schema, f.name) for f in chosen]
    position = path.fields.index("features")
    rows = path.ends[position].expand(len(chosen), -1).clone()
    for i in range(len(chosen)):
        index = [k for columns in moved[: i + 1] for k in columns]
        rows[i, index] = path.starts[position][0, index]
    tensors = tuple(rows if i == position else t.expand(len(chosen), *t.shape[1:]) for i, t in enumerate(path.ends))
    with torch.no_grad():
        output = model(path.inputs(tensors))
        after = score(output).double().numpy()
    label: Any = None
    if score.target is not None and spec.kind in ("multiclass", "contrastive"):
        label = distribution(model, output, score.task).argmax(1).numpy()
        flipped = label != score.target
    else:
        flipped = (after >= line) != (before >= line)
    # without a flip: as far as it helps to go
    last = int(np.argmax(flipped)) if flipped.any() else min(int(np.argmin(sign * after)), SHOWN - 1)
    changes = tuple(
        FeatureChange(f.name, f.value, f.typical, f.unit, f.sentence_en, f.sentence_ko)
        for chosen_one in chosen[: last + 1] for f in as_changed(schema, chosen_one, features)
    )  # fmt: skip
    name = ""
    if label is not None:
        k = int(label[last])
        name = names[k] if k < len(names) else f"class {k}"
    held = tuple(p for p in model.context.parts if p in IMMUTABLE_PARTS)
    return Counterfactual(changes, before, float(after[last]), name, bool(flipped.any()), held)
