"""The what-if engine: customers encoded once, interventions decoded many times (reference, "Intervention"; performance notes).

Experts are nine tenths of a forward pass and most interventions do not touch them, so an `Engine` holds the `Encoded` of a
bounded sample and repeats only gates, basket, transfer and towers. After an edit of features the rows are read again and the
experts that read what was edited run again. It never hooks the model, so threads may share one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.columns import FeatureRows, TrainingColumns
from analysis.engine.encoded import concat_encoded, rows_alone
from analysis.engine.paired import PairedBootstrap
from analysis.fingerprint import files_mark
from analysis.kept import Kept
from analysis.opening import opened_dataset, opened_run
from analysis.results.whatif import Note, TaskEffect, WhatIfResult
from analysis.stats.effects import EffectStats, row_change, row_flips
from analysis.stats.effects import measure as measure_effects
from ple_model.calibration import CalibrationMap
from ple_model.edits import FeatureEdit, changed_keys, edit
from ple_model.errors import UserError
from ple_model.finite import Tally
from ple_model.intervention import Intervention
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded, PLEClusterOutput
from ple_model.run import Run
from ple_model.scoring import brand_ranks

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput
    from ple_model.data.dataset.reader import Dataset

CHUNK = 4096
MIN_LABELS = 50
"""Fewer labels than this give no metric."""
CHANGE_UNITS = {
    "binary": "probability",
    "multiclass": "total variation of the class probabilities",
    "regression": "unit of the label",
    "contrastive": "1 - cosine of the query",
}


@dataclass(frozen=True)
class Origin:
    """Where an engine's rows come from, to read their inputs again; they are not kept (20 kB a customer)."""

    run: Run
    dataset: Dataset
    chosen: NDArray[np.bool_]
    """[rows of the dataset] which of them the engine holds, in file order."""
    batch_size: int = 512

    def batches(self, fields: Sequence[str] | None = None) -> Iterator[tuple[list[str], PLEClusterInput]]:
        """(customers, inputs) of the chosen rows, batch by batch; `fields` limits what is decoded."""
        first = 0
        for batch in self.dataset.batches(None, self.batch_size, fields=fields):
            mine = np.flatnonzero(self.chosen[first : first + len(batch)])
            first += len(batch)
            if len(mine):
                yield [batch.customer_id[i] for i in mine], batch.inputs.rows(torch.from_numpy(mine))


@dataclass(frozen=True)
class Prediction:
    """One task's answer over the sample: `raw` as the model gives it, `shown` as pages show it, `rank` for brands."""

    raw: NDArray[np.float64]
    shown: NDArray[np.float64]
    rank: NDArray[np.float64] | None = None


class Engine:
    """Interventions on a fixed, encoded sample."""

    def __init__(
        self,
        model: PLEClusterAdaTT,
        encoded: Encoded,
        targets: Mapping[str, Tensor],
        customers: Sequence[str],
        calibration: Mapping[str, CalibrationMap],
        origin: Origin | None = None,
    ) -> None:
        self.origin = origin
        self.model, self.encoded, self.targets = model, encoded, targets
        self.customers, self.calibration = list(customers), calibration
        self.kinds = {t: s.kind for t, s in model.tasks.items()}
        self._before: dict[str, Prediction] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.encoded)

    @staticmethod
    def cached(run: Run | Path | str, *, dataset: Dataset | Path | None = None, sample: int = 10_000, seed: int = 0) -> Engine:
        """The engine of a run's sample (or of `dataset`), kept for the next question; the two most recent are kept."""

        opened = opened_run(run)
        data = opened_dataset(opened, dataset)
        key = (files_mark(opened.path), data.path, data.manifest.fingerprint, sample, seed)
        return _KEPT.get(key, lambda: Engine.build(opened, data, sample, seed))

    @staticmethod
    @torch.no_grad()
    def build(run: Run, dataset: Dataset, sample: int, seed: int, batch_size: int = 512) -> Engine:
        """Encode up to `sample` rows; rows that did not train the model are preferred."""
        model = run.model()
        table = dataset.table(["split"]).column("split").to_pylist()
        unseen = np.flatnonzero([s != "train" for s in table])
        rows = unseen if len(unseen) >= MIN_LABELS else np.arange(len(table))
        rng = np.random.default_rng(seed)
        chosen = np.zeros(len(table), dtype=bool)
        chosen[rng.choice(rows, min(sample, len(rows)), replace=False)] = True
        # a dataset of its own that holds nothing: the engine outlives the question, decoded columns would stay with it
        origin = Origin(run, type(dataset).open(dataset.path, memory_mb=0), chosen, batch_size)
        parts: list[Encoded] = []
        targets: dict[str, list[Tensor]] = {}
        customers: list[str] = []
        tally = Tally(str(dataset.path))
        for names, inputs in origin.batches():
            tally.add_inputs(inputs, names)
            parts.append(rows_alone(model.encode(inputs), slice(None)))
            customers += names
            for task, value in (inputs.targets or {}).items():
                targets.setdefault(task, []).append(value)
        tally.raise_if_any()
        joined = {t: torch.cat(v) for t, v in targets.items()}
        return Engine(model, concat_encoded(parts), joined, customers, run.calibration, origin)

    def parse(self, intervention: Intervention | str | Iterable[str]) -> Intervention:
        """An intervention with the mean blocks it may need."""
        if isinstance(intervention, Intervention):
            return replace(intervention, mean_blocks=intervention.mean_blocks or self.mean_blocks())
        items = [intervention] if isinstance(intervention, str) else list(intervention)
        return Intervention.parse(items, self.mean_blocks())

    def mean_blocks(self) -> dict[str, Tensor]:
        """expert -> mean of its block over the sample."""
        blocks = torch.split(self.encoded.shared_concat.mean(0), self.model.dims)
        return dict(zip(self.model.expert_names, blocks, strict=True))

    @torch.no_grad()
    def decode(self, intervention: Intervention | None = None) -> Iterable[PLEClusterOutput]:
        """The model's outputs over the sample, chunk by chunk."""
        change = intervention if intervention is not None else Intervention()
        encoded = self.encoded
        if change.features:
            self.model.check(change)
            encoded, change = self.edited(change.feature_edits), change.after_experts
        for start in range(0, len(self), CHUNK):
            part = encoded.rows(slice(start, start + CHUNK))
            yield self.model.decode(part, change, sae=False, evidential=False)

    @torch.no_grad()
    def edited(self, edits: Mapping[str, FeatureEdit]) -> Encoded:
        """The sample encoded with edited inputs: only the experts that read what was edited run again."""
        if self.origin is None:
            raise UserError(f"feature.{next(iter(edits))}: this engine was given no inputs to edit; build it from a run")
        changed = changed_keys(edits, self.model.context.own)
        normalizer = self.origin.dataset.normalizer()
        parts: list[Encoded] = []
        first = 0
        for _, inputs in self.origin.batches(self.model.fields_to_encode_again(changed)):
            known = self.encoded.rows(slice(first, first + len(inputs)))
            first += len(inputs)
            again = self.model.encode_again(edit(inputs, edits, normalizer, self.model.context.own), known, changed)
            parts.append(rows_alone(again, slice(None)))
        return concat_encoded(parts)

    def notes(self, edits: Mapping[str, FeatureEdit]) -> tuple[Note, ...]:
        """What to know of these edits: values outside the training range, rows that lack what is edited."""
        if self.origin is None or not edits:
            return ()
        training = TrainingColumns.cached(self.origin.run)
        rows = FeatureRows.of(inputs for _, inputs in self.origin.batches(()))
        return tuple(training.notes(edits, rows, self.origin.dataset.normalizer()))

    @torch.no_grad()
    def predict(self, intervention: Intervention | None = None) -> dict[str, Prediction]:
        """Predictions of every task under an intervention."""
        raw: dict[str, list[Tensor]] = {t: [] for t in self.kinds}
        for output in self.decode(intervention):
            for task, value in output.predictions.items():
                raw[task].append(value.float())
        return {t: self.shown(t, torch.cat(v)) for t, v in raw.items()}

    @property
    def before(self) -> dict[str, Prediction]:
        """Predictions without intervention, computed once."""
        with self._lock:
            if self._before is None:
                self._before = self.predict()
            return self._before

    def shown(self, task: str, value: Tensor) -> Prediction:
        raw = value.double().numpy()
        kind = self.kinds[task]
        if kind == "binary":
            calibration = self.calibration.get(task)
            return Prediction(raw, raw if calibration is None else np.asarray(calibration(raw)))
        if kind == "regression":
            return Prediction(raw, self.model.to_units(task, value).double().numpy())
        if kind == "contrastive":
            return Prediction(raw, raw, self._rank(task, value))
        return Prediction(raw, raw)

    def _rank(self, task: str, query: Tensor) -> NDArray[np.float64]:
        """Rank of the true brand from 1 (mid-rank at ties), inf where its score is no number; NaN without a known label."""
        rank = np.full(len(query), np.nan)
        label = self.targets.get(task)
        if label is None:
            return rank
        for start in range(0, len(query), CHUNK):
            scores = self.model.brand_logits(query[start : start + CHUNK])
            y = label[start : start + CHUNK]
            rows = torch.nonzero((y >= 0) & (y < scores.shape[1]))[:, 0]
            rank[start + rows.numpy()] = brand_ranks(scores[rows], y[rows]).numpy()
        return rank

    def threshold(self, task: str) -> float:
        """The decision threshold of a binary task: as many positives as the shown probabilities expect. NaN where no row has
        a finite prediction."""
        p = self.before[task]
        finite = np.isfinite(p.raw) & np.isfinite(p.shown)
        if not finite.any():
            return float("nan")
        share = float(np.clip(np.mean(p.shown[finite]), 0.001, 0.999))
        return float(np.quantile(p.raw[finite], 1 - share))

    def whatif(self, intervention: Intervention | str | Iterable[str], *, bootstrap: int = 200, seed: int = 0) -> WhatIfResult:
        """Before and after of one intervention for every task."""
        started = time.perf_counter()
        change = self.parse(intervention)
        after = self.predict(change)
        for task, found in after.items():
            lost = ~np.isfinite(found.raw).reshape(len(self), -1).all(1)
            if lost.any():
                raise UserError(f"{change.describe()}: the predictions of '{task}' are no numbers in {lost.mean():.2%} of rows")
        effects = tuple(self._effect(t, self.before[t], after[t], bootstrap, seed) for t in self.kinds)
        notes = self.notes(change.feature_edits)
        seconds = time.perf_counter() - started
        return WhatIfResult(change.describe(), tuple(change.to_strings()), len(self), seconds, effects, notes)

    def _effect(self, task: str, before: Prediction, after: Prediction, rounds: int, seed: int) -> TaskEffect:
        kind = self.kinds[task]
        change = row_change(kind, before.shown, after.shown)
        flips = row_flips(kind, before.raw, after.raw, self.threshold(task) if kind == "binary" else 0.5)
        plain: dict[str, Any] = {
            "task": task,
            "kind": kind,
            "n": len(self),
            "mean_change": float(change.mean()),
            "change_unit": CHANGE_UNITS[kind],
            "flips": int(flips.sum()),
        }
        if kind in ("binary", "regression") and before.shown.ndim == 1:
            plain |= {"mean_before": float(before.shown.mean()), "mean_after": float(after.shown.mean())}
        paired = self.paired(task, kind, before, after)
        if paired is None:
            return TaskEffect(**plain)
        metric, n, bootstrap = paired
        b, a, d = bootstrap.run(rounds, seed)
        return TaskEffect(**plain, n_labelled=n, metric=metric, before=b, after=a, difference=d)

    def paired(self, task: str, kind: str, before: Prediction, after: Prediction) -> tuple[str, int, PairedBootstrap] | None:
        """(metric, labels, both sides) or None with too few labels."""
        label = self.targets.get(task)
        if label is None:
            return None
        if kind == "contrastive":
            assert before.rank is not None
            assert after.rank is not None
            known = ~np.isnan(before.rank) & ~np.isnan(after.rank)
            values = ((before.rank <= 10).astype(float), (after.rank <= 10).astype(float))
            name = "recall@10"
        elif kind == "regression":
            y = label.double()
            if y.dim() > 1:
                return None
            shown = (torch.expm1(y) if self.model.tasks[task].log_scale else y).numpy()
            known = np.isfinite(shown)
            values = (np.abs(before.shown - shown), np.abs(after.shown - shown))
            name = "mae"
        else:
            y_int = label.numpy()
            known = y_int >= 0
            if kind == "binary":
                return self._auc(y_int, known, before, after)
            values = ((before.raw.argmax(1) == y_int).astype(float), (after.raw.argmax(1) == y_int).astype(float))
            name = "accuracy"
        n = int(known.sum())
        if n < MIN_LABELS:
            return None
        groups = [c for c, k in zip(self.customers, known, strict=True) if k]
        return name, n, PairedBootstrap.of_means(values[0][known], values[1][known], groups)

    def _auc(
        self, y: NDArray[Any], known: NDArray[np.bool_], before: Prediction, after: Prediction
    ) -> tuple[str, int, PairedBootstrap] | None:
        n, positives = int(known.sum()), int((y[known] == 1).sum())
        if n < MIN_LABELS or min(positives, n - positives) < 5:
            return None
        groups = [c for c, k in zip(self.customers, known, strict=True) if k]
        return "auc", n, PairedBootstrap.of_auc(y[known] == 1, before.raw[known], after.raw[known], groups)

    def standard_interventions(self) -> list[str]:
        """What the causal maps need: every expert at its mean, every edge cut, every HMM mode defaulted, the SAE stand-in."""
        m = self.model
        items = [f"ablate.{e}=mean" for e in m.expert_names] + [f"edge.{e.key}=0" for e in m.edges]
        items += [f"hmm.{mode}=default" for mode in self.encoded.hmm_projected]
        return items + (["replace_shared=true"] if m.sae is not None else [])

    def effects(self, items: Sequence[str] | None = None, tick: Callable[[int, int], None] | None = None) -> EffectStats:
        """Mean change and flips of many interventions; see `EffectStats` for the units."""
        names = list(items) if items is not None else self.standard_interventions()
        total: EffectStats | None = None
        before = {t: p.raw for t, p in self.before.items()}
        thresholds = {t: self.threshold(t) for t, k in self.kinds.items() if k == "binary"}
        rows: list[EffectStats] = []
        for i, item in enumerate(names):
            after = {t: p.raw for t, p in self.predict(self.parse(item)).items()}
            rows.append(measure_effects(self.kinds, before, {item: after}, thresholds))
            if tick is not None:
                tick(i + 1, len(names))
        if rows:
            change, flips = np.concatenate([r.change for r in rows]), np.concatenate([r.flips for r in rows])
            squared = np.concatenate([r.change_sq for r in rows if r.change_sq is not None])
            total = EffectStats(tuple(names), tuple(self.kinds), len(self), change, flips, squared)
        return total if total is not None else measure_effects(self.kinds, before, {})


_KEPT: Kept[Engine] = Kept()
