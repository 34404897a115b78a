"""Customers who buy at the same merchants, and what they did: the graph embedding in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.population import Population
from analysis.explain.origin.told import OriginSentence
from analysis.i18n import phrase
from ple_model.numerals import LANGUAGES, Language, share
from ple_model.outcomes import Moments

NEAR = 50
FEWEST = 50
"""Customers of a group at least, by judgement: a share of 1 in 50 is the least that shows."""


def of_group(
    here: Moments, others: Moments, value: float, did: Callable[[Language], str]
) -> OriginSentence | None:  # fmt: skip
    """The share of the held-out customers who buy at similar merchants that did what is explained, beside that of all. None
    where too few are known, or where these shares do not point the way the contribution does."""
    everyone = here + others
    if here.n < FEWEST or (here.mean - everyone.mean) * value <= 0 or share(here.mean) == share(everyone.mean):
        return None
    en, ko = (
        phrase("origin.graph_group", x, n=f"{here.n:,}", here=share(here.mean), all=share(everyone.mean), did=did(x))
        for x in LANGUAGES
    )
    return OriginSentence(en, ko, (("collaborative_features", value),))


def of_graph(
    peers: Population, customers: list[str], customer: str, own: NDArray[np.float32], labels: Tensor | None, kind: str,
    target: int | None, value: float, latest: NDArray[np.bool_] | None = None,
) -> OriginSentence | None:  # fmt: skip
    """The share of the 50 customers of the sample nearest to `own` [64] (by cosine) who did what is explained, beside that of
    all; `latest` [rows]: those to choose from, one a customer. None where labels are unknown, or where these shares do not
    point the way the contribution does."""
    field = "collaborative_features"
    if labels is None or labels.dim() != 1 or kind == "regression" or field not in peers.fields:
        return None
    y = labels.numpy()
    others = np.array([c != customer for c in customers])
    if latest is not None:
        others &= latest
    known = np.flatnonzero(peers.present[field] & others & (y >= 0))
    if len(known) < 2 * NEAR:
        return None
    table = peers.fields[field][known]
    size = np.linalg.norm(table, axis=1) * np.linalg.norm(own)
    near = known[np.argsort(-(table @ own) / np.where(size > 0, size, 1), kind="stable")[:NEAR]]
    did = y == (1 if kind == "binary" else target)
    here, everywhere = float(did[near].mean()), float(did[known].mean())
    if (here - everywhere) * value <= 0 or f"{here:.0%}" == f"{everywhere:.0%}":
        return None
    en, ko = (phrase("origin.graph", x, n=NEAR, here=f"{here:.0%}", all=f"{everywhere:.0%}") for x in LANGUAGES)
    return OriginSentence(en, ko, ((field, value),))
