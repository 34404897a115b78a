"""What every figure of the report must satisfy, by discovery: it draws what was measured, and nothing where nothing was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.figures.registry import Reported, figures_of, reported_figures
from analysis.stats.run import Facts, Statistics
from tests.analysis.planted import healthy
from tests.analysis.test_verdict import of

EACH = [pytest.param(f, id=f"{f.__module__.rsplit('.', 1)[-1]}.{f.__name__}") for f in reported_figures()]


@pytest.fixture(scope="module")
def well() -> Statistics:
    """A healthy run whose first intervention is an expert's ablation, as a diagnosis has it, and with a skill of each task."""
    s = healthy()
    assert s.effects is not None
    known = {t: of(t, 0.2) for t in s.facts.tasks}
    return replace(
        s,
        skill={"test": known},
        effects=replace(s.effects, interventions=("ablate.temporal=mean", *s.effects.interventions[1:])),
    )


@pytest.mark.parametrize("function", EACH)
def test_it_draws_what_was_measured(function: Reported, well: Statistics) -> None:
    drawn = {title: draw() for title, draw in function(well)}
    assert drawn
    assert all(f.data and title[0].isupper() for title, f in drawn.items())


@pytest.mark.parametrize("function", EACH)
def test_nothing_measured_draws_nothing(function: Reported) -> None:
    assert list(function(Statistics(facts=Facts({}, (), {}, {}, {}, (), {}), n=0))) == []


def test_titles_tell_the_figures_of_a_report_apart(well: Statistics) -> None:
    titles = [title for title, _ in figures_of(well)]
    assert len(set(titles)) == len(titles)
    assert titles[:3] == [
        "Skill of each task beside simpler answers",
        "Expert health",
        "Redundancy between experts (linear CKA)",
    ]
