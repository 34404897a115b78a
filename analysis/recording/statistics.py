"""The mergeable statistics of a batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.recording.batches import finite_of, inputs_of, mixed_rows
from analysis.recording.opened import Opened
from analysis.stats import drift, evidence, expert, gate, hmm, sae, transfer
from analysis.stats.run import Statistics
from ple_model.data.dataset.batches import Batch
from ple_model.output import PLEClusterOutput
from ple_model.profile import rows_of
from ple_model.tensors import as_numpy


def batch_statistics(opened: Opened, batch: Batch, output: PLEClusterOutput) -> Statistics:
    """All that adds up over rows."""
    encoded, model = output.encoded, opened.model
    n = len(batch)
    outputs = {k: as_numpy(v) for k, v in encoded.expert_outputs.items()}
    present = {k: as_numpy(v) for k, v in encoded.expert_present.items()}
    filled = np.stack(list(present.values()), 1) | mixed_rows(batch.inputs)[:, None]
    default = {k: as_numpy(v) for k, v in encoded.hmm_default.items()}
    embedding = {m: as_numpy(model.hmm.hmm_default_embeddings[m]) for m in encoded.hmm_projected}
    added = {k: as_numpy(v) for k, v in output.transfer.items() if k in opened.facts.edges}
    own = {k: as_numpy(v) for k, v in output.task_expert.items()}
    whole, unseen = _drift(opened, batch)
    return Statistics(
        facts=opened.facts,
        n=n,
        inputs=inputs_of(batch.inputs, opened.facts.tasks),
        experts=expert.measure(outputs, present),
        gates=gate.measure(model.task_names, model.expert_names, as_numpy(output.gate_weights), filled),
        hmm=hmm.measure({k: as_numpy(v) for k, v in encoded.hmm_projected.items()}, default, embedding),
        transfer=transfer.measure(added, own, n) if added else None,
        sae=None if output.sae is None else sae.measure(
            as_numpy(output.sae.latent), as_numpy(output.sae.x_standardised), as_numpy(output.sae.reconstruction)
        ),
        evidence={t: _evidence(opened, t, batch, output) for t in output.evidential},
        drift=whole,
        unseen=unseen,
        finite=finite_of(model, batch.inputs, output),
    )  # fmt: skip


def _drift(opened: Opened, batch: Batch) -> tuple[drift.DriftStats | None, drift.DriftGroups | None]:
    """Counts on the training bins, in the run's own scale: of all rows, and by split and cut-off."""
    if opened.profile is None:
        return None, None
    rows = rows_of(batch.inputs)
    if opened.rescale is not None:
        rows = replace(rows, features=opened.rescale(rows.features))
    return drift.grouped(rows, opened.profile.edges, batch.split, batch.cutoff)


def _evidence(opened: Opened, task: str, batch: Batch, output: PLEClusterOutput) -> evidence.TaskEvidence:
    head, kind = output.evidential[task], opened.facts.kinds[task]
    strength = as_numpy(head.strength) - (0 if kind == "regression" else head.alpha.shape[-1])
    uncertainty = as_numpy(head.uncertainty)
    if uncertainty.ndim > 1:
        uncertainty, strength = uncertainty.mean(1), strength.mean(1)
    label = (batch.inputs.targets or {}).get(task)
    there = as_numpy(batch.inputs.defined(task))
    if kind == "regression" or label is None:
        return evidence.measure(kind, uncertainty[there], strength[there])
    y = np.where(np.array(batch.split) == opened.judged, as_numpy(label), -1)
    p = as_numpy(output.predictions[task])
    if kind == "binary" and task in opened.calibration:
        p = np.asarray(opened.calibration[task](p))
    return evidence.measure(kind, uncertainty[there], strength[there], p[there], y[there])
