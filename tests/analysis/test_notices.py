"""What a training shows of itself is said at the epoch it happens, and not after it is over."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.notices import Notice, notices
from analysis.stats.training import measure

EXPERTS = ("deepfm", "causal", "temporal")


def epoch(
    number: int,
    nba: tuple[float, ...],
    ctr: tuple[float, ...] = (0.3, 0.4, 0.3),
    *,
    gradient: float = 1.0,
    frozen: bool = False,
) -> dict[str, Any]:
    return {
        "event": "epoch", "epoch": number, "gates": {"nba": list(nba), "ctr": list(ctr)},
        "grad_norm": {"deepfm": 1.0, "causal": 1.0, "temporal": gradient}, "frozen": {"gates": False, "shared": frozen},
    }  # fmt: skip


def found(*lines: dict[str, Any]) -> tuple[Notice, ...]:
    return notices(measure(lines), EXPERTS)


EVEN, TAKEN = (0.4, 0.3, 0.3), (0.93, 0.05, 0.02)


def test_a_gate_that_gives_itself_to_one_expert_is_named_with_its_first_epoch() -> None:
    lines = [epoch(1, EVEN), epoch(2, EVEN), epoch(3, (0.91, 0.05, 0.04)), epoch(4, TAKEN)]
    assert found(*lines[:2]) == ()
    assert found(*lines[:3]) == (Notice("gate", "deepfm", 3, 0.91, "nba"),)
    assert found(*lines) == (Notice("gate", "deepfm", 3, 0.93, "nba"),)


def test_a_gate_that_came_back_is_said_no_more_and_counts_anew() -> None:
    assert found(epoch(1, TAKEN), epoch(2, EVEN)) == ()
    assert found(epoch(1, TAKEN), epoch(2, EVEN), epoch(3, TAKEN)) == (Notice("gate", "deepfm", 3, 0.93, "nba"),)


def test_an_expert_that_no_task_uses_is_named_by_its_largest_weight() -> None:
    assert found(epoch(1, (0.5, 0.49, 0.01), (0.5, 0.485, 0.015))) == (Notice("unused", "temporal", 1, 0.015),)
    assert found(epoch(1, (0.5, 0.49, 0.01), (0.5, 0.4, 0.1))) == ()


def test_an_expert_without_gradient_is_named_and_not_because_it_was_frozen() -> None:
    assert found(epoch(1, EVEN), epoch(2, EVEN, gradient=0.0)) == (Notice("still", "temporal", 2, 0.0),)
    assert found(epoch(1, EVEN), epoch(2, EVEN, gradient=0.0, frozen=True)) == ()
    dead = [epoch(1, EVEN, gradient=0.0), epoch(2, EVEN, gradient=0.0, frozen=True)]
    assert found(*dead) == (Notice("still", "temporal", 1, 0.0),)


@pytest.mark.parametrize("lines", [(), ({"event": "epoch", "epoch": 1},), ({"event": "start"},)])
def test_without_gates_or_epochs_nothing_is_said(lines: tuple[dict[str, Any], ...]) -> None:
    assert found(*lines) == ()


def test_of_an_older_run_the_experts_are_those_of_its_first_line() -> None:
    lines = [{"event": "start", "experts": list(EXPERTS)}, epoch(1, TAKEN)]
    assert notices(measure(lines), ()) == (Notice("gate", "deepfm", 1, 0.93, "nba"),)


def test_gates_of_other_experts_than_named_are_left_out() -> None:
    assert notices(measure([epoch(1, TAKEN)]), EXPERTS[:2]) == ()
