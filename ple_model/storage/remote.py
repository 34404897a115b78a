"""A place by URL through fsspec (https://filesystem-spec.readthedocs.io): what lies there, and every failure as one sentence.

Sentences name the URL and what is missing: a library (and the extra that brings it), a bucket, a permission, credentials, a
server that answers. Values of the environment that are secrets by their name never stand in one.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ple_model.disk import is_disk_full
from ple_model.errors import UserError
from ple_model.safe_paths import MAX_ENTRIES
from ple_model.storage.url import EXTRAS, NAME

SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION_STRING|SAS", re.IGNORECASE)
MARKS = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
"""Where filesystems of fsspec tell that a file is another one than before, the surest first."""
NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"})
REFUSED = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ClientAuthenticationError", "401", "403"})
SILENT = ("Connect", "Timeout", "Endpoint", "ServiceRequest")
"""Parts of the names of errors that say that no server answered."""


@dataclass(frozen=True)
class Lying:
    """A file at a URL."""

    size: int
    mark: str
    """Another one where the file is another one."""


@dataclass(frozen=True)
class Remote:
    """A filesystem of fsspec and a place in it."""

    url: str
    fs: Any
    root: str

    def at(self, name: str) -> str:
        """The filesystem's path of a file below, or of the place itself (empty name)."""
        return f"{self.root}/{name}" if name else self.root

    def files(self) -> dict[str, Lying]:
        """What lies below, by name, sorted; of a single file the empty name. `UserError` for names that are no plain path, and
        for more than `MAX_ENTRIES`."""
        with speaking(self.url, "read"):
            self.fs.invalidate_cache()
            found = _found(self.fs, self.root)
            found = {n: i or self.fs.info(n) for n, i in found.items() if not n.endswith("/") and i.get("type") != "directory"}
        if len(found) > MAX_ENTRIES:
            raise UserError(f"{self.url} holds more than {MAX_ENTRIES:,} files; name the folder of one bank, dataset or run")
        return dict(sorted((self._name(n), _lying(i)) for n, i in found.items()))

    def lying(self, name: str) -> Lying | None:
        """The file of this name; None where there is none."""
        with speaking(self.url, "read"):
            self.fs.invalidate_cache()
            try:
                return _lying(self.fs.info(self.at(name)))
            except FileNotFoundError:
                return None

    def _name(self, path: str) -> str:
        """Its name below the place."""
        if path.strip("/") == self.root.strip("/"):
            return ""
        name = path.lstrip("/").removeprefix(f"{self.root.strip('/')}/")
        if len(name) == len(path.lstrip("/")) or any(p in (".", "..") or NAME.fullmatch(p) is None for p in name.split("/")):
            raise UserError(f"{self.url}: {name[:200]!r} is not the name of a file below it")
        return name


def _found(fs: Any, root: str) -> Mapping[str, Any]:
    """All files below, or the file itself. fsspec's own `find` leaves out a folder that could not be listed."""
    from fsspec import AbstractFileSystem  # late: nobody without a URL needs it

    if type(fs).find is AbstractFileSystem.find:
        return _walked(fs, root)
    found = fs.find(root, detail=True)
    return found if isinstance(found, Mapping) else {n: fs.info(n) for n in found}  # adlfs lists the names of a single file


def _walked(fs: Any, root: str) -> Mapping[str, Any]:
    try:
        first = fs.info(root)
    except FileNotFoundError:
        return {}
    if first["type"] != "directory":
        return {root: first}
    found: dict[str, Any] = {}
    waiting = [root]
    while waiting and len(found) <= MAX_ENTRIES:
        here = waiting.pop()
        for info in fs.ls(here, detail=True):
            if info["type"] != "directory":
                found[info["name"]] = info
            elif info["name"].strip("/") != here.strip("/"):
                waiting.append(info["name"])
    return found


def _lying(info: Mapping[str, Any]) -> Lying:
    mark = next((str(info[m]) for m in MARKS if info.get(m) is not None), None)
    return Lying(int(info.get("size") or 0), secrets.token_hex(8) if mark is None else mark)


def open_remote(url: str) -> Remote:
    """`UserError` where the library of the protocol is not installed."""
    protocol = url.partition("://")[0]
    extra = EXTRAS[protocol] or "s3"
    try:
        import fsspec  # late: nobody without a URL needs it
    except ImportError as e:
        raise UserError(f"{url}: places by URL need fsspec: pip install 'ple-scope[{extra}]'") from e
    try:
        with speaking(url, "opened"):
            fs, root = fsspec.url_to_fs(url)
    except _NoLibrary as e:
        how = f"pip install 'ple-scope[{extra}]'" if EXTRAS[protocol] else "Hadoop's libhdfs and its CLASSPATH must be there"
        raise UserError(f"{url}: {protocol}:// needs a library that is not installed: {how}") from e
    return Remote(url, fs, root.rstrip("/"))


class _NoLibrary(UserError):
    """The library of a protocol is not installed."""


@contextmanager
def speaking(url: str, doing: str) -> Iterator[None]:
    """Whatever a storage library raises becomes a sentence, but a full disk of this machine; `doing`: "read", "written"."""
    try:
        yield
    except UserError:
        raise
    except ImportError as e:
        raise _NoLibrary(without_secrets(str(e))) from e
    except Exception as e:
        if is_disk_full(e):  # of this machine: whoever writes here says where
            raise
        raise UserError(f"{url} cannot be {doing}: {_why(e, url)}") from None  # a cause may hold what a sentence must not


def _why(error: Exception, url: str) -> str:
    names = {type(e).__name__ for e in _chain(error)} | {_code(e) for e in _chain(error)}
    bucket = url.partition("://")[2].partition("/")[0]
    said = f"{type(error).__name__}: {' '.join(without_secrets(str(error)).split())[:200]}".rstrip(": ")
    if isinstance(error, OSError) and error.errno and str(error.filename or "").startswith("/") and not url.startswith("hdfs:"):
        return f"{error.filename}: {error.strerror}"  # a file of this machine
    if names & NO_CREDENTIALS:
        return "no credentials were found; put them where the library looks (environment or its own files), not in the URL"
    if isinstance(error, PermissionError) or names & REFUSED:
        return "permission denied: the credentials in use may not do this, or are not valid"
    if isinstance(error, FileNotFoundError) or "NoSuchBucket" in names:
        return f"nothing is there, or there is no bucket '{bucket}'"
    if any(s in n for n in names for s in SILENT):
        return f"no server answers (network, endpoint or region); {said}"
    return said


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _code(error: BaseException) -> str:
    """What a server called its refusal (botocore), or its number (gcsfs)."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "") if isinstance(response, dict) else getattr(error, "code", ""))


def without_secrets(text: str) -> str:
    """The text without any value of the environment that is a secret by its name."""
    for name, value in os.environ.items():
        if len(value) >= 8 and SECRET.search(name):
            text = text.replace(value, "***")
    return text
