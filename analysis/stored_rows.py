"""One stored analysis as it lies on disk: its statistics, and its rows as a view that DuckDB queries.

Columns of a row: row, customer_id, cutoff, split, segment, cluster, raw:<name>, aux (the representation holds static
cold-start or anonymous features); per expert n:<expert> (norm) and f:<expert> (zero fallback); per gate cell
g:<task>:<expert>, per gate h:<task> (entropy, nats), k:<task> (number of the top expert), m:<task> (its weight); per task
p:<task> (binary: calibrated probability, multiclass: top probability, regression: original units), c:<task> (most probable
class or brand), u:<task> (vacuity or epistemic variance), e:<task> (total evidence), y:<task> (label, original units),
a:<task> (aleatoric uncertainty), q:<task> (regression: the head's predictive distribution at the label), s:<task>:<class>
(probabilities of a three-class task); o:, r:, z:, l: of labelled rows, what metrics are drawn from (`recording/columns.py`);
w:<task>:<whose> loss of the row (model, constant and stored baselines, `judging`);
d:<mode> (default embedding), t:<source:target> (transfer ratio), l0 (active SAE latents); of a run that carries a pre-trained
encoder anomaly (how hard the last days are to explain, as a percentile among training customers) and anomaly_day (how many
steps before the cut-off the oddest of them lies).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.cohort import CohortFilter, where
from analysis.nullable import filled
from analysis.stats.base import Array, unpack
from analysis.stats.run import Statistics
from ple_model.errors import UserError, did_you_mean
from ple_model.safe_arrays import open_parquet, read_npz
from ple_model.safe_paths import check_tree, is_file, is_folder
from ple_model.safe_text import read_object, read_text
from ple_model.shapes import NUMBER, TEXT, WHOLE, Keys, ListOf, MapOf, misfit
from ple_model.sql_paths import to_read
from ple_model.sql_text import quote

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
EXACT_ROWS = 100_000
"""Up to so many rows customers are counted one by one."""
KEPT_BYTES = 32 << 20
"""Of answers that are kept, so that a page that is drawn again asks nothing again: what is stored never changes."""


Answer = TypeVar("Answer")


class StoredRows:
    """The statistics and rows of an analysis. Cheap to open; each query uses a cursor of its own, so threads may share it."""

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
        self._answers: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self.training_labels: dict[str, NDArray[np.float64]] = {}
        """By task those of the measured training rows, kept for every cohort that asks what a constant is (`performance`)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fingerprint}, {self.n} rows)"

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

    def _answer(
        self, sql: str, values: Sequence[object], read: Callable[[duckdb.DuckDBPyConnection], Answer],
        size: Callable[[Answer], int],
    ) -> Answer:  # fmt: skip
        """What a query answers, asked once while it is among the latest that fit `KEPT_BYTES`. Nobody may change it."""
        key = (sql, *map(repr, values))
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                kept: Answer = self._answers[key][0]
                return kept
        found = read(self.cursor().execute(sql, list(values)))
        with self._lock:
            self._answers[key] = found, size(found)
            while self._answers and sum(n for _, n in self._answers.values()) > KEPT_BYTES:
                self._answers.popitem(last=False)
        return found

    def _tuples(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        return list(self._answer(sql, values, lambda c: c.fetchall(), lambda rows: sum(64 * len(r) for r in rows)))

    def arrays(self, sql: str, values: Sequence[object]) -> dict[str, NDArray[Any]]:
        """A query's columns, missing values NaN or None (`filled`); the reader's own to change."""

        def read(answered: duckdb.DuckDBPyConnection) -> dict[str, NDArray[Any]]:
            return {c: filled(v) for c, v in answered.fetchnumpy().items()}

        def size(found: dict[str, NDArray[Any]]) -> int:
            return sum(v.nbytes * (8 if v.dtype == object else 1) for v in found.values())

        return {c: v.copy() for c, v in self._answer(sql, values, read, size).items()}

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column name -> DuckDB type."""
        return {str(r[0]): str(r[1]) for r in self.cursor().execute("DESCRIBE rows").fetchall()}

    @property
    def filter_columns(self) -> list[str]:
        """The columns a person filters by: segment, cluster, split, cutoff, anomaly, raw:*, predictions, uncertainties,
        labels."""
        plain = [c for c in ("segment", "cluster", "split", "cutoff", "anomaly") if c in self.columns]
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

    def query(
        self, select: Sequence[str], filters: Sequence[CohortFilter], tail: str = "", also: str = ""
    ) -> list[tuple[Any, ...]]:
        """Rows of what is selected of a cohort; `tail` follows its condition, `also` is a further one."""
        self._check(filters)
        condition, values = where(filters)
        if also:
            condition = f"{condition} AND {also}" if condition else f"WHERE {also}"
        try:
            return self._tuples(f"SELECT {', '.join(select)} FROM rows {condition} {tail}", values)
        except duckdb.ConversionException as e:
            bad = ", ".join(f.describe() for f in filters)
            raise UserError(f"cohort filter ({bad}): the value does not fit the column's type") from e

    def count(self, filters: Sequence[CohortFilter] = ()) -> int:
        return int(self.query(["count(*)"], filters)[0][0])

    def customers(self, filters: Sequence[CohortFilter] = ()) -> int:
        """Different customers among the rows: one has a row a cut-off. Beyond `EXACT_ROWS` rows an estimate (HyperLogLog)."""
        if "customer_id" not in self.columns:
            return 0
        count = "count(DISTINCT customer_id)" if self.n <= EXACT_ROWS else "approx_count_distinct(customer_id)"
        if not filters:
            return self._all_customers if self._all_customers is not None else self._count_all(count)
        return int(self.query([count], filters)[0][0])

    def _count_all(self, count: str) -> int:
        self._all_customers = int(self.query([count], ())[0][0])
        return self._all_customers

    def distinct(self, column: str, limit: int = 200) -> list[tuple[Any, int]]:
        """(value, rows), most frequent first."""
        self._check((), [column])
        name = quote(column)
        return [
            (r[0], int(r[1]))
            for r in self.query([name, "count(*) AS n"], (), f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {int(limit)}")
        ]

    def group_mean(
        self, columns: Sequence[str], by: str, filters: Sequence[CohortFilter] = (), limit: int = 50
    ) -> tuple[list[Any], NDArray[np.int64], Array]:
        """(groups, rows [G], means [G, len(columns)]) of scalar columns by a grouping column, largest group first."""
        self._check((), [*columns, by])
        means = [f"avg({quote(c)}::DOUBLE)" for c in columns]
        rows = self.query([quote(by), "count(*) AS n", *means], filters, f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {int(limit)}")
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
            low, high = self.query([f"min({c}) FILTER (isfinite({c}))", f"max({c}) FILTER (isfinite({c}))"], filters)[0]
            span = (0.0, 1.0) if low is None else (float(low), float(high))
        low, high = span
        width = (high - low) / bins or 1.0
        index = f"least({bins - 1}, greatest(0, floor(({c} - {low!r}) / {width!r})))::INT"
        condition, values = where(filters)
        self._check(filters)
        clause = f"{condition} {'AND' if condition else 'WHERE'} isfinite({c})"
        rows = self._tuples(f"SELECT {index} AS b, count(*) FROM rows {clause} GROUP BY 1", values)
        counts = np.zeros(bins, dtype=np.int64)
        for b, k in rows:
            counts[b] = k
        return np.linspace(low, low + width * bins, bins + 1), counts

    def latest(self) -> NDArray[np.int64]:
        """Numbers of the rows that are their customer's latest, whatever the cohort."""
        found = self.arrays("SELECT arg_max(row, cutoff) AS row FROM rows GROUP BY customer_id", ())
        return np.sort(np.asarray(found["row"], dtype=np.int64))

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
        return self.arrays(f"SELECT {names} FROM rows {condition} {order}", values)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
