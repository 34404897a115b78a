"""`ple card`: a run as a model card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ple_model.arguments import file_out, folder_in
from ple_model.commands import Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump

KINDS = {".html": ".html", ".htm": ".html", ".md": ".md", ".markdown": ".md"}
"""How a card is written, by how its file ends."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "it holds what is stored of the run and measures nothing: `ple diagnose RUN` first gives it skill and findings"
    )
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument(
        "--out", type=file_out, metavar="FILE", action="append", default=[],
        help="write it as .html (opens offline, prints) or .md; may be repeated (default: Markdown on stdout)",
    )  # fmt: skip
    parser.add_argument("--lang", choices=("en", "ko"), default="en", help="language of the card (default: en)")
    add_json(parser)


def _run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from analysis.card.content import card
    from analysis.card.render import to_html, to_markdown
    from analysis.diagnose import load_diagnosis
    from analysis.report import write_report
    from ple_model.run import load_run

    for path in args.out:
        _kind(path)
    found = load_diagnosis(args.run, own=True) or load_diagnosis(args.run)
    if found is None:
        print(f"nothing that holds is stored of {args.run}: `ple diagnose {args.run}` measures it", file=sys.stderr)
    made = card(load_run(args.run), found, args.lang)
    for path in args.out:
        write_report(path, to_html(made) if _kind(path) == ".html" else to_markdown(made))
    if args.json:
        print(dump(asdict(made)))
    elif not args.out:
        print(to_markdown(made), end="")
    return 0


def _kind(path: Path) -> str:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"--out {path}: a card is written as .html or .md, for example {path.stem}.html")
    return kind


COMMANDS: tuple[Command, ...] = (
    Command("card", "write the model card of a run: data, metrics, trust, limits, use", _configure, _run),
)
