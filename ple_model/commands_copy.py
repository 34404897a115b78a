"""`ple copy`: a folder or file between this machine and a URL, whole and compared."""

from __future__ import annotations

import argparse
from pathlib import Path

from ple_model.arguments import path
from ple_model.commands import Arguments, Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.numerals import megabytes
from ple_model.storage.url import AtUrl, checked_url, is_url, local_path
from ple_model.ticker import counter


def _place(given: str) -> str:
    """A path or a URL."""
    return checked_url(given) if is_url(given) and local_path(given) is None else str(path(given))


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "keys of --json: source, target, bytes"
    parser.add_argument("source", type=_place, metavar="FROM", help="a folder or file, or the URL of one: s3://bucket/folder")
    parser.add_argument("target", type=_place, metavar="TO", help="where it is to be: a URL if FROM is a path, or both are")
    parser.add_argument(
        "--replace", action="store_true", help="write over a folder at the URL TO: files that its own list names go"
    )
    add_json(parser)


def _run(arguments: Arguments) -> int:
    from ple_model.storage.fetch import fetched

    source, target = arguments.source, arguments.target
    if not is_url(source) and not is_url(target):
        raise UserError(f"ple copy: {source} and {target} are both paths of this machine; one of the two is a URL")
    if not is_url(target):
        if arguments.replace:
            raise UserError(f"--replace is for a folder at a URL; {target} is a path: remove it yourself or name another place")
        size = _here(source, Path(target))
    elif is_url(source):
        with fetched(AtUrl(source, "either", written=False), counter("files")) as copied:
            size = _there(copied, target, replace=arguments.replace)
    else:
        size = _there(Path(source), target, replace=arguments.replace)
    told = {"source": source, "target": target, "bytes": size}
    print(dump(told) if arguments.json else f"{source} -> {target}: {megabytes(size)}")
    return 0


def _here(source: str, target: Path) -> int:
    from ple_model.staging import staged_file, staged_folder
    from ple_model.storage.fetch import copy_to, lying_at
    from ple_model.storage.remote import open_remote

    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is there already; name another place")
    remote = open_remote(source)
    files = lying_at(remote)
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with staged_file(target) if "" in files else staged_folder(target) as fresh:
        copy_to(fresh, remote, files, progress=counter("files"))
    return sum(f.size for f in files.values())


def _there(source: Path, target: str, *, replace: bool) -> int:
    from ple_model.storage.cache import forget_made
    from ple_model.storage.put import put_file, put_folder, reserved, to_put
    from ple_model.storage.remote import open_remote

    if not source.exists():
        raise UserError(f"{source} is not there")
    if source.is_dir():
        to_put(source)  # names are looked at before anything is written
    remote = open_remote(target)
    size = sum(p.stat().st_size for p in (source, *source.rglob("*")) if p.is_file())
    with reserved(remote, folder=source.is_dir(), replace=replace) as listed:
        if source.is_dir():
            put_folder(source, remote, listed, counter("files"))
        else:
            put_file(source, remote)
    forget_made(source, target)
    return size


COMMANDS: tuple[Command, ...] = (
    Command("copy", "events, a dataset or a run, between this machine and a URL (s3://, gs://, ...)", _configure, _run),
)
