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
    if broken or not trusted or w.of_other_data:
        meant = [w("use_broken" if broken else "use_other" if w.of_other_data else "use_none")]
    else:
        meant = []
        for key, tasks_of in (("use_for", w.compared), ("use_alone", lambda t: not w.compared(t))):
            if named := [w.task(t) for t in trusted if tasks_of(t)]:
                meant += [w(key, data=w.run.manifest.data.name), *named]
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
