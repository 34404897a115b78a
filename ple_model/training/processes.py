"""Several processes that train one model, started by `torchrun` (torch.distributed: gloo on CPUs, nccl on GPUs).

Not `DistributedDataParallel`: gates and shared experts freeze in the middle of a training, adaTT asks for task gradients before
the step's own backward, adapters and absent fields leave parameters without gradients, which its reducer has to be told of
anew each time. All gradients are a few million numbers: one sum of one flat buffer after the backward pass, which also carries
the losses and, on CPUs, which parameters have a gradient at all. Which do depends on the labels and inputs of the whole batch
and is known on the host: of a GPU it goes from host to host, so that nobody waits for the device to read it.

A collective of gloo ends with an error when a process is gone (its connection closes) or silent for `SECONDS`; one of nccl is
asynchronous, its failures come out elsewhere, and how they are told has not been seen. What the first process does alone may
take longer (`words`).
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ple_model.arguments import number
from ple_model.config import Config
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.reader import Dataset
from ple_model.device import same_device
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.output import LossBreakdown
from ple_model.training.launch import Launch, launched
from ple_model.training.part_of_batch import PartOfBatch
from ple_model.training.ranks import ONE, Ranks, Wishes
from ple_model.training.words import ElsewhereFailed, StoreWords

SECONDS = 600.0
"""After which a silent process counts as lost, unless the environment sets another number (`VARIABLE`)."""
VARIABLE = "PLE_RANK_SECONDS"
LEAST, MOST = 1.0, 1e6
"""What `VARIABLE` may say."""


class Processes(Ranks):
    """One of several; `store` is where all can leave a word."""

    def __init__(self, launch: Launch, store: Store, seconds: float = SECONDS) -> None:
        self.launch, self.rank, self.world = launch, launch.rank, launch.world
        self.words = StoreWords(launch.rank, launch.world, store, seconds)
        self._part = PartOfBatch()

    def device(self, name: str, recorded: str) -> torch.device:
        found = same_device(name, recorded)
        if found.type != "cuda":
            return found
        if found.index is not None:
            raise UserError(f"--device {name}: each process takes the GPU of its own number; say cuda, or leave it out")
        there = torch.cuda.device_count()
        if self.launch.local_rank >= there:
            raise UserError(
                f"{self.words} is number {self.launch.local_rank} of this machine, which has {there} usable GPU(s); "
                f"start at most --nproc-per-node {there}, or train with --device cpu"
            )
        torch.cuda.set_device(self.launch.local_rank)
        return torch.device("cuda", self.launch.local_rank)

    def seed(self, seed: int) -> int:
        return seed if self.first else int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0])

    def listen(self, stop: Callable[[], bool]) -> None:
        self.words.leaving = stop

    def require(self, config: Config) -> None:
        size = config.training.batch_size
        if size is not None and size < self.world:
            raise UserError(f"training.batch_size: {size} rows cannot be shared out among {self.world} processes")
        if config.distillation.enabled:
            raise UserError("distillation.enabled: a student learns in one process; start `ple distill` without torchrun")

    # --- a step

    def batches(self, dataset: Dataset, batch_size: int, *, seed: int, epoch: int, start: int) -> Iterator[Batch]:
        yield from dataset.batches(
            "train", batch_size, shuffle=True, seed=seed, epoch=epoch, start=start, rank=self.rank, world=self.world
        )
        if 0 < dataset.rows("train") % batch_size <= self.rank:  # none of the last batch: any row, which counts nothing
            yield next(dataset.batches("train", 1))

    def batch(self, model: PLEClusterAdaTT, at_hand: int, rows: int) -> PartOfBatch:
        own = len(range(self.rank, rows, self.world))
        self._part = PartOfBatch(rows, own, min(rows, self.world), self)
        if model.sae is not None:
            model.sae.batch = self._part
        return self._part

    def gradients(self, at_hand: Tensor) -> Tensor:
        return self.total(at_hand if self._part.own else torch.zeros_like(at_hand))

    def stepped(self, parameters: Sequence[nn.Parameter], losses: LossBreakdown) -> LossBreakdown:
        terms: list[Tensor] = []

        def hear(term: Tensor) -> Tensor:
            terms.append(term.detach())
            return term

        losses.map(hear)
        kind = parameters[0].dtype
        there = torch.tensor([p.grad is not None and self._part.own > 0 for p in parameters], dtype=kind)
        apart = self._told_apart(parameters[0].device)
        if apart:
            self._add_up(there)  # from host to host, while the device works on the gradients
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        marks = [] if apart else [there]
        flat = torch.cat([*(g.reshape(-1) for g in pieces), *marks, torch.stack([t.to(kind) for t in terms])])
        whole = flat if self._part.own else torch.zeros_like(flat)
        self._add_up(whole)
        sizes = [p.numel() for p in parameters]
        *gradients, known, said = torch.split(whole, [*sizes, 0 if apart else len(sizes), len(terms)])
        for p, gradient, had in zip(parameters, gradients, (there if apart else known).tolist(), strict=True):
            p.grad = gradient.view_as(p) if had else None
        found = iter(said.unbind())
        return losses.map(lambda term: next(found).to(term.dtype))

    def _told_apart(self, device: torch.device) -> bool:
        """Whether what the host knows goes a way of its own, because a sum on this device would have to be waited for."""
        return device.type != "cpu"

    # --- what all know

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes: the same bits for each."""
        summed = value.detach().clone()
        self._add_up(summed)
        return summed

    def _add_up(self, value: Tensor) -> None:
        self._call(lambda: dist.all_reduce(value))

    def every(self, value: Tensor) -> Tensor:
        """[processes, ...] the tensors of all."""
        found = [torch.empty_like(value) for _ in range(self.world)]
        self._call(lambda: dist.all_gather(found, value.detach().contiguous()))
        return torch.stack(found)

    def sums(self, *at_hand: Tensor) -> tuple[Tensor, ...]:
        flat = self.total(torch.cat([t.double().reshape(-1) for t in at_hand]))
        pieces = torch.split(flat, [t.numel() for t in at_hand])
        return tuple(p.view_as(t).to(t.dtype) for p, t in zip(pieces, at_hand, strict=True))

    def positions(self, batch: int, batch_size: int, rows: int) -> Tensor:
        return batch * batch_size + self.rank + self.world * torch.arange(rows)

    def joined(self, at_hand: Tensor) -> Tensor:
        counts = self.every(torch.tensor([len(at_hand)])).flatten().tolist()
        value = at_hand.cpu()
        padded = torch.cat([value, value.new_zeros(max(counts) - len(value), value.shape[1])])
        rows = torch.cat([r[:n] for r, n in zip(self.every(padded), counts, strict=True)])
        return rows[rows[:, -1].argsort()]

    def told(self, text: str) -> list[str]:
        said = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else torch.zeros(0, dtype=torch.uint8)
        counts = self.every(torch.tensor([len(said)])).flatten().tolist()
        padded = torch.cat([said, said.new_zeros(max(counts) - len(said))])
        return [bytes(r[:n].tolist()).decode() for r, n in zip(self.every(padded), counts, strict=True)]

    def agreed(self, wishes: Wishes) -> Wishes:
        heard = self.total(torch.tensor([float(wishes.save), float(wishes.pause), float(wishes.stop)]))
        return Wishes(*(heard > 0).tolist())

    def first_does(self, work: Callable[[], Any]) -> Any:
        return self.words.first_does(work)

    def each_does(self, work: Callable[[], Any]) -> None:
        fault: UserError | None = None
        try:
            work()
        except UserError as e:
            fault = e
        said = self.told("" if fault is None else str(fault))
        if fault is not None:
            raise fault
        for rank, text in enumerate(said):
            if text:
                raise ElsewhereFailed(f"process {rank} of {self.world}: {text}")

    def hand_out(self, model: PLEClusterAdaTT) -> None:
        for value in model.state_dict().values():
            self._call(partial(dist.broadcast, value, 0))

    # --- state and end

    def rng(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for kind, state in own.items():
            found |= {_of(kind, rank): s for rank, s in enumerate(self.every(state.cpu()).unbind())}
        return found

    def own_rng(self, saved: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
        own = {kind: saved[name] for kind in ("cpu", "cuda") if (name := _of(kind, self.rank)) in saved}
        return own or None

    def _call(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except RuntimeError as e:
            raise self.words.lost(e) from e


def _seconds() -> float:
    """How long a process may be silent."""
    given = os.environ.get(VARIABLE, "")
    try:
        found = number(given) if given else SECONDS
    except ArgumentTypeError as e:
        raise UserError(f"the environment's {VARIABLE}: {e}") from e
    if not LEAST <= found <= MOST:
        raise UserError(
            f"the environment's {VARIABLE}: {given[:40]} is not valid, it must be in {LEAST:.0f}..{MOST:.0f} seconds"
        )
    return found


def _of(kind: str, rank: int) -> str:
    """Name in the checkpoint: that of one process for the first, so that one process can go on with it."""
    return kind if rank == 0 else f"{kind}@{rank}"


@contextmanager
def together(launch: Launch) -> Iterator[Processes]:
    """The process group, until the end of the block; the others hear of an error that ends it."""
    seconds = _seconds()
    ranks = Processes(launch, _meet(launch, seconds), seconds)
    try:
        yield ranks
        ranks.words.leave()
    except ElsewhereFailed:
        raise
    except BaseException as e:
        ranks.words.fail(e)
        raise
    finally:
        dist.destroy_process_group()


def _meet(launch: Launch, seconds: float) -> Store:
    """The process group is there, and where all can leave a word; `UserError` where the others do not come."""
    limit = timedelta(seconds=seconds)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        base, _, _ = next(rendezvous("env://", launch.rank, launch.world, timeout=limit))
        store = PrefixStore(f"ple/{base.add(f'met/{launch.rank}', 1)}", base)  # a process may train one run after another
        dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.world, timeout=limit)
    except (RuntimeError, ValueError, OSError) as e:
        where = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
        raise UserError(
            f"process {launch.rank} of {launch.world} did not meet the others at {where} within {seconds:g} seconds "
            f"({VARIABLE}): {' '.join(str(e).split())[:160]}"
        ) from e
    return store


@contextmanager
def group() -> Iterator[Ranks]:
    """The processes that this one was started with, until the end of the block; one, unless `torchrun` started it."""
    launch = launched()
    if launch.world == 1:
        yield ONE
        return
    with together(launch) as ranks:
        yield ranks
