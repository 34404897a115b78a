"""`ple predict`: score customers from raw events with nothing but a run folder.

Events -> features with the artifacts in the run's `preprocess/` (nothing is fitted: the same `transform` as for any new
customers) -> model -> one row a customer and cut-off. Columns, by task `T`:

* binary: `T` the calibrated probability; regression: `T` in the label's unit, a mean. Of a label that is a logarithm `T`
  adds up over customers, and `T_median` is what about half of such customers stay below, at most the mean (a run that kept no
  map of means has the median in both: the file's metadata says `statistic`); multiclass and brand: `T` the likeliest class and
  `T_p` its probability (of a brand: among the brands the model knows).
* `T_uncertainty`: vacuity or epistemic variance of the evidential head; `T_fallback`: it lies above the run's threshold, so a
  reader should fall back on what was done before there was a model.
* A task that had no label in training keeps its columns, empty: its tower says nothing about anybody. So does a task for a row
  that it is not defined for (`tasks.Condition`), whose fallback mark is set. `T_reason` says why a score is empty.
* `fallback_reason`: customers without any activity in the feature window are marked for every task, whatever the uncertainty.
* `anomaly`, where an encoder run is given or that of the run is asked for: how hard the customer's last 14 days are to
  explain, as a percentile among the validation customers of the run's sample (`sequences.scoring`); NULL for who had no such
  days.
* `offers`, `offers_p`: the N likeliest next best actions with their probabilities, given that the customer responds to one.

Rows are streamed: memory does not grow with the number of customers. The file is complete or not there at all; inputs or
predictions that are no numbers are an error that names field, task and share of rows, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ple_model.data.build.build import BuildSettings, transform
from ple_model.data.build.steps import Progress
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.buckets import buckets_of
from ple_model.data.own.dataset import rows_to_score
from ple_model.engine import ShardEngine
from ple_model.engine.local import LocalEngine
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.score_buckets import ScorePlan, score_buckets
from ple_model.score_file import ScoreFile, notes_of_data
from ple_model.score_run import ScoreRequest, Scoring
from ple_model.sequences.scoring import AnomalyScorer
from ple_model.staging import private_folder
from ple_model.uncertainty import FALLBACK_SHARE

TOP = 3


def predict(
    run: Run,
    events: Path | str,
    out: Path | str,
    cutoffs: Sequence[str] | None = None,
    *,
    device: str = "cpu",
    top: int = TOP,
    fallback_share: float = FALLBACK_SHARE,
    workers: int = 2,
    progress: Progress | None = None,
    encoder: Path | str | None = None,
    anomaly: bool = False,
    engine: ShardEngine | None = None,
) -> ScoreFile:
    """Score every customer of an events folder who is known before a cut-off (default: the cut-offs the source names), or every
    row of a table where the run was trained on a table of its own columns.

    `top`: offers a row; `fallback_share`: share of validation customers that the fallback mark is set for; `encoder`: an
    encoder run, for the anomaly score; `anomaly`: that score by the encoder that the run carries. Events in buckets are scored
    bucket by bucket by `engine` (None: `workers` processes of this machine); what was scored is kept until all are, and a
    command that was stopped goes on with the rest.
    `UserError` on bad events, an unfinished run, or impossible numbers. The run's dataset is not needed.
    """
    if top < 1:
        raise UserError(f"--top: {top} is not valid, it must be at least 1")
    if not 0.0 <= fallback_share <= 1.0:
        raise UserError(f"--fallback-share: {fallback_share} is not valid, it must be between 0 and 1")
    out = Path(out)
    if out.is_dir():
        raise UserError(f"{out} is a folder; name the Parquet file to write")
    own = run.context().own is not None
    if own and cutoffs:
        raise UserError(f"--cutoff: {run.path} scores a table of its own columns, which names its cut-offs itself")
    if not own and not (run.preprocess / "market.json").exists():
        raise UserError(
            f"{run.path} cannot score raw events: its dataset was not built from events, so preprocess/ cannot make features"
        )
    if not own and Path(events).is_file():
        raise UserError(f"{events} is a file; {run.path} was trained on events and scores a folder of event tables")
    if encoder is not None and anomaly:
        raise UserError("--anomaly scores by the encoder that the run carries; leave it out where --encoder names another")
    by = None if encoder is None else Path(encoder).absolute()
    how = ScoreRequest(run.path.absolute(), device, top, fallback_share, by, anomaly)
    scoring = how.scoring(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    if not own and (buckets := buckets_of(Path(events))) > 1:
        plan = ScorePlan(Path(events).absolute(), how, tuple(cutoffs or ()), buckets)
        return score_buckets(plan, scoring, out, engine or LocalEngine(workers), progress)
    with private_folder(out) as scratch:
        if own:
            rows_to_score(Path(events), run.preprocess, scratch / "data")
            data = Dataset.open(scratch / "data")
        else:
            data = transform(events, run.preprocess, scratch / "data", cutoffs, progress, BuildSettings(workers=workers))
        written = scoring.write(scoring.tables(data), data.rows(), out, progress)
        return scoring.told(out, written, data.manifest.cutoffs, notes_of_data(data))


def score_to_parquet(
    run: Run, model: PLEClusterAdaTT, data: Dataset, out: Path, *, top: int = TOP, fallback_share: float = FALLBACK_SHARE,
    progress: Progress | None = None, anomaly: AnomalyScorer | None = None,
) -> ScoreFile:  # fmt: skip
    """Stream a dataset made with the run's artifacts through its model into one Parquet file; see the module docstring."""
    scoring = Scoring(run, model, top, fallback_share, anomaly)
    written = scoring.write(scoring.tables(data), data.rows(), out, progress)
    return scoring.told(out, written, data.manifest.cutoffs, notes_of_data(data))
