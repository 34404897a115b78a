"""What is measured once all rows are written: what reads them as a whole, and what runs on the bounded samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis import consistency
from analysis.consistency.stand_ins import of_still_columns
from analysis.copied import copies
from analysis.engine.effects import Engine
from analysis.engine.strengths import dose_response
from analysis.judging import Judge
from analysis.labels import ReadRows, label_stats
from analysis.performance import rows_performance
from analysis.probing import ProbedRows, probe, wanting
from analysis.quality import distinct_customers, row_quality, rows_twice, with_customers
from analysis.recording.batches import inputs_of
from analysis.recording.odd_days import odd_days
from analysis.recording.opened import Opened
from analysis.recording.samples import ComparedSample
from analysis.refound import found_at_training, in_doubt, refound
from analysis.relabelled import Agreement
from analysis.results.progress import Progress
from analysis.selected import selections
from analysis.skill import rows_skill
from analysis.stats import drift, training
from analysis.stats.consistency import ConsistencyStats
from analysis.stats.inputs import InputStats
from analysis.stats.labels import TaskLabels
from analysis.stats.probes import TaskProbe
from analysis.stats.run import Statistics
from analysis.stats.skill import TaskSkill, best_split
from analysis.stats.written import Written
from analysis.units import other_units
from analysis.wrapped import wraps
from analysis.written import Said, written
from ple_model import label_profile
from ple_model.consistency import Consistency
from ple_model.data.dataset.normalize import Normalizer
from ple_model.errors import UserError
from ple_model.input_columns import beside
from ple_model.presence import is_part
from ple_model.profile import Profile


class Ending:
    """The statistics of a pass made whole."""

    def __init__(self, opened: Opened, judge: Judge, progress: Progress) -> None:
        self.opened, self.judge, self.progress = opened, judge, progress

    def of(
        self, added: Statistics, rows: Path, infinite: Mapping[str, float], encoded: ProbedRows | None,
        compared: ComparedSample, said: Said | None, agreements: Mapping[str, Agreement] | None = None,
    ) -> Statistics:  # fmt: skip
        """`added`: the sum over all batches; `rows`: the file of them; `infinite`: rows by human-readable column that hold an
        infinite number; `said`: what the model says of the first rows of the run's own sample."""
        opened = self.opened
        effects, dose = None, {}
        if encoded is not None:
            engine = Engine(opened.model, encoded.encoded, encoded.targets, encoded.customers, opened.calibration)
            effects = engine.effects(
                self.interventions(engine), tick=lambda i, n: self.progress(0.85 + 0.12 * i / n, f"intervention {i} of {n}")
            )
            dose = dose_response(engine)
        trained_as = training.measure(opened.run.progress(steps=False))
        skill = self._skill(rows)
        lost, moved, unseen, read = added.finite, added.drift, added.unseen, compared.read()
        return replace(
            added,
            finite=None if lost is None else replace(lost, inputs={**lost.inputs, **infinite}),
            drift=None if moved is None else replace(moved, customers=distinct_customers(rows, moved.n)),
            unseen=None if unseen is None else with_customers(unseen, rows),
            effects=effects,
            dose=dose,
            quality=row_quality(rows, opened.facts, opened.judged),
            performance=rows_performance(rows, opened.facts),
            skill=skill,
            probes=self._probes(encoded, read, skill),
            training=trained_as,
            reference=self._reference(added.inputs),
            trained=None if opened.profile is None else drift.of_profile(opened.profile),
            held=None if opened.profile is None else drift.of_held(opened.profile),
            own_rows=compared.own_rows(),
            consistency=self._consistency(compared, rows, added.n),
            written=self._written(said),
            labels=self._labels(rows, read, skill, trained_as, agreements or {}),
            odd_days=odd_days(opened.days, rows, own=opened.of_training),
        )

    def interventions(self, engine: Engine) -> Sequence[str]:
        """What is asked of the bounded sample."""
        return engine.standard_interventions()

    def _skill(self, rows: Path) -> dict[str, dict[str, TaskSkill]]:
        return rows_skill(rows, self.judge.yardsticks, self.judge.trained_on)

    def _written(self, said: Said | None) -> Written | None:
        return written(self.opened.run, self.opened.model, said)

    def _probes(
        self, encoded: ProbedRows | None, read: ReadRows | None, skill: dict[str, dict[str, TaskSkill]]
    ) -> dict[str, TaskProbe]:
        """Along the way of the tasks that need it."""
        if encoded is None or read is None:
            return {}
        return probe(self.opened.model, encoded, read, self.opened.calibration, wanting(skill))

    def _labels(
        self, rows: Path, read: ReadRows | None, skill: dict[str, dict[str, TaskSkill]], trained_as: training.TrainingStats,
        agreements: Mapping[str, Agreement],
    ) -> dict[str, TaskLabels]:  # fmt: skip
        """What the labels are, and where the model finds nothing in them, whether anybody would."""
        model, facts = self.opened.model, self.opened.facts
        profile = label_profile.load(self.opened.run.preprocess)
        labels = label_stats(rows, facts, read, profile, self._amounts(), self._class_names(), agreements)
        found = found_at_training(trained_as)
        labels = {
            k: v if v.relabelled is None else replace(v, relabelled=replace(v.relabelled, found=found.get(k, float("nan"))))
            for k, v in labels.items()
        }
        doubted = in_doubt(best_split(skill), found, labels)
        if read is None or not doubted:
            return labels
        again = refound(rows, read, model.tasks, doubted, found, profile or {})
        return {k: replace(v, refound=again.get(k)) for k, v in labels.items()}

    def _amounts(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation of the training labels of each amount, on the label's own scale."""
        return {task: (scaler.mean, scaler.std) for task, scaler in self.opened.model.context.label_scalers.items()}

    def _class_names(self) -> dict[str, Sequence[str]]:
        """Of the tasks whose classes have names."""
        model = self.opened.model
        names = {task: model.context.class_names.get(task, spec.classes) for task, spec in model.tasks.items()}
        return {task: found for task, found in names.items() if found}

    def _consistency(self, compared: ComparedSample, rows: Path, measured: int) -> ConsistencyStats | None:
        """Of the rows on which training rows are held against others, features in the run's own scale."""
        if not compared:
            return None
        opened = self.opened
        columns, values = beside(compared.columns, compared.values(), compared.thirds, compared.blocks())
        features = [j for j, (key, _) in enumerate(columns) if is_part(key)]
        if opened.rescale is not None and len(features) == len(opened.names):
            values[:, features] = opened.rescale(values[:, features])
        try:
            reference = Consistency.load(opened.run.preprocess)
        except UserError as e:
            return ConsistencyStats(reason=f"consistency.npz cannot be read: {e.args[0].split('/')[-1]}.")
        found = consistency.measure(reference, columns, values, compared.people, compared.cutoff, opened.profile)
        found = replace(found, silent=consistency.silences(compared.events, {} if reference is None else reference.active))
        if (
            opened.profile is not None
            and not found.displaced
            and len(features) == len(opened.names) == len(opened.profile.edges)
        ):
            inputs = [columns[j][0] for j in features]
            found = self._of_columns(found, values[:, features], inputs, len(set(compared.people)), opened.profile)
        twice, example, across, splits = rows_twice(rows)
        return replace(found, twice=twice, example=example, across=across, splits=splits, measured=measured)

    def _of_columns(
        self, found: ConsistencyStats, values: NDArray[np.float32], inputs: Sequence[str], people: int, profile: Profile
    ) -> ConsistencyStats:
        """What single feature columns say: they hold others' values, are those of training times a number, were stored in too
        few bits, or lost an end."""
        names, parts = self.opened.names, self.opened.facts.parts
        copied = copies(values, names, inputs, profile, people)
        theirs = {c.column for c in copied}
        alone = tuple(one for one in found.stand_ins if one.column not in theirs)  # what stands in a copy is the other's
        found = replace(found, copied=copied, stand_ins=of_still_columns(alone, values, names, profile))
        try:
            own = Normalizer.load(self.opened.run.preprocess)
        except UserError:
            return found
        others = {s.column for s in alone} | theirs
        ends = [s for s in selections(values, names, parts, profile, own.inverse, people) if s.column not in others]
        # small numbers that are spread as the small ones of training were chosen, not wrapped round
        chosen = theirs | {s.column for s in ends if s.above}
        wrapped = tuple(w for w in wraps(values, names, parts, profile, own.inverse, people) if w.column not in chosen)
        narrow = {w.input for w in wrapped}
        units = tuple(
            u
            for u in other_units(values, names, parts, profile, own.inverse)
            if u.input not in narrow and u.column not in theirs
        )
        selected = tuple(s for s in ends if s.input not in narrow)
        return replace(found, units=units, wrapped=wrapped, selected=selected, each_column=True)

    def _reference(self, own: InputStats | None) -> InputStats | None:
        """Input moments of the run's own sample: what training looked like."""
        if self.opened.own:
            return own
        try:
            sample = self.opened.run.sample()
        except UserError:
            return None
        total: InputStats | None = None
        for batch in sample.batches(None, 2048, fields=["features"]):
            part = inputs_of(batch.inputs, self.opened.facts.tasks, only_features=True)
            total = part if total is None else total + part
        return total
