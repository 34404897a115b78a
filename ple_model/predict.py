"""`ple predict`: score customers from raw events with nothing but a run folder.

Events -> features with the artifacts in the run's `preprocess/` (nothing is fitted: the same `transform` as for any new
customers) -> model -> one row a customer and cut-off. Columns, by task `T`:

* binary: `T` the calibrated probability; regression: `T` in the label's unit, a mean. Of a label that is a logarithm `T`
  adds up over customers, and `T_median` is what about half of such customers stay below, at most the mean (a run that kept no
  map of means has the median in both: the file's metadata says `statistic`); multiclass and brand: `T` the likeliest class and
  `T_p` its probability (of a brand: among the brands the model knows).
* `T_uncertainty`: vacuity or epistemic variance of the evidential head; `T_fallback`: it lies above the run's threshold, so a
  reader should fall back on what was done before there was a model.
* A task that had no label in training keeps its columns, empty: its tower says nothing about anybody. So does a task for a row
  that it is not defined for (`tasks.Condition`), whose fallback mark is set. `T_reason` says why a score is empty.
* `fallback_reason`: customers without any activity in the feature window are marked for every task, whatever the uncertainty.
* `anomaly`, where an encoder run is given: how hard the customer's last 14 days are to explain, as a percentile among the
  validation customers of the run's sample (`sequences.scoring`); NULL for who had no such days.
* `offers`, `offers_p`: the N likeliest next best actions with their probabilities, given that the customer responds to one.

Rows are streamed: memory does not grow with the number of customers. The file is complete or not there at all; inputs or
predictions that are no numbers are an error that names field, task and share of rows, and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.calibration import CalibrationMap
from ple_model.data.build.build import BuildSettings, transform
from ple_model.data.build.steps import Progress
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.data.own.dataset import rows_to_score
from ple_model.errors import UserError
from ple_model.fields import NO_CUTOFF, SEGMENTS
from ple_model.finite import Tally
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.profile import DORMANT as DORMANT_ROW
from ple_model.profile import Profile
from ple_model.run import Run
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.scoring import UNUSUAL, AnomalyScorer, anomaly_scorer
from ple_model.staging import private_folder, staged_file
from ple_model.tasks import EVERYONE
from ple_model.tensors import as_numpy
from ple_model.uncertainty import FALLBACK_SHARE, MIN_ROWS, quantiles_of, row_uncertainty

BATCH = 512
ROW_GROUP = 16_384
OFFER_TASK = "nba"
TOP = 3
DORMANT = "dormant: no purchase, deposit or session in the 365 days before the cut-off"
MIN_DORMANT = 20
"""Fewer dormant rows among those that training profiled: a model cannot know what becomes of such customers, so they get no
score (of 20 rows without an event a rate of up to 16 % would still be plausible)."""
UNLEARNED = "no label in training"


@dataclass(frozen=True)
class ScoreFile:
    """What was written: rows, customers and cut-offs, the uncertainty above which each task's row is marked, and how often."""

    path: Path
    rows: int
    customers: int
    cutoffs: tuple[str, ...]
    tasks: tuple[str, ...]
    thresholds: dict[str, float]
    thresholds_from: str
    """Where the thresholds come from, in words."""
    fallback: dict[str, float | None]
    """Share of the scored rows that are marked, by task; None where none is scored."""
    scored: dict[str, int]
    """Rows with a score, by task that has a threshold."""
    calibrated: tuple[str, ...]
    unusual: float | None = None
    """Share of the rows whose last days are above the 99th percentile of the reference; None where nobody is ranked."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path)}

    def __str__(self) -> str:
        dates = "" if self.cutoffs == (NO_CUTOFF,) else f" at {', '.join(self.cutoffs)}"
        lines = [f"{self.customers:,} customers, {self.rows:,} rows{dates} -> {self.path}", f"  {self.thresholds_from}"]
        for t, v in self.thresholds.items():
            share = self.fallback[t]
            said = "no row is scored" if share is None else f"{share:.1%} of {self.scored[t]:,} scored rows"
            lines.append(f"  {t:<20} marked above {v:.4g}: {said}")
        if self.unusual is not None:
            lines.append(f"  last days above the 99th percentile of the reference: {self.unusual:.1%} (usual: 1%)")
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])


def predict(
    run: Run,
    events: Path | str,
    out: Path | str,
    cutoffs: Sequence[str] | None = None,
    *,
    device: str = "cpu",
    top: int = TOP,
    fallback_share: float = FALLBACK_SHARE,
    workers: int = 2,
    progress: Progress | None = None,
    encoder: Path | str | None = None,
) -> ScoreFile:
    """Score every customer of an events folder who is known before a cut-off (default: the cut-offs the source names), or every
    row of a table where the run was trained on a table of its own columns.

    `top`: offers a row; `fallback_share`: share of validation customers that the fallback mark is set for;
    `encoder`: an encoder run, for the anomaly score. `UserError` on bad
    events, an unfinished run, or impossible numbers. The run's dataset is not needed.
    """
    if top < 1:
        raise UserError(f"--top: {top} is not valid, it must be at least 1")
    if not 0.0 <= fallback_share <= 1.0:
        raise UserError(f"--fallback-share: {fallback_share} is not valid, it must be between 0 and 1")
    out = Path(out)
    if out.is_dir():
        raise UserError(f"{out} is a folder; name the Parquet file to write")
    own = run.context().own is not None
    if own and cutoffs:
        raise UserError(f"--cutoff: {run.path} scores a table of its own columns, which names its cut-offs itself")
    if not own and not (run.preprocess / "market.json").exists():
        raise UserError(
            f"{run.path} cannot score raw events: its dataset was not built from events, so preprocess/ cannot make features"
        )
    if not own and Path(events).is_file():
        raise UserError(f"{events} is a file; {run.path} was trained on events and scores a folder of event tables")
    model = run.model(device)
    anomaly = None if encoder is None else anomaly_scorer(run, load_encoder(encoder), device)
    out.parent.mkdir(parents=True, exist_ok=True)
    with private_folder(out) as scratch:
        if own:
            rows_to_score(Path(events), run.preprocess, scratch / "data")
            data = Dataset.open(scratch / "data")
        else:
            data = transform(events, run.preprocess, scratch / "data", cutoffs, progress, BuildSettings(workers=workers))
        return score_to_parquet(
            run, model, data, out, top=top, fallback_share=fallback_share, progress=progress, anomaly=anomaly
        )


def score_to_parquet(
    run: Run, model: PLEClusterAdaTT, data: Dataset, out: Path, *, top: int = TOP, fallback_share: float = FALLBACK_SHARE,
    progress: Progress | None = None, anomaly: AnomalyScorer | None = None,
) -> ScoreFile:  # fmt: skip
    """Stream a dataset made with the run's artifacts through its model into one Parquet file; see the module docstring."""
    quantiles, origin = quantiles_of(run, model)
    known = {t: q for t, q in quantiles.items() if q.n >= MIN_ROWS}
    silent = tuple(t for t in model.tasks if not model.context.learned(t))
    thresholds = {t: q.threshold(fallback_share) for t, q in known.items() if t not in silent}
    tally = Tally(str(data.path))
    unseen = _dormant_unseen(run)
    scorer = _Scorer(model, run.calibration, thresholds, top, tally, unseen, anomaly)
    if thresholds:
        said = f"fallback marks: uncertainty above its {1 - fallback_share:.0%} quantile on validation customers ({origin})"
    else:
        said = "no fallback marks: the run has no evidential heads or too few validation customers"
    about: dict[str, Any] = {
        "run": run.name,
        "weights": run.manifest.data.fingerprint,
        "thresholds": thresholds,
        "thresholds_from": said,
        "currency": model.context.currency,
        "statistic": {t: model.shows(t) for t, s in model.tasks.items() if s.kind == "regression"},
    }
    conditional = (t for t, s in model.tasks.items() if s.condition is not EVERYONE and t not in silent)
    written = _ScoresWritten(dict.fromkeys(thresholds, 0), dict.fromkeys(conditional, 0), dict.fromkeys(thresholds, 0))
    _write(_grouped(scorer.table(b) for b in data.batches(None, BATCH)), data, out, about, written, tally, progress)
    calibrated = tuple(t for t, s in model.tasks.items() if s.kind == "binary" and t in run.calibration and t not in silent)
    return ScoreFile(
        out, written.rows, written.customers, data.manifest.cutoffs, tuple(t for t in model.tasks if t not in silent),
        thresholds, said, {t: n / written.scored[t] if written.scored[t] else None for t, n in written.marked.items()},
        written.scored, calibrated,
        None if anomaly is None or not anomaly.ranks else written.unusual / max(1, written.rows),
        (*(() if anomaly is None else anomaly.notes), *_notes(run, model, silent, written, unseen), *_notes_of_data(data)),
    )  # fmt: skip


@dataclass
class _ScoresWritten:
    """What was written so far."""

    marked: dict[str, int]
    """Scored rows with a fallback mark, by task."""
    undefined: dict[str, int]
    """Rows that a task is not defined for."""
    scored: dict[str, int]
    """Rows with a score, by task."""
    rows: int = 0
    customers: int = 0
    dormant: int = 0
    unusual: int = 0
    """Rows whose last days are above the 99th percentile."""
    last: str | None = None
    """The customer of the last row: rows come by customer, then cut-off."""

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        ids = table.column("customer_id").to_pylist()
        self.customers += sum(a != b for a, b in zip(ids, [self.last, *ids], strict=False))
        self.last = ids[-1]
        self.dormant += table.num_rows - table.column("fallback_reason").null_count
        if "anomaly" in table.column_names:
            self.unusual += pc.sum(pc.greater(table.column("anomaly"), UNUSUAL)).as_py() or 0
        for task in self.undefined:
            self.undefined[task] += table.num_rows - table.column(f"{task}_reason").null_count
        for task in self.marked:
            scored = table.column(task).is_valid()
            self.scored[task] += pc.sum(scored).as_py() or 0
            self.marked[task] += pc.sum(pc.and_(scored, table.column(f"{task}_fallback"))).as_py() or 0


def _write(
    tables: Iterator[pa.Table], data: Dataset, out: Path, about: Mapping[str, Any], written: _ScoresWritten, tally: Tally,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Row groups into a file beside `out`, which takes its name when all were numbers; counted in `written`."""
    writer: pq.ParquetWriter | None = None
    total = max(1, data.rows())
    with staged_file(out) as temporary:
        try:
            for table in tables:
                if writer is None:
                    schema = table.schema.with_metadata({"ple": json.dumps(about)})
                    writer = pq.ParquetWriter(temporary, schema, compression="zstd")
                writer.write_table(table.cast(writer.schema))
                written.add(table)
                if progress is not None:
                    progress("score", written.rows / total)
            if writer is None:
                raise UserError(f"{data.path} has no rows to score")
            tally.raise_if_any()
        finally:
            if writer is not None:
                writer.close()


def _notes(run: Run, model: PLEClusterAdaTT, silent: Sequence[str], written: _ScoresWritten, unseen: str) -> Iterator[str]:
    """What to know of the scores."""
    if silent:
        also = ", and offers" if OFFER_TASK in silent else ""
        yield f"left empty, for want of labels in training: {', '.join(silent)}{also}"
    plain = [t for t, s in model.tasks.items() if s.kind == "binary" and t not in run.calibration and t not in silent]
    if plain:
        yield f"not calibrated, for want of validation labels: {', '.join(plain)}"
    rows = written.rows
    for task, n in written.undefined.items():
        if n:
            yield f"{task}: left empty in {n:,} of {rows:,} rows, it is for customers {model.tasks[task].condition.en}"
    if written.dormant:
        scores = f" and left without scores, {unseen}" if unseen else ""
        yield f"{written.dormant:,} of {rows:,} rows are dormant and marked as a fallback for every task{scores}"


def _notes_of_data(data: Dataset) -> Iterator[str]:
    """What to know of the events behind the scores."""
    for table in data.manifest.absent_sources:
        yield f"no table '{table}': what it feeds is absent"
    for note in data.manifest.notes:
        if note.startswith(("validation, ", "cut-off")):
            yield note


def _dormant_unseen(run: Run) -> str:
    """Why dormant customers get no score from this run; empty where training had enough of them, or did not keep how many."""
    profile = Profile.load(run.preprocess)
    if profile is None or len(profile.segments) <= DORMANT_ROW or profile.segments[DORMANT_ROW] >= MIN_DORMANT:
        return ""
    return f"training had {int(profile.segments[DORMANT_ROW])} such rows, fewer than {MIN_DORMANT}"


def _grouped(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined to row groups of a size that readers like."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(t.num_rows for t in held) >= ROW_GROUP:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


@dataclass(frozen=True)
class _Scorer:
    """A batch -> its rows as a table."""

    model: PLEClusterAdaTT
    calibration: Mapping[str, CalibrationMap]
    thresholds: Mapping[str, float]
    top: int
    tally: Tally
    unseen: str = ""
    """Why dormant rows get no score; empty: they get one."""
    anomaly: AnomalyScorer | None = None
    classes: dict[str, NDArray[np.object_]] = field(init=False)

    def __post_init__(self) -> None:
        context = self.model.context
        names = {t: context.class_names.get(t) or s.classes for t, s in self.model.tasks.items() if s.kind == "multiclass"}
        names |= {t: context.brands for t, s in self.model.tasks.items() if s.kind == "contrastive"}
        object.__setattr__(self, "classes", {t: np.array(n, dtype=object) for t, n in names.items()})

    @torch.no_grad()
    def table(self, batch: Batch) -> pa.Table:
        inputs = batch.inputs.to(next(self.model.parameters()).device)
        self.tally.add_inputs(inputs, batch.customer_id)
        output = self.model(inputs)
        self.tally.add_output(output, batch.customer_id)
        segment = batch.inputs.customer_segment
        columns: dict[str, Any] = {
            "customer_id": pa.array(batch.customer_id, pa.string()),
            "cutoff": pa.array([None if c == NO_CUTOFF else c for c in batch.cutoff], pa.string()),
            "segment": pa.array([None] * len(batch) if segment is None else [SEGMENTS[int(i)] for i in segment], pa.string()),
        }
        dormant = np.zeros(len(batch), np.bool_) if segment is None else segment.cpu().numpy() == SEGMENTS.index("dormant")
        columns["fallback_reason"] = pa.array([DORMANT if x else None for x in dormant], pa.string())
        if self.anomaly is not None:
            columns["anomaly"] = pa.array(self.anomaly(inputs), pa.float32(), from_pandas=True)
        for task in self.model.tasks:
            columns |= self._task(task, output, batch.inputs.defined(task).cpu().numpy(), dormant)
        if OFFER_TASK in self.model.tasks:
            offers = self._offers(output)
            columns |= {k: _where(~dormant, v) for k, v in offers.items()} if self.unseen else offers
        return _emptied(pa.table(columns), tuple(t for t in self.model.tasks if not self.model.context.learned(t)))

    def _task(
        self, task: str, output: PLEClusterOutput, defined: NDArray[np.bool_], dormant: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """The task's columns; NULL where it is not defined, with the reason."""
        learned = self.model.context.learned(task)
        reason = (None if learned else UNLEARNED, self.model.tasks[task].condition.unmet())
        unseen = dormant & defined if self.unseen else np.zeros(len(defined), np.bool_)
        columns = {k: _where(defined & ~unseen, v) for k, v in self._scores(task, output).items()}
        high = columns.pop(f"{task}_high", pa.array(np.zeros(len(defined), np.bool_))).fill_null(False)
        columns[f"{task}_fallback"] = pa.array(high.to_numpy(zero_copy_only=False) | dormant | ~defined)
        why = [reason[0] if x else reason[1] for x in defined]
        why = [self.unseen if u and learned else y for y, u in zip(why, unseen, strict=True)]
        columns[f"{task}_reason"] = pa.array(why, pa.string())
        return columns

    def _scores(self, task: str, output: PLEClusterOutput) -> dict[str, Any]:
        spec, value = self.model.tasks[task], output.predictions[task].float()
        columns: dict[str, Any] = {}
        if spec.kind == "binary":
            p = as_numpy(value, np.float32)
            columns[task] = self.calibration[task](p).astype(np.float32) if task in self.calibration else p
        elif spec.kind == "regression":
            shown = self.model.to_units(task, value)
            if spec.log_scale:
                median = torch.expm1(self.model.to_label(task, value))  # amounts are skewed to the right: never above the mean
                columns[f"{task}_median"] = as_numpy(torch.minimum(median, shown), np.float32)
            numbers = as_numpy(shown, np.float32)
            columns[task] = numbers if shown.dim() == 1 else pa.array(numbers.tolist(), pa.list_(pa.float32()))
        else:
            scores = torch.softmax(self.model.brand_logits(value), dim=1) if spec.kind == "contrastive" else value
            best = scores.max(dim=1)
            columns[task] = self._named(task, best.indices)
            columns[f"{task}_p"] = as_numpy(best.values, np.float32)
        if task in output.evidential:
            uncertainty = as_numpy(row_uncertainty(output.evidential[task]), np.float32)
            columns[f"{task}_uncertainty"] = uncertainty
            if task in self.thresholds:
                columns[f"{task}_high"] = uncertainty > np.float32(self.thresholds[task])
        return columns

    def _named(self, task: str, index: Tensor) -> pa.Array:
        """Class names where the run knows them, else the class's number as text."""
        names, found = self.classes[task], index.cpu().numpy()
        text = [names[i] if i < len(names) else str(i) for i in found.ravel()]
        return pa.array(text, pa.string())

    def _offers(self, output: PLEClusterOutput) -> dict[str, Any]:
        p = output.predictions[OFFER_TASK].float()
        best = p.topk(min(self.top, p.shape[1]), dim=1)
        width = best.indices.shape[1]
        names = self._named(OFFER_TASK, best.indices)
        offsets = pa.array(np.arange(0, len(names) + 1, width), pa.int32())
        values = pa.array(as_numpy(best.values, np.float32).ravel(), pa.float32())
        return {
            "offers": pa.ListArray.from_arrays(offsets, names),
            "offers_p": pa.ListArray.from_arrays(offsets, values),
        }


def _emptied(table: pa.Table, tasks: tuple[str, ...]) -> pa.Table:
    """The table with the columns of these tasks all NULL, of the same types, so that readers find every column."""
    empty = {f"{t}{end}" for t in tasks for end in ("", "_p", "_median", "_uncertainty", "_fallback")}
    empty |= {"offers", "offers_p"} if OFFER_TASK in tasks else set()
    for k, column in enumerate(table.schema):
        if column.name in empty:
            table = table.set_column(k, column, pa.nulls(table.num_rows, column.type))
    return table


def _where(keep: NDArray[np.bool_], values: Any) -> pa.Array:
    """The values where `keep`, else NULL."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return pc.if_else(pa.array(keep), array, pa.scalar(None, array.type))
