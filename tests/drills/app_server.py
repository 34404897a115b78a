"""The app's own server with one door more, through which `tests.drills.app_kills` presses the buttons of the app: what a button
calls is called here, in the server's process. Started by `streamlit run` in the place of `dashboard/serve.py`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dashboard import background, state, studies
from dashboard.data_jobs import Making
from dashboard.guard_requests import GuardRequests
from dashboard.job_store import Record
from dashboard.jobs import Training
from dashboard.server import ADDRESS_VARIABLE, ROOT
from dashboard.tune_jobs import Tuning
from ple_model.errors import UserError

Kind = str
"""train, tune or build."""


def stores() -> dict[Kind, Any]:
    """The stores of the app's jobs."""
    return {"train": background.jobs(), "tune": background.tune_jobs(), "build": background.data_jobs()}


def start(kind: Kind, target: Path, how: dict[str, Any]) -> Record:
    """What the buttons Train, Search and Build call."""
    if kind == "train":
        training = Training(Path(how["dataset"]), target, config=how["config"], device="cpu")
        return background.jobs().start(training)
    if kind == "tune":
        keys, settings = tuple(how["keys"]), tuple(how["settings"])
        tuning = Tuning(Path(how["dataset"]), target, settings=settings, keys=keys, only=True, trials=how["trials"])
        return background.tune_jobs().start(tuning)
    events = target.with_name(f"{target.name}-events")
    return background.data_jobs().start(Making(("synth", "build"), target, events, customers=how["customers"]))


def resume(kind: Kind, job_id: str) -> Record:
    """What the button Resume calls."""
    found: Record = stores()[kind].again(job_id) if kind == "build" else stores()[kind].resume(job_id)
    return found


def listed() -> dict[str, dict[str, Any]]:
    """Every job that the app's lists show."""
    return {
        job.id: {"kind": kind, "status": job.status, "pid": job.pid, "target": str(job.target), "active": job.active}
        for kind, store in stores().items()
        for job in store.jobs()
    }


def read(kind: Kind, target: Path) -> str:
    """What the app's pages read of a folder: `whole`, or the sentence that they show."""
    if not target.exists():
        return "not there yet"
    if kind == "train":
        return state.readable(target) or "whole"
    found = studies.read(target) if kind == "tune" else state.dataset_manifest(target)
    return found if isinstance(found, str) else "whole"


async def door(request: Request) -> Response:
    """One press, answered with what the app would know; a sentence where it is refused."""
    asked = json.loads(await request.body())
    try:
        match asked["act"]:
            case "start":
                said: Any = start(asked["kind"], Path(asked["target"]), asked["how"]).id
            case "resume":
                said = resume(asked["kind"], asked["job"]).id
            case "read":
                said = read(asked["kind"], Path(asked["target"]))
            case _:
                said = listed()
    except UserError as e:
        return JSONResponse({"refused": str(e)})
    return JSONResponse({"said": said})


app = st.App(
    ROOT / "dashboard" / "app.py",
    routes=[Route("/drill", door, methods=["POST"])],
    middleware=[Middleware(GuardRequests, address=os.environ.get(ADDRESS_VARIABLE, "127.0.0.1"))],
)
