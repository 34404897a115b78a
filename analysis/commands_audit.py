"""`ple audit verify`: whether the record of what was reported is whole. Exit 1 where its chain is broken or has an
open end."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from analysis.review.record import FILE, record_folder, verify
from ple_model.arguments import Fault, folder_in
from ple_model.commands import Command, add_json
from ple_model.json_text import dump
from ple_model.safe_paths import is_file


def _digest(given: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", given) is None:
        raise Fault(f"{given[:70]!r} is no digest; it has 64 hexadecimal digits, as `ple audit verify` prints them")
    return given


def _configure(parser: argparse.ArgumentParser) -> None:
    sub = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    one = sub.add_parser("verify", help="check the hash chain, and name the first line that does not fit")
    one.add_argument("run", type=folder_in, metavar="RUN", help="run folder, or the folder that --audit named")
    one.add_argument(
        "--head", type=_digest, metavar="DIGEST", help="a digest that was noted before: its line must still be there"
    )
    add_json(one)
    one.epilog = (
        "exit code: 1 where the chain is broken, or where it ends with a line that is unfinished or was overwritten, or holds "
        "none: the chain cannot tell which. Lines that are missing at the end show only against --head"
    )


def _folder(given: Path) -> Path:
    return given if is_file(given / FILE) else record_folder(given)


def _run(args: argparse.Namespace) -> int:
    found = verify(_folder(args.run), args.head)
    print(dump(found.to_dict()) if args.json else found)
    return 0 if found.whole else 1


COMMANDS: tuple[Command, ...] = (Command("audit", "check the record of the reports that were made", _configure, _run),)
