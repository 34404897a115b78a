"""How much of what everything else adds to its fitted map each task takes (`direct_path.blend: validation`), and the brand task
of what its queries say over popularity (`training.brand_blend: validation`).

The map is what a linear model says. Beside it towers and the small network help some tasks and, where rows are few, do others
harm: they learn the training rows by heart. So at the end of each epoch every task takes a share between 0 and 1 of what is
added to its map's raw output, chosen on the validation rows by the loss that it is judged by (of a binary task after
calibration), and the epoch is judged with these shares. At 0 a task is its linear model, bends included.

The rows that choose are measured on too, so that the choice is careful: of the paired difference to the map's loss the mean
plus `ERRORS` of its standard errors decides, whole customers being what is drawn, and 0 is chosen where no share has that below
zero. A share is one number of eleven for a whole task: it cannot follow single rows.

The brand task has no map. It starts from how often each brand is bought in training, the constant answer, and at 0 it is that.

Tasks that read another task's prediction are chosen for as if all took the whole, since their towers have learnt from that. One
that with the others' shares in place loses more than its map takes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.calibration import fit_calibration
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision
from ple_model.finite import bad_inputs
from ple_model.layers.precision import widen
from ple_model.losses import BrandTable, label_mask, nll, standardise
from ple_model.model import PLEClusterAdaTT
from ple_model.row_loss import amount_loss, loss_of, of_binary, of_own
from ple_model.tasks import TaskSpec
from ple_model.training.ranks import ONE, Ranks

Array = NDArray[np.float64]

SHARES = tuple(i / 10 for i in range(11))
ERRORS = 1.0
"""Standard errors that a share is held back by, as in the usual rule for a choice among models (Breiman et al. 1984)."""
PIECE = 4096
"""Rows at a time whose similarities to all brands are held."""
FEW = 20
"""Below so many labelled rows or customers nothing is chosen: the task takes the whole."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A task's labelled validation rows: raw outputs [n, out_dim] of the map alone and of the whole, labels and customers."""

    alone: Array
    whole: Array
    label: Array
    customer: NDArray[np.int64]


def choose(spec: TaskSpec, rows: Rows, delta: float = 1.0) -> float:
    """The share of `rows.whole - rows.alone` that this task takes. `delta`: width of Huber's quadratic part; labels of amounts
    are in standard deviations."""
    if _few(rows.customer):
        return 1.0
    taken = (rows.alone + share * (rows.whole - rows.alone) for share in SHARES)
    return lowest((row_losses(spec, raw, rows.label, delta) for raw in taken), rows.customer)


def _few(customer: NDArray[np.int64]) -> bool:
    return len(customer) < FEW or len(np.unique(customer)) < FEW


def lowest(losses: Iterable[Array], customer: NDArray[np.int64]) -> float:
    """The share with the lowest bound on what it loses more than none; `losses`: [n] a share, in the order of `SHARES`."""
    each = iter(losses)
    none = next(each)
    best, least = 0.0, 0.0
    for share, found in zip(SHARES[1:], each, strict=True):
        worse = found - none
        bound = float(worse.mean()) + ERRORS * standard_error(worse, customer)
        if bound < least:
            best, least = share, bound
    return best


def row_losses(spec: TaskSpec, raw: Array, label: Array, delta: float) -> Array:
    """[n] losses by which a task is judged, from raw outputs [n, out_dim]; a binary task's after calibration on these rows."""
    if spec.kind == "binary":
        p = np.asarray(torch.sigmoid(torch.from_numpy(raw[:, 0])).numpy(), dtype=np.float64)
        return of_binary(label, fit_calibration(p, label)(p))
    if spec.kind == "multiclass":
        p = torch.softmax(torch.from_numpy(raw), dim=1).numpy()
        return of_own(np.take_along_axis(p, label.astype(np.int64)[:, None], axis=1)[:, 0])
    found = amount_loss(raw - label.reshape(raw.shape), loss_of(spec), delta)
    return np.asarray(found.mean(axis=1))


def standard_error(values: Array, group: NDArray[np.int64]) -> float:
    """Of the mean of `values` [n], whole groups being drawn."""
    off = np.bincount(group, weights=values - values.mean())
    return math.sqrt(float((off**2).sum())) / len(values)


def choose_blends(
    model: PLEClusterAdaTT, dataset: Dataset, batch_size: int, precision: Precision, ranks: Ranks = ONE
) -> dict[str, float]:
    """The share of every task that chooses one, from the validation split, in eval mode (which is left on).

    Several processes compute a part of the split each; the first one chooses for all."""
    model.eval()
    model.set_blends({})
    found = _found(model, dataset, batch_size, precision, ranks)
    delta = model.config.training.huber_delta

    def chosen() -> dict[str, float]:
        customers = np.asarray(dataset.table(["customer_id"], "validation").column("customer_id")).astype(str)
        out = {}
        for task, (*values, at) in found.items():
            who = _numbers(customers[at[:, 0].astype(np.int64)])
            if len(values) == 1:
                out[task] = 1.0 if _few(who) else lowest(values[0].T, who)
            else:
                out[task] = choose(model.tasks[task], _rows(values, who), delta)
        return out

    taken = dict(ranks.first_does(chosen))
    for _ in model.levels:
        readers = [e.target for e in model.edges if taken.get(e.target, 0.0) > 0 and taken.get(e.source, 1.0) < 1]
        if not readers:
            break
        model.set_blends(taken)
        placed = _found(model, dataset, batch_size, precision, ranks)
        worse = ranks.first_does(
            lambda: [t for t in readers if _behind_map(model.tasks[t], placed[t], taken[t], delta)]  # noqa: B023
        )
        if not worse:
            break
        taken |= dict.fromkeys(worse, 0.0)
    model.set_blends({})
    return taken


def _rows(values: Sequence[Array], customer: NDArray[np.int64]) -> Rows:
    by_map, whole, label = values
    return Rows(by_map, whole, label if label.shape[1] > 1 else label[:, 0], customer)


def _behind_map(spec: TaskSpec, told: Sequence[Array], share: float, delta: float) -> bool:
    """Whether what a task says with its share loses as much as its map (brands: as popularity) or more."""
    *values, at = told
    if not len(at):
        return False
    if len(values) == 1:
        said, alone = (values[0][:, SHARES.index(one)] for one in (share, 0.0))
    else:
        rows = _rows(values, at[:, 0].astype(np.int64))
        said, alone = (row_losses(spec, raw, rows.label, delta) for raw in (rows.whole, rows.alone))
    return bool(said.mean() >= alone.mean())


def _found(
    model: PLEClusterAdaTT, dataset: Dataset, batch_size: int, precision: Precision, ranks: Ranks
) -> dict[str, list[Array]]:
    """What `_told` says, of all rows of all processes."""
    told = _told(model, dataset, batch_size, precision, ranks)
    return {task: _joined(model, task, parts, ranks) for task, parts in told.items()}


@torch.no_grad()
def _told(
    model: PLEClusterAdaTT, dataset: Dataset, batch_size: int, precision: Precision, ranks: Ranks
) -> dict[str, list[tuple[Tensor, ...]]]:
    """By task that chooses, of each batch's labelled rows: raw outputs of the map and of the whole, labels, and where in the
    split the rows stand; of brands losses by share, and where."""
    direct = model.direct if model.direct is not None and model.direct.blend is not None else None
    parts: dict[str, list[tuple[Tensor, ...]]] = {task: [] for task in model.blends()}
    for number, batch in enumerate(dataset.batches("validation", batch_size, rank=ranks.rank, world=ranks.world)):
        inputs, place = batch.inputs.to(precision.device), ranks.positions(number, batch_size, len(batch))
        with precision.autocast():
            output = model.decode(model.encode(inputs), sae=False, evidential=False)
            by_map = None if direct is None else direct.map(inputs)
        bad = [torch.zeros(inputs.rows_held, dtype=torch.bool, device=precision.device), *bad_inputs(inputs).values()]
        sound = ~torch.stack(bad).any(0)
        for task in parts:
            y = (inputs.targets or {}).get(task)
            if y is None:
                continue
            spec = model.tasks[task]
            if spec.kind == "regression":
                y = standardise(y, model.context.label_scalers.get(task))
            known = label_mask(spec, y) & torch.isfinite(y)
            known = known if known.dim() == 1 else known.all(dim=1)
            kept = sound & known & torch.isfinite(output.logits[task]).all(dim=1)
            at = place[kept.cpu()]
            if spec.kind == "contrastive":
                assert model.brands is not None
                parts[task].append((brand_losses(model.brands, output.predictions[task][kept], y[kept]), at))
            else:
                assert direct is not None
                assert by_map is not None
                parts[task].append((widen(by_map[kept, direct.slices[task]]), widen(output.logits[task][kept]), y[kept], at))
    return parts


def _joined(model: PLEClusterAdaTT, task: str, parts: list[tuple[Tensor, ...]], ranks: Ranks) -> list[Array]:
    """What `_told` says of a task, of all rows of all processes."""
    spec = model.tasks[task]
    mapped = [spec.out_dim, spec.out_dim, spec.out_dim if spec.kind == "regression" else 1, 1]
    widths = [len(SHARES), 1] if spec.kind == "contrastive" else mapped
    rows = ranks.joined(torch.cat([_on_cpu([p[i] for p in parts], width) for i, width in enumerate(widths)], dim=1))
    return [t.contiguous().numpy() for t in torch.split(rows, widths, dim=1)]


def brand_losses(brands: BrandTable, query: Tensor, label: Tensor) -> Tensor:
    """[n, shares] log losses over all brands of queries [n, 128]; labels [n] are numbers of brands."""
    parts = []
    for q, y in zip(torch.split(query, PIECE), torch.split(label, PIECE), strict=True):
        similarities = brands.similarities(q)
        parts.append(torch.stack([nll(brands.taken(similarities, share), y) for share in SHARES], dim=1))
    return torch.cat(parts) if parts else query.new_zeros(0, len(SHARES))


def _on_cpu(parts: Sequence[Tensor], columns: int) -> Tensor:
    """[n, columns] float64 of all parts."""
    return torch.cat([torch.zeros(0, columns, dtype=torch.float64), *(p.double().cpu().reshape(-1, columns) for p in parts)])


def _numbers(customers: NDArray[np.str_]) -> NDArray[np.int64]:
    """[n] the customer's number among those that occur."""
    return np.unique(customers, return_inverse=True)[1].astype(np.int64)
