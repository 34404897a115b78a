"""An exported model answers as the model does, for any number of rows and whatever is absent, and says what it takes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from ple_model.calibration import CalibrationMap
from ple_model.cli import main
from ple_model.errors import UserError
from ple_model.export import write
from ple_model.export.served import ServedModel, calibrated, tensors
from ple_model.export.signature import GraphSignature, signature_of
from ple_model.layers.liquid import CfC, running_max
from ple_model.layers.persistence import PersLayer, pack, sound
from ple_model.model import PLEClusterAdaTT
from ple_model.predict import score_to_parquet
from ple_model.run import Run
from ple_model.sequences.body import LiquidBlock
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.series import series_of
from ple_model.sequences.stream import StreamEncoder
from tests.factories import diagrams, random_context, random_inputs
from tests.fakes import tiny_config

pytestmark = pytest.mark.slow

TORCH = "model.pt2"


@pytest.fixture(scope="module")
def written(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as ONNX, by the command, and beside it what torch writes of the same traced program."""
    out = tmp_path_factory.mktemp("graphs") / "out"
    onnx = write._write_onnx

    def both(program: torch.export.ExportedProgram, file: Path, signature: GraphSignature) -> write.Answer:
        write._write_torch(program, out.parent / TORCH)
        return onnx(program, file, signature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "_write_onnx", both)
        assert main(["export", str(tiny_run.path), str(out), "--format", "onnx", "--json"]) == 0
    (out.parent / TORCH).rename(out / TORCH)
    return out


def test_no_customer_travels_with_a_graph(written: Path, tiny_run: Run) -> None:
    """No row of the sample is in a file: what it was traced with is kept in it, and is zeros."""
    program = torch.export.load(written / TORCH)
    assert program.example_inputs is not None
    assert all(not given.any() for given in program.example_inputs[0])
    rows = tiny_run.sample()
    signature = signature_of(tiny_run, tiny_run.model(), rows)
    files = [(written / name).read_bytes() for name in (TORCH, "model.onnx")]
    looked = 0
    for one, given in zip(signature.inputs, tensors(signature, rows.load(None, 64).inputs), strict=True):
        for row in given.flatten(1) if one.shape and one.dtype == "float32" else ():
            if len(row.unique()) > 4:
                assert not any(row.numpy().tobytes() in file for file in files), one.name
                looked += 1
    assert looked > 100


def test_the_graph_was_held_against_the_model_and_its_description_is_enough_to_ask_it(written: Path, tiny_run: Run) -> None:
    import onnxruntime

    said = json.loads((written / "signature.json").read_text(encoding="utf-8"))
    assert said["check"]["rows"] == min(max(write.SIZES), tiny_run.sample().manifest.rows)
    assert said["check"]["largest_difference"] < write.TOLERANCE
    session = onnxruntime.InferenceSession(str(written / "model.onnx"), providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} <= {i["name"] for i in said["inputs"]}
    assert [o.name for o in session.get_outputs()] == [o["name"] for o in said["outputs"]]
    rng = np.random.default_rng(0)
    needed = {i.name for i in session.get_inputs()}
    shapes = {i["name"]: (np.dtype(i["dtype"]), (3, *i["shape"])) for i in said["inputs"] if i["name"] in needed}
    feed = {k: rng.random(size).astype(d) if d == np.float32 else np.ones(size, d) for k, (d, size) in shapes.items()}
    answers = session.run(None, feed)
    for one, value in zip(said["outputs"], answers, strict=True):
        assert value.shape == (3, *one["shape"])
        assert np.isfinite(value).all()
        if one["kind"] in ("multiclass", "contrastive"):
            np.testing.assert_allclose(value.sum(axis=1), 1.0, atol=1e-4)
            assert len(one["names"]) == one["shape"][0]


def test_what_is_served_is_what_predict_writes(tiny_run: Run, tmp_path: Path) -> None:
    """Calibrated probabilities and mean amounts, row by row."""
    import pyarrow.parquet as pq

    model, rows = tiny_run.model(), tiny_run.sample()
    signature = signature_of(tiny_run, model, rows)
    batch = rows.load("test", 20)
    with torch.no_grad():
        answers = ServedModel(model, tiny_run.calibration, signature).eval()(*tensors(signature, batch.inputs))
    served = dict(zip((o.name for o in signature.outputs), answers, strict=True))
    score_to_parquet(tiny_run, model, rows, tmp_path / "scores.parquet")
    table = pq.read_table(tmp_path / "scores.parquet").to_pandas().set_index(["customer_id", "cutoff"])
    keys = list(zip(batch.customer_id, batch.cutoff, strict=True))
    compared = 0
    for one in signature.outputs:
        if one.kind not in ("binary", "regression") or one.shape:
            continue
        for row, key in enumerate(keys):
            told = table.loc[key, one.name]
            if told is not None and np.isfinite(told):
                assert float(served[one.name][row]) == pytest.approx(float(told), rel=1e-4, abs=1e-5)
                compared += 1
    assert compared > 100


@pytest.mark.parametrize("form", ["beta", "shift", "identity"])
def test_calibration_in_a_graph_is_the_map_itself(form: str) -> None:
    found = CalibrationMap(form, 0.8, 1.3, -0.4)  # type: ignore[arg-type]
    p = torch.tensor([0.0, 1e-6, 0.2, 0.5, 0.93, 1.0])
    np.testing.assert_allclose(calibrated(found, p), found(p.numpy()), atol=2e-5)
    assert torch.equal(calibrated(None, p), p)


def test_layers_say_the_same_in_the_form_that_a_graph_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    cell, x, gaps = CfC(3, 5), torch.randn(4, 7, 3), torch.randint(1, 5, (4, 7, 1)).float()
    values = torch.randint(0, 9, (4, 11))
    points, mask = diagrams(torch.Generator().manual_seed(1), 6, 12, 3)
    points[0, 0] = torch.tensor([1.0, 0.5, 0.0])  # dies before it is born
    points[1, 0, 1] = torch.inf
    layer = PersLayer(4)
    inputs = random_inputs(4)
    block, tokens = LiquidBlock(6).eval(), torch.randn(4, 11, 6)
    with torch.no_grad():
        packed = pack(points, mask, 2)
        ours = [cell(x, gaps), running_max(values), series_of(inputs, "txn_seq").values, block(tokens, values > 4), *(
            layer(*own, 6) for own in packed.by_homology()
        )]  # fmt: skip
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
        valid = mask & sound(points, 2)
        monkeypatch.setattr(torch.Tensor, "cummax", None, raising=False)  # ONNX has none
        again = [cell(x, gaps), running_max(values), series_of(inputs, "txn_seq").values, block(tokens, values > 4)]
        graph = [*again, *(layer.dense(points, valid & (points[:, :, 2] == k)) for k in range(2))]
    for a, b in zip(ours, graph, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_graph_that_says_something_else_is_refused(tiny_run: Run) -> None:
    model, rows = tiny_run.model(), tiny_run.sample()
    signature = signature_of(tiny_run, model, rows)
    served = ServedModel(model, tiny_run.calibration, signature).eval()
    given = tensors(signature, rows.load("test", 5).inputs)

    def off(inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        found = list(served(*inputs))
        found[3] = found[3] + 0.01
        return found

    with pytest.raises(UserError, match=f"'{signature.outputs[3].name}' .* away from the model"):
        write._difference(served, off, given, signature)


def test_an_encoder_that_reads_a_spectrum_is_refused_in_one_sentence() -> None:
    encoder = StreamEncoder("txn_seq", 16, 180, EncoderConfig(width=8, heads=2, layers=1, frequency="on"))
    config = tiny_config({"shared_experts": {"temporal": {"encoder": asdict(encoder)}}})
    with pytest.raises(UserError, match=r"has a frequency branch .* --format torch can"):
        write._require_onnx_form(PLEClusterAdaTT(config, random_context()))
    write._require_onnx_form(PLEClusterAdaTT(tiny_config(), random_context()))


def test_a_library_that_is_not_there_is_named_before_anything_is_made(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert main(["export", str(tiny_run.path), str(tmp_path / "out"), "--format", "onnx"]) == 2
    assert "pip install 'ple-scope[export]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
