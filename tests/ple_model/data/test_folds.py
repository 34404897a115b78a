"""The fold of a customer is the same in SQL and in Python, evenly spread, and says nothing of the split."""

from __future__ import annotations

import duckdb
import numpy as np

from ple_model.data.build.folds import FOLDS, fold_sql, folds_of


def test_sql_and_python_agree_and_the_split_knows_nothing_of_the_fold() -> None:
    ids = [f"c{i:05}" for i in range(4000)] + ["é", "9410-1542"]
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t AS SELECT unnest($1) AS customer_id", [ids])
        found = con.execute(
            f"SELECT {fold_sql()}, ('0x' || substr(md5('0:' || customer_id), 1, 8))::BIGINT % 10000 < 6000 FROM t"
        ).fetchall()
    fold = np.array([f for f, _ in found])
    assert fold.tolist() == folds_of(ids).tolist()
    shares = np.array([[np.mean([t for f, t in found if f == k]), (fold == k).mean()] for k in range(FOLDS)])
    assert np.abs(shares[:, 0] - 0.6).max() < 0.08  # four standard errors of 800 customers
    assert np.abs(shares[:, 1] - 1 / FOLDS).max() < 0.03
