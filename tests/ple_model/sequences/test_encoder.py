"""The encoder's contract: shapes, exact inverse, absence, independence of rows, for every choice of its configuration."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.errors import UserError
from ple_model.sequences.config import EncoderConfig, PretrainConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.frequency import FrequencyBranch
from ple_model.sequences.norm import InstanceNorm
from ple_model.sequences.series import Series
from ple_model.sequences.tokens import make_tokens

CHANNELS, LENGTH = 3, 33
SMALL = {"width": 8, "heads": 2, "layers": 1, "patch": 7, "stride": 7, "patches": [5, 9], "frequencies": 3, "state": 4}
CHOICES = [
    {"norm": n, "tokens": t, "frequency": f, "body": b}
    for n, t, f, b in itertools.product(
        ("revin", "none", "last"), ("patch", "multi_patch", "variate"), ("off", "on"), ("transformer", "mamba", "liquid")
    )
    if not (t == "variate" and b != "transformer")
]


def made(**choice: object) -> SequenceEncoder:
    torch.manual_seed(0)
    return SequenceEncoder(EncoderConfig(**{**SMALL, **choice}), CHANNELS, LENGTH).eval()  # type: ignore[arg-type]


def some(rows: int, seed: int = 1) -> Series:
    generator = torch.Generator().manual_seed(seed)
    values = 5 + 3 * torch.randn(rows, LENGTH, CHANNELS, generator=generator)
    seen = torch.arange(LENGTH) >= torch.randint(0, LENGTH, (rows, 1), generator=generator)
    seen[:, -9] = False  # a day without a delivery
    return Series(torch.where(seen[..., None], values, 0.0), seen)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_outlook_in_any_precision(dtype: torch.dtype) -> None:
    encoder = made(outlook="on", ahead=[3]).to(dtype)
    found = encoder(Series(some(3).values.to(dtype), some(3).seen))
    assert found.outlook is not None
    assert found.outlook.dtype == found.embedding.dtype
    assert bool(torch.isfinite(found.embedding).all())


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: "-".join(c.values()))
@torch.inference_mode()
def test_every_choice_keeps_the_contract(choice: dict[str, str]) -> None:
    encoder, series = made(**choice), some(4)
    out = encoder(series)
    assert out.embedding.shape == (4, encoder.embedding_dim)
    assert out.tokens.shape == (4, encoder.groups, encoder.patches, 8)
    assert out.token_seen.shape == out.tokens.shape[:3]
    assert encoder.restored(out).shape == (4, LENGTH, CHANNELS)
    assert all(torch.isfinite(t).all() for t in (out.tokens, out.embedding, out.center, out.scale))
    # a row depends on itself alone, also when it is the whole batch
    torch.testing.assert_close(encoder(series.rows(slice(1, 2))).embedding, out.embedding[1:2], rtol=1e-4, atol=1e-5)
    # what stands in an absent step is read by nobody
    noisy = Series(torch.where(series.seen[..., None], series.values, 1e3), series.seen)
    torch.testing.assert_close(encoder(noisy).embedding, out.embedding)
    # an absent step is not the same as a zero
    assert not torch.allclose(encoder(Series.whole(series.values)).embedding, out.embedding, atol=1e-3)
    # the inverse of the norm is exact
    again = encoder.denormalise(encoder.normalise(series.values, out), out)
    assert (again - series.values).abs().max() <= 1e-5 * series.values.abs().max()


@pytest.mark.parametrize("tokens", ["patch", "multi_patch"])
@torch.inference_mode()
def test_the_newest_tokens_stand_in_the_embedding_one_by_one(tokens: str) -> None:
    series = some(4)
    series.seen[0, -7:] = False  # nothing in the last week
    encoder = made(tokens=tokens, newest=2)
    mean, both = made(tokens=tokens, newest=0)(series), encoder(series)
    width = CHANNELS * 8
    assert torch.equal(both.tokens, mean.tokens)  # the encoder itself is the same
    told = both.embedding[:, width : 3 * width].unflatten(1, (CHANNELS, 2, 8))
    assert torch.equal(both.embedding[:, :width], mean.embedding[:, :width])
    assert torch.equal(both.embedding[:, 3 * width :], mean.embedding[:, width:])
    assert torch.equal(encoder.without_newest(both.embedding), mean.embedding)
    there = both.token_seen[:, :, -2:]
    assert not there.all()
    assert there.any()
    assert torch.equal(told[there], both.tokens[:, :, -2:][there])
    assert not told[~there].any()


@torch.inference_mode()
def test_a_channel_as_a_token_has_no_newest_and_few_tokens_are_all_there_are() -> None:
    assert made(tokens="variate", newest=4).embedding_dim == 8 + 2 * CHANNELS + 1
    encoder = made(newest=64)
    assert encoder(some(2)).embedding.shape == (2, CHANNELS * 8 * (1 + encoder.patches) + 2 * CHANNELS + 1)


@pytest.mark.parametrize("choice", CHOICES[::4], ids=lambda c: "-".join(c.values()))
@torch.inference_mode()
def test_a_row_without_any_step_is_zero_and_finite(choice: dict[str, str]) -> None:
    encoder = made(**choice)
    nothing = Series(torch.zeros(2, LENGTH, CHANNELS), torch.zeros(2, LENGTH, dtype=torch.bool))
    out = encoder(nothing)
    assert not out.embedding.any()
    assert not out.token_seen.any()
    assert torch.isfinite(out.tokens).all()


@torch.inference_mode()
def test_hidden_steps_are_unknown_to_the_encoder() -> None:
    encoder, series = made(frequency="on"), some(3)
    hidden = torch.zeros(3, LENGTH, dtype=torch.bool)
    hidden[:, -8:-3] = True
    changed = Series(torch.where(hidden[..., None], series.values * -7, series.values), series.seen)
    torch.testing.assert_close(encoder.restored(encoder(changed, hidden)), encoder.restored(encoder(series, hidden)))
    absent = encoder(Series(series.values, series.seen & ~hidden))
    torch.testing.assert_close(encoder(series, hidden).embedding, absent.embedding)


@torch.inference_mode()
def test_ragged_series_are_those_padded_in_front() -> None:
    encoder = made()
    parts = [torch.randn(n, CHANNELS) for n in (5, 33, 20)]
    together = encoder(Series.ragged(parts)).embedding
    for row, part in zip(together, parts, strict=True):
        torch.testing.assert_close(encoder(Series.whole(part[None])).embedding[0], row, rtol=1e-4, atol=1e-5)
    longer = torch.cat([torch.randn(1, 9, CHANNELS), parts[1][None]], dim=1)
    torch.testing.assert_close(encoder(Series.whole(longer)).embedding[0], together[1], rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(-(10**6), 10**6),
    st.sampled_from([1e-3, 0.1, 1.0, 40.0, 1e4]),
    st.integers(2, 40),
    st.sampled_from(["revin", "last", "none"]),
)
def test_the_norm_has_an_exact_inverse_and_a_constant_does_not_blow_up(level: int, spread: float, n: int, kind: str) -> None:
    norm = InstanceNorm(kind, 2, 0.1)
    if norm.log_gain is not None and norm.shift is not None:
        norm.log_gain.data.uniform_(-2, 2)
        norm.shift.data.uniform_(-2, 2)
    values = torch.stack([level + spread * torch.randn(3, n), torch.full((3, n), float(level))], dim=2)
    center, scale = norm.measure(values, torch.ones_like(values, dtype=torch.bool))
    x = norm(values, center, scale)
    size = float(values.abs().max()) + spread + 1
    assert (norm.inverse(x, center, scale) - values).abs().max() <= 1e-5 * size
    if kind == "revin" and norm.log_gain is not None and norm.shift is not None:
        assert (((x[..., 1] - norm.shift[1]) / norm.log_gain[1].exp()).abs() <= 1e-2).all()


def test_patches_by_hand() -> None:
    tokens = make_tokens(EncoderConfig(patch=4, stride=2), 1, 9)
    assert tokens.spans == ((0, 3), (1, 5), (3, 7), (5, 9))
    with torch.no_grad():
        tokens.embed.weight.zero_()  # type: ignore[union-attr]
        tokens.embed.bias.zero_()  # type: ignore[union-attr]
        tokens.embed.weight[:4, :4] = torch.eye(4)  # type: ignore[union-attr,index]
        tokens.head.weight.zero_()  # type: ignore[union-attr]
        tokens.head.bias.zero_()  # type: ignore[union-attr]
        tokens.head.weight[:, :4] = torch.eye(4)  # type: ignore[union-attr,index]
    x = torch.arange(1.0, 10.0)[None, :, None]
    found, _ = tokens(x, torch.ones_like(x, dtype=torch.bool))
    assert found[0, 0, :, :4].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]]
    torch.testing.assert_close(tokens.restore(found), x)  # overlapping patches that agree give the series back


def test_the_spectrum_names_a_planted_wave() -> None:
    steps = torch.arange(70.0)
    wave = torch.cos(2 * torch.pi * (steps - 69) / 7 + 0.5)  # phase 0.5 at the last step, whatever comes before
    spectrum = FrequencyBranch(70, 4, 8).spectrum(wave[None, :, None])[0, 0]
    amplitude, cosine, sine, cycles = spectrum[0]
    assert float(cycles) == pytest.approx(1 / 7)
    assert float(amplitude) == pytest.approx(0.6931, rel=1e-3)
    assert (float(cosine), abs(float(sine))) == pytest.approx((0.8776, 0.4794), abs=1e-3)
    assert float(spectrum[1, 0]) < 1e-4


@torch.inference_mode()
def test_attention_maps_and_gates_are_returned() -> None:
    encoder, series = made(frequency="on", layers=2), some(4)
    out = encoder(series, maps=True)
    assert out.attention is not None
    assert out.frequency_gate is not None
    assert out.attention.shape == (4, CHANNELS, 2, 2, encoder.patches, encoder.patches)
    torch.testing.assert_close(out.attention.sum(dim=-1), torch.ones_like(out.attention[..., 0]))
    unheard = ~out.token_seen[:, :, None, None, None, :] & ~torch.eye(encoder.patches, dtype=torch.bool)
    assert not out.attention.masked_select(unheard.expand_as(out.attention)).any()
    assert out.frequency_gate.shape == (4, CHANNELS)
    torch.testing.assert_close(encoder(series).embedding, out.embedding, rtol=1e-4, atol=1e-5)  # with and without maps


@torch.inference_mode()
def test_next_hears_nothing_of_the_future() -> None:
    encoder, series = made(objective="next"), Series.whole(some(2).values)
    measured = torch.arange(LENGTH).expand(2, -1) < 12
    changed = Series(series.values.clone(), series.seen)
    changed.values[:, -7:] = 99.0
    before, after = encoder(series, measured=measured), encoder(changed, measured=measured)
    torch.testing.assert_close(before.tokens[:, :, :-1], after.tokens[:, :, :-1])
    assert not torch.allclose(before.tokens[:, :, -1], after.tokens[:, :, -1])


def test_an_adapter_acts_in_eval_mode() -> None:
    encoder, series = made(), some(2)
    before = encoder(series).tokens
    block = encoder.body.blocks[0]  # type: ignore[union-attr,index]
    plain = block.query.forward  # type: ignore[union-attr]
    block.query.forward = lambda x: plain(x) + x  # type: ignore[union-attr,method-assign,assignment]
    assert (encoder(series).tokens - before).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"encoder": {"norm": "revn"}}, "encoder.norm: 'revn' is not valid; did you mean 'revin'?"),
        ({"encoder": {"widht": 32}}, "encoder.widht: unknown key; did you mean 'width'?"),
        ({"encoder": {"stride": 9}}, "encoder.stride: 9 is not valid, it must be at most patch (7)"),
        ({"encoder": {"width": 30}}, "encoder.width: 30 is not valid, it must be a multiple of heads (4)"),
        ({"encoder": {"tokens": "variate", "body": "mamba"}}, "encoder.body: 'mamba' is not valid"),
        ({"encoder": {"objective": "next", "frequency": "on"}}, "encoder.frequency: 'on' is not valid"),
        ({"training": {"sequence": "txn_sq"}}, "training.sequence: 'txn_sq' is not valid; did you mean 'txn_seq'?"),
        ({"trainign": {}}, "trainign: unknown section; did you mean 'training'?"),
    ],
)
def test_a_wrong_key_is_named(raw: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(UserError, match=r".*") as e:
        PretrainConfig.from_dict(raw)
    assert str(e.value).startswith(said)


def test_a_patch_longer_than_the_series_is_refused() -> None:
    with pytest.raises(UserError, match=r"encoder\.patch: 40 is not valid, it must be at most the length of the series \(33\)"):
        made(patch=40)


def test_the_configuration_is_its_own_yaml() -> None:
    config = PretrainConfig.from_dict({"encoder": {"frequency": "on", "patches": [3, 6]}})
    assert PretrainConfig.from_dict(config.to_dict()) == config
