"""One pass of a model over a dataset: statistics, the scalars of every row, a bounded sample of vectors; no hooks.

Memory does not grow with the number of customers: each batch is folded into mergeable statistics and written to Parquet, and
only the sample's vectors (at most 20,000 rows) and the what-if sample (at most 2,000) are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from scipy.stats import t as student_t
from torch import Tensor

from analysis import consistency
from analysis.engine.effects import Engine, concat_encoded, rows_alone
from analysis.facts import facts_of
from analysis.fingerprint import Fingerprint, Why, fingerprint
from analysis.judging import Judge
from analysis.labels import ReadRows, label_stats
from analysis.opening import opened_dataset, opened_run
from analysis.performance import rows_performance
from analysis.probing import ProbedRows, probe, wanting
from analysis.quality import distinct_customers, row_quality, rows_twice, with_customers
from analysis.reference import rescale, training_profile
from analysis.refound import found_at_training, in_doubt, refound
from analysis.results.progress import Progress
from analysis.skill import rows_skill
from analysis.stats import drift, evidence, expert, finite, gate, hmm, sae, training, transfer
from analysis.stats.base import entropy
from analysis.stats.consistency import ConsistencyStats, OtherUnit
from analysis.stats.inputs import InputStats
from analysis.stats.inputs import measure as measure_inputs
from analysis.stats.labels import TaskLabels
from analysis.stats.probes import TaskProbe
from analysis.stats.run import Statistics
from analysis.stats.skill import TaskSkill, best_split
from analysis.stats.written import Written
from analysis.store import NOBODY, VECTOR_ROWS, AnalysisStore, StoreWriter, stored, write_statistics
from analysis.units import other_units
from analysis.written import Said, written
from ple_model import label_profile
from ple_model.batch import PLEClusterInput
from ple_model.consistency import Consistency
from ple_model.data.dataset.columns import infinite, known_numbers
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Batch, Dataset
from ple_model.errors import UserError
from ple_model.fields import OPTIONAL_FIELDS, SEGMENTS
from ple_model.finite import bad_inputs, bad_labels, bad_rows
from ple_model.input_columns import activity, beside, thirds
from ple_model.model import PLEClusterAdaTT
from ple_model.output import Encoded, PLEClusterOutput
from ple_model.own_rows import ROWS, OwnRows, columns_of, compare
from ple_model.presence import Absence, fallback_column, is_part, part_key
from ple_model.profile import Profile, rows_of
from ple_model.run import Run
from ple_model.safe_arrays import write_npz
from ple_model.scoring import brand_ranks, labelled

BATCH = 512
ROW_GROUP = 16_384
"""Rows of a Parquet row group: small ones make every query slow."""
EFFECT_ROWS = 2_000
DIAGRAMS = {"tda_short_diagrams": "tda_short_mask", "tda_long_diagrams": "tda_long_mask"}


def record(
    run: Run | Path | str,
    dataset: Dataset | Path | str | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    force: bool = False,
    tell: Callable[[Why], None] = lambda why: None,
) -> AnalysisStore:
    """Measure and store, or return what is stored already under the same fingerprint; `tell` hears at once which, and why."""
    opened = opened_run(run)
    data = opened_dataset(opened, dataset)
    if data.manifest.rows == 0:
        raise UserError(f"{data.path} has no rows")
    made_of = fingerprint(opened, data, sample, seed)
    if not force:
        try:
            found = AnalysisStore(opened.path / "analysis" / made_of.name)
        except UserError:
            pass
        else:
            tell("reused")
            return found
    tell("forced" if force else made_of.why(_older(opened.path, data)))
    writer = StoreWriter(opened.path, made_of.name)
    try:
        return Recorder(opened, data, sample, seed, progress).run(writer, made_of, replace=force)
    finally:
        writer.discard()


def _older(run: Path, data: Dataset) -> list[dict[str, str]]:
    """What the stored analyses of the same data were made of."""
    same = (s for s in stored(run) if (s.meta.get("data") or {}).get("fingerprint") == data.manifest.fingerprint)
    return [s.made_of for s in same]


@dataclass
class _Kept:
    """What is carried from batch to batch beside the statistics."""

    statistics: Statistics | None = None
    vectors: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    encoded: list[Encoded] = field(default_factory=list)
    targets: dict[str, list[Tensor]] = field(default_factory=dict)
    customers: list[str] = field(default_factory=list)
    effect_split: list[str] = field(default_factory=list)
    effect_row: list[NDArray[np.int64]] = field(default_factory=list)
    columns: list[tuple[str, str]] = field(default_factory=list)
    drawn: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    """what the model reads of the rows on which training rows are held against others"""
    thirds: list[tuple[str, str]] = field(default_factory=list)
    blocks: list[NDArray[np.float32]] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    events: dict[tuple[str, str], tuple[int, NDArray[np.float64]]] = field(default_factory=dict)
    """(sequence, cut-off) -> rows that have it, and those of them with an event in each step"""
    split: list[str] = field(default_factory=list)
    cutoff: list[str] = field(default_factory=list)
    said: Said | None = None
    """the first rows of the run's own sample, and what the model says of them"""

    def read(self) -> ReadRows | None:
        return ReadRows(np.concatenate(self.drawn), self.columns, np.concatenate(self.values)) if self.values else None

    def own_rows(self) -> OwnRows | None:
        return compare(np.concatenate(self.values), self.columns, self.split, self.cutoff) if self.values else None


class Recorder:
    """The pass. Order of rows is the dataset's file order."""

    judging: type[Judge] = Judge

    def __init__(self, run: Run, data: Dataset, sample: int | None, seed: int, progress: Progress | None) -> None:
        self.run_folder, self.data, self.seed = run, data, seed
        self.progress: Progress = progress if progress is not None else (lambda share, what: None)
        self.model = run.model(finite=False)  # what is broken is to be said, not refused
        self.facts = facts_of(run, self.model, data)
        self.calibration = {} if "calibration" in self.facts.nonfinite_values else run.calibration
        self.judge = self.judging(run, self.model, data, self.calibration)
        self.profile = training_profile(run)
        self.rescale = rescale(run, data)
        total = data.manifest.rows
        rng = np.random.default_rng(seed)
        self.chosen = np.ones(total, dtype=bool)
        if sample is not None and sample < total:
            self.chosen[:] = False
            self.chosen[rng.choice(total, sample, replace=False)] = True
        index = np.flatnonzero(self.chosen)
        self.total = len(index)
        vector_rows = rng.permutation(index)[:VECTOR_ROWS]
        self.in_vectors = np.zeros(total, dtype=bool)
        self.in_vectors[vector_rows] = True
        self.in_effects = np.zeros(total, dtype=bool)
        self.in_effects[vector_rows[:EFFECT_ROWS]] = True
        self.compared = np.zeros(total, dtype=bool)
        self.compared[vector_rows[:ROWS]] = True
        self.names = [c.name for c in data.schema.columns]
        # labels of rows that trained the model flatter it: judge on what it has not seen, where there is any
        splits = data.manifest.splits
        self.judged = next((s for s in ("test", "validation") if splits.get(s, 0) >= 1), "train")

    @torch.no_grad()
    def run(self, writer: StoreWriter, made_of: Fingerprint, *, replace: bool) -> AnalysisStore:
        """The whole pass, then the interventions on the bounded sample; publishes the folder."""
        kept = _Kept()
        raw = _Raw(self.data)
        parquet: pq.ParquetWriter | None = None
        waiting: list[pa.Table] = []
        done = 0
        try:
            for rows, batch in self._batches():
                output = self.model(batch.inputs)
                part = self._measure(batch, output)
                kept.statistics = part if kept.statistics is None else kept.statistics + part
                columns = self._columns(rows, batch, output)
                raw.add(columns, rows, batch.customer_id)
                waiting.append(pa.table(columns))
                if parquet is None:
                    parquet = _parquet(writer.folder / "rows.parquet", waiting[0].schema)
                if sum(len(t) for t in waiting) >= ROW_GROUP:
                    parquet.write_table(pa.concat_tables(waiting))
                    waiting.clear()
                self._keep(kept, rows, batch, output)
                if done == 0 and rows[-1] == len(rows) - 1 and self._own:
                    kept.said = Said(batch.inputs, output)
                done += len(batch)
                self.progress(0.85 * done / self.total, f"{done} of {self.total} customers")
            if parquet is not None and waiting:
                parquet.write_table(pa.concat_tables(waiting))
        finally:
            if parquet is not None:
                parquet.close()
        if kept.statistics is None:
            raise UserError(f"{self.data.path} has no rows to measure")
        statistics = self._finish(kept, writer.folder, raw.infinite)
        write_statistics(writer.folder, statistics)
        vectors = {k: np.concatenate(v) for k, v in kept.vectors.items()}
        write_npz(writer.folder / "vectors.npz", vectors, packed=True)
        extra = {
            "data": {"name": self.data.manifest.name, "fingerprint": self.data.manifest.fingerprint},
            "seed": self.seed,
            "made_of": made_of.to_dict(),
            "judged_split": self.judged,
            "own_sample": self._own,
        }
        store = writer.publish(statistics.n, extra, replace=replace)
        self.progress(1.0, "done")
        return store

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """(row numbers in the dataset, batch of the chosen rows)."""
        first = 0
        for batch in self.data.batches(None, BATCH, window_rows=BATCH):  # in file order: nothing to shuffle in a window
            rows = first + np.flatnonzero(self.chosen[first : first + len(batch)])
            local = rows - first
            first += len(batch)
            if not len(rows):
                continue
            if len(rows) < len(batch):
                batch = Batch(
                    batch.inputs.rows(torch.from_numpy(local)), [batch.customer_id[i] for i in local],
                    [batch.cutoff[i] for i in local], [batch.split[i] for i in local],
                )  # fmt: skip
            yield rows, batch

    # --- statistics of a batch

    def _measure(self, batch: Batch, output: PLEClusterOutput) -> Statistics:
        encoded, model = output.encoded, self.model
        n = len(batch)
        outputs = {k: _np(v) for k, v in encoded.expert_outputs.items()}
        present = {k: _np(v) for k, v in encoded.expert_present.items()}
        filled = np.stack(list(present.values()), 1) | mixed_rows(batch.inputs)[:, None]
        default = {k: _np(v) for k, v in encoded.hmm_default.items()}
        embedding = {m: _np(model.hmm.hmm_default_embeddings[m]) for m in encoded.hmm_projected}
        added, own = {k: _np(v) for k, v in output.transfer.items()}, {k: _np(v) for k, v in output.task_expert.items()}
        added = {k: v for k, v in added.items() if k in self.facts.edges}
        whole, unseen = self._drift(batch)
        return Statistics(
            facts=self.facts,
            n=n,
            inputs=inputs_of(batch.inputs, self.facts.tasks),
            experts=expert.measure(outputs, present),
            gates=gate.measure(model.task_names, model.expert_names, _np(output.gate_weights), filled),
            hmm=hmm.measure({k: _np(v) for k, v in encoded.hmm_projected.items()}, default, embedding),
            transfer=transfer.measure(added, own, n) if added else None,
            sae=None if output.sae is None else sae.measure(
                _np(output.sae.latent), _np(output.sae.x_standardised), _np(output.sae.reconstruction)
            ),
            evidence={t: self._evidence(t, batch, output) for t in output.evidential},
            drift=whole,
            unseen=unseen,
            finite=finite_of(model, batch.inputs, output),
        )  # fmt: skip

    def _drift(self, batch: Batch) -> tuple[drift.DriftStats | None, drift.DriftGroups | None]:
        """Counts on the training bins, in the run's own scale: of all rows, and by split and cut-off."""
        if self.profile is None:
            return None, None
        rows = rows_of(batch.inputs)
        if self.rescale is not None:
            rows = replace(rows, features=self.rescale(rows.features))
        return drift.grouped(rows, self.profile.edges, batch.split, batch.cutoff)

    def _evidence(self, task: str, batch: Batch, output: PLEClusterOutput) -> evidence.TaskEvidence:
        head, kind = output.evidential[task], self.facts.kinds[task]
        strength = _np(head.strength) - (0 if kind == "regression" else head.alpha.shape[-1])
        uncertainty = _np(head.uncertainty)
        if uncertainty.ndim > 1:
            uncertainty, strength = uncertainty.mean(1), strength.mean(1)
        label = (batch.inputs.targets or {}).get(task)
        there = _np(batch.inputs.defined(task))
        if kind == "regression" or label is None:
            return evidence.measure(kind, uncertainty[there], strength[there])
        y = np.where(np.array(batch.split) == self.judged, _np(label), -1)
        p = _np(output.predictions[task])
        if kind == "binary" and task in self.calibration:
            p = np.asarray(self.calibration[task](p))
        return evidence.measure(kind, uncertainty[there], strength[there], p[there], y[there])

    # --- scalars of a batch

    def _columns(self, rows: NDArray[np.int64], batch: Batch, output: PLEClusterOutput) -> dict[str, Any]:
        encoded, inputs = output.encoded, batch.inputs
        segment = inputs.customer_segment
        named = ["unknown"] * len(batch) if segment is None else [SEGMENTS[int(i)] for i in segment]
        columns: dict[str, Any] = {
            "row": rows, "customer_id": batch.customer_id, "cutoff": batch.cutoff, "split": batch.split, "segment": named,
            "cluster": _np(inputs.cluster_ids).astype(np.int32), "aux": mixed_rows(inputs),
        }  # fmt: skip
        for name, value in encoded.expert_outputs.items():
            columns[f"n:{name}"] = _f32(value.norm(dim=1))
            columns[fallback_column(name)] = ~_np(encoded.expert_present[name])
        weights = output.gate_weights.float().numpy()
        spread = entropy(weights).astype(np.float32)
        for i, task in enumerate(self.model.task_names):
            for j, name in enumerate(self.model.expert_names):
                columns[f"g:{task}:{name}"] = np.ascontiguousarray(weights[:, i, j])
            columns[f"h:{task}"] = np.ascontiguousarray(spread[:, i])
            known = np.isfinite(weights[:, i]).all(1)
            columns[f"k:{task}"] = np.where(known, weights[:, i].argmax(1), NOBODY).astype(np.uint8)
            columns[f"m:{task}"] = weights[:, i].max(1)
        for task in self.model.task_names:
            columns |= self._task_columns(task, inputs, output)
            columns |= self.judge.columns(task, rows, inputs.targets or {}, output.predictions[task].float())
        for mode, flag in encoded.hmm_default.items():
            columns[f"d:{mode}"] = _np(flag)
        added = {k: _np(v) for k, v in output.transfer.items()}
        own = {k: _np(v) for k, v in output.task_expert.items()}
        for edge, share in transfer.row_ratios(added, own).items():
            columns[f"t:{edge}"] = share.astype(np.float32)
        if output.sae is not None:
            columns["l0"] = _np((output.sae.latent > 0).sum(1)).astype(np.int32)
        return {k: _known(v) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in columns.items()}

    def _task_columns(self, task: str, inputs: PLEClusterInput, output: PLEClusterOutput) -> dict[str, Any]:
        spec = self.model.tasks[task]
        value = output.predictions[task].float()
        label = (inputs.targets or {}).get(task)
        columns: dict[str, Any] = {}
        if spec.kind == "binary":
            calibration = self.calibration.get(task)
            shown_p = _f32(value) if calibration is None else np.asarray(calibration(_np(value)))
            columns[f"p:{task}"] = shown_p.astype(np.float32)
        elif spec.kind == "regression":
            shown = self.model.to_units(task, value)
            columns[f"p:{task}"] = _f32(shown if shown.dim() == 1 else shown.mean(1))
        else:
            scores = torch.softmax(self.model.brand_logits(value), 1) if spec.kind == "contrastive" else value
            top = scores.max(dim=1)
            known = _np(torch.isfinite(scores).all(dim=1))  # argmax of a NaN row would name a class, and perhaps the right one
            columns[f"p:{task}"] = np.where(known, _f32(top.values), np.float32(np.nan))
            columns[f"c:{task}"] = np.where(known, _np(top.indices), -1).astype(np.int32)
        if task in output.evidential:
            head = output.evidential[task]
            u, e = head.uncertainty, head.strength
            columns[f"u:{task}"], columns[f"e:{task}"] = (
                _f32(u if u.dim() == 1 else u.mean(1)),
                _f32(e if e.dim() == 1 else e.mean(1)),
            )
            columns |= self._head_columns(task, label, output)
        judged = {} if label is None else self._judged(task, label, value)
        defined = _np(inputs.defined(task))
        if not defined.all():  # what the tower says of a row that the task is not defined for is no prediction
            empty = pa.array(defined)
            columns = {k: pc.if_else(empty, _arrow(v), pa.scalar(None, _arrow(v).type)) for k, v in columns.items()}
        if label is not None:
            if spec.kind == "regression":
                y = torch.expm1(label.float()) if spec.log_scale else label.float()
                columns[f"y:{task}"] = pa.array(_np(y if y.dim() == 1 else y.mean(1)).astype(np.float32), from_pandas=True)
            else:
                y_int = _np(label).astype(np.int32)
                columns[f"y:{task}"] = pa.array(y_int, mask=y_int < 0)
        return columns | judged

    def _judged(self, task: str, label: Tensor, value: Tensor) -> dict[str, Any]:
        """What metrics need beside p:, c: and y:. z:<task> predicted logarithm; z:<task>:<k> and l:<task>:<k> prediction and
        label of each of several outputs; o:<task> probability of the label's class; r:<task> its rank from 1, or that of the
        label's brand: infinite where its score is no number, NULL for a brand that the model does not know."""
        spec = self.model.tasks[task]
        if spec.kind == "regression":
            told = self.model.to_label(task, value)
            if told.dim() == 1:
                return {f"z:{task}": _f32(told)} if spec.log_scale else {}
            pairs = [(f"z:{task}:{k}", told[:, k]) for k in range(told.shape[1])]
            pairs += [(f"l:{task}:{k}", label[:, k]) for k in range(told.shape[1])]
            return {name: _f32(column) for name, column in pairs}
        if spec.kind == "binary":
            return {}
        there = labelled(label)
        if spec.kind == "contrastive":
            scores = self.model.brand_logits(value)
            there &= label < scores.shape[1]
            rank = torch.full(label.shape, torch.inf)
            rank[there] = brand_ranks(scores[there], label[there]).to(rank.dtype)
            return {f"r:{task}": pa.array(_f32(rank), mask=~_np(there))}
        own = value.gather(1, label.clamp(0, value.shape[1] - 1)[:, None])
        above = (value > own).sum(dim=1) + 1
        mask = ~_np(there & torch.isfinite(value).all(dim=1))
        return {f"o:{task}": pa.array(_f32(own[:, 0]), mask=mask), f"r:{task}": pa.array(_f32(above), mask=mask)}

    def _head_columns(self, task: str, label: Tensor | None, output: PLEClusterOutput) -> dict[str, Any]:
        """a:<task> aleatoric uncertainty; q:<task> predictive distribution at the label (regression); s:<task>:<class>
        probabilities of a three-class task, for the simplex."""
        spec, head = self.model.tasks[task], output.evidential[task]
        a = head.aleatoric
        columns: dict[str, Any] = {f"a:{task}": _f32(a if a.dim() == 1 else a.mean(1))}
        if spec.kind == "multiclass" and spec.out_dim == 3:
            names = self.model.context.class_names.get(task, spec.classes)
            for i in range(3):
                name = names[i] if i < len(names) else f"class {i}"
                columns[f"s:{task}:{name}"] = _f32(output.predictions[task][:, i])
        if head.kind == "nig" and label is not None and label.dim() == 1:
            assert head.gamma is not None
            assert head.nu is not None
            assert head.beta is not None
            scaler = self.model.context.label_scalers.get(task)
            y = _np(label.double() if scaler is None else (label.double() - scaler.mean) / scaler.std)
            gamma, nu, alpha, beta = (_np(t.double()) for t in (head.gamma, head.nu, head.alpha, head.beta))
            spread = np.sqrt(beta * (1 + nu) / (nu * alpha))  # the NIG's predictive is a Student-t of 2 alpha degrees
            level = student_t.cdf((y - gamma) / spread, 2 * alpha)
            columns[f"q:{task}"] = pa.array(np.asarray(level, dtype=np.float32), from_pandas=True)
        return columns

    # --- the bounded samples

    def _keep(self, kept: _Kept, rows: NDArray[np.int64], batch: Batch, output: PLEClusterOutput) -> None:
        whole = finite_rows(output)
        local = np.flatnonzero(self.in_vectors[rows] & whole)
        if len(local):
            outputs = torch.cat(list(output.encoded.expert_outputs.values()), dim=1)
            vectors: dict[str, NDArray[Any]] = {"row": rows[local], "experts": _f16(outputs[local])}
            vectors |= {f"hmm:{m}": _f16(v[local]) for m, v in output.encoded.hmm_projected.items()}
            for name, value in vectors.items():
                kept.vectors.setdefault(name, []).append(value)
        chosen = np.flatnonzero(self.in_effects[rows] & whole)
        if len(chosen):
            index = torch.from_numpy(chosen)
            kept.encoded.append(rows_alone(output.encoded, index))
            kept.customers += [batch.customer_id[i] for i in chosen]
            kept.effect_split += [batch.split[i] for i in chosen]
            kept.effect_row.append(rows[chosen])
            for task, label in (batch.inputs.targets or {}).items():
                kept.targets.setdefault(task, []).append(label[index])
        drawn = np.flatnonzero(self.compared[rows])
        if len(drawn):
            kept.columns, values = columns_of(batch.inputs.rows(torch.from_numpy(drawn)), self.names)
            kept.values.append(values)
            kept.drawn.append(rows[drawn])
            kept.thirds, block = thirds(batch.inputs.rows(torch.from_numpy(drawn)))
            kept.blocks.append(block)
            for date in {batch.cutoff[i] for i in drawn}:
                mine = torch.tensor([i for i in drawn if batch.cutoff[i] == date])
                for key, steps in activity(batch.inputs.rows(mine)).items():
                    n, count = kept.events.get((key, date), (0, np.zeros(steps.shape[1])))
                    kept.events[key, date] = n + len(steps), count + steps.sum(0)
            kept.people += [batch.customer_id[i] for i in drawn]
            kept.split += [batch.split[i] for i in drawn]
            kept.cutoff += [batch.cutoff[i] for i in drawn]

    def _finish(self, kept: _Kept, folder: Path, infinite: Mapping[str, float]) -> Statistics:
        assert kept.statistics is not None
        lost = kept.statistics.finite
        targets = {t: torch.cat(v) for t, v in kept.targets.items()}
        effects, dose = None, {}
        if kept.encoded:
            engine = Engine(self.model, concat_encoded(kept.encoded), targets, kept.customers, self.calibration)
            effects = engine.effects(tick=lambda i, n: self.progress(0.85 + 0.12 * i / n, f"intervention {i} of {n}"))
            dose = engine.dose_response()
        trained_as = training.measure(self.run_folder.progress(steps=False))
        rows = folder / "rows.parquet"
        skill = self._skill(rows)
        moved, unseen = kept.statistics.drift, kept.statistics.unseen
        return replace(
            kept.statistics,
            finite=None if lost is None else replace(lost, inputs={**lost.inputs, **infinite}),
            drift=None if moved is None else replace(moved, customers=distinct_customers(rows, moved.n)),
            unseen=None if unseen is None else with_customers(unseen, rows),
            effects=effects,
            dose=dose,
            quality=row_quality(rows, self.facts, self.judged),
            performance=rows_performance(rows, self.facts),
            skill=skill,
            probes=self._probes(kept, targets, skill),
            training=trained_as,
            reference=self._reference(kept.statistics.inputs),
            trained=None if self.profile is None else drift.of_profile(self.profile),
            own_rows=kept.own_rows(),
            consistency=self._consistency(kept, rows),
            written=self._written(kept.said),
            labels=self._labels(rows, kept.read(), skill, trained_as),
        )

    def _skill(self, rows: Path) -> dict[str, dict[str, TaskSkill]]:
        return rows_skill(rows, self.judge.yardsticks, self.judge.trained_on)

    def _written(self, said: Said | None) -> Written | None:
        return written(self.run_folder, self.model, said)

    @property
    def _own(self) -> bool:
        """Whether the rows are the run's own sample."""
        return self.data.path == self.run_folder.path / "sample"

    def _probes(self, kept: _Kept, targets: dict[str, Tensor], skill: dict[str, dict[str, TaskSkill]]) -> dict[str, TaskProbe]:
        """Along the way of the tasks that need it."""
        read = kept.read()
        if not kept.encoded or read is None:
            return {}
        rows = ProbedRows(
            concat_encoded(kept.encoded), targets, kept.customers, kept.effect_split, np.concatenate(kept.effect_row)
        )
        return probe(self.model, rows, read, self.calibration, wanting(skill))

    def _labels(
        self, rows: Path, read: ReadRows | None, skill: dict[str, dict[str, TaskSkill]], trained_as: training.TrainingStats
    ) -> dict[str, TaskLabels]:
        """What the labels are, and where the model finds nothing in them, whether anybody would."""
        profile = label_profile.load(self.run_folder.preprocess)
        labels = label_stats(rows, self.facts, read, profile, self._amounts(), self._class_names())
        found = found_at_training(trained_as)
        doubted = in_doubt(best_split(skill), found, labels)
        if read is None or not doubted:
            return labels
        again = refound(rows, read, self.model.tasks, doubted, found, profile or {})
        return {k: replace(v, refound=again.get(k)) for k, v in labels.items()}

    def _amounts(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of the training labels of each amount, on the label's own scale."""
        return {task: (scaler.mean, scaler.std) for task, scaler in self.model.context.label_scalers.items()}

    def _class_names(self) -> dict[str, Sequence[str]]:
        """Of the tasks whose classes have names."""
        names = {task: self.model.context.class_names.get(task, spec.classes) for task, spec in self.model.tasks.items()}
        return {task: found for task, found in names.items() if found}

    def _consistency(self, kept: _Kept, rows: Path) -> ConsistencyStats | None:
        """Of the rows on which training rows are held against others, features in the run's own scale."""
        if not kept.values or kept.statistics is None:
            return None
        columns, values = beside(kept.columns, np.concatenate(kept.values), kept.thirds, np.concatenate(kept.blocks))
        features = [j for j, (key, _) in enumerate(columns) if is_part(key)]
        if self.rescale is not None and len(features) == len(self.names):
            values[:, features] = self.rescale(values[:, features])
        try:
            reference = Consistency.load(self.run_folder.preprocess)
        except UserError as e:
            return ConsistencyStats(reason=f"consistency.npz cannot be read: {e.args[0].split('/')[-1]}.")
        found = consistency.measure(reference, columns, values, kept.people, kept.cutoff)
        found = replace(found, silent=consistency.silences(kept.events, {} if reference is None else reference.active))
        if self.profile is not None and len(features) == len(self.names) == len(self.profile.edges):
            found = replace(found, units=self._units(values[:, features], self.profile))
        twice, example, across, splits = rows_twice(rows)
        return replace(
            found, twice=twice, example=example, across=across, splits=splits, measured=kept.statistics.n
        )  # fmt: skip

    def _units(self, values: NDArray[np.float32], profile: Profile) -> tuple[OtherUnit, ...]:
        """Feature columns that are those of training times a number."""
        try:
            own = Normalizer.load(self.run_folder.preprocess)
        except UserError:
            return ()
        return other_units(values, self.names, self.facts.parts, profile, own.inverse)

    def _reference(self, own: InputStats | None) -> InputStats | None:
        """Input moments of the run's own sample: what training looked like."""
        if self._own:
            return own
        try:
            sample = self.run_folder.sample()
        except UserError:
            return None
        total: InputStats | None = None
        for batch in sample.batches(None, 2048, fields=["features"]):
            part = inputs_of(batch.inputs, self.facts.tasks, only_features=True)
            total = part if total is None else total + part
        return total


def finite_of(model: PLEClusterAdaTT, inputs: PLEClusterInput, output: PLEClusterOutput) -> finite.FiniteStats:
    """Rows of a batch that are no numbers; `features` by its parts."""
    found = {k: _np(v) for k, v in bad_inputs(inputs).items()}
    if "features" in found:
        wrong = ~np.isfinite(_np(inputs.features))
        parts = {part_key(p): wrong[:, c].any(1) for p, c in inputs.parts.items()}
        found = {**{k: v for k, v in parts.items() if v.any()}, **{k: v for k, v in found.items() if k != "features"}}
    found |= {f"label {t}": _np(v) for t, v in bad_labels(inputs.targets or {}).items()}
    experts = {e: _np(bad_rows(v)) for e, v in output.encoded.expert_outputs.items()}
    heads = {t: _np(bad_rows(h.uncertainty)) for t, h in output.evidential.items()}
    tasks = {t: _np(bad_rows(v)) for t, v in output.predictions.items()}
    for task, spec in model.tasks.items():
        if spec.kind == "contrastive":  # the query may be sound and the brands' own vectors not
            tasks[task] = _np(bad_rows(model.brand_logits(output.predictions[task].float())))
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


def inputs_of(inputs: PLEClusterInput, tasks: Sequence[str], *, only_features: bool = False) -> InputStats:
    """Input statistics of one batch; `only_features` leaves fields out that were not decoded."""
    n = len(inputs)
    absent: dict[str, NDArray[np.generic]] = {}
    for key in (*OPTIONAL_FIELDS, *(part_key(p) for p in inputs.parts)):
        if only_features and not is_part(key):
            continue
        there = _np(inputs.present(key))
        whole = getattr(inputs, key.split(":")[0]) is None
        code = np.where(there, Absence.NONE, Absence.FIELD if whole else Absence.ROW)
        mask_name = DIAGRAMS.get(key)
        if mask_name is not None and getattr(inputs, mask_name) is not None:
            code = np.where((code == Absence.NONE) & ~_np(getattr(inputs, mask_name)).astype(bool).any(1), Absence.MASK, code)
        absent[key] = code.astype(np.int8)
    column_present = np.ones((n, inputs.features.shape[1]), dtype=bool)
    for part, columns in inputs.parts.items():
        column_present[:, columns] = (absent[part_key(part)] == Absence.NONE)[:, None]
    diagrams = {
        d: (_np(getattr(inputs, d)), _np(getattr(inputs, m)).astype(bool), absent[d] != Absence.ROW)
        for d, m in DIAGRAMS.items()
        if d in absent and getattr(inputs, d) is not None and getattr(inputs, m) is not None
    }
    hierarchy = None
    if not only_features and inputs.hierarchy_features is not None:
        hierarchy = (_np(inputs.hierarchy_features), absent["hierarchy_features"] == Absence.NONE)
    labels = {t: _labelled(v) for t, v in (inputs.targets or {}).items() if t in tasks}
    segments = {}
    if inputs.customer_segment is not None:
        counts = np.bincount(_np(inputs.customer_segment).astype(int), minlength=len(SEGMENTS))
        segments = {s: int(c) for s, c in zip(SEGMENTS, counts, strict=False)}
    return measure_inputs(_np(inputs.features), absent, column_present, diagrams, hierarchy, labels, segments)


def _arrow(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def _known(values: NDArray[Any]) -> Any:
    """A column in which what is no number is NULL: SQL would take it into every mean."""
    known = np.isfinite(values)
    return values if known.all() else pa.array(values, mask=~known)


def _labelled(label: Tensor) -> NDArray[np.bool_]:
    y = _np(label)
    known = y >= 0 if y.dtype.kind in "iu" else np.isfinite(y)
    return np.asarray(known if known.ndim == 1 else known.all(1))


def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Numbers are written plain: a dictionary of measured numbers is as long as the column and is held for each of hundreds."""
    words = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_dictionary(f.type)]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=words)


class _Raw:
    """The dataset's human-readable columns beside its batches, one file of it at a time; both readers go in file order."""

    def __init__(self, data: Dataset) -> None:
        self.names = [c if c.startswith("raw:") else f"raw:{c}" for c in data.manifest.raw_columns]
        self.files = data.tables(["customer_id", *self.names])
        self.first, self.held = 0, pa.table({})
        self.infinite: dict[str, float] = {}
        """Rows by column that hold an infinite number."""

    def add(self, columns: dict[str, Any], rows: NDArray[np.int64], customers: Sequence[str]) -> None:
        """Put the columns of the rows numbered `rows` (ascending) beside what is there."""
        if not self.names:
            return
        parts = []
        while True:
            mine = rows[(rows >= self.first) & (rows < self.first + len(self.held))]
            if len(mine):
                parts.append(self.held.take(pa.array(mine - self.first)))
            if rows[-1] < self.first + len(self.held):
                break
            self.first += len(self.held)
            self.held = next(self.files)
        part = pa.concat_tables(parts)
        if part.column("customer_id").to_pylist() != list(customers):
            raise RuntimeError("the dataset's table and its batches are not in the same order")
        for name in self.names:
            bad = int(infinite(part.column(name)).sum())
            if bad:
                self.infinite[name] = self.infinite.get(name, 0.0) + bad
            columns[name] = known_numbers(part.column(name))


def _np(t: Tensor) -> NDArray[Any]:
    return np.asarray(t.detach().cpu().numpy())


def _f32(t: Tensor) -> NDArray[np.float32]:
    return np.asarray(t.detach().float().cpu().numpy(), dtype=np.float32)


def _f16(t: Tensor) -> NDArray[np.float16]:
    return np.asarray(t.detach().cpu().numpy(), dtype=np.float16)
