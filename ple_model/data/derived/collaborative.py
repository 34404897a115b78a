"""`collaborative_features`: a LightGCN over customers and merchants (He et al., SIGIR 2020), in a form that serves new
customers.

Own code in place of torch-geometric: it is two sparse products. Customers have no free embedding: they are what propagation
from their merchants gives (E_u = 0 at layer 0), so a customer that was never trained on is embedded by the same product.
Merchant embeddings are trained with the BPR loss on what a bounded sample of training customers bought before the first
training cut-off, and then frozen; a row's embedding is the normalised sum over the merchants of its last 365 days.

BPR pulls the merchants of one customer together, so that a customer who was trained on reads a longer vector than anybody
else (its length alone told 180 training customers from others at an AUC of 0.91, 1,100 at 0.58). Therefore two tables are
trained, each on one half of the customers and read by the other half (`data.folds`), at the cost of one; the second is turned
onto the first (orthogonal Procrustes, Schoenemann 1966), which leaves every product of two embeddings as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ple_model.data.build.folds import folds_of
from ple_model.data.build.spine import within
from ple_model.data.events.connect import EventStore
from ple_model.data.labels.conditions import PURCHASE

FloatArray = NDArray[np.float32]
WIDTH = 64
LAYERS = 2
SAMPLE_CUSTOMERS = 4_000
STEPS = 150
BATCH = 2_048
MIN_PAIRS = 50
"""Of one half of the customers."""
HALVES = 2


@dataclass(frozen=True)
class MerchantTable:
    """merchants [m] ids in sorted order; embedding [2, m, 64] by the half of the customers that reads it, propagated, divided
    by the root of the merchant's degree and scaled: zero where the other half does not know the merchant. [m, 64] in a run
    from before there were halves: everybody reads the same."""

    merchants: NDArray[np.str_]
    embedding: FloatArray

    @property
    def fits(self) -> bool:
        """The embedding is of these merchants."""
        one = (len(self.merchants), WIDTH)
        return len(self.merchants) > 0 and self.embedding.shape in (one, (HALVES, *one))

    def customers(
        self, row: NDArray[np.int64], merchant: NDArray[np.str_], half: NDArray[np.int8]
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """([n, 64] embeddings, [n] bool: knows a merchant) of distinct pairs (row, merchant id) and the half of each row [n];
        unknown merchants are left out."""
        n, m = len(half), len(self.merchants)
        flat = self.embedding.reshape(-1, self.embedding.shape[-1])
        found = np.minimum(np.searchsorted(self.merchants, merchant), m - 1)
        place = found + m * half[row].astype(np.int64) if self.embedding.ndim == 3 else found
        known = (self.merchants[found] == merchant) & (flat != 0).any(axis=1)[place]
        row, place = row[known], place[known]
        degree = np.bincount(row, minlength=n)
        weight = 1 / np.sqrt(np.maximum(degree, 1))[row]
        matrix = sparse.csr_matrix((weight.astype(np.float32), (row, place)), shape=(n, len(flat)))
        return np.asarray(matrix @ flat, dtype=np.float32), degree > 0


def read_pairs(store: EventStore, first: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Distinct (row - first, merchant id) of spine rows `first` <= row_id < `stop`, card purchases of the last 365 days."""
    table = store.con.sql(f"""
        SELECT DISTINCT row_id - {first} AS r, merchant_id FROM spine s JOIN transactions t ON t.customer_id = s.customer_id
         AND t.ts < s.cutoff AND t.ts >= s.cutoff - 365 AND t.merchant_id IS NOT NULL AND {PURCHASE}
        WHERE row_id >= {first} AND row_id < {stop} AND {within(store.con, first, stop)} ORDER BY 1, 2""").to_arrow_table()
    return table.column(0).to_numpy().astype(np.int64), np.array(table.column(1).to_pylist(), dtype=np.str_)


def fit_merchants(store: EventStore, seed: int = 0) -> MerchantTable | None:
    """Train on the training customers of the spine; None where the source knows (almost) no merchants."""
    table = store.con.sql(f"""
        WITH who AS (SELECT customer_id, min(cutoff) AS own FROM spine WHERE split = 'train' GROUP BY 1
                     ORDER BY md5('{seed}' || customer_id) LIMIT {SAMPLE_CUSTOMERS}),
        begin AS (SELECT min(cutoff) AS cutoff FROM spine WHERE split = 'train')
        SELECT DISTINCT customer_id, merchant_id FROM transactions t JOIN who USING (customer_id), begin
        WHERE t.ts < begin.cutoff AND t.ts >= begin.cutoff - 365 AND merchant_id IS NOT NULL AND {PURCHASE}
        ORDER BY 1, 2""").to_arrow_table()
    customers, user = np.unique(np.array(table.column(0).to_pylist(), dtype=np.str_), return_inverse=True)
    merchants, item = np.unique(np.array(table.column(1).to_pylist(), dtype=np.str_), return_inverse=True)
    half = folds_of(customers.tolist(), HALVES)
    tables, roots = [], []
    for reader in range(HALVES):
        others = half[user] != reader
        if others.sum() < MIN_PAIRS:
            return None
        used, own = np.unique(user[others], return_inverse=True)
        degree = np.bincount(item[others], minlength=len(merchants))
        found = train(own, item[others], len(used), len(merchants), seed)
        tables.append(np.where(degree[:, None] > 0, found, np.float32(0)))
        roots.append(np.sqrt(np.maximum(degree, 1))[:, None])
    tables = [tables[0], *(turned(t, tables[0]) for t in tables[1:])]
    fitted = MerchantTable(merchants, np.stack([t / r for t, r in zip(tables, roots, strict=True)]).astype(np.float32))
    values, there = fitted.customers(user.astype(np.int64), merchants[item], half)
    return MerchantTable(merchants, fitted.embedding / max(float(values[there].std()) if there.any() else 0.0, 1e-6))


def turned(table: FloatArray, onto: FloatArray) -> FloatArray:
    """The table [m, d] in the axes of another: the rotation that brings their rows closest."""
    left, _, right = np.linalg.svd(table.T.astype(np.float64) @ onto.astype(np.float64))
    return np.asarray(table @ (left @ right), dtype=np.float32)


def train(
    user: NDArray[np.int64], item: NDArray[np.int64], users: int, items: int, seed: int, steps: int = STEPS
) -> FloatArray:
    """[items, 64] propagated merchant embeddings after BPR training on distinct pairs (user, item)."""
    g = torch.Generator().manual_seed(seed)
    index = torch.from_numpy(np.stack([user, item]).astype(np.int64))
    degree_u = torch.bincount(index[0], minlength=users).clamp_min(1).float()
    degree_i = torch.bincount(index[1], minlength=items).clamp_min(1).float()
    weight = (degree_u[index[0]] * degree_i[index[1]]).rsqrt()
    table = (0.1 * torch.randn(items, WIDTH, generator=g)).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.02)
    for _ in range(steps):
        customers, merchants = propagate(table, index, weight, users)
        pick = torch.randint(0, index.shape[1], (BATCH,), generator=g)
        other = torch.randint(0, items, (BATCH,), generator=g)
        u = customers[index[0, pick]]
        margin = (u * (merchants[index[1, pick]] - merchants[other])).sum(1)
        loss = torch.nn.functional.softplus(-margin).mean() + 1e-4 * table.square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        return np.asarray(propagate(table, index, weight, users)[1].numpy(), dtype=np.float32)


def propagate(table: Tensor, index: Tensor, weight: Tensor, users: int) -> tuple[Tensor, Tensor]:
    """(customers [u, 64], merchants [m, 64]): mean over layers of E <- A E with A the symmetrically normalised graph, E_u = 0
    at layer 0. index [2, edges] (customer, merchant), weight [edges]."""
    matrix = torch.sparse_coo_tensor(index, weight, (users, len(table)), check_invariants=False).coalesce()
    back = matrix.t()
    customers, merchants = torch.zeros(users, table.shape[1]), table
    total_u, total_i = customers, merchants
    for _ in range(LAYERS):
        customers, merchants = torch.sparse.mm(matrix, merchants), torch.sparse.mm(back, customers)
        total_u, total_i = total_u + customers, total_i + merchants
    return total_u / (LAYERS + 1), total_i / (LAYERS + 1)
