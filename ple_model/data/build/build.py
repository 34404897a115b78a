"""Events -> dataset. `build` fits on the training split and applies; `transform` applies stored artifacts to other customers.

Steps: rows (customers x cut-offs), SQL features, sequences, static features, topology (all kept by content hash until the
build is done, so that a killed build goes on where it was), then the fits, then all columns in chunks, written as Parquet. A
dataset that was built from the same events with the same settings by the same source files is returned as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from ple_model.context import LabelScaler, ModelContext
from ple_model.data.build.artifacts import Fitted
from ple_model.data.build.brands import training_brands
from ple_model.data.build.coverage import coverage, event_spans, last_event, own_tables
from ple_model.data.build.floating_point import reproducible
from ple_model.data.build.reachable import write_reachable
from ple_model.data.build.rows import Plan, Whole
from ple_model.data.build.sharded import Sharded
from ple_model.data.build.spine import SplitSettings, create_spine, parse_cutoffs, suggest_cutoffs
from ple_model.data.build.steps import Progress, Tell, Work, digest, digest_files
from ple_model.data.checking.validation import validate
from ple_model.data.dataset.reader import Dataset
from ple_model.data.dataset.writer import PartsWritten, copy_artifacts, publish
from ple_model.data.events.buckets import buckets_of
from ple_model.data.events.connect import Bucket, EventStore, connect, table_files
from ple_model.data.events.find_holes import Span, distinct
from ple_model.data.events.spec import TABLES
from ple_model.data.features import Market, fit_market
from ple_model.data.labels.conditions import load_own, save_own
from ple_model.data.labels.labels import Labels, LabelSettings, given_labels
from ple_model.engine import ShardEngine
from ple_model.engine.local import LocalEngine
from ple_model.errors import UserError
from ple_model.sources import source_digest
from ple_model.tasks import TASKS


@dataclass(frozen=True)
class BuildSettings:
    """What decides a dataset beside its events. `workers` and `threads` change the speed only."""

    split: SplitSettings = field(default_factory=SplitSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    seed: int = 0
    workers: int = 2
    threads: int = 2

    def __post_init__(self) -> None:
        for name, value, least in (("seed", self.seed, 0), ("workers", self.workers, 1), ("threads", self.threads, 1)):
            if value < least:
                raise UserError(f"--{name}: {value} is not valid, it must be at least {least}")


@dataclass(frozen=True)
class _Made:
    """What decides a dataset: digests of its events and settings, and of the source files that build it."""

    made_of: str
    made_by: str


def _silent(step: str, share: float) -> None:
    """No progress report."""


def _mute(sentence: str) -> None:
    """Nobody wants to know."""


@reproducible()
def build(
    events: Path | str,
    out: Path | str,
    cutoffs: Sequence[str] | None = None,
    progress: Progress | None = None,
    settings: BuildSettings | None = None,
    tell: Tell = _mute,
    engine: ShardEngine | None = None,
) -> Dataset:
    """The dataset of an events folder at `out`. Cut-offs: those given, else the source's defaults. `UserError` on bad input.

    `tell` hears what is reused, and why a dataset that is there is not. Events in buckets are built bucket by bucket by
    `engine` (None: `workers` processes of this machine)."""
    settings = settings or BuildSettings()
    out = Path(out)
    _place(out, Path(events))
    with _open(Path(events), settings.threads) as store, ExitStack() as held:
        dates = _cutoffs(store, cutoffs)
        settings = replace(settings, labels=_label_settings(store, settings.labels))
        key = digest([_events_key(store), dates, asdict(settings.split), settings.seed])
        made = _Made(digest([key, asdict(settings.labels)]), source_digest(__name__))
        existing = _existing(out, made, tell)
        if existing is not None:
            return existing
        work = Work(out / ".build", progress or _silent, tell)
        faults = _validated(store.path, work.progress)
        spans = event_spans(store)
        notes = (*own_tables(store, dates), *coverage(store, dates, settings.labels.horizon_days, spans), *faults)
        rows = create_spine(store.con, dates, settings.split, buckets=_buckets(store))
        train = _rows_of(store, "train")
        if not len(train):
            raise UserError(
                f"'{store.path}' has no customer for the training split at {', '.join(dates)}: give more customers or cut-offs"
            )
        held.enter_context(_alone(work.folder))
        store.con.execute(f"SET temp_directory = '{str(work.folder / 'spill').replace(chr(39), chr(39) * 2)}'")
        market = fit_market(store.con)
        plan = Plan(store.path, out, dates, settings.split, settings.labels, key, market, last_event(store), _buckets(store))
        body = _body(plan, store, rows, settings, engine)
        collected, labels = body.collect(work)
        work.progress("fit", 0.0)
        fitted = Fitted.fit(store, collected, train, settings.seed)
        brands = training_brands(labels.brand[train])
        mean, std = fitted.raw_statistics(collected, train)
        context = ModelContext(
            hierarchy=fitted.forest.tree, raw_mean=mean, raw_std=std, brands=tuple(b for b, _ in brands),
            brand_counts=tuple(n for _, n in brands), label_scalers=_scalers(labels, train),
            class_names={t.name: t.classes for t in TASKS.values() if t.kind == "multiclass" and t.classes},
            currency=_currency(store),
        )  # fmt: skip
        _empty(out)
        fitted.save(_made(out / "artifacts"))
        market.save(out / "artifacts" / "market.json")
        save_own(out / "artifacts", labels.own)
        work.progress("fit", 1.0)
        record = {**asdict(made), "horizon_days": settings.labels.horizon_days, "split": asdict(settings.split)}
        record |= {"labels": asdict(settings.labels), "currency": context.currency}
        record |= _holes(store, spans, settings.labels.horizon_days)
        write_reachable(store, settings.labels, out, _buckets(store))
        written = body.write(work, fitted, context, collected, labels)
        _publish(out, written, store, fitted, context, record, notes)
        work.clear()
    return Dataset.open(out)


@dataclass(frozen=True)
class Checked:
    """What is known of events before any of their buckets is read by itself."""

    cutoffs: tuple[str, ...]
    last: date | None
    """The last day of any event."""
    key: str
    notes: tuple[str, ...]


def checked(events: Path, cutoffs: Sequence[str], currency: str, progress: Progress | None = None) -> Checked:
    """Validates events that a model is to score. `UserError` on bad events or cut-offs, and for amounts in another currency
    than the model's."""
    with _open(events, 2) as store:
        dates = _cutoffs(store, tuple(cutoffs) or None)
        _same_currency(store, currency)
        faults = _validated(events, progress or _silent)
        absent = tuple(f"no table '{t}': what it feeds is absent" for t in TABLES if t not in store.present)
        return Checked(dates, last_event(store), _events_key(store), (*absent, *coverage(store, dates), *faults))


@reproducible()
def transform(
    events: Path | str,
    artifacts: Path | str,
    out: Path | str,
    cutoffs: Sequence[str] | None = None,
    progress: Progress | None = None,
    settings: BuildSettings | None = None,
    tell: Tell = _mute,
    engine: ShardEngine | None = None,
    bucket: Bucket | None = None,
) -> Dataset:
    """A dataset of new customers with the artifacts of another dataset (its `artifacts/`, a run's `preprocess/`) applied
    unchanged.

    All rows are in the split 'test'; nothing is fitted. Labels are there as far as the events reach beyond the cut-off.
    `bucket`: of events in buckets only this one, which nobody validates here: whoever asks for all of them has.
    """
    settings = settings or BuildSettings()
    out, artifacts = Path(out), Path(artifacts)
    _place(out, Path(events))
    context = ModelContext.load(artifacts)
    fitted = Fitted.load(artifacts, context.hierarchy)
    market = Market.load(artifacts / "market.json")
    with _open(Path(events), settings.threads, bucket) as store, ExitStack() as held:
        dates = _cutoffs(store, cutoffs)
        _same_currency(store, context.currency)
        settings = replace(settings, labels=_label_settings(store, settings.labels))
        work = Work(out / ".build", progress or _silent, tell)
        spans = event_spans(store) if bucket is None else {}
        notes = () if bucket is not None else (*coverage(store, dates, spans=spans), *_validated(store.path, work.progress))
        buckets = 1 if bucket is not None else _buckets(store)
        rows = create_spine(store.con, dates, settings.split, only="test", buckets=buckets)
        held.enter_context(_alone(work.folder))
        # of one bucket nothing is kept, and to read all events once for each would cost their square
        key = digest([bucket.number if bucket else _events_key(store), dates, "transform"])
        plan = Plan(
            store.path, out, dates, settings.split, settings.labels, key, market, last_event(store), buckets, "test",
            load_own(artifacts),
        )  # fmt: skip
        body = _body(plan, store, rows, settings, engine)
        collected, labels = body.collect(work)
        _empty(out)
        copy_artifacts(artifacts, out / "artifacts")
        record = {
            **asdict(_Made(key, source_digest(__name__))),
            "horizon_days": settings.labels.horizon_days,
            "labels": asdict(settings.labels),
            "transformed": True,
            "currency": context.currency,
            **_holes(store, spans, settings.labels.horizon_days),
        }
        write_reachable(store, settings.labels, out, buckets)
        written = body.write(work, fitted, context, collected, labels)
        _publish(out, written, store, fitted, context, record, notes)
        work.clear()
    return Dataset.open(out)


def _threads(events: Path, asked: int) -> int:
    """One where there are buckets: a sum that two threads share may differ in its last bit, and with it every part."""
    return 1 if buckets_of(events) > 1 else asked


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build at a time works in a folder: each would remove what the other writes."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as e:
        raise UserError(f"{folder.parent}: another process builds there; wait for it or name another folder") from e


def _empty(out: Path) -> None:
    """Nothing of another dataset's artifacts is left: a shard reads whatever lies there."""
    (out / "dataset.json").unlink(missing_ok=True)
    shutil.rmtree(out / "artifacts", ignore_errors=True)


def _buckets(store: EventStore) -> int:
    return store.manifest.buckets if store.manifest else 1


def _body(plan: Plan, store: EventStore, rows: int, settings: BuildSettings, engine: ShardEngine | None) -> Whole | Sharded:
    """Who collects and writes the rows of `spine`."""
    if plan.buckets == 1:
        return Whole(plan, store, rows, settings.workers)
    own = tuple(sorted({*plan.own, *given_labels(store)}))  # of one bucket alone they may be fewer
    # a worker may start in another folder
    there = replace(plan, own=own, events=plan.events.absolute(), out=plan.out.absolute())
    return Sharded(there, engine or LocalEngine(settings.workers), store, rows)


def _publish(
    out: Path, written: PartsWritten, store: EventStore, fitted: Fitted, context: ModelContext, record: dict[str, Any],
    told: tuple[str, ...],
) -> None:  # fmt: skip
    """The manifest, whose notes hold what validation warned of."""
    manifest = store.manifest
    absent = tuple(t for t in TABLES if t not in store.present)
    notes = (
        *fitted.notes,
        *(f"no table '{t}': what it feeds is absent" for t in absent),
        *(manifest.defaults.notes if manifest else ()),
        *told,
    )
    publish(
        out, written, name=manifest.name if manifest else store.path.name,
        source=manifest.source if manifest else "tables", context=context,
        normalizer=fitted.normalizer, absent_sources=absent, settings=record,
        notes=notes,
    )  # fmt: skip


def _cutoffs(store: EventStore, given: Sequence[str] | None) -> tuple[str, ...]:
    dates = tuple(given or (store.manifest.defaults.cutoffs if store.manifest else ()))
    if not dates:
        raise UserError(f"'{store.path}' names no cut-offs: give --cutoff DATE, once or more{_suggestion(store)}")
    return parse_cutoffs(dates)


def _suggestion(store: EventStore) -> str:
    """What the reach of the transactions and their holes allow, ready to paste."""
    spans = event_spans(store)
    if "transactions" not in spans:
        return ""
    first, last, holes = spans["transactions"].first, spans["transactions"].last, distinct(spans.values())
    reach = f"; the transactions reach from {first} to {last}" + "".join(f"; {h}" for h in holes)
    found, horizon = suggest_cutoffs(first, last, holes)
    if not found:
        without = " without a hole" if holes else ""
        return f"{reach}, too short for 28 days of history and 28 of labels{without}"
    shorter = "" if horizon == LabelSettings.horizon_days else f" --horizon-days {horizon}"
    return f"{reach}, which allows --cutoff {' --cutoff '.join(found)}{shorter}"


def _holes(store: EventStore, spans: Mapping[str, Span], horizon_days: int) -> dict[str, Any]:
    """What the dataset keeps of holes: those found, and how many days after a cut-off its labels read from the events."""
    own_labels = store.manifest is not None and store.manifest.defaults.label_policy != "derived"
    return {"holes": [h.to_json() for h in distinct(spans.values())], "label_days": 0 if own_labels else horizon_days}


def _label_settings(store: EventStore, settings: LabelSettings) -> LabelSettings:
    """No horizon beyond what the source says it covers."""
    declared = store.manifest.defaults.horizon_days if store.manifest else None
    return settings if declared is None else replace(settings, horizon_days=min(settings.horizon_days, declared))


def _place(out: Path, events: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file; name a folder for the dataset")
    if out.resolve() == events.resolve():
        raise UserError(f"'{out}' holds the event tables; name another folder for the dataset")


def _open(events: Path, threads: int, bucket: Bucket | None = None) -> EventStore:
    """An open store. Where the tables cannot even be opened, the report says how many faults there are beside the first."""
    try:
        return connect(events, threads=_threads(events, threads), bucket=bucket)
    except UserError:
        if events.is_dir():
            validate(events).raise_errors()
        raise


def _validated(events: Path, progress: Progress) -> tuple[str, ...]:
    """What validation warns of, as notes; `UserError` with its first error, before anything is written."""
    report = validate(events, lambda done, total: progress("validate", 0.99 * done / total))
    report.raise_errors()
    progress("validate", 1.0)
    return tuple(f"validation, {f}" for f in report.faults)


def _events_key(store: EventStore) -> str:
    names = [*TABLES, "exact_spend", "labels", "probabilities"]
    tables = {t: digest_files(table_files(store.path, t)) for t in names}
    defaults = asdict(store.manifest.defaults) if store.manifest else {}
    return digest([tables, defaults, *([_currency(store)] if _currency(store) else [])])


def _same_currency(store: EventStore, known: str) -> None:
    if known and _currency(store) not in ("", known):
        raise UserError(
            f"{store.path} has amounts in {_currency(store)}, but the model learned from amounts in {known}: "
            "convert them when they are imported"
        )


def _currency(store: EventStore) -> str:
    return store.manifest.currency if store.manifest else ""


def _existing(out: Path, made: _Made, tell: Tell) -> Dataset | None:
    """The finished dataset at `out` if it was made from the same by the same; a half-made or other one is built anew."""
    if not (out / "dataset.json").exists():
        return None
    try:
        found = Dataset.open(out)
    except UserError as e:
        tell(f"'{out}' is built anew: {e}")
        return None
    of, by = (found.manifest.settings.get(k) for k in ("made_of", "made_by"))
    if (of, by) == (made.made_of, made.made_by):
        tell(f"'{out}' is reused: it was built from these events with these settings by this very program")
        return found
    if of == made.made_of:
        tell(f"'{out}' is built anew: the program has changed since it was built")
    elif of is None:
        tell(f"'{out}' is built anew: it does not say what it was built from, or with which program")
    else:
        tell(f"'{out}' is built anew: it was built from other events, cut-offs or settings")
    return None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _rows_of(store: EventStore, split: str) -> NDArray[np.int64]:
    found = store.con.execute("SELECT row_id FROM spine WHERE split = ? ORDER BY row_id", [split]).fetchnumpy()["row_id"]
    return np.asarray(found, dtype=np.int64)


def _scalers(labels: Labels, train: NDArray[np.int64]) -> dict[str, LabelScaler]:
    out = {}
    for task, values in labels.columns.items():
        if TASKS[task].kind == "regression":
            there = values[train].astype(np.float64)
            there = there[np.isfinite(there)]
            if len(there):
                out[task] = LabelScaler(float(there.mean()), float(there.std()) or 1.0)
    return out
