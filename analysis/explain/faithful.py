"""How far an explanation can be trusted: the tests behind the faithfulness badge.

- completeness: attributions add up to the difference (Sundararajan et al. 2017);
- deletion and insertion of groups in the order of their attributions, against random orders (Samek et al. 2017; Petsiuk et al.
  2018): the share of random orders that ours beats;
- infidelity: does the sum of the removed groups' attributions tell how far the prediction falls (Yeh et al. 2019), reported
  relative to predicting no change;
- randomisation: a model with fresh weights must be explained differently (Adebayo et al. 2018).

A difference too small to rank is "not decided", never "passed". The explanation withholds itself when a test fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from analysis.results.explanation import Faithfulness, FaithfulnessCheck

Array = NDArray[np.float64]
Value = Callable[[NDArray[np.bool_]], Array]
"""keep [n, groups] bool -> prediction [n] with the other groups at the reference."""
STEPS = 8
ORDERS = 16
GAP_LIMIT = 0.05
"""More than 5 % of the difference unexplained: the attributions do not add up."""
BEATS = 0.75
"""Random orders that the ranking must beat, deletion and insertion taken together."""
ALIKE = 0.5
"""Rank correlation with a random model's attributions above which the explanation does not depend on what was learned."""


@dataclass(frozen=True)
class Removal:
    """Areas under the deletion and insertion curves of our order and of random ones, and the infidelity."""

    deletion: float
    """Share of random orders whose deletion curve ours lies below (towards the reference)."""
    insertion: float
    infidelity: float
    correlation: float
    """Between the removed groups' summed attributions and the true change, over the random orders."""
    steps: Array
    own_deletion: Array
    own_insertion: Array
    random_deletion: Array
    """Mean curve over the random orders."""


def removal(values: Array, value: Value, full: float, empty: float, *, orders: int = ORDERS, seed: int = 0) -> Removal:
    """values [groups]: attributions; `full` and `empty`: the prediction with all groups and with none."""
    groups = len(values)
    sign = 1.0 if full >= empty else -1.0
    rng = np.random.default_rng(seed)
    ranks = [np.argsort(-sign * values, kind="stable"), *(rng.permutation(groups) for _ in range(orders))]
    cuts = np.unique(np.linspace(0, groups, STEPS + 1).round().astype(int))[1:-1]
    removed = np.zeros((len(ranks), len(cuts), groups), dtype=bool)
    for i, order in enumerate(ranks):
        for j, cut in enumerate(cuts):
            removed[i, j, order[:cut]] = True
    flat = removed.reshape(-1, groups)
    answers = value(np.concatenate([~flat, flat])).reshape(2, len(ranks), len(cuts))
    deleted, inserted = sign * answers[0], sign * answers[1]
    down, up = deleted.mean(1), inserted.mean(1)
    predicted, actual = (flat @ values).reshape(len(ranks), -1)[1:], (full - answers[0])[1:]
    size = float((actual**2).mean())
    spread = predicted.std() * actual.std()
    return Removal(
        deletion=_beats(-down[0], -down[1:]),
        insertion=_beats(up[0], up[1:]),
        infidelity=float(((predicted - actual) ** 2).mean() / size) if size > 0 else float("nan"),
        correlation=float(np.corrcoef(predicted.ravel(), actual.ravel())[0, 1]) if spread > 0 else float("nan"),
        steps=np.concatenate([[0.0], cuts / groups, [1.0]]),
        own_deletion=np.concatenate([[full], answers[0, 0], [empty]]),
        own_insertion=np.concatenate([[empty], answers[1, 0], [full]]),
        random_deletion=np.concatenate([[full], answers[0, 1:].mean(0), [empty]]),
    )


def _beats(own: float, others: Array) -> float:
    """Share of `others` below `own`, ties half."""
    return float((others < own).mean() + 0.5 * (others == own).mean())


def alike(own: Array, other: Array) -> float:
    """|Spearman correlation| of two signed attributions of the same features; NaN where one is constant."""
    used = (own != 0) | (other != 0)
    if used.sum() < 3 or np.ptp(own[used]) == 0 or np.ptp(other[used]) == 0:
        return float("nan")
    return float(abs(spearmanr(own[used], other[used]).statistic))


def judge(gap: float, removed: Removal | None, likeness: float | None, *, enough: bool) -> Faithfulness:
    """The badge. `enough`: the prediction differs enough from the typical one for a ranking to mean anything."""
    checks = [
        FaithfulnessCheck(
            "completeness", gap, GAP_LIMIT, bool(np.isfinite(gap) and gap <= GAP_LIMIT),
            f"The parts add up to the difference within {gap:.2%}.", f"기여도의 합이 예측 차이와 {gap:.2%} 이내로 일치합니다.",
        )
    ]  # fmt: skip
    if removed is not None:
        both = (removed.deletion + removed.insertion) / 2
        passed = bool(both >= BEATS) if enough else None
        checks += [
            FaithfulnessCheck(
                "deletion", removed.deletion, BEATS, passed,
                f"Taking away the strongest groups first beats {removed.deletion:.0%} of random orders.",
                f"기여가 큰 항목부터 제거하면 무작위 순서의 {removed.deletion:.0%}보다 예측이 더 빨리 움직입니다.",
            ),
            FaithfulnessCheck(
                "insertion", removed.insertion, BEATS, passed,
                f"Adding the strongest groups first beats {removed.insertion:.0%} of random orders.",
                f"기여가 큰 항목부터 추가하면 무작위 순서의 {removed.insertion:.0%}보다 예측이 더 빨리 움직입니다.",
            ),
            FaithfulnessCheck(
                "infidelity", removed.infidelity, None, None,
                f"Error when the parts foretell the effect of a removal: {removed.infidelity:.2f} (1: no better than silence).",
                f"기여도로 제거 효과를 예측할 때의 오차: {removed.infidelity:.2f} (1이면 예측하지 않은 것과 같음).",
            ),
        ]  # fmt: skip
    if likeness is not None:
        known = bool(np.isfinite(likeness))
        checks.append(
            FaithfulnessCheck(
                "randomisation", likeness, ALIKE, bool(likeness <= ALIKE) if known else None,
                f"Rank correlation with the explanation of an untrained model: {likeness:.2f}.",
                f"학습하지 않은 모델의 설명과의 순위 상관: {likeness:.2f}.",
            )
        )  # fmt: skip
    draft = Faithfulness(tuple(checks), "", "")
    english, korean = {
        "ok": ("The explanation passed its checks.", "설명이 모든 검증을 통과했습니다."),
        "unknown": (
            "The prediction is close to the typical one, so the order of the reasons cannot be tested.",
            "예측이 일반적인 고객과 비슷하여 이유의 순서를 검증할 수 없습니다.",
        ),
        "withheld": (
            "The explanation failed a check of itself, so its reasons are withheld.",
            "설명이 자체 검증을 통과하지 못하여 이유를 보여주지 않습니다.",
        ),
    }[draft.level]
    return Faithfulness(draft.checks, english, korean)
