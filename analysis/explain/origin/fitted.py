"""What a run's `preprocess/` and sample know of its derived inputs, read once a run; None where an older run has it not."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.engine.beside_rows import beside_rows
from analysis.explain.origin.clusters import Clusters
from analysis.explain.origin.days import Days
from analysis.explain.origin.states import States
from analysis.explain.origin.weeks import DAYS, Weeks, weekly
from ple_model.data.build.artifacts import read_gmm, read_hmm, read_scale
from ple_model.data.dataset.columns import MONTHS_OF
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.derived.encoder import WeekEncoder
from ple_model.data.derived.hmm import N_STATES
from ple_model.data.derived.sequences import SESSION_STEPS, TXN_STEPS, SequenceScale
from ple_model.errors import UserError
from ple_model.money import UNKNOWN
from ple_model.presence import part_key
from ple_model.profile import Profile

if TYPE_CHECKING:
    from torch import Tensor

    from analysis.engine.explainer import Explainer
    from ple_model.data.dataset.reader import Dataset

SAMPLED = 512
"""Sampled customers among whom those to compare weeks with are sought."""


@lru_cache(maxsize=2)
def clusters_of(explainer: Explainer) -> Clusters | None:
    """The customer clusters of a run."""
    folder, schema = explainer.run.preprocess, explainer.model.context.schema
    try:
        gmm, profile = read_gmm(folder), Profile.load(folder)
        normalizer = Normalizer.load(folder)
    except UserError:
        return None
    counts = None if profile is None else profile.classes.get("cluster_ids")
    share = gmm.weights if counts is None or not counts.sum() else np.asarray(counts / counts.sum())
    return Clusters(gmm, normalizer, explainer.peers, schema, share)


@lru_cache(maxsize=6)
def states_of(explainer: Explainer, mode: str) -> States | None:
    """A hidden Markov model of a run."""
    field = f"hmm_{mode}"
    try:
        model = read_hmm(explainer.run.preprocess, mode)
    except UserError:
        return None
    if field not in explainer.peers.fields or len(model.start) != N_STATES:
        return None
    there = explainer.peers.present[field] & explainer.latest
    counts = np.bincount(explainer.peers.fields[field][there, :N_STATES].argmax(1), minlength=N_STATES)
    return States(mode, model, counts / max(int(there.sum()), 1), explainer.model.context.unit(UNKNOWN))


def months_of(data: Dataset, customer: str, cutoff: str, mode: str) -> NDArray[np.int64] | None:
    """[12] the states of a customer's months before a cut-off, the newest last; None where the dataset does not hold them."""
    found = beside_rows(data, MONTHS_OF + mode, [customer], [cutoff])
    return None if found is None or (found < 0).any() else np.asarray(found[0], dtype=np.int64)


@lru_cache(maxsize=2)
def scale_of(explainer: Explainer) -> SequenceScale | None:
    """What the sequences of a run were divided by."""
    try:
        return read_scale(explainer.run.preprocess)
    except UserError:
        return None


def days_of(scale: SequenceScale, txn: Tensor, session: Tensor, cutoff: str) -> Days | None:
    """One customer's days and visits from what the model reads [180, 16] and [90, 8]; None where they are of another form."""
    try:
        day = date.fromisoformat(cutoff)
    except ValueError:
        return None
    if txn.shape != (TXN_STEPS, len(scale.txn)) or session.shape != (SESSION_STEPS, len(scale.session)):
        return None
    return Days(day, txn.double().numpy() * scale.txn, session.double().numpy() * scale.session)


@lru_cache(maxsize=2)
def weekly_of(explainer: Explainer) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]] | None:
    """(sums a week [rows, 26] by name, of which rows they are known) of the rows that stand for the population; None where the
    run does not hold them."""
    scale, rows = scale_of(explainer), explainer.sample.load(None, limit=max(len(explainer.customers), 1), seed=0)
    txn = rows.inputs.txn_seq
    if scale is None or txn is None or txn.shape[1:] != (TXN_STEPS, len(scale.txn)) or rows.customer_id != explainer.customers:
        return None
    return weekly(txn.double().numpy() * scale.txn), rows.inputs.present("txn_seq").numpy().astype(bool)


@lru_cache(maxsize=2)
def weeks_of(explainer: Explainer) -> Weeks | None:
    """The encoder of daily activity of a run and its sampled customers' weeks; None where the run does not hold it."""
    scale, folder = scale_of(explainer), explainer.run.preprocess
    if scale is None:
        return None
    try:
        encoder, normalizer = WeekEncoder.load(folder / "encoder.safetensors"), Normalizer.load(folder)
    except UserError:
        return None
    rows = explainer.sample.load(None, limit=SAMPLED, seed=0)
    inputs = rows.inputs
    if inputs.txn_seq is None or inputs.session_seq is None:
        return None
    there = inputs.present(part_key("mamba_temporal")).tolist()
    each = zip(inputs.txn_seq, inputs.session_seq, rows.cutoff, there, strict=True)
    found = [days_of(scale, t, s, c) for t, s, c, on in each if on]
    sampled = [d for d in found if d is not None and d.visits_known(DAYS)]
    return Weeks.of(encoder, normalizer, sampled) if sampled else None
