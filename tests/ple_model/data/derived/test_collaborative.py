"""LightGCN: propagation by hand, communities found, unknown merchants left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ple_model.data.derived.collaborative import WIDTH, MerchantTable, propagate, train


def test_propagation_by_hand() -> None:
    # customer 0 - merchants 0 and 1, customer 1 - merchant 1; degrees of customers 2, 1, of merchants 1, 2
    index = torch.tensor([[0, 0, 1], [0, 1, 1]])
    weight = torch.tensor([1 / np.sqrt(2 * 1), 1 / np.sqrt(2 * 2), 1 / np.sqrt(1 * 2)], dtype=torch.float32)
    table = torch.tensor([[1.0], [2.0]])
    customers, merchants = propagate(table, index, weight, 2)
    a, b, c = weight.tolist()
    first = [a * 1 + b * 2, c * 2]
    assert customers[:, 0].tolist() == pytest.approx([first[0] / 3, first[1] / 3])
    assert merchants[:, 0].tolist() == pytest.approx([(1 + a * first[0]) / 3, (2 + b * first[0] + c * first[1]) / 3])


def test_merchants_that_share_customers_come_close() -> None:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(120), 6)
    item = np.concatenate([rng.choice(20, 6, replace=False) + 20 * (u % 3) for u in range(120)])
    found = train(user, item, 120, 60, seed=0, steps=60)
    assert found.shape == (60, WIDTH)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = np.arange(60)[:, None] // 20 == np.arange(60)[None] // 20
    np.fill_diagonal(same, False)
    assert cosine[same].mean() > cosine[~same & ~np.eye(60, dtype=bool)].mean() + 0.3


def test_a_customer_is_the_normalised_sum_of_its_known_merchants() -> None:
    table = MerchantTable(np.array(["a", "b", "c"]), np.arange(9, dtype=np.float32).reshape(3, 3))
    found, known = table.customers(np.array([0, 0, 0, 1]), np.array(["a", "c", "zz", "0"]), 3)
    assert found[0] == pytest.approx((table.embedding[0] + table.embedding[2]) / np.sqrt(2))
    assert known.tolist() == [True, False, False]
    assert (found[1:] == 0).all()
