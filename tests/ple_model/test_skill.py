"""The losses of a row by hand and by scikit-learn; skill and its intervals; baselines that are fitted once and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm as normal
from sklearn.metrics import log_loss as sklearn_log_loss

from ple_model import baseline_folder, boosting
from ple_model import baselines as fits
from ple_model.baseline_folder import REACHABLE
from ple_model.baselines import measure_all
from ple_model.boosting import fit_boosting
from ple_model.cli import main
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.interval import Interval
from ple_model.linear import Standardiser, fit_linear
from ple_model.losses import huber
from ple_model.metrics import CLAMP
from ple_model.row_loss import Yardstick, centre, yardstick, yardstick_of
from ple_model.skill import Resamples, behind, lend, measure, rows_in, skill, stored, why_not
from ple_model.tasks import TASKS
from ple_model.train import Options, train
from tests.factories import random_context
from tests.fakes import BRANDS, make_batch, tiny_config

WORST = -np.log(CLAMP)
SOME = ("churn", "ltv", "channel", "brand_prediction")


def judge(task: str, labels: object, **more: object) -> Yardstick:
    found = yardstick(TASKS[task], labels, **more)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_binary_rows_loss_is_its_log_loss() -> None:
    y, p = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.5])
    found = judge("churn", [1, 0, 0, 0, -1])
    np.testing.assert_allclose(found.of_probabilities(y, p), [-np.log(0.9), -np.log(0.8), -np.log(0.5)])
    assert found.of_probabilities(y, p).mean() == pytest.approx(sklearn_log_loss(y, p))
    assert found.rows == 4
    assert found.constant == ((1 + 0.5) / (4 + 1),)
    np.testing.assert_allclose(found.of_constant([1.0, 0.0]), [-np.log(0.3), -np.log(0.7)])
    np.testing.assert_allclose(found.of_probabilities([1.0, 0.0, 1.0], [np.nan, np.nan, 0.0]), [WORST] * 3)


def test_a_classes_rows_loss_is_its_log_loss() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50)
    y = rng.integers(0, 3, 50)
    found = judge("channel", [0, 0, 1, -1])
    assert found.of_probabilities(y, p).mean() == pytest.approx(sklearn_log_loss(y, p, labels=[0, 1, 2]))
    np.testing.assert_allclose(found.constant, np.array([2.5, 1.5, 0.5]) / 4.5)
    np.testing.assert_allclose(found.of_constant([2]), [-np.log(0.5 / 4.5)])
    p[0, (y[0] + 1) % 3] = np.inf  # another class than the row's own: nothing of the row is to be believed
    assert found.of_probabilities(y, p)[0] == pytest.approx(WORST)


def test_an_amounts_rows_loss_is_that_of_its_training() -> None:
    rng = np.random.default_rng(1)
    labels, y, p = rng.normal(3, 2, 200), rng.normal(3, 2, 30), rng.normal(3, 4, 30)
    squared, bent = judge("engagement", labels), judge("ltv", labels, delta=0.7)
    mean, std = labels.mean(), labels.std()
    np.testing.assert_allclose(squared.of_amounts(y, p), ((y - p) / std) ** 2)
    ours = huber(torch.from_numpy((p - mean) / std), torch.from_numpy((y - mean) / std), 0.7).numpy()
    np.testing.assert_allclose(bent.of_amounts(y, p), ours)
    assert squared.constant[0] == pytest.approx(mean)
    far = bent.of_amounts([0.0], [np.nan])  # the end of the training labels that is farther away
    np.testing.assert_allclose(far, bent.of_amounts([0.0], [labels.max()]))
    scaled = judge("ltv", labels, scale=(10.0, 5.0))
    np.testing.assert_allclose(scaled.of_amounts([10.0], [15.0]), [0.5])


def test_the_constant_of_an_amount_has_the_lowest_loss_of_all() -> None:
    labels = np.random.default_rng(2).exponential(2.0, 500)
    found = judge("ltv", labels)
    lowest = found.of_constant(labels).mean()
    others = [found.of_amounts(labels, np.full(500, c)).mean() for c in np.linspace(labels.min(), labels.max(), 400)]
    assert lowest <= min(others) + 1e-9
    assert centre([4.0], "huber", 1.0) == pytest.approx(4.0)


def test_a_label_of_several_outputs_is_judged_by_their_mean() -> None:
    rng = np.random.default_rng(3)
    labels, y, p = rng.normal(size=(60, 12)), rng.normal(size=(5, 12)), rng.normal(size=(5, 12))
    found = judge("category_uplift", labels)
    np.testing.assert_allclose(found.of_amounts(y, p), (((y - p) / labels.std()) ** 2).mean(axis=1))
    np.testing.assert_allclose(found.constant, labels.mean(axis=0))
    assert found.of_constant(y).shape == (5,)


def test_a_brand_that_nobody_bought_is_not_impossible() -> None:
    found = judge("brand_prediction", [0, 0, 2], classes=4)
    np.testing.assert_allclose(found.constant, np.array([2.5, 0.5, 1.5, 0.5]) / 5)
    assert found.known([3, 4, -1, np.nan]).tolist() == [True, False, False, False]


@pytest.mark.parametrize("task", ["churn", "nba", "ltv", "category_uplift"])
def test_a_yardstick_survives_its_file(task: str) -> None:
    labels = np.random.default_rng(0).integers(0, 2, (40, 12) if task == "category_uplift" else 40).astype(float)
    found = judge(task, labels)
    assert yardstick_of(json.loads(json.dumps({**found.to_dict(), "of a later release": 1}))) == found
    assert yardstick(TASKS[task], np.full(3, np.nan)) is None


def test_skill_is_one_less_the_share_of_the_constants_loss() -> None:
    rng = np.random.default_rng(4)
    constant = rng.uniform(0.5, 1.5, 600)
    ids = [f"c{i // 3}" for i in range(600)]
    found = skill(0.8 * constant, constant, ids)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    noisy = skill(constant * rng.uniform(0.4, 1.4, 600), constant, ids)
    assert noisy.low < noisy.value < noisy.high < noisy.low + 0.1
    assert not np.isfinite(skill([1.0], [2.0], ["a"]).low)


def test_intervals_are_of_customers_and_not_of_rows() -> None:
    rng = np.random.default_rng(5)
    one = rng.normal(1.0, 0.5, 300)
    few = skill(one, np.ones(300), np.arange(300))
    copies = skill(np.repeat(one, 10), np.ones(3000), np.repeat(np.arange(300), 10))
    assert copies.value == pytest.approx(few.value)
    assert copies.high - copies.low == pytest.approx(few.high - few.low, rel=0.05)


def test_what_is_compared_is_paired() -> None:
    rng = np.random.default_rng(6)
    constant = np.ones(500)
    hard = rng.exponential(1.0, 500)  # rows that are hard for both
    ids = np.arange(500)
    paired = behind(hard + 0.01, hard, constant, ids)
    assert paired.low > 0
    alone = skill(hard, constant, ids)
    assert alone.high - alone.low > 20 * (paired.high - paired.low)


def test_many_customers_are_resampled_in_groups_with_the_same_spread() -> None:
    loss = np.random.default_rng(7).normal(1.0, 1.0, 20_000)
    found = Resamples(np.arange(20_000)).share(loss, np.ones(20_000))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / np.sqrt(20_000), rel=0.15)


Labels = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float64]]


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("churn", lambda x, g: (x[:, 0] + 0.3 * g.normal(size=len(x)) > 0.5).astype(float)),
        ("ltv", lambda x, g: x[:, 0] - x[:, 1] + 0.3 * g.normal(size=len(x))),
        ("channel", lambda x, g: np.digitize(x[:, 0] + 0.3 * g.normal(size=len(x)), [-0.5, 0.5]).astype(float)),
    ],
)
def test_a_linear_model_beats_a_constant_where_there_is_something(task: str, labels: Labels) -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(900, 30)).astype(np.float32)
    y = labels(x, rng)
    x[:, 5] = 4.0  # a column without variation
    x[::7, 6] = np.nan
    x[3, 7] = np.inf
    train, test = x[:600].copy(), x[600:].copy()
    test[0, 0] = 1e30  # far beyond what training had: no answer is sent anywhere
    scale = Standardiser.fit(train, slice(20, 30))
    assert 5 not in scale.used
    assert np.isfinite(scale(test)).all()
    found = judge(task, y[:600])
    fitted = fit_linear(found, scale(train), y[:600], np.arange(600) % 6 == 0)
    assert fitted is not None
    of = found.of_amounts if found.kind == "regression" else found.of_probabilities
    mine = skill(of(y[600:], fitted(scale(test))), found.of_constant(y[600:]), np.arange(300))
    assert mine.low > 0.3
    noise = np.random.default_rng(9).permutation(y[:600])
    useless = fit_linear(found, scale(train), noise, np.arange(600) % 6 == 0)
    assert useless is not None
    nothing = skill(of(y[600:], useless(scale(test))), found.of_constant(y[600:]), np.arange(300))
    assert -0.1 < nothing.value < 0.05  # the strength that held-out customers ask for leaves next to nothing


def test_boosting_stops_at_its_best_round() -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=(600, 12)).astype(np.float32)
    y = rng.permutation(np.repeat([0.0, 1.0], [540, 60]))
    fitted = fit_boosting(TASKS["churn"], x, y, 0)
    assert fitted is not None
    found = judge("churn", y)
    test = rng.normal(size=(4000, 12)).astype(np.float32)
    drawn = (rng.random(4000) < 0.1).astype(float)
    assert found.of_probabilities(drawn, fitted(test)).mean() < 1.02 * found.of_constant(drawn).mean()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of few tasks with baselines; not to be changed."""
    parts = [
        make_batch(260, "train", ("2025-03-01", "2025-04-01"), 0),
        make_batch(90, "validation", ("2025-04-01",), 100),
        make_batch(90, "test", ("2025-05-01",), 200),
    ]
    few = [
        replace(b, inputs=replace(b.inputs, targets={t: (b.inputs.targets or {})[t] for t in SOME}, txn_seq=None))
        for b in parts
    ]
    context = replace(random_context(0, brands=BRANDS), label_scalers={})
    return write_dataset(tmp_path_factory.mktemp("skill") / "few", few, context=context, name="few", group_rows=64)


@pytest.fixture(scope="module")
def kept(few: Dataset) -> Dataset:
    told: list[str] = []
    found = measure(few, lambda share, what: told.append(what))
    assert found.unkept == ""
    assert told[-1] == f"{SOME[-1]} done" or told[-1].endswith(" done")
    return few


def test_what_was_planted_is_found_and_kept(kept: Dataset) -> None:
    found = stored(kept)
    assert found is not None
    assert why_not(kept) == ""
    assert set(found.tasks) == set(SOME)
    for task in ("churn", "ltv", "channel"):
        loss = found.tasks[task].splits["test"].loss
        assert min(loss["linear"], loss["boosting"]) < 0.95 * loss["constant"], task
    brand = found.tasks["brand_prediction"].splits["test"].loss
    assert set(brand) == {"constant"}
    assert "reachable" not in found.tasks["churn"].splits["test"].loss
    assert {"recency", "prior_spend"} <= set(found.tasks["churn"].splits["test"].loss)
    assert "recency" not in found.tasks["ltv"].splits["test"].loss
    for split in ("validation", "test"):
        for task, one in found.tasks.items():
            rows = found.losses(task, split)
            for name, mean in one.splits[split].loss.items():
                assert len(rows[name]) == kept.rows(split)
                assert np.isfinite(rows[name]).sum() == one.splits[split].rows
                assert np.nanmean(rows[name]) == pytest.approx(mean, rel=1e-5)


def changed(data: Dataset, out: Path, **columns: Callable[[NDArray[np.generic]], NDArray[np.generic]]) -> Dataset:
    """A copy whose validation and test rows have other values in these columns."""
    batches = [data.load(s) for s in ("train", "validation", "test")]
    for i, b in enumerate(batches[1:], 1):
        targets = dict(b.inputs.targets or {})
        inputs = b.inputs
        for name, change in columns.items():
            if name == "features":
                inputs = replace(inputs, features=torch.from_numpy(change(inputs.features.numpy())))
            else:
                targets[name] = torch.from_numpy(change(targets[name].numpy()))
        batches[i] = replace(b, inputs=replace(inputs, targets=targets))
    return write_dataset(out, batches, context=data.context(), normalizer=data.normalizer(), group_rows=64)


def test_nothing_of_validation_or_test_enters_a_fit(kept: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels and inputs of the rows outside training: the answers to a probe are the same, to the last bit."""
    probe = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]

    def answers(data: Dataset) -> list[NDArray[np.float64]]:
        said: list[NDArray[np.float64]] = []
        monkeypatch.setattr(boosting, "BLIND_ROUNDS", 3)
        for name in ("fit_linear", "fit_boosting", "fit_column"):
            inner = getattr(fits, name)

            def spy(*a: object, inner: Callable[..., object] = inner, name: str = name, **k: object) -> object:
                predict = inner(*a, **k)
                if callable(predict):
                    width = 1 if name == "fit_column" else np.shape(a[1])[1]
                    asked = probe[:, 0] if name == "fit_column" else np.repeat(probe, width, axis=1)
                    said.append(np.asarray(predict(asked)))
                return predict

            monkeypatch.setattr(fits, name, spy)
        measure_all(data, keep=False)
        monkeypatch.undo()
        return said

    other = changed(
        kept, tmp_path / "other", churn=lambda y: np.where(y >= 0, 1 - y, y), ltv=lambda y: 5 - 2 * y,
        channel=lambda y: np.where(y >= 0, (y + 1) % 3, y), features=lambda x: (3 * x[:, ::-1]).copy(),
    )  # fmt: skip
    mine, others = answers(changed(kept, tmp_path / "same")), answers(other)
    assert len(mine) == len(others) > 8
    for a, b in zip(mine, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_they_are_reused_only_for_the_same_content_and_program(kept: Dataset, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(kept.path, tmp_path / "copy"))
    assert stored(Dataset.open(copy)) is not None
    file = copy / "baselines" / "baselines.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps({**plain, "made_of": "0" * 20}))
    assert stored(Dataset.open(copy)) is None
    assert "another version of this program" in why_not(Dataset.open(copy))
    file.write_text(json.dumps(plain))
    shutil.copytree(copy / "baselines", changed(kept, tmp_path / "other", ltv=lambda y: y + 1).path / "baselines")
    assert "of other data" in why_not(Dataset.open(tmp_path / "other"))
    pq.write_table(pa.table({"any": ["thing"]}), copy / REACHABLE)
    assert REACHABLE in why_not(Dataset.open(copy))
    (copy / REACHABLE).unlink()
    none = {**plain["tasks"]["churn"], "yardstick": {**plain["tasks"]["churn"]["yardstick"], "constant": []}}
    wrong = ({"tasks": 3}, {"format": 99}, {"tasks": {"churn": none}})
    for broken in ("{", "[]", *(json.dumps({**plain, **part}) for part in wrong)):
        file.write_text(broken)
        assert stored(Dataset.open(copy)) is None
        assert str(file) in why_not(Dataset.open(copy))


def test_an_extract_carries_its_rows(kept: Dataset, tmp_path: Path) -> None:
    whole = stored(kept)
    assert whole is not None
    ids = kept.table(["customer_id"]).column(0).to_pylist()
    small = kept.extract(tmp_path / "small", customers=sorted(set(ids))[::3])
    found = stored(small)
    assert found is not None
    assert found.extract
    assert {t: b.splits for t, b in found.tasks.items()} == {t: b.splits for t, b in whole.tasks.items()}
    keep = rows_in(kept, small)
    assert keep is not None
    test = keep[keep >= kept.rows("train") + kept.rows("validation")] - kept.rows("train") - kept.rows("validation")
    for task in SOME:
        for name, rows in found.losses(task, "test").items():
            np.testing.assert_array_equal(rows, whole.losses(task, "test")[name][test])
    smaller = small.extract(tmp_path / "smaller", limit=60)
    assert stored(smaller) is not None
    file = smaller.path / "baselines" / "baselines.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "made_of": "0" * 20}))
    older = stored(smaller)  # of an older program: it cannot be measured anew here, and is the same loss
    assert older is not None
    assert not older.current


def test_a_sample_of_before_takes_over_what_its_dataset_has(kept: Dataset, tmp_path: Path) -> None:
    found = stored(kept)
    assert found is not None
    small = kept.extract(tmp_path / "small", limit=120)
    carried = stored(small)
    shutil.rmtree(small.path / "baselines")
    assert lend(found, kept, small)
    again = stored(small)
    assert carried is not None
    assert again is not None
    np.testing.assert_array_equal(again.losses("ltv", "test")["boosting"], carried.losses("ltv", "test")["boosting"])
    altered = changed(small, tmp_path / "altered", ltv=lambda y: y + 1)
    assert rows_in(kept, altered) is None
    assert not lend(found, kept, altered)


def test_a_folder_that_cannot_be_written_to_is_measured_all_the_same(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(few.path, tmp_path / "copy", ignore=shutil.ignore_patterns("baselines")))

    def refuse(*a: object, **k: object) -> None:
        raise PermissionError(13, "Permission denied", str(copy))

    monkeypatch.setattr(baseline_folder, "write", refuse)
    monkeypatch.setattr(boosting, "BLIND_ROUNDS", 1)
    found = measure_all(Dataset.open(copy), quick=False, keep=True)
    assert "Permission denied" in found.unkept
    assert found.losses("churn", "test")["constant"].shape == (90,)
    assert sorted(p.name for p in copy.iterdir() if "baselines" in p.name) == []


def test_reachable_is_what_was_planted_and_never_guessed(few: Dataset, tmp_path: Path) -> None:
    copy = Dataset.open(shutil.copytree(few.path, tmp_path / "copy", ignore=shutil.ignore_patterns("baselines")))
    keys = copy.table(["customer_id", "cutoff"])
    ids, dates = keys.column(0).to_pylist(), keys.column(1).to_pylist()
    n = len(ids)
    churn = {
        "customer_id": ids,
        "cutoff": dates,
        "task": ["churn"] * n,
        "class": pa.array([None] * n, pa.int32()),
        "p": [0.25] * n,
    }
    channel = {
        "customer_id": ids[:-1] * 3, "cutoff": dates[:-1] * 3, "task": ["channel"] * (3 * n - 3),
        "class": pa.array([k for k in range(3) for _ in range(n - 1)], pa.int32()), "p": [0.5] * (n - 1) + [0.25] * (2 * n - 2),
    }  # fmt: skip
    pq.write_table(pa.concat_tables([pa.table(churn), pa.table(channel)]), copy.path / REACHABLE)
    found = measure_all(copy, keep=False, quick=True)
    y = np.asarray(copy.table(["y_churn"], "test").column(0))
    expected = np.where(y < 0, np.nan, np.where(y == 1, -np.log(0.25), -np.log(0.75)))
    np.testing.assert_allclose(found.losses("churn", "test")["reachable"], expected, rtol=1e-6)
    assert "reachable" in found.tasks["channel"].splits["validation"].loss
    assert np.isnan(found.losses("channel", "test")["reachable"][-1])
    last = np.asarray(copy.table(["y_channel"], "test").column(0))[-1]
    assert ("reachable" in found.tasks["channel"].splits["test"].loss) == (last < 0)
    assert "reachable" not in found.losses("ltv", "test")


def test_the_command_says_what_it_reuses(kept: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["baselines", str(kept.path)]) == 0
    said = capsys.readouterr()
    assert "reused" in said.err
    assert all(any(line.startswith(t) for line in said.out.splitlines()) for t in SOME)
    assert main(["baselines", str(kept.path), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert set(plain["tasks"]) == set(SOME)
    assert plain["tasks"]["churn"]["splits"]["test"]["loss"]["linear"] > 0


def test_rows_without_a_training_split_are_refused_in_one_sentence(tmp_path: Path) -> None:
    other = write_dataset(
        tmp_path / "d", [make_batch(20, "test", ("2025-05-01",), 5)], context=random_context(0, brands=BRANDS)
    )
    with pytest.raises(UserError, match="no training rows"):
        measure(other)


def test_a_training_measures_them_once_and_its_sample_carries_them(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosting, "BLIND_ROUNDS", 1)
    data = Path(shutil.copytree(few.path, tmp_path / "data", ignore=shutil.ignore_patterns("baselines")))
    over = {"training": {"phase1_epochs": 1, "phase2_epochs": 0}}
    lines: list[dict[str, object]] = []
    options = Options(sample_customers=80, baselines=True)
    run = train(Dataset.open(data), tmp_path / "run", tiny_config(over), device="cpu", progress=lines.append, options=options)
    assert [e["what"] for e in lines if e["event"] == "baselines"][-1] == "brand_prediction done"
    whole, found = stored(Dataset.open(data)), stored(run.sample())
    assert whole is not None
    assert found is not None
    assert found.extract
    assert found.tasks["ltv"] == whole.tasks["ltv"]
    lines.clear()
    again = train(
        Dataset.open(data), tmp_path / "again", tiny_config(over), device="cpu", progress=lines.append, options=options
    )
    assert not any(e["event"] == "baselines" for e in lines)
    carried = stored(again.sample())
    assert carried is not None
    found = evaluate(again, bootstrap_rounds=20)
    churn = next(t for t in found.tasks if t.task == "churn")
    assert churn.skill is not None
    assert churn.skill.losses["linear"] == pytest.approx(whole.tasks["churn"].splits["test"].loss["linear"], rel=1e-5)
    assert {"constant", "recency", "prior_spend", "linear", "gradient_boosting"} == set(churn.baselines)
    assert any("kept with" in n for n in found.notes)


@pytest.mark.parametrize("comparisons", [1, 3, 30])
def test_an_interval_among_many_is_that_of_a_normal_distribution(comparisons: int) -> None:
    wider = float(normal.ppf(1 - 0.025 / comparisons) / normal.ppf(0.975))
    found = Interval(0.5, 0.4, 0.7).among(comparisons)
    assert found.value == 0.5
    np.testing.assert_allclose((found.low, found.high), (0.5 - 0.1 * wider, 0.5 + 0.2 * wider), rtol=1e-9)
