"""Findings and figures as one file: HTML that opens offline, Markdown, JSON. Aggregates only, never a customer's row.

The plotting library is inlined once (4.8 MB), whatever the number of figures; the whole stays within 8 MB.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.checks.finding import Evidence, Finding
from analysis.checks.order import Group
from analysis.diagnose import Diagnosis, follow_from_this
from analysis.harmless import harmless, harmless_figure
from analysis.html_page import asset, html_page
from analysis.stats.run import Statistics
from ple_model.json_text import dump
from ple_model.numerals import statistic
from ple_model.safe_paths import write_bytes

MAX_BYTES = 8_000_000
COLOURS = {"error": "#b3261e", "warning": "#8a5a00", "unknown": "#5f6368", "info": "#0b57d0", "ok": "#146c2e"}


def to_html(found: Diagnosis) -> str:
    """One self-contained page: identity, findings loudest first, figures, the list of passed checks."""
    run = found.statistics.facts.run
    counts = " · ".join(f"{len(f)} {s}" for s, f in found.by_severity().items())
    name = html.escape(str(run.get("name") or found.run.name))
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in run.items() if k != "name")
    alarms = "".join(_group(g) for g in found.groups())
    passed = "".join(
        f"<tr><td class=id>{f.id}</td><td>{html.escape(f.verdict)}</td></tr>" for f in found.findings if f.severity == "ok"
    )
    body = (
        f"<h1>{name}</h1><p><b>{html.escape(found.verdict.said())}</b></p><p>{found.statistics.n} rows · {counts}</p>"
        f"<h2>Findings</h2>{alarms or '<p>Nothing to report.</p>'}"
        f"<h2>How well it predicts</h2>{_performance(found.statistics)}"
        f"<h2>Figures</h2>{''.join(_figures(found.statistics))}"
        f"<h2>Passed checks</h2><table>{passed}</table><h2>Run</h2><table>{rows}</table>"
    )
    page = html_page(f"{run.get('name') or found.run.name}: diagnosis", body, asset("analysis", "diagnosis.css"))
    if len(page.encode()) > MAX_BYTES:
        raise RuntimeError(f"the report has {len(page.encode())} bytes, more than {MAX_BYTES}")
    return page


def _performance(s: Statistics) -> str:
    """Every metric of the measured rows, by split and task, each with what a constant reaches."""
    out = ""
    for split, x in s.performance.items():
        rows = ""
        for task in s.facts.learned_first(x.tasks):
            mine = x.tasks[task]
            said = [f"{name} {statistic(value)} ({statistic(mine.constant.get(name))})" for name, value in mine.metrics.items()]
            name = f"{task} (no label in training)" if task in s.facts.unlearned else task
            numbers = html.escape(" · ".join(said))
            rows += f"<tr><td>{html.escape(name)}</td><td class=n>{mine.n}</td><td>{numbers}</td></tr>"
        head = "<tr><th>task</th><th>labelled rows</th><th>metrics (what a constant reaches)</th></tr>"
        out += f"<p>{html.escape(split)}: {x.rows} rows of {x.customers} customers</p><table>{head}{rows}</table>"
    return out or "<p>No row was measured.</p>"


def _group(group: Group) -> str:
    """A finding, and folded beneath it what follows from it."""
    if not group.followers:
        return _card(group.cause)
    followers = "".join(_card(f) for f in group.followers)
    said = follow_from_this(len(group.followers))
    return f"{_card(group.cause)}<details class=follows><summary>{said}</summary>{followers}</details>"


def _card(f: Finding) -> str:
    colour = COLOURS[f.severity]
    evidence = "".join(
        f"<tr><td>{html.escape(e.name)}</td><td class=n>{_value(e)}</td><td class=n>{statistic(e.threshold, '')}</td>"
        f"<td class=n>{e.n if e.n is not None else ''}</td></tr>"
        for e in f.evidence
    )
    table = f"<table><tr><th>evidence</th><th>value</th><th>threshold</th><th>n</th></tr>{evidence}</table>" if evidence else ""
    cause = f"<p>Likely cause: {html.escape(f.cause)}</p>" if f.cause else ""
    tried = f"<p>Try it: <code>{html.escape(' '.join(f.whatif))}</code></p>" if f.whatif else ""
    return (
        f'<div class=card style="border-left-color:{colour}"><span class=badge style="background:{colour}">{f.severity}</span> '
        f"<span class=id>{f.id} · {html.escape(f.subject)}</span><div class=verdict>{html.escape(f.verdict)}</div>"
        f"{table}{cause}{_fix(f)}{tried}</div>"
    )


def _fix(f: Finding) -> str:
    if f.fix is None:
        return ""
    change = ""
    if f.fix.key:
        old, new = html.escape(str(f.fix.old)), html.escape(str(f.fix.new))
        change = f" <code>{html.escape(f.fix.key)}: {old} → {new}</code>"
    return f"<p>Fix: {html.escape(f.fix.text)}{change}</p>"


def _value(e: Evidence) -> str:
    return html.escape(e.text) if e.text else statistic(e.value, "")


def _figures(s: Statistics) -> Iterator[str]:
    from plotly.io import to_html as plotly_html  # late: plotly, which findings alone do without

    from analysis.figures.registry import figures_of  # late: plotly, which findings alone do without

    first = True
    for title, draw in figures_of(s):
        figure: Any = draw()
        harmless_figure(figure).update_layout(template="plotly_white")
        inner = plotly_html(figure, include_plotlyjs=first, full_html=False, config={"displaylogo": False})
        first = False
        yield f"<figure><figcaption>{html.escape(title)}</figcaption>{inner}</figure>"


def to_markdown(found: Diagnosis) -> str:
    """Findings as Markdown, loudest first; what comes from the run makes no link or image of its own."""
    name = found.statistics.facts.run.get("name") or found.run.name
    counts = ", ".join(f"{len(f)} {s}" for s, f in found.by_severity().items())
    lines = [f"# {name}", "", f"**{found.verdict.said()}**", "", f"{found.statistics.n} rows; {counts}.", ""]
    for group in found.groups():
        lines += _section(group.cause, "##")
        if group.followers:
            lines += [f"{follow_from_this(len(group.followers))}:", ""]
            lines += [line for f in group.followers for line in _section(f, "###")]
    lines += ["## Passed", "", *[f"- {f.id}: {f.verdict}" for f in found.findings if f.severity == "ok"], ""]
    return harmless("\n".join(lines))


def _section(f: Finding, mark: str) -> list[str]:
    """The lines of one finding."""
    lines = [f"{mark} {f.severity}: {f.id} ({f.subject})", "", f.verdict, ""]
    if f.evidence:
        lines += ["| evidence | value | threshold | n |", "|---|---|---|---|"]
        for e in f.evidence:
            shown = e.text.replace("|", "\\|") if e.text else statistic(e.value, "")
            lines.append(f"| {e.name.replace('|', chr(92) + '|')} | {shown} | {statistic(e.threshold, '')} | {e.n or ''} |")
        lines.append("")
    if f.cause:
        lines += [f"Likely cause: {f.cause}", ""]
    if f.fix is not None:
        change = f" `{f.fix.key}`: {f.fix.old} to {f.fix.new}." if f.fix.key else ""
        lines += [f"Fix: {f.fix.text}{change}", ""]
    return lines


def to_json(found: Diagnosis) -> str:
    """The JSON of `ple diagnose --json`."""
    return dump(found.to_dict())


def write_report(path: Path, text: str) -> None:
    """Atomically; the parent folder is made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())
