"""What a model is asked: explanations, what-ifs, its latents, a customer's days; one question of a run at a time.

What opens a model is imported where it is asked: the first page does not need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from analysis import CustomerWhatIf, WhatIfResult, whatif, whatif_customer
from analysis.fingerprint import files_mark
from analysis.results.explanation import Explanation
from analysis.results.latents import Latents
from analysis.results.sequences import AheadFit, CustomerSteps, StepsAhead
from analysis.results.whatif import StrengthSweep
from dashboard.model_lock import model_lock
from dashboard.state.runs import Data, data_folder, data_key, file_mark, opened_encoder, run

if TYPE_CHECKING:
    from analysis.explain.customer_edit import ColumnNow


@st.cache_data(max_entries=64, show_spinner=False)
def _whatif(path: str, mark: str, data: Data, arguments: tuple[str, ...]) -> WhatIfResult:
    with model_lock(Path(path)):
        return whatif(run(Path(path)), arguments, dataset=data_folder(data))


def what_if(path: Path, arguments: tuple[str, ...], data: Path | None = None) -> WhatIfResult:
    """Before and after of one intervention, given as arguments of `ple whatif`. `UserError` if it names something unknown."""
    return _whatif(str(path), files_mark(path), data_key(data), arguments)


@st.cache_resource(max_entries=64, show_spinner=False)
def _explanation(path: str, mark: str, data: Data, customer: str, task: str) -> Explanation:
    from analysis.explain.customer import explain  # late: the model's side

    with model_lock(Path(path)):
        return explain(run(Path(path)), customer, task, dataset=data_folder(data))


def explanation(path: Path, customer: str, task: str, data: Path | None = None) -> Explanation:
    """Why this run predicts what it predicts for one customer. `UserError` for an unknown customer or task."""
    return _explanation(str(path), files_mark(path), data_key(data), customer, task)


@st.cache_resource(max_entries=64, show_spinner=False)
def _customer_columns(path: str, mark: str, data: Data, customer: str, names: tuple[str, ...]) -> tuple[ColumnNow, ...]:
    from analysis.explain.customer_edit import columns  # late: the model's side

    return columns(run(Path(path)), customer, names, dataset=data_folder(data))


def customer_columns(path: Path, customer: str, names: tuple[str, ...], data: Path | None = None) -> tuple[ColumnNow, ...]:
    """What these columns of a customer are, and where they stand among the training customers."""
    return _customer_columns(str(path), files_mark(path), data_key(data), customer, names)


@st.cache_data(max_entries=64, show_spinner=False)
def _customer_what_if(
    path: str, mark: str, data: Data, customer: str, task: str, target: int | None, arguments: tuple[str, ...]
) -> CustomerWhatIf:
    with model_lock(Path(path)):
        return whatif_customer(run(Path(path)), customer, arguments, task, dataset=data_folder(data), target=target)


def customer_what_if(
    path: Path, customer: str, task: str, target: int | None, arguments: tuple[str, ...], data: Path | None = None
) -> CustomerWhatIf:
    """One customer's predictions before and after. `UserError` if anything named is unknown."""
    return _customer_what_if(str(path), files_mark(path), data_key(data), customer, task, target, arguments)


@st.cache_data(max_entries=64, show_spinner=False)
def _strength_sweep(path: str, mark: str, data: Data, edge: str) -> StrengthSweep:
    from analysis.engine.effects import Engine  # late: the model's side
    from analysis.engine.strengths import sweep  # late: the model's side

    with model_lock(Path(path)):
        return sweep(Engine.cached(run(Path(path)), dataset=data_folder(data)), edge)


def strength_sweep(path: Path, edge: str, data: Path | None = None) -> StrengthSweep:
    """What an edge's target does while the edge's strength goes from nothing to twice the configured one."""
    return _strength_sweep(str(path), files_mark(path), data_key(data), edge)


@st.cache_resource(max_entries=4, show_spinner=False)
def _latents(path: str, mark: str, data: Data) -> Latents:
    from analysis.latents import latents  # late: the model's side

    with model_lock(Path(path)):
        return latents(run(Path(path)), data_folder(data))


def dictionary(path: Path, data: Path | None = None) -> Latents:
    """Every latent of the run's autoencoder, read back where it is stored. `UserError` for a run without one."""
    return _latents(str(path), files_mark(path), data_key(data))


@st.cache_resource(max_entries=64, show_spinner=False)
def _steps(encoder: str, encoder_mark: str, path: str, mark: str, data: Data, customer: str) -> CustomerSteps:
    from analysis.sequences.customer import customer_steps  # late: the model's side

    opened = opened_encoder(encoder, encoder_mark)
    with model_lock(Path(encoder)):
        return customer_steps(opened, run(Path(path)), customer, dataset=data_folder(data))


def steps_of(encoder: Path, path: Path, customer: str, data: Path | None = None) -> CustomerSteps:
    """One customer's series as an encoder sees it. `UserError` for an unknown customer or data without the sequence."""
    mark = file_mark(encoder / "manifest.json") + file_mark(encoder / "encoder.safetensors")
    return _steps(str(encoder), mark, str(path), files_mark(path), data_key(data), customer)


@st.cache_resource(max_entries=64, show_spinner=False)
def _ahead(key: str, encoder: str, encoder_mark: str, path: str, data: Data, customer: str, _fit: AheadFit) -> StepsAhead:
    from analysis.sequences.ahead import steps_ahead  # late: the model's side

    opened = opened_encoder(encoder, encoder_mark)
    with model_lock(Path(encoder)):
        return steps_ahead(opened, run(Path(path)), customer, _fit, dataset=data_folder(data))


def ahead_of(encoder: Path, path: Path, customer: str, fit: AheadFit, learned: Path, data: Path | None = None) -> StepsAhead:
    """One customer's next days by the forecast `fit` that is kept in the file `learned`."""
    mark = file_mark(encoder / "manifest.json") + file_mark(encoder / "encoder.safetensors")
    key = f"{learned}|{file_mark(learned)}|{files_mark(path)}"
    return _ahead(key, str(encoder), mark, str(path), data_key(data), customer, fit)
