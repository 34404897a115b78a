"""RUN-CHANGED and RUN-DIFFERS on a real run: what was altered is named, an untouched run is silent, an older one is unknown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from analysis.checks import checks
from analysis.checks.finding import Finding
from analysis.checks.reach import about
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.facts import facts_of
from analysis.fingerprint import run_digest
from analysis.reference import rescale
from analysis.stats.run import Statistics
from analysis.written import rows_of_training, written
from ple_model.data.dataset.manifest import sha256_file
from ple_model.data.dataset.normalize import Normalizer
from ple_model.files import read_json, read_tensors, write_json, write_tensors
from ple_model.finish import write_sample
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run, load_run
from ple_model.run_fingerprint import write_fingerprint
from ple_model.safe_arrays import read_npz, write_npz
from ple_model.schema import PART_SLICES
from ple_model.skill import stored as stored_baselines
from ple_model.skill import stored_by_key


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis")))


def said(path: Path, id: str, change: Callable[[PLEClusterAdaTT], None] | None = None) -> tuple[Finding, ...]:
    run = load_run(path)
    model = run.model(finite=False)
    if change is not None:
        with torch.no_grad():
            change(model)
    s = Statistics(facts=facts_of(run, model, run.sample()), n=1, written=written(run, model))
    return run_check(checks()[id], s, Thresholds())


def edit(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors, metadata = read_tensors(path / "model.safetensors")
    change(tensors)
    write_tensors(path / "model.safetensors", tensors, metadata)


def test_an_untouched_run_passes_both(copy: Path) -> None:
    assert [f.severity for id in ("RUN-CHANGED", "RUN-DIFFERS") for f in said(copy, id)] == ["ok", "ok"]


def test_a_run_of_before_is_unknown_with_the_reason(copy: Path) -> None:
    (copy / "fingerprint.json").unlink()
    for id in ("RUN-CHANGED", "RUN-DIFFERS"):
        (found,) = said(copy, id)
        assert (found.severity, "before fingerprint.json" in found.verdict) == ("unknown", True)
    (copy / "fingerprint.json").write_text("{")
    assert "cannot be read" in said(copy, "RUN-CHANGED")[0].verdict


def _start(tensors: dict[str, torch.Tensor], run: Run, module: str, seed: int | None = None) -> None:
    config = run.config if seed is None else replace(run.config, training=replace(run.config.training, seed=seed))
    fresh = PLEClusterAdaTT(config, run.context()).state_dict()
    tensors.update({k: v for k, v in fresh.items() if k.startswith(module)})


def _first(tensors: dict[str, torch.Tensor], module: str) -> str:
    return next(k for k in tensors if k.startswith(module) and tensors[k].dim() == 2)


@pytest.mark.parametrize(
    ("subject", "words", "change"),
    [
        ("perslay", "untrained start", lambda t, run: _start(t, run, "experts.perslay")),
        ("causal", "not those that training wrote", lambda t, run: t[_first(t, "experts.causal")].normal_()),
        ("deepfm", "in size those of a fresh start", lambda t, run: _start(t, run, "experts.deepfm", seed=99)),
        ("cgc", "multiplied by 20", lambda t, run: t["cgc.linear.weight"].mul_(20)),
        ("brands", "in another order", lambda t, run: t["brands.keys"].copy_(t["brands.keys"].roll(1, 0))),
        ("towers", "One value of `towers.out_bias`", lambda t, run: t["towers.out_bias"].view(-1)[0].fill_(torch.nan)),
    ],
)
def test_altered_weights_are_named_by_module_and_by_what_happened(
    copy: Path, subject: str, words: str, change: Callable[[dict[str, torch.Tensor], Run], None]
) -> None:
    run = load_run(copy)
    before = run_digest(copy)

    edit(copy, lambda tensors: change(tensors, run))
    found = [f for f in said(copy, "RUN-CHANGED") if f.alarm]
    assert [(f.subject, f.severity) for f in found] == [(subject, "error")]
    assert words in found[0].verdict
    assert run_digest(copy) != before
    assert said(copy, "RUN-DIFFERS")[0].severity == "unknown"  # it would only follow


def test_weights_that_were_only_rounded_are_one_warning(copy: Path) -> None:
    edit(copy, lambda tensors: [v.copy_(v.half()) for v in tensors.values() if v.is_floating_point()])
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert (found.subject, found.severity) == ("model.safetensors", "warning")
    assert "rounded to 16 bits" in found.verdict
    effect = next(e for e in found.evidence if e.name == "largest difference of an output")
    assert 0 < effect.value < Thresholds().run_differs_prediction


def test_weights_of_another_run_are_one_error(copy: Path) -> None:
    run = load_run(copy)
    edit(copy, lambda tensors: _start(tensors, run, "", seed=99))
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert (found.subject, found.severity) == ("model.safetensors", "error")


@pytest.mark.parametrize(
    ("subject", "change"),
    [
        ("perslay", lambda t, run: _start(t, run, "experts.perslay", seed=99)),
        ("cgc", lambda t, run: t["cgc.linear.weight"].mul_(20)),
        ("towers", lambda t, run: t["towers.out_bias"].view(-1)[0].add_(3)),
        ("model.safetensors", lambda t, run: _start(t, run, "", seed=99)),
    ],
)
def test_a_run_of_before_is_held_against_the_norms_in_its_log(
    copy: Path, subject: str, change: Callable[[dict[str, torch.Tensor], Run], None]
) -> None:
    (copy / "fingerprint.json").unlink()
    run = load_run(copy)
    edit(copy, lambda tensors: change(tensors, run))
    assert [(f.subject, f.severity) for f in said(copy, "RUN-CHANGED")] == [(subject, "error")]


def test_a_run_of_before_with_rounded_weights_is_one_warning(copy: Path) -> None:
    (copy / "fingerprint.json").unlink()
    edit(copy, lambda tensors: [v.copy_(v.half()) for v in tensors.values() if v.is_floating_point()])
    assert [(f.subject, f.severity) for f in said(copy, "RUN-CHANGED")] == [("model.safetensors", "warning")]


def test_a_run_of_before_is_held_against_what_its_customers_were_made_with(copy: Path) -> None:
    (copy / "fingerprint.json").unlink()
    path = copy / "preprocess" / "context.json"
    stored = read_json(path)
    stored["raw_mean"][0] += 1.0
    write_json(path, stored)
    (found,) = said(copy, "RUN-CHANGED")
    assert (found.subject, found.severity) == ("preprocess/context.json", "error")
    assert found.evidence[0].text == "raw_mean"


def test_rows_of_a_tensor_in_another_order_are_no_fresh_start(copy: Path) -> None:
    edit(copy, lambda tensors: tensors["cluster_embedding.weight"].copy_(tensors["cluster_embedding.weight"].flip(0)))
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert (found.subject, "in another order" in found.verdict) == ("cluster_embedding", True)


def test_an_altered_calibration_names_its_task_and_a_missing_file_is_one(copy: Path) -> None:
    path = copy / "preprocess" / "calibration.json"
    stored = read_json(path)
    stored["churn"] = stored["ctr"]
    write_json(path, stored)
    (copy / "preprocess" / "uncertainty.json").unlink()
    found = {f.subject: f for f in said(copy, "RUN-CHANGED") if f.alarm}
    assert set(found) == {"preprocess/calibration.json", "preprocess/uncertainty.json"}
    assert "churn" in found["preprocess/calibration.json"].evidence[0].text
    assert "is gone" in found["preprocess/uncertainty.json"].verdict


def _settings(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    settings = yaml.safe_load((path / "config.yaml").read_text())
    change(settings)
    (path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=True))


def test_an_edited_configuration_is_told_key_by_key(copy: Path) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["cgc"]["temperature"] = 2.0
        settings["task_experts"]["tasks"]["churn"] = {"weight": 3.0}

    _settings(copy, change)
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert (found.subject, found.severity) == ("config.yaml", "error")
    assert "`cgc.temperature` in `config.yaml` was 1.0 in training and is 2.0" in found.verdict
    assert found.evidence[0].value == 2
    assert "task_experts.tasks.churn.weight: not set -> 3.0" in found.evidence[0].text


def test_an_edited_configuration_of_a_run_of_before_is_told_without_its_keys(copy: Path) -> None:
    stored = read_json(copy / "fingerprint.json")
    del stored["settings"]
    write_json(copy / "fingerprint.json", stored)
    _settings(copy, lambda settings: settings["cgc"].update(temperature=2.0))
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert (found.subject, "which key changed is unknown" in found.verdict) == ("config.yaml", True)


@pytest.mark.parametrize("kept_in", ["manifest.json", "progress.jsonl"])
def test_the_order_of_keys_in_the_configuration_means_nothing(copy: Path, tiny_run: Run, kept_in: str) -> None:
    if kept_in == "progress.jsonl":  # as of before the manifest held the order
        stored = read_json(copy / "manifest.json")
        del stored["experts"]
        write_json(copy / "manifest.json", stored)
    _settings(copy, lambda settings: None)
    written_order = list(yaml.safe_load((copy / "config.yaml").read_text())["shared_experts"])
    assert written_order != list(tiny_run.config.shared_experts)  # sorted
    assert list(load_run(copy).config.shared_experts) == list(tiny_run.config.shared_experts)
    assert [f.severity for id in ("RUN-CHANGED", "RUN-DIFFERS") for f in said(copy, id)] == ["ok", "ok"]


def test_other_stored_customers_are_told_and_the_code_is_not_blamed(copy: Path, tiny_run: Run) -> None:
    data = tiny_run.dataset()
    assert data is not None
    write_sample(copy, data, 40, seed=3)
    assert [(f.subject, f.severity) for f in said(copy, "RUN-CHANGED")] == [("sample", "warning")]
    assert said(copy, "RUN-DIFFERS")[0].severity == "unknown"


def test_another_program_is_told_by_its_first_part(copy: Path) -> None:
    def other_code(model: PLEClusterAdaTT) -> None:
        model.cgc.temperature = 2.0

    (found,) = said(copy, "RUN-DIFFERS", other_code)
    assert (found.subject, found.alarm) == ("cgc", True)


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Another delivery of the stored rows, under the fingerprint's old text."""
    folder = path / "sample"
    stored = read_json(folder / "dataset.json")
    for part in stored["files"]:
        file = folder / part["name"]
        pq.write_table(change(pq.read_table(file)), file, row_group_size=max(part["rows"], 1))
        part.update(bytes=file.stat().st_size, sha256=sha256_file(file), group_rows=[part["rows"]])
    write_json(folder / "dataset.json", stored)


def _turned_round(table: pa.Table) -> pa.Table:
    return table.take(pa.array(np.arange(len(table))[::-1]))


def test_the_stored_rows_in_another_order_or_with_more_columns_are_the_same(copy: Path) -> None:
    _rewrite(copy, _turned_round)
    _rewrite(copy, lambda t: t.append_column("etl_batch", pa.array(["b7"] * len(t))))
    assert [f.severity for id in ("RUN-CHANGED", "RUN-DIFFERS") for f in said(copy, id)] == ["ok", "ok"]
    run = load_run(copy)
    kept = written(run, run.model(finite=False))
    assert kept.sample == "same"
    assert 0 <= max(kept.outputs.values()) < Thresholds().run_differs


def test_baselines_of_the_same_rows_in_another_order_are_brought_into_theirs(copy: Path) -> None:
    before = stored_baselines(load_run(copy).sample())
    assert before is not None
    _rewrite(copy, _turned_round)
    run = load_run(copy)
    assert stored_baselines(run.sample()) is None
    assert rows_of_training(run)
    after = stored_by_key(run.sample())
    assert after is not None
    for split in ("validation", "test"):
        one, other = before.losses("churn", split), after.losses("churn", split)
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(other[name], one[name][::-1])


def test_labels_of_the_stored_rows_that_changed_are_named(copy: Path) -> None:
    def invert(table: pa.Table) -> pa.Table:
        i = table.column_names.index("y_churn")
        y = table.column(i).to_numpy()
        return table.set_column(i, table.schema.field(i), pa.array(np.where(y < 0, y, 1 - y), table.schema.field(i).type))

    _rewrite(copy, invert)
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert (found.subject, found.severity) == ("sample", "warning")
    assert "what changed: `y_churn`." in found.verdict
    assert not rows_of_training(load_run(copy))


@pytest.mark.parametrize(("by", "severity"), [(1e-6, "info"), (3.0, "warning")])
def test_inputs_of_the_stored_rows_count_by_what_they_move(copy: Path, by: float, severity: str) -> None:
    def more(table: pa.Table) -> pa.Table:
        i = table.column_names.index("features")
        kind = table.schema.field(i).type
        values = table.column(i).combine_chunks().flatten().to_numpy().reshape(len(table), -1).copy()
        values[:, PART_SLICES["rfm"]] += np.float32(by)
        return table.set_column(
            i, table.schema.field(i), pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=kind)
        )

    _rewrite(copy, more)
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.severity != "ok")
    assert (found.severity, "what changed: `features:rfm`." in found.verdict) == (severity, True)


def test_entries_that_were_exchanged_are_told_as_such_and_reach_both(copy: Path) -> None:
    path = copy / "preprocess" / "calibration.json"
    stored = read_json(path)
    stored["churn"], stored["ctr"] = stored["ctr"], stored["churn"]
    write_json(path, stored)
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert "hold each other's values: `churn` / `ctr`." in found.verdict
    run = load_run(copy)
    facts = facts_of(run, run.model(finite=False), run.sample())
    assert {"churn", "ctr"} <= about(found, facts)


def test_all_keys_of_an_edited_configuration_are_named(copy: Path) -> None:
    _settings(copy, lambda settings: (settings["cgc"].update(temperature=2.0), settings["training"].update(seed=8)))
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert found.verdict.endswith("and is 2.0; what else changed: `training.seed`.")


def test_a_list_of_the_configuration_in_another_order_is_told_as_such(copy: Path) -> None:
    def turn(settings: dict[str, Any]) -> None:
        settings["task_experts"]["enabled_tasks"] = settings["task_experts"]["enabled_tasks"][::-1]

    _settings(copy, turn)
    (found,) = (f for f in said(copy, "RUN-CHANGED") if f.alarm)
    assert "`task_experts.enabled_tasks` in `config.yaml` lists the same as in training in another order." in found.verdict


def _again_in_32_bits(path: Path) -> None:
    arrays = read_npz(path)
    write_npz(path, {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()})


def test_numbers_saved_again_in_32_bits_are_information_and_others_are_not(copy: Path) -> None:
    path = copy / "preprocess" / "normalizer.npz"
    kind = np.ones(734, dtype=np.int8)
    centre, scale = np.random.default_rng(0).normal(size=734), np.linspace(0.3, 3, 734)
    for folder in (copy / "preprocess", copy / "sample" / "artifacts"):  # a normaliser whose numbers need 64 bits
        Normalizer(kind, centre, scale).save(folder)
    write_fingerprint(copy)
    assert [f.severity for f in said(copy, "RUN-CHANGED")] == ["ok"]
    _again_in_32_bits(path)
    (found,) = said(copy, "RUN-CHANGED")
    assert (found.severity, found.subject) == ("info", "preprocess/normalizer.npz")
    assert [f.severity for f in said(copy, "RUN-DIFFERS")] == ["ok"]
    assert rescale(load_run(copy), load_run(copy).sample()) is None
    Normalizer(kind, centre, np.where(np.arange(734) == 3, scale * (1 + 1e-5), scale)).save(copy / "preprocess")
    assert [f.severity for f in said(copy, "RUN-CHANGED")] == ["error"]
