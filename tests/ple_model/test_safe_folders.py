"""Reading inside folders of strangers: what is refused, what is bounded, and that no module goes around it."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ple_model.errors import UserError
from ple_model.progress import read_progress
from ple_model.safe_arrays import open_parquet, read_npz, write_npz
from ple_model.safe_paths import append_file, check_tree, open_file, plain_name, read_bytes, write_bytes
from ple_model.safe_text import read_json
from ple_model.stored_metrics import checked_metrics

ROOT = Path(__file__).resolve().parents[2]


def _make(path: Path, kind: str, target: Path) -> None:
    if kind == "link":
        path.symlink_to(target)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["link", "device", "FIFO", "folder"])
def test_what_is_no_plain_file_is_refused_at_once_and_nothing_outside_is_touched(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    path = tmp_path / "in" / "x"
    path.parent.mkdir()
    _make(path, kind, outside)
    for use in (open_file, append_file, read_json):
        with pytest.raises(UserError, match=r"in/x is a"):
            use(path)
    if kind != "folder":
        with pytest.raises(UserError, match=r"in/x is a"):
            check_tree(path.parent)
        write_bytes(path, b"new")
        assert read_bytes(path, 10) == b"new"
    assert outside.read_text() == "kept"


def test_a_file_with_a_second_name_is_not_appended_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("kept")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match="hard link"):
        append_file(tmp_path / "b")


def test_a_file_is_no_larger_than_its_kind(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    with pytest.raises(UserError, match="5 bytes, at most 4"):
        read_bytes(tmp_path / "x", 4)


@pytest.mark.parametrize("text", ["[" * 50 + "]" * 50, "[" * 200_000, '{"a":' * 40 + "1" + "}" * 40, "9" * 5000, "\xff", "{"])
def test_json_beyond_its_bounds_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"x\.json is damaged"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["../x", "/dev/zero", "a/b", "", ".", "..", ".x", "a\0", "a\n", 3, None, "x" * 300])
def test_a_name_is_a_name_in_the_folder(name: object) -> None:
    with pytest.raises(UserError, match="is not the name of a file"):
        plain_name(name, "dataset.json: files.0.name")


def _member(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b" " * (63 - (len(header) + 10) % 64) + b"\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as z:
        z.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body)
    return data.getvalue()


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    kept = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.arange(6).reshape(2, 3)), "c": np.array(["x", "yz"])}
    kept |= {"empty": np.zeros((0, 4), np.float32), "none": np.array(1.5)}
    for packed in (False, True):
        write_npz(tmp_path / "x.npz", kept, packed=packed)
        found = read_npz(tmp_path / "x.npz")
        assert list(found) == list(kept)
        for name, array in kept.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_member("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"), "claims the shape"),
        (_member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), "claims the shape"),
        (_member("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n"), "holds Python objects"),
        (_member("__import__('os').system('true')"), "no readable header"),
        (_member("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b"\0" * 9), "cut short"),
        (b"PK\x03\x04 no zip", "is damaged"),
        (b"", "is damaged"),
    ],
)
def test_an_array_claims_no_more_than_is_there(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(UserError, match=said) as raised:
        read_npz(tmp_path / "x.npz")
    assert "allow_pickle" not in str(raised.value)
    assert "x.npz" in str(raised.value)


def test_a_parquet_file_that_is_cut_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    with open_parquet(path) as file:
        assert file.read().num_rows == 1000
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"x\.parquet is damaged"), open_parquet(path) as file:
        file.read()


def test_a_long_line_of_progress_is_passed_over_and_lines_of_another_shape_are_left_out(tmp_path: Path) -> None:
    lines = [
        b'{"event": "start"}', b'{"event": "epoch", "epoch": 1, "x": "' + b"a" * (1 << 20) + b'"}',
        b'{"event": "epoch", "epoch": "one"}', b'{"event": "epoch", "epoch": 2, "train": []}',
        b'{"event": "epoch", "epoch": 3}',
    ]  # fmt: skip
    (tmp_path / "progress.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert [line.get("epoch") for line in read_progress(tmp_path / "progress.jsonl")] == [None, 3]


READ_LONG = """
import resource, sys
from pathlib import Path
from ple_model.progress import read_progress
from dashboard.jobs import progress
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before, path = peak(), Path(sys.argv[1])
found = [[line.get("epoch") for line in lines] for lines in (read_progress(path), progress(path.parent))]
print(*found, peak() - before)
"""


def test_a_line_of_a_gigabyte_costs_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "progress.jsonl").open("wb") as file:
        file.write(b'{"event": "start"}\n{"event": "epoch", "epoch": 1, "x": "')
        file.seek(1 << 30, 1)  # a hole: it takes no room on the disk, and reads as a gigabyte without a newline
        file.write(b'"}\n{"event": "epoch", "epoch": 2}\n')
    words = [sys.executable, "-c", READ_LONG, str(tmp_path / "progress.jsonl")]
    done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT, timeout=120)
    *read, megabytes = done.stdout.rsplit(maxsplit=1)
    assert read == ["[None, 2] [2]"]
    assert int(megabytes) < 64


@pytest.mark.parametrize("raw", [[], {"splits": []}, {"splits": {"test": {"ctr": {"kind": "x", "n": 1, "metrics": {}}}}}, None])
def test_metrics_of_another_shape_are_named(raw: object) -> None:
    with pytest.raises(UserError, match=r"metrics\.json is damaged"):
        checked_metrics(Path("metrics.json"), json.loads(json.dumps(raw)))


# --- nobody goes around it

READERS = {"safe_open", "ParquetFile", "read_table", "read_schema", "load", "read_parquet"}
METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}
OUTSIDE_RUNS = {
    "ple_model/safe_paths.py": "the one way",
    "ple_model/safe_arrays.py": "npz and Parquet by the one way",
    "ple_model/files.py": "safetensors takes names only: check_file stands before it",
    "ple_model/schema.py": "the package's own schema",
    "ple_model/sources.py": "the program's own source files, hashed",
    "ple_model/provenance.py": "the commit of the program's own checkout",
    "ple_model/bench/measure.py": "/proc",
    "dashboard/job_end.py": "/proc",
    "ple_model/data/build/steps.py": "the build's own temporary folder",
    "ple_model/data/dataset/cache.py": "the cache folder that the caller names",
    "ple_model/data/features/declared.py": "writes the package's own schema",
    "analysis/record.py": "the program's own code, hashed; files of a run by the one way",
    "analysis/faults/base.py": "the benchmark's own runs",
    "analysis/ablation.py": "a file the person names",
    "analysis/bench/diagnose.py": "a benchmark of runs it made",
    "analysis/bench/skill.py": "a benchmark of runs it made",
    "analysis/bench/many.py": "a benchmark of runs it made",
    "analysis/engine/effects.py": "opens a dataset, which opens files by the one way",
    "ple_model/data/checking/validation.py": "opens the check of a table, no file",
    "analysis/report.py": "writes the report the person names",
    "ple_model/translation.py": "the package's own catalogue",
    "analysis/html_page.py": "the package's own styles",
    "analysis/i18n/__init__.py": "the package's own catalogues",
    "analysis/i18n/sentences.py": "the package's own catalogues",
    "dashboard/i18n/__init__.py": "the package's own catalogues",
    "dashboard/bench.py": "a benchmark's own files",
    "dashboard/bench_viewers.py": "the lines of a training that the benchmark started",
    "ple_model/bench/few_labels.py": "a benchmark's own files",
    "dashboard/browser.py": "the log of the app it started",
}
BY_PERSON = {
    (
        "ple_model/config/loading.py",
        "read_config_file",
    ): "the file of --config, or a preset; a run's own is read by the one way",
    ("analysis/commands.py", "_thresholds"): "the file of --thresholds",
    (
        "ple_model/data/importers/csv_files.py",
        "as_utf8",
    ): "a source that is imported, written as UTF-8 into the import's own folder",
    ("ple_model/data/importers/encodings.py", "blocks"): "a source that is imported, block by block",
    ("ple_model/data/importers/file_kinds.py", "file_kind"): "the first bytes of a source that is imported",
    ("ple_model/data/importers/file_kinds.py", "is_binary"): "the first bytes of a source that is imported",
    (
        "ple_model/data/importers/starter_map.py",
        "write_starter",
    ): "the map that the person named, to look whether it is there already",
    ("ple_model/data/importers/starter_map.py", "_save"): "the map that the person named",
    ("ple_model/data/own/dataset.py", "load"): "loads rows of a table, no file",
    ("ple_model/data/own/schema_file.py", "load_table"): "the schema file that the person named",
    ("ple_model/data/importers/source_map.py", "load_map"): "the map that the person named",
    ("ple_model/data/importers/spreadsheets.py", "sheet_as_csv"): "writes the sheet of a source into the import's own folder",
    ("ple_model/data/importers/spreadsheets.py", "_open"): "a source that is imported",
    ("analysis/review/id_file.py", "_parquet"): "the list of customers that the person named",
}
"""(file, function) that opens what the person names on the command line: their own choice, no part of a run or dataset."""


def _direct(tree: ast.AST) -> list[str]:
    """Calls that open a file by its name."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in {"open", "safe_open"}:
            found.append(f"{node.func.id} in line {node.lineno}")
        if isinstance(node.func, ast.Attribute):
            owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if node.func.attr in METHODS or (node.func.attr in READERS and owner in {"np", "pq", "pd"}):
                found.append(f"{node.func.attr} in line {node.lineno}")
            if node.func.attr == "open" and owner not in {"Dataset", "os", "zipfile", "archive"}:
                found.append(f"open in line {node.lineno}")
    return found


def test_no_module_opens_files_of_runs_but_by_the_one_way() -> None:
    wrong = {}
    for package in ("ple_model", "analysis", "dashboard"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name in OUTSIDE_RUNS:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            chosen = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and (name, n.name) in BY_PERSON]
            calls = [c for c in _direct(tree) if not any(c in _direct(n) for n in chosen)]
            if calls:
                wrong[name] = calls
    assert wrong == {}, "read and write by ple_model.safe_paths, or say in OUTSIDE_RUNS why not"


def test_the_list_of_exceptions_holds_no_strangers() -> None:
    assert [name for name in OUTSIDE_RUNS if not (ROOT / name).exists()] == []
    for name, function in BY_PERSON:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        assert any(isinstance(n, ast.FunctionDef) and n.name == function and _direct(n) for n in ast.walk(tree)), (
            name,
            function,
        )
