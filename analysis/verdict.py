"""Is a run any good? One word from its findings and its skill, with the count of the tasks it learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from analysis.checks.finding import Finding
from analysis.checks.reach import about
from analysis.stats.base import MIN_ROWS
from analysis.stats.run import Statistics
from analysis.stats.skill import PAIRED, TaskSkill, has_skill, judged_skill

Word = Literal["healthy", "works", "learnt_little", "broken", "unknown"]
State = Literal["trusted", "doubted", "behind", "none", "untold", "few"]
"""Of a task: predicted better than by a constant, with no alarm on it; the same with one; the same, but a simpler model is
ahead; not learnt; not told by these inputs to any baseline either; too few rows to say."""
LEARNING = ("SKILL-", "FIT-")
"""Findings of what was learnt; all others are of the mechanics."""
FITTED = ("linear", "boosting")
"""Baselines that say what a model could have learnt."""
SHORT = ("SKILL-NONE", "SKILL-HARMFUL")
UNTRUSTED = ("LABEL-", "OUTPUT-", "INPUT-NONFINITE", "WEIGHTS-", "RUN-")
"""Alarms under which a task's predictions are not to be trusted, whatever its measured skill."""
SAID: dict[Word, str] = {
    "healthy": "Healthy",
    "works": "Works, with warnings",
    "learnt_little": "Works, learnt little",
    "broken": "Broken",
    "unknown": "Unknown",
}


@dataclass(frozen=True)
class Verdict:
    """`healthy` where the mechanics pass and every task that can be learnt is; `works` where the latter holds and warnings
    stand; `learnt_little` where tasks are not learnt that could be; `broken` where the mechanics fail or no task is learnt;
    `unknown` where too little was measured to say, also where nothing is known that a good model would have to reach."""

    word: Word
    mechanics_ok: bool
    """No alarm but on what was learnt."""
    states: Mapping[str, State] = field(default_factory=dict)
    """Of every task that had labels in training and has some here."""
    compared: bool = True
    """Whether a linear model or a boosting was measured on the same rows: without one, better than a constant may be little."""

    @property
    def learnable(self) -> int:
        """Tasks that were judged, without those that no baseline learns either."""
        return sum(state not in ("untold", "few") for state in self.states.values())

    @property
    def learnt(self) -> int:
        """Of these the ones that are predicted better than by a constant, beyond the noise of the customers drawn, and that no
        simpler model is ahead of."""
        return sum(state in ("trusted", "doubted") for state in self.states.values())

    @property
    def untold(self) -> int:
        """Tasks that neither the model nor any baseline predicts better than a constant."""
        return sum(state == "untold" for state in self.states.values())

    @property
    def trusted(self) -> tuple[str, ...]:
        """Tasks with skill and without an alarm on them."""
        return tuple(task for task, state in self.states.items() if state == "trusted")

    def said(self) -> str:
        """In words, with the count of tasks."""
        said = SAID[self.word]
        if self.learnable and self.compared:
            said += f": {self.learnt} of {self.learnable} tasks learnt"
        elif self.learnable:  # what could be learnt is not known of these rows, so nothing is counted as learnt
            said += f": {self.learnt} of {self.learnable} tasks better than a constant"
            said += " (not compared with simpler models on these rows)"
        return f"{said} (not told by these inputs: {self.untold})" if self.untold else said

    def to_dict(self) -> dict[str, Any]:
        """Beside the word, as `ple diagnose --json` has it."""
        return {
            "said": self.said(),
            "mechanics_ok": self.mechanics_ok,
            "learnable": self.learnable,
            "learnt": self.learnt,
            "untold": self.untold,
            "compared": self.compared,
            "trusted": list(self.trusted),
            "states": dict(self.states),
        }


def verdict(findings: Iterable[Finding], statistics: Statistics) -> Verdict:
    """The word for a run. Unknown is never called healthy: too few rows, or as many open questions as answers."""
    found = list(findings)
    alarms = [f for f in found if f.alarm]
    mechanics = [f for f in alarms if not f.id.startswith(LEARNING)]
    states = _states(alarms, statistics)
    compared = any(x.losses.keys() & set(FITTED) for k, x in judged_skill(statistics).items() if k in states)
    counted = Verdict("unknown", not mechanics, states, compared)
    answered = sum(f.severity == "ok" for f in found)
    known = statistics.n >= MIN_ROWS and sum(f.severity == "unknown" for f in found) < max(answered, 1)
    known = known and any(state != "few" for state in states.values())
    return replace(counted, word=_word(alarms, mechanics, counted.learnable, counted.learnt, known=known, compared=compared))


def _states(alarms: list[Finding], statistics: Statistics) -> dict[str, State]:
    short, behind, doubted = (_named(alarms, statistics, ids) for ids in (SHORT, ("SKILL-BEHIND",), UNTRUSTED))
    out: dict[str, State] = {}
    for task, x in judged_skill(statistics).items():
        has = has_skill(x)
        if task in statistics.facts.unlearned:
            continue
        if has is None:
            out[task] = "few"
        elif not has and task not in short and _not_told(x):
            out[task] = "untold"
        elif not has or task in short:
            out[task] = "none"
        else:
            out[task] = "behind" if task in behind else "doubted" if task in doubted else "trusted"
    return out


def _word(alarms: list[Finding], mechanics: list[Finding], learnable: int, learnt: int, *, known: bool, compared: bool) -> Word:
    if any(f.severity == "error" for f in mechanics) or (learnable and not learnt):
        return "broken"
    if learnt < learnable or (known and not learnt):
        return "learnt_little"
    if not compared:  # a simpler model may be ahead of any of them
        return "unknown"
    if alarms:
        return "works"
    return "healthy" if known else "unknown"


def _not_told(x: TaskSkill) -> bool:
    """Whether these inputs do not tell the task: baselines were measured, and none is ahead of the model beyond noise."""
    known = [x.behind[b] for b in PAIRED if b in x.behind]
    return bool(known) and not any(one.low > 0 for one in known)


def _named(alarms: list[Finding], statistics: Statistics, ids: tuple[str, ...]) -> frozenset[str]:
    """Tasks that an alarm of these checks names."""
    named = [about(f, statistics.facts) for f in alarms if f.id.startswith(ids)]
    return frozenset(task for names in named for task in statistics.facts.tasks if task in names)
