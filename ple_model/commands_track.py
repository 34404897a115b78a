"""`ple track`, and what `ple train --track` adds to the progress of a training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.arguments import folder_in
from ple_model.commands import Arguments, Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.translation import training_sentence

if TYPE_CHECKING:
    from ple_model.tracking.replay import Follower

NAMES = ("mlflow", "tensorboard")
"""As `tracking.trackers.TRACKERS`."""
PLACE = "folder, or for MLflow a URI (default: tracking-NAME beside the run)"


def add_track(parser: argparse.ArgumentParser) -> None:
    """`--track` and `--track-to` of a training."""
    parser.add_argument("--track", choices=NAMES, help="send every epoch to this tracker too (default: to none)")
    parser.add_argument("--track-to", metavar="PLACE", help=f"with --track: {PLACE}")


def follower(arguments: Arguments) -> Follower | None:
    """Who follows the training that is asked for; `UserError` where the tracker's package is missing."""
    from ple_model.tracking.replay import Follower
    from ple_model.tracking.trackers import tracker

    if arguments.track is None:
        if arguments.track_to is not None:
            said = f"--track-to needs a tracker: --track {' or '.join(NAMES)}"
            raise UserError(training_sentence(said, arguments.language))
        return None

    def warn(text: str) -> None:
        print(training_sentence(text, arguments.language), file=sys.stderr, flush=True)

    try:
        found = tracker(arguments.track, arguments.run, arguments.track_to)
    except UserError as e:
        raise type(e)(training_sentence(str(e), arguments.language)) from e
    return Follower(arguments.run, found, warn)


def both(*heard: Callable[[dict[str, Any]], None] | None) -> Callable[[dict[str, Any]], None]:
    """One listener out of those that are there."""
    there = [h for h in heard if h is not None]

    def hear(line: dict[str, Any]) -> None:
        for h in there:
            h(line)

    return hear


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "what the tracker holds of the run already is not sent again"
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument("--track", choices=NAMES, required=True, help="the tracker")
    parser.add_argument("--to", metavar="PLACE", help=PLACE)
    parser.add_argument("--language", choices=("en", "ko"), default="en", help="language of what is said (default: en)")
    add_json(parser)


def _track(arguments: Arguments) -> int:
    from ple_model.run import load_run
    from ple_model.tracking.replay import track
    from ple_model.tracking.trackers import place_of, tracker

    run: Path = arguments.run
    found = load_run(run)
    try:
        sent = track(found, tracker(arguments.track, run, arguments.to))
    except OSError:
        raise
    except UserError as e:
        raise type(e)(training_sentence(str(e), arguments.language)) from e
    except Exception as e:  # whatever a foreign library raises
        said = f"{arguments.track} took no more: {' '.join(str(e).split())}"
        raise UserError(training_sentence(said, arguments.language)) from e
    if arguments.json:
        where = place_of(run, arguments.track, arguments.to)
        print(dump({"run": str(run), "tracker": arguments.track, "place": where, "new_values": sent}))
    else:
        print(training_sentence(f"{sent} new values", arguments.language))
    return 0


COMMANDS: tuple[Command, ...] = (Command("track", "send the progress of a run to MLflow or TensorBoard", _configure, _track),)
