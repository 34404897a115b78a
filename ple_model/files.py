"""Files of a run, written so that a reader, or a kill at any moment, sees the old content or the new one, nothing between."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ple_model import safe_text
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.safe_paths import check_file, write_bytes
from ple_model.staging import staged_file

if TYPE_CHECKING:  # imported late: a stored analysis is read without torch
    import torch
    from torch import Tensor


def write_json(path: Path, value: Any) -> None:
    """`value` as indented strict JSON, atomically."""
    write_bytes(path, (dump(value) + "\n").encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote. `UserError` naming the file if it is missing or damaged."""
    try:
        return safe_text.read_json(path)
    except FileNotFoundError as e:
        raise UserError(f"{path} is missing") from e


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file, atomically. Tensors are copied to contiguous CPU memory, so that views may be given."""
    from safetensors.torch import save_file  # late: torch

    whole = {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()}
    with staged_file(path, sum(v.numel() * v.element_size() for v in whole.values())) as temporary:
        save_file(whole, temporary, dict(metadata or {}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) of a safetensors file. `UserError` if it is missing, truncated or something else."""
    try:
        check_file(path)
        with safe_open(path, framework="pt", device="cpu") as f:
            return {k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as e:
        raise UserError(f"{path} is missing") from e
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as e:
        raise UserError(f"{path} is not a complete safetensors file: {' '.join(str(e).split())}") from e


def load_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """`module.load_state_dict`, names and shapes checked first, so that a foreign file is one sentence and changes nothing."""
    require_fit(module, tensors, source)
    module.load_state_dict(dict(tensors))


def require_fit(module: torch.nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """`UserError` unless the tensors have the names and shapes of the module's (which may be on the meta device)."""
    own = module.state_dict()
    missing, foreign = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    if missing or foreign:
        what = f"'{missing[0]}' is missing" if missing else f"'{foreign[0]}' is not part of the model"
        raise UserError(
            f"{source} does not fit the run's config: {what} "
            f"({len(missing)} missing, {len(foreign)} foreign of {len(own)} tensors)"
        )
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise UserError(
                f"{source} does not fit the run's config: '{name}' has shape {tuple(tensors[name].shape)}, "
                f"the model expects {tuple(tensor.shape)}"
            )
