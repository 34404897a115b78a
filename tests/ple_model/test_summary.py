import pytest

from ple_model.config import Config, load_config
from ple_model.model import PLEClusterAdaTT
from ple_model.registry import expert_classes
from ple_model.summary import REFERENCE
from tests.fakes import reference_config

KNOWN = REFERENCE | {n: c.reference for n, c in expert_classes().items() if c.reference is not None}


@pytest.fixture(scope="module")
def default() -> PLEClusterAdaTT:
    return PLEClusterAdaTT(reference_config())


def test_the_summary_counts_every_parameter_once(default: PLEClusterAdaTT) -> None:
    assert default.summary().total == sum(p.numel() for p in default.parameters())


def test_every_module_of_the_reference_is_listed_with_its_estimate(default: PLEClusterAdaTT) -> None:
    rows = {r.module: r for r in default.summary().rows}
    assert {k: rows[k].reference for k in KNOWN} == {k: known.parameters for k, known in KNOWN.items()}


def test_exactly_what_is_a_third_away_is_explained(default: PLEClusterAdaTT) -> None:
    for row in default.summary().rows:
        far = row.reference is not None and not 2 / 3 <= row.parameters / row.reference <= 4 / 3
        assert bool(row.explanation) == far, row
        assert not far or row.explanation == KNOWN[row.module].why


def test_counts_that_the_configuration_fixes(default: PLEClusterAdaTT) -> None:
    rows = {r.module: r.parameters for r in default.summary().rows}
    assert rows["cgc"] == 16 * (576 * 8 + 8)
    assert rows["hmm"] == 3 * (16 * 32 + 32 + 64 + 32)
    assert rows["evidential"] == 3168
    assert rows["adatt"] == 0
    assert rows["auxiliary"] == pytest.approx(40_000, rel=0.1)


def test_it_prints_as_a_table_with_its_reasons(default: PLEClusterAdaTT) -> None:
    text = str(default.summary())
    assert "1,329,984   2,700,000" in text
    assert "sae: tied weights" in text
    assert "other widths" not in text


@pytest.mark.parametrize("config", [load_config("small"), reference_config("task_experts.tasks.uplift.enabled=true")])
def test_another_size_says_that_the_estimates_are_not_for_it(config: Config) -> None:
    text = str(PLEClusterAdaTT(config).summary())
    assert "this configuration has other widths or tasks" in text
