"""What is said of an encoder: hidden days, which of them count, few labels, and what is kept of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.results.sequences import CustomerSteps, LearnedMap, SequenceChannel
from analysis.sequences.alike import moved_alike
from analysis.sequences.channels import CHANNELS
from analysis.sequences.customer import customer_steps
from analysis.sequences.hiding import blocks_of, hide_each
from analysis.sequences.learned import learn, load, place
from analysis.sequences.probe import half_of, probe, summary
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.run import Run
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.sequences.series import Series
from tests.encoders import tiny_encoder


@pytest.fixture(scope="session")
def encoder(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> EncoderRun:
    return load_encoder(tiny_encoder(tmp_path_factory, small_dataset))


def test_channels_are_as_many_as_the_fields_have() -> None:
    assert {f: len(c) for f, c in CHANNELS.items()} == {f: FIELD_SHAPES[f][1] for f in CHANNELS}
    assert SequenceChannel("spend", "log").shown(np.log1p(np.array([0.0, 99.0]))).tolist() == pytest.approx([0, 99])
    assert SequenceChannel("flow", "log").shown(np.array([-np.log1p(5.0)])).tolist() == pytest.approx([-5])


def test_a_spike_that_nothing_announces_is_the_oddest_day() -> None:
    torch.manual_seed(0)
    net = SequenceEncoder(EncoderConfig(width=8, heads=2, layers=1, patch=5, stride=5), 2, 42).eval()
    values = 1 + 0.1 * torch.randn(1, 42, 2)
    values[0, 17] = 25.0
    found = hide_each(net, Series.whole(values))
    assert int(found.error.argmax()) == 17
    assert blocks_of(net) == ((0, 2), *((first, first + 5) for first in range(2, 42, 5)))
    assert found.weight.shape == (9,)
    seen = torch.arange(42) >= 20
    absent = hide_each(net, Series(torch.where(seen[None, :, None], values, 0.0), seen[None]))
    assert torch.isnan(absent.error[:20]).all()
    assert not absent.weight[:4].any()
    untaught = SequenceEncoder(EncoderConfig(width=8, heads=2, layers=1, patch=5, stride=5, objective="next"), 2, 42).eval()
    silent = hide_each(untaught, Series.whole(values))
    assert torch.isnan(silent.restored).all()
    assert not silent.error.any()
    assert silent.weight.any()


def test_one_customer_by_the_days_of_the_calendar(encoder: EncoderRun, tiny_run: Run) -> None:
    customer = str(tiny_run.sample().table(["customer_id"]).column("customer_id")[0].as_py())
    found = customer_steps(encoder, tiny_run, customer)
    assert (found.values.shape, found.restored.shape, found.error.shape) == ((180, 16), (180, 16), (180,))
    assert np.datetime64(found.steps[-1]) == np.datetime64(found.cutoff) - 1
    assert found.gate is not None
    assert found.gate.shape == (16,)
    assert found.attention is not None
    assert float(found.attention.sum()) == pytest.approx(1, abs=1e-5)
    assert found.span(len(found.blocks) - 1) == (found.steps[-30], found.steps[-1])
    assert [days for days, _ in found.silence] == [7, 28]
    assert all(0 < chance < 1 for _, chance in found.silence)
    with pytest.raises(UserError, match="no customer 'nobody'"):
        customer_steps(encoder, tiny_run, "nobody")


def test_half_and_recent_by_hand() -> None:
    values = np.zeros((4, 1), np.float32)
    found = CustomerSteps(
        "a", "2026-01-05", 0, True, CHANNELS["txn_seq"][:1], values, values, np.zeros(4, np.float32),
        ((0, 1), (1, 2), (2, 3), (3, 4)),
        np.array([0.1, 0.2, 0.6, 0.1], np.float32), None, None, None,
    )  # fmt: skip
    assert found.half() == 1
    assert found.recent(2) == pytest.approx(0.7)
    assert found.span(2) == ("2026-01-03", "2026-01-03")


def test_what_was_worked_out_is_read_back(encoder: EncoderRun, tiny_run: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis")))
    opened = replace(tiny_run, path=run)
    stages: list[str] = []
    made = learn(encoder, opened, note=stages.append)
    again = load(place(encoder.path, run, None))
    assert again is not None
    np.testing.assert_array_equal(again.xy, made.xy)
    np.testing.assert_array_equal(again.day_quantiles, made.day_quantiles)
    assert again.probe == made.probe
    assert [r.steps for r in again.silence] == [7, 28]
    assert repr(again.silence) == repr(made.silence)  # a NaN equals none
    assert made.ahead is not None
    assert again.ahead is not None
    np.testing.assert_array_equal(again.ahead.weight, made.ahead.weight)
    np.testing.assert_array_equal(again.ahead.half, made.ahead.half)
    assert (again.ahead.error, again.ahead.covered) == (made.ahead.error, made.ahead.covered)
    owners = {int(r): f"c{int(r) // 2}" for r in again.row}  # two rows each
    alike = moved_alike(again, int(again.row[3]), owners, k=4)
    assert len(alike.rows) == len(alike.paths) == 4
    assert len({owners[int(r)] for r in alike.rows} - {owners[int(again.row[3])]}) == 4
    assert int(again.row[3]) not in alike.rows
    assert (np.diff(alike.distance) >= 0).all()
    assert alike.paths[0][0] == (0, 0)
    assert alike.paths[0][-1] == (179, 179)
    assert stages[0] == "reading"
    place(encoder.path, run, None).with_suffix(".json").write_text("{}")
    assert load(place(encoder.path, run, None)) is None


def test_percentiles_are_those_of_the_training_days() -> None:
    learned = LearnedMap(np.zeros(0, np.int64), np.zeros((0, 2), np.float32), np.zeros(0, np.float32),
                         np.linspace(0, 10, 101).astype(np.float32), (), 7)  # fmt: skip
    found = learned.percentile(np.array([0.0, 5.0, 10.0, np.nan]))
    assert found[:3].tolist() == pytest.approx([0, 50, 100])
    assert np.isnan(found[3])


def test_the_probe_finds_what_is_planted_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    told = np.concatenate([y[:, None] + 0.5 * rng.standard_normal((600, 1)), rng.standard_normal((600, 5))], axis=1)
    noise = rng.standard_normal((600, 6))
    fitted = half_of([f"c{i // 2}" for i in range(600)])
    assert (fitted[::2] == fitted[1::2]).all()
    rows = probe({"encoder": told, "summary": noise}, {"churn": y, "rare": (np.arange(600) == 3).astype(int)}, fitted)
    assert [(r.task, r.labels) for r in rows] == [("churn", 15), ("churn", 60), ("churn", 300)]
    assert all(r.encoder > 0.75 for r in rows)
    assert all(abs(r.summary - 0.5) < 0.12 for r in rows)


def test_the_summary_by_hand() -> None:
    values = np.array([[[9.0], [0.0], [2.0], [4.0]]])
    seen = np.array([[False, True, True, True]])
    mean, spread, largest, busy, month, week, share = summary(values, seen)[0].tolist()
    assert (mean, largest, busy, share) == (2, 4, pytest.approx(2 / 3), 0.75)
    assert spread == pytest.approx(np.std([0, 2, 4]))
    assert (month, week) == (2, 2)
