"""A linear map of the columns for all tasks at once, fitted before the first training step (`direct_path.start: fitted`).

A plain effect of one column is what a linear model sees at once and what gradient steps on a map of some hundred columns find
late or not at all: one penalty for all tasks is too strong for one and too weak for another. So the map is fitted first, each
task by its own loss, log loss or that of the amount, on all training rows:

- The strength of the penalty is chosen task by task on held-out customers of the training split, as the linear baseline does;
  where no strength is better there than the constant, the task's map is empty and its offset the constant.
- All tasks go through one L-BFGS in the eigenbasis of the columns' covariance, each weight scaled by the curvature that is
  expected of it: so a few dozen products with the matrix serve a hundred outputs.
- A binary task trains with a focal loss, whose best raw output is not the log-odds. What was fitted is carried over by the line
  that comes nearest to the focal loss's own optimum of each fitted probability.

Always on the CPU in single precision: the start of a run does not depend on the device it trains on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.answer import Answer
from ple_model.bend_start import Bent, binned, fit_bends
from ple_model.losses import EPS, focal

STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Weight of |w|^2 / 2 beside the mean loss of a row, strong to weak."""
FALLBACK = 0.1
"""Where there is nobody to choose by."""
ITERATIONS = 25
LAST_ITERATIONS = 100
"""Of the fit that is kept."""
TOLERANCE, LAST_TOLERANCE = 1e-5, 1e-7
"""Change of the summed loss below which a fit has arrived."""
FEW = 20
"""With fewer held-out rows of a task than this its strength is `FALLBACK`."""
READ = 0.05
SHARES = {True: (0.35, 0.45), False: (0.75, 1.0)}
"""The share of the work that is done when the rows are read; with bends and without, when the strengths are tried and when the
map is fitted (of 24 seconds for 8,331 rows and 15 tasks)."""
FLAT = 1e-4
"""A column whose standard deviation is below this tells nothing."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class LinearStart:
    """`x @ weight.T + bias` are the raw outputs; `strengths` by task, None where its map is empty."""

    weight: Tensor
    bias: Tensor
    strengths: dict[str, float | None]
    bends: dict[str, Bent] = field(default_factory=dict)
    """By task, where bends were asked for."""


def fit_linear_start(
    x: Tensor,
    answers: Sequence[Answer],
    watch: NDArray[np.bool_],
    progress: Progress | None = None,
    bends: tuple[int, int] | None = None,
) -> LinearStart:
    """`x` [n, columns], what is no number standing at the column's mean; `watch` [n]: rows of held-out customers; `bends`: how
    many columns a task may bend, and in how many pieces."""
    tell = progress or (lambda share, what: None)
    mean, std, scaled = _standardised(x)
    width = max(a.where.stop for a in answers)
    held = torch.from_numpy(watch)
    searched, solved = SHARES[bends is not None]
    strengths, learnt = _chosen(scaled, answers, held, width, lambda done, what: tell(READ + (searched - READ) * done, what))
    told = [a for a in answers if strengths[a.task] is not None]
    weight, bias = torch.zeros(x.shape[1], width), torch.zeros(width)
    for a in answers:
        bias[a.where] = a.level()
    if told:
        tell(searched, "all training rows")
        found = _Fit(scaled, told, width).solve(
            {a.task: strengths[a.task] or 0.0 for a in told}, LAST_ITERATIONS, LAST_TOLERANCE
        )
        for a in told:
            weight[:, a.where], bias[a.where] = found[0][:, a.where], found[1][a.where]
    bent: dict[str, Bent] = {}
    if bends is not None:
        there = scaled * std + mean
        bins = binned(there)
        for i, a in enumerate(answers):
            tell(solved + (1 - solved) * i / len(answers), f"bends of {a.task}")
            w, b = learnt.get(a.task, (torch.zeros(x.shape[1], a.where.stop - a.where.start), a.level()))
            full = scaled @ weight[:, a.where] + bias[a.where]
            bent[a.task] = fit_bends(there, bins, a, held, scaled @ w + b, full, *bends)
    for a in answers:
        if a.kind == "binary":
            own = bent.get(a.task)
            z = scaled @ weight[:, a.where.start] + bias[a.where.start]
            slope, offset = focal_line(z if own is None else z + own.adds(there)[:, 0], a.alpha, a.gamma)
            weight[:, a.where] *= slope
            bias[a.where] = bias[a.where] * slope + offset
            if own is not None:
                bent[a.task] = own.times(slope)
    weight = torch.where((scaled != 0).any(dim=0)[:, None], weight / std[:, None], torch.zeros(()))  # not even rounding noise
    tell(1.0, "done")
    return LinearStart(weight.T.contiguous(), bias - mean @ weight, strengths, bent)


def _standardised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mean, standard deviation, columns in it), zero where a cell is no number or a column does not vary."""
    there = torch.isfinite(x)
    count = there.sum(dim=0).clamp_min(1)
    x = torch.where(there, x, torch.zeros_like(x))
    mean = x.sum(dim=0) / count
    x = torch.where(there, x - mean, torch.zeros_like(x))
    std = (x.square().sum(dim=0) / count).sqrt()
    varies = std > FLAT
    std = torch.where(varies, std, torch.ones_like(std))
    return mean, std, torch.where(varies, x / std, torch.zeros_like(x))


Fitted = tuple[Tensor, Tensor]
"""(weights [columns, outputs], offsets [outputs]) in standardised columns."""


def _chosen(
    x: Tensor, answers: Sequence[Answer], watch: Tensor, width: int, tell: Progress
) -> tuple[dict[str, float | None], dict[str, Fitted]]:
    """By task the strength with the lowest loss on the held-out customers, and what was fitted with it without them, where one
    is better than the constant."""
    found: dict[str, float | None] = {a.task: FALLBACK if a.learnable() else None for a in answers}
    asked = {
        a.task: (a.rows(~watch), a.rows(watch))
        for a in answers
        if a.learnable() and a.rows(~watch).learnable() and int(a.rows(watch).known.sum()) >= FEW
    }
    kept: dict[str, Fitted] = {}
    if not asked:
        return found, kept
    best: dict[str, float] = {}
    for task, (learn, held) in asked.items():
        best[task], found[task] = float(held.loss(learn.level().expand(len(held.y), -1))), None
    fit, held_x = _Fit(x[~watch], [learn for learn, _ in asked.values()], width), x[watch]
    rising: set[str] = set()
    for i, strength in enumerate(STRENGTHS):
        tell(i / len(STRENGTHS), f"penalty {strength:g}")
        weight, bias = fit.solve(dict.fromkeys(asked, strength), ITERATIONS, TOLERANCE)
        for task, (_, held) in asked.items():
            loss = float(held.loss(held_x @ weight[:, held.where] + bias[held.where]))
            if loss < best[task]:
                best[task], found[task] = loss, strength
                kept[task] = (weight[:, held.where].clone(), bias[held.where].clone())
                rising.discard(task)
            elif found[task] is not None:
                rising.add(task)
        if len(rising) == len(asked):
            break  # a loss falls, then rises: weaker penalties cost the most time and are worse still
    return found, kept


class _Fit:
    """The same rows under several strengths, each solution the start of the next."""

    def __init__(self, x: Tensor, answers: Sequence[Answer], width: int) -> None:
        self.answers = answers
        self.centre = x.mean(dim=0)
        centred = x - self.centre
        self.spread, self.basis = _eigenbasis(centred)
        self.x = centred @ self.basis
        self.curvature = torch.ones(width)
        self.weight, self.bias = torch.zeros(self.x.shape[1], width), torch.zeros(width)
        for a in answers:
            self.curvature[a.where], self.bias[a.where] = a.curvature(), a.level()

    def solve(self, strengths: dict[str, float], iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
        """(weights [columns, width], offsets [width]); columns of the output that are no answer's stay where they are."""
        strength = torch.ones(len(self.curvature))
        for a in self.answers:
            strength[a.where] = strengths[a.task]
        scale = (self.spread[:, None] * self.curvature + strength).rsqrt()
        step = self.curvature.rsqrt()
        w, b = (self.weight / scale).requires_grad_(True), (self.bias / step).requires_grad_(True)
        optimiser = torch.optim.LBFGS(
            [w, b], max_iter=iterations, history_size=10, tolerance_grad=1e-6, tolerance_change=tolerance,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Tensor:
            optimiser.zero_grad()
            weight = w * scale
            z = self.x @ weight + b * step
            loss = torch.stack([a.loss(z[:, a.where]) for a in self.answers]).sum() + 0.5 * (strength * weight.square()).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            optimiser.step(closure)  # type: ignore[no-untyped-call]
        self.weight, self.bias = (w * scale).detach(), (b * step).detach()
        weight = self.basis @ self.weight
        return weight, self.bias - self.centre @ weight


def _eigenbasis(x: Tensor) -> tuple[Tensor, Tensor]:
    """(eigenvalues of x.T x / n, their vectors as columns); with fewer rows than columns those of the rows' span alone, which
    holds every ridge solution."""
    n, columns = x.shape
    if n < columns:
        values, vectors = torch.linalg.eigh((x @ x.T).double() / n)
        kept = values > 1e-9 * values.max().clamp_min(1e-12)
        values, vectors = values[kept], vectors[:, kept]
        basis = x.T.double() @ vectors / (values * n).sqrt()
    else:
        values, basis = torch.linalg.eigh((x.T @ x).double() / n)
    return values.clamp_min(0).to(x.dtype), basis.to(x.dtype)


def focal_line(z: Tensor, alpha: float, gamma: float) -> tuple[float, float]:
    """(slope, offset) of the line from log-odds `z` [n] to the raw outputs that a focal loss likes best where these are the
    odds, by least squares over `z`; (1, offset) where they do not vary."""
    grid = torch.linspace(-15.0, 15.0, 1501, dtype=torch.float64)
    p = torch.sigmoid(grid)
    positive, negative = (focal(p, torch.full_like(p, y), alpha, gamma) for y in (1.0, 0.0))
    odds = torch.linspace(-12.0, 12.0, 241, dtype=torch.float64)
    share = torch.sigmoid(odds).clamp(EPS, 1 - EPS)[:, None]
    likes = grid[(share * positive + (1 - share) * negative).argmin(dim=1)]
    x = z.double().clamp(-12.0, 12.0).numpy()
    y = np.interp(x, odds.numpy(), likes.numpy())
    middle, spread = float(x.mean()), float(x.var())
    slope = float(((x - middle) * (y - y.mean())).mean()) / spread if spread > 1e-12 else 1.0
    return slope, float(y.mean()) - slope * middle
