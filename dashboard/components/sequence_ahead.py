"""One customer's next days on a page: the forecast, its interval, and how far both held on other customers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from analysis.figures import sequences as figures
from analysis.results.sequences import AheadFit, CustomerSteps, LearnedMap
from analysis.sequences.learned import place
from dashboard import state
from dashboard.components import put
from dashboard.components.figure import show
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.i18n.sentences import label
from ple_model.sequences.encoder_run import EncoderRun


def section(
    frame: Frame, encoder: EncoderRun, found: CustomerSteps, channel: int, odd: NDArray[np.bool_], learned: LearnedMap | None
) -> None:
    """The figure, or what it takes to get one."""
    if learned is None or learned.ahead is None:
        put.caption(t("sequences.ahead_none" if learned is None else "sequences.ahead_cannot"))
        return
    fit = learned.ahead
    file = place(encoder.path, frame.run.path, frame.data)
    said = state.ahead_of(encoder.path, frame.run.path, found.customer, fit, file, frame.data)
    show(
        figures.ahead(found, said, channel, odd), "sequence-ahead",
        title=t("sequences.ahead", channel=label(found.channels[channel].name), days=fit.horizon),
        caption=t("sequences.ahead_help", held=f"{fit.held:,}", share=f"{fit.probability:.0%}", fitted=f"{fit.fitted:,}"),
        points=True, wide=True,
    )  # fmt: skip
    if fit.tested and math.isfinite(fit.covered):
        put.markdown(_judged(fit))


def _judged(fit: AheadFit) -> str:
    """How the forecast did on customers that nothing was learnt from, beside simpler ones."""
    head, week = fit.error["head"], fit.error["week"]
    said = t(
        "sequences.ahead_held", n=f"{fit.tested:,}", covered=f"{fit.covered:.0%}", share=f"{fit.probability:.0%}",
        error=f"{head:.3f}", week=f"{week:.3f}",
    )  # fmt: skip
    if "ridge" not in fit.error:
        return said
    ridge = fit.error["ridge"]
    verdict = "better" if head < ridge else "worse"
    return f"{said} {t(f'sequences.ahead_{verdict}', ridge=f'{ridge:.3f}')}"
