"""One job that makes data: its steps, progress, log; stop it, go on with it, take what it made."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import streamlit as st

from dashboard import access, background, job_pause, making_cost, places, state, ui
from dashboard.data_jobs import DataJob, commands
from dashboard.guarded import guarded
from dashboard.i18n import maybe, t
from dashboard.i18n.sentences import say
from dashboard.units import duration
from ple_model.errors import UserError

ERROR = "data_job_error"
"""Session key: why a job could not be started."""


def shell(words: tuple[str, ...]) -> str:
    """A command as a person types it."""
    return f"ple {shlex.join(words)}"


def _again(job: DataJob) -> None:
    """Start it once more (a callback)."""
    try:
        access.require()
        background.data_jobs().again(job.id)
    except (UserError, OSError) as e:
        st.session_state[ERROR] = str(e)


def train_on(dataset: Path) -> None:
    """Choose a dataset in the training form and open it (a callback)."""
    st.session_state["train_data"] = str(dataset)
    st.session_state["train_open"] = True


def choose_cutoffs(events: Path) -> None:
    """Go on from imported event tables (a callback)."""
    st.session_state["way"] = "events"
    st.session_state["events_folder"] = places.short(events)
    state.go_to("datasets")


def card(job: DataJob, where: str) -> None:
    """Draw a job; `where` keeps the buttons of the page and of the sidebar apart."""
    state = job_pause.state_of(background.data_jobs(), job)
    with st.container(border=True, gap="xsmall", key=f"{where}-making-{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            ui.markdown(f"**{job.label}**")
            job_pause.mark(state)
        if job.active:
            _live(job)
            job_pause.buttons(background.data_jobs(), job, state, where)
        else:
            _ended(job, where)
        with ui.expander(t("job.log")):
            st.code("\n".join(shell(w) for w in commands(job.making)), language="bash", wrap_lines=True)
            st.code(background.data_jobs().log_tail(job.id, 4000) or t("job.log_empty"), language=None, height=180)


def _live(job: DataJob) -> None:
    if job.status == "queued":
        ui.caption(job_pause.waiting(background.stores()))
        return
    store = background.data_jobs()
    found = store.how_far(job.id)
    done = making_cost.share(job.making, found, job.making.customers * making_cost.ROWS_A_CUSTOMER)
    steps = job.making.steps
    number = min(found.number, len(steps) - 1) if found is not None else 0
    words = t(f"making.step.{steps[number]}")
    if found is not None and found.stage != steps[number]:
        words += f": {maybe(f'making.stage.{found.stage}', found.stage)}"
    if len(steps) > 1:
        words = t("making.step_of", n=number + 1, of=len(steps), step=words)
    elapsed = time.time() - (job.started or job.created)
    if done >= 0.1:
        words += " · " + t("job.eta", eta=duration(elapsed * (1 - done) / done))
    ui.progress(min(done, 1.0), text=words)


def _ended(job: DataJob, where: str) -> None:
    m, made = job.making, job.target
    if job.started is not None and job.ended is not None:
        ui.caption(t("making.took", time=duration(job.ended - job.started), path=str(made)))
    if job.status == "failed":
        lines = [line.strip() for line in background.data_jobs().log_tail(job.id, 3000).splitlines() if line.strip()]
        ui.error(t("making.why"))
        st.text(say(lines[-1][:500]) if lines else "")  # plain: the words may come from a file
    with st.container(horizontal=True, gap="xsmall"):
        if job.status in ("failed", "stopped", "lost"):
            ui.button(
                t("job.resume"), icon=":material/resume:", key=f"{where}-again-{job.id}", on_click=_again, args=(job,),
                help=t("making.resume_help"),
            )  # fmt: skip
        pressed = False
        if m.steps[-1] == "import" and job.status == "finished" and m.events is not None:
            pressed = ui.button(
                t("making.choose"), icon=":material/date_range:", key=f"{where}-choose-{job.id}", on_click=choose_cutoffs,
                args=(m.events,), type="primary",
            )  # fmt: skip
        if m.dataset is not None and (m.dataset / "dataset.json").is_file():
            pressed |= ui.button(
                t("making.train"), icon=":material/model_training:", key=f"{where}-train-{job.id}", on_click=train_on,
                args=(m.dataset,),
            )  # fmt: skip
    if pressed:
        st.rerun()  # the card is drawn in a fragment, which alone would run again


SHOWN = 6
"""Jobs of the page, the newest ones."""


def panel() -> None:
    """The jobs of the page, as a fragment: it runs again by itself, outside of the script's own guard."""
    with guarded():
        if said := st.session_state.pop(ERROR, None):
            ui.error(said, icon=":material/error:")
        jobs = background.data_jobs().jobs()
        before, now = st.session_state.get("active_makings"), [j.id for j in jobs if j.active]
        st.session_state["active_makings"] = now
        if before is not None and before != now:
            st.rerun()  # a button of this fragment started one, or one has ended: what runs by itself is for the script to say
        if not jobs:
            ui.caption(t("datasets.no_jobs"))
        for job in standing(jobs)[:SHOWN]:
            card(job, "page")


def standing(jobs: list[DataJob]) -> list[DataJob]:
    """The newest job of each folder: one that was gone on with says nothing any more."""
    newest: dict[Path, DataJob] = {}
    for job in jobs:
        newest.setdefault(job.target, job)
    return list(newest.values())
