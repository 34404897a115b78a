"""Who falls silent: the outlook of an encoder that no label taught, and how right it is on customers it did not learn from.

In the pre-training the last steps were cut off and told from those before them. Whoever is asked here is shown as many steps as
were left there: the oldest ones are absent, since an encoder answers otherwise to a longer past.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.results.sequences import SilenceRow
from ple_model.metrics import auc
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import Series

PIECE = 256


@torch.inference_mode()
def silences(net: SequenceEncoder, series: Series) -> NDArray[np.float64]:
    """[n, W] probability that nothing happens in the next steps, for each number in `net.config.ahead`; [n, 0] without an
    outlook. series [n, L, C] end at the step before. Silence for longer is silence for less long too, so no later one is
    higher."""
    if net.outlook is None:
        return np.zeros((len(series), 0))
    longest, fitted = max(net.config.ahead), series.fitted(net.length)
    recent = Series(fitted.values[:, longest:], fitted.seen[:, longest:])
    told = []
    for first in range(0, len(series), PIECE):
        outlook = net(recent.rows(slice(first, first + PIECE))).outlook
        assert outlook is not None
        told.append(torch.sigmoid(outlook[:, :, -1].double()))
    return np.minimum.accumulate(torch.cat(told).numpy(), axis=1) if told else np.zeros((0, len(net.config.ahead)))


def judged(net: SequenceEncoder, series: Series, others: NDArray[np.bool_]) -> tuple[SilenceRow, ...]:
    """Of the customers `others` [n], who did not train the encoder: what was told before the end, and what came. None
    without an outlook or without anybody."""
    longest, fitted = max(net.config.ahead), series.fitted(net.length)
    begun = fitted.seen[:, :-longest].any(dim=1).numpy()
    mine = torch.from_numpy(np.flatnonzero(others & begun))
    if net.outlook is None or not len(mine):
        return ()
    whole = fitted.rows(mine)
    told = silences(net, Series(whole.values[:, :-longest], whole.seen[:, :-longest]))
    rows = []
    for w, steps in enumerate(net.config.ahead):
        stop = net.length - longest + steps
        happened = (whole.values[:, stop - steps : stop] != 0).flatten(1).any(dim=1).numpy()
        silent = (~happened).astype(np.float64)
        rows.append(SilenceRow(steps, float(told[:, w].mean()), float(silent.mean()), auc(silent, told[:, w]), len(mine)))
    return tuple(rows)
