import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from torch.distributions import Dirichlet, StudentT, kl_divergence

from ple_model.config import load_config
from ple_model.context import LabelScaler
from ple_model.evidential import EvidentialLayers, EvidentialOutput, dirichlet_kl, dirichlet_loss, evidential_loss, nig_nll
from ple_model.tasks import TASKS
from tests.fakes import reference_config

alphas = st.lists(st.floats(1.0, 60.0), min_size=2, max_size=28)


@given(alphas)
@settings(deadline=None)
def test_dirichlet_kl_equals_scipy_and_torch(values: list[float]) -> None:
    a = np.array(values)
    k = len(a)
    log_beta = special.gammaln(a).sum() - special.gammaln(a.sum())
    expected = -log_beta - special.gammaln(k) + ((a - 1) * (special.digamma(a) - special.digamma(a.sum()))).sum()
    got = dirichlet_kl(torch.tensor(a)).item()
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9)
    other = kl_divergence(Dirichlet(torch.tensor(a)), Dirichlet(torch.ones(k, dtype=torch.float64)))
    assert got == pytest.approx(other.item(), rel=1e-6, abs=1e-9)


def test_the_beta_case_equals_betaln() -> None:
    a, b = 3.5, 7.0
    expected = -special.betaln(a, b) + (a - 1) * special.digamma(a) + (b - 1) * special.digamma(b)
    expected += (2 - a - b) * special.digamma(a + b)
    assert dirichlet_kl(torch.tensor([a, b], dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-9)


def test_no_evidence_costs_no_kl() -> None:
    assert dirichlet_kl(torch.ones(3, 6)).abs().max().item() < 1e-6


def test_expected_cross_entropy_is_the_mean_over_the_dirichlet() -> None:
    a = np.array([2.0, 5.0, 1.5])
    expected, kl = dirichlet_loss(torch.tensor(a)[None], torch.tensor([1]))
    assert expected.item() == pytest.approx(special.digamma(a.sum()) - special.digamma(5.0), rel=1e-6)
    p = np.random.default_rng(0).dirichlet(a, 200_000)
    assert expected.item() == pytest.approx(-np.log(p[:, 1]).mean(), abs=5e-3)
    # evidence for the right class is taken out before the KL: alpha~ = (2, 1, 1.5)
    assert kl.item() == pytest.approx(dirichlet_kl(torch.tensor([2.0, 1.0, 1.5], dtype=torch.float64)).item())


def test_nig_likelihood_is_student_t() -> None:
    g = torch.Generator().manual_seed(0)
    gamma, y = torch.randn(2, 50, generator=g, dtype=torch.float64)
    nu, beta = torch.rand(2, 50, generator=g, dtype=torch.float64) * 3 + 0.1
    alpha = 1.01 + 4 * torch.rand(50, generator=g, dtype=torch.float64)
    scale = torch.sqrt(beta * (1 + nu) / (nu * alpha))
    torch.testing.assert_close(nig_nll(gamma, nu, alpha, beta, y), -StudentT(2 * alpha, gamma, scale).log_prob(y))
    one = -stats.t.logpdf(y[0], 2 * alpha[0], gamma[0], scale[0])
    assert nig_nll(gamma, nu, alpha, beta, y)[0].item() == pytest.approx(one, rel=1e-9)


def test_uncertainties_by_hand() -> None:
    d = EvidentialOutput("dirichlet", torch.tensor([[1.0, 1.0, 1.0], [8.0, 1.0, 1.0]]))
    assert d.uncertainty.tolist() == pytest.approx([1.0, 0.3])
    assert d.probability[1].tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert d.strength.tolist() == [3.0, 10.0]
    b = EvidentialOutput("beta", torch.tensor([[1.0, 3.0]]))
    assert b.probability.tolist() == [0.75]
    assert b.uncertainty.tolist() == [0.5]
    n = EvidentialOutput("nig", torch.tensor([3.0]), torch.tensor([0.5]), torch.tensor([4.0]), torch.tensor([2.0]))
    assert (n.aleatoric.item(), n.uncertainty.item(), n.strength.item(), n.probability.item()) == (1.0, 0.25, 4.0, 0.5)


def test_aleatoric_entropy_of_a_sharp_dirichlet_is_that_of_its_mean() -> None:
    p = torch.tensor([0.7, 0.2, 0.1])
    out = EvidentialOutput("dirichlet", 1e5 * p[None])
    assert out.aleatoric.item() == pytest.approx(-(p * p.log()).sum().item(), abs=1e-3)
    flat = EvidentialOutput("dirichlet", torch.ones(1, 2))
    assert flat.aleatoric.item() == pytest.approx(0.5)  # E[H(p)] over the uniform on [0, 1]


def layers() -> tuple[EvidentialLayers, torch.Tensor]:
    torch.manual_seed(0)
    tasks = load_config("v3_14").tasks
    made = EvidentialLayers(tasks, 32)
    with torch.no_grad():
        made.bias.normal_()
    return made, torch.randn(5, len(tasks), 32)


def test_the_padded_product_equals_one_linear_layer_a_task() -> None:
    made, x = layers()
    out = made(x)
    start = 0
    for i, (name, spec) in enumerate(load_config("v3_14").tasks.items()):
        if spec.kind == "contrastive":
            assert name not in out
            continue
        width = {"binary": 2, "multiclass": spec.out_dim, "regression": 4 * spec.out_dim}[spec.kind]
        raw = x[:, i] @ made.weight[start : start + width].T + made.bias[start : start + width]
        start += width
        soft = torch.log1p(torch.exp(raw))
        if spec.kind == "regression":
            k = spec.out_dim
            parts = (raw[:, :k], soft[:, k : 2 * k], soft[:, 2 * k : 3 * k] + 1, soft[:, 3 * k :])
            for part, expected in zip(("gamma", "nu", "alpha", "beta"), parts, strict=True):
                one = expected[:, 0] if k == 1 else expected
                torch.testing.assert_close(getattr(out[name], part), one, atol=1e-5, rtol=1e-5)
        else:
            torch.testing.assert_close(out[name].alpha, soft + 1)
    assert start * 33 == sum(p.numel() for p in made.parameters())
    reference = EvidentialLayers(reference_config().tasks, 32)
    assert sum(p.numel() for p in reference.parameters()) == 3168


def test_vacuity_lies_in_0_1_and_variances_are_positive() -> None:
    made, x = layers()
    for out in made(100 * x).values():
        assert torch.isfinite(out.uncertainty).all()
        assert (out.uncertainty > 0).all()
        assert (out.aleatoric >= 0).all()
        assert out.kind == "nig" or (out.uncertainty <= 1).all()


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.kind != "contrastive"])
def test_missing_labels_do_not_count_and_gradients_stay_finite(name: str) -> None:
    spec = TASKS[name]
    made = EvidentialLayers({name: spec}, 8)
    x = torch.randn(4, 1, 8, requires_grad=True)
    if spec.kind == "regression":
        y = torch.randn((4,) if spec.out_dim == 1 else (4, spec.out_dim))
        y[1] = float("nan")
    else:
        y = torch.tensor([0, -1, 1, 1])
    scaler = LabelScaler(1.0, 3.0)
    loss, kl, n = evidential_loss(spec, made(x)[name], y, scaler, 0.01, 0.01)
    rest = [0, 2, 3]
    expected, _, _ = evidential_loss(spec, made(x[rest])[name], y[rest], scaler, 0.01, 0.01)
    torch.testing.assert_close(loss, expected)
    assert n.item() == 3 * (spec.out_dim if spec.kind == "regression" else 1)
    (loss + kl).backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[1] == 0).all()


def test_the_regulariser_of_amini_is_added_for_regression() -> None:
    spec = TASKS["ltv"]
    out = EvidentialOutput("nig", torch.tensor([2.0]), torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([1.0]))
    y = torch.tensor([3.0])
    with_it, _, _ = evidential_loss(spec, out, y, None, 0.0, 0.01)
    without, _, _ = evidential_loss(spec, out, y, None, 0.0, 0.0)
    assert (with_it - without).item() == pytest.approx(0.01 * 3.0 * (2 * 1.0 + 2.0), rel=1e-5)


def test_trained_heads_tell_noisy_labels_from_agreeing_ones() -> None:
    torch.manual_seed(0)
    spec = TASKS["channel"]
    made = EvidentialLayers({"channel": spec}, 2)
    x = torch.eye(2).repeat(300, 1)[:, None]
    y = torch.where(torch.arange(600) % 2 == 0, torch.zeros(600, dtype=torch.long), torch.randint(0, 3, (600,)))
    optimizer = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss, kl, _ = evidential_loss(spec, made(x)["channel"], y, None, 0.01, 0.01)
        (loss + kl).backward()
        optimizer.step()
    out = made(x[:2])["channel"]
    assert (out.uncertainty < 0.3).all()  # both have been seen often
    assert out.aleatoric[1] > 2 * out.aleatoric[0]
    assert out.probability[0, 0] > 0.8
    assert out.probability[1].max() < 0.45
    assert math.isfinite(loss.item())
