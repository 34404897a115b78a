"""Which leaves of the three trees the rows use, from SQL: the weights under customers' hyperbolic midpoints.

MCC: card spend (net of refunds) by category path. Product: card spend by product (log), and products held at the last
statement before the cut-off (log balance). Region: the customer's own with weight 1, and its spend shares by the merchants'
regions. Product and region names may be paths with '/'. Only the `MAX_LEAVES` most used paths of a tree become nodes; others
count for their deepest known ancestor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ple_model.context import BALLS
from ple_model.data.build.spine import within
from ple_model.data.derived.hierarchy import Forest, build_forest
from ple_model.data.events.connect import EventStore

MAX_LEAVES = 400
Uses = dict[str, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
_CATEGORY = "coalesce(t.mcc_l1, m.mcc_l1) AS l1, coalesce(t.mcc_l2, m.mcc_l2) AS l2, coalesce(t.mcc, m.mcc) AS l3"
_MERCHANT = """(SELECT merchant_id, any_value(mcc_l1) mcc_l1, any_value(mcc_l2) mcc_l2, any_value(mcc) mcc,
                       any_value(region) region FROM merchants GROUP BY 1)"""


def _query(ball: str, days: int, weight: str, where: str, mine: str = "true") -> str:
    """SQL of (row, path as text with '\x1f' between the levels, weight); `mine` bounds `customer_id` of what is joined."""
    card = f"""FROM spine s JOIN (FROM transactions WHERE {mine}) t ON t.customer_id = s.customer_id AND t.ts < s.cutoff
                AND t.ts >= s.cutoff - {days} LEFT JOIN {_MERCHANT} m USING (merchant_id)
               WHERE {where} AND coalesce(t.kind, 'card') = 'card'"""
    if ball == "mcc":
        return f"""SELECT row_id, concat_ws(chr(31), l1, l2, l3) AS path, {weight} AS w
                   FROM (SELECT s.row_id, {_CATEGORY}, t.amount {card}) WHERE l1 IS NOT NULL GROUP BY ALL HAVING {weight} > 0"""
    if ball == "product":
        return f"""SELECT row_id, replace(product, '/', chr(31)) AS path, sum(w) AS w FROM (
                       SELECT s.row_id, t.product, ln(1 + {weight}) AS w
                       FROM spine s JOIN (FROM transactions WHERE {mine}) t ON t.customer_id = s.customer_id
                        AND t.ts < s.cutoff AND t.ts >= s.cutoff - {days}
                       WHERE {where} AND t.product IS NOT NULL AND (coalesce(t.kind, 'card') = 'card' OR t.amount > 0)
                       GROUP BY ALL HAVING {weight} > 0
                       UNION ALL
                       SELECT s.row_id, h.product, 1 + ln(1 + abs(coalesce(arg_max(h.balance, h.as_of), 0)))
                       FROM spine s JOIN (FROM holdings WHERE {mine}) h ON h.customer_id = s.customer_id AND h.as_of < s.cutoff
                        AND h.as_of >= s.cutoff - 62 AND (h.closed_on IS NULL OR h.closed_on >= s.cutoff)
                       WHERE {where} GROUP BY ALL
                   ) WHERE product IS NOT NULL GROUP BY ALL"""
    return f"""SELECT row_id, replace(region, '/', chr(31)) AS path, sum(w) AS w FROM (
                   SELECT s.row_id, c.region, 1.0 AS w FROM spine s JOIN (FROM customers WHERE {mine}) c USING (customer_id)
                   WHERE {where}
                   UNION ALL
                   SELECT row_id, region, w / sum(w) OVER (PARTITION BY row_id) FROM (
                       SELECT s.row_id, m.region, {weight} AS w {card} AND m.region IS NOT NULL
                       GROUP BY ALL HAVING {weight} > 0)
               ) WHERE region IS NOT NULL GROUP BY ALL"""


def fit_forest(store: EventStore) -> Forest:
    """The trees of what training rows use, embedded."""
    leaves: dict[str, Sequence[tuple[str, ...]]] = {}
    for ball in BALLS:
        query = _query(ball, 365, "sum(amount)", "s.split = 'train'")
        rows = store.con.execute(
            f"SELECT path, count(*) AS n FROM ({query}) GROUP BY 1 ORDER BY n DESC, path LIMIT {MAX_LEAVES}"
        ).fetchall()
        leaves[ball] = [tuple(str(path).split("\x1f")) for path, _ in rows]
    return build_forest(leaves)


def read_uses(store: EventStore, forest: Forest, first: int, stop: int, *, days: int, by: str) -> Uses:
    """(row - first, node, weight) of spine rows `first` <= row_id < `stop` by ball; `by` is 'spend' or 'visits'."""
    weight = "sum(amount)" if by == "spend" else "count(*) FILTER (WHERE amount > 0)"
    out: Uses = {}
    mine = within(store.con, first, stop, "customer_id")
    for ball in BALLS:
        query = _query(ball, days, weight, f"s.row_id >= {first} AND s.row_id < {stop}", mine)
        table = store.con.sql(f"SELECT row_id, path, w FROM ({query}) ORDER BY row_id, path").to_arrow_table()
        path = table.column("path").combine_chunks().dictionary_encode()
        if isinstance(path, pa.ChunkedArray):
            path = path.chunk(0)
        nodes = forest.nodes(ball, [tuple(p.split("\x1f")) for p in path.dictionary.to_pylist()])
        index = path.indices.to_numpy().astype(np.int64)
        node = nodes[index] if len(nodes) else np.zeros(0, np.int64)
        out[ball] = (table.column("row_id").to_numpy() - first, node, table.column("w").to_numpy().astype(np.float64))
    return out
