"""What is typed as `s3://bucket/folder` where a command may take it: told from a path, checked, kept until the command runs.

Nothing is looked up here and nothing of a storage library is imported. Credentials have no place in a URL, which is printed,
logged and kept in the history of a shell: libraries find them in the environment or in their own files.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from ple_model.errors import did_you_mean

Kind = Literal["file", "folder", "either"]
EXTRAS: dict[str, str | None] = {
    "file": None, "hdfs": None, "s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure",
    "abfss": "azure", "az": "azure",
}  # fmt: skip
"""By protocol, the extra of this package that brings its library; None: none is needed (`hdfs` needs Hadoop's own libhdfs)."""
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:\-]*://")
"""How a URL begins; a chained one (`zip::s3://`) too, to be refused."""
NAME = re.compile(r"[^/\\\x00-\x1f?#*\[\]]{1,200}")
"""What may stand between two slashes; `*` and `[` are patterns to libraries."""
_HOSTS = {"hdfs": r"([\w.\-]+@)?[\w.\-]*(:[0-9]{1,5})?", "abfs": r"[\w.\-]+(@[\w.\-]+)?"}
_HOSTS |= {"abfss": _HOSTS["abfs"], "az": _HOSTS["abfs"]}
"""What may stand before the first slash, where that is not the name of a bucket alone."""


@dataclass(frozen=True)
class AtUrl:
    """A place by URL, in the place of a path among a command's arguments."""

    url: str
    kind: Kind
    written: bool
    """Whether the command makes it; else it reads it."""

    @property
    def name(self) -> str:
        """Its last part, the name of its copy."""
        return self.url.rpartition("/")[2]

    def __str__(self) -> str:
        return self.url


def is_url(given: str) -> bool:
    """Whether it begins as a URL does (`file://` too)."""
    return URL.match(given) is not None


def local_path(given: str) -> str | None:
    """The path that a `file://` URL names; None for any other text. `ArgumentTypeError` for a URL of another host."""
    if not given.lower().startswith("file://"):
        return None
    host, slash, rest = given[len("file://") :].partition("/")
    if host not in ("", "localhost") or not slash:
        raise argparse.ArgumentTypeError("a file:// URL of another host is no file of this machine; write file:///folder/file")
    return unquote(f"/{rest}")


def checked_url(given: str) -> str:
    """The URL without a slash at its end. `ArgumentTypeError` for a protocol that is none of `EXTRAS`, for one that holds
    credentials (which are not repeated), and for one that names no bucket and place."""
    protocol, _, rest = given.partition("://")
    if protocol.lower() not in EXTRAS:
        raise argparse.ArgumentTypeError(f"'{protocol[:40]}' is no protocol of a URL here{did_you_mean(protocol, EXTRAS)}")
    host, _, place = rest.partition("/")
    fits = re.fullmatch(_HOSTS.get(protocol.lower(), r"[^:@]*"), host) is not None
    if not fits or re.search(r"[?#@:*\[\]]|%3a|%40", place, re.IGNORECASE) or re.search(r"[?#%]", host):
        raise argparse.ArgumentTypeError(  # a key may hold a slash: no part of what was typed is told from a secret
            f"a {protocol}:// URL with a password, or with one of ? # @ : * [ ] in it, is not taken: keys and tokens belong in"
            " the environment or in the library's own files, never in a URL, which is logged; a URL names one place"
        )
    parts = [host, *place.rstrip("/").split("/")]
    least = 2
    if protocol.lower() == "hdfs":  # its host is not a bucket, and may be left out
        parts, least = parts[1:] if parts[0] == "" else parts, 1
    wrong = next((p for p in parts if p in (".", "..") or NAME.fullmatch(p) is None), None)
    if wrong is not None or len(parts) < least or not given.isprintable():
        raise argparse.ArgumentTypeError(f"the URL names no place; write {protocol.lower()}://bucket/folder")
    return f"{protocol.lower()}://{rest.rstrip('/')}"


def read_at(kind: Kind, otherwise: Callable[[str], Path]) -> Callable[[str], Path | AtUrl]:
    """A type of command-line values: what is read, by URL, or a path of the type `otherwise`."""
    return _either(kind, otherwise, written=False)


def written_at(kind: Kind, otherwise: Callable[[str], Path]) -> Callable[[str], Path | AtUrl]:
    """A type of command-line values: what is made, by URL, or a path of the type `otherwise`."""
    return _either(kind, otherwise, written=True)


def _either(kind: Kind, otherwise: Callable[[str], Path], *, written: bool) -> Callable[[str], Path | AtUrl]:
    @wraps(otherwise)
    def convert(given: str) -> Path | AtUrl:
        if not is_url(given) or local_path(given) is not None:
            return otherwise(given)
        return AtUrl(checked_url(given), kind, written)

    return convert
