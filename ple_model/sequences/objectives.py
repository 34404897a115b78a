"""What an encoder learns without labels.

* `masked`: hidden patches of each channel are restored; the loss counts hidden steps alone (PatchTST, section 3.2).
* `contrastive`: two crops of a series, with noise, other units and a time warp, are found among those of the batch: NT-Xent
  (SimCLR: Chen et al., ICML 2020) over whole series, and TS2Vec's loss over places and customers at doubling scales (Yue et
  al., AAAI 2022; by cosine and the same temperature).
* `outlook`, beside any of these: from the steps before a random day, what the weeks from it on held in the mean, and whether
  anything happened in them. Single days of a customer can hardly be told and their sums can (cf. NPPR: Skalski et al., ICAIF
  2023); and whoever is asked later whether a customer falls silent has been taught so by every customer's past.
* `next`: from what came before, the next patch. The norm measures the earlier half of the steps, the loss counts the later one.

Errors are in deviations of the series (`EncodedSeries.scale`), not in the norm's learned units, which could shrink them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ple_model.errors import UserError
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import EncodedSeries, SequenceEncoder
from ple_model.sequences.series import Series
from ple_model.sequences.tokens import windows
from ple_model.sequences.views import cropped, half_measured, hidden_patches, jittered, overlapping_crops, pooled_pairs, warped

PROJECTION = 64
"""Width of what NT-Xent compares; the projection is thrown away afterwards."""


def require_patches(config: EncoderConfig, length: int) -> None:
    """`UserError` where hiding one patch of a series of `length` steps would leave nothing to restore it from, or an outlook
    nothing to be told from."""
    most, longest = length // 2, max(config.ahead)
    if config.outlook == "on" and longest > most:
        raise UserError(
            f"encoder.ahead: {longest} is not valid, it must be at most {most}, half of the length of the series ({length})"
        )
    multi = config.tokens == "multi_patch"
    name, size = ("patches", min(config.patches)) if multi else ("patch", config.patch)
    if config.restores and size >= length:
        raise UserError(
            f"encoder.{name}: {size} is not valid, it must be below the length of the series ({length}) where objective is "
            f"{config.objective}: of a single patch nothing is left to restore it from"
        )


class Pretraining(nn.Module):
    """An encoder with what its objective needs beside it."""

    def __init__(self, encoder: SequenceEncoder) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
        c = encoder.config
        require_patches(c, encoder.length)
        width = c.width * (1 if c.tokens == "variate" else encoder.channels)
        self.block = min(c.patches) if c.tokens == "multi_patch" else c.patch
        self.stride = self.block if c.tokens == "multi_patch" else c.stride
        wants = c.objective in ("contrastive", "both")
        self.project = (
            nn.Sequential(nn.Linear(width, PROJECTION), nn.GELU(), nn.Linear(PROJECTION, PROJECTION)) if wants else None
        )
        self.next = nn.Linear(c.width, self.stride) if c.objective == "next" else None

    def forward(self, series: Series) -> dict[str, Tensor]:
        """The losses of a batch by name; their sum is what is minimised."""
        series = series.fitted(self.encoder.length)
        losses: dict[str, Tensor] = {}
        if self.config.restores:
            losses["masked"] = self.masked(series, hidden_patches(series, self.block, self.config.mask_share))
        if self.project is not None:
            losses |= self.contrastive(series)
        if self.next is not None:
            losses["next"] = self.next_patch(series)
        if self.encoder.outlook is not None:
            losses |= self.outlook(series)
        return losses

    def masked(self, series: Series, hidden: Tensor) -> Tensor:
        """Error of the hidden steps [B, L, C] that were seen."""
        encoded = self.encoder(series, hidden)
        restored = self.encoder.denormalise(self.encoder.restored(encoded), encoded)
        return self._error(restored, series.values, encoded, hidden & series.seen[..., None])

    def next_patch(self, series: Series) -> Tensor:
        """Error of each later patch as it is told from the tokens before it."""
        assert self.next is not None
        measured = half_measured(series)
        encoded = self.encoder(series, measured=measured)
        told = self.next(encoded.tokens[:, :, :-1]).flatten(2).transpose(1, 2)  # [B, (P - 1) stride, C]
        count = encoded.tokens.shape[2] - 1
        later = (series.seen & ~measured)[..., None].expand_as(series.values)
        target = windows(series.values, self.stride, self.stride, count).flatten(2).transpose(1, 2)
        counted = windows(later.to(target.dtype), self.stride, self.stride, count).flatten(2).transpose(1, 2) > 0
        return self._error(self.encoder.denormalise(told, encoded), target, encoded, counted)

    def outlook(self, series: Series) -> dict[str, Tensor]:
        """From the steps before a random one: the mean of those from it on by channel, and whether anything happens in them."""
        longest, length = max(self.config.ahead), series.values.shape[1]
        today = length - int(torch.randint(longest, max(longest, length // 2) + 1, ()))
        past = Series(series.values[:, :today], series.seen[:, :today])
        encoded = self.encoder(past)
        assert encoded.outlook is not None
        errors: list[Tensor] = []
        misses: list[Tensor] = []
        for told, steps in zip(encoded.outlook.unbind(dim=1), self.config.ahead, strict=True):
            values, seen = series.values[:, today : today + steps], series.seen[:, today : today + steps]
            there = past.seen.any(dim=1) & seen.any(dim=1)
            mean = torch.where(seen[..., None], values, 0.0).sum(dim=1) / seen.sum(dim=1, keepdim=True).clamp(min=1)
            wanted = (mean - encoded.center[:, 0]) / encoded.scale[:, 0]
            error = functional.huber_loss(told[:, :-1], wanted, reduction="none", delta=self.config.huber_delta).mean(dim=1)
            nothing = ~((values != 0) & seen[..., None]).flatten(1).any(dim=1)
            miss = functional.binary_cross_entropy_with_logits(told[:, -1], nothing.to(told.dtype), reduction="none")
            errors.append(torch.where(there, error, 0.0).sum() / there.sum().clamp(min=1))
            misses.append(torch.where(there, miss, 0.0).sum() / there.sum().clamp(min=1))
        return {"outlook": torch.stack(errors).mean(), "silence": torch.stack(misses).mean()}

    def contrastive(self, series: Series) -> dict[str, Tensor]:
        """NT-Xent of two views, and the hierarchical loss of two crops."""
        crops = overlapping_crops(series.values.shape[1])
        c = self.config
        one, two = (jittered(cropped(series, crop), c.jitter, c.scaling) for crop in crops)
        losses: dict[str, Tensor] = {}
        if c.contrast != "nt_xent":
            a, b = self.encoder(one), self.encoder(two)
            shared = [i for i, (first, stop) in enumerate(self.encoder.spans) if first >= crops[1][0] and stop <= crops[0][1]]
            losses["hierarchical"] = hierarchical(_places(a, shared), _places(b, shared), c.temperature)
        if c.contrast != "hierarchical":
            assert self.project is not None
            a, b = self.encoder(warped(one, c.warp)), self.encoder(warped(two, c.warp))
            there = a.token_seen.flatten(1).any(dim=1) & b.token_seen.flatten(1).any(dim=1)
            losses["nt_xent"] = nt_xent(
                self.project(a.pooled.flatten(1)), self.project(b.pooled.flatten(1)), there, c.temperature
            )
        return losses

    def _error(self, found: Tensor, wanted: Tensor, encoded: EncodedSeries, counted: Tensor) -> Tensor:
        """Mean Huber error of the counted steps, in deviations of the series."""
        error = functional.huber_loss(
            found / encoded.scale, wanted / encoded.scale, reduction="none", delta=self.config.huber_delta
        )
        return torch.where(counted, error, 0.0).sum() / counted.sum().clamp(min=1)


def nt_xent(a: Tensor, b: Tensor, there: Tensor, temperature: float) -> Tensor:
    """NT-Xent of pairs a[i], b[i] [B, D] among both sides of the batch; rows that are not `there` [B] are no pair and no
    negative. ln(2B - 1) at chance."""
    return _cross(torch.cat([a, b])[None], torch.cat([there, there])[None], len(a), temperature)


def _cross(z: Tensor, there: Tensor, half: int, temperature: float) -> Tensor:
    """Cross-entropy of finding each row's partner (`half` rows away) among all other rows; z [N, 2 half, D]."""
    z = functional.normalize(z, dim=2)
    scores = z @ z.transpose(1, 2) / temperature
    own = torch.eye(2 * half, dtype=torch.bool, device=z.device)
    open_ = (there[:, None, :] & ~own) | own.roll(half, dims=1)  # the partner always stands, so that no row is empty
    logp = torch.log_softmax(scores.masked_fill(~open_, float("-inf")), dim=2)
    pairs = logp.diagonal(half, dim1=1, dim2=2), logp.diagonal(-half, dim1=1, dim2=2)
    loss = -torch.cat(pairs, dim=1)
    return torch.where(there, loss, 0.0).sum() / there.sum().clamp(min=1)


def _places(encoded: EncodedSeries, shared: list[int]) -> tuple[Tensor, Tensor]:
    """(mean over the channels' tokens [B, T, D], seen [B, T]) at the places of both crops."""
    seen = encoded.token_seen[:, :, shared]
    there = seen.to(encoded.tokens.dtype)[..., None]
    mean = (encoded.tokens[:, :, shared] * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
    return mean, seen.any(dim=1)


def hierarchical(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], temperature: float) -> Tensor:
    """TS2Vec's loss of two encodings (values [B, T, D], seen [B, T]) of the same places: each place against other customers and
    against other places of its customer, at every scale of pairwise maxima."""
    (x, sx), (y, sy) = a, b
    seen = sx & sy
    losses: list[Tensor] = []
    while x.shape[1] >= 1:
        both, there = torch.cat([x, y]), torch.cat([seen, seen])
        losses.append(_cross(both.transpose(0, 1), there.t(), len(x), temperature))
        if x.shape[1] == 1:
            break
        losses.append(_cross(torch.cat([x, y], dim=1), torch.cat([seen, seen], dim=1), x.shape[1], temperature))
        (x, next_seen), (y, _) = pooled_pairs(x, seen), pooled_pairs(y, seen)
        seen = next_seen
    return torch.stack(losses).mean() if losses else x.sum() * 0.0
