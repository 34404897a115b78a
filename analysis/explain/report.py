"""One customer's explanation as a page for review: self-contained, printable, without scripts, in English or Korean."""

from __future__ import annotations

import html
from collections.abc import Sequence

from analysis.html_page import asset, html_page
from analysis.i18n import section
from analysis.naming import said_name
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Contribution, mark_said
from analysis.wording import given_title, quantity, statement, task_title, title
from ple_model.numerals import Language
from ple_model.presence import plain_name
from ple_model.tasks import TASKS


def to_html(found: Explanation, language: Language = "en") -> str:
    """The page; every visible sentence in `language`."""
    w = section("page", language)
    name = given_title(found.task, found.title) or task_title(found.task, language) or found.title
    aim = f"{name}: {found.label_said(found.target_name, language)}" if found.target_name else name
    sections = [
        f"<h1>{_e(w['why'])}</h1>",
        f"<p>{_e(found.customer_id)} · {_e(found.cutoff)} · {_e(found.segment)} · {_e(aim)}</p>",
        _badge(found, language),
        _key(found, language, w),
        _reasons(found, language, w),
        _offers(found, language, w),
        _section(w["groups"], _bars(found, language, [(g.named(language), g) for g in found.groups[:12]])),
        _features(found, language, w),
        _section(w["experts"], _bars(found, language, [(g.named(language), g) for g in found.experts])),
        _section(w["concepts"], _bars(found, language, [(g.title, g) for g in found.concepts])) if found.concepts else "",
        _transfer(found, language, w),
        _similar(found, language, w),
        _counterfactual(found, language, w),
        _checks(found, language, w),
        _all(found, language, w),
        _section(w["absent"], f"<p>{_e(', '.join(_absent(a, language) for a in found.absent))}</p>") if found.absent else "",
        _audit(found, w),
    ]
    return html_page(f"{found.customer_id}: {aim}", "".join(sections), asset("analysis", "explanation.css"), language)


def _e(text: object) -> str:
    return html.escape(str(text))


def _section(heading: str, body: str) -> str:
    return f"<h2>{_e(heading)}</h2>{body}"


def _key(found: Explanation, language: Language, w: dict[str, str]) -> str:
    cards = [(w["prediction"], found.shown(found.prediction, language)), (w["typical"], found.shown(found.typical, language)),
             (w["population"], found.shown(found.population, language))]  # fmt: skip
    own = next((p for p in found.predictions if p.task == found.task), None)
    if own is not None and own.uncertainty is not None:
        kind = w["epistemic"] if own.kind == "regression" else w["vacuity"]
        rank = "" if own.rank is None else f"; {w['among'].format(share=own.rank)}"
        cards.append((f"{w['uncertainty']}: {kind}{rank}", f"{own.uncertainty:.2f}"))
    said = f"<p>{_e(w[found.statistic])}</p>" if found.statistic else ""
    return '<div class="key">' + "".join(f"<div><b>{_e(v)}</b><span>{_e(k)}</span></div>" for k, v in cards) + "</div>" + said


def _badge(found: Explanation, language: Language) -> str:
    """Why a person must decide, then what was checked: nothing green beside it."""
    said = found.person_said(language)
    act = f'<p><span class="badge withheld">{_e(said)}</span></p>' if said else ""
    if found.unskilled or found.person_because == "check":
        return act
    return f'{act}<p><span class="badge {found.trust}">{_e(found.checks_said(language))}</span></p>'


def _reasons(found: Explanation, language: Language, w: dict[str, str]) -> str:
    if found.withheld:
        return _section(w["withheld"], "")
    out = ""
    for side, reasons in zip(found.sides, (found.reasons, found.against), strict=True):
        if reasons:
            items = "".join(f"<li>{_e(r.said(language))}{_small(r.linked(language))}</li>" for r in reasons)
            out += _section(w[side], f"<ol>{items}</ol>")
    return out + "".join(f"<p>{_e(text)}</p>" for text in found.below_said(language))


def _small(text: str) -> str:
    return f"<br><small>{_e(text)}</small>" if text else ""


def _offers(found: Explanation, language: Language, w: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{_e(found.label_said(o.name, language))}</td><td class=n>{o.probability:.1%}</td></tr>"
        for o in found.offers[:5]
    )
    return _section(w["offers"], f"<table>{rows}</table>") if rows else ""


def _bars(found: Explanation, language: Language, rows: Sequence[tuple[str, Contribution]]) -> str:
    if found.withheld:
        return "<p>–</p>"
    most = max((abs(c.value) for _, c in rows), default=0.0) or 1.0
    lines = "".join(
        f'<tr><td style="width:38%">{_e(name)}</td><td><div class="bar {"up" if c.value >= 0 else "down"}" '
        f'style="width:{100 * abs(c.value) / most:.1f}%"></div></td><td class=n>{_signed(found, c.value, language)}</td></tr>'
        for name, c in rows
    )
    return f"<table>{lines}</table>"


def _signed(found: Explanation, value: float, language: Language) -> str:
    if found.score_unit == "probability":
        return f"{0.0 if abs(value) < 5e-5 else 100 * value:+.2f} %p"
    return _e(found.shown(value, language, signed=True))


def _features(found: Explanation, language: Language, w: dict[str, str]) -> str:
    if found.withheld or not found.features:
        return ""
    head = f"<tr><th></th><th>{_e(w['value'])}</th><th>{_e(w['usual'])}</th><th>{_e(w['effect'])}</th></tr>"
    rows = "".join(
        f"<tr><td>{_e(statement(f.sentence_ko if language == 'ko' else f.sentence_en, language))}"
        f"<br><small>{_e(' · '.join(filter(None, (f.name, mark_said(f.sensitive, language, short=True)))))}</small></td>"
        f"<td class=n>{_e(f.shown(language))}</td>"
        f"<td class=n>{_e(quantity(f.typical, f.unit, language))}</td>"
        f"<td class=n>{_signed(found, f.contribution, language)}</td></tr>"
        for f in found.features[:10]
    )
    return _section(w["features"], f"<table>{head}{rows}</table>")


def _transfer(found: Explanation, language: Language, w: dict[str, str]) -> str:
    if found.withheld and found.unskilled:
        return ""
    rows = "".join(
        f"<tr><td>{_e(task_title(t.source, language) or t.source)} → {_e(task_title(t.target, language) or t.target)}</td>"
        f"<td>{_e(found.entered(t, language))}</td><td class=n>{_e(w['cut'])}: {_signed(found, -t.effect, language)}</td></tr>"
        for t in found.transfer
    )
    return _section(w["transfer"], f"<table>{rows}</table>") if rows else ""


def _similar(found: Explanation, language: Language, w: dict[str, str]) -> str:
    head = f"<tr><th></th><th>{_e(w['distance'])}</th><th>{_e(w['prediction'])}</th><th>{_e(w['outcome'])}</th></tr>"
    rows = "".join(
        f"<tr><td>{_e(s.customer_id)} <small>{_e(s.cutoff)}</small></td><td class=n>{s.distance:.2f}</td>"
        f"<td class=n>{_e(found.shown(s.prediction, language))}</td><td>{_e(found.outcome(s, language))}</td></tr>"
        for s in found.similar
    )
    return _section(w["similar"], f"<table>{head}{rows}</table>") if rows else ""


def _counterfactual(found: Explanation, language: Language, w: dict[str, str]) -> str:
    c = found.counterfactual
    if c is None or found.withheld:
        return ""
    rows = "".join(
        f"<tr><td>{_e(statement(x.sentence_ko if language == 'ko' else x.sentence_en, language))}</td>"
        f"<td class=n>{_e(quantity(x.before, x.unit, language))} → {_e(quantity(x.after, x.unit, language))}</td></tr>"
        for x in c.changes
    )
    return _section(w["counterfactual"], f"<table>{rows}</table><p>{_e(found.change_said(language))}</p>")


def _checks(found: Explanation, language: Language, w: dict[str, str]) -> str:
    def verdict(passed: bool | None, limit: float | None) -> str:
        return "" if limit is None else w["undecided"] if passed is None else w["passed"] if passed else w["failed"]

    rows = "".join(
        f"<tr><td>{_e(c.text_ko if language == 'ko' else c.text_en)}</td><td>{_e(verdict(c.passed, c.threshold))}</td></tr>"
        for c in found.faithfulness.checks
    )
    return _section(w["checks"], f"<table>{rows}</table>")


def _all(found: Explanation, language: Language, w: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{_e(given_title(p.task, p.title) or task_title(p.task, language) or p.title)}</td>"
        f"<td>{_e(said_name(p.label, language))}</td>"
        f"<td class=n>{_e(quantity(p.value, p.unit, language)) if p.kind == 'regression' else f'{p.value:.1%}'}</td>"
        f"<td class=n>{'' if p.uncertainty is None else f'{p.uncertainty:.2f}'}</td></tr>"
        for p in found.predictions
    )
    for task in found.undefined:
        c = TASKS[task].condition
        said = w["undefined"].format(condition=c.ko if language == "ko" else c.en)
        rows += f"<tr><td>{_e(task_title(task, language) or task)}</td><td colspan=3>{_e(said)}</td></tr>"
    head = f"<tr><th>{_e(w['task'])}</th><th></th><th>{_e(w['prediction'])}</th><th>{_e(w['uncertainty'])}</th></tr>"
    return f"<details><summary>{_e(w['all'])}</summary><table>{head}{rows}</table></details>"


def _absent(name: str, language: Language) -> str:
    return title(plain_name(name), language)


def _audit(found: Explanation, w: dict[str, str]) -> str:
    rows = "".join(f"<tr><td>{_e(k)}</td><td><small>{_e(v)}</small></td></tr>" for k, v in found.audit.items())
    return f"<details><summary>{_e(w['audit'])}</summary><table>{rows}</table></details>"
