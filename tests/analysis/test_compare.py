"""What differs between two runs, with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from analysis.compare import (
    Comparison,
    Estimate,
    Key,
    RunNumbers,
    compare,
    config_changes,
    interval,
    jackknife_error,
    leave_one_out,
    training_profile,
)
from analysis.stats.training import measure

A, B, C = Key("a", "share"), Key("b", "share"), Key("c", "norm")


def share(value: float, *replicates: float, n: int = 500) -> Estimate:
    return Estimate(value, n, "share", np.array(replicates) if replicates else None)


def profile(*pairs: tuple[Key, Estimate], n: int = 500) -> RunNumbers:
    return RunNumbers(n, dict(pairs))


def verdicts(found: Comparison) -> dict[str, str]:
    return {r.key.subject: r.verdict for r in found.rows}


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0])  # standard deviation 1.2910 over root 4
    value, left = leave_one_out(x[:, None], np.ones((4, 1)))
    assert value[0] == 2.5
    assert left[:, 0] == pytest.approx([3, 8 / 3, 7 / 3, 2])
    assert jackknife_error(left[:, 0]) == pytest.approx(math.sqrt(5 / 3) / 2)


def test_leaving_out_the_only_group_with_rows_leaves_nothing() -> None:
    value, left = leave_one_out(np.array([[4.0], [0.0]]), np.array([[2.0], [0.0]]))
    assert value[0] == left[1, 0] == 2.0
    assert math.isnan(left[0, 0])


def test_what_two_runs_share_cancels() -> None:
    a, b = share(0.5, 0.4, 0.5, 0.6), share(0.3, 0.2, 0.3, 0.4)  # replicates differ by 0.2 in every group
    assert interval(a, b) == pytest.approx((0.2, 0.2))
    mirrored = share(0.3, 0.4, 0.3, 0.2)  # differences 0, 0.2, 0.4: root of 2/3 * 0.08
    assert 0.2 - interval(a, mirrored)[0] == pytest.approx(math.sqrt(2 / 3 * 0.08) * t.isf(0.025, 2))


def test_a_difference_of_shares_stays_between_minus_one_and_one() -> None:
    low, high = interval(share(1.0, 0.9, 1.0, 1.0), share(0.0, 0.0, 0.1, 0.0))
    assert -1 <= low < high == 1.0


def test_standard_errors_add_like_independent_samples_and_widen_with_the_number_of_comparisons() -> None:
    a, b = Estimate(5.0, 500, "length", error=0.3), Estimate(4.0, 500, "length", error=0.4)
    assert interval(a, b) == pytest.approx((1 - 0.5 * norm.isf(0.025), 1 + 0.5 * norm.isf(0.025)))
    assert interval(a, b, 10) == pytest.approx((1 - 0.5 * norm.isf(0.0025), 1 + 0.5 * norm.isf(0.0025)))


def test_only_what_lies_beyond_noise_is_shown_the_largest_first() -> None:
    a = profile((A, share(0.5, 0.49, 0.5, 0.51)), (B, share(0.5, 0.4, 0.5, 0.6)), (C, Estimate(2.0, 500, "length", error=0.1)))
    b = profile((A, share(0.4, 0.39, 0.4, 0.41)), (B, share(0.45, 0.6, 0.4, 0.5)), (C, Estimate(1.0, 500, "length", error=0.1)))
    found = compare(a, b)
    assert [(r.key.subject, r.verdict) for r in found.rows] == [("c", "differs"), ("a", "differs"), ("b", "same")]
    assert [r.size for r in found.shown] == pytest.approx([0.5, 0.1])  # a norm halved, ten points of a share
    assert found.judged == 3
    assert not found.alike


def test_two_identical_runs_do_not_differ() -> None:
    one = profile((A, share(0.5, 0.4, 0.5, 0.6)), (C, Estimate(2.0, 500, "length")))
    found = compare(one, one)
    assert found.alike
    assert set(verdicts(found).values()) == {"same"}


def test_too_few_rows_are_never_called_alike() -> None:
    few = profile((A, share(0.5, 0.5, 0.5, n=99)), n=99)
    found = compare(few, few)
    assert verdicts(found) == {"a": "few"}
    assert not found.enough
    assert not found.alike


def test_a_number_that_one_run_lacks_is_not_judged() -> None:
    found = compare(profile((A, share(math.nan, 0.1, 0.2))), profile((A, share(0.5, 0.1, 0.2))))
    assert verdicts(found) == {"a": "few"}


def test_without_noise_the_order_is_by_size_alone() -> None:
    a = profile((A, Estimate(1.0, 500, "length")), (C, Estimate(10.0, 500, "length")))
    b = profile((A, Estimate(2.0, 500, "length")), (C, Estimate(11.0, 500, "length")))
    found = compare(a, b)
    assert [(r.key.subject, r.verdict, r.size) for r in found.rows] == [
        ("a", "size", 0.5),
        ("c", "size", pytest.approx(1 / 11)),
    ]
    assert found.judged == 0


def test_what_only_one_run_has_is_named() -> None:
    a = profile((Key("ctr", "weight", "temporal"), share(0.5)), (Key("cvr", "weight", "deepfm"), share(0.5)))
    b = profile((Key("ctr", "weight", "deepfm"), share(0.5)))
    found = compare(a, b)
    assert found.rows == ()
    assert (found.only_a, found.only_b, found.parts_only_a, found.parts_only_b) == (("cvr",), (), ("temporal",), ())
    assert not found.alike


def test_a_cosine_is_measured_over_its_range_of_two() -> None:
    found = compare(profile((A, Estimate(0.5, 500, "cosine"))), profile((A, Estimate(-0.5, 500, "cosine"))))
    assert found.rows[0].size == 0.5


def test_what_only_one_configuration_has_is_taken_apart() -> None:
    a = {"lr": 1, "dims": (4, 2), "tasks": {"nba": None}, "sae": {"k": 4}}
    b = {"lr": 2, "dims": [4, 2], "tasks": {"nba": {"weight": None, "gate_bias": {"deepfm": 20.0}}}, "sae": None}
    assert config_changes(a, b) == [("lr", 1, 2), ("tasks.nba.gate_bias.deepfm", None, 20.0), ("sae.k", 4, None)]
    assert config_changes(a, a) == []


def test_a_training_is_summed_up_at_the_epoch_that_was_kept() -> None:
    lines = [
        {"event": "epoch", "epoch": i, "best": i < 3, "samples_per_s": 100.0 * i, "rss_mb": 10.0 * i, "seconds": 2.0,
         "valid": {"mean_ratio": r, "ratio": {"ctr": r + 1}}, "grad_norm": {"towers": g}}
        for i, r, g in ((1, 0.9, 2.0), (2, 0.8, 4.0), (3, 0.85, 0.0))
    ]  # fmt: skip
    found = {(k.subject, k.measure): e.value for k, e in training_profile(measure(lines)).estimates.items()}
    assert found == {
        ("", "epochs"): 3.0, ("", "best_epoch"): 2.0, ("", "best_loss"): 0.8, ("ctr", "task_loss"): 1.8, ("", "speed"): 200.0,
        ("", "epoch_time"): 2.0, ("", "memory"): 30.0, ("towers", "gradient"): 3.0,
    }  # fmt: skip
