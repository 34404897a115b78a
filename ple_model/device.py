"""Where the model runs and in which precision (reference, "Training": fp16 AMP on GPU).

`auto` takes the first GPU if there is one. Mixed precision is fp16 with loss scaling on a GPU and off on a CPU, where fp16 is
no faster than fp32; bf16 can be chosen on both and needs no scaling.
"""

from __future__ import annotations

import os
import platform
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from ple_model.errors import UserError, did_you_mean

Amp = Literal["off", "fp16", "bf16"]


def pick_device(name: str = "auto") -> torch.device:
    """The device of this name; `auto`: the first GPU, else the CPU. `UserError` if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = ("auto", "cpu", *(("cuda",) if count else ()), *(f"cuda:{i}" for i in range(count)))
    if re.fullmatch(r"cpu|cuda(:[0-9]{1,4})?", name) is None:
        raise UserError(f"no device '{name}'{did_you_mean(name, ('auto', 'cpu', 'cuda', *there))}")
    if name not in there:
        raise UserError(f"device '{name}' is not there: this machine has {count} usable GPU(s); valid: {', '.join(there)}")
    return torch.device(name)


def same_device(name: str, recorded: str) -> torch.device:
    """The device to go on with: `name`, or where that is `auto` the kind that a run was trained on, if this machine has it."""
    if name != "auto":
        return pick_device(name)
    return pick_device(recorded if recorded != "cuda" or torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Precision:
    """Mixed-precision policy of a training on one device."""

    device: torch.device
    amp: Amp

    @staticmethod
    def choose(device: torch.device, wanted: str) -> Precision:
        """`wanted` is `training.amp`. fp16 on a CPU is refused: it is no faster there and underflows."""
        if wanted == "auto":
            return Precision(device, "fp16" if device.type == "cuda" else "off")
        if wanted == "fp16" and device.type == "cpu":
            raise UserError("training.amp: 'fp16' needs a GPU; on a CPU use 'bf16' or 'off'")
        if wanted not in ("off", "fp16", "bf16"):
            raise UserError(f"training.amp: '{wanted}' is not valid{did_you_mean(wanted, ('auto', 'off', 'fp16', 'bf16'))}")
        return Precision(device, wanted)  # type: ignore[arg-type]

    def autocast(self) -> AbstractContextManager[object]:
        """Context of a forward pass."""
        if self.amp == "off":
            return nullcontext()
        return torch.autocast(self.device.type, torch.float16 if self.amp == "fp16" else torch.bfloat16)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaler; it does nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.amp == "fp16")


def machine(device: torch.device) -> str:
    """The hardware of `device` in words, as it is kept with a run."""
    cores = f"{os.cpu_count() or 1} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
    return cores if device.type != "cuda" else f"{torch.cuda.get_device_name(device)}, {cores}"


def memory_mb(device: torch.device) -> tuple[float, float | None]:
    """(resident memory of this process in MB, peak memory of the GPU in MB or None)."""
    import psutil  # late: psutil, once an epoch

    resident = psutil.Process().memory_info().rss / 2**20
    if device.type != "cuda":
        return resident, None
    return resident, torch.cuda.max_memory_allocated(device) / 2**20
