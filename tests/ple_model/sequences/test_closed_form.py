"""A forecast head in closed form, held against the ridge regression of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from ple_model.errors import UserError
from ple_model.sequences.closed_form import CutSeries, cut_before, fit_forecast_head, forecast_ahead
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.heads import ForecastHead
from ple_model.sequences.series import Series

LENGTH, HORIZON = 42, 7


@pytest.fixture(scope="module")
def encoder() -> SequenceEncoder:
    torch.manual_seed(0)
    return SequenceEncoder(EncoderConfig(width=8, heads=2, layers=1, patch=7, stride=7), 2, LENGTH).eval()


def waves(n: int, seed: int) -> Series:
    g = torch.Generator().manual_seed(seed)
    phase, height = 7 * torch.rand(n, 1, 1, generator=g), 1 + 20 * torch.rand(n, 1, 1, generator=g)
    x = torch.sin(2 * torch.pi * (torch.arange(LENGTH)[None, :, None] + phase) / 7) * torch.tensor([1.0, 0.5])
    return Series.whole(height * (x + 0.1 * torch.randn(x.shape, generator=g)) + 5)


def test_it_is_the_ridge_regression_of_the_tokens(encoder: SequenceEncoder) -> None:
    fit, watched = cut_before(waves(150, 0), HORIZON), cut_before(waves(40, 1), HORIZON)
    head = fit_forecast_head(encoder, fit, watched, strengths=(3.0,))
    with torch.no_grad():
        encoded = encoder(fit.past)
        x = ForecastHead(encoder, HORIZON).flat(encoded).flatten(0, 1).double().numpy()
        y = encoder.normalise(fit.future, encoded).transpose(1, 2).flatten(0, 1).double().numpy()
    other = Ridge(alpha=3.0).fit(x, y)
    np.testing.assert_allclose(head.out.weight.detach().numpy(), other.coef_, atol=1e-4)
    np.testing.assert_allclose(head.out.bias.detach().numpy(), other.intercept_, atol=1e-4)


def test_it_tells_a_rhythm_ahead_in_the_units_of_each_series(encoder: SequenceEncoder) -> None:
    head = fit_forecast_head(encoder, cut_before(waves(300, 0), HORIZON), cut_before(waves(60, 1), HORIZON))
    new = cut_before(waves(60, 2), HORIZON)
    said, scale = forecast_ahead(encoder, head, new.past)
    assert said.shape == new.future.shape
    assert scale.shape == (60, 1, 2)
    missed = ((said - new.future).abs() / scale).mean()
    level = new.past.values.mean(dim=1, keepdim=True)
    assert float(missed) < 0.5 * float(((level - new.future).abs() / scale).mean())
    alone, _ = forecast_ahead(encoder, head, new.past.rows(slice(3, 4)))
    torch.testing.assert_close(alone[0], said[3], atol=1e-4, rtol=1e-4)


def test_steps_that_are_not_seen_are_not_fitted_to(encoder: SequenceEncoder) -> None:
    whole, watched = cut_before(waves(80, 0), HORIZON), cut_before(waves(30, 1), HORIZON)
    more = waves(20, 5)
    seen = more.seen.clone()
    seen[:, -2] = False
    odd = cut_before(Series(more.values * 100, seen), HORIZON)
    both = CutSeries(
        Series(torch.cat([whole.past.values, odd.past.values]), torch.cat([whole.past.seen, odd.past.seen])),
        torch.cat([whole.future, odd.future]), torch.cat([whole.seen, odd.seen]),
    )  # fmt: skip
    one, other = fit_forecast_head(encoder, whole, watched), fit_forecast_head(encoder, both, watched)
    torch.testing.assert_close(one.out.weight, other.out.weight)
    with pytest.raises(UserError, match="nothing to fit"):
        fit_forecast_head(encoder, odd, watched)
    for wrong in (0, LENGTH):
        with pytest.raises(UserError, match="horizon"):
            cut_before(more, wrong)
