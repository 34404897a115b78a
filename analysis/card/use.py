"""What a run may be used for, and what not: only what follows from what is stored of it."""

from __future__ import annotations

from analysis.card.words import Words
from analysis.results.review import ReviewBlock

NOT_FOR = ("doubted", "behind", "none", "untold", "few", "unmeasured", "unlearned")
"""States of a task that its predictions are not to be used in, each with its reason in words."""


def uses(w: Words, generated: bool) -> tuple[ReviewBlock, ...]:
    """The intended use, then what it is not for."""
    tasks = w.run.config.tasks
    trusted = [t for t in tasks if w.state(t) == "trusted"]
    broken = w.found is not None and w.found.verdict.word == "broken"
    if broken or not trusted:
        meant = [w("use_none")]
    else:
        meant = [w("use_for", data=w.run.manifest.data.name), *(w.task(t) for t in trusted)]
    barred = [w("not_broken")] if broken else []
    if w.run.state != "finished":
        barred.append(w("not_finished"))
    if generated:
        barred.append(w("not_real"))
    for state in NOT_FOR:
        if named := [t for t in tasks if w.state(t) == state]:
            barred.append(w(f"not_{state}", tasks=", ".join(named)))
    barred.append(w("not_groups"))
    barred.append(w("not_others"))
    return (
        ReviewBlock(w("intended"), "lines", tuple((t,) for t in meant)),
        ReviewBlock(w("out_of_scope"), "lines", tuple((t,) for t in barred)),
    )
