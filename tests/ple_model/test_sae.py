import dataclasses

import pytest
import torch

from ple_model.config import SaeConfig
from ple_model.sae import SparseAutoencoder


def sae(width: int = 6, **kwargs: object) -> SparseAutoencoder:
    torch.manual_seed(0)
    made = SparseAutoencoder(width, dataclasses.replace(SaeConfig(k=3, aux_k=4, dead_steps=2), **kwargs))  # type: ignore[arg-type]
    with torch.no_grad():
        made.b_enc.normal_(std=0.1)
        made.b_dec.normal_(std=0.1)
    return made


def data(n: int = 64, width: int = 6, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=g) * torch.linspace(0.5, 5, width) + 3


def test_the_relu_loss_by_hand() -> None:
    m, x = sae().eval(), data(5)
    out = m(x)
    z = torch.clamp(x @ m.w_enc.T + m.b_enc, min=0)  # mean 0 and variance 1 until training has moved them
    rebuilt = z @ m.w_enc + m.b_dec
    torch.testing.assert_close(out.latent, z)
    torch.testing.assert_close(out.reconstruction, rebuilt)
    expected = ((x - rebuilt) ** 2).sum(1).mean() + 0.001 * z.sum(1).mean()
    torch.testing.assert_close(m.loss(out), expected)


def test_tied_weights_have_1_3_million_parameters_at_576_and_untied_2_7() -> None:
    count = {t: sum(p.numel() for p in SparseAutoencoder(576, SaeConfig(tied_weights=t)).parameters()) for t in (True, False)}
    assert count[True] == 576 * 2304 + 2304 + 576
    assert count[False] == 2 * 576 * 2304 + 2304 + 576


def test_running_statistics_become_those_of_the_data() -> None:
    m = sae().train()
    for i in range(60):
        m(data(200, seed=i))
    everything = torch.cat([data(200, seed=i) for i in range(60)])
    torch.testing.assert_close(m.mean, everything.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(m.std, everything.std(0), rtol=0.02, atol=0.02)


def test_the_first_batch_alone_sets_the_statistics() -> None:
    m, x = sae().train(), data(50)
    m(x)
    torch.testing.assert_close(m.mean, x.mean(0))
    torch.testing.assert_close(m.var, x.var(0, unbiased=False))


def test_evaluation_changes_nothing() -> None:
    m = sae()
    m.train()
    m(data())
    m.eval()
    before = {k: v.clone() for k, v in m.state_dict().items()}
    m(data(seed=9))
    assert all(torch.equal(v, before[k]) for k, v in m.state_dict().items())


def test_a_constant_dimension_stays_finite() -> None:
    m, x = sae().train(), data()
    x[:, 2] = 0.0
    out = m(x)
    loss = m.loss(out)
    loss.backward()
    assert torch.isfinite(loss)
    assert (out.x_standardised[:, 2] == 0).all()


@pytest.mark.parametrize("activation", ["relu", "topk", "batchtopk"])
@pytest.mark.parametrize("tied", [True, False])
def test_no_gradient_reaches_the_input(activation: str, tied: bool) -> None:
    m, x = sae(activation=activation, tied_weights=tied).train(), data().requires_grad_()
    m.loss(m(x)).backward()
    assert x.grad is None
    assert all(p.grad is not None for p in m.parameters())


def test_topk_keeps_k_latents_a_row() -> None:
    m = sae(activation="topk").train()
    assert ((m(data()).latent > 0).sum(1) <= 3).all()
    assert (m(data()).latent > 0).sum(1).float().mean() > 2.5


def test_batchtopk_keeps_k_latents_a_row_on_average_and_evaluates_rows_alone() -> None:
    m = sae(activation="batchtopk").train()
    x = data(64)
    for _ in range(300):
        z = m(x).latent
    assert (z > 0).sum().item() <= 3 * 64
    assert (z > 0).sum(1).float().std() > 0  # rows differ
    m.eval()
    torch.testing.assert_close(m(x).latent[:5], m(x[:5]).latent)
    assert (m(x).latent > 0).sum(1).float().mean().item() == pytest.approx(3, abs=0.5)


def test_dead_latents_learn_from_the_residual_only() -> None:
    m, x = sae(activation="topk").train(), data()
    with torch.no_grad():
        m.b_enc[:6] = -100.0  # never chosen
    for _ in range(3):
        out = m(x)
    assert (m.idle_steps[:6] == 3).all()
    dead = m.idle_steps >= 2
    with torch.no_grad():
        m.b_enc[:6] = 0.0  # they would fire now, but count as dead in the loss of this step
        z, pre = m.encode(out.x_standardised)
    pre = torch.nn.functional.linear(out.x_standardised, m.w_enc, m.b_enc)
    out = dataclasses.replace(out, pre_activation=pre)
    residual = (out.x_standardised - out.reconstruction).detach()
    values, index = pre.masked_fill(~dead, -1e9).topk(4, dim=1)
    z = torch.zeros_like(out.latent).scatter(1, index, torch.relu(values))
    auxiliary = ((z @ m.w_enc - residual) ** 2).sum(1).mean()
    expected = (residual**2).sum(1).mean() + auxiliary / 32
    torch.testing.assert_close(m.loss(out), expected)
    m.loss(out).backward()
    assert (m.b_enc.grad[:6] != 0).any()


def test_without_dead_latents_there_is_no_auxiliary_loss() -> None:
    m = sae(activation="topk").train()
    out = m(data())
    torch.testing.assert_close(m.loss(out), ((out.x_standardised - out.reconstruction) ** 2).sum(1).mean())


def test_untied_decoder_columns_are_projected_to_unit_norm() -> None:
    m = sae(tied_weights=False)
    assert m.w_dec is not None
    with torch.no_grad():
        m.w_dec.mul_(7.0)
    m.project_()
    torch.testing.assert_close(m.w_dec.norm(dim=0), torch.ones(24))


@pytest.mark.parametrize("activation", ["relu", "topk", "batchtopk"])
def test_training_lowers_the_reconstruction_error(activation: str) -> None:
    m = sae(activation=activation, k=8).train()
    mix = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    x = torch.relu(torch.randn(256, 6, generator=torch.Generator().manual_seed(2))) @ mix
    optimizer = torch.optim.Adam(m.parameters(), lr=1e-2)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = m.loss(m(x))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_clamping_a_latent_to_what_it_is_changes_nothing_and_zero_removes_its_direction() -> None:
    m = sae().train()
    x = data()
    m(x)
    m.eval()
    z = m(x).latent
    row = x[:1]
    j = int(z[0].argmax())
    torch.testing.assert_close(m.edit(row, {j: z[0, j].item()}), row, atol=1e-4, rtol=1e-4)
    moved = m.edit(row, {j: 0.0}) - row
    torch.testing.assert_close(moved[0], -z[0, j] * m.w_enc[j] * m.std, atol=1e-4, rtol=1e-4)


def test_the_reconstruction_is_in_the_units_of_the_input() -> None:
    m = sae().train()
    x = data()
    out = m(x)
    m.eval()
    torch.testing.assert_close(m.reconstruct(x), out.reconstruction * m.std + m.mean)
