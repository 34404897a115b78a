"""The analysis store: what one diagnose pass left in a run's `analysis/<fingerprint>/`, queried by cohort.

A folder is written under a temporary name and then renamed, so that a reader never sees half of it; it is never changed, only
replaced by a whole new one when it is measured again on purpose (`AnalysisStore.mark` tells the two apart). `rows.parquet`
holds the scalars of every row; a cohort is a DuckDB query over it, whatever their number.

Columns of a row: row, customer_id, cutoff, split, segment, cluster, raw:<name>, aux (the representation holds static
cold-start or anonymous features); per expert n:<expert> (norm) and f:<expert> (zero fallback); per gate cell
g:<task>:<expert>, per gate h:<task> (entropy, nats), k:<task> (number of the top expert), m:<task> (its weight); per task
p:<task> (binary: calibrated probability, multiclass: top probability, regression: original units), c:<task> (most probable
class or brand), u:<task> (vacuity or epistemic variance), e:<task> (total evidence), y:<task> (label, original units),
a:<task> (aleatoric uncertainty), q:<task> (regression: the head's predictive distribution at the label), s:<task>:<class>
(probabilities of a three-class task); o:, r:, z:, l: of labelled rows, what metrics are drawn from (`recording/columns.py`);
w:<task>:<whose> loss of the row (model, constant and stored baselines, `judging`);
d:<mode> (default embedding), t:<source:target> (transfer ratio), l0 (active SAE latents).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.cohort import CohortFilter, where
from analysis.nullable import filled
from analysis.stats.base import MIN_ROWS, Array, pack, ratio, unpack
from analysis.stats.gate import BINS, GateStats
from analysis.stats.run import Statistics
from ple_model.errors import UserError, did_you_mean
from ple_model.files import write_json
from ple_model.presence import fallback_column
from ple_model.safe_arrays import open_parquet, read_npz, write_npz
from ple_model.safe_paths import check_tree, is_file, is_folder, make_folder, write_bytes
from ple_model.safe_text import read_object, read_text
from ple_model.shapes import NUMBER, TEXT, WHOLE, Keys, ListOf, MapOf, misfit
from ple_model.sql_paths import to_read
from ple_model.sql_text import quote
from ple_model.staging import alone, private_folder, put

FORMAT = 5
META = Keys(
    {
        "fingerprint": TEXT,
        "rows": WHOLE,
        "created": NUMBER,
        "uncertainty": MapOf(ListOf(NUMBER)),
        "judged_split": TEXT,
        "made_of": MapOf(TEXT),
    },
    ("fingerprint", "rows"),
)
NOBODY = 255
"""k:<task> where the gate's weights are no numbers."""
STATISTICS_BYTES = 64 << 20
VECTOR_ROWS = 20_000
EXACT_ROWS = 100_000
"""Up to so many rows customers are counted one by one."""


@dataclass(frozen=True, eq=False)
class CohortStatistics:
    """Statistics of the rows that pass the filters, from one query over the per-row scalars.

    experts: [N] arrays; gates: as in the whole run, without histogram and std (see `AnalysisStore.histogram`);
    hmm_default: mode -> share; uncertainty: task -> (mean, 5 %, 25 %, 50 %, 75 %, 95 % quantile); transfer: edge -> mean ratio.
    `enough` is False when n is below the minimum for a verdict: show "too few rows", not numbers.
    """

    filters: tuple[CohortFilter, ...]
    n: int
    total: int
    experts: tuple[str, ...]
    fallback_share: Array
    norm_mean: Array
    norm_std: Array
    gates: GateStats
    hmm_default: dict[str, float]
    uncertainty: dict[str, tuple[float, ...]]
    transfer: dict[str, float]

    @property
    def enough(self) -> bool:
        return self.n >= MIN_ROWS


class AnalysisStore:
    """Read access to one stored analysis. Cheap to open; each query uses a cursor of its own, so threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        meta = self.path / "meta.json"
        if not is_folder(self.path):
            raise UserError(f"{meta} is missing or damaged; run `ple diagnose` again")
        check_tree(self.path)
        try:
            self.meta: dict[str, Any] = read_object(meta)
        except (OSError, UserError) as e:
            raise UserError(f"{meta} is missing or damaged; run `ple diagnose` again") from e
        if self.meta.get("format") != FORMAT:
            raise UserError(
                f"{meta}: format {self.meta.get('format')!r}, this version reads {FORMAT}; run `ple diagnose` again"
            )
        wrong = misfit(self.meta, META)
        if wrong is not None:
            raise UserError(f"{meta} is damaged: {wrong}; run `ple diagnose` again")
        self._opened = _identity(meta)
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._all_customers: int | None = None

    def __repr__(self) -> str:
        return f"AnalysisStore({self.fingerprint}, {self.n} rows)"

    @property
    def fingerprint(self) -> str:
        return str(self.meta["fingerprint"])

    @property
    def made_of(self) -> dict[str, str]:
        """What it was measured from and by (`Fingerprint.to_dict`); empty in an older one."""
        return dict(self.meta.get("made_of") or {})

    @property
    def mark(self) -> str:
        """Another one for another measurement, also where it took the place of this one: the key of what is derived from it."""
        return f"{self.path}|{self.meta.get('created')}"

    @property
    def replaced(self) -> bool:
        """Whether another measurement has taken this one's place since it was opened."""
        return _identity(self.path / "meta.json") != self._opened

    @property
    def n(self) -> int:
        return int(self.meta["rows"])

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB cursor with a view `rows`; nothing is fetched from outside and nothing can be written."""
        with self._lock:
            if self._connection is None:
                c = duckdb.connect(
                    ":memory:", config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
                )
                try:  # the footer, before DuckDB reads by it
                    with open_parquet(self.path / "rows.parquet") as rows:
                        found = rows.metadata.num_rows
                except (FileNotFoundError, UserError) as e:
                    raise UserError(f"{self.path / 'rows.parquet'} is missing or damaged; run `ple diagnose` again") from e
                if found != self.n:
                    raise UserError(f"{self.path / 'rows.parquet'} has {found} rows, meta.json says {self.n}")
                c.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({to_read(self.path / 'rows.parquet')})")
                self._connection = c
            return self._connection.cursor()

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column name -> DuckDB type."""
        return {str(r[0]): str(r[1]) for r in self.cursor().execute("DESCRIBE rows").fetchall()}

    @property
    def filter_columns(self) -> list[str]:
        """The columns a person filters by: segment, cluster, split, cutoff, raw:*, predictions, uncertainties, labels."""
        plain = [c for c in ("segment", "cluster", "split", "cutoff") if c in self.columns]
        return plain + [c for c in self.columns if c.split(":")[0] in ("raw", "p", "c", "u", "y", "d", "f") and ":" in c]

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics of all rows."""
        try:
            arrays = read_npz(self.path / "stats.npz")
            text = read_text(self.path / "stats.json", STATISTICS_BYTES)
            return unpack(Statistics, text, arrays)  # type: ignore[no-any-return]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise UserError(f"{self.path / 'stats.npz'} is damaged ({e}); run `ple diagnose` again") from e

    @cached_property
    def vectors(self) -> dict[str, NDArray[Any]]:
        """The bounded sample in float16: "row" [S] (value of the row column), "experts" [S, W] (each expert's own
        output, in the order of `statistics.experts`), "hmm:<mode>" [S, P]."""
        file = self.path / "vectors.npz"
        return read_npz(file) if is_file(file) else {}

    def _check(self, filters: Sequence[CohortFilter], columns: Sequence[str] = ()) -> None:
        for name in [f.column for f in filters] + list(columns):
            if name not in self.columns:
                raise UserError(f"cohort: no column '{name}' in this analysis{did_you_mean(name, self.columns)}")

    def _query(
        self, select: Sequence[str], filters: Sequence[CohortFilter], tail: str = "", also: str = ""
    ) -> list[tuple[Any, ...]]:
        """`also`: a further SQL condition."""
        self._check(filters)
        condition, values = where(filters)
        if also:
            condition = f"{condition} AND {also}" if condition else f"WHERE {also}"
        try:
            return self.cursor().execute(f"SELECT {', '.join(select)} FROM rows {condition} {tail}", values).fetchall()
        except duckdb.ConversionException as e:
            bad = ", ".join(f.describe() for f in filters)
            raise UserError(f"cohort filter ({bad}): the value does not fit the column's type") from e

    def count(self, filters: Sequence[CohortFilter] = ()) -> int:
        return int(self._query(["count(*)"], filters)[0][0])

    def customers(self, filters: Sequence[CohortFilter] = ()) -> int:
        """Different customers among the rows: one has a row a cut-off. Beyond `EXACT_ROWS` rows an estimate (HyperLogLog)."""
        if "customer_id" not in self.columns:
            return 0
        count = "count(DISTINCT customer_id)" if self.n <= EXACT_ROWS else "approx_count_distinct(customer_id)"
        if not filters:
            return self._all_customers if self._all_customers is not None else self._count_all(count)
        return int(self._query([count], filters)[0][0])

    def _count_all(self, count: str) -> int:
        self._all_customers = int(self._query([count], ())[0][0])
        return self._all_customers

    def distinct(self, column: str, limit: int = 200) -> list[tuple[Any, int]]:
        """(value, rows), most frequent first."""
        self._check((), [column])
        name = quote(column)
        return [
            (r[0], int(r[1]))
            for r in self._query([name, "count(*) AS n"], (), f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {int(limit)}")
        ]

    def cohort(self, filters: Sequence[CohortFilter] = ()) -> CohortStatistics:
        """Statistics of a cohort; zero rows is a valid answer (NaN everywhere). No filter reads what was recorded, at once."""
        if not filters and "uncertainty" in self.meta:
            return self._everyone()
        n = self.count(filters)
        per_expert = self._experts_of(filters)
        hmm, transfer = self._means_of("d:", filters, "::INT"), self._means_of("t:", filters)
        return CohortStatistics(
            tuple(filters),
            n,
            self.n,
            tuple(self.statistics.facts.experts),
            np.asarray(ratio(np.nan_to_num(per_expert[:, 0]), np.full(len(per_expert), n))),
            per_expert[:, 1],
            per_expert[:, 2],
            self._gates_of(filters, n, per_expert[:, 3]),
            hmm,
            self._uncertainty_of(filters),
            transfer,
        )

    # An aggregate a cell adds up over a million rows, and one with a FILTER slows down all others of its query: those of an
    # expert's fallen rows are asked for where it falls back at all, in a query of its own.
    def _experts_of(self, filters: Sequence[CohortFilter]) -> Array:
        """[experts, 4]: rows where it falls back, mean and deviation of its norm elsewhere, fallen rows of the main sample."""
        experts, asked = self.statistics.facts.experts, []
        for e in experts:
            fell, norm = quote(fallback_column(e)), quote(f"n:{e}")
            asked += [f"count_if({fell})", f"avg({norm}) FILTER (NOT {fell})", f"stddev_pop({norm}) FILTER (NOT {fell})"]
            asked.append(f"count_if({fell} AND NOT aux)")
        return _numbers(self._query(asked, filters)[0]).reshape(len(experts), 4)

    def _gates_of(self, filters: Sequence[CohortFilter], n: int, fallen: Array) -> GateStats:
        """The gates; a row with a gate that is no number is left out of all, as in the recorded statistics, and counted."""
        tasks, experts = self.statistics.facts.tasks, self.statistics.facts.experts
        q, whole = quote, self.statistics.gates
        asked = []
        for t in tasks:
            asked += [f"sum({q(f'h:{t}')})", f"sum({q(f'm:{t}')})"]
            for j, e in enumerate(experts):
                asked += [f"sum({q(f'g:{t}:{e}')})", f"count_if({q(f'k:{t}')} = {j})"]
        broken = whole is not None and bool(whole.nonfinite.any())
        sound = " AND ".join(f"{q(f'k:{t}')} <> {NOBODY}" for t in tasks) if broken else ""
        counted, lost = n, np.zeros(len(tasks))
        if broken:
            counted = int(self._query(["count(*)"], filters, also=sound)[0][0])
            lost = _numbers(self._query([f"count_if({q(f'k:{t}')} = {NOBODY})" for t in tasks], filters)[0])
        gate = _numbers(self._query(asked, filters, also=sound)[0]).reshape(len(tasks), -1)
        wasted, fallback = self._wasted_of(filters, fallen, sound)
        return GateStats(
            tasks=tuple(tasks),
            experts=tuple(experts),
            n=counted,
            weight_sum=np.nan_to_num(gate[:, 2::2]),
            weight_sq=np.full(wasted.shape, np.nan),
            histogram=np.zeros((*wasted.shape, BINS)),
            entropy_sum=np.nan_to_num(gate[:, 0]),
            top=np.nan_to_num(gate[:, 3::2]),
            top_weight=np.nan_to_num(gate[:, 1]),
            wasted=np.nan_to_num(wasted),
            fallback=fallback,
            nonfinite=np.nan_to_num(lost),
        )

    def _wasted_of(self, filters: Sequence[CohortFilter], fallen: Array, sound: str) -> tuple[Array, Array]:
        """Weight [tasks, experts] that gates give to an expert on its fallen rows, and how many these are [experts]."""
        tasks, experts = self.statistics.facts.tasks, self.statistics.facts.experts
        q, starved = quote, self._starved()
        wasted, fallback = np.zeros((len(tasks), len(experts))), np.zeros(len(experts))
        for j, e in enumerate(experts):
            if e in starved and fallen[j] > 0:
                rows = f"{q(fallback_column(e))} AND NOT aux" + (f" AND {sound}" if sound else "")
                asked = ["count(*)", *(f"sum({q(f'g:{t}:{e}')})" for t in tasks)]
                fallback[j], *wasted[:, j] = _numbers(self._query(asked, filters, also=rows)[0])
        return wasted, fallback

    def _means_of(self, prefix: str, filters: Sequence[CohortFilter], cast: str = "") -> dict[str, float]:
        """Mean of every column with this prefix, by what follows it."""
        names = [c.removeprefix(prefix) for c in self.columns if c.startswith(prefix)]
        if not names:
            return {}
        found = _numbers(self._query([f"avg({quote(prefix + name)}{cast})" for name in names], filters)[0])
        return dict(zip(names, found.tolist(), strict=True))

    def _uncertainty_of(self, filters: Sequence[CohortFilter]) -> dict[str, tuple[float, ...]]:
        """task -> mean and the 5, 25, 50, 75 and 95 % quantiles."""
        names = [c.removeprefix("u:") for c in self.columns if c.startswith("u:")]
        if not names:
            return {}
        asked = [f"avg({quote(f'u:{t}')})" for t in names]
        asked += [f"approx_quantile({quote(f'u:{t}')}, [0.05, 0.25, 0.5, 0.75, 0.95])" for t in names]
        answer = self._query(asked, filters)[0]
        return {
            t: (float(mean), *(float(x) for x in quantiles)) if quantiles else (float("nan"),) * 6
            for t, mean, quantiles in zip(names, answer, answer[len(names) :], strict=False)
        }

    def _everyone(self) -> CohortStatistics:
        """The whole analysis from the recorded statistics, without touching a row."""
        s = self.statistics
        e, g, h, x = s.experts, s.gates, s.hmm, s.transfer
        assert e is not None
        assert g is not None
        return CohortStatistics(
            (), s.n, self.n, e.names, e.fallback_share, e.norm_mean, e.norm_std, g,
            {} if h is None else dict(zip(h.modes, h.default_rate.tolist(), strict=True)),
            {t: tuple(v) for t, v in self.meta["uncertainty"].items()},
            {} if x is None else dict(zip(x.edges, x.mean_ratio.tolist(), strict=True)),
        )  # fmt: skip

    def _starved(self) -> set[str]:
        """Experts that fall back in at least one row of the whole analysis."""
        e = self.statistics.experts
        return {n for n, p in zip(e.names, e.present, strict=True) if p < e.n} if e is not None else set()

    def group_mean(
        self, columns: Sequence[str], by: str, filters: Sequence[CohortFilter] = (), limit: int = 50
    ) -> tuple[list[Any], NDArray[np.int64], Array]:
        """(groups, rows [G], means [G, len(columns)]) of scalar columns by a grouping column, largest group first."""
        self._check((), [*columns, by])
        means = [f"avg({quote(c)}::DOUBLE)" for c in columns]
        rows = self._query([quote(by), "count(*) AS n", *means], filters, f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {int(limit)}")
        values = np.array([[np.nan if v is None else v for v in r[2:]] for r in rows], dtype=np.float64).reshape(
            len(rows), len(columns)
        )
        return [r[0] for r in rows], np.array([r[1] for r in rows], dtype=np.int64), values

    def histogram(
        self, column: str, filters: Sequence[CohortFilter] = (), bins: int = 40, span: tuple[float, float] | None = None
    ) -> tuple[Array, NDArray[np.int64]]:
        """(edges [bins + 1], counts [bins]) of a numeric column, aggregated in the query; NaN left out."""
        self._check((), [column])
        c = f"{quote(column)}::DOUBLE"
        if span is None:
            low, high = self._query([f"min({c}) FILTER (isfinite({c}))", f"max({c}) FILTER (isfinite({c}))"], filters)[0]
            span = (0.0, 1.0) if low is None else (float(low), float(high))
        low, high = span
        width = (high - low) / bins or 1.0
        index = f"least({bins - 1}, greatest(0, floor(({c} - {low!r}) / {width!r})))::INT"
        condition, values = where(filters)
        self._check(filters)
        clause = f"{condition} {'AND' if condition else 'WHERE'} isfinite({c})"
        rows = self.cursor().execute(f"SELECT {index} AS b, count(*) FROM rows {clause} GROUP BY 1", values).fetchall()
        counts = np.zeros(bins, dtype=np.int64)
        for b, k in rows:
            counts[b] = k
        return np.linspace(low, low + width * bins, bins + 1), counts

    def rows(
        self, columns: Sequence[str], filters: Sequence[CohortFilter] = (), limit: int = 20_000, seed: int = 0
    ) -> dict[str, NDArray[Any]]:
        """Up to `limit` rows of some columns, a seeded sample where there are more; arrays by column, missing values NaN or
        None (`filled`)."""
        self._check(filters, columns)
        condition, values = where(filters)
        names = ", ".join(quote(c) for c in columns)
        order = (
            f"ORDER BY hash(row + {int(seed)} * 1000003) LIMIT {int(limit)}" if "row" in self.columns else f"LIMIT {int(limit)}"
        )
        found = self.cursor().execute(f"SELECT {names} FROM rows {condition} {order}", values).fetchnumpy()
        return {c: filled(v) for c, v in found.items()}


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _numbers(row: Sequence[Any]) -> Array:
    """A query's row; NULL is NaN."""
    return np.array([np.nan if v is None else v for v in row], dtype=np.float64)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """stats.json + stats.npz in a folder that is still private to its writer."""
    text, arrays = pack(statistics)
    write_bytes(folder / "stats.json", text.encode())
    write_npz(folder / "stats.npz", arrays, packed=True)


class StoreWriter:
    """A private folder; `publish` writes meta.json and renames it into place."""

    def __init__(self, run: Path, fingerprint: str) -> None:
        self.final = run / "analysis" / fingerprint
        self.fingerprint = fingerprint
        make_folder(self.final.parent)
        self._open = contextlib.ExitStack()
        self.folder = self._open.enter_context(private_folder(self.final, sweep="*"))

    def publish(self, rows: int, extra: dict[str, Any], *, replace: bool = False) -> AnalysisStore:
        """The store in its place. Where one is there already, the other process that measured the same was quicker, and this
        one is dropped; with `replace`, and where what is there is damaged, it takes its place."""
        meta = {"format": FORMAT, "fingerprint": self.fingerprint, "rows": rows, "created": time.time(), **extra}
        write_json(self.folder / "meta.json", meta)
        meta["uncertainty"] = AnalysisStore(self.folder)._uncertainty_of(())  # once here, so that no page waits for it
        write_json(self.folder / "meta.json", meta)
        with alone(self.final.parent):
            if not replace:
                with contextlib.suppress(UserError):
                    return AnalysisStore(self.final)
            put(self.folder, self.final, replace=True)
            return AnalysisStore(self.final)

    def discard(self) -> None:
        """Close the writer; what it did not publish is gone."""
        self._open.close()


def stored(run: Path) -> list[AnalysisStore]:
    """The readable analyses of a run folder, newest first."""
    found = []
    for meta in (run / "analysis").glob("*/meta.json"):
        if meta.parent.name.startswith("."):
            continue
        try:
            found.append(AnalysisStore(meta.parent))
        except UserError:
            continue  # an older format or a damaged folder counts as not there: diagnose rebuilds it
    return sorted(found, key=lambda s: float(s.meta.get("created") or 0), reverse=True)
