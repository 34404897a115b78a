"""How a task answers to the strength of an edge of the transfer, and to what its source says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from analysis.results.whatif import StrengthSweep
from analysis.stats.effects import row_change, row_flips
from analysis.stats.transfer import DoseResponse
from ple_model.intervention import Intervention

if TYPE_CHECKING:
    pass

from analysis.engine.effects import CHANGE_UNITS, Engine

DOSES = tuple(round(0.02 + 0.06 * i, 2) for i in range(17))
FACTORS = tuple(0.25 * i for i in range(9))
"""Multiples of an edge's strength in a sweep."""


@torch.no_grad()
def sweep(
    engine: Engine, edge: str, factors: Sequence[float] = FACTORS, *, bootstrap: int = 200, seed: int = 0
) -> StrengthSweep:
    """The target's metric and predictions at multiples of an edge's strength, which must hold 1. Only its tower runs again:
    what reaches it by other ways does not depend on the edge. `UserError` for an edge that the model does not have."""
    m = engine.model
    engine.model.check(Intervention(edge_scale={edge: 0.0}))
    target = edge.partition(":")[2]
    kind = engine.kinds[target]
    raw: list[list[Tensor]] = [[] for _ in factors]
    for output in engine.decode():
        added = output.transfer[edge]
        rest = output.tower_inputs[target] - added
        for answers, factor in zip(raw, factors, strict=True):
            x = rest + factor * added
            answers.append(m.answer(target, x, output.encoded).float())
    found = [engine.shown(target, torch.cat(a)) for a in raw]
    base = found[list(factors).index(1.0)]
    threshold = engine.threshold(target) if kind == "binary" else 0.5
    flips = [row_flips(kind, base.raw, p.raw, threshold).mean() if kind != "regression" else np.nan for p in found]
    change = tuple(float(row_change(kind, base.shown, p.shown).mean()) for p in found)
    plain = StrengthSweep(edge, len(engine), tuple(factors), change, CHANGE_UNITS[kind], tuple(map(float, flips)))
    paired = [engine.paired(target, kind, base, p) for p in found]
    known = [p for p in paired if p is not None]
    if len(known) < len(found):
        return plain
    runs = [b.run(bootstrap, seed) for _, _, b in known]
    values, differences = tuple(r[1] for r in runs), tuple(r[2] for r in runs)
    return replace(plain, metric=known[0][0], n_labelled=known[0][1], values=values, differences=differences)


@torch.no_grad()
def dose_response(engine: Engine, limit: int = 1000) -> dict[str, DoseResponse]:
    """How each edge's target answers while its source is forced over its range, everything else as it is."""
    part = engine.encoded.rows(slice(0, limit))
    m = engine.model
    output = m.decode(part, sae=False, evidential=False)
    found = {}
    for edge in m.edges:
        spec = m.tasks[edge.target]
        rest = output.tower_inputs[edge.target] - output.transfer[edge.key]
        source = output.predictions[edge.source].float()
        answers = []
        for dose in DOSES:
            forced = _forced(source, m.tasks[edge.source].kind, dose)
            x = rest + m.transfer(edge, forced)
            answers.append(m.answer(edge.target, x, part).float())
        target, spread, scale = _scalar_answers(spec.kind, answers, output.predictions[edge.target].float())
        found[edge.key] = DoseResponse(edge.key, DOSES, target, spread, len(part), scale)
    return found


def _forced(source: Tensor, kind: str, dose: float) -> Tensor:
    """`source` with its (leading) probability set to `dose`; a regression moves over +-2 standard deviations."""
    if kind == "binary":
        return torch.full_like(source, dose)
    if kind == "regression":
        return torch.full_like(source, 4 * dose - 2)
    leading = int(source.mean(0).argmax())
    out = source.clone()
    rest = (1 - source[:, leading]).clamp_min(1e-6)
    out = out * ((1 - dose) / rest)[:, None]
    out[:, leading] = dose
    return out


def _scalar_answers(kind: str, answers: Sequence[Tensor], base: Tensor) -> tuple[tuple[float, ...], float, str]:
    """(mean answer by dose, spread of the target over rows, what the answer is)."""
    if kind == "multiclass":
        top = int(base.mean(0).argmax())
        return tuple(float(a[:, top].mean()) for a in answers), float(base[:, top].std()), "probability of the leading class"
    if kind == "contrastive":
        centre = torch.nn.functional.normalize(base.mean(0), dim=0)
        distance = (base @ centre).std()
        return tuple(float((a @ centre).mean()) for a in answers), float(distance), "cosine to the mean query"
    if base.dim() > 1:
        return tuple(float(a.mean()) for a in answers), float(base.mean(1).std()), "prediction"
    scale = "probability" if kind == "binary" else "standard deviations of the label"
    return tuple(float(a.mean()) for a in answers), float(base.std()), scale
