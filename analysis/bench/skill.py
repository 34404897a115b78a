"""`ple bench skill`: what the diagnose pass costs more for saying whether a run has learnt, and why not."""

from __future__ import annotations

import resource
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.bench.diagnose import make
from analysis.checks import run_checks
from analysis.fingerprint import fingerprint
from analysis.judging import Judge
from analysis.labels import ReadRows
from analysis.record import BATCH, Recorder
from analysis.recording.ending import Ending
from analysis.stats.consistency import ConsistencyStats
from analysis.stats.labels import TaskLabels
from analysis.stats.probes import TaskProbe
from analysis.stats.run import Statistics
from analysis.stats.skill import TaskSkill
from analysis.stats.training import TrainingStats
from analysis.stats.written import Written
from analysis.store import AnalysisStore, StoreWriter
from analysis.written import Said
from ple_model.bench.measure import Row, Settings, Target, agree
from ple_model.bench.registry import Benchmark
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run, load_run

BUNDLED = Path(__file__).parents[2] / "sample_runs" / "full"


class _NoLosses(Judge):
    """Row losses are not asked for."""

    def __init__(self, run: Run, *_: Any) -> None:
        self.yardsticks, self.trained_on = {}, {}

    def columns(self, task: str, rows: NDArray[Any], targets: Any, value: Tensor) -> dict[str, Any]:
        return {}


class _MechanicsAlone(Ending):
    """Without the intervals of skill, probes along the way, labels and fresh fits, the inputs' consistency, and the outputs at
    the end of training."""

    def _skill(self, rows: Path) -> dict[str, dict[str, TaskSkill]]:
        return {}

    def _probes(self, encoded: Any, read: Any, skill: Any) -> dict[str, TaskProbe]:
        return {}

    def _labels(
        self, rows: Path, read: ReadRows | None, skill: Any, trained_as: TrainingStats, agreements: Any
    ) -> dict[str, TaskLabels]:
        return {}

    def _consistency(self, compared: Any, rows: Path, measured: int) -> ConsistencyStats | None:
        return None

    def _written(self, said: Said | None) -> Written | None:
        return None


class Mechanics(Recorder):
    """The pass without what it measures for skill and causes."""

    judging: type[Judge] = _NoLosses
    ending: type[Ending] = _MechanicsAlone


def seconds(by: type[Recorder], run: Run, data: Dataset) -> tuple[float, AnalysisStore]:
    """Processor seconds of one pass with its findings: those of a clock would be other programs' too."""
    writer = StoreWriter(run.path, by.__name__.lower())
    began = _used()
    try:
        store = by(run, data, None, 0, None).run(writer, fingerprint(run, data, None, 0), replace=True)
        run_checks(store.statistics)
    finally:
        writer.discard()
    return _used() - began, store


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime


def compared(a: Statistics, b: Statistics) -> float:
    """What both passes measure is the same."""
    return agree("skill", _shared(a), _shared(b), 1e-6)


def _shared(s: Statistics) -> dict[str, Tensor]:
    assert s.experts is not None
    assert s.gates is not None
    return {"experts": torch.from_numpy(s.experts.norm_mean), "gates": torch.from_numpy(s.gates.weight_sum)}


def ratios(run: Run, data: Dataset, rounds: int) -> tuple[list[float], list[float], float]:
    """Seconds of the pass with and without, interleaved, after one of each that nobody counts; how far what both measure is
    apart."""
    difference = compared(seconds(Recorder, run, data)[1].statistics, seconds(Mechanics, run, data)[1].statistics)
    whole: list[float] = []
    less: list[float] = []
    for i in range(rounds):
        kinds: Sequence[type[Recorder]] = (Recorder, Mechanics) if i % 2 == 0 else (Mechanics, Recorder)
        for by in kinds:
            (whole if by is Recorder else less).append(seconds(by, run, data)[0])
    return whole, less, difference


def run(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="ple-bench-") as folder:
        if settings.quick or not BUNDLED.is_dir():
            found, data = make(Path(folder), settings, settings.pick(4 * BATCH, 2 * BATCH))
        else:
            found = _copy(BUNDLED, Path(folder) / "run")
            data = found.sample()
        whole, less, difference = ratios(found, data, settings.rounds)
    shares = [a / b for a, b in zip(whole, less, strict=True)]
    name = f"diagnose with skill / without, {data.manifest.rows} rows"
    return [
        Row("skill", name, statistics.median(shares), Target(1.3, at_least=False), 1000 * statistics.median(whole),
            1000 * statistics.median(less), "ms", min(shares), max(shares), difference),
    ]  # fmt: skip


def _copy(source: Path, to: Path) -> Run:
    """A bundled run to write an analysis into."""
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("analysis"))
    return load_run(to)


BENCHMARKS = (Benchmark("skill", "the diagnose pass with what it says of skill and causes against the pass without", run),)
