"""What a pass measures: the model of a run on the rows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from analysis.facts import facts_of
from analysis.recording.odd_days import DayScorer, day_scorer
from analysis.reference import Rescale, rescale, training_profile
from analysis.stats.run import Facts
from ple_model.calibration import CalibrationMap
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.profile import Profile
from ple_model.run import Run


@dataclass(frozen=True)
class Opened:
    """A run as it was opened, broken weights included: what is broken is to be said, not refused."""

    run: Run
    data: Dataset
    model: PLEClusterAdaTT
    facts: Facts
    calibration: Mapping[str, CalibrationMap]
    profile: Profile | None
    """the rows that trained the run"""
    rescale: Rescale | None
    """brings features to the run's own scale"""

    @classmethod
    def of(cls, run: Run, data: Dataset) -> Opened:
        model = run.model(finite=False)
        facts = facts_of(run, model, data)
        calibration = {} if "calibration" in facts.nonfinite_values else run.calibration
        return cls(run, data, model, facts, calibration, training_profile(run), rescale(run, data))

    @property
    def names(self) -> list[str]:
        """The columns of `features`."""
        return [c.name for c in self.data.schema.columns]

    @property
    def own(self) -> bool:
        """Whether the rows are the run's own sample."""
        return self.data.path == self.run.path / "sample"

    @property
    def of_training(self) -> bool:
        """Whether the rows are of the dataset that the run was trained on, so that their split is the run's."""
        return self.own or self.data.manifest.fingerprint == self.run.manifest.data.fingerprint

    @cached_property
    def days(self) -> DayScorer | str:
        """What the run's own encoder says of the last days of rows, or why it says nothing."""
        try:
            return day_scorer(self.run, self.model)
        except UserError as e:
            return str(e)

    @property
    def judged(self) -> str:
        """The split to judge by. Labels of rows that trained the model flatter it: what it has not seen, where there is any."""
        splits = self.data.manifest.splits
        return next((s for s in ("test", "validation") if splits.get(s, 0) >= 1), "train")
