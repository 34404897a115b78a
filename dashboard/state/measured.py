"""What follows from a stored analysis, of everyone or of a cohort; no model is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from analysis import AnalysisStore, CohortFilter, Diagnosis, load_diagnosis
from analysis.cohort import from_url, to_url
from analysis.compare import RunNumbers
from analysis.fingerprint import RUN_FILES, files_mark
from analysis.groups import GroupTable, group_table
from analysis.performance import performance
from analysis.replicates import profile
from analysis.results.sequences import LearnedMap, MovedAlike
from analysis.results.uncertainty import TaskUncertainty
from analysis.review.id_file import ids_of
from analysis.sequences.alike import moved_alike as moved_alike_in
from analysis.sequences.learned import load as load_learned
from analysis.skill import skill
from analysis.stats.expert import ExpertStats
from analysis.stats.hmm import HmmStats
from analysis.stats.run import SplitPerformance
from analysis.stats.skill import TaskSkill
from analysis.uncertainty import uncertainty
from analysis.vectors import expert_statistics, hmm_statistics
from dashboard.state.runs import file_mark

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@st.cache_resource(max_entries=16, show_spinner=False)
def _cohort_experts(mark: str, cohort: str, _store: AnalysisStore) -> ExpertStats | None:
    return expert_statistics(_store, from_url(cohort))


def cohort_experts(store: AnalysisStore, filters: Sequence[CohortFilter]) -> ExpertStats | None:
    """The experts' statistics: of everyone as measured, of a cohort from the sampled vectors."""
    return _cohort_experts(store.mark, to_url(filters), store) if filters else store.statistics.experts


@st.cache_resource(max_entries=16, show_spinner=False)
def _cohort_hmm(mark: str, cohort: str, _store: AnalysisStore) -> HmmStats | None:
    return hmm_statistics(_store, from_url(cohort))


def cohort_hmm(store: AnalysisStore, filters: Sequence[CohortFilter]) -> HmmStats | None:
    """The HMM projections' statistics: of everyone as measured, of a cohort from the sampled vectors."""
    return _cohort_hmm(store.mark, to_url(filters), store) if filters else store.statistics.hmm


@st.cache_resource(max_entries=32, show_spinner=False)
def _compared(mark: str, area: str, cohort: str, _store: AnalysisStore) -> RunNumbers:
    return profile(_store, area, from_url(cohort))


def compared(store: AnalysisStore, area: str, filters: Sequence[CohortFilter]) -> RunNumbers:
    """One run's numbers of a page, to be set beside another run's; `area` is a key of `PROFILES`."""
    return _compared(store.mark, area, to_url(filters), store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _group_rates(
    mark: str, task: str, kind: str, target: int | None, by: str, cohort: str, _store: AnalysisStore
) -> GroupTable:
    return group_table(_store, task, kind, target, by, from_url(cohort))


def group_rates(
    store: AnalysisStore, task: str, kind: str, target: int | None, by: str, filters: Sequence[CohortFilter]
) -> GroupTable:
    """How often each group of a cohort is recommended something, and how well it is predicted."""
    return _group_rates(store.mark, task, kind, target, by, to_url(filters), store)


@st.cache_data(max_entries=2, show_spinner=False, scope="session")
def listed_ids(name: str, data: bytes) -> tuple[str, ...]:
    """Ids in a file of the reader's own, which stays in this session. `UserError` for a file without any."""
    return ids_of(name, data)


@st.cache_resource(max_entries=8, show_spinner=False)
def _latest_rows(mark: str, _store: AnalysisStore) -> NDArray[np.int64]:
    return _store.latest()


def latest_rows(store: AnalysisStore) -> NDArray[np.int64]:
    """Numbers of the rows that are their customer's latest: the ones that are explained."""
    return _latest_rows(store.mark, store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _uncertainty(mark: str, task: str, cohort: str, _store: AnalysisStore) -> TaskUncertainty:
    return uncertainty(_store, task, from_url(cohort))


def task_uncertainty(store: AnalysisStore, task: str, filters: Sequence[CohortFilter]) -> TaskUncertainty:
    """The uncertainty of one task in one cohort."""
    return _uncertainty(store.mark, task, to_url(filters), store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _split_performance(mark: str, split: str, cohort: str, _store: AnalysisStore) -> SplitPerformance:
    return performance(_store, split, from_url(cohort))


def split_performance(store: AnalysisStore, split: str, filters: Sequence[CohortFilter]) -> SplitPerformance:
    """How well the run predicts on one split of one cohort, as it was measured here."""
    return _split_performance(store.mark, split, to_url(filters), store)


@st.cache_resource(max_entries=64, show_spinner=False)
def _split_skill(mark: str, split: str, cohort: str, _store: AnalysisStore) -> dict[str, TaskSkill]:
    return skill(_store, split, from_url(cohort))


def split_skill(store: AnalysisStore, split: str, filters: Sequence[CohortFilter]) -> dict[str, TaskSkill]:
    """How good the run is on one split of one cohort, by task, beside a constant and simpler models."""
    return _split_skill(store.mark, split, to_url(filters), store)


@st.cache_resource(max_entries=8, show_spinner=False)
def _learned(file: str, mark: str) -> LearnedMap | None:
    return load_learned(Path(file))


def learned(file: Path) -> LearnedMap | None:
    """What was worked out of an encoder and a run's customers before, if it was."""
    return _learned(str(file), file_mark(file))


@st.cache_resource(max_entries=64, show_spinner=False)
def _moved_alike(mark: str, row: int, _learned: LearnedMap, _customers: dict[int, str]) -> MovedAlike:
    return moved_alike_in(_learned, row, _customers)


def moved_alike(file: Path, learned: LearnedMap, row: int, customers: dict[int, str]) -> MovedAlike:
    """The customers of a map who moved most like the one at a row of its dataset; `customers` by row."""
    return _moved_alike(str(file) + file_mark(file), row, learned, customers)


@st.cache_resource(max_entries=8, show_spinner=False)
def _kept_diagnosis(path: str, mark: str) -> Diagnosis | None:
    return load_diagnosis(path)


def kept_diagnosis(run: Path) -> Diagnosis | None:
    """The run's newest stored diagnosis that still holds, read once; None without one."""
    files = [*(run / name for name in RUN_FILES), *sorted((run / "analysis").glob("*/meta.json"))]
    return _kept_diagnosis(str(run), "|".join([files_mark(run), *map(file_mark, files)]))
