"""`ple export`: a folder with the model as a graph of any number of rows, what it takes and returns, and how far it was held
against the model itself.

    model.pt2 or model.onnx     the graph (`torch.export`; ONNX with its weights in it)
    signature.json              inputs, outputs, and `check`: the largest difference from the model on rows of the run

Both come from one traced program. ONNX has no running maximum, no recurrence with a backward of its own and no shapes that
depend on how many points of a diagram are valid: the layers concerned take an equal form while a graph is made
(`layers.liquid`, `layers.persistence`).

`torch.export` keeps what a program was traced with in its file: it is traced with zeros, so that no customer travels with it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ple_model.adapters import stream_of
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.export.served import ServedModel, tensors
from ple_model.export.signature import GraphSignature, signature_of
from ple_model.files import write_json
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.staging import staged_folder

if TYPE_CHECKING:
    import onnx_ir as ir

Format = Literal["torch", "onnx"]
FILES: dict[str, str] = {"torch": "model.pt2", "onnx": "model.onnx"}
SIZES = (1, 7, 64)
"""Rows of the batches that the graph is held against the model with."""
TRACED = 5
"""Rows of zeros that it is traced with: a size of 1 would be taken for a constant."""
TOLERANCE = 1e-4
"""Of a difference in shares of 1 + the model's own value: single precision, whose sums run in another order, stays ten times
below it on the bundled runs."""
Answer = Callable[[tuple[Tensor, ...]], list[Tensor]]


@dataclass(frozen=True)
class ExportedModel:
    """What was written."""

    path: Path
    format: str
    bytes: int
    rows: int
    """Different ones that it was held against the model on."""
    difference: float
    """Largest difference from the model on these rows, in shares of 1 + the model's own value."""
    signature: GraphSignature

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path), "format": self.format, "bytes": self.bytes,
            "check": {"rows": self.rows, "largest_difference": self.difference, "allowed": TOLERANCE},
            "inputs": len(self.signature.inputs), "outputs": [o.name for o in self.signature.outputs],
        }  # fmt: skip

    def __str__(self) -> str:
        ins, outs = len(self.signature.inputs), len(self.signature.outputs)
        return (
            f"{self.path}: {self.bytes / 1e6:.1f} MB, {ins} inputs, {outs} outputs, any number of rows\n"
            f"the same as the model to {self.difference:.1e} on {self.rows} rows, in batches of {_listed(SIZES)}"
        )


def export(run: Run, out: Path, form: Format = "torch", dataset: Dataset | None = None) -> ExportedModel:
    """Write the folder `out`. `dataset`: rows to compare on (default: the run's sample). `UserError` where the run cannot
    be scored, ONNX is not installed, or the graph says something else than the model."""
    if form == "onnx":
        _require_onnx()
    rows = dataset if dataset is not None else run.sample()
    model = run.model().eval()
    if form == "onnx":
        _require_onnx_form(model)
    signature = signature_of(run, model, rows)
    served = ServedModel(model, run.calibration, signature).eval()
    batch = rows.load(None, max(SIZES)).inputs
    with staged_folder(out) as fresh:
        file = fresh / FILES[form]
        program = _traced(served, made_up(tensors(signature, batch.rows(torch.arange(TRACED) % len(batch)))))
        answer = _write_torch(program, file) if form == "torch" else _write_onnx(program, file, signature)
        difference = 0.0
        for size in SIZES:
            given = tensors(signature, batch.rows(torch.arange(size) % len(batch)))
            difference = max(difference, _difference(served, answer, given, signature))
        size = sum(p.stat().st_size for p in fresh.iterdir())
        found = ExportedModel(out / FILES[form], form, size, min(len(batch), max(SIZES)), difference, signature)
        write_json(fresh / "signature.json", {**signature.to_dict(), "check": found.to_dict()["check"]})
    return found


def made_up(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Rows of the shapes and types of `given`, all zeros: nobody's."""
    return tuple(torch.zeros_like(v) for v in given)


def _listed(sizes: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"


def _require_onnx() -> None:
    try:
        import onnx  # late: optional
        import onnxruntime  # late: optional
        import onnxscript  # late: optional
    except ImportError as e:
        raise UserError(f"--format onnx needs onnx, onnxscript and onnxruntime ({e}): pip install 'ple-scope[export]'") from e
    assert onnx
    assert onnxruntime
    assert onnxscript


def _require_onnx_form(model: PLEClusterAdaTT) -> None:
    """`UserError` where an encoder reads a spectrum: ONNX picks no complex number by its place."""
    expert = stream_of(model)
    if expert is not None and expert.pretrained is not None and expert.pretrained.encoder.frequency is not None:
        raise UserError(
            "--format onnx: the run's pre-trained encoder has a frequency branch (shared_experts.temporal.encoder.shape."
            "frequency: on), whose spectrum ONNX cannot say; --format torch can"
        )


def _traced(served: ServedModel, given: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    rows = torch.export.Dim("rows", min=1, max=2**24)
    shapes = (tuple({0: rows} for _ in given),)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(served, given, dynamic_shapes=shapes, strict=False)
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError, ValueError) as e:
            raise UserError(f"the model cannot be traced: {' '.join(str(e).split())[:500]}") from e


def _write_torch(program: torch.export.ExportedProgram, file: Path) -> Answer:
    torch.export.save(program, file)
    graph = torch.export.load(file).module()

    def answer(given: tuple[Tensor, ...]) -> list[Tensor]:
        with torch.no_grad():
            return list(graph(*given))

    return answer


def _write_onnx(program: torch.export.ExportedProgram, file: Path, signature: GraphSignature) -> Answer:
    import onnxruntime  # late: optional

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                program, input_names=[i.name for i in signature.inputs], output_names=[o.name for o in signature.outputs],
                dynamo=True, verbose=False, optimize=False,
            )  # fmt: skip
        assert made is not None
        _folded(made.model)
        made.save(str(file), external_data=False)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as e:
        raise UserError(f"the graph cannot be written as ONNX: {_cause(e)}; --format torch can") from e
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    taken = {i.name for i in session.get_inputs()}

    def answer(given: tuple[Tensor, ...]) -> list[Tensor]:
        feed = {i.name: v.numpy() for i, v in zip(signature.inputs, given, strict=True) if i.name in taken}
        return [torch.from_numpy(v) for v in session.run([o.name for o in signature.outputs], feed)]

    return answer


def _folded(graph: ir.Model) -> None:
    """In place: functions inlined, what is constant worked out, each thing said once. The exporter's own optimiser also tries
    its rules at every node, two fifths of an export; the runtime has rules of its own as it loads."""
    import onnx_ir.passes.common as passes  # late: optional
    from onnxscript import optimizer  # late: optional

    optimizer.inline(graph)
    optimizer.fold_constants(graph)
    for one in (
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        passes.RemoveUnusedOpsetsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        one(graph)


def _cause(error: BaseException) -> str:
    """What was the first to go wrong, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300]


def _difference(served: ServedModel, answer: Answer, given: tuple[Tensor, ...], signature: GraphSignature) -> float:
    """The largest one; `UserError` names the task where it is beyond what is allowed."""
    with torch.no_grad():
        wanted = served(*given)
    worst = 0.0
    for one, want, have in zip(signature.outputs, wanted, answer(given), strict=True):
        if have.shape != want.shape:
            raise UserError(f"the graph answers '{one.name}' in shape {tuple(have.shape)}, the model in {tuple(want.shape)}")
        gap = float(((have - want).abs() / (1 + want.abs())).max())
        if not gap <= TOLERANCE:
            raise UserError(f"the graph answers '{one.name}' {gap:.1e} away from the model, allowed is {TOLERANCE:.0e}")
        worst = max(worst, gap)
    return worst
