"""SAE latents: all at once equals one at a time, first-order effects follow the exact ones, stored equals measured."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.engine.concept_shards import LatentShard, latent_shard
from analysis.engine.concepts import _effects, _expert_share, _lift, _raised, silenced
from analysis.engine.explainer import Explainer
from analysis.figures import sae as figures
from analysis.fingerprint import SENTENCES
from analysis.i18n import phrase
from analysis.latents import clamp, latents
from analysis.results.labels import load_labels, save_label
from analysis.results.latents import Latents
from analysis.stats.sae import measure as sae_statistics
from ple_model.cli import main
from ple_model.engine import open_engine
from ple_model.errors import UserError
from ple_model.run import Run
from tests.in_process import InProcess


@pytest.fixture(scope="module")
def z(tiny_run: Run) -> Latents:
    return latents(tiny_run, rows=400)


def test_what_is_stored_is_what_was_measured(tiny_run: Run, z: Latents) -> None:
    again = latents(tiny_run, rows=400)
    assert again is not z
    assert again.l0 == z.l0
    assert again.tasks == z.tasks
    np.testing.assert_array_equal(again.activations, z.activations)
    np.testing.assert_array_equal(again.customer_id, z.customer_id)


def test_density_l0_and_activations_agree(z: Latents) -> None:
    np.testing.assert_allclose((z.activations > 0).mean(0), z.density, atol=0.01)
    assert z.l0 == pytest.approx(z.density.sum())
    assert z.dead == (z.density == 0).sum()


def test_variance_explained_agrees_with_the_streamed_statistic(tiny_run: Run, z: Latents) -> None:
    sample = tiny_run.sample().load(None, limit=400, seed=0)
    with torch.no_grad():
        out = tiny_run.model()(sample.inputs).sae
    assert out is not None
    streamed = sae_statistics(out.latent.numpy(), out.x_standardised.numpy(), out.reconstruction.numpy())
    assert z.fve == pytest.approx(streamed.fve, abs=1e-4)


def test_the_mean_predictor_explains_nothing() -> None:
    x = np.random.default_rng(0).normal(3.0, 1.0, (200, 5))
    assert sae_statistics(np.zeros((200, 4)), x, np.tile(x.mean(0), (200, 1))).fve == pytest.approx(0, abs=1e-9)


def test_first_order_effects_follow_the_model_with_a_latent_nearly_silenced(tiny_run: Run) -> None:
    explainer = Explainer.cached(tiny_run)
    model = explainer.model
    assert model.sae is not None
    encoded = explainer.encoded.rows(slice(0, 64))
    latent = model.sae(encoded.shared_concat).latent
    effect, _, _ = _effects(model, model.sae, encoded, latent, explainer.calibration)
    j = int(latent.mean(0).argmax())
    share = 1e-2  # a hundredth of the latent taken away: the first order is exact up to a hundredth
    change = -share * latent[:, j, None] * model.sae.decoder[:, j] * model.sae.std
    with torch.no_grad():
        before = model.decode(encoded, sae=False, evidential=False)
        after = model.decode(replace(encoded, shared_concat=encoded.shared_concat + change), sae=False, evidential=False)
    t = model.task_names.index("ltv")
    units = [model.to_units("ltv", o.predictions["ltv"].double()) for o in (before, after)]
    active = (latent[:, j] > 0).sum()
    exact = float((units[0] - units[1]).sum() / active / share)
    assert effect[j, t] == pytest.approx(exact, rel=0.05, abs=1e-4)


def test_clamping_is_exact_through_the_model(tiny_run: Run, z: Latents) -> None:
    j = int(z.mean.argmax())
    found = clamp(tiny_run, j, rows=64)
    assert set(found) == set(z.tasks)
    assert any(abs(a) > 0 for a, _ in found.values())
    with pytest.raises(UserError, match="no such latent"):
        clamp(tiny_run, z.n_latents)


def test_silencing_all_rows_at_once_equals_one_latent_at_a_time(tiny_run: Run) -> None:
    explainer = Explainer.cached(tiny_run)
    sae = explainer.model.sae
    assert sae is not None
    out = sae(explainer.encoded.shared_concat[:50])
    residual = (out.x_standardised - out.reconstruction).double()
    fast = silenced(sae.decoder, out.latent, residual)
    for j in (0, 5, 11):
        latent = out.latent.clone()
        latent[:, j] = 0
        other = (out.x_standardised - sae.decode(latent)).double()
        assert float(fast[j]) == pytest.approx(float(((other**2).sum(1) - (residual**2).sum(1)).mean()), rel=1e-3, abs=1e-6)


def test_expert_shares_of_a_decoder_direction_sum_to_one(tiny_run: Run, z: Latents) -> None:
    np.testing.assert_allclose(z.expert_share.sum(1), 1, atol=1e-6)
    model = Explainer.cached(tiny_run).model
    assert model.sae is not None
    first = model.sae.decoder[: model.dims[0]].pow(2).sum(0) / model.sae.decoder.pow(2).sum(0)
    np.testing.assert_allclose(_expert_share(model, model.sae)[:, 0], first.detach(), atol=1e-5)


def test_a_planted_feature_is_the_most_raised() -> None:
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(size=(400, 20)))
    z = torch.zeros(400, 2)
    z[:40, 0] = torch.arange(40, 0, -1.0)
    features[:40, 7] += 3.0
    index, difference, top, rest = _raised(features, z, lambda v: 10 * v)
    assert index[0, 0] == 7
    assert difference[0, 0] > 1.5
    assert top[0, 0] == pytest.approx(10 * float(features[:20, 7].mean()), rel=1e-6)
    assert top[0, 0] > rest[0, 0]
    assert (index[1] == -1).all()  # a dead latent raises nothing


def test_lift_is_the_share_within_over_the_share_overall() -> None:
    on = torch.tensor([[1, 0], [1, 0], [0, 0], [0, 0]]).bool()
    lift = _lift(on, torch.tensor([0, 0, 1, 1]), (0, 1, 2))
    np.testing.assert_allclose(lift[0], [2, 0, np.nan])
    assert np.isnan(lift[1]).all()


def test_a_page_names_top_customers_in_order(z: Latents) -> None:
    page = z.page(int(z.density.argmax()))
    activations = [t.activation for t in page.top]
    assert activations == sorted(activations, reverse=True)
    assert activations[0] == pytest.approx(page.max, rel=1e-2)
    assert page.latent not in [n for n, _ in page.neighbours]
    assert page.histogram.sum() == (z.activations[:, page.latent] > 0).sum()
    assert {g.group for g in page.quantile_groups} <= {"top 1 %", "90 to 99 %", "half to 90 %", "below half"}
    with pytest.raises(UserError, match="no latent 100000"):
        z.page(100_000)


def test_the_browser_can_hide_dense_latents(z: Latents) -> None:
    shown = z.table(hide_dense=True)
    assert all(d <= 0.1 for d in shown["density"])
    everything = z.table(hide_dead=False)
    assert len(everything["latent"]) == z.n_latents
    assert len({len(v) for v in everything.values()}) == 1


def test_own_labels_are_kept_and_removed(tiny_run: Run, tmp_path: Path) -> None:
    assert save_label(tmp_path, 3, "  frequent travellers ") == {3: "frequent travellers"}
    assert load_labels(tmp_path) == {3: "frequent travellers"}
    assert save_label(tmp_path, 3, "") == {}
    (tmp_path / "analysis" / "latent_labels.json").write_text("[1")
    with pytest.raises(UserError, match=r"latent_labels\.json is damaged"):
        load_labels(tmp_path)


def test_figures_of_latents_render(z: Latents) -> None:
    page = z.page(int(z.density.argmax()))
    scale = dict(zip(z.tasks, z.effect_scale.tolist(), strict=True))
    for drawn in (figures.activation(page), figures.effects(page, scale), figures.lift(page.segments),
                  figures.experts(page)):  # fmt: skip
        assert drawn.data


def test_an_engine_measures_what_one_process_measures(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.engine.concept_shards.SHARD_ROWS", 160)
    monkeypatch.setattr("analysis.engine.concepts.CHUNK", 160)
    here, lost, again = latents(tiny_run, rows=400, force=True), InProcess(fails="latent_shard 00001"), InProcess()
    with pytest.raises(UserError, match="shard 00001: lost"):
        latents(tiny_run, rows=400, force=True, engine=lost)
    found = latents(tiny_run, rows=400, force=True, engine=again)
    assert [name for _, name in lost.ran + again.ran] == ["00002", "00001", "00000"]
    for f in fields(found):
        ours, theirs = getattr(found, f.name), getattr(here, f.name)
        if isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9, err_msg=f.name)
        elif isinstance(theirs, np.ndarray):
            np.testing.assert_array_equal(ours, theirs, f.name)
    assert (found.n, found.clusters, found.experts, found.l0) == (here.n, here.clusters, here.experts, here.l0)
    assert not list((tiny_run.path / "analysis").glob(".latents*"))


@pytest.mark.slow
def test_a_real_engine_measures_what_one_in_this_process_does(tiny_run: Run) -> None:
    with open_engine("local", workers=2) as engine:
        found = latents(tiny_run, rows=400, force=True, engine=engine)
    here = latents(tiny_run, rows=400, force=True, engine=InProcess())
    for f in fields(found):
        np.testing.assert_array_equal(getattr(found, f.name), getattr(here, f.name), f.name)


def test_a_shard_that_is_begun_again_keeps_what_its_first_attempt_left(tiny_run: Run, tmp_path: Path) -> None:
    shard = LatentShard(tiny_run.path, tiny_run.sample().path, np.arange(8), tmp_path / "0")
    latent_shard(shard)
    left = {p.name: p.stat().st_mtime_ns for p in shard.out.iterdir()}
    latent_shard(shard)
    assert {p.name: p.stat().st_mtime_ns for p in shard.out.iterdir()} == left


def test_the_command_says_what_is_measured(tiny_run: Run, z: Latents, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sae", str(tiny_run.path), "--sample", "400", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["latents"], told["states"]["dead"]) == (z.n, z.n_latents, z.dead)
    assert len(told["each"]) == z.n_latents - z.dead
    with pytest.raises(SystemExit):
        main(["sae", "--help"])
    words = re.split(r"[\s,;:()]+", capsys.readouterr().out)
    assert {*told, *told["each"][0]} <= set(words), "every key is said by --help"
    assert main(["sae", str(tiny_run.path), "--sample", "400"]) == 0
    out, err = capsys.readouterr()
    assert f"{z.n_latents} latents over {z.n} rows" in out
    assert f"and {z.n_latents - z.dead - 10} more" in out
    assert "read back" in err
    assert main(["sae", str(tiny_run.path), "--sample", "400", "--language", "ko"]) == 0
    said, heard = capsys.readouterr()
    assert said.splitlines()[0].startswith(f"{z.n}개 행에서 본 잠재 변수 {z.n_latents}개: 정상 ")
    shown = re.compile(r"^ +(\d+) .* (\S+ -> \S+): ", re.MULTILINE)
    assert len(shown.findall(out)) == 10
    assert shown.findall(said) == shown.findall(out), "the same latents, experts and tasks"
    assert "저장된 결과를 읽었습니다" in heard
    for why, sentence in SENTENCES.items():
        assert why == "first" or phrase(f"sae.why_{why}", "en") == sentence
