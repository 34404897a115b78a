"""Data faults: the model is healthy, the customers that arrive are not (a stopped feed, wrong padding, drift, NaN)."""

from __future__ import annotations

import numpy as np

from analysis.faults.fault import Columns, Expect, Level, Plant, RowChange, fault
from analysis.faults.rows import changed, remove, some
from ple_model.fields import FIELD_SHAPES
from ple_model.presence import part_key, presence_column
from ple_model.schema import PART_SLICES, load_schema
from ple_model.tasks import HMM_MODES

WHOLE = Level("whole", 1.0)
SHORT, SHORT_MASK = "tda_short_diagrams", "tda_short_mask"

UNSKILLED = (Expect("SKILL-NONE"), Expect("SKILL-HARMFUL"), Expect("SKILL-BEHIND"))
"""What a task loses by whatever lies before it: true, and no cause by itself."""

# A starved expert spends weight on zeros, and a feed that thins out is drift: both follow from a cut feed.
AFTER_A_CUT = (
    Expect("EXP-ZERO-INPUT"),
    Expect("CGC-DILUTION"),
    Expect("DATA-DRIFT"),
    Expect("EVI-MISCALIBRATED"),
    Expect("EVI-UNINFORMATIVE"),
    Expect("SAE-LOW-FVE"),
    *UNSKILLED,
)
POISONED = (
    *UNSKILLED,
    Expect("EXP-NONFINITE"),
    Expect("EXP-HGCN-NAN"),
    Expect("CGC-NONFINITE"),
    Expect("DATA-NONFINITE"),
    Expect("INPUT-NONFINITE"),
    Expect("OUTPUT-NONFINITE"),
    Expect("WEIGHTS-NONFINITE"),
    Expect("SAE-LOW-FVE"),
    Expect("SAE-DEAD"),
)
"""What NaN reaches: every expert that reads it, then through shared_concat every gate."""


def _cut(*keys: str) -> RowChange:
    return _cut_share(1.0, *keys)


def _cut_share(share: float, *keys: str) -> RowChange:
    def cut(columns: Columns, rng: np.random.Generator) -> None:
        state = rng.bit_generator.state
        for key in keys:
            rng.bit_generator.state = state  # the same rows lose all of them
            remove(columns, key, share, rng)

    return cut


@fault(
    "feed-collaborative",
    "data",
    "The graph embedding is missing in a share of the rows, and lightgcn reads nothing else.",
    levels=(Level("most", 0.7), WHOLE, Level("a third", 0.33, clear=False)),
    required=(Expect("EXP-ZERO-INPUT", "lightgcn.collaborative_features"),),
    permitted=AFTER_A_CUT,
)
def _collaborative(share: float) -> Plant:
    return Plant(rows=_cut_share(share, "collaborative_features"))


@fault(
    "feed-sessions",
    "data",
    "App sessions stop arriving; temporal still has its transactions.",
    levels=(WHOLE,),
    required=(Expect("EXP-ZERO-INPUT", "temporal.session_seq"),),
    permitted=AFTER_A_CUT,
)
def _sessions(share: float) -> Plant:
    return Plant(rows=_cut_share(share, "session_seq"))


@fault(
    "feed-transactions",
    "data",
    "Transaction sequences are not loaded.",
    levels=(WHOLE,),
    required=(Expect("EXP-TEMPORAL-ZERO", "temporal"), Expect("EXP-ZERO-INPUT", "temporal.txn_seq")),
    permitted=AFTER_A_CUT,
)
def _transactions(share: float) -> Plant:
    return Plant(rows=_cut_share(share, "txn_seq"))


@fault(
    "feed-topology",
    "data",
    "Everything that perslay reads is missing, although several tasks are led by it.",
    levels=(WHOLE,),
    required=(Expect("EXP-ZERO-INPUT", "perslay.*"),),
    permitted=(*AFTER_A_CUT, Expect("DATA-EMPTY-FEED")),
)
def _topology(share: float) -> Plant:
    return Plant(rows=_cut_share(share, SHORT, "tda_long_diagrams", "tda_features", "tda_global_stats", "tda_phase_transition"))


@fault(
    "feed-insurance",
    "data",
    "The insurance table was not joined: its columns are empty.",
    levels=(WHOLE,),
    required=(Expect("DATA-EMPTY-FEED", part_key("insurance")),),
    permitted=(Expect("DATA-DRIFT"),),
)
def _insurance(share: float) -> Plant:
    return Plant(rows=_cut_share(share, part_key("insurance")))


@fault(
    "feed-thins-out",
    "data",
    "App sessions arrive for fewer customers than in training.",
    levels=(Level("a half gone", 0.5), Level("an eighth gone", 0.125, clear=False)),
    required=(Expect("DATA-DRIFT", "session_seq"),),
    permitted=AFTER_A_CUT,
)
def _thinner(share: float) -> Plant:
    return Plant(rows=_cut_share(share, "session_seq"))


def _shift(columns: Columns, part: str, by: float) -> None:
    there = columns.get(presence_column(part_key(part)), np.ones(len(columns["features"]), dtype=bool)).astype(bool)
    block = changed(columns, "features")
    block[np.ix_(there, np.arange(734)[PART_SLICES[part]])] += np.float32(by)


@fault(
    "drift-columns",
    "data",
    "The spending statistics moved by a number of standard deviations since training (another currency, another season).",
    levels=(Level("1 sd", 1.0), Level("2 sd", 2.0), Level("0.25 sd", 0.25, clear=False)),
    required=(Expect("DATA-DRIFT", part_key("transaction_stats")),),
    permitted=(Expect("EVI-MISCALIBRATED"), Expect("EVI-UNINFORMATIVE"), Expect("SAE-LOW-FVE")),
)
def _drift(by: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        _shift(columns, "transaction_stats", by)

    return Plant(rows=change)


@fault(
    "drift-clusters",
    "data",
    "The clustering changed: a share of the customers now falls into one cluster.",
    levels=(Level("most", 0.7), Level("a tenth", 0.1, clear=False)),
    required=(Expect("DATA-DRIFT", "cluster_ids"),),
    permitted=(Expect("EVI-MISCALIBRATED"), Expect("EVI-UNINFORMATIVE")),
)
def _clusters(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        moved = some(columns, share, rng)
        ids = changed(columns, "cluster_ids")
        kinds, counts = np.unique(ids, return_counts=True)
        theirs = np.flatnonzero(ids == kinds[counts.argmax()])  # as the customers of the largest cluster are
        taken = rng.choice(theirs, int(moved.sum()))
        ids[moved] = kinds[counts.argmax()]
        if "cluster_probs" in columns:
            probs = changed(columns, "cluster_probs")
            probs[moved] = probs[taken]

    return Plant(rows=change)


@fault(
    "fitted-on-own-rows",
    "data",
    "A figure of the training split counts each training customer in: theirs is off by a number of standard deviations.",
    levels=(Level("0.77 sd", 0.77), Level("1.5 sd", 1.5), Level("0.1 sd", 0.1, clear=False)),
    required=(Expect("DATA-OWN-ROWS", part_key("epidemic")),),
)
def _own_rows(by: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        there = columns.get(presence_column(part_key("epidemic")), np.ones(len(columns["features"]), dtype=bool)).astype(bool)
        column = load_schema().column("epidemic_early_adoption").index
        changed(columns, "features")[there & (columns["split"] == "train"), column] += np.float32(by)

    return Plant(rows=change)


@fault(
    "nan-features",
    "data",
    "A normaliser divided by zero: one feature column is NaN in some rows.",
    levels=(Level("one row in five", 0.2), Level("a few rows", 0.01)),
    required=(Expect("DATA-NONFINITE", "features[[]40]"),),
    permitted=POISONED,
    family="nan",
)
def _nan(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        hit = some(columns, share, rng)
        hit[0] = True
        changed(columns, "features")[hit, 40] = np.nan

    return Plant(rows=change)


def _nan_field(field: str) -> None:
    @fault(
        f"nan-{field.replace('_', '-')}",
        "data",
        f"What makes {field} put out NaN for some customers.",
        levels=(Level("one row in twenty", 0.05), Level("every second row", 0.5)),
        required=(Expect("INPUT-NONFINITE", field, "error"),),
        permitted=(*POISONED, Expect("DATA-DRIFT"), Expect("EXP-PERSLAY-PAD"), Expect("EVI-UNINFORMATIVE")),
        family="nan",
    )
    def _planted(share: float) -> Plant:
        def change(columns: Columns, rng: np.random.Generator) -> None:
            hit = some(columns, share, rng)
            hit[0] = True
            changed(columns, field)[hit] = np.nan

        return Plant(rows=change)


FLOAT_FIELDS = tuple(f for f, shape in FIELD_SHAPES.items() if shape and f != "features" and not f.endswith("_mask"))
for _field in FLOAT_FIELDS:
    _nan_field(_field)


@fault(
    "hierarchy-outside",
    "data",
    "Hierarchy coordinates lie outside the Poincare ball.",
    levels=(Level("a fifth of the rows", 0.2), Level("one row in fifty", 0.02)),
    required=(Expect("EXP-HGCN-NAN", "unified_hgcn"),),
    permitted=(*POISONED, Expect("INPUT-SENTINEL", "hierarchy_features")),  # they are all set to 1 or -1
)
def _outside(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        hit = some(columns, share, rng)
        hit[0] = True
        x = changed(columns, "hierarchy_features")
        x[hit] = np.sign(x[hit]) + (x[hit] == 0)  # each coordinate 1: a norm of 2 to 2.8 in a ball of radius 1
        columns[presence_column("hierarchy_features")] = (
            columns.get(presence_column("hierarchy_features"), np.ones(len(hit), dtype=bool)) | hit
        )

    return Plant(rows=change)


PADDING = (Expect("DATA-DRIFT"), Expect("EXP-LOW-RANK", "perslay"), Expect("EXP-DEAD", "perslay"))


@fault(
    "diagrams-mask-full",
    "data",
    "The mask of the short diagrams is true everywhere, so padding counts as points.",
    levels=(WHOLE,),
    required=(Expect("EXP-PERSLAY-PAD", f"perslay.{SHORT}"),),
    permitted=PADDING,
)
def _mask_full(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        columns[SHORT_MASK] = np.ones_like(columns[SHORT_MASK])

    return Plant(rows=change)


@fault(
    "diagrams-swapped",
    "data",
    "Birth and death are swapped in a share of the rows of the short diagrams.",
    levels=(Level("all rows", 1.0), Level("one row in ten", 0.1)),
    required=(Expect("EXP-PERSLAY-PAD", f"perslay.{SHORT}"),),
    permitted=PADDING,
)
def _swapped(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        hit = some(columns, share, rng)
        points = changed(columns, SHORT)
        points[hit] = points[hit][..., [1, 0, 2]]

    return Plant(rows=change)


def _hmm_mode(mode: str) -> None:
    @fault(
        f"hmm-absent-{mode}",
        "data",
        f"The {mode} HMM produced nothing: every row is on the default embedding.",
        levels=(WHOLE,),
        required=(Expect("HMM-ALL-DEFAULT", mode),),
        # a default that no training row used has not moved, and now everyone uses it
        permitted=(*AFTER_A_CUT, Expect("HMM-DEFAULT-UNTRAINED", mode), Expect("DATA-EMPTY-FEED")),
    )
    def _absent(share: float) -> Plant:
        return Plant(rows=_cut_share(share, f"hmm_{mode}"))


for _mode in HMM_MODES:
    _hmm_mode(_mode)


@fault(
    "hmm-constant",
    "data",
    "The behaviour HMM gives every customer the same vector.",
    levels=(WHOLE, Level("one in a hundred differs", 0.99, clear=False)),
    required=(Expect("HMM-ALL-DEFAULT", "behavior"),),
    permitted=(Expect("EVI-MISCALIBRATED"), Expect("EVI-UNINFORMATIVE")),
)
def _constant(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        x = changed(columns, "hmm_behavior")
        x[some(columns, share, rng)] = np.full(x.shape[1], 0.1, dtype=np.float32)
        columns[presence_column("hmm_behavior")] = np.ones(len(x), dtype=bool)

    return Plant(rows=change)


@fault(
    "labels-flipped",
    "data",
    "Behaviour changed: a share of the customers who stayed now counts as churned, the calibration knows nothing of it.",
    levels=(Level("a half", 0.5), Level("a tenth", 0.1, clear=False)),
    required=(Expect("EVI-MISCALIBRATED", "churn"),),
    # ten times the churn of training, which the model does not expect
    permitted=(Expect("LABEL-RATE", "churn"), Expect("SKILL-HARMFUL", "churn"), Expect("SKILL-NONE", "churn")),
)
def _flipped(share: float) -> Plant:
    def change(columns: Columns, rng: np.random.Generator) -> None:
        y = changed(columns, "y_churn")
        y[(y == 0) & some(columns, share, rng)] = 1

    return Plant(rows=change)


@fault(
    "few-rows",
    "data",
    "Someone judges a run by 40 customers.",
    levels=(Level("40", 40.0),),
    required=(Expect("DATA-SMALL", "run", "info"),),
)
def _few(rows: float) -> Plant:
    return Plant(limit=int(rows))
