"""Several processes train what one would: the same steps, the same bits after a kill, and one of them alone writes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import HashStore

from ple_model import cli
from ple_model.badstep import BadStep
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.losses import masked_mean
from ple_model.model import PLEClusterAdaTT
from ple_model.new_run import create_run
from ple_model.run import load_run
from ple_model.train import Options, train
from ple_model.training.launch import Launch, launched, require_alone
from ple_model.training.part_of_batch import PartOfBatch
from ple_model.training.processes import Processes, together
from ple_model.training.ranks import ONE, Ranks
from ple_model.training.session import LostProcess
from ple_model.training.trainer import Trainer
from ple_model.training.words import ElsewhereFailed, StoreWords
from ple_model.whole_batch import WholeBatch
from tests.fakes import make_dataset, tiny_config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `ranks_driver` found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ple_model.ranks_driver", str(tmp_path_factory.mktemp("ranks"))],
        cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a line by where it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, f"{name}.{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers(inner, f"{name}.{place}")
    elif isinstance(value, int | float):
        yield name, float(value)


class _TwoTerms:
    """Losses of two terms."""

    def map(self, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
        return [change(torch.tensor(1.0)), change(torch.tensor(2.0))]


@pytest.mark.parametrize(("own", "expected"), [(2, ([1, 2, 3], [5.0, 5.0], None)), (0, (None, [5.0, 5.0], None))])
@pytest.mark.parametrize("apart", [False, True])
def test_gradients_are_the_batchs_whichever_way_it_is_told_who_has_one(
    apart: bool, own: int, expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three weights the first has a gradient here, the second elsewhere, the third nowhere."""
    ranks = Processes(Launch(0, 2), HashStore())
    ranks._part = PartOfBatch(4, own, 2, ranks)
    weights = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 2, 1)]
    weights[0].grad = torch.tensor([1.0, 2.0, 3.0])
    sums, losses = [0.0, 0.0, 0.0, 5.0, 5.0, 0.0], [10.0, 20.0]
    elsewhere = {3: [0.0, 1.0, 0.0], 8: sums + losses, 11: [*sums, 0.0, 1.0, 0.0, *losses]}  # by what is sent
    monkeypatch.setattr(ranks, "_told_apart", lambda device: apart)
    monkeypatch.setattr(ranks, "_add_up", lambda value: value.add_(torch.tensor(elsewhere[len(value)])))
    found = ranks.stepped(weights, _TwoTerms())  # type: ignore[arg-type]
    assert [None if w.grad is None else w.grad.tolist() for w in weights] == list(expected)
    assert [float(t) for t in found] == ([11.0, 22.0] if own else [10.0, 20.0])  # type: ignore[attr-defined]


def test_two_processes_take_the_steps_of_one(outcome: dict[str, Any]) -> None:
    """Losses, gradients, gates, affinities, validation and blends of each epoch, up to the order of summation."""
    one, two = outcome["still 1"], outcome["still 2"]
    assert one["codes"] == [0]
    assert two["codes"] == [0, 0]
    assert [e["epoch"] for e in one["epochs"]] == [1, 2]
    for alone, shared in zip(one["epochs"], two["epochs"], strict=True):
        expected, found = dict(numbers(alone)), dict(numbers(shared))
        assert expected.keys() == found.keys()
        assert 0 < expected[".train.n.churn"] <= 4  # labels that few processes have; those of the skipped step do not count
        assert {k: v for k, v in found.items() if v != pytest.approx(expected[k], rel=2e-4, abs=2e-6)} == {}
        losses = {k: v for k, v in expected.items() if k.startswith((".train", ".valid"))}
        assert {k: found[k] for k, v in losses.items() if found[k] != pytest.approx(v, rel=1e-5, abs=1e-7)} == {}


def test_a_row_that_is_no_number_is_passed_over_and_told_alike(outcome: dict[str, Any]) -> None:
    one, two = outcome["still 1"], outcome["still 2"]
    assert [e["nonfinite_steps"] for e in two["epochs"]] == [1, 1]
    assert two["warnings"] == one["warnings"]
    assert any("'txn_seq' in 1 of 16 rows" in w for w in two["warnings"])
    assert any(w.startswith("validation: input fields that hold NaN or Inf") for w in two["warnings"])


def test_a_training_that_was_stopped_killed_and_paused_ends_with_the_same_bits(outcome: dict[str, Any]) -> None:
    whole, resumed = outcome["whole"], outcome["resumed"]
    assert whole["status"] == resumed["status"] == "finished"
    assert resumed["weights"] == whole["weights"]
    assert resumed["epochs"] == whole["epochs"]
    assert resumed["world_size"] == 2
    assert resumed["events"].count("paused") == resumed["events"].count("continued") == 1


def test_one_process_that_is_asked_to_stop_stops_all(outcome: dict[str, Any]) -> None:
    assert outcome["stopped"]["codes"] == [0, 0]
    assert (outcome["stopped"]["status"], outcome["stopped"]["reason"]) == ("stopped", "asked to stop")


def test_a_process_that_dies_leaves_a_run_as_a_killed_training_does(outcome: dict[str, Any]) -> None:
    assert outcome["died"]["codes"] == [1, -9]
    assert outcome["died"]["status"] == "running"
    assert "checkpoint.safetensors" in outcome["died"]["state"]
    assert outcome["first died"]["codes"] == [-9, 1]
    assert outcome["first died"]["status"] == "running"


def test_a_process_that_fails_is_named(outcome: dict[str, Any]) -> None:
    assert outcome["failed"]["codes"] == [1, 1]
    assert outcome["failed"]["status"] == "failed"
    assert outcome["failed"]["reason"] == "process 1 of 2: a label of these rows is out of range"


def test_fewer_processes_go_on_with_a_warning(outcome: dict[str, Any]) -> None:
    assert outcome["fewer"]["status"] == "finished"
    assert any(w.startswith("resumed with 1 processes, the run was started with 2") for w in outcome["fewer"]["warnings"])


def test_the_first_process_alone_writes(outcome: dict[str, Any]) -> None:
    assert "manifest.json" in outcome["written by the first"]  # so that the others would be heard
    assert outcome["written by others"] == ""


def test_three_processes_of_two_validation_rows_hold_the_same_model(outcome: dict[str, Any]) -> None:
    """That were stopped while the first one fitted alone, and went on."""
    assert (outcome["three stopped"]["codes"], outcome["three stopped"]["status"]) == ([0, 0, 0], "stopped")
    assert (outcome["three"]["codes"], outcome["three"]["status"]) == ([0, 0, 0], "finished")
    assert len(outcome["three"]["states"]) == 3
    assert len(set(outcome["three"]["states"])) == 1


def test_what_fails_while_the_first_process_works_alone_ends_all(outcome: dict[str, Any]) -> None:
    assert outcome["three failed"]["codes"] == [1, 1, 1]
    assert outcome["three failed"]["status"] == "failed"
    assert outcome["three failed"]["reason"] == "a label of these rows is out of range"


def test_more_processes_than_rows_of_a_batch_do_not_go_on(outcome: dict[str, Any]) -> None:
    assert outcome["too small"]["codes"] == [1, 1, 1]
    assert outcome["too small"]["status"] == outcome["small"]["status"] == "stopped"


def test_the_autoencoder_keeps_what_one_process_keeps(outcome: dict[str, Any]) -> None:
    """Means, variances, threshold and idle latents, after a batch with a row that is no number."""
    one, two = (dict(numbers(outcome[f"still {n}"]["autoencoder"])) for n in (1, 2))
    assert one[".sae.threshold.0"] > 0
    assert two == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_torchrun_ends_the_others_when_one_dies(outcome: dict[str, Any]) -> None:
    found = outcome["torchrun"]
    assert "process 0 of 2: another process died or does not answer" in found["said"]
    assert "Traceback" not in found["said"]
    assert (found["status"], found["world_size"]) == ("running", 2)
    assert "checkpoint.safetensors" in found["state"]
    assert found["command"].startswith("torchrun --nproc-per-node 2 -m ple_model train DATASET RUN --config tiny.yaml")


# --- parts of a batch


@dataclass(frozen=True)
class Gathered:
    """What all parts send, which is known beforehand: `of(part)` says what a part sends when it is asked for `value`."""

    sent: list[Tensor]

    def total(self, value: Tensor) -> Tensor:
        return torch.stack(self.sent).sum(0)

    def every(self, value: Tensor) -> Tensor:
        return torch.stack(self.sent)


class Recorder:
    """An exchange that notes what is sent and gets nothing back."""

    def __init__(self) -> None:
        self.sent: list[Tensor] = []

    def total(self, value: Tensor) -> Tensor:
        self.sent.append(value)
        return value

    def every(self, value: Tensor) -> Tensor:
        self.sent.append(value)
        return torch.stack([value] * 3)


def of_parts(x: Tensor, ask: Callable[[PartOfBatch, Tensor], Any], world: int = 3) -> list[Any]:
    """What each of the parts of the rows `x` is answered, a part without rows included."""
    rows = [x[r::world] if len(x[r::world]) else torch.full((1, x.shape[1]), torch.nan) for r in range(world)]
    counts = [len(range(r, len(x), world)) for r in range(world)]
    sent = []
    for own, mine in zip(counts, rows, strict=True):
        recorder = Recorder()
        ask(PartOfBatch(len(x), own, min(len(x), world), recorder), mine)
        sent += recorder.sent
    whole = Gathered(sent)
    return [ask(PartOfBatch(len(x), own, min(len(x), world), whole), mine) for own, mine in zip(counts, rows, strict=True)]


@pytest.mark.parametrize("n", [2, 7, 12])
def test_statistics_of_parts_are_those_of_the_batch(n: int) -> None:
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    mean, spread = WholeBatch().moments(x)
    for found in of_parts(x, lambda part, mine: part.moments(mine)):
        torch.testing.assert_close(found[0], mean)
        torch.testing.assert_close(found[1], spread)
    z = x.clamp_min(0)
    kept, smallest = WholeBatch().largest(z, 2)
    answers = of_parts(z, lambda part, mine: part.largest(mine, 2))
    assert all(torch.equal(threshold, smallest) for _, threshold in answers)
    for rank, (mine, _) in enumerate(answers):
        assert torch.equal(mine[: len(kept[rank::3])], kept[rank::3])
    fired = (z > 1).any(0)
    answers = of_parts(z, lambda part, mine: part.seen((mine > 1).any(0), torch.isfinite(mine).all()))
    assert all(torch.equal(found, fired) and bool(sound) for found, sound in answers)


def test_the_threshold_of_a_batch_with_a_row_that_is_no_number_is_no_number() -> None:
    z = torch.rand(7, 5, generator=torch.Generator().manual_seed(1))
    z[3] = torch.nan
    assert WholeBatch().largest(z, 2)[1].isnan()
    assert [bool(threshold.isnan()) for _, threshold in of_parts(z, lambda part, mine: part.largest(mine, 2))] == [True] * 3


@pytest.mark.parametrize("n", [2, 7, 12])
def test_terms_of_parts_add_up_to_those_of_the_batch(n: int) -> None:
    g = torch.Generator().manual_seed(n)
    values, there = torch.randn(n, 1, generator=g), torch.rand(n, 1, generator=g) < 0.4
    table = torch.cat([values, there], dim=1)

    def terms(part: PartOfBatch, mine: Tensor) -> Tensor:
        mask = mine[:, 1] == 1
        mean, count = masked_mean(mine[:, 0], mask)
        part.count(lambda: {"task": count})
        term, total = part.of_labels("task", mean, count)
        every = part.of_rows(torch.nan_to_num(mine[:, 0]).mean())
        return torch.stack([term, every, part.once(torch.tensor(3.0)), total / 3])

    found = torch.stack(of_parts(table, terms)).sum(0)
    mean, count = masked_mean(values[:, 0], there[:, 0])
    torch.testing.assert_close(found, torch.stack([mean, values.mean(), torch.tensor(3.0), count.float()]))


class Rowless(Ranks):
    """A process without rows of a batch, whose stand-in row is no number; nor is the batch's one row, which is another's."""

    heard = ""

    def batch(self, model: PLEClusterAdaTT, at_hand: int, rows: int) -> PartOfBatch:
        return PartOfBatch(1, 0, 1, Recorder())

    def told(self, text: str) -> list[str]:
        self.heard = text
        return [BadStep(1, (), {"txn_seq": 1}, "a row").to_json(), text]


def test_a_process_without_rows_of_a_batch_is_not_blamed(small_dataset: Dataset, tmp_path: Path) -> None:
    create_run(small_dataset, tmp_path / "run", tiny_config(), preset="small", device="cpu")
    ranks = Rowless()
    trainer = Trainer(load_run(tmp_path / "run"), small_dataset, Options(device="cpu"), None, None, ranks=ranks)
    inputs = next(small_dataset.batches("train", 1)).inputs
    assert inputs.txn_seq is not None
    inputs.txn_seq[:] = torch.nan
    with contextlib.closing(trainer.log):
        trainer.steps.take(inputs, trainer.log)
    assert ranks.heard == ""
    assert trainer.position.skipped == 1
    assert trainer.position.skipped_why == "the first at step 1: a row"


# --- words


def limited(words: StoreWords) -> StoreWords:
    """That fails where it waits for ever."""
    end = time.monotonic() + 20

    def leaving() -> bool:
        assert time.monotonic() < end, "it still waits"
        return False

    words.leaving = leaving
    return words


def test_a_first_process_that_is_gone_is_waited_for_no_longer_than_the_limit() -> None:
    with pytest.raises(LostProcess, match="process 1 of 2: another process died"):
        limited(StoreWords(1, 2, HashStore(), 0.3)).first_does(lambda: None)


def test_a_first_process_that_works_longer_than_the_limit_is_waited_for() -> None:
    store, looked, end = HashStore(), threading.Event(), time.monotonic() + 1.5
    other = StoreWords(1, 2, store, 0.3)

    def leaving() -> bool:  # asked at each look: five limits long
        if time.monotonic() > end:
            looked.set()
        return False

    other.leaving = leaving
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(StoreWords(0, 2, store, 0.3).first_does, lambda: looked.wait(20))
        assert other.first_does(lambda: None) is True
        assert first.result() is True


def test_a_process_that_lost_another_tells_who_waits() -> None:
    store = HashStore()
    StoreWords(2, 3, store, 600).fail(LostProcess("gone"))
    with pytest.raises(LostProcess, match="process 1 of 3: another process died"):
        limited(StoreWords(1, 3, store, 600)).first_does(lambda: None)
    StoreWords(2, 3, store, 600).fail(UserError("a label"))
    with pytest.raises(ElsewhereFailed, match="process 2 of 3: a label"):
        limited(StoreWords(1, 3, store, 600)).first_does(lambda: None)


# --- how a process is started


@pytest.mark.parametrize("wrong", ["0", "-5", "1e18", "nan", "soon"])
def test_a_limit_that_makes_no_sense_is_named(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLE_RANK_SECONDS", wrong)
    with pytest.raises(UserError, match="PLE_RANK_SECONDS"), together(Launch(0, 2, 0, 2)):
        pass


def test_others_that_do_not_come_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", port), ("PLE_RANK_SECONDS", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="process 0 of 2 did not meet the others"), together(Launch(0, 2, 0, 2)):
        pass


def test_one_process_needs_no_torch_that_can_talk_to_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ple_model.training.processes", None)
    assert cli.main(["train", str(tmp_path / "none"), str(tmp_path / "run")]) == 2
    assert "is not a dataset" in capsys.readouterr().err


class Refused(Processes):
    """The first of two, of which the second has no GPU."""

    def told(self, text: str) -> list[str]:
        return [text, "start at most --nproc-per-node 1"]


def test_no_run_is_made_where_a_process_has_no_device(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", train=8, validation=4, test=4)
    ranks = Refused(Launch(0, 2, 0, 2), HashStore())
    with pytest.raises(ElsewhereFailed, match="process 1 of 2: start at most"):
        train(data, tmp_path / "run", tiny_config(), ranks=ranks)
    assert not (tmp_path / "run").exists()


def test_no_run_is_made_where_processes_read_different_datasets(tiny_dataset: Dataset, tmp_path: Path) -> None:
    class Apart(Ranks):
        """Of which the other one read another dataset."""

        def told(self, text: str) -> list[str]:
            return [text, f"other-{text}"]

    with pytest.raises(UserError, match="is not the same dataset in all processes"):
        train(tiny_dataset, tmp_path / "run", tiny_config(), preset="small", ranks=Apart())
    assert not (tmp_path / "run").exists()


def test_torchrun_is_known_by_what_it_sets() -> None:
    assert launched({}) == Launch()
    assert launched({**TORCHRUN, "MASTER_PORT": "1"}) == Launch(1, 4, 1, 2)
    assert launched({k: v for k, v in TORCHRUN.items() if k != "MASTER_ADDR"}) == Launch()
    assert Launch(1, 2, 1, 2).command == ["torchrun", "--nproc-per-node", "2", "-m", "ple_model"]
    meeting = "--nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:PORT --nproc-per-node 2"
    assert Launch(1, 4, 1, 2).command == ["torchrun", *meeting.split(), "-m", "ple_model"]


@pytest.mark.parametrize("wrong", [{"RANK": "4"}, {"WORLD_SIZE": "x"}, {"LOCAL_RANK": "2"}])
def test_an_environment_that_makes_no_sense_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="the environment"):
        launched({**TORCHRUN, **wrong})


@pytest.mark.parametrize(
    ("over", "named"),
    [({"training": {"batch_size": 3}}, "3 rows cannot be shared"), ({"distillation": {"enabled": True}}, "ple distill")],
)
def test_what_several_processes_cannot_train_is_refused(over: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        Processes(Launch(1, 4, 1, 2), HashStore()).require(tiny_config(over))
    ONE.require(tiny_config(over))


def test_other_commands_are_refused_under_torchrun() -> None:
    with pytest.raises(UserError, match="ple tune is the work of one process"):
        require_alone("tune", {**TORCHRUN, "TORCHELASTIC_RUN_ID": "x"})
    require_alone("tune", TORCHRUN)
    require_alone("tune", {"TORCHELASTIC_RUN_ID": "x"})
