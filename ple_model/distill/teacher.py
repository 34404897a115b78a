"""Whether a run can teach a student, and what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ple_model.config import Config
from ple_model.data.dataset.manifest import sha256_file
from ple_model.distill.lessons import LessonPlan
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run, load_run
from ple_model.start_from import require_same_names

MARK = 32
"""Hexadecimal digits that are kept of the hash of a teacher's weights."""


def weights_mark(run: Run) -> str:
    """Of `model.safetensors`: the teacher's fingerprint. `UserError` where it has no weights."""
    path = run.path / "model.safetensors"
    if not path.is_file():
        raise UserError(f"{run.path} has no weights yet: model.safetensors is written after the first epoch")
    return sha256_file(path)[:MARK]


@dataclass(frozen=True)
class Teacher:
    """The run to learn from."""

    run: Run

    def require_taught(self, student: Run) -> None:
        """`UserError` where this is not the teacher that `student` was started with, or it was started without one."""
        started = student.manifest.teacher
        if started is None:
            raise UserError(f"{student.path} was started without a teacher: `ple train DATASET RUN --resume` goes on with it")
        _require_same(self.run, started.name, started.fingerprint)

    def plan(self, student: PLEClusterAdaTT, config: Config) -> LessonPlan:
        """What it is asked for. `UserError` where it cannot teach this student: a training that has not ended, other brands or
        class names, no task in common, or a hint that one of the two has nothing for."""
        if self.run.manifest.status != "finished":
            raise UserError(
                f"{self.run.path} cannot teach yet: its training is {self.run.manifest.status}, not finished; "
                f"`ple train DATASET {self.run.path} --resume` goes on with it"
            )
        theirs = self.run.context()
        require_same_names(self.run, student.context, "learn from another run")
        tasks = tuple(t for t in student.task_names if t in self.run.config.tasks and theirs.learned(t))
        if not tasks:
            raise UserError(f"{self.run.path} has learnt none of the student's tasks: {', '.join(student.task_names)}")
        return LessonPlan(
            self.run.name, weights_mark(self.run), str(self.run.path.resolve()), tasks, config.distillation.hint,
            self._width(config),
        )  # fmt: skip

    def _width(self, config: Config) -> int:
        if config.distillation.hint == "off":
            return 0
        if config.distillation.hint == "shared":
            return self.run.config.shared_dim
        for whose, one in ((str(self.run.path), self.run.config), ("the student", config)):
            if not one.task_experts.use_group_encoder:
                raise UserError(f"distillation.hint: groups needs group encoders, which {whose} has none of; take shared")
        return self.run.config.task_experts.group_output_dim

    def warnings(self, student: PLEClusterAdaTT, fingerprint: str) -> list[str]:
        """What to know of what the student does not learn from it."""
        found = []
        if self.run.manifest.data.fingerprint != fingerprint:
            found.append(f"the teacher was trained on other data ('{self.run.manifest.data.name}')")
        alone = [t for t in student.task_names if t not in self.run.config.tasks or not self.run.context().learned(t)]
        if alone:
            found.append(f"tasks that the teacher does not have learn from their labels alone: {', '.join(alone)}")
        return found


def teacher_of(plan: LessonPlan, given: Run | None) -> Run:
    """The run of the plan: the one that is `given`, or where it was. `UserError` where it is gone or is another by now."""
    run = given
    if run is None:
        try:
            run = load_run(Path(plan.path))
        except UserError as e:
            raise UserError(f"the teacher's answers are not complete: {e}; `ple distill TEACHER RUN --resume` names it") from e
    _require_same(run, plan.name, plan.fingerprint)
    return run


def _require_same(run: Run, name: str, fingerprint: str) -> None:
    mark = weights_mark(run)
    if mark != fingerprint:
        raise UserError(
            f"{run.path} is not the teacher that this run was started with: its weights have the fingerprint "
            f"{mark[:12]}, those of '{name}' had {fingerprint[:12]}"
        )
