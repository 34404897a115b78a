"""Statistics: merging equals measuring everything at once; known values by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats import effects, evidence, expert, finite, gate, hmm, inputs, sae, training, transfer
from analysis.stats.base import HALVED, Statistic, entropy, jensen_shannon, pack, unpack
from analysis.stats.run import Statistics
from tests.analysis.planted import healthy

Rows = dict[str, Any]


def rows(n: int, seed: int) -> Rows:
    """Arrays that every measure can read; row i depends on its own draws only."""
    rng = np.random.default_rng(seed)
    present = rng.random((n, 2)) < 0.8
    out = rng.normal(size=(n, 7)) * np.repeat(present, (4, 3), axis=1)
    weights = rng.random((n, 3, 2)) + 1e-3
    return {
        "out": out, "present": present, "weights": weights / weights.sum(-1, keepdims=True),
        "default": rng.random((n, 2)) < 0.3,
        "projected": rng.normal(size=(n, 2, 5)), "added": rng.normal(size=(n, 5)), "own": rng.normal(size=(n, 5)) + 2,
        "latent": np.maximum(rng.normal(size=(n, 11)), 0), "x": rng.normal(size=(n, 6)), "u": rng.uniform(0.01, 1, n),
        "p": rng.random(n), "y": rng.integers(-1, 2, n), "features": rng.normal(size=(n, 734)), "code": rng.integers(0, 4, n),
        "diagram": rng.normal(size=(n, 9, 3)), "mask": rng.random((n, 9)) < 0.5, "coords": rng.normal(size=(n, 20)) / 3,
        "before": rng.random(n), "after": rng.random(n),
    }  # fmt: skip


def measure_expert(r: Rows) -> Statistic:
    return expert.measure({"a": r["out"][:, :4], "b": r["out"][:, 4:]}, {"a": r["present"][:, 0], "b": r["present"][:, 1]})


def measure_gate(r: Rows) -> Statistic:
    return gate.measure(("t1", "t2", "t3"), ("a", "b"), r["weights"], r["present"])


def measure_hmm(r: Rows) -> Statistic:
    by = {m: r["projected"][:, i] for i, m in enumerate("jl")}
    return hmm.measure(by, {m: r["default"][:, i] for i, m in enumerate("jl")}, {"j": np.ones(5), "l": np.zeros(5)})


def measure_transfer(r: Rows) -> Statistic:
    return transfer.measure({"s:t": r["added"]}, {"t": r["own"]}, len(r["added"]))


def measure_finite(r: Rows) -> Statistic:
    some = {"a": r["default"][:, 0], "b": r["default"][:, 1]}
    return finite.measure(len(r["u"]), some, {"e": r["mask"][:, 0]}, {"t": r["mask"][:, 1]}, {})


def measure_sae(r: Rows) -> Statistic:
    return sae.measure(r["latent"], r["x"], 0.9 * r["x"])


def measure_evidence(r: Rows) -> Statistic:
    return evidence.measure("binary", r["u"], 2 / r["u"], r["p"], r["y"])


def measure_effects(r: Rows) -> Statistic:
    return effects.measure({"t": "binary"}, {"t": r["before"]}, {"cut": {"t": r["after"]}})


def measure_inputs(r: Rows) -> Statistic:
    n = len(r["features"])
    everywhere = np.ones(n, bool)
    return inputs.measure(
        r["features"], {"txn_seq": r["code"]}, np.ones((n, 734), bool), {"d": (r["diagram"], r["mask"], everywhere)},
        (r["coords"], everywhere), {"ctr": r["y"] >= 0}, {"warm_start": n},
    )  # fmt: skip


MEASURES: dict[str, Callable[[Rows], Statistic]] = {
    "expert": measure_expert, "gate": measure_gate, "hmm": measure_hmm, "transfer": measure_transfer, "sae": measure_sae,
    "evidence": measure_evidence, "finite": measure_finite, "effects": measure_effects, "inputs": measure_inputs,
}  # fmt: skip


def assert_same(a: Any, b: Any) -> None:
    _, left = pack(a)
    _, right = pack(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_allclose(value, right[name], rtol=1e-9, atol=1e-9, err_msg=name)
    scalars = {k: v for k, v in vars(a).items() if isinstance(v, (int, float))}
    assert scalars == pytest.approx({k: getattr(b, k) for k in scalars}, rel=1e-9)


@settings(max_examples=8, deadline=None)
@given(n=st.integers(2, 40), cut=st.integers(0, 100), seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", list(MEASURES))
def test_measuring_two_halves_and_adding_equals_measuring_the_whole(name: str, n: int, cut: int, seed: int) -> None:
    whole = rows(n, seed)
    k = max(1, min(n - 1, cut * n // 100))
    a, b = ({key: v[s] for key, v in whole.items()} for s in (slice(0, k), slice(k, None)))
    measure = MEASURES[name]
    assert_same(measure(whole), measure(a) + measure(b))


def test_training_records_concatenate() -> None:
    lines = [{"event": "epoch", "epoch": i, "train": {"total": 1.0 / i}} for i in (1, 2, 3)]
    joined = training.measure(lines[:1]) + training.measure(lines[1:])
    assert joined.series("train", "total") == pytest.approx([1, 0.5, 1 / 3])
    assert np.isnan(joined.series("no", "such", "key")).all()


def test_a_resumed_epoch_counts_once_with_its_last_record() -> None:
    lines = [{"event": "epoch", "epoch": 1, "lr": 1.0}, {"event": "epoch", "epoch": 1, "lr": 2.0}, {"event": "step"}]
    h = training.measure(lines)
    assert len(h) == 1
    assert h.series("lr")[0] == 2.0


def test_statistics_of_other_experts_do_not_add() -> None:
    a = expert.measure({"a": np.ones((3, 2))}, {"a": np.ones(3, bool)})
    b = expert.measure({"b": np.ones((3, 2))}, {"b": np.ones(3, bool)})
    with pytest.raises(ValueError, match=r"ExpertStats\.names differs"):
        _ = a + b


def test_statistics_survive_json_and_npz() -> None:
    s = healthy(60)
    text, arrays = pack(s)
    assert not any(a.dtype.kind == "O" for a in arrays.values())
    back: Statistics = unpack(Statistics, text, arrays)
    assert back.facts == s.facts
    assert_same(back.experts, s.experts)
    assert back.evidence["ctr"].ece == s.evidence["ctr"].ece
    assert back.dose == s.dose
    assert back.training is not None
    assert back.training.epochs == s.training.epochs if s.training else False


# --- known values


def one(name: str, x: np.ndarray) -> expert.ExpertStats:
    return expert.measure({name: x}, {name: np.ones(len(x), bool)})


def test_effective_rank_of_two_equal_directions_is_two() -> None:
    x = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=float)
    assert one("a", x).effective_rank("a") == pytest.approx(2.0)


def test_effective_rank_of_a_spectrum_three_to_one() -> None:
    x = np.array([[math.sqrt(3), 0], [-math.sqrt(3), 0], [0, 1], [0, -1]])
    assert one("a", x).effective_rank("a") == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


def test_variance_outside_the_leading_direction_by_hand() -> None:
    x = np.array([[math.sqrt(3), 0], [-math.sqrt(3), 0], [0, 1], [0, -1]])
    assert one("a", x).outside_leading("a") == pytest.approx(0.25)
    assert one("a", np.outer([-1.0, 0, 1], [1, 2, 3])).outside_leading("a") == pytest.approx(0, abs=1e-12)
    assert math.isnan(one("a", np.full((10, 3), 2.0)).outside_leading("a"))


def test_a_constant_output_has_rank_zero_and_only_dead_dimensions() -> None:
    s = one("a", np.full((10, 3), 2.0))
    assert s.effective_rank("a") == 0.0
    assert s.dead_share("a") == 1.0


def test_cka_equals_the_kernel_form_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    y[:, :3] += x
    xc, yc = x - x.mean(0), y - y.mean(0)
    by_hand = np.linalg.norm(yc.T @ xc) ** 2 / (np.linalg.norm(xc.T @ xc) * np.linalg.norm(yc.T @ yc))
    there = np.ones(40, bool)
    cka = expert.measure({"x": x, "y": y}, {"x": there, "y": there}).cka()
    assert cka[0, 1] == pytest.approx(by_hand)
    assert cka[0, 0] == pytest.approx(1.0)


def test_cka_ignores_rotation_and_scale() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 4))
    q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    there = np.ones(50, bool)
    assert expert.measure({"x": x, "y": 7 * x @ q + 3}, {"x": there, "y": there}).cka()[0, 1] == pytest.approx(1.0)


def test_fallback_rows_do_not_enter_the_moments() -> None:
    x = np.array([[2.0], [4.0], [0.0]])
    s = expert.measure({"a": x}, {"a": np.array([True, True, False])})
    assert s.norm_mean[0] == pytest.approx(3.0)
    assert s.variance("a")[0] == pytest.approx(1.0)
    assert s.fallback_share[0] == pytest.approx(1 / 3)


def test_a_row_with_nan_is_counted_and_left_out() -> None:
    s = one("a", np.array([[1.0], [np.nan], [3.0]]))
    assert s.nonfinite[0] == 1
    assert s.mean("a")[0] == pytest.approx(2.0)


def test_entropy_of_a_uniform_gate_over_eight_is_ln_8() -> None:
    assert entropy(np.full(8, 1 / 8)) == pytest.approx(math.log(8))
    assert entropy(np.array([1.0, 0.0])) == 0.0


def test_jensen_shannon_distance_is_one_between_disjoint_and_zero_between_equal() -> None:
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(1.0)
    assert jensen_shannon(np.array([0.3, 0.7]), np.array([0.3, 0.7])) == pytest.approx(0.0)


def test_jensen_shannon_by_hand() -> None:
    p, q = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    # M = (3/4, 1/4): JS = H(M) - (H(p) + H(q)) / 2 = 0.8112781 - 0.5 bits
    assert jensen_shannon(p, q) == pytest.approx(math.sqrt(0.3112781244591328))


def test_prior_of_one_domain_expert_among_eight() -> None:
    prior = gate.prior_weights([["a"]], list("abcdefgh"))
    assert prior[0, 0] == pytest.approx(math.e / (math.e + 7 / math.e))
    assert prior[0, 1] == pytest.approx(0.0695, abs=1e-3)


def test_specialisation_is_zero_when_every_row_mixes_alike_and_ln_2_when_rows_split() -> None:
    there = np.ones((4, 2), bool)
    alike = gate.measure(("t",), ("a", "b"), np.full((4, 1, 2), 0.5), there)
    split = np.tile(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]), (2, 1, 1))
    assert alike.specialisation[0] == pytest.approx(0.0)
    assert gate.measure(("t",), ("a", "b"), split, there).specialisation[0] == pytest.approx(math.log(2))


def test_dilution_counts_weight_on_absent_experts_only() -> None:
    w = np.array([[[0.8, 0.2]], [[0.6, 0.4]]])
    g = gate.measure(("t",), ("a", "b"), w, np.array([[False, True], [True, True]]))
    assert g.dilution[0] == pytest.approx([0.4, 0.0])


def test_the_mean_predictor_explains_nothing_and_the_identity_everything() -> None:
    x = np.random.default_rng(0).normal(size=(500, 6)) + 5
    z = np.zeros((500, 3))
    assert sae.measure(z, x, np.broadcast_to(x.mean(0), x.shape)).fve == pytest.approx(0.0, abs=1e-9)
    assert sae.measure(z, x, x).fve == pytest.approx(1.0)


def test_l0_density_dead_and_dense_latents() -> None:
    z = np.zeros((10, 4))
    z[:, 0], z[:3, 1] = 1.0, 2.0
    s = sae.measure(z, z, z)
    assert s.l0 == pytest.approx(1.3)
    assert s.density == pytest.approx([1.0, 0.3, 0, 0])
    assert s.dead_share == 0.5
    assert s.dense_share() == 0.5


def test_ece_by_hand_in_two_bins() -> None:
    p = np.array([0.1, 0.1, 0.9, 1.0])
    y = np.array([0, 1, 1, 1])
    # bin of 0.1: |0.1 - 0.5| * 2/4; bin of 0.9: |0.9 - 1| / 4; bin of 1.0: 0
    e = evidence.measure("binary", np.full(4, 0.5), np.ones(4), p, y)
    assert e.ece == pytest.approx(0.2 + 0.025)
    assert e.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0) / 4)


def test_a_missing_label_does_not_count_in_ece() -> None:
    e = evidence.measure("binary", np.full(3, 0.5), np.ones(3), np.array([0.5, 0.5, 0.99]), np.array([0, 1, -1]))
    assert e.labelled == 2
    assert e.ece == pytest.approx(0.0)


def test_multiclass_ece_uses_the_top_probability() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    e = evidence.measure("multiclass", np.full(2, 0.5), np.ones(2), p, np.array([0, 0]))
    assert e.ece == pytest.approx((0.3 + 0.8) / 2)


def test_adaptive_ece_of_two_equal_bins() -> None:
    assert evidence.adaptive_ece(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]), bins=2) == pytest.approx(0.2)


def test_aurc_by_hand_and_its_excess() -> None:
    area, excess = evidence.aurc(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 0.0]))
    assert area == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert excess == pytest.approx(area - (0 + 0 + 1 / 3) / 3)


def test_nothing_measured_is_nan_and_not_zero() -> None:
    e = evidence.measure("binary", np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, int))
    assert math.isnan(e.ece)
    assert math.isnan(e.mean_uncertainty)
    empty = expert.measure({"a": np.zeros((0, 3))}, {"a": np.zeros(0, bool)})
    assert math.isnan(empty.norm_mean[0])
    assert math.isnan(empty.effective_rank("a"))


def test_identical_hmm_projections_have_no_spread() -> None:
    s = hmm.measure({"j": np.ones((9, 4))}, {"j": np.zeros(9, bool)}, {"j": np.ones(4)})
    assert s.spread[0] == pytest.approx(0.0)
    assert s.cosine[0] == pytest.approx(1.0)
    assert s.default_norm[0] == pytest.approx(2.0)


def test_row_changes_by_kind() -> None:
    a, b = np.array([[0.7, 0.3]]), np.array([[0.2, 0.8]])
    assert effects.row_change("multiclass", a, b)[0] == pytest.approx(0.5)
    assert effects.row_change("contrastive", np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))[0] == pytest.approx(1.0)
    assert effects.row_change("binary", np.array([0.2]), np.array([0.5]))[0] == pytest.approx(0.3)
    assert effects.row_flips("multiclass", a, b)[0]
    assert not effects.row_flips("regression", np.array([0.0]), np.array([9.0]))[0]


def test_the_cause_of_an_absence_is_the_most_frequent_one() -> None:
    code = np.array([0, 2, 2, 1], dtype=np.int8)
    s = inputs.measure(np.zeros((4, 734)), {"txn_seq": code}, np.ones((4, 734), bool))
    assert s.absent_share("txn_seq") == pytest.approx(0.75)
    assert s.cause("txn_seq") == "row"
    assert s.absent_share("never_seen") == 0.0


def test_coordinates_on_the_edge_of_the_ball_are_counted() -> None:
    c = np.zeros((3, 20))
    c[0, 0], c[1, 0], c[2, 8] = 0.5, 1.0, np.nan
    s = inputs.measure(np.zeros((3, 734)), {}, np.ones((3, 734), bool), hierarchy=(c, np.ones(3, bool)))
    assert s.outside == {"mcc": 1.0, "product": 1.0, "region": 0.0}


@pytest.mark.parametrize("n", [HALVED - 1, HALVED, HALVED + 3])
def test_a_symmetric_matrix_is_stored_as_its_upper_triangle_and_read_back_whole(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(200, n))
    outer = x.T @ x
    text, arrays = pack({"outer": outer})
    assert sum(a.size for a in arrays.values()) == (n * (n + 1) // 2 if n >= HALVED else n * n)
    assert np.array_equal(unpack(dict[str, Any], text, arrays)["outer"], outer)
    outer[0, 1] += 1.0
    text, arrays = pack({"outer": outer})
    assert np.array_equal(unpack(dict[str, Any], text, arrays)["outer"], outer)
