"""The card's words in its language, beside what they are said of."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from analysis.i18n import section
from analysis.i18n.sentences import finding_sentence
from analysis.stats.skill import behind_simpler, judged_skill
from analysis.wording import given_title, task_title
from ple_model.barred_words import BARRED_KINDS
from ple_model.numerals import Language
from ple_model.tasks import TASKS

if TYPE_CHECKING:
    from analysis.checks.finding import Finding
    from analysis.diagnose import Diagnosis
    from ple_model.run import Run


class Words:
    """Of one run's card; `found`: what is stored of it."""

    def __init__(self, language: Language, run: Run, found: Diagnosis | None) -> None:
        self.language, self.run, self.found = language, run, found
        self._known = section("card", language)

    def __call__(self, key: str, /, **values: object) -> str:
        """The sentence of `key` with its values filled in."""
        return self._known[key].format(**values)

    @cached_property
    def unlearned(self) -> tuple[str, ...]:
        """Tasks that had no label in training."""
        context = self.run.context()
        return tuple(task for task in self.run.config.tasks if not context.learned(task))

    def split(self, name: str) -> str:
        """A split's name; another's own word stays."""
        return self._known.get(f"split_{name}", name)

    def said(self, sentence: str) -> str:
        """A sentence of a check or a training as plain text."""
        return finding_sentence(sentence, self.language).replace("`", "")

    def severity(self, finding: Finding) -> str:
        return self(f"severity_{finding.severity}")

    def state(self, task: str) -> str:
        """Of the trust in a task, as the overview has it; `unmeasured` where nothing is stored of it."""
        states = {} if self.found is None else self.found.verdict.states
        return "unlearned" if task in self.unlearned else states.get(task, "unmeasured")

    def compared(self, task: str) -> bool:
        """Was the task held against a simpler model?"""
        skill = None if self.found is None else judged_skill(self.found.statistics).get(task)
        return skill is not None and behind_simpler(skill) is not None

    @property
    def of_other_data(self) -> bool:
        """What is stored was measured on other rows than the run's own sample."""
        return self.found is not None and not self.found.store.meta.get("own_sample", True)

    def trust(self, task: str) -> str:
        return self(f"state_{self.state(task)}")

    def task(self, task: str) -> str:
        """A task's name with what it is about, in its own data's words where it has some."""
        spec = self.run.context().named(TASKS).get(task)
        if spec is None:
            return task
        title = given_title(task, spec.title) or task_title(task, self.language) or spec.title
        plain = task.replace("_", " ").lower() == title.lower()
        return task if plain else f"{task} ({title})"

    def group(self, column: str) -> str:
        """A column that customers can be grouped by."""
        kind = next((k for k in BARRED_KINDS.values() if k.called(column)), None)
        title = column if kind is None else kind.title[self.language == "ko"]
        return self._known.get(f"group_{column}") or (column if title == column else f"{title} ({column})")

    def verdict(self) -> str:
        """The word for the run with its counts, as the overview says it."""
        if self.found is None:
            return self("unjudged")
        found = self.found.verdict
        word = self(f"word_{found.word}")
        said = [word if not found.learnable else self(
            "counted" if found.compared else "counted_alone", word=word, learnt=found.learnt, learnable=found.learnable
        )]  # fmt: skip
        if found.learnable and not found.compared:
            said.append(self("uncompared"))
        if found.untold:
            said.append(self("untold", n=found.untold))
        return " ".join(said)
