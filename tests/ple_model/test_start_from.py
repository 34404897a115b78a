"""A training from another run's weights: it begins with them, also after a kill; its second phase alone leaves the experts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import read_tensors, write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run, load_run
from ple_model.start_from import WEIGHTS, StartFrom, kept_start
from ple_model.train import Options, train
from tests.fakes import tiny_config

QUICK = Options(device="cpu", sample_customers=10, baselines=False)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "model.safetensors")[0]


def test_the_second_phase_alone_leaves_the_shared_experts_and_trains_the_rest(
    tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path
) -> None:
    config = tiny_config({"training": {"phase2_epochs": 1}})
    run = train(tiny_dataset, tmp_path / "run", config, options=QUICK, start=StartFrom(tiny_run, phase_2=True))
    before, after = weights(tiny_run.path), weights(run.path)
    experts = [k for k in before if k.startswith("experts.")]
    assert experts
    assert all(torch.equal(before[k], after[k]) for k in experts)
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("towers."))
    assert [e["phase"] for e in run.progress() if e["event"] == "epoch"] == [2]
    assert run.manifest.parent == tiny_run.name
    assert kept_start(run.path) is None


def test_a_whole_training_begins_with_free_gates_and_the_new_data_s_own_figures(
    tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path
) -> None:
    """The other run froze its gates and adaTT, and its means are of its own data."""
    learnt = weights(tiny_run.path)
    assert bool(learnt["cgc.frozen"])
    assert bool(learnt["adatt.frozen"])
    context = tiny_run.context()
    moved = replace(context, raw_mean=tuple(v + 1.0 for v in context.raw_mean))
    for phase_2 in (False, True):
        model = PLEClusterAdaTT(tiny_run.config, moved)
        (tmp_path / str(phase_2) / "state").mkdir(parents=True)
        StartFrom(tiny_run, phase_2).keep(tmp_path / str(phase_2), model, tiny_run.config)
        found = kept_start(tmp_path / str(phase_2))
        assert found is not None
        assert found.weights.keys() == learnt.keys()
        assert bool(found.weights["cgc.frozen"]) is phase_2
        assert bool(found.weights["adatt.frozen"]) is phase_2
        means = "experts.raw_scale.raw_mean"
        assert torch.equal(found.weights[means], learnt[means] + 1.0)
        parameters = [n for n, _ in model.named_parameters()]
        assert all(torch.equal(found.weights[n], learnt[n]) for n in parameters)


@pytest.mark.parametrize("old", [True, False])
def test_what_training_alone_reads_may_be_new_or_gone(tiny_run: Run, tmp_path: Path, old: bool) -> None:
    """A run of before experts were supervised, and one that goes on without; the shares of brands likewise."""
    with_both = {"training": {"expert_supervision": 1.0, "brand_blend": "validation"}}
    without = {"training": {"expert_supervision": 0.0, "brand_blend": "none"}}
    theirs, ours = (tiny_config(c) for c in ((without, with_both) if old else (with_both, without)))
    parent = replace(tiny_run, path=tmp_path / "parent", settings=theirs.to_dict())
    parent.path.mkdir()
    for name in ("preprocess", "sample"):
        (parent.path / name).symlink_to(tiny_run.path / name)
    first = PLEClusterAdaTT(theirs, tiny_run.context())
    write_tensors(parent.path / "model.safetensors", first.state_dict())
    model = PLEClusterAdaTT(ours, tiny_run.context())
    extra = {"expert_heads.linear.weight", "expert_heads.linear.bias", "brands.share"}
    assert model.state_dict().keys() ^ first.state_dict().keys() == extra
    (tmp_path / "new" / "state").mkdir(parents=True)
    StartFrom(parent).keep(tmp_path / "new", model, ours)
    found = kept_start(tmp_path / "new")
    assert found is not None
    assert found.weights.keys() == model.state_dict().keys()
    assert torch.equal(found.weights["towers.out_weight"], first.state_dict()["towers.out_weight"])


def test_weights_of_other_brands_are_refused_and_those_of_other_data_said(tiny_run: Run, tmp_path: Path) -> None:
    context = tiny_run.context()
    other = PLEClusterAdaTT(tiny_run.config, replace(context, brands=tuple(f"{b}!" for b in context.brands)))
    with pytest.raises(UserError, match="trained on other brands"):
        StartFrom(tiny_run).keep(tmp_path, other, tiny_run.config)
    assert StartFrom(tiny_run).warnings(tiny_run.manifest.data.fingerprint) == []
    assert "other data" in StartFrom(tiny_run).warnings("0" * 32)[0]


def test_a_training_stopped_before_its_first_checkpoint_starts_from_them_again(
    tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path
) -> None:
    config = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}})
    whole = train(tiny_dataset, tmp_path / "whole", config, options=QUICK, start=StartFrom(tiny_run))
    train(tiny_dataset, tmp_path / "cut", config, options=QUICK, start=StartFrom(tiny_run), stop=lambda: True)
    (tmp_path / "cut" / "state" / "checkpoint.safetensors").unlink()
    assert kept_start(tmp_path / "cut") is not None
    again = train(tiny_dataset, tmp_path / "cut", config, options=QUICK, resume=True)
    assert again.manifest.status == "finished"
    one, other = weights(whole.path), weights(again.path)
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert not (again.path / "state" / WEIGHTS).exists()


def test_weights_that_do_not_fit_are_one_sentence_and_leave_nothing(
    tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path
) -> None:
    wider = tiny_config({"task_experts": {"output_dim": 24}})
    with pytest.raises(UserError, match=r"model\.safetensors does not fit the run's config"):
        train(tiny_dataset, tmp_path / "run", wider, options=QUICK, start=StartFrom(tiny_run))
    none = tiny_config({"training": {"phase2_epochs": 0}})
    with pytest.raises(UserError, match=r"training\.phase2_epochs"):
        train(tiny_dataset, tmp_path / "run", none, options=QUICK, start=StartFrom(tiny_run, phase_2=True))
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_does_not_go_together(
    tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tiny_dataset.path), str(tmp_path / "x"), "--phase-2"]) == 2
    assert "--from RUN" in capsys.readouterr().err
    assert main(["train", str(tiny_dataset.path), str(tiny_run.path), "--resume", "--from", str(tiny_run.path)]) == 2
    assert "leave out --from" in capsys.readouterr().err
    assert load_run(tiny_run.path).manifest.parent is None
