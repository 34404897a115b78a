"""A run or a dataset with numbers that are no numbers can be opened by `diagnose`, which says so and counts no hit for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis.cohort import CohortFilter
from analysis.diagnose import Diagnosis, diagnose
from analysis.faults.data import FLOAT_FIELDS
from analysis.faults.fault import faults
from analysis.faults.rows import changed, rewrite
from ple_model.data.checking.finite import dataset_faults
from ple_model.data.dataset.reader import Dataset
from ple_model.files import read_tensors, write_tensors
from ple_model.run import Run, load_run

pytestmark = pytest.mark.slow


@pytest.fixture
def broken(tiny_run: Run, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    shutil.copytree(tiny_run.path, out, ignore=shutil.ignore_patterns("analysis", "state"))
    return out


def subjects(found: Diagnosis, id: str) -> list[str]:
    return [f.subject for f in found.of(id) if f.severity == "error"]


def poison(run: Path, *tensors: str) -> None:
    stored, meta = read_tensors(run / "model.safetensors")
    for name in tensors:
        stored[name].view(-1)[0] = float("nan")
    write_tensors(run / "model.safetensors", stored, meta)


def test_every_module_with_a_nan_is_named_and_no_class_is_picked_from_it(broken: Path) -> None:
    poison(broken, "brands.keys", "evidential.bias", "sae.mean", "hmm.hmm_default_embeddings.journey")
    plain = json.loads((broken / "preprocess" / "calibration.json").read_text())
    plain["churn"]["a"] = None
    (broken / "preprocess" / "calibration.json").write_text(json.dumps(plain))
    found = diagnose(broken)
    assert set(subjects(found, "WEIGHTS-NONFINITE")) == {"brands", "evidential", "sae", "hmm", "calibration"}
    assert subjects(found, "OUTPUT-NONFINITE") == ["tasks"]
    assert found.worst == "error"
    rows = found.store.rows(["c:brand_prediction", "p:brand_prediction", "p:churn"])
    assert set(rows["c:brand_prediction"].tolist()) == {-1}
    assert np.isnan(rows["p:brand_prediction"].astype(float)).all()
    assert "brand_prediction" not in found.statistics.quality or found.statistics.quality["brand_prediction"].accuracy == 0.0
    assert [f.verdict for f in found.findings if "nan%" in f.verdict] == []
    assert {f.severity for f in found.of("SAE-")} == {"unknown"}


def test_nan_in_a_field_is_said_with_its_share_and_what_it_reaches(broken: Path, tmp_path: Path) -> None:
    def change(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        hit = np.arange(len(columns["customer_id"])) % 20 == 0
        changed(columns, "hmm_behavior")[hit] = np.nan
        changed(columns, "features")[hit, 40] = np.inf

    data = rewrite(load_run(broken).sample(), tmp_path / "data", change)
    found = diagnose(broken, data)
    behaviour = {t for t, m in found.statistics.facts.hmm_modes.items() if m == "behavior"}
    by_subject = {f.subject: f for f in found.of("INPUT-NONFINITE")}
    part = next(k for k in by_subject if k != "hmm_behavior")
    assert part.startswith("features:")
    reached = {e.name: e for e in by_subject["hmm_behavior"].evidence}
    assert reached["rows with NaN or Inf"].value == pytest.approx(0.05, abs=0.01)
    assert behaviour <= set(reached["tasks it reaches"].text.split(", "))
    assert {e.name: e for e in by_subject[part].evidence}["experts it reaches"].value > 0
    cohort = found.store.cohort()
    assert np.isfinite([v[0] for v in cohort.uncertainty.values()]).all()
    assert found.statistics.effects is not None
    assert np.isfinite(found.statistics.effects.mean_change).all()


@pytest.fixture(scope="module")
def partly(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Diagnosis, Dataset]:
    """A run over rows of which every twentieth has an infinite feature, and every tenth an infinite readable column."""
    folder = tmp_path_factory.mktemp("partly")
    out = Path(shutil.copytree(tiny_run.path, folder / "run", ignore=shutil.ignore_patterns("analysis", "state")))

    def change(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        rows = np.arange(len(columns["customer_id"]))
        changed(columns, "features")[rows % 20 == 0, 40] = np.inf
        changed(columns, "raw:spend_28d")[rows % 10 == 0] = np.inf

    data = rewrite(load_run(out).sample(), folder / "data", change)
    return diagnose(out, data), data


def test_a_cohort_leaves_out_gates_that_are_no_numbers_and_counts_them(partly: tuple[Diagnosis, Dataset]) -> None:
    found, _ = partly
    whole, everyone = found.statistics.gates, found.store.cohort((CohortFilter("row", "ge", (0,)),))
    assert whole is not None
    assert everyone.n == found.statistics.n > everyone.gates.n == whole.n
    np.testing.assert_allclose(everyone.gates.mean, whole.mean, rtol=1e-5)
    np.testing.assert_allclose(everyone.gates.mean.sum(1), 1.0, rtol=1e-5)  # over all rows it was 0.95
    np.testing.assert_allclose(everyone.gates.mean_entropy, whole.mean_entropy, rtol=1e-5)
    np.testing.assert_allclose(everyone.gates.load.sum(1), 1.0)
    assert everyone.gates.nonfinite.tolist() == whole.nonfinite.tolist() == [everyone.n - whole.n] * len(whole.tasks)
    sound = CohortFilter("row", "in", tuple(range(1, 20)))
    assert found.store.cohort((sound,)).gates.n == 19


def test_infinity_in_a_readable_column_is_named_and_in_no_mean(partly: tuple[Diagnosis, Dataset]) -> None:
    found, data = partly
    (finding,) = [f for f in found.of("INPUT-NONFINITE") if f.subject == "raw:spend_28d"]
    assert finding.severity == "error"
    assert {e.name: e for e in finding.evidence}["rows with NaN or Inf"].value == pytest.approx(0.1, abs=0.005)
    _, _, mean = found.store.group_mean(["raw:spend_28d"], "split")
    assert np.isfinite(mean).all()
    fault = next(f for f in dataset_faults(data) if f.column == "raw:spend_28d")
    assert (fault.severity, fault.rows) == ("error", -(-data.rows() // 10))
    assert "an infinite number in 10.00% of rows" in fault.message
    assert "customer '" in fault.example


def test_every_input_field_of_numbers_has_its_planted_fault() -> None:
    planted = {e.subject for f in faults().values() for e in f.required if e.id == "INPUT-NONFINITE"}
    assert planted == set(FLOAT_FIELDS)
