"""A synthetic bank of a chosen size and seed: what it costs, the commands, and the job that makes it."""

from __future__ import annotations

import streamlit as st

from dashboard import access, background, making_cost, places, ui
from dashboard.components import put
from dashboard.components.dataset_name import events_of, new_name
from dashboard.data_job_card import shell
from dashboard.data_jobs import Making, Step, commands
from dashboard.i18n import t
from dashboard.units import duration, size
from ple_model.errors import UserError

LEAST, MOST = 100, 100_000
"""Customers: with fewer a split may be empty; the most that a build was measured with (`ple bench build`)."""


def bank_form() -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left, st.container(border=True):
        name, wrong = new_name("bank", "bank_name")
        one, two = st.columns(2)
        with one:
            customers = ui.number_input(
                t("bank.customers"), LEAST, MOST, 5000, step=500, key="bank_customers", help=t("bank.customers_help")
            )
        with two:
            seed = ui.number_input(t("bank.seed"), 0, 2**32 - 1, 1, key="bank_seed", help=t("bank.seed_help"))
        measured = ui.checkbox(t("datasets.with_baselines"), True, key="bank_baselines", help=t("datasets.with_baselines_help"))
    steps: tuple[Step, ...] = ("synth", "build", "baselines") if measured else ("synth", "build")
    making = None
    if not wrong:
        making = Making(
            steps, dataset=places.dataset_at(name), events=events_of(name), customers=int(customers), seed=int(seed)
        )
    with right:
        _facts(int(customers), steps)
    start(making, "bank")


def _facts(customers: int, steps: tuple[Step, ...]) -> None:
    rows = customers * making_cost.ROWS_A_CUSTOMER
    with st.container(border=True, gap="xsmall"):
        ui.markdown(f"**{t('datasets.costs')}**")
        ui.markdown(t("bank.rows", customers=f"{customers:,}", rows=f"{rows:,.0f}"))
        costs(steps, rows)


def costs(steps: tuple[Step, ...], rows: float) -> None:
    """Minutes and disk, before it is started."""
    found = making_cost.cost(steps, rows)
    ui.markdown(t("datasets.time", idle=duration(found.seconds), now=duration(found.now())))
    free = making_cost.room(places.data_folder())
    ui.markdown(t("datasets.disk", need=size(found.bytes), free=size(free)))
    if found.bytes > free:
        ui.error(t("datasets.no_room"), icon=":material/hard_drive:")
    ui.caption(t("datasets.cost_help"))


def start(making: Making | None, key: str, name: str = "") -> None:
    """The same from a shell, and the button that starts the job; without a making the button waits. `name`: the key of the
    field that names it, which proposes another name after the start."""
    if making is not None:
        ui.caption(t("train.preview"))
        put.code("\n".join(shell(w) for w in commands(making)), language="bash", wrap_lines=True)
    error = f"{key}_error"
    if said := st.session_state.pop(error, None):
        ui.error(said, icon=":material/error:")
    ui.button(
        t(f"{key}.start"), type="primary", icon=":material/play_arrow:", key=f"{key}-start", disabled=making is None,
        on_click=_start, args=(making, key, name or f"{key}_name"),
    )  # fmt: skip


def _start(making: Making, key: str, name: str) -> None:
    """Start the job (a callback); what was typed stays where it cannot be."""
    try:
        access.require()
        background.data_jobs().start(making)
    except (UserError, OSError) as e:
        st.session_state[f"{key}_error"] = str(e)
    else:
        st.session_state.pop(name, None)
