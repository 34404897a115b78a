"""The channels of the sequence fields by name and unit (`ple_model.data.derived.sequences` says how each is made)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.results.sequences import SequenceChannel
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError

_LOG, _PLAIN = "log", "plain"
CHANNELS: dict[str, tuple[SequenceChannel, ...]] = {
    "txn_seq": (
        SequenceChannel("card spend", _LOG), SequenceChannel("card purchases", _LOG),
        SequenceChannel("largest card purchase", _LOG), SequenceChannel("hour of purchases (sine)", _PLAIN),
        SequenceChannel("hour of purchases (cosine)", _PLAIN), SequenceChannel("merchants", _PLAIN),
        SequenceChannel("categories", _PLAIN), SequenceChannel("share bought online", _PLAIN),
        SequenceChannel("money in", _LOG), SequenceChannel("money out", _LOG), SequenceChannel("payments in", _PLAIN),
        SequenceChannel("payments out", _PLAIN), SequenceChannel("net flow", _LOG),
        SequenceChannel("largest movement", _LOG), SequenceChannel("hour of movements (sine)", _PLAIN),
        SequenceChannel("hour of movements (cosine)", _PLAIN),
    ),
    "session_seq": (
        SequenceChannel("duration of the session", _LOG), SequenceChannel("events of the session", _LOG),
        SequenceChannel("days since the session before", _LOG), SequenceChannel("days before the cut-off", _LOG),
        SequenceChannel("hour of the session (sine)", _PLAIN), SequenceChannel("hour of the session (cosine)", _PLAIN),
        SequenceChannel("in the app", _PLAIN), SequenceChannel("on the web", _PLAIN),
    ),
}  # fmt: skip

AMOUNTS = {"txn_seq": 0, "session_seq": 1}
"""The channel that neighbours are compared by: card spend of a day, events of a session."""


def divisors(dataset: Dataset, field: str) -> NDArray[np.float32]:
    """[C] what the channels of a dataset's field were divided by; ones where the dataset does not say."""
    count = len(CHANNELS[field])
    try:
        from ple_model.data.build.artifacts import read_scale  # late: all that fits derived inputs

        scale = read_scale(dataset.path / "artifacts")
    except UserError:
        return np.ones(count, np.float32)
    found = scale.txn if field == "txn_seq" else scale.session
    return np.asarray(found, np.float32) if found.shape == (count,) else np.ones(count, np.float32)
