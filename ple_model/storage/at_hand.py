"""A command's places by URL, as paths of this machine while it runs: what it reads is fetched, what it makes is put there.

What a command made that could not be put in its place (the network failed, the process was killed) is kept, and named to
whoever runs the command again.
"""

from __future__ import annotations

import argparse
import copy
import io
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ple_model.engine.choose import ADDRESS, engine_name
from ple_model.errors import UserError
from ple_model.safe_paths import is_file
from ple_model.storage.cache import CACHE, RESULT, one_at_a_time, place_of
from ple_model.storage.fetch import fetched
from ple_model.storage.listing import FileList
from ple_model.storage.put import put_file, put_folder, reserved
from ple_model.storage.remote import Remote, open_remote
from ple_model.storage.url import AtUrl
from ple_model.ticker import counter

WHOLE = ("events.json", "dataset.json")
"""What folders that commands make hold once they are whole."""


class Waits(UserError):
    """What was made is not in its place yet; the sentence names where it lies on this machine."""


@contextmanager
def at_hand(arguments: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The arguments with paths in the place of URLs; at the end of the block what was made is put in its place. Sentences of
    errors name URLs again. What a command prints on standard output is shown once its results are in their places, or it has
    failed itself. `UserError` besides where the machines of a cluster would not find the copies."""
    places = {name: value for name, value in vars(arguments).items() if isinstance(value, AtUrl)}
    _require_shared(arguments, places)
    paths: dict[str, Path] = {}
    out = _Later(sys.stdout) if any(p.written for p in places.values()) else sys.stdout
    try:
        with ExitStack() as open_places:
            for name, place in places.items():
                if place.written:  # first: whether it may be written is known before anything is copied
                    paths[name] = open_places.enter_context(_Result(place).made_here())
            for name, place in places.items():
                if not place.written:
                    shown = counter(f"files of {place.url}", quiet=bool(getattr(arguments, "quiet", False)))
                    paths[name] = open_places.enter_context(fetched(place, shown))
            urls = {str(path): places[name].url for name, path in paths.items()}
            open_streams = redirect_stdout(_NamingUrls(out, urls)), redirect_stderr(_NamingUrls(sys.stderr, urls))
            with open_streams[0], open_streams[1], _shown_if_it_fails(out):
                yield argparse.Namespace(**{**vars(arguments), **paths})
        _show(out)
    except Waits:
        raise
    except UserError as e:
        told = copy.copy(e)
        told.args = (_named(str(e), {str(path): places[name].url for name, path in paths.items()}),)
        raise told from e


def _named(text: str, urls: Mapping[str, str]) -> str:
    for path, url in urls.items():
        text = text.replace(path, url)
    return text


class _Later(io.StringIO):
    """What is to be printed."""

    def __init__(self, to: TextIO) -> None:
        super().__init__()
        self.to = to


def _show(out: TextIO) -> None:
    if isinstance(out, _Later):
        out.to.write(out.getvalue())


@contextmanager
def _shown_if_it_fails(out: TextIO) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _show(out)
        raise


class _NamingUrls(io.TextIOBase):
    """Standard output or error; what a command prints names URLs, not their copies."""

    def __init__(self, to: TextIO, urls: Mapping[str, str]) -> None:
        self._to, self._urls = to, urls

    def write(self, text: str) -> int:
        return self._to.write(_named(text, self._urls))

    def flush(self) -> None:
        self._to.flush()

    def isatty(self) -> bool:
        return self._to.isatty()

    def fileno(self) -> int:
        return self._to.fileno()


def _require_shared(arguments: argparse.Namespace, places: Mapping[str, AtUrl]) -> None:
    if not hasattr(arguments, "engine") or engine_name(arguments.engine, arguments.address) != "ray":
        return
    if (arguments.address or os.environ.get(ADDRESS)) and not os.environ.get(CACHE):
        first = next(iter(places.values())).url
        raise UserError(f"{first}: set {CACHE} to a folder that all machines of the cluster share: copies of URLs lie there")


@dataclass(frozen=True)
class _Result:
    """What a command makes."""

    place: AtUrl

    @contextmanager
    def made_here(self) -> Iterator[Path]:
        """Where the command makes it."""
        url, folder = self.place.url, self.place.kind == "folder"
        here = place_of(url, "made")
        with one_at_a_time(here, f"{url}: another command of this machine makes it"):
            local = here / RESULT / self.place.name
            if is_file(local) or any(is_file(local / name) for name in WHOLE):
                raise Waits(f"{url}: what an earlier command made waits: {self._how(local)}; remove it to make it anew")
            local.parent.mkdir(exist_ok=True)
            remote = open_remote(url)
            with reserved(remote, folder=folder) as listed:
                yield local
                if local.exists():
                    self._put(local, remote, listed)

    def _how(self, local: Path) -> str:
        return f"`ple copy {shlex.quote(str(local))} {shlex.quote(self.place.url)}` puts it there"

    def _put(self, local: Path, remote: Remote, listed: FileList) -> None:
        try:
            if self.place.kind == "folder":
                put_folder(local, remote, listed, counter(f"files to {remote.url}"))
            else:
                put_file(local, remote)
        except UserError as e:
            raise Waits(f"{e}; what was made is kept: {self._how(local)}") from e
        shutil.rmtree(local.parent, ignore_errors=True)
