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
* `anomaly`, where an encoder run is given: how hard the customer's last 14 days are to explain, as a percentile among the
  validation customers of the run's sample (`sequences.scoring`); NULL for who had no such days.
* `offers`, `offers_p`: the N likeliest next best actions with their probabilities, given that the customer responds to one.

Rows are streamed: memory does not grow with the number of customers. The file is complete or not there at all; inputs or
predictions that are no numbers are an error that names field, task and share of rows, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ple_model.data.build.build import BuildSettings, transform
from ple_model.data.build.steps import Progress
from ple_model.data.dataset.reader import Dataset
from ple_model.data.own.dataset import rows_to_score
from ple_model.errors import UserError
from ple_model.finite import Tally
from ple_model.model import PLEClusterAdaTT
from ple_model.profile import DORMANT as DORMANT_ROW
from ple_model.profile import Profile
from ple_model.run import Run
from ple_model.score_file import ScoreFile, ScoresWritten, grouped, notes_of_data, notes_of_scores, write_scores
from ple_model.score_rows import Scorer
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.scoring import AnomalyScorer, anomaly_scorer
from ple_model.staging import private_folder
from ple_model.tasks import EVERYONE
from ple_model.uncertainty import FALLBACK_SHARE, MIN_ROWS, quantiles_of

BATCH = 512
TOP = 3
MIN_DORMANT = 20
"""Fewer dormant rows among those that training profiled: a model cannot know what becomes of such customers, so they get no
score (of 20 rows without an event a rate of up to 16 % would still be plausible)."""


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
) -> ScoreFile:
    """Score every customer of an events folder who is known before a cut-off (default: the cut-offs the source names), or every
    row of a table where the run was trained on a table of its own columns.

    `top`: offers a row; `fallback_share`: share of validation customers that the fallback mark is set for;
    `encoder`: an encoder run, for the anomaly score. `UserError` on bad
    events, an unfinished run, or impossible numbers. The run's dataset is not needed.
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
    model = run.model(device)
    anomaly = None if encoder is None else anomaly_scorer(run, load_encoder(encoder), device)
    out.parent.mkdir(parents=True, exist_ok=True)
    with private_folder(out) as scratch:
        if own:
            rows_to_score(Path(events), run.preprocess, scratch / "data")
            data = Dataset.open(scratch / "data")
        else:
            data = transform(events, run.preprocess, scratch / "data", cutoffs, progress, BuildSettings(workers=workers))
        return score_to_parquet(
            run, model, data, out, top=top, fallback_share=fallback_share, progress=progress, anomaly=anomaly
        )


def score_to_parquet(
    run: Run, model: PLEClusterAdaTT, data: Dataset, out: Path, *, top: int = TOP, fallback_share: float = FALLBACK_SHARE,
    progress: Progress | None = None, anomaly: AnomalyScorer | None = None,
) -> ScoreFile:  # fmt: skip
    """Stream a dataset made with the run's artifacts through its model into one Parquet file; see the module docstring."""
    quantiles, origin = quantiles_of(run, model)
    known = {t: q for t, q in quantiles.items() if q.n >= MIN_ROWS}
    silent = tuple(t for t in model.tasks if not model.context.learned(t))
    thresholds = {t: q.threshold(fallback_share) for t, q in known.items() if t not in silent}
    tally = Tally(str(data.path))
    unseen = _dormant_unseen(run)
    scorer = Scorer(model, run.calibration, thresholds, top, tally, unseen, anomaly)
    if thresholds:
        said = f"fallback marks: uncertainty above its {1 - fallback_share:.0%} quantile on validation customers ({origin})"
    else:
        said = "no fallback marks: the run has no evidential heads or too few validation customers"
    about: dict[str, Any] = {
        "run": run.name,
        "weights": run.manifest.data.fingerprint,
        "thresholds": thresholds,
        "thresholds_from": said,
        "currency": model.context.currency,
        "statistic": {t: model.shows(t) for t, s in model.tasks.items() if s.kind == "regression"},
    }
    conditional = (t for t, s in model.tasks.items() if s.condition is not EVERYONE and t not in silent)
    written = ScoresWritten(dict.fromkeys(thresholds, 0), dict.fromkeys(conditional, 0), dict.fromkeys(thresholds, 0))
    write_scores(grouped(scorer.table(b) for b in data.batches(None, BATCH)), data, out, about, written, tally, progress)
    calibrated = tuple(t for t, s in model.tasks.items() if s.kind == "binary" and t in run.calibration and t not in silent)
    return ScoreFile(
        out, written.rows, written.customers, data.manifest.cutoffs, tuple(t for t in model.tasks if t not in silent),
        thresholds, said, {t: n / written.scored[t] if written.scored[t] else None for t, n in written.marked.items()},
        written.scored, calibrated,
        None if anomaly is None or not anomaly.ranks else written.unusual / max(1, written.rows),
        (*(() if anomaly is None else anomaly.notes), *notes_of_scores(run, model, silent, written, unseen),
         *notes_of_data(data)),
    )  # fmt: skip


def _dormant_unseen(run: Run) -> str:
    """Why dormant customers get no score from this run; empty where training had enough of them, or did not keep how many."""
    profile = Profile.load(run.preprocess)
    if profile is None or len(profile.segments) <= DORMANT_ROW or profile.segments[DORMANT_ROW] >= MIN_DORMANT:
        return ""
    return f"training had {int(profile.segments[DORMANT_ROW])} such rows, fewer than {MIN_DORMANT}"
