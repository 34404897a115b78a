"""What a URL is on the command line: where it may stand, what is wrong with one, and that nobody without one notices."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from ple_model.arguments import file_out, folder_in, folder_or_url
from ple_model.errors import UserError
from ple_model.storage.remote import open_remote, without_secrets
from ple_model.storage.url import AtUrl


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("s4://bank/events", "'s4' is no protocol of a URL here; valid: abfs"),
        ("zip::s3://bank/events.zip", "'zip::s3' is no protocol"),
        ("s3://bank", "names no place; write s3://bucket/folder"),
        ("s3:///events", "names no place"),
        ("s3://bank/../events", "names no place"),
        ("s3://bank//events", "names no place"),
        ("s3://bank/a\nb", "names no place"),
        ("s3://AKIA1234:topsecret@bank/events", "a password"),
        ("s3://AKIA1234:topsecret/def@bank/events", "a password"),
        ("s3://AKIA1234/topsecret@bank/events", "a password"),
        ("s3://AKIA1234%3Atopsecret%40bank/events", "a password"),
        ("s3://AKIA1234:topsecret//def@bank/events", "a password"),
        ("s3://bank/topsecret//events", "names no place"),
        ("gs://topsecret@bank/events", "a password"),
        ("abfs://box:topsecret@bank.dfs.core.windows.net/a", "a password"),
        ("abfs://box@topsecret@bank/a", "a password"),
        ("hdfs://me:topsecret@node:8020/a", "a password"),
        ("s3://bank/a::v2", "names one place"),
        ("s3://bank/run[1]", "names one place"),
        ("s3://bank/*", "names one place"),
        ("memory://bank/events", "'memory' is no protocol"),
        ("az://bank/events?sig=topsecret", "with one of"),
        ("file://elsewhere/events", "is no file of this machine"),
    ],
)
def test_what_is_wrong_with_a_url_is_one_sentence_without_its_secrets(given: str, said: str) -> None:
    with pytest.raises(ArgumentTypeError, match=said) as raised:
        folder_or_url(given)
    assert "topsecret" not in str(raised.value)


def test_a_url_is_kept_as_it_was_typed_and_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert folder_or_url("S3://bank/2024/events/") == AtUrl("s3://bank/2024/events", "folder", written=False)
    for whole in ("hdfs:///events", "hdfs://me@node:8020/events", "az://box/events", "gs://bank/day=2024-01-01"):
        assert folder_or_url(whole) == AtUrl(whole, "folder", written=False)
    assert folder_or_url("abfs://box@bank.dfs.core.windows.net/a").name == "a"  # type: ignore[union-attr]
    (tmp_path / "two words").mkdir()
    assert folder_or_url(f"file://{tmp_path}/two%20words") == tmp_path / "two words"
    assert file_out(f"file://{tmp_path}/x.parquet") == tmp_path / "x.parquet"


def test_a_command_that_takes_no_url_says_how_to_go_on() -> None:
    with pytest.raises(ArgumentTypeError, match="takes a path of this machine: `ple copy`"):
        folder_in("s3://bank/run")


def test_a_library_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"gs://bank/events: .* pip install 'ple-scope\[gcs\]'"):
        open_remote("gs://bank/events")
    with pytest.raises(UserError, match=r"az://bank/events: .* pip install 'ple-scope\[azure\]'"):
        open_remote("az://bank/events")


def test_secrets_of_the_environment_are_in_no_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abc/def+0123456789")
    assert without_secrets("signature of abc/def+0123456789 is wrong") == "signature of *** is wrong"


def test_who_gives_no_url_imports_nothing_of_it() -> None:
    words = "import sys; from ple_model.cli import build_parser, gather; build_parser(gather()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "ple_model.storage.url" in loaded
    assert not loaded & {"fsspec", "ple_model.storage.remote", "ple_model.storage.at_hand"}
