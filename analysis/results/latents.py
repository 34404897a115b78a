"""What is known of the latents of a sparse autoencoder: all of them as arrays, one of them as a page.

A latent's meaning is read from contrasts: standardised mean differences of feature columns between its top rows and the rest
(Cohen 1988), lift of clusters and segments, the experts that its decoder direction writes to, and its effect on the tasks
(Bricken et al. 2023; Templeton et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.fingerprint import Why
from analysis.i18n import phrase
from analysis.wording import statement
from ple_model.errors import UserError
from ple_model.schema import load_schema

Array = NDArray[np.float64]
DENSE = 0.1
"""Active in more than this share of rows: names no concept (Bricken et al. 2023)."""
TOP = 20
"""Top rows kept for each latent."""
RAISED = 12
MIN_ROWS = 200
"""Fewer rows than this: densities and lifts are not worth reading."""
GROUPS = (("top 1 %", 0.99, 1.0), ("90 to 99 %", 0.90, 0.99), ("half to 90 %", 0.50, 0.90), ("below half", 0.0, 0.50))
"""Quantile groups of the rows where a latent is active."""


@dataclass(frozen=True)
class FeatureDifference:
    """A feature column that differs between a latent's top rows and the rest. Means are in real units."""

    name: str
    part: str
    unit: str
    difference: float
    """Difference of means in standard deviations of the column over all rows."""
    mean_top: float
    mean_rest: float
    sentence_en: str
    sentence_ko: str


@dataclass(frozen=True)
class TopRow:
    """A customer at whom a latent is active."""

    customer_id: str
    cutoff: str
    segment: str
    cluster: int
    activation: float
    group: str = ""


@dataclass(frozen=True, eq=False)
class LatentPage:
    """One latent. Counts of `histogram` are over active rows; `effects` are changes of the shown prediction when it is
    removed."""

    latent: int
    density: float
    state: str
    """dead, rare, dense or fine."""
    mean: float
    max: float
    edges: Array
    histogram: NDArray[np.int64]
    top: tuple[TopRow, ...]
    quantile_groups: tuple[TopRow, ...]
    raised: tuple[FeatureDifference, ...]
    neighbours: tuple[tuple[int, float], ...]
    """(latent, cosine of decoder directions)."""
    together: tuple[tuple[int, float], ...]
    """(latent, lift): how much more often both are active than if they were independent."""
    experts: dict[str, float]
    """Share of the decoder direction's squared norm by expert."""
    effects: dict[str, float]
    """task -> mean contribution to the prediction on rows where it is active, first order."""
    segments: dict[str, float]
    clusters: dict[str, float]
    proposal_en: str
    """A label proposed from the raised features: a proposal, not a finding. Empty where nothing is raised."""
    proposal_ko: str


@dataclass(frozen=True, eq=False)
class Latents:
    """All latents of a run over n rows. Arrays are by latent [Z]; see `page` for one of them."""

    n: int
    tasks: tuple[str, ...]
    kinds: tuple[str, ...]
    experts: tuple[str, ...]
    segments: tuple[str, ...]
    clusters: tuple[int, ...]
    customer_id: NDArray[Any]
    cutoff: NDArray[Any]
    segment: NDArray[np.int64]
    cluster: NDArray[np.int64]
    activations: NDArray[np.float16]
    """[n, Z]"""
    density: Array
    mean: Array
    max: Array
    fve_each: Array
    """Variance explained that is lost when the latent alone is silenced."""
    expert_share: Array
    """[Z, experts]"""
    effect: Array
    """[Z, tasks] mean contribution where active, in the unit of the shown prediction."""
    effect_scale: Array
    """[tasks] spread of each task's shown prediction over the rows."""
    raised_index: NDArray[np.int64]
    """[Z, RAISED] feature columns, -1 where there is none."""
    raised_difference: Array
    raised_top: Array
    raised_rest: Array
    segment_lift: Array
    """[Z, segments]"""
    cluster_lift: Array
    neighbour: NDArray[np.int64]
    """[Z, 8]"""
    neighbour_cosine: Array
    l0: float
    fve: float
    """1 - E||x - x_hat||^2 / (E||x||^2 - ||E x||^2): the mean predictor scores 0."""
    lost: Array
    """[tasks] mean absolute change of the shown prediction when the reconstruction stands in for the representation."""
    own_columns: tuple[Sequence[str], ...] = ()
    """(name, part, unit, English, Korean) of the columns of a table of one's own; empty: the package's."""
    unlearned: tuple[str, ...] = ()
    """Tasks that had no label in training."""
    made_of: dict[str, str] = field(default_factory=dict)
    """What they depend on, as `Fingerprint.to_dict` says it."""
    why: Why = "first"
    """Why they were measured, or that they were read back (`SENTENCES` of `analysis.fingerprint`)."""

    @property
    def n_latents(self) -> int:
        return len(self.density)

    @property
    def enough(self) -> bool:
        """False: too few rows for densities and lifts."""
        return self.n >= MIN_ROWS

    @property
    def dead(self) -> int:
        return int((self.density == 0).sum())

    @cached_property
    def log_density(self) -> Array:
        """log10; NaN for a dead latent."""
        return np.log10(np.where(self.density > 0, self.density, np.nan))

    @cached_property
    def relative_effect(self) -> Array:
        """[Z, tasks] effect in spreads of the task's prediction, so that tasks of different units compare; 0 for tasks that
        never learned, of which it would be chance alone."""
        learned = np.array([t not in self.unlearned for t in self.tasks], dtype=bool)
        return np.asarray(self.effect / np.where((self.effect_scale > 0) & learned, self.effect_scale, np.inf))

    def state(self, j: int) -> str:
        d = self.density[j]
        return "dead" if d == 0 else "dense" if d > DENSE else "rare" if d * self.n < 10 else "fine"

    def table(self, *, hide_dense: bool = False, hide_dead: bool = True, language: str = "en") -> dict[str, list[Any]]:
        """Columns of the browser, densest first; `effect` is that on `top_task`, in spreads of its prediction."""
        order = np.argsort(-self.density, kind="stable")
        keep = [
            int(j) for j in order if not (hide_dense and self.density[j] > DENSE) and not (hide_dead and self.density[j] == 0)
        ]
        strongest = np.abs(self.relative_effect).argmax(1) if self.tasks else np.zeros(self.n_latents, int)
        lift = np.nan_to_num(self.cluster_lift).max(1) if self.cluster_lift.size else np.zeros(self.n_latents)
        return {
            "latent": keep,
            "state": [self.state(j) for j in keep],
            "density": self.density[keep].tolist(),
            "log_density": self.log_density[keep].tolist(),
            "mean": self.mean[keep].tolist(),
            "max": self.max[keep].tolist(),
            "fve": self.fve_each[keep].tolist(),
            "top_expert": [self.experts[int(self.expert_share[j].argmax())] for j in keep],
            "top_task": [self.tasks[int(strongest[j])] for j in keep],
            "effect": [float(self.relative_effect[j, strongest[j]]) for j in keep],
            "lift": lift[keep].tolist(),
            "proposal": [self._proposed(language)[j] for j in keep],
        }

    def _proposed(self, language: str) -> list[str]:
        """The labels of all latents, made once: a page that is drawn again shows thousands of them."""
        if language not in self._labels:
            self._labels[language] = [self.proposal(j, language) for j in range(self.n_latents)]
        return self._labels[language]

    @cached_property
    def _labels(self) -> dict[str, list[str]]:
        return {}

    @cached_property
    def _columns(self) -> list[tuple[str, str, str, str, str]]:
        """(name, part, unit, English, Korean) of each feature column."""
        if not self.own_columns:
            return [(c.name, c.part, c.unit, c.sentence_en, c.sentence_ko) for c in load_schema().columns]
        return [(name, part, unit, en, ko) for name, part, unit, en, ko in self.own_columns]

    def raised(self, j: int) -> tuple[FeatureDifference, ...]:
        """Feature columns that set the latent's top rows apart, strongest first."""
        found = []
        for k, i in enumerate(self.raised_index[j]):
            if i >= 0:
                name, part, unit, en, ko = self._columns[int(i)]
                size, top, rest = (float(a[j, k]) for a in (self.raised_difference, self.raised_top, self.raised_rest))
                found.append(FeatureDifference(name, part, unit, size, top, rest, en, ko))
        return tuple(found)

    def proposal(self, j: int, language: str = "en") -> str:
        """A label from the two strongest raised columns of different parts; empty where none stands out."""
        said: list[str] = []
        parts: set[str] = set()
        for f in self.raised(j):
            if abs(f.difference) >= 0.5 and f.part not in parts and len(said) < 2:
                parts.add(f.part)
                column = statement(f.sentence_ko if language == "ko" else f.sentence_en, language)
                said.append(phrase("latent.high" if f.difference > 0 else "latent.low", language, column=column))
        return "; ".join(said)

    def page(self, j: int) -> LatentPage:
        """One latent's page. `UserError` for a number that is none."""
        if not 0 <= j < self.n_latents:
            raise UserError(f"no latent {j}, valid: 0 to {self.n_latents - 1}")
        z = self.activations[:, j].astype(np.float64)
        active = np.flatnonzero(z > 0)
        ordered = active[np.argsort(-z[active], kind="stable")]
        counts, edges = np.histogram(z[active], bins=30, range=(0, float(z.max()) or 1.0))
        rng = np.random.default_rng(j)
        groups: list[TopRow] = []
        for name, low, high in GROUPS:
            if len(active):
                a, b = np.quantile(z[active], [low, high])
                inside = active[(z[active] >= a) & (z[active] <= b)]
                groups += [self._row(int(i), z, name) for i in rng.permutation(inside)[:5]]
        return LatentPage(
            latent=j, density=float(self.density[j]), state=self.state(j), mean=float(self.mean[j]), max=float(self.max[j]),
            edges=edges, histogram=counts, top=tuple(self._row(int(i), z) for i in ordered[:TOP]),
            quantile_groups=tuple(groups),
            raised=self.raised(j),
            neighbours=tuple((int(k), float(c)) for k, c in zip(self.neighbour[j], self.neighbour_cosine[j], strict=True)),
            together=self._together(j),
            experts=dict(zip(self.experts, self.expert_share[j].tolist(), strict=True)),
            effects=dict(zip(self.tasks, self.effect[j].tolist(), strict=True)),
            segments=dict(zip(self.segments, self.segment_lift[j].tolist(), strict=True)),
            clusters=dict(zip((str(c) for c in self.clusters), self.cluster_lift[j].tolist(), strict=True)),
            proposal_en=self.proposal(j), proposal_ko=self.proposal(j, "ko"),
        )  # fmt: skip

    def _row(self, i: int, z: Array, group: str = "") -> TopRow:
        segment = int(self.segment[i])
        name = self.segments[segment] if segment >= 0 else "unknown"
        return TopRow(str(self.customer_id[i]), str(self.cutoff[i]), name, int(self.cluster[i]), float(z[i]), group)

    def _together(self, j: int, k: int = 8) -> tuple[tuple[int, float], ...]:
        on = self.activations > 0
        mine = on[:, j]
        expected = mine.mean() * on.mean(0)
        both = (on & mine[:, None]).mean(0)
        lift = np.where((expected > 0) & (both * self.n >= 5), both / np.where(expected > 0, expected, 1), 0.0)
        lift[j] = 0.0
        return tuple((int(i), float(lift[i])) for i in np.argsort(-lift)[:k] if lift[i] > 1)
