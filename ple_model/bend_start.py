"""The bends of the direct path (`bends`), fitted to what its linear map leaves over, task by task, before the first step.

- Which columns: each column's rows are put into bins, and over the bins the squared sum of the loss's derivative is added up,
  each divided by the sum of its curvature: what one step in each bin would gain, as a boosting counts it for a tree of one
  column. A plain slope is in the map already, so what is left is bent.
- What they add: the pieces' weights by L-BFGS on the task's own loss with the map's raw output fixed, under a penalty whose
  strength held-out customers choose; where no strength is better there than the map alone, nothing is added.

Held-out customers are asked of a map that was fitted without them; what is kept is fitted once more to all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.answer import Answer
from ple_model.bends import NARROW, pieces

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Weight of |w|^2 / 2 on standardised pieces beside the mean loss of a row, strong to weak."""
BINS = 16
"""Of a column, when columns are compared."""
QUANTILE_ROWS = 20_000
"""Rows that cuts and bins are taken from at most."""
ITERATIONS, LAST_ITERATIONS = 40, 60
FLAT = 0.02
"""Standard deviation below which a piece that few rows reach counts as spread this far."""
FEW = 20
"""With fewer held-out rows of a task than this it has none."""


@dataclass(frozen=True, eq=False)
class Bent:
    """One task's: `columns` [bends], `cuts` [bends, pieces + 1], `weight` [outputs, bends * pieces], `offset` [outputs];
    `strength` None where nothing is added."""

    columns: Tensor
    cuts: Tensor
    weight: Tensor
    offset: Tensor
    strength: float | None

    def adds(self, x: Tensor) -> Tensor:
        """[n, outputs] of columns [n, columns]."""
        return pieces(x[:, self.columns], self.cuts) @ self.weight.T + self.offset

    def times(self, factor: float) -> Bent:
        return replace(self, weight=self.weight * factor, offset=self.offset * factor)


def fit_bends(
    x: Tensor, bins: Tensor, answer: Answer, watch: Tensor, learnt: Tensor, full: Tensor, bends: int, n_pieces: int
) -> Bent:
    """`x` [n, columns] finite and its `bins` (`binned`); `watch` [n] held-out rows; `learnt` and `full` [n, outputs]: the map's
    raw outputs, fitted without the held-out rows and with all."""
    width, known = learnt.shape[1], answer.known
    watch, learnt, full, answer = watch[known], learnt[known], full[known], answer.rows(known)
    learn, held = answer.rows(~watch), answer.rows(watch)
    if len(held.y) < FEW or not learn.learnable():
        return _none(width, bends, n_pieces)
    columns = screen(bins[:, known][:, ~watch], *gradients(learn, learnt[~watch]), bends)
    x = x[known][:, columns]
    cuts = torch.quantile(x[:QUANTILE_ROWS], torch.linspace(0, 1, n_pieces + 1), dim=0).T.contiguous()
    cuts = distinct(cuts)
    coded = pieces(x, cuts)
    mean, std = coded.mean(dim=0), coded.std(dim=0).clamp_min(FLAT)
    coded = (coded - mean) / std
    lowest, strength = float(held.loss(learnt[watch])), None
    weight, offset = torch.zeros(coded.shape[1], width), torch.zeros(width)
    for candidate in STRENGTHS:
        weight, offset = _solve(coded[~watch], learn, learnt[~watch], candidate, (weight, offset), ITERATIONS)
        loss = float(held.loss(learnt[watch] + coded[watch] @ weight + offset))
        if loss >= lowest:
            break  # a loss falls, then rises
        lowest, strength = loss, candidate
    weight, offset = torch.zeros_like(weight), torch.zeros_like(offset)
    if strength is not None:
        weight, offset = _solve(coded, answer, full, strength, (weight, offset), LAST_ITERATIONS)
    weight = weight / std[:, None]
    return Bent(columns, cuts, weight.T.contiguous(), offset - mean @ weight, strength)


def _none(width: int, bends: int, n_pieces: int) -> Bent:
    cuts = torch.zeros(bends, n_pieces + 1)
    return Bent(torch.zeros(bends, dtype=torch.long), cuts, torch.zeros(width, bends * n_pieces), torch.zeros(width), None)


def distinct(cuts: Tensor) -> Tensor:
    """Each row's distinct values, the last repeated: pieces without width come last and say nothing."""
    out = torch.empty_like(cuts)
    for row, kept in zip(cuts, out, strict=True):
        values = [float(row[0])]
        for v in row[1:].tolist():
            if v - values[-1] > NARROW:
                values.append(v)
        kept[: len(values)] = torch.tensor(values)
        kept[len(values) :] = values[-1]
    return out


def gradients(answer: Answer, z: Tensor) -> tuple[Tensor, Tensor]:
    """([n, outputs] derivative of each row's loss by the raw output, its curvature)."""
    y = answer.y
    if answer.kind == "binary":
        p = torch.sigmoid(z)
        return p - y[:, None], p * (1 - p)
    if answer.kind == "multiclass":
        p = torch.softmax(z, dim=1)
        return p - F.one_hot(y.long(), z.shape[1]).to(p.dtype), p * (1 - p)
    off = z - y.reshape(z.shape)
    if answer.kind == "mse":
        return 2 * off, torch.full_like(off, 2.0)
    return off.clamp(-answer.delta, answer.delta), torch.ones_like(off)


def binned(x: Tensor) -> Tensor:
    """[columns, n] uint8: the bin of each cell of `x` [n, columns], with about as many rows in each as values allow."""
    levels = torch.linspace(0, 1, BINS + 1)[1:-1]
    out = torch.empty(x.shape[1], len(x), dtype=torch.uint8)
    for j, column in enumerate(x.T):
        values = column.contiguous()
        edges = torch.quantile(values[:QUANTILE_ROWS], levels).unique()  # type: ignore[no-untyped-call]
        out[j] = torch.bucketize(values, edges).to(torch.uint8)
    return out


def screen(bins: Tensor, gradient: Tensor, curvature: Tensor, bends: int) -> Tensor:
    """[bends] the columns of `bins` [columns, n] that gain most, the best first."""
    both = torch.cat([gradient, curvature], dim=1)
    k = gradient.shape[1]
    gains = torch.zeros(len(bins))
    for j, mine in enumerate(bins):
        total = torch.zeros(BINS, 2 * k).index_add_(0, mine.int(), both)
        gains[j] = (total[:, :k].square() / (total[:, k:] + 1)).sum()
    return torch.argsort(gains, descending=True, stable=True)[:bends]


def _solve(
    coded: Tensor, answer: Answer, base: Tensor, strength: float, start: Sequence[Tensor], iterations: int
) -> tuple[Tensor, Tensor]:
    """(weights [pieces, outputs], offsets [outputs]) beside the fixed raw outputs `base`."""
    w, b = (s.clone().requires_grad_(True) for s in start)
    optimiser = torch.optim.LBFGS(
        [w, b], max_iter=iterations, history_size=10, tolerance_grad=1e-6, tolerance_change=1e-6, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = answer.loss(base + coded @ w + b) + 0.5 * strength * w.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return w.detach(), b.detach()
