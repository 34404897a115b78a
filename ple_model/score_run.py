"""How a run scores rows: batches -> tables -> a file, and what its reader is told of it (`ple predict`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from ple_model.data.build.steps import Progress
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.finite import Tally
from ple_model.model import PLEClusterAdaTT
from ple_model.profile import DORMANT as DORMANT_ROW
from ple_model.profile import Profile
from ple_model.run import Run, load_run
from ple_model.score_file import ScoreFile, ScoresWritten, grouped, notes_of_scores, write_scores
from ple_model.score_rows import Scorer
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.scoring import AnomalyScorer, anomaly_scorer, carried_scorer
from ple_model.tasks import EVERYONE
from ple_model.uncertainty import MIN_ROWS, quantiles_of

BATCH = 512
MIN_DORMANT = 20
"""Fewer dormant rows among those that training profiled: a model cannot know what becomes of such customers, so they get no
score (of 20 rows without an event a rate of up to 16 % would still be plausible)."""


@dataclass(frozen=True)
class ScoreRequest:
    """What is asked of a run, by path: another process opens it anew."""

    run: Path
    device: str
    top: int
    fallback_share: float
    encoder: Path | None = None
    carried: bool = False
    """An anomaly score by the encoder that the run carries."""

    def scoring(self, run: Run | None = None) -> Scoring:
        """`UserError` on an unfinished run, an encoder run that is none, or a run that carries none."""
        run = run or load_run(self.run)
        model = run.model(self.device)
        anomaly: AnomalyScorer | None = None
        if self.encoder is not None:
            anomaly = anomaly_scorer(run, load_encoder(self.encoder), self.device)
        elif self.carried:
            anomaly = carried_scorer(run, model, self.device)
        return Scoring(run, model, self.top, self.fallback_share, anomaly)


@dataclass(frozen=True)
class Scoring:
    """A run's model with all that a score needs beside it."""

    run: Run
    model: PLEClusterAdaTT
    top: int
    fallback_share: float
    anomaly: AnomalyScorer | None = None

    @cached_property
    def silent(self) -> tuple[str, ...]:
        """Tasks that had no label in training."""
        return tuple(t for t in self.model.tasks if not self.model.context.learned(t))

    @cached_property
    def _quantiles(self) -> tuple[dict[str, float], str]:
        """(uncertainty above which a row is marked by task, where that comes from in words)."""
        quantiles, origin = quantiles_of(self.run, self.model)
        known = {t: q for t, q in quantiles.items() if q.n >= MIN_ROWS and t not in self.silent}
        if not known:
            return {}, "no fallback marks: the run has no evidential heads or too few validation customers"
        share = f"{1 - self.fallback_share:.0%}"
        said = f"fallback marks: uncertainty above its {share} quantile on validation customers ({origin})"
        return {t: q.threshold(self.fallback_share) for t, q in known.items()}, said

    @cached_property
    def unseen(self) -> str:
        """Why dormant customers get no score from this run; empty where training had enough of them, or did not keep how
        many."""
        profile = Profile.load(self.run.preprocess)
        if profile is None or len(profile.segments) <= DORMANT_ROW or profile.segments[DORMANT_ROW] >= MIN_DORMANT:
            return ""
        return f"training had {int(profile.segments[DORMANT_ROW])} such rows, fewer than {MIN_DORMANT}"

    def tables(self, data: Dataset) -> Iterator[pa.Table]:
        """The scores of a dataset's rows in row groups. `UserError` at the end where an input or a score was no number."""
        tally = Tally(str(data.path))
        scorer = Scorer(
            self.model, self.run.calibration, self._quantiles[0], self.top, tally, self.unseen, self.anomaly
        )  # fmt: skip
        empty = True
        once = Dataset.open(data.path, memory_mb=0)  # nothing is read again
        for table in grouped(scorer.table(b) for b in once.batches(None, BATCH, window_rows=BATCH)):
            empty = False
            yield table
        if empty:
            raise UserError(f"{data.path} has no rows to score")
        tally.raise_if_any()

    def write(self, tables: Iterable[pa.Table], rows: int, out: Path, progress: Progress | None) -> ScoresWritten:
        """The tables as one file, which appears whole or not at all; what was counted on the way."""
        tasks = self.model.tasks
        thresholds, said = self._quantiles
        about: dict[str, Any] = {
            "run": self.run.name,
            "weights": self.run.manifest.data.fingerprint,
            "thresholds": thresholds,
            "thresholds_from": said,
            "currency": self.model.context.currency,
            "statistic": {t: self.model.shows(t) for t, s in tasks.items() if s.kind == "regression"},
        }
        conditional = (t for t, s in tasks.items() if s.condition is not EVERYONE and t not in self.silent)
        written = ScoresWritten(dict.fromkeys(thresholds, 0), dict.fromkeys(conditional, 0), dict.fromkeys(thresholds, 0))
        write_scores(tables, rows, out, about, written, progress)
        return written

    def told(self, out: Path, written: ScoresWritten, cutoffs: tuple[str, ...], notes: Iterable[str]) -> ScoreFile:
        """What a reader is told of the file; `notes` are on the data."""
        thresholds, said = self._quantiles
        mine = tuple(t for t in self.model.tasks if t not in self.silent)
        calibrated = tuple(t for t in mine if self.model.tasks[t].kind == "binary" and t in self.run.calibration)
        ranks = self.anomaly is not None and self.anomaly.ranks
        return ScoreFile(
            out, written.rows, written.customers, cutoffs, mine, thresholds, said,
            {t: n / written.scored[t] if written.scored[t] else None for t, n in written.marked.items()},
            written.scored, calibrated, written.unusual / max(1, written.rows) if ranks else None,
            (*(() if self.anomaly is None else self.anomaly.notes),
             *notes_of_scores(self.run, self.model, self.silent, written, self.unseen), *notes),
        )  # fmt: skip
