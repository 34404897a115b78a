"""Contracts of every injector, by discovery."""

from __future__ import annotations

from copy import deepcopy
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from analysis.checks import checks
from analysis.commands_faults import seeds_of
from analysis.faults.base import TINY_CUSTOMERS, tiny_config
from analysis.faults.bench import QUICK, Request
from analysis.faults.fault import FAMILIES, Level, PlantedFault, faults, unplantable
from analysis.faults.oracle import ORACLES, oracle_of, with_changed
from analysis.faults.planter import Planter
from analysis.faults.rows import in_units
from ple_model.cli import main
from ple_model.data.dataset.columns import decode
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run

pytestmark = pytest.mark.slow

EACH = [pytest.param(f, v, id=f"{f.name}-{v.name}") for f in faults().values() for v in f.levels]


@cache
def columns_of(dataset: Dataset) -> dict[str, Any]:
    """Read-only, so that an injector that writes into what it was given fails."""
    part = dataset.manifest.files[0]
    columns = dict(decode(dataset.part_table(part), dataset.path))
    for values in columns.values():
        values.flags.writeable = False
    return columns


@pytest.fixture(scope="module")
def trained(tiny_run: Run) -> PLEClusterAdaTT:
    """The model of the tiny run, which nobody changes; a model of four epochs may lack what is taken away."""
    model = tiny_run.model()
    with torch.no_grad():
        model.get_parameter("hmm.hmm_default_embeddings.lifecycle").fill_(0.1)
    return model


def usable(fault: PlantedFault) -> set[str]:
    """Ids, or patterns of ids, of what names the fault's cause."""
    oracle = with_changed(oracle_of(fault), ["cgc.linear.weight"] if fault.kind == "weight" else [])
    return {*fault.checks, *(i for a in oracle.usable for i in a.id.split("|") if i != "*")}


def test_every_check_is_planted_or_said_to_be_unplantable() -> None:
    answers = set().union(*map(usable, faults().values()))
    planted = {i for i in checks() if any(fnmatchcase(i, p) for p in answers)}
    assert set(checks()) - planted == set(unplantable())
    assert {p for p in answers if "*" not in p} <= set(checks())


@pytest.mark.parametrize("fault", [pytest.param(f, id=f.name) for f in faults().values()])
def test_a_fault_has_a_clear_level_first_and_expects_checks_that_exist(fault: PlantedFault) -> None:
    assert fault.levels[0].clear
    assert fault.required or fault.name in ORACLES
    assert fault.family in FAMILIES
    assert len({v.name for v in fault.levels}) == len(fault.levels)
    for e in (*fault.required, *fault.permitted):
        assert e.id in checks()
    assert fault.summary.endswith(".")


@pytest.mark.parametrize(("fault", "level"), EACH)
def test_an_injector_changes_what_it_says(
    fault: PlantedFault, level: Level, tiny_dataset: Dataset, trained: PLEClusterAdaTT
) -> None:
    plant = fault.plant(level.strength)
    assert plant.trains == (fault.kind in ("config", "training"))
    units = None if plant.units is None else in_units(tiny_dataset.normalizer(), plant.units)
    for change in (plant.rows, plant.training_rows, units):
        if change is not None:
            before = columns_of(tiny_dataset)
            after = dict(before)
            change(after, np.random.default_rng(0))
            # some injectors only add presence columns; rows stay but where they are what is changed, and something differs
            rows = len(before["customer_id"])
            same = (
                fault.name not in ("rows-duplicated", "few-rows-no-dropout", "customers-filtered")
                or level.strength == 600 > rows
            )
            assert len({len(v) for v in after.values()}) == 1
            assert (len(after["customer_id"]) == rows) is same
            if level.strength == 600 > rows:
                continue  # fewer rows than are to be left
            assert any(
                k not in before or not np.array_equal(before[k], after[k])
                for k in after
                if k.startswith(("p_", "y_")) or k in before
            )
    if plant.weights is not None:
        model, before = deepcopy(trained), trained.state_dict()
        with torch.no_grad():
            plant.weights(model)
        changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        assert changed
        assert len(changed) <= 5 or fault.name.endswith("-reinitialised")
    if plant.overrides and not fault.raises:
        assert tiny_config(plant.overrides).to_dict() != tiny_config().to_dict()
    if plant.built is not None:
        plant.built(PLEClusterAdaTT(tiny_config()))
    assert plant.rows or plant.units or plant.weights or plant.files or plant.refit or plant.limit or plant.trains


def test_the_config_fault_that_must_stop_a_run_stops_it_with_the_cycle_in_the_sentence() -> None:
    fault = faults()["transfer-cycle"]
    with pytest.raises(UserError) as e:
        PLEClusterAdaTT(tiny_config(fault.plant(1.0).overrides))
    assert all(word in str(e.value) for word in fault.raises)


def test_only_takes_a_fault_or_a_check_and_names_the_nearest() -> None:
    assert [f.name for f in Request(only=("sae-dead",)).chosen()] == ["sae-dead"]
    assert {f.name for f in Request(only=("CGC-COLLAPSE",)).chosen()} == {"gate-collapsed", "gate-bias-saturated"}
    with pytest.raises(UserError, match="did you mean 'sae-dead'"):
        Request(only=("sae-ded",)).chosen()
    assert set(QUICK) <= set(faults())


def test_seeds_are_numbers() -> None:
    assert seeds_of("3,5,3", (1,)) == (3, 5)
    assert seeds_of(None, (1,)) == (1,)
    with pytest.raises(UserError, match="'x' is not a seed"):
        seeds_of("3,x", (1,))


def test_ple_faults_rejects_what_it_does_not_know_and_lists_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--only", "sae-ded"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main(["faults", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in faults())


def test_the_tiny_configuration_trains_more_epochs_than_its_checks_need() -> None:
    config = tiny_config()
    assert config.training.phase1_epochs >= 4
    assert config.adatt.warmup_epochs < config.adatt.freeze_epoch < config.training.phase1_epochs
    assert TINY_CUSTOMERS >= 200
    assert Planter is not None
