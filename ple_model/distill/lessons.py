"""What a teacher says of the training rows, computed once and kept while the student trains.

    state/teacher/about.json                  which run the teacher is, and what is asked of it
    state/teacher/<part>-<group>.safetensors  its answers to one row group of the dataset
    state/teacher/summary.safetensors         what all rows say together, and the teacher's brands; the mark that all is there

An answer is the raw output: log-odds, raw scores of classes, an amount on the scale of the label, the query of brands (their
distribution follows from it and the teacher's table, which is far smaller than [rows, brands]); with a hint the representation
to copy, in half precision. Files appear whole, so that a killed computation goes on with the row group it stood at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.batches import TAUGHT, Columns
from ple_model.data.dataset.manifest import PartFile
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import read_json, read_tensors, write_json, write_tensors
from ple_model.layers.precision import widen
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.safe_paths import is_file
from ple_model.stored import Stored

FOLDER, ABOUT, SUMMARY = "teacher", "about.json", "summary.safetensors"
HINT = "hint"
ROWS = 512
"""Rows of one forward pass of the teacher."""
Tell = Callable[[float], None]
"""Hears the share that is done; may raise to stop."""


@dataclass(frozen=True)
class LessonPlan:
    """`about.json`: the teacher, and what the student asks of it."""

    name: str
    fingerprint: str
    """Of its weights (`teacher.weights_mark`)."""
    path: str
    tasks: tuple[str, ...]
    hint: str
    """As `distillation.hint`."""
    width: int
    """Of the teacher's representation that the hint copies: its columns, or those of one task."""

    def save(self, state: Path) -> None:
        (state / FOLDER).mkdir(parents=True, exist_ok=True)
        write_json(state / FOLDER / ABOUT, asdict(self))

    @staticmethod
    def load(state: Path) -> LessonPlan:
        """`UserError` where it is missing or damaged."""
        path = state / FOLDER / ABOUT
        found = Stored.of(path, read_json(path))
        return LessonPlan(
            found.text("name", 300), found.text("fingerprint", 200), found.text("path"), tuple(found.texts("tasks")),
            found.text("hint", 20), found.whole("width"),
        )  # fmt: skip


@dataclass(frozen=True)
class LessonSummary:
    """Over all training rows: mean probability of yes-or-no tasks; mean and spread [width] (or [tasks, width]) of what a hint
    copies; keys [brands, Q] of the teacher's brands over its temperature."""

    means: dict[str, float]
    hint_mean: Tensor | None
    hint_std: Tensor | None
    keys: Tensor | None


def group_file(state: Path, part: PartFile, index: int) -> Path:
    """Where the answers to a row group are."""
    return state / FOLDER / f"{Path(part.name).stem}-{index}.safetensors"


def complete(state: Path) -> bool:
    return is_file(state / FOLDER / SUMMARY)


def compute(state: Path, plan: LessonPlan, model: PLEClusterAdaTT, dataset: Dataset, tell: Tell) -> None:
    """Answers of the teacher `model` (eval mode, on its own device) to each training row that are not there yet."""
    groups = [(p, i, rows) for p in dataset.manifest.files if p.split == "train" for i, rows in enumerate(p.group_rows)]
    total, done = max(1, dataset.rows("train")), 0
    for part, index, rows in groups:
        path = group_file(state, part, index)
        if not is_file(path):
            tell(done / total)
            write_tensors(path, answers(model, plan, dataset.group(part, index).inputs))
        done += rows
    tell(1.0)
    _summarise(state, plan, model, [(group_file(state, p, i), rows) for p, i, rows in groups])


@torch.no_grad()
def answers(model: PLEClusterAdaTT, plan: LessonPlan, inputs: PLEClusterInput) -> dict[str, Tensor]:
    """{task: its answers [n, ...]} and, where the plan has one, `hint` [n, ...], on the CPU."""
    device = next(model.parameters()).device
    pieces: dict[str, list[Tensor]] = {}
    for first in range(0, len(inputs), ROWS):
        rows = inputs.rows(slice(first, first + ROWS)).to(device)
        output = model.decode(model.encode(rows), sae=False, evidential=False)
        for name, value in _said(model, plan, output).items():
            pieces.setdefault(name, []).append(value.cpu())
    return {k: torch.cat(v) for k, v in pieces.items()}


def _said(model: PLEClusterAdaTT, plan: LessonPlan, output: PLEClusterOutput) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for task in plan.tasks:
        kind = model.tasks[task].kind
        if kind == "regression":
            scaler = model.context.label_scalers.get(task)
            value = output.predictions[task]
            found[task] = value if scaler is None else value * scaler.std + scaler.mean
        elif kind == "contrastive":
            found[task] = output.predictions[task]
        else:
            raw = widen(output.logits[task])
            found[task] = raw[:, 0] if kind == "binary" else raw
    if plan.hint != "off":
        found[HINT] = represented(plan.hint, plan.tasks, model, output).half()
    return found


def represented(hint: str, tasks: tuple[str, ...], model: PLEClusterAdaTT, output: PLEClusterOutput) -> Tensor:
    """What a hint copies of a model's output: shared_concat [B, width], or the group encoders' output by task [B, tasks, G]."""
    if hint == "shared":
        return output.shared_concat
    return output.encoder_outputs[:, [model.task_names.index(t) for t in tasks]]


def _summarise(state: Path, plan: LessonPlan, model: PLEClusterAdaTT, files: list[tuple[Path, int]]) -> None:
    """One pass over what was written: sums in double precision, of finite rows."""
    sums: dict[str, Tensor] = {}
    binary = [t for t in plan.tasks if model.tasks[t].kind == "binary"]
    for path, rows in files:
        held = _read(path, rows)
        for task in binary:
            p = torch.sigmoid(held[task].double())
            _add(sums, task, p[torch.isfinite(p)])
        if HINT in held:
            x = held[HINT].double()
            _add(sums, HINT, x[torch.isfinite(x).flatten(1).all(dim=1)])
    found = {f"mean:{t}": sums[t][0] / sums[f"{t}:n"] for t in binary}
    if HINT in sums:
        n = sums[f"{HINT}:n"]
        mean = sums[HINT][0] / n
        found |= {"hint:mean": mean.float(), "hint:std": (sums[HINT][1] / n - mean**2).clamp_min(0).sqrt().float()}
    contrastive = [t for t in plan.tasks if model.tasks[t].kind == "contrastive"]
    if contrastive and model.brands is not None:
        found["keys"] = F.normalize(widen(model.brands.keys.detach()), dim=-1) / model.brands.temperature
    write_tensors(state / FOLDER / SUMMARY, found)


def _add(sums: dict[str, Tensor], name: str, rows: Tensor) -> None:
    """Fold [n, ...] into the sum, the sum of squares and the count of `name`."""
    both = torch.stack([rows.sum(dim=0), rows.square().sum(dim=0)])
    sums[name] = sums[name] + both if name in sums else both
    sums[f"{name}:n"] = sums.get(f"{name}:n", torch.zeros(())) + len(rows)


def _read(path: Path, rows: int) -> dict[str, Tensor]:
    """Answers to a row group of so many rows; `UserError` where the file holds another number."""
    found, _ = read_tensors(path)
    for name, value in found.items():
        if value.dim() == 0 or len(value) != rows:
            raise UserError(f"{path}: '{name}' has shape {tuple(value.shape)}, {rows} rows are expected; start the run anew")
    return found


def summary(state: Path) -> LessonSummary:
    """What `compute` wrote last."""
    found, _ = read_tensors(state / FOLDER / SUMMARY)
    means = {k.removeprefix("mean:"): float(v) for k, v in found.items() if k.startswith("mean:")}
    return LessonSummary(means, found.get("hint:mean"), found.get("hint:std"), found.get("keys"))


def taught(state: Path, dataset: Dataset) -> Dataset:
    """The dataset whose training rows carry the teacher's answers (`PLEClusterInput.taught`)."""

    def columns(part: PartFile, index: int) -> Columns:
        if part.split != "train":
            return {}
        held = _read(group_file(state, part, index), part.group_rows[index])
        return {f"{TAUGHT}{name}": value.numpy() for name, value in held.items()}

    return dataset.with_beside(columns)


def drop(state: Path) -> None:
    """After the end of the training, which alone reads them."""
    for path in (state / FOLDER).glob("*"):
        path.unlink(missing_ok=True)
    if (state / FOLDER).is_dir():
        (state / FOLDER).rmdir()
