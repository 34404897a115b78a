"""What a check returns: one finding, printable, serialisable, free of drawing (reference, "Debugging guide")."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Severity = Literal["ok", "info", "unknown", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From calm to loud; `unknown` means that there are too few rows to say."""


@dataclass(frozen=True)
class Evidence:
    """One number behind a verdict. `threshold` is what it was held against, `n` the rows (or epochs) it rests on."""

    name: str
    value: float | None
    threshold: float | None = None
    n: int | None = None
    text: str = ""
    """Set where the evidence is a name rather than a number, for example a field."""


@dataclass(frozen=True)
class Fix:
    """A suggested change of the configuration (`key` empty: the fix is not a config key, `text` says what to do)."""

    key: str
    old: Any
    new: Any
    text: str

    def override(self) -> str | None:
        """`key=value` for `ple train --set`, or None where the fix is no config key. The value is JSON, which YAML reads."""
        return f"{self.key}={json.dumps(self.new)}" if self.key else None


@dataclass(frozen=True)
class Finding:
    """id · severity · subject · verdict · evidence · figure · cause · fix · what-if.

    `subject` is an expert, task, edge ("ctr:cvr"), latent, mode, input field ("temporal.session_seq") or "run".
    `figure` names the figure that shows the evidence ("experts.health"). `whatif` is an intervention that tests the cause, in
    the text form of `Intervention.parse`, for example ("ablate.temporal=zero",); empty where none can.
    """

    id: str
    severity: Severity
    subject: str
    verdict: str
    evidence: tuple[Evidence, ...] = ()
    figure: str | None = None
    cause: str = ""
    fix: Fix | None = None
    whatif: tuple[str, ...] = ()
    follows: str = ""
    """"ID subject" of the finding that this one is a consequence of; set by `analysis.checks.order` alone."""

    @property
    def alarm(self) -> bool:
        """Warnings and errors are alarms; `info` and `unknown` are not."""
        return self.severity in ("warning", "error")

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the keys of `ple diagnose --json`."""
        plain = asdict(self)
        plain["evidence"] = [asdict(e) for e in self.evidence]
        plain["whatif"] = list(self.whatif)
        plain["cause_id"] = self.follows.partition(" ")[0] or None
        return plain
