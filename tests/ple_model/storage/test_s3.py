"""Places by URL on a server that speaks S3 (moto's, https://docs.getmoto.org), through s3fs: what a filesystem in memory hides.

Neither belongs to the project's environment: install `s3fs` and `moto[server]` beside it to run this.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ple_model.cli import main
from tests.ple_model.data.tiny_events import tables, write_events

s3fs = pytest.importorskip("s3fs", reason="s3:// needs s3fs, an extra")
server = pytest.importorskip("moto.server", reason="an S3 server of its own: moto[server]")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("bank") / "events", tables(30))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket `bank`, and a cache of its own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    own = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a-key-of-a-test", "AWS_SECRET_ACCESS_KEY": "a-secret-of-a-test"}
    rest = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "PLE_CACHE": str(tmp_path / "cache")}
    for name, value in {**own, **rest, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    found = s3fs.S3FileSystem()
    if not found.exists("bank"):
        found.mkdir("bank")
    return found


def test_a_bank_goes_to_s3_is_worked_on_there_and_comes_back(
    s3: Any, events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["copy", str(events), "s3://bank/2024/events"]) == 0
    assert main(["shard", "s3://bank/2024/events", "s3://bank/2024/buckets", "--buckets", "2", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.partition("\n")[2])["path"] == "s3://bank/2024/buckets"
    assert "a-secret-of-a-test" not in said.out + said.err
    assert main(["shard", str(events), str(tmp_path / "here"), "--buckets", "2"]) == 0
    assert main(["copy", "s3://bank/2024/buckets", str(tmp_path / "back")]) == 0
    files = {p.relative_to(tmp_path / "here"): p.read_bytes() for p in (tmp_path / "here").rglob("*") if p.is_file()}
    assert files == {p.relative_to(tmp_path / "back"): p.read_bytes() for p in (tmp_path / "back").rglob("*") if p.is_file()}
    monkeypatch.chdir(tmp_path)
    assert main(["copy", "s3://bank/2024/events/customers.parquet", "one.parquet"]) == 0
    assert (tmp_path / "one.parquet").read_bytes() == (events / "customers.parquet").read_bytes()


def test_a_changed_object_is_seen_and_a_half_written_folder_refused(
    s3: Any, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", str(events), "s3://bank/events"]) == 0
    assert main(["validate", "s3://bank/events"]) == 0
    other = s3fs.S3FileSystem(skip_instance_cache=True)
    content = other.cat_file("bank/events/customers.parquet")
    other.pipe_file("bank/events/customers.parquet", content[:-1] + b"x")  # of the same size
    assert main(["validate", "s3://bank/events"]) == 2
    assert "customers.parquet differs from .ple-files.json" in capsys.readouterr().err
    other.pipe_file("bank/events/.ple-files.json", b'{"format": 1, "writer": "x", "files": null}')
    assert main(["validate", "s3://bank/events"]) == 2
    assert "is being written" in capsys.readouterr().err


def test_what_lacks_is_named(
    s3: Any, events: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        s3fs.S3FileSystem.clear_instance_cache()
        assert main([*words]) == 2
        return capsys.readouterr().err

    told = said("validate", "s3://nobodys/events")
    assert "s3://nobodys/events cannot be read: nothing is there, or there is no bucket 'nobodys'" in told
    told = said("copy", str(events), "s3://nobodys/events")
    assert "s3://nobodys/events cannot be read: nothing is there, or there is no bucket 'nobodys'" in told
    with monkeypatch.context() as silent:
        silent.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        silent.setenv("AWS_MAX_ATTEMPTS", "1")
        told = said("validate", "s3://bank/events")
        assert "s3://bank/events cannot be read: no server answers" in told
        assert "a-secret-of-a-test" not in told
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no credentials were found" in said("validate", "s3://bank/events")
