"""What a batch and its outputs say: what its inputs are, rows that are no numbers, rows that hold static features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.stats import finite
from analysis.stats.inputs import InputStats
from analysis.stats.inputs import measure as measure_inputs
from ple_model.batch import PLEClusterInput
from ple_model.fields import OPTIONAL_FIELDS, SEGMENTS
from ple_model.finite import bad_inputs, bad_labels, bad_rows
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.presence import Absence, is_part, part_key
from ple_model.tensors import as_numpy

DIAGRAMS = {"tda_short_diagrams": "tda_short_mask", "tda_long_diagrams": "tda_long_mask"}


def inputs_of(inputs: PLEClusterInput, tasks: Sequence[str], *, only_features: bool = False) -> InputStats:
    """Input statistics of one batch; `only_features` leaves fields out that were not decoded."""
    n = len(inputs)
    absent: dict[str, NDArray[np.generic]] = {}
    for key in (*OPTIONAL_FIELDS, *(part_key(p) for p in inputs.parts)):
        if only_features and not is_part(key):
            continue
        there = as_numpy(inputs.present(key))
        whole = getattr(inputs, key.split(":")[0]) is None
        code = np.where(there, Absence.NONE, Absence.FIELD if whole else Absence.ROW)
        mask_name = DIAGRAMS.get(key)
        if mask_name is not None and getattr(inputs, mask_name) is not None:
            masked = ~as_numpy(getattr(inputs, mask_name)).astype(bool).any(1)
            code = np.where((code == Absence.NONE) & masked, Absence.MASK, code)
        absent[key] = code.astype(np.int8)
    column_present = np.ones((n, inputs.features.shape[1]), dtype=bool)
    for part, columns in inputs.parts.items():
        column_present[:, columns] = (absent[part_key(part)] == Absence.NONE)[:, None]
    diagrams = {
        d: (as_numpy(getattr(inputs, d)), as_numpy(getattr(inputs, m)).astype(bool), absent[d] != Absence.ROW)
        for d, m in DIAGRAMS.items()
        if d in absent and getattr(inputs, d) is not None and getattr(inputs, m) is not None
    }
    hierarchy = None
    if not only_features and inputs.hierarchy_features is not None:
        hierarchy = (as_numpy(inputs.hierarchy_features), absent["hierarchy_features"] == Absence.NONE)
    labels = {t: _labelled(v) for t, v in (inputs.targets or {}).items() if t in tasks}
    segments = {}
    if inputs.customer_segment is not None:
        counts = np.bincount(as_numpy(inputs.customer_segment).astype(int), minlength=len(SEGMENTS))
        segments = {s: int(c) for s, c in zip(SEGMENTS, counts, strict=False)}
    return measure_inputs(as_numpy(inputs.features), absent, column_present, diagrams, hierarchy, labels, segments)


def _labelled(label: Tensor) -> NDArray[np.bool_]:
    y = as_numpy(label)
    known = y >= 0 if y.dtype.kind in "iu" else np.isfinite(y)
    return np.asarray(known if known.ndim == 1 else known.all(1))


def finite_of(model: PLEClusterAdaTT, inputs: PLEClusterInput, output: PLEClusterOutput) -> finite.FiniteStats:
    """Rows of a batch that are no numbers; `features` by its parts."""
    found = {k: as_numpy(v) for k, v in bad_inputs(inputs).items()}
    if "features" in found:
        wrong = ~np.isfinite(as_numpy(inputs.features))
        parts = {part_key(p): wrong[:, c].any(1) for p, c in inputs.parts.items()}
        found = {**{k: v for k, v in parts.items() if v.any()}, **{k: v for k, v in found.items() if k != "features"}}
    found |= {f"label {t}": as_numpy(v) for t, v in bad_labels(inputs.targets or {}).items()}
    experts = {e: as_numpy(bad_rows(v)) for e, v in output.encoded.expert_outputs.items()}
    heads = {t: as_numpy(bad_rows(h.uncertainty)) for t, h in output.evidential.items()}
    tasks = {t: as_numpy(bad_rows(v)) for t, v in output.predictions.items()}
    for task, spec in model.tasks.items():
        if spec.kind == "contrastive":  # the query may be sound and the brands' own vectors not
            tasks[task] = as_numpy(bad_rows(model.brand_logits(output.predictions[task].float())))
    return finite.measure(len(inputs), found, experts, tasks, heads)


def finite_rows(output: PLEClusterOutput) -> NDArray[np.bool_]:
    """[B] rows whose representation and predictions are all numbers: what a vector statistic or a what-if may use."""
    bad = [bad_rows(output.shared_concat), *(bad_rows(v) for v in output.predictions.values())]
    return np.asarray(~torch.stack(bad).any(0).numpy())


def mixed_rows(inputs: PLEClusterInput) -> NDArray[np.bool_]:
    """[B] rows whose shared representation holds their static cold-start or anonymous features."""
    out = torch.zeros(len(inputs), dtype=torch.bool)
    if inputs.customer_segment is not None:
        for segment, name in (("cold_start", "coldstart_features"), ("anonymous", "anonymous_features")):
            out |= (inputs.customer_segment == SEGMENTS.index(segment)) & inputs.present(name)
    return np.asarray(out.numpy())
