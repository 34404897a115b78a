"""What a study has found so far, as `ple tune` prints it and a page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ple_model.errors import UserError
from ple_model.files import read_json
from ple_model.numerals import fixed
from ple_model.safe_paths import is_file
from ple_model.shapes import NUMBER, WHOLE, Keys, MapOf, misfit
from ple_model.tuning.finder import RateCurve, load_curve
from ple_model.tuning.judge import Ranking, standing
from ple_model.tuning.record import StudySpec, TrialRecord, load_study, load_trials, train_command

_IMPORTANCE = Keys({"trials": WHOLE, "shares": MapOf(NUMBER)}, ("trials", "shares"))


@dataclass(frozen=True)
class StudyReport:
    """A study as it stands."""

    folder: Path
    spec: StudySpec
    trials: tuple[TrialRecord, ...]
    standing: Ranking | None
    importance: Mapping[str, float]
    finder: RateCurve | None

    @property
    def best(self) -> TrialRecord | None:
        return None if self.standing is None else next(t for t in self.trials if t.number == self.standing.best)

    @property
    def level(self) -> tuple[int, ...]:
        """Trials that cannot be told from the best one, with it."""
        return () if self.standing is None else self.standing.level

    def to_dict(self) -> dict[str, Any]:
        gaps = {} if self.standing is None else self.standing.ahead
        trials = [
            {**t.to_dict(), "run": str(self.folder / "trials" / t.runs[-1]) if t.runs else None,
             "behind_best": asdict(gaps[t.number]) if t.number in gaps else None}
            for t in self.trials
        ]  # fmt: skip
        return {
            "study": str(self.folder), "dataset": str(self.spec.dataset), "objective": self.spec.objective,
            "sampler": self.spec.sampler, "pruner": self.spec.pruner, "strategy": self.spec.strategy, "folds": self.spec.folds,
            "budget": self.spec.trials, "space": {d.key: d.range for d in self.spec.space}, "trials": trials,
            "best": None if self.best is None else self.best.number, "indistinguishable": list(self.level),
            "command": None if self.best is None else train_command(self.spec, self.best.settings),
            "importance": dict(self.importance), "finder": None if self.finder is None else self.finder.to_dict(),
        }  # fmt: skip


def report(folder: Path) -> StudyReport:
    """`UserError` where the folder is no study, or is damaged."""
    spec, trials = load_study(folder), load_trials(folder)
    return StudyReport(folder, spec, trials, standing(folder, trials, spec.objective), importance(folder), load_curve(folder))


def importance(folder: Path) -> dict[str, float]:
    """By key, the share of the objective's spread that it explains, most first; empty while it cannot be said."""
    path = folder / "importance.json"
    if not is_file(path):
        return {}
    plain = read_json(path)
    wrong = misfit(plain, _IMPORTANCE)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}")
    shares = {k: float(v) for k, v in plain["shares"].items() if v is not None}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def table(found: StudyReport) -> str:
    """A line a trial, the best first, and what can be said of the best ones."""
    counts = {s: sum(t.state == s for t in found.trials) for s in ("finished", "pruned", "failed", "running")}
    said = ", ".join(f"{n} {s}" for s, n in counts.items() if n)
    aim = "mean skill over tasks" if found.spec.objective == "mean" else f"skill of {found.spec.objective}"
    lines = [f"{found.folder.name}: {len(found.trials)} trials ({said or 'none'}), objective: {aim} on validation rows", ""]
    done = sorted((t for t in found.trials if t.state == "finished"), key=lambda t: -t.skill.value)
    head = f"{'trial':<8}{'skill':>8}  {'95% interval':<19}{'behind the best':<28}{'settings'}"
    lines += [head] if done else []
    gaps = {} if found.standing is None else found.standing.ahead
    for t in done:
        gap = gaps.get(t.number)
        behind = "" if gap is None else f"{gap.value:.4f} ({gap.low:+.4f} to {gap.high:+.4f})"
        interval = f"{fixed(t.skill.low, 4)} to {fixed(t.skill.high, 4)}"
        lines.append(f"{t.number:<8}{fixed(t.skill.value, 4):>8}  {interval:<19}{behind:<28}{' '.join(t.settings)}")
    lines += [f"{t.number:<8}{t.state}: {t.reason}" for t in found.trials if t.state in ("pruned", "failed")]
    if found.importance:
        most = ", ".join(f"{k} {v:.0%}" for k, v in list(found.importance.items())[:5])
        lines += ["", f"of the spread of the objective explain: {most}"]
    return "\n".join([*lines, "", verdict(found)])


def verdict(found: StudyReport) -> str:
    """The best trial, and which others it cannot be told from."""
    best = found.best
    if best is None:
        return "no trial has finished yet"
    others = [n for n in found.level if n != best.number]
    near = (
        "no other trial is level with it"
        if not others
        else f"these {len(others) + 1} cannot be told apart: {', '.join(map(str, found.level))} "
        "(95% intervals of the differences, customers resampled, for all trials at once: theirs to the best holds 0)"
    )
    again = f"to train it: {train_command(found.spec, best.settings)}"
    return f"best: trial {best.number}, skill {fixed(best.skill.value, 4)}; {near}\n{again}"
