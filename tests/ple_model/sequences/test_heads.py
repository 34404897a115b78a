"""Heads on an embedding: shapes and units, absent steps, a fitted start, intervals that hold, the joint loss's gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ple_model.errors import UserError
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.conformal import coverage, fit_band
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.heads import ClassifyHead, ForecastHead, ForecastModel
from ple_model.sequences.joint import JointLabels, JointModel
from ple_model.sequences.series import Series
from ple_model.sequences.simple_forecasts import Ridge

LENGTH, CHANNELS, HORIZON = 24, 2, 5


def encoder(tokens: str = "patch", seed: int = 0) -> SequenceEncoder:
    torch.manual_seed(seed)
    config = EncoderConfig(tokens=tokens, patch=4, stride=4, patches=[4, 8], width=8, heads=2, layers=1, min_scale=1e-6)  # type: ignore[arg-type]
    return SequenceEncoder(config, CHANNELS, LENGTH)


def values(n: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(n, LENGTH, CHANNELS, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tokens", ["patch", "multi_patch", "variate"])
@pytest.mark.parametrize("weighting", ["all", "recent"])
def test_a_forecast_moves_with_the_units_of_its_series(tokens: str, weighting: str) -> None:
    e = encoder(tokens)
    model = ForecastModel(e, ForecastHead(e, HORIZON, weighting=weighting, linear=True)).eval()  # type: ignore[arg-type]
    x = values()
    out = model(x)
    assert out.shape == (3, HORIZON, CHANNELS)
    moved = model(x * 7.0 + 40.0)
    torch.testing.assert_close(moved, out * 7.0 + 40.0, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model(x[:1]), out[:1], rtol=1e-4, atol=1e-5)


def test_values_of_absent_steps_change_nothing() -> None:
    e = encoder()
    forecast, classify = ForecastHead(e, HORIZON, linear=True), ClassifyHead(e, 3, pooling="max")
    x, seen = values(), torch.ones(3, LENGTH, dtype=torch.bool)
    seen[:, :9] = False
    other = x.clone()
    other[:, :9] = 1e4
    a, b = Series(x, seen), Series(other, seen)
    torch.testing.assert_close(forecast(e, a, e(a)), forecast(e, b, e(b)))
    torch.testing.assert_close(classify(e(a)), classify(e(b)))
    nothing = Series(x, torch.zeros_like(seen))
    for pooling in ("mean", "max"):
        head = ClassifyHead(e, 3, pooling=pooling)  # type: ignore[arg-type]
        torch.testing.assert_close(head(e(nothing)), head.out.bias.expand(3, 3))
    assert torch.isfinite(forecast(e, nothing, e(nothing))).all()


def test_a_fitted_start_is_the_ridge_itself() -> None:
    e = encoder()
    weights = np.random.default_rng(0).standard_normal((LENGTH, HORIZON)) / LENGTH
    head = ForecastHead(e, HORIZON, linear=True)
    head.start_from(torch.from_numpy(weights).float())
    x = values()
    wanted = Ridge(weights, 1.0)(x.numpy(), np.ones(x.shape[:2], bool))
    np.testing.assert_allclose(ForecastModel(e, head)(x).detach().numpy(), wanted, atol=1e-4)
    assert not head.linear.weight.requires_grad  # type: ignore[union-attr]


def test_the_recent_start_leans_on_the_last_patch() -> None:
    e = encoder()
    head = ForecastHead(e, HORIZON, weighting="recent")
    assert head.place_log_weight is not None
    weight = head.place_log_weight.exp()
    assert (weight.diff() > 0).all()
    assert weight[-1] == 1.0


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_a_band_holds_new_values_of_the_same_kind(probability: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((3000, 2, 1)) * np.array([[1.0], [5.0]])
    nothing = np.zeros_like(truth)
    seen = rng.random((3000, 2)) < 0.8
    band = fit_band(nothing[:1500], truth[:1500], seen[:1500], probability=probability)
    found = coverage(band, nothing[1500:], truth[1500:], seen[1500:])
    assert found == pytest.approx(probability, abs=4 * (0.25 / 2400) ** 0.5)
    assert band.half[1, 0] > 3 * band.half[0, 0]


def test_too_few_residuals_give_no_band() -> None:
    truth = np.arange(5.0)[:, None, None]
    seen = np.ones((5, 1), bool)
    assert np.isinf(fit_band(np.zeros_like(truth), truth, seen, probability=0.9).half).all()
    assert fit_band(np.zeros_like(truth), truth, seen, probability=0.5).half.item() == 2.0  # the third of five: ceil(0.5 * 6)
    with pytest.raises(UserError, match="probability"):
        fit_band(truth, truth, seen, probability=1.0)


def joint(sharing: str) -> JointModel:
    torch.manual_seed(3)
    return JointModel(encoder, HORIZON, 3, sharing=sharing)  # type: ignore[arg-type]


def labels(n: int, classes: list[int]) -> JointLabels:
    g = torch.Generator().manual_seed(5)
    return JointLabels(
        torch.randn(n, HORIZON, CHANNELS, generator=g), torch.ones(n, HORIZON, dtype=torch.bool), torch.tensor(classes)
    )


def gradients(model: JointModel, loss: Callable[[JointModel], Tensor]) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    loss(model).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("sharing", ["hard", "soft"])
def test_rows_without_a_class_leave_the_class_s_gradient_as_without_them(sharing: str) -> None:
    """Half of the rows have no class: what the class head and its encoder hear is the gradient of the other half alone, and the
    forecast hears all rows as if there were no classes."""
    model, x = joint(sharing), Series.whole(values(6))
    some = labels(6, [0, 2, 1, -1, -1, -1])
    mixed_class = gradients(model, lambda m: m.losses(x, some).raw[1])
    few = JointLabels(some.future[:3], some.future_seen[:3], some.classes[:3])
    alone_class = gradients(model, lambda m: m.losses(x.rows(slice(0, 3)), few).raw[1])
    assert mixed_class["classify_head.out.weight"].abs().max() > 0
    for name, g in alone_class.items():
        torch.testing.assert_close(mixed_class[name], g, rtol=1e-4, atol=1e-7)
    none = labels(6, [-1] * 6)
    with_class = gradients(model, lambda m: m.losses(x, some).raw[0])
    without = gradients(model, lambda m: m.losses(x, none).total)
    torch.testing.assert_close(without["forecast_head.out.weight"], with_class["forecast_head.out.weight"])
    assert "classify_head.out.weight" not in without or not without["classify_head.out.weight"].any()
    assert model.losses(x, none).count.tolist() == [6 * HORIZON * CHANNELS, 0]


def test_a_missing_future_may_be_no_number() -> None:
    model, x = joint("hard"), Series.whole(values(4))
    some = labels(4, [0, 1, 2, 0])
    some.future[2:] = torch.nan
    some.future_seen[2:] = False
    found = gradients(model, lambda m: m.losses(x, some).total)
    assert all(torch.isfinite(g).all() for g in found.values())


def test_soft_sharing_has_two_encoders_that_a_tie_pulls_together() -> None:
    soft, hard = joint("soft"), joint("hard")
    assert soft.encoder("forecast") is not soft.encoder("classify")
    assert hard.encoder("forecast") is hard.encoder("classify")
    x, some = Series.whole(values(4)), labels(4, [0, 1, 2, 0])
    assert soft.losses(x, some).tie == 0.0  # both begin alike
    with torch.no_grad():
        next(soft.encoders[1].parameters()).add_(1.0)
    tied = soft.losses(x, some)
    assert tied.tie > 0
    terms = soft.weighting(tied.raw, tied.count, torch.ones(2)).sum()
    torch.testing.assert_close(tied.total, terms + soft.tie * tied.tie)
    with pytest.raises(UserError, match="sharing"):
        joint("firm")
