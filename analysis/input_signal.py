"""What an expert's input says of each task that no other input says, whatever network reads it.

A gradient boosting reads every input of the model; then it is fitted again without one expert's own: the fields that the expert
reads and the columns that sum up the same domain (`DOMAINS`; experts that read the same input are one row). What the loss grows
by on customers it was not fitted on is what only this input says. Beside `analysis.ablation`, which asks what a trained network
takes from it. A boosting reads no sequence and no set: it gets the last active days and sessions one by one, means of weeks,
and the statistics of the diagrams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ablation import JOINT, MIN_POSITIVES, SMALLEST, Ablation, Cell
from analysis.engine.effects import MIN_LABELS
from analysis.engine.paired import PairedBootstrap
from ple_model.baselines import BOOSTING_ROWS
from ple_model.boosting import fit_boosting
from ple_model.data.dataset.columns import is_wide_task
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError, did_you_mean
from ple_model.flat_inputs import field_values
from ple_model.schema import MERCHANT_SLICE_PARTS, RAW_PART
from ple_model.tasks import TASKS, TaskSpec

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput

Array = NDArray[np.float64]
Matrix = NDArray[np.float32]
ACTIVE_DAYS, SESSIONS, WEEKS = 5, 8, 12
"""Last active days, last sessions, and weeks whose means a boosting reads of the sequences."""


@dataclass(frozen=True)
class Domain:
    """The fields that only this row's experts read, and the parts of the feature columns that tell of the same."""

    fields: tuple[str, ...]
    parts: tuple[str, ...] = ()


DOMAINS: dict[str, Domain] = {
    "unified_hgcn": Domain(("hierarchy_features", "hyperbolic_features"), MERCHANT_SLICE_PARTS),
    "perslay": Domain(
        ("tda_features", "tda_global_stats", "tda_phase_transition"), ("tda_short", "tda_long", "phase_transition")
    ),
    "temporal": Domain(("txn_seq", "session_seq"), ("mamba_temporal", "lnn")),
    "lightgcn": Domain(("collaborative_features",)),
    "raw_scale": Domain((), (RAW_PART,)),
    "hmm_lifecycle": Domain(("hmm_journey", "hmm_lifecycle", "hmm_behavior"), ("hmm_summary",)),
}
COLUMNS = JOINT.join(("deepfm", "causal", "optimal_transport"))
"""Row of all other columns, with the clusters and the static features."""


def input_signal(
    dataset: Dataset,
    *,
    tasks: Sequence[str] | None = None,
    planted: frozenset[tuple[str, str]] = frozenset(),
    sample: int = BOOSTING_ROWS,
    seed: int = 0,
    bootstrap: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Extra loss of a gradient boosting on the rows outside the training split when it does not see an input, by domain and
    task. `sample`: training rows at most. `UserError` for an unknown task or a dataset without rows outside the training split.
    """
    known = [t.name for t in TASKS.values() if t.kind != "contrastive" and not is_wide_task(t.name)]
    for task in tasks or ():
        if task not in known:
            raise UserError(f"no task '{task}' that a boosting can learn{did_you_mean(task, known)}")
    batch = dataset.load("train", limit=sample, seed=seed)
    held = dataset.load(None)
    outside = np.array([s != "train" for s in held.split])
    if not outside.any():
        raise UserError(f"'{dataset.path}' has no rows outside the training split")
    train, rest = blocks(batch.inputs), {k: v[outside] for k, v in blocks(held.inputs).items()}
    if len(train) < 2:
        raise UserError(
            f"'{dataset.path}' has one kind of input only ({', '.join(train)}): there is no other to compare it with"
        )
    customers = [c for c, keep in zip(held.customer_id, outside, strict=True) if keep]
    chosen = [t for t in known if (TASKS[t].enabled if tasks is None else t in tasks)]
    cells: list[Cell] = []
    for i, task in enumerate(chosen):
        y, z = _labels(batch.inputs, task), _labels(held.inputs, task)
        if y is not None and z is not None:
            cells += _cells(TASKS[task], train, y, rest, z[outside], customers, bootstrap, seed)
        if progress is not None:
            progress(i + 1, len(chosen))
    order = {d: k for k, d in enumerate((*DOMAINS, COLUMNS))}
    cells.sort(key=lambda c: order[c.expert])
    there = {c.task for c in cells}
    marked = frozenset((_domain(e), t) for e, t in planted if t in there)
    return Ablation("gradient boosting", dataset.manifest.name, int(outside.sum()), "unseen", tuple(cells), marked)


def _domain(expert: str) -> str:
    return expert if expert in DOMAINS else COLUMNS


def blocks(inputs: PLEClusterInput) -> dict[str, Matrix]:
    """Domain -> [n, columns] of what a boosting reads of it; a missing cell is NaN where a field is absent for the row."""
    n = len(inputs.features)
    features = inputs.features.numpy()
    out: dict[str, Matrix] = {}
    taken = np.zeros(features.shape[1], dtype=bool)
    for name, domain in DOMAINS.items():
        pieces = [np.zeros((n, 0), np.float32), *(_field(inputs, f, n) for f in domain.fields)]
        for part in domain.parts:
            if part in inputs.parts:
                pieces.append(features[:, inputs.parts[part]])
                taken[inputs.parts[part]] = True
        out[name] = np.concatenate(pieces, axis=1).astype(np.float32)
    others = [_field(inputs, f, n) for f in ("cluster_probs", "coldstart_features", "anonymous_features")]
    out[COLUMNS] = np.concatenate([features[:, ~taken], *others], axis=1).astype(np.float32)
    return {name: block for name, block in out.items() if block.shape[1]}


def _field(inputs: PLEClusterInput, name: str, n: int) -> Matrix:
    if name not in ("txn_seq", "session_seq"):
        return field_values(inputs, name)
    tensor = getattr(inputs, name)
    if tensor is None:
        return np.zeros((n, 0), np.float32)
    values = _flat(tensor.numpy().astype(np.float32), SESSIONS if name == "session_seq" else ACTIVE_DAYS)
    present = inputs.presence.get(name) if inputs.presence is not None else None
    return values if present is None else np.where(present.numpy()[:, None], values, np.float32(np.nan))


def _flat(sequence: Matrix, last: int) -> Matrix:
    """[n, steps, width] -> the last `last` steps that are not empty, newest first, each with its age in steps, and the means of
    the last `WEEKS` blocks of seven steps."""
    n, steps, width = sequence.shape
    active = (sequence != 0).any(axis=2)
    place = np.where(active, np.arange(steps), -1)
    newest = -np.sort(-place, axis=1)[:, :last]
    picked = np.take_along_axis(sequence, np.maximum(newest, 0)[:, :, None], axis=1)
    picked = np.where((newest >= 0)[:, :, None], picked, np.float32(np.nan))
    age = np.where(newest >= 0, steps - newest, np.nan)
    weeks = min(WEEKS, steps // 7)
    means = sequence[:, steps - 7 * weeks :].reshape(n, weeks, 7, width).mean(axis=2)
    return np.concatenate([picked.reshape(n, -1), age, means.reshape(n, -1)], axis=1).astype(np.float32)


def _labels(inputs: PLEClusterInput, task: str) -> Array | None:
    """[n] with NaN where missing; None where the dataset does not hold the task."""
    value = (inputs.targets or {}).get(task)
    if value is None or value.dim() != 1:
        return None
    y = value.numpy().astype(np.float64)
    return y if value.is_floating_point() else np.where(y < 0, np.nan, y)


def _cells(
    spec: TaskSpec,
    train: dict[str, Matrix],
    y: Array,
    rest: dict[str, Matrix],
    z: Array,
    customers: Sequence[str],
    rounds: int,
    seed: int,
) -> list[Cell]:
    fit, test = np.isfinite(y), np.isfinite(z)
    if fit.sum() < MIN_LABELS or test.sum() < MIN_LABELS:
        return []
    if spec.kind != "regression":
        counts = np.unique(z[test], return_counts=True)[1]
        if test.sum() - counts.max() < MIN_POSITIVES:
            return []
    label = z[test]
    base = _constant_loss(spec, label)
    groups = [c for c, keep in zip(customers, test, strict=True) if keep]

    def losses(names: Sequence[str]) -> Array | None:
        predict = fit_boosting(spec, np.concatenate([train[d][fit] for d in names], axis=1), y[fit], seed)
        if predict is None:
            return None
        p = predict(np.concatenate([rest[d][test] for d in names], axis=1))
        if spec.kind == "regression":
            return np.asarray((p - label) ** 2)
        if spec.kind == "binary":
            p = np.where(label == 1, p, 1 - p)
        else:
            p = np.take_along_axis(p, label.astype(np.int64)[:, None], axis=1)[:, 0]
        return np.asarray(-np.log(np.clip(p, SMALLEST, 1)))

    whole = losses(list(train))
    if whole is None or base <= 0:
        return []
    out = []
    for name in train:
        without = losses([d for d in train if d != name])
        if without is not None:
            scale = 100 / base
            before, _, extra = PairedBootstrap.of_means(whole * scale, without * scale, groups).run(rounds, seed)
            out.append(Cell(name, spec.name, int(test.sum()), before.value, extra))
    return out


def _constant_loss(spec: TaskSpec, label: Array) -> float:
    """Mean loss of the best constant on these labels: variance, or entropy of the class shares."""
    if spec.kind == "regression":
        return float(label.var())
    share = np.unique(label, return_counts=True)[1] / len(label)
    return float(-(share * np.log(share)).sum())
