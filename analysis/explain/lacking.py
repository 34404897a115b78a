"""Why an input is missing of a customer: who has nothing of the kind is another case than a bank that records nothing of it, or
a history too short to tell.

Dataset and model keep what is there by customer (`ple_model.presence`). Where some customers of the sample have a part, the
bank records it, and a customer without it had nothing of the kind in the window. Where none has it, that is said of the sample
and of no more: what one customer in ten thousand has may be in no sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.engine.population import Population
from analysis.explain.origin.told import topic_of
from analysis.results.explanation_parts import Lacking
from ple_model.presence import is_part, plain_name

HISTORIES = (
    "cluster", "shape", "phase_transition", "hmm_summary", "hmm_journey", "hmm_lifecycle", "hmm_behavior", "lnn",
    "mamba_temporal", "collaborative_features", "hierarchy_features", "coldstart_features", "anonymous_features",
)  # fmt: skip
"""Worked out of what else a customer did, so that they are missing where that is too little."""
SAME = {
    "income_decomposition": "deposit", "session_seq": "digital", "txn_seq": "rfm", "bandit": "campaign",
    "tda_phase_transition": "phase_transition",
}  # fmt: skip
"""Inputs of one table: one of them names it."""
TITLED = {"shape": "tda_features", "cluster": "cluster_probs"}
"""Families by the input whose title stands for them."""


def lacking(absent: Sequence[str], peers: Population, own: bool) -> Lacking:
    """Of the names of absent inputs each once, by why it is missing. `own`: of a table of one's own a cell is empty, and nobody
    says why; such a table has columns alone."""
    found: dict[str, list[str]] = {"none": [], "short": [], "unrecorded": [], "empty": []}
    for name in absent:
        if own and not is_part(name):
            continue
        plain = plain_name(name)
        topic = topic_of(plain)
        topic = SAME.get(topic, topic)
        recorded = plain not in peers.parts or bool(peers.parts[plain].any())
        known = is_part(name) or topic in SAME.values()
        there = "empty" if own else "short" if topic in HISTORIES or not known else "none"
        why = there if recorded else "unrecorded"
        if (named := TITLED.get(topic, topic)) not in found[why]:
            found[why].append(named)
    return Lacking(*(tuple(found[k]) for k in ("none", "short", "unrecorded", "empty")))
