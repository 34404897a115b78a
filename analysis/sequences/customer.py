"""One customer's series as a pre-trained encoder sees it: restored, out of the ordinary, and what of it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from analysis.explain.lookup import find
from analysis.opening import opened_dataset, opened_run
from analysis.results.sequences import CustomerSteps, FloatArray
from analysis.sequences.channels import CHANNELS, divisors
from analysis.sequences.hiding import blocks_of, hide_each
from analysis.sequences.silence import silences
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run
from ple_model.sequences.encoder import EncodedSeries, SequenceEncoder
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.sequences.series import Series, series_of


def customer_steps(
    encoder: EncoderRun | Path | str, run: Run | Path | str, customer: str, *, dataset: Dataset | Path | str | None = None
) -> CustomerSteps:
    """What `encoder` says of the series of one of the run's customers at the latest cut-off. `UserError` for an unknown
    customer, or where the data lack the encoder's sequence."""
    opened = encoder if isinstance(encoder, EncoderRun) else load_encoder(encoder)
    model = opened_run(run)
    shown = opened_dataset(model, dataset)
    data, row = find(model, customer, None, dataset)
    batch = data.take([row])
    field, net = opened.training.sequence, opened.encoder
    series = series_of(batch.inputs, field).fitted(net.length)
    with torch.inference_mode():
        whole = net(series, maps=True)
        period = _periods(net, series, whole)
    hidden, blocks, scale = hide_each(net, series), blocks_of(net), divisors(data, field)
    return CustomerSteps(
        customer=customer, cutoff=batch.cutoff[0], row=row if data.path == shown.path else -1, daily=field == "txn_seq",
        channels=CHANNELS[field], values=series.values[0].numpy() * scale, restored=hidden.restored.numpy() * scale,
        error=hidden.error.numpy(), blocks=blocks, weight=hidden.weight.numpy(),
        attention=_attention(net, whole, len(blocks)),
        gate=None if whole.frequency_gate is None else whole.frequency_gate[0].numpy(), period=period,
        silence=tuple(zip(net.config.ahead, silences(net, series)[0].tolist(), strict=False)),
    )  # fmt: skip


def _attention(net: SequenceEncoder, whole: EncodedSeries, blocks: int) -> FloatArray | None:
    """[K] mean over layers, heads, channels and the tokens that listen, where each token is a block."""
    if whole.attention is None or net.config.tokens == "variate" or net.patches != blocks:
        return None
    listens = whole.token_seen[0].float()  # [G, P]
    heard = whole.attention[0].mean(dim=(1, 2))  # [G, P listens, P is heard]
    share = (heard * listens[:, :, None]).sum(dim=(0, 1)) / listens.sum().clamp(min=1)
    return np.asarray(share.numpy(), np.float32)


def _periods(net: SequenceEncoder, series: Series, whole: EncodedSeries) -> FloatArray | None:
    """[C] steps of one turn of each channel's strongest frequency."""
    if net.frequency is None:
        return None
    x = torch.where(series.seen[..., None], net.normalise(series.values, whole), 0.0)
    cycles = net.frequency.spectrum(x)[0, :, 0, 3]
    return np.asarray((1 / cycles).numpy(), np.float32)
