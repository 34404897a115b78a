"""What is learnt without labels is the order of the days: a copy with its time shuffled scores worse, for every objective."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ple_model.errors import UserError
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.objectives import Pretraining, hierarchical, nt_xent
from ple_model.sequences.series import Series
from ple_model.sequences.views import cropped, hidden_patches, jittered, overlapping_crops, shuffled, warped

LENGTH, PATCH = 48, 4
TINY = {"width": 16, "heads": 2, "layers": 1, "patch": PATCH, "stride": PATCH, "patches": [4, 8], "mask_share": 0.3}

ERRORS = ("masked", "next", "outlook")


def waves(rows: int, seed: int) -> Series:
    """Planted order: each series repeats with a period and phase of its own, and its values are otherwise the same."""
    g = torch.Generator().manual_seed(seed)
    period = torch.randint(0, 3, (rows, 1), generator=g) * 4 + 6
    phase = torch.randint(0, 12, (rows, 1), generator=g)
    wave = torch.sin(2 * torch.pi * (torch.arange(LENGTH) + phase) / period)
    return Series.whole((wave + 0.05 * torch.randn(rows, LENGTH, generator=g))[..., None])


@pytest.mark.parametrize(
    "choice",
    [
        {"objective": "masked"},
        {"objective": "masked", "tokens": "multi_patch"},
        {"objective": "contrastive", "contrast": "nt_xent"},
        {"objective": "contrastive", "contrast": "hierarchical", "jitter": 0.5},
        {"objective": "both", "contrast": "nt_xent"},
        {"objective": "next"},
        {"objective": "next", "body": "mamba", "state": 4},
        {"objective": "masked", "outlook": "on", "ahead": [3]},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_shuffled_time_scores_worse_on_planted_order(choice: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = Pretraining(SequenceEncoder(EncoderConfig(**{**TINY, **choice}), 1, LENGTH))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    train, held = waves(512, 1), waves(128, 2)
    for step in range(90):
        rows = torch.randint(0, 512, (32,), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        sum(model(train.rows(rows)).values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()

    def score(series: Series) -> dict[str, float]:
        torch.manual_seed(7)
        with torch.no_grad():
            return {k: float(v) for k, v in model(series).items()}

    torch.manual_seed(3)
    ordered, mixed = score(held), score(shuffled(held))
    ordered.pop("silence", None)  # these series never fall silent
    assert all(math.isfinite(v) for v in ordered.values())
    # errors by a tenth; cross-entropies, which noise keeps from zero, by a tenth of a nat
    assert {k: v for k, v in ordered.items() if not v < (0.9 * mixed[k] if k in ERRORS else mixed[k] - 0.1)} == {}


def test_the_masked_loss_counts_hidden_steps_alone() -> None:
    torch.manual_seed(0)
    model = Pretraining(SequenceEncoder(EncoderConfig(**TINY), 1, LENGTH)).eval()  # type: ignore[arg-type]
    series = waves(4, 1)
    hidden = hidden_patches(series, PATCH, 0.3)
    encoded = model.encoder(series, hidden)
    restored = model.encoder.denormalise(model.encoder.restored(encoded), encoded)
    error = (restored - series.values).abs() / encoded.scale
    by_hand = torch.where(error <= 3, 0.5 * error**2, 3 * (error - 1.5))[hidden].mean()
    torch.testing.assert_close(model.masked(series, hidden), by_hand)


def test_an_outlook_by_hand() -> None:
    """A head that says the same of everybody is held against the days that a series had after the day that was drawn."""
    torch.manual_seed(0)
    shape = {**TINY, "outlook": "on", "ahead": [2, 5]}
    model = Pretraining(SequenceEncoder(EncoderConfig(**shape), 2, LENGTH)).eval()  # type: ignore[arg-type]
    assert model.encoder.outlook is not None
    torch.nn.init.zeros_(model.encoder.outlook.weight)
    bias = torch.tensor([0.5, -1.0, 2.0, 0.1, 4.0, -3.0])  # two channels and silence, for 2 and for 5 steps
    model.encoder.outlook.bias.data = bias.clone()
    values = torch.randn(3, LENGTH, 2)
    values[0, 20:] = 0.0  # falls silent
    seen = torch.ones(3, LENGTH, dtype=torch.bool)
    seen[2] = False  # nobody there
    series = Series(values, seen)
    torch.manual_seed(5)
    today = LENGTH - int(torch.randint(5, LENGTH // 2 + 1, ()))
    torch.manual_seed(5)
    found = model.outlook(series)
    errors, misses = [], []
    for w, steps in enumerate((2, 5)):
        for i in (0, 1):
            past, ahead = values[i, :today].double(), values[i, today : today + steps].double()
            center = past.mean(0)
            scale = (past.var(0, correction=0) + model.config.min_scale**2).sqrt()
            told = bias[3 * w : 3 * w + 3].double()
            error = ((ahead.mean(0) - center) / scale - told[:2]).abs()
            errors.append(torch.where(error <= 3, 0.5 * error**2, 3 * (error - 1.5)).mean())
            silent = bool((ahead == 0).all())
            misses.append(torch.log1p(torch.exp(-told[2] if silent else told[2])))
    torch.testing.assert_close(found["outlook"].double(), torch.stack(errors).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["silence"].double(), torch.stack(misses).mean(), rtol=1e-5, atol=1e-6)
    encoded = model.encoder(series)
    assert encoded.outlook is not None
    assert encoded.outlook.shape == (3, 2, 3)
    assert encoded.embedding.shape == (3, model.encoder.embedding_dim)
    torch.testing.assert_close(encoded.embedding[0, -6:], bias)
    assert not encoded.embedding[2].any()  # of nothing nothing is told
    assert model.encoder.without_newest(encoded.embedding).shape[1] == 2 * 16 + 2 * 2 + 1


def test_an_outlook_needs_a_past() -> None:
    config = EncoderConfig(**{**TINY, "outlook": "on", "ahead": [4, LENGTH // 2 + 1]})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"encoder\.ahead: {LENGTH // 2 + 1} is not valid, .* half of the length"):
        Pretraining(SequenceEncoder(config, 1, LENGTH))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(5, 60), st.sampled_from([0.1, 0.4, 0.9]))
def test_the_same_share_of_patches_is_hidden_everywhere(patch: int, length: int, share: float) -> None:
    series = Series.whole(torch.randn(3, length, 2))
    hidden = hidden_patches(series, patch, share)
    count = -(-length // patch)
    blocks = torch.nn.functional.pad(hidden.float(), (0, 0, count * patch - length, 0), mode="replicate")
    by_block = blocks.reshape(3, count, patch, 2).mean(dim=2)
    assert set(by_block.unique().tolist()) <= {0.0, 1.0} or count * patch != length
    whole = hidden.flip(1)[:, ::patch]  # the last step of each block
    assert (whole.sum(dim=1) == max(1, min(count - 1, round(share * count)))).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.floats(0, 0.5, allow_subnormal=False), st.integers(0, 2**20))
def test_a_warp_moves_no_step_further_than_it_says_and_reads_nothing_absent(length: int, most: float, seed: int) -> None:
    torch.manual_seed(seed)
    seen = torch.rand(4, length) < 0.7
    clock = torch.arange(length, dtype=torch.float64).expand(4, length)[..., None]
    view = warped(Series(torch.where(seen[..., None], clock, 1e9), seen), most)
    shift = (view.values - clock)[view.seen].abs()
    assert (shift <= most * length + 1e-6).all()  # a step that is not seen would add to the clock


@pytest.mark.parametrize(
    ("choice", "key"), [({"patch": 48, "stride": 48}, "patch"), ({"tokens": "variate", "patch": 60}, "patch")]
)
def test_a_single_patch_is_not_hidden(choice: dict[str, object], key: str) -> None:
    config = EncoderConfig(width=8, heads=2, layers=1, **choice)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=rf"encoder\.{key}: .* nothing is left to restore it from"):
        Pretraining(SequenceEncoder(config, 1, LENGTH))


def test_nt_xent_by_hand_and_at_chance() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    there = torch.tensor([True, True])
    # each row: its partner at cosine 1, two others at 0 -> -log(e / (e + 2))
    assert float(nt_xent(a, a, there, 1.0)) == pytest.approx(-math.log(math.e / (math.e + 2)))
    same = torch.ones(5, 3)
    assert float(nt_xent(same, same, torch.ones(5, dtype=torch.bool), 0.2)) == pytest.approx(math.log(9))


def test_rows_that_are_not_there_are_neither_pairs_nor_negatives() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 6, 4)
    there = torch.tensor([True, True, True, False, False, True])
    torch.testing.assert_close(nt_xent(a, b, there, 0.5), nt_xent(a[there], b[there], there[there], 0.5))
    assert float(nt_xent(a, b, torch.zeros(6, dtype=torch.bool), 0.5)) == 0


def test_the_hierarchical_loss_by_hand() -> None:
    x = torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(2, 1, dtype=torch.bool)
    # a single place has no scale above it: what is left is the contrast of customers
    expected = nt_xent(x[:, 0], x[:, 0], seen[:, 0], 0.3)
    torch.testing.assert_close(hierarchical((x, seen), (x, seen), 0.3), expected)
    wide = torch.randn(3, 5, 4)
    there = torch.ones(3, 5, dtype=torch.bool)
    there[0, 2:] = False
    noisy = torch.where(there[..., None], wide, 99.0)
    torch.testing.assert_close(
        hierarchical((wide, there), (wide, there), 0.3), hierarchical((noisy, there), (noisy, there), 0.3)
    )


def test_views_keep_what_they_promise() -> None:
    torch.manual_seed(0)
    series = waves(6, 1)
    series.seen[:3, :10] = False
    masked = Series(torch.where(series.seen[..., None], series.values, 0.0), series.seen)
    for _ in range(30):
        (a, b), (c, d) = overlapping_crops(LENGTH)
        assert 0 <= a <= c < b <= d <= LENGTH
        assert b - c >= LENGTH // 2
    mixed = shuffled(masked)
    torch.testing.assert_close(mixed.values.sort(dim=1).values, masked.values.sort(dim=1).values)
    assert not torch.allclose(mixed.values, masked.values)
    assert (warped(masked, 0.0).values - masked.values).abs().max() < 1e-5
    for view in (warped(masked, 0.1), jittered(masked, 0.1, 0.2), cropped(masked, (12, 30))):
        assert view.values.shape == masked.values.shape
        assert torch.isfinite(view.values).all()
    assert not jittered(masked, 0.1, 0.2).values[~masked.seen].any()
    assert cropped(masked, (12, 30)).seen.sum(dim=1).tolist() == [18] * 6
