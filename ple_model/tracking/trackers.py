"""The trackers there are, each loaded only when it is asked for. None sends anything anywhere but to the place that is given;
without one that is a folder beside the run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ple_model.errors import UserError
from ple_model.run import load_run
from ple_model.tracking.replay import Tracker, identity

EXPERIMENT = "ple-scope"
ENDED = {"finished": "FINISHED", "failed": "FAILED"}
"""MLflow's words for how a run ended; one that was stopped is KILLED until it goes on and ends."""
BATCH = 100
"""Params that MLflow takes at once."""


class TensorBoard:
    """One folder of event files: `PLACE/<name of the run>-<eight digits of its identity>`."""

    def __init__(self, run: Path, place: str) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # late: an extra

        self._run, self._place = run, Path(place)
        self._made: Callable[[], Any] = lambda: EventFileWriter(str(self._folder), filename_suffix=".ple")
        self._writer: Any = None

    @cached_property
    def _folder(self) -> Path:
        return self._place / f"{self._run.name}-{identity(load_run(self._run))[:8]}"

    def logged(self) -> dict[str, int]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # late: an extra

        if not self._folder.is_dir():
            return {}
        found = EventAccumulator(str(self._folder), size_guidance={"scalars": 0}).Reload()
        return {tag: max(e.step for e in found.Scalars(tag)) for tag in found.Tags()["scalars"]}

    def begin(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        from tensorboard.plugins.text.summary_v2 import text_pb  # late: an extra

        for name, rows in (("params", params), ("manifest", tags)):
            lines = [f"    {k}: {' '.join(v.split())}" for k, v in rows.items()]  # four blanks: shown as it is, not as Markdown
            self._write(text_pb(name, "\n".join(lines)), 0)

    def send(self, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary  # late: an extra

        self._write(Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()]), step)
        self._writer.flush()

    def _write(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # late: an extra

        if self._writer is None:
            self._writer = self._made()
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class MLflow:
    """One run of the experiment `ple-scope`, found again by what identifies the run folder."""

    def __init__(self, run: Path, place: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent but to the place that is given
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder is a place; MLflow would rather have a database
        from mlflow.tracking import MlflowClient  # late: an extra

        self._client = MlflowClient(tracking_uri=place if "://" in place else Path(place).absolute().as_uri())
        self._folder, self._id = run, ""

    def _run(self) -> str:
        if not self._id:
            same = identity(load_run(self._folder))
            known = self._client.get_experiment_by_name(EXPERIMENT)
            experiment = known.experiment_id if known is not None else self._client.create_experiment(EXPERIMENT)
            found = self._client.search_runs([experiment], f"tags.\"ple.identity\" = '{same}'", max_results=1)
            made = found[0] if found else self._client.create_run(
                experiment, tags={"ple.identity": same}, run_name=self._folder.name
            )  # fmt: skip
            self._id = made.info.run_id
        return self._id

    def logged(self) -> dict[str, int]:
        run = self._run()
        names = self._client.get_run(run).data.metrics
        return {k: max(m.step for m in self._client.get_metric_history(run, k)) for k in names}

    def begin(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag  # late: an extra

        run = self._run()
        known = self._client.get_run(run).data.params
        new = [Param(k, v) for k, v in params.items() if k not in known]
        for i in range(0, len(new), BATCH):
            self._client.log_batch(run, params=new[i : i + BATCH])
        self._client.log_batch(run, tags=[RunTag(k, v) for k, v in tags.items()])

    def send(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric  # late: an extra

        now = int(time.time() * 1000)
        self._client.log_batch(self._run(), metrics=[Metric(k, v, now, step) for k, v in values.items()])

    def close(self) -> None:
        state = load_run(self._folder).state if self._id else "running"
        if state != "running":  # elsewhere, perhaps: it is not ended by being looked at
            self._client.set_terminated(self._id, ENDED.get(state, "KILLED"))


TRACKERS: dict[str, Callable[[Path, str], Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
"""By name, which is that of the extra too."""


def place_of(run: Path, name: str, place: str | None) -> str:
    """Where a tracker keeps a run: what was asked for, else a folder beside the run."""
    return place or str(run.resolve().parent / f"tracking-{name}")


def tracker(name: str, run: Path, place: str | None) -> Tracker:
    """The tracker `name` of a run folder; `place` None: a folder beside it. `UserError` where its package is missing, or the
    place is none or lies within the run."""
    run, place = run.resolve(), place_of(run, name, place)
    if "://" not in place and Path(place).resolve().is_relative_to(run):
        raise UserError(f"'{place}' lies within the run {run.name}: name a folder beside it")
    try:
        return TRACKERS[name](run, place)
    except ImportError as e:
        raise UserError(f"--track {name} needs a package that is not installed: pip install 'ple-scope[{name}]' ({e})") from e
    except Exception as e:  # whatever a foreign library raises
        raise UserError(f"'{place}' cannot be used by {name}: {' '.join(str(e).split())}") from e
