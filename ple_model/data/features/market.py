"""Market-level figures that some features compare a customer with, fitted on the training split and stored with the dataset.

For every training cut-off: how widespread each brand is among the training customers of that cut-off and how fast it spreads,
and what a middling customer spends in each category. A row reads the newest fitted date at or before its own cut-off, and each
date is fitted on events before it, so nothing later than a cut-off reaches a row through the market either. A row reads what
the customers of the other folds do (`data.folds`): how fast a brand spreads must not count the reader's own first purchase.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from ple_model.data.build.folds import FOLDS, fold_sql
from ple_model.data.features.relations import CATEGORY_NUMBER
from ple_model.errors import UserError
from ple_model.safe_paths import write_bytes
from ple_model.safe_text import read_json

_ADOPTED = f"""
WITH fold AS (SELECT unnest(range({FOLDS}))::INT AS fold),
train AS (SELECT customer_id, cutoff, {fold_sql()} AS own FROM spine WHERE split = 'train'),
size AS (SELECT cutoff, fold, count(*) AS customers FROM train JOIN fold ON own <> fold GROUP BY ALL),
first AS (SELECT train.cutoff, train.customer_id, own, coalesce(e.brand, s.brand) AS brand,
                 max(date_diff('day', CAST(e.ts AS DATE), cutoff)) AS d
          FROM train JOIN transactions e USING (customer_id) LEFT JOIN merchants s USING (merchant_id)
          WHERE e.ts < cutoff::TIMESTAMP AND e.ts >= cutoff::TIMESTAMP - INTERVAL 365 DAY
                AND coalesce(e.kind, 'card') <> 'deposit' AND e.amount > 0
                AND coalesce(e.brand, s.brand) IS NOT NULL GROUP BY ALL)
SELECT CAST(cutoff AS VARCHAR), fold, brand, count(*) / any_value(customers), count(*) FILTER (WHERE d <= 90) / count(*)
FROM first JOIN fold ON own <> fold JOIN size USING (cutoff, fold) GROUP BY cutoff, fold, brand ORDER BY ALL
"""
_MEDIAN = f"""
WITH fold AS (SELECT unnest(range({FOLDS}))::INT AS fold),
spent AS (SELECT p.cutoff, p.customer_id, {fold_sql("p.customer_id")} AS own, {CATEGORY_NUMBER} AS c, sum(e.amount) AS amount
  FROM spine p JOIN transactions e USING (customer_id) LEFT JOIN merchants s USING (merchant_id)
  WHERE p.split = 'train' AND e.ts < cutoff::TIMESTAMP AND e.ts >= cutoff::TIMESTAMP - INTERVAL 90 DAY
        AND coalesce(e.kind, 'card') <> 'deposit' AND e.amount > 0 GROUP BY ALL)
SELECT CAST(cutoff AS VARCHAR), fold, c, median(amount) FROM spent JOIN fold ON own <> fold
GROUP BY cutoff, fold, c ORDER BY ALL
"""


@dataclass(frozen=True)
class Market:
    """Figures by date `as_of` and by the fold of customers that reads them."""

    brands: tuple[tuple[str, int, str, float, float], ...] = ()
    """(as_of, fold, brand, share of customers who bought it within a year, of those who first did in the last 90 days)."""
    categories: tuple[tuple[str, int, int, float], ...] = ()
    """(as_of, fold, category number, median spend of 90 days among its buyers)."""
    folds: int = FOLDS
    """1 in runs from before there were folds: everybody reads the same figures."""

    def save(self, path: Path) -> None:
        """Write JSON atomically."""
        write_bytes(path, json.dumps(asdict(self), ensure_ascii=False).encode())

    @staticmethod
    def load(path: Path) -> Market:
        """Read what `save` wrote; `UserError` where it is missing or damaged."""
        try:
            plain = read_json(path)
            if "folds" not in plain:
                return Market(
                    tuple((str(a), 0, str(b), float(s), float(g)) for a, b, s, g in plain["brands"]),
                    tuple((str(a), 0, int(c), float(m)) for a, c, m in plain["categories"]),
                    1,
                )
            return Market(
                tuple((str(a), int(f), str(b), float(s), float(g)) for a, f, b, s, g in plain["brands"]),
                tuple((str(a), int(f), int(c), float(m)) for a, f, c, m in plain["categories"]),
                int(plain["folds"]),
            )
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as e:
            raise UserError(f"{path} is not a market file: {e}") from e

    def register(self, con: duckdb.DuckDBPyConnection) -> None:
        """Create the temporary tables `market_brand` and `market_category`."""
        make = "CREATE OR REPLACE TEMP TABLE"
        con.execute(f"{make} market_brand (as_of DATE, fold INTEGER, brand VARCHAR, adopted_share DOUBLE, growth DOUBLE)")
        con.execute(f"{make} market_category (as_of DATE, fold INTEGER, c INTEGER, median_spend DOUBLE)")
        for table, rows in (("market_brand", self.brands), ("market_category", self.categories)):
            if rows:
                columns = list(zip(*rows, strict=True))
                unnested = ", ".join(f"unnest(${i + 1})" for i in range(len(columns)))
                con.execute(f"INSERT INTO {table} SELECT {unnested}", [list(c) for c in columns])


def fit_market(con: duckdb.DuckDBPyConnection) -> Market:
    """Fit on the `train` rows of table `spine`."""
    brands = con.execute(_ADOPTED).fetchall()
    categories = con.execute(_MEDIAN).fetchall()
    return Market(
        tuple((a, int(f), b, float(s), float(g)) for a, f, b, s, g in brands),
        tuple((a, int(f), int(c), float(m)) for a, f, c, m in categories),
    )
