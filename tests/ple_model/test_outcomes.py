"""What held-out customers did, counted by where they stand: counted anew from the stored rows, one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ple_model.data.dataset.columns import EMPTY, decode_column
from ple_model.errors import UserError
from ple_model.outcomes import CLUSTER, FILE, MERCHANTS, Moments, Outcomes, count_outcomes, held_out, outcome_values
from ple_model.presence import part_key
from ple_model.run import load_run
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.tasks import TASKS

RUN = load_run(Path(__file__).parents[2] / "sample_runs" / "full")
SAMPLE = RUN.sample()
WIDTH = SAMPLE.width


@pytest.fixture(scope="module")
def counted() -> Outcomes:
    found = count_outcomes(SAMPLE, RUN.config)
    assert found is not None
    return found


def latest_rows() -> list[int]:
    kept: dict[str, tuple[str, int]] = {}
    table = SAMPLE.table(["customer_id", "cutoff", "split"]).to_pylist()
    for i, row in enumerate(table):
        if row["split"] != "train" and row["cutoff"] >= kept.get(row["customer_id"], ("", 0))[0]:
            kept[row["customer_id"]] = (row["cutoff"], i)
    return sorted(i for _, i in kept.values())


def test_of_every_held_out_customer_the_latest_row_counts(counted: Outcomes) -> None:
    assert held_out(SAMPLE, 10**9, 0).tolist() == latest_rows()
    assert counted.customers == len(latest_rows())


def test_a_draw_has_so_many_and_only_such_rows() -> None:
    drawn = held_out(SAMPLE, 17, 3)
    assert len(set(drawn.tolist())) == 17
    assert set(drawn.tolist()) <= set(latest_rows())


@pytest.mark.parametrize(("task", "output"), [("churn", 0), ("channel", 1), ("ltv", 0), ("nba", 3)])
def test_sides_are_those_of_the_rows(counted: Outcomes, task: str, output: int) -> None:
    batch = SAMPLE.take(latest_rows())
    inputs = batch.inputs
    empty = decode_column(SAMPLE.table([EMPTY]).column(EMPTY), EMPTY, SAMPLE.path, WIDTH).astype(bool)[latest_rows()]
    y = np.asarray((inputs.targets or {})[task], dtype=np.float64)
    value = np.expm1(y) if TASKS[task].log_scale else y
    if TASKS[task].kind != "regression":
        value = np.where(y < 0, np.nan, y == (1 if TASKS[task].kind == "binary" else output))
    features = inputs.features.numpy()
    for column in range(0, WIDTH, 41):
        part = RUN.context().schema.columns[column].part
        there = inputs.present(part_key(part)).numpy() & ~empty[:, column]
        x = features[:, column]
        middle = np.sort(x[there])[(int(there.sum()) - 1) // 2]
        assert counted.middles[column] == middle
        sides = counted.sides(task, output, column)
        assert sides is not None
        for found, where in zip(sides, (x < middle, x == middle, x > middle), strict=True):
            mine = value[where & there & np.isfinite(value)]
            assert found.n == len(mine)
            assert found.total == pytest.approx(mine.sum(), abs=1e-6)
            assert found.squares == pytest.approx((mine**2).sum(), rel=1e-9, abs=1e-6)


def test_members_of_a_group_and_all_others(counted: Outcomes) -> None:
    inputs = SAMPLE.take(latest_rows()).inputs
    y = (inputs.targets or {})["churn"].numpy().astype(float)
    ids = inputs.cluster_ids.numpy()
    for member in sorted(set(ids.tolist())):
        found = counted.members("churn", 0, CLUSTER, member)
        assert found is not None
        for side, where in zip(found, (ids == member, ids != member), strict=True):
            assert (side.n, side.total) == (int((where & (y >= 0)).sum()), y[where & (y >= 0)].sum())
    states = inputs.hmm_lifecycle
    assert states is not None
    mine = inputs.present("hmm_lifecycle").numpy() & (states[:, :10].argmax(1).numpy() == 2) & (y >= 0)
    state = counted.members("churn", 0, "hmm_lifecycle", 2)
    assert state is not None
    assert state[0].n == int(mine.sum())


def test_groups_of_those_who_buy_at_similar_merchants(counted: Outcomes) -> None:
    inputs = SAMPLE.take(latest_rows()).inputs
    assert inputs.collaborative_features is not None
    table = inputs.collaborative_features.numpy()
    mine = np.array([counted.merchants(x) for x in table])
    assert counted.merchants(np.zeros(64)) == -1
    y = (inputs.targets or {})["brand_prediction"].numpy()
    brand = int(np.bincount(y[y >= 0]).argmax())
    group = int(mine[y == brand][0])
    found = counted.members("brand_prediction", brand, MERCHANTS, group)
    assert found is not None
    assert (found[0].n, found[0].total) == (
        int(((mine == group) & (y >= 0)).sum()),
        int(((mine == group) & (y == brand)).sum()),
    )
    cosine = table @ table.T / (np.linalg.norm(table, axis=1)[:, None] * np.linalg.norm(table, axis=1)).clip(1e-9)
    together = (mine[:, None] == mine) & (mine >= 0)[:, None]
    assert cosine[together].mean() > cosine[~together].mean() + 0.1


def test_what_was_not_counted_is_none(counted: Outcomes) -> None:
    assert counted.tallies["brand_prediction"].keys() == {MERCHANTS}
    assert all(counted.sides(t, 0, 0) is None for t in ("brand_prediction", "no_task"))
    assert counted.sides("churn", 1, 0) is None
    assert counted.members("churn", 0, CLUSTER, 10_000) is None
    assert counted.members("churn", 0, "no_standing", 0) is None


def test_what_is_saved_is_read_back(counted: Outcomes, tmp_path: Path) -> None:
    counted.save(tmp_path)
    again = Outcomes.load(tmp_path, WIDTH)
    assert again is not None
    assert again.customers == counted.customers
    assert np.array_equal(again.middles, counted.middles, equal_nan=True)
    assert again.tallies.keys() == counted.tallies.keys()
    for task, by in counted.tallies.items():
        for standing, t in by.items():
            other = again.tallies[task][standing]
            assert np.array_equal(other.n, t.n)
            assert np.array_equal(other.total, t.total)
            assert (other.squares is None) is (t.squares is None)


def test_a_run_without_the_file_has_none_and_a_damaged_one_says_so(counted: Outcomes, tmp_path: Path) -> None:
    assert Outcomes.load(tmp_path, WIDTH) is None
    counted.save(tmp_path)
    whole = read_npz(tmp_path / FILE)
    with pytest.raises(UserError, match="does not fit 12 columns"):
        Outcomes.load(tmp_path, 12)
    for name, value, said in (
        ("total|churn|columns", None, "do not fit"),
        ("n|churn|columns", np.zeros(7, np.int32), "do not fit"),
        ("squares|ltv|columns", np.full_like(whole["squares|ltv|columns"], np.nan), "no number"),
    ):
        arrays = {k: v for k, v in whole.items() if k != name} | ({} if value is None else {name: value})
        write_npz(tmp_path / FILE, arrays)
        with pytest.raises(UserError, match=said):
            Outcomes.load(tmp_path, WIDTH)


def test_values_of_labels() -> None:
    assert np.isnan(outcome_values(TASKS["churn"], np.array([1, 0, -1]))[:, 0]).tolist() == [False, False, True]
    nba = outcome_values(TASKS["nba"], np.array([2, -1]))
    assert nba.shape == (2, TASKS["nba"].out_dim)
    assert (nba[0].argmax(), nba[0].sum(), np.isnan(nba[1]).all()) == (2, 1, True)
    assert outcome_values(TASKS["ltv"], np.array([np.log1p(7.0)]))[0, 0] == pytest.approx(7.0)
    plain = replace(TASKS["ltv"], log_scale=False)
    assert outcome_values(plain, np.array([7.0]))[0, 0] == 7.0


@given(st.lists(st.integers(-500, 500), min_size=2, max_size=30), st.integers(1, 29))
def test_moments_of_two_halves_are_those_of_the_whole(tenths: list[int], cut: int) -> None:
    values = np.array(tenths) / 10
    whole, both = Moments.of(values), Moments.of(values[:cut]) + Moments.of(values[cut:])
    assert both.n == whole.n
    assert both.mean == pytest.approx(values.mean(), abs=1e-9)
    assert both.variance == pytest.approx(values.var(ddof=1), abs=1e-6)
