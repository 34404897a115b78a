"""The training loop: phases, freezes, early stopping, masks, and runs that can be stopped."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from ple_model.config import Config, load_config
from ple_model.constants import constant_loss, with_training_statistics
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision, pick_device
from ple_model.epochlog import GradientNorms, Validation
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.losses import focal, huber
from ple_model.model import PLEClusterAdaTT
from ple_model.new_run import create_run
from ple_model.optimizer import optimizer_groups
from ple_model.run import Run, load_run, lock_path
from ple_model.tasks import TASKS
from ple_model.train import Options, train
from ple_model.training.trainer import Trainer
from tests.factories import random_context, random_inputs
from tests.fakes import make_batch, make_dataset, tiny_config

pytestmark = pytest.mark.slow

FAST = Options(device="cpu", sample_customers=20)


def small_training(dataset: Dataset, run: Path, over: dict[str, Any] | None = None, **more: Any) -> Run:
    config = tiny_config(over or {"training": {"phase1_epochs": 1, "phase2_epochs": 0}})
    return train(dataset, run, config, device="cpu", options=FAST, **more)


def epochs(run: Run) -> list[dict[str, Any]]:
    return [e for e in run.progress() if e["event"] == "epoch"]


def trainer(dataset: Dataset, path: Path, config: Config) -> Trainer:
    create_run(dataset, path, config, preset="small", device="cpu")
    return Trainer(load_run(path), dataset, FAST, None, None)


# --- what a finished run says


def test_training_brings_the_validation_loss_down(tiny_run: Run) -> None:
    ratios = [e["valid"]["mean_ratio"] for e in epochs(tiny_run)]
    assert min(ratios[1:]) < ratios[0]
    assert min(ratios) < 1.0


def test_phases_follow_each_other_and_the_second_freezes_the_shared_experts(tiny_run: Run) -> None:
    lines = epochs(tiny_run)
    assert [(e["epoch"], e["phase"]) for e in lines] == [(1, 1), (2, 1), (3, 1), (4, 2)]
    assert [e["frozen"]["shared"] for e in lines] == [False, False, False, True]
    experts = tiny_run.config.shared_experts
    assert all(lines[0]["grad_norm"][x] > 0 for x in experts)
    assert all(lines[3]["grad_norm"][x] == 0 for x in experts)


def test_gates_and_adatt_freeze_at_the_end_of_the_freeze_epoch(tiny_run: Run) -> None:
    lines = epochs(tiny_run)
    assert [e["frozen"]["gates"] for e in lines] == [False, True, True, True]
    assert lines[1]["grad_norm"]["cgc"] > 0
    assert lines[2]["grad_norm"]["cgc"] == 0
    assert [e["epoch"] for e in tiny_run.progress() if e["event"] == "freeze"] == [2]
    assert lines[1]["adatt"]["c"] == lines[3]["adatt"]["c"]


def test_adatt_is_measured_at_least_four_times_an_epoch(tiny_run: Run) -> None:
    start = next(e for e in tiny_run.progress() if e["event"] == "start")
    assert start["steps_per_epoch"] <= tiny_run.config.adatt.grad_interval
    assert max(epochs(tiny_run)[0]["adatt"]["measured"].values()) >= 4


def test_the_manifest_says_what_was_trained_on_what(tiny_run: Run, tiny_dataset: Dataset) -> None:
    m = tiny_run.manifest
    assert m.status == "finished"
    assert m.data.fingerprint == tiny_dataset.manifest.fingerprint
    assert m.threads == torch.get_num_threads()
    assert m.finished is not None
    assert str(tiny_dataset.path) not in (tiny_run.path / "manifest.json").read_text()


def test_metrics_cover_both_splits_and_every_task(tiny_run: Run) -> None:
    for split in ("validation", "test"):
        assert set(tiny_run.metrics()["splits"][split]) == set(tiny_run.config.tasks)


def test_the_sample_keeps_test_customers(tiny_run: Run) -> None:
    sample = tiny_run.sample()
    assert sample.rows("test") > 0
    assert sample.rows("train") > 0
    assert sample.manifest.fields == tiny_run.dataset().manifest.fields  # type: ignore[union-attr]


# --- the loop


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(small_dataset: Dataset, tmp_path: Path) -> None:
    one = {"phase1_epochs": 1, "phase2_epochs": 0}
    seeds = {"a": 0, "b": 0, "c": 1}
    runs = [small_training(small_dataset, tmp_path / n, {"training": {**one, "seed": s}}) for n, s in seeds.items()]
    a, b, c = ((r.path / "model.safetensors").read_bytes() for r in runs)
    assert a == b
    assert a != c


def test_training_leaves_the_callers_random_state_alone(small_dataset: Dataset, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    small_training(small_dataset, tmp_path / "run")
    assert torch.equal(before, torch.get_rng_state())


def test_early_stopping_ends_a_phase_and_keeps_the_best_weights(small_dataset: Dataset, tmp_path: Path) -> None:
    # a learning rate at which nothing gets better than the first epoch
    over = {"training": {"learning_rate": 1e-12, "phase1_epochs": 9, "phase2_epochs": 0, "patience": 2}}
    run = small_training(small_dataset, tmp_path / "run", over)
    lines = epochs(run)
    best = min(range(len(lines)), key=lambda i: lines[i]["valid"]["mean_ratio"])
    assert len(lines) < 9
    assert not any(e["best"] for e in lines[-2:])
    assert lines[best]["best"]
    ended = [e for e in run.progress() if e["event"] == "phase" and "ended" in e]
    assert [e["ended"] for e in ended] == ["early stopping"]


def test_the_dictionary_learns_on_while_experts_stand_still(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phase 2 is never better: all but the sparse autoencoder is kept as it was at the end of phase 1."""
    seen: list[dict[str, torch.Tensor]] = []
    judge = Trainer.judge

    def worse(self: Trainer, dataset: Dataset) -> Validation:
        found = judge(self, dataset)
        seen.append({k: v.clone() for k, v in self.model.state_dict().items()})
        return replace(found, mean_ratio=float(len(seen)))

    monkeypatch.setattr(Trainer, "judge", worse)
    config = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 2}})
    run = train(small_dataset, tmp_path / "run", config, options=Options(device="cpu", sample_customers=5, baselines=False))
    kept, _ = read_tensors(run.path / "model.safetensors")
    first, _, last = seen
    assert torch.equal(kept["towers.out_weight"], first["towers.out_weight"])
    assert not torch.equal(kept["towers.out_weight"], last["towers.out_weight"])
    assert torch.equal(kept["experts.deepfm.out.weight"], last["experts.deepfm.out.weight"])
    own = [k for k in kept if k.startswith("sae.")]
    assert own
    assert all(torch.equal(kept[k], last[k]) for k in own)
    assert any(not torch.equal(kept[k], first[k]) for k in own)


def test_a_task_without_labels_does_not_move_the_loss_or_its_weight(tmp_path: Path) -> None:
    batches = []
    for split, seed in (("train", 0), ("validation", 1), ("test", 2)):
        batch = make_batch(96, split, ("2025-01-01",), seed)
        targets = {k: v.clone() for k, v in (batch.inputs.targets or {}).items()}
        targets["churn"].fill_(-1)
        targets["ltv"].fill_(torch.nan)
        batches.append(replace(batch, inputs=replace(batch.inputs, targets=targets)))
    data = write_dataset(tmp_path / "data", batches, context=random_context(0, brands=12))
    run = small_training(data, tmp_path / "run")
    line = epochs(run)[0]
    for task in ("churn", "ltv"):
        assert line["train"]["n"][task] == 0
        assert line["train"]["tasks"][task] is None
        assert line["train"]["weighted"][task] == 0
        assert line["s"][task] == 0
        assert task not in line["valid"]["ratio"]
        assert any(f"'{task}'" in w for w in run.manifest.warnings)
    assert line["s"]["nba"] != 0


def test_a_loss_that_stays_not_finite_fails_the_run_with_one_sentence(tmp_path: Path) -> None:
    batch = make_batch(64, "train", ("2025-01-01",), 0)
    features = batch.inputs.features.clone()
    features[:, 0] = torch.inf
    poisoned = replace(batch, inputs=replace(batch.inputs, features=features))
    data = write_dataset(
        tmp_path / "data", [poisoned, make_batch(32, "validation", ("2025-01-01",), 1)], context=random_context(0, brands=12)
    )
    over = {"training": {"phase1_epochs": 3, "phase2_epochs": 0, "batch_size": 4}}
    with pytest.raises(UserError, match=r"not finite.*learning_rate"):
        small_training(data, tmp_path / "run", over)
    run = load_run(tmp_path / "run")
    assert run.manifest.status == "failed"
    assert run.progress()[-1]["event"] == "failed"


def test_a_stopped_run_is_resumed_to_the_bits_of_an_unstopped_one(small_dataset: Dataset, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    over = {"training": {"phase1_epochs": 2, "phase2_epochs": 0}}
    stopped = small_training(small_dataset, tmp_path / "a", over, stop=lambda: next(asked))
    assert stopped.manifest.status == "stopped"
    assert stopped.progress()[-1]["event"] == "stopped"
    done = small_training(small_dataset, tmp_path / "a", over, resume=True)
    whole = small_training(small_dataset, tmp_path / "b", over)
    assert done.manifest.status == "finished"
    assert (done.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_stop_file_stops_and_is_gone_after_the_resume(small_dataset: Dataset, tmp_path: Path) -> None:
    def touch(event: dict[str, Any]) -> None:
        if event["event"] == "start":
            (tmp_path / "run" / "state" / "stop").touch()

    assert small_training(small_dataset, tmp_path / "run", progress=touch).manifest.status == "stopped"
    assert small_training(small_dataset, tmp_path / "run", resume=True).manifest.status == "finished"


def test_resuming_a_finished_run_changes_nothing(tiny_run: Run, tiny_dataset: Dataset) -> None:
    before = (tiny_run.path / "progress.jsonl").read_bytes()
    assert train(tiny_dataset, tiny_run.path, tiny_run.config, resume=True).manifest == tiny_run.manifest
    assert (tiny_run.path / "progress.jsonl").read_bytes() == before


def test_a_taken_folder_is_refused(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already holds a run"):
        train(tiny_dataset, tiny_run.path, tiny_run.config)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        train(tiny_dataset, tmp_path, tiny_run.config)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_that_is_being_trained_is_refused_and_known_to_be_live(tiny_dataset: Dataset, tmp_path: Path) -> None:
    create_run(tiny_dataset, tmp_path / "run", tiny_config(), preset="small", device="cpu")
    assert load_run(tmp_path / "run").state == "interrupted"
    with FileLock(lock_path(tmp_path / "run")):
        assert load_run(tmp_path / "run").state == "running"
        with pytest.raises(UserError, match="another process"):
            train(tiny_dataset, tmp_path / "run", tiny_config(), resume=True)


def test_a_run_goes_on_with_its_own_data_only(tiny_dataset: Dataset, tmp_path: Path) -> None:
    create_run(tiny_dataset, tmp_path / "run", tiny_config(), preset="small", device="cpu")
    other = make_dataset(tmp_path / "other", train=64, validation=32, test=32, seed=9)
    with pytest.raises(UserError, match="is not the dataset of"):
        train(other, tmp_path / "run", tiny_config(), resume=True)


def test_a_run_that_cannot_be_made_leaves_nothing(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fp16"):
        create_run(tiny_dataset, tmp_path / "run", tiny_config({"training": {"amp": "fp16"}}), preset="small", device="cpu")
    assert list(tmp_path.iterdir()) == []


# --- parts of it


def test_optimizer_groups_hold_every_trained_parameter_once_and_drop_frozen_experts() -> None:
    model = PLEClusterAdaTT(tiny_config(), random_context())
    everyone = {id(p) for p in model.parameters()}
    held = [id(p) for g in optimizer_groups(model) for p in g["params"]]
    assert len(held) == len(set(held))
    assert set(held) == everyone
    model.freeze_shared()
    rest = {id(p) for g in optimizer_groups(model) for p in g["params"]}
    assert rest == everyone - {id(p) for p in model.experts.parameters()}


def test_weight_decay_spares_kendalls_s_and_the_default_embeddings() -> None:
    model = PLEClusterAdaTT(tiny_config(), random_context())
    spared = {id(p) for g in optimizer_groups(model) if g.get("weight_decay") == 0.0 for p in g["params"]}
    assert id(model.weighting.task_log_vars) in spared
    assert {id(p) for p in model.hmm.hmm_default_embeddings.values()} <= spared
    assert id(model.cgc.linear.weight) not in spared


def test_clipping_the_sparse_autoencoder_leaves_the_model_alone() -> None:
    model = PLEClusterAdaTT(tiny_config(), random_context())
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e-6)
    assert model.sae is not None
    for p in model.sae.parameters():
        p.grad = torch.full_like(p, 100.0)
    before = model.cgc.linear.weight.grad.clone()  # type: ignore[union-attr]
    norms = GradientNorms(model)
    inputs = random_inputs(4)
    found = norms.measure(model.losses(model(inputs), inputs.targets or {}, epoch=1))
    names = norms.clip(found)
    assert torch.equal(model.cgc.linear.weight.grad, before)  # type: ignore[arg-type]
    clipped = torch.cat([p.grad.flatten() for p in model.sae.parameters() if p.grad is not None]).norm()
    assert clipped <= model.config.sae.grad_clip * 1.001
    assert names["sae"] > 100
    assert (found.finite, found.lost) == (True, ())


def test_s_is_projected_into_its_limits() -> None:
    config = tiny_config({"training": {"log_var_limit": 0.01, "learning_rate": 0.5}})
    model = PLEClusterAdaTT(config, random_context())
    with torch.no_grad():
        model.weighting.task_log_vars.fill_(3.0)
    model.project()
    assert model.weighting.task_log_vars.abs().max() <= 0.01 + 1e-9


@pytest.mark.parametrize(("task", "loss"), [("churn", "focal"), ("ltv", "huber"), ("engagement", "mse"), ("nba", "nll")])
def test_no_constant_prediction_beats_the_constant_loss(task: str, loss: str) -> None:
    g = torch.Generator().manual_seed(3)
    spec = TASKS[task]
    assert spec.loss == loss
    if loss == "nll":
        y = torch.randint(0, 4, (500,), generator=g)
        share = torch.bincount(y) / 500
        assert constant_loss(spec, y.double().numpy()) == pytest.approx(float(-(share * share.log()).sum()), rel=1e-5)
        return
    if loss == "focal":
        y = (torch.rand(500, generator=g) < 0.1).float()
        grid = torch.linspace(0.01, 0.99, 197).tolist()
        tried = [float(focal(torch.full((500,), p), y, spec.focal_alpha or 0.25).mean()) for p in grid]
    else:
        y = torch.randn(500, generator=g).exp()
        grid = torch.linspace(0, 4, 801).tolist()
        tried = [float((huber(torch.full((500,), v), y) if loss == "huber" else (y - v) ** 2).mean()) for v in grid]
    assert constant_loss(spec, y.double().numpy()) == pytest.approx(min(tried), rel=1e-3)


def test_label_scalers_of_the_dataset_are_kept(tiny_dataset: Dataset) -> None:
    config = tiny_config()
    fitted, _ = with_training_statistics(random_context(), tiny_dataset, config)
    assert fitted.label_scalers["ltv"] == random_context().label_scalers["ltv"]
    fresh, warnings = with_training_statistics(replace(random_context(), label_scalers={}), tiny_dataset, config)
    assert fresh.label_scalers["ltv"].mean == pytest.approx(3.0, abs=0.3)
    assert warnings == []
    assert set(fresh.constant_loss) == set(config.tasks)


def test_the_precision_follows_the_device_and_fp16_on_a_cpu_is_refused() -> None:
    cpu = torch.device("cpu")
    assert Precision.choose(cpu, "auto").amp == "off"
    assert Precision.choose(torch.device("cuda"), "auto").amp == "fp16"
    assert Precision.choose(cpu, "bf16").amp == "bf16"
    with pytest.raises(UserError, match="needs a GPU"):
        Precision.choose(cpu, "fp16")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x", "tpu", "cuda:\u00b2", "cuda:99999999999999999999", "cuda:-1"])
def test_an_unknown_device_is_named(name: str) -> None:
    with pytest.raises(UserError, match=name):
        pick_device(name)


@pytest.mark.parametrize("as_option", [True, False])
def test_a_device_that_is_not_there_is_refused_before_anything_starts(
    tiny_dataset: Dataset, tmp_path: Path, as_option: bool
) -> None:
    given: dict[str, Any] = {"options": Options(device="cuda:99")} if as_option else {"device": "cuda:99"}
    with pytest.raises(UserError, match=r"cuda:99.*valid: auto, cpu"):
        train(tiny_dataset, tmp_path / "run", tiny_config(), **given)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_the_device_that_was_used(small_dataset: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    create_run(
        small_dataset, run, tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}}), preset="x", device="cpu"
    )
    replace(load_run(run).manifest, device="cuda", amp="fp16").save(run)
    done = train(small_dataset, run, tiny_config(), resume=True, options=Options(device="cpu"))
    assert (done.manifest.device, done.manifest.amp) == ("cpu", "off")


def test_bf16_trains_on_a_cpu(small_dataset: Dataset, tmp_path: Path) -> None:
    run = small_training(small_dataset, tmp_path / "run", {"training": {"amp": "bf16", "phase1_epochs": 1, "phase2_epochs": 0}})
    assert run.manifest.amp == "bf16"
    assert epochs(run)[0]["train"]["total"] is not None


def test_inputs_of_a_batch_of_one_train(tiny_dataset: Dataset, tmp_path: Path) -> None:
    t = trainer(tiny_dataset, tmp_path / "run", load_config("small"))
    t.model.train()
    t.steps.take(random_inputs(1, seed=4, brands=12), t.log)
    assert t.sums.means().rows == 1
    assert t.sums.means().nonfinite == 0
    t.log.close()


def test_a_training_killed_after_its_last_word_leaves_nothing_to_resume(
    tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    assert [e["event"] for e in load_run(run).progress()][-1] == "finished"
    left = run / "state" / "checkpoint.safetensors"
    left.write_bytes(b"left")
    train(tiny_dataset, run, load_run(run).config, resume=True, options=FAST)
    assert not left.exists()


def test_killed_at_its_end_a_training_without_a_second_phase_goes_on(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = small_training(small_dataset, tmp_path / "whole")

    def killed(*given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ple_model.training.trainer.finish", killed)
        with pytest.raises(KeyboardInterrupt):
            small_training(small_dataset, tmp_path / "torn")
    torn = small_training(small_dataset, tmp_path / "torn", resume=True)
    assert torn.manifest.status == "finished"
    assert (torn.path / "metrics.json").read_bytes() == (whole.path / "metrics.json").read_bytes()
