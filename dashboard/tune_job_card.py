"""The jobs that work on studies: how far, what the running trial does; stop, go on, the log."""

from __future__ import annotations

import streamlit as st

from dashboard import access, background, job_pause, studies, ui
from dashboard.components.tune_form import shell
from dashboard.guarded import guarded
from dashboard.i18n import t
from dashboard.i18n.sentences import say
from dashboard.jobs import progress
from dashboard.tune_jobs import TuneJob, command
from dashboard.units import duration
from ple_model.errors import UserError
from ple_model.tuning.report import StudyReport

SHOWN = 4
"""Jobs of the page, the newest ones."""
ERROR = "tune_job_error"


def panel() -> None:
    """The jobs as a fragment: it runs again by itself, outside of the script's own guard."""
    with guarded():
        if said := st.session_state.pop(ERROR, None):
            ui.error(said, icon=":material/error:")
        jobs = background.tune_jobs().jobs()
        before, now = st.session_state.get("active_tunings"), [(j.id, _done(j)) for j in jobs if j.active]
        st.session_state["active_tunings"] = now
        if before is not None and before != now:
            st.rerun()  # a trial or a study has ended: the figures of the page are others now
        for job in jobs[:SHOWN]:
            _card(job)


def _report(job: TuneJob) -> StudyReport | None:
    if not (job.target / "study.json").is_file():
        return None
    found = studies.read(job.target)
    return found if isinstance(found, StudyReport) else None


def _done(job: TuneJob) -> int:
    found = _report(job)
    return 0 if found is None else sum(x.done for x in found.trials)


def _card(job: TuneJob) -> None:
    state = job_pause.state_of(background.tune_jobs(), job)
    with st.container(border=True, gap="xsmall", key=f"tuning-{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            ui.markdown(f"**{job.label}**")
            job_pause.mark(state)
        if job.active:
            _live(job)
            job_pause.buttons(background.tune_jobs(), job, state, "tune", t("tune.stop_help"))
        else:
            _ended(job)
        with ui.expander(t("job.log")):
            st.code(shell(command(job.tuning)), language="bash", wrap_lines=True)
            st.code(background.tune_jobs().log_tail(job.id, 4000) or t("job.log_empty"), language=None, height=180)


def _live(job: TuneJob) -> None:
    if job.status == "queued":
        ui.caption(job_pause.waiting(background.stores()))
        return
    if job.tuning.find_rate:
        ui.caption(t("tune.finding"))
        return
    found = _report(job)
    if found is None:
        ui.caption(t("tune.finding") if job.tuning.strategy == "staged" else t("job.starting"))
        return
    done, of = sum(x.done for x in found.trials), found.spec.trials
    words = t("tune.trials_of", done=done, of=of) if of else t("tune.trials_done", done=done)
    seconds = [x.seconds for x in found.trials if x.done and x.seconds]
    if of and seconds:
        words += " · " + t("job.eta", eta=duration((of - done) * sum(seconds) / len(seconds)))
    ui.progress(min(done / of, 1.0) if of else 0.0, text=words)
    for trial in (x for x in found.trials if not x.done):
        lines = progress(found.folder / "trials" / trial.name)
        epoch = next((line.get("epoch") for line in reversed(lines) if line.get("epoch")), None)
        where = t("tune.trial_epoch", number=trial.number, epoch=epoch) if epoch else t("tune.trial", number=trial.number)
        ui.caption(f"{where}: `{' '.join(trial.settings)}`")


def _ended(job: TuneJob) -> None:
    if job.started is not None and job.ended is not None:
        ui.caption(t("tune.took", time=duration(job.ended - job.started)))
    if job.status == "failed":
        lines = [line.strip() for line in background.tune_jobs().log_tail(job.id, 3000).splitlines() if line.strip()]
        ui.error(t("making.why"))
        st.text(say(lines[-1][:500]) if lines else "")  # plain: the words may come from a file
    if job.status in ("failed", "stopped", "lost"):
        ui.button(
            t("job.resume"), icon=":material/resume:", key=f"tune-again-{job.id}", on_click=_again, args=(job,),
            help=t("tune.resume_help"), disabled=not access.may_change(),
        )  # fmt: skip


def _again(job: TuneJob) -> None:
    """Go on with it, a fragment's button (a callback)."""
    try:
        access.require()
        store = background.tune_jobs()
        if job.tuning.find_rate:
            store.start(job.tuning)
        else:
            store.resume(job.id)
    except (UserError, OSError) as e:
        st.session_state[ERROR] = str(e)


def busy() -> bool:
    """Whether a study is worked on now."""
    return any(j.active for j in background.tune_jobs().jobs())
