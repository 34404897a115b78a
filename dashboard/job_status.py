"""How the state of a job looks: the same for trainings and for jobs that make data."""

from __future__ import annotations

from typing import Literal

Colour = Literal["red", "orange", "blue", "green", "gray"]
STATUS_COLOURS: dict[str, Colour] = {
    "queued": "gray",
    "running": "blue",
    "pausing": "blue",
    "paused": "gray",
    "finished": "green",
    "stopped": "orange",
    "failed": "red",
    "lost": "red",
}
STATUS_ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "pausing": ":material/pause_circle:",
    "paused": ":material/pause_circle:",
    "finished": ":material/check_circle:",
    "stopped": ":material/stop_circle:",
    "failed": ":material/error:",
    "lost": ":material/help:",
}
