"""LightGCN: propagation by hand, communities found, unknown merchants left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ple_model.data.derived.collaborative import WIDTH, MerchantTable, propagate, train, turned


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
    found, known = table.customers(np.array([0, 0, 0, 1]), np.array(["a", "c", "zz", "0"]), np.zeros(3, np.int8))
    assert found[0] == pytest.approx((table.embedding[0] + table.embedding[2]) / np.sqrt(2))
    assert known.tolist() == [True, False, False]
    assert (found[1:] == 0).all()


def test_each_half_of_the_customers_reads_what_the_other_half_taught() -> None:
    both = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    both[1, 2] = 0  # a merchant that the customers of half 0 do not know
    table = MerchantTable(np.array(["a", "b", "c"]), both)
    found, known = table.customers(np.array([0, 0, 1, 1, 2]), np.array(["a", "c", "a", "c", "c"]), np.array([0, 1, 1], np.int8))
    assert found[0] == pytest.approx((both[0, 0] + both[0, 2]) / np.sqrt(2))
    assert found[1] == pytest.approx(both[1, 0])
    assert known.tolist() == [True, True, False]


def test_turning_a_table_changes_no_product() -> None:
    rng = np.random.default_rng(1)
    table = rng.normal(size=(40, 8)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    found = turned((table @ turn).astype(np.float32), table)
    np.testing.assert_allclose(found, table, atol=1e-5)
    other = rng.normal(size=(40, 8)).astype(np.float32)
    np.testing.assert_allclose(turned(other, table) @ turned(other, table).T, other @ other.T, atol=1e-4)


def test_a_table_of_other_merchants_is_known_by_its_shape() -> None:
    names = np.array(["a", "b"])
    assert MerchantTable(names, np.ones((2, WIDTH), np.float32)).fits
    assert MerchantTable(names, np.ones((2, 2, WIDTH), np.float32)).fits
    for shape in ((3, WIDTH), (2, WIDTH - 1), (3, 2, WIDTH), (WIDTH,)):
        assert not MerchantTable(names, np.ones(shape, np.float32)).fits
