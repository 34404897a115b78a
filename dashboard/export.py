"""What the frame saves: this page as it is shown, the whole run's report, and its model card, each one file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from analysis import CohortFilter, load_diagnosis
from analysis.card.content import card
from analysis.card.render import to_html as card_html
from analysis.card.render import to_markdown as card_text
from analysis.report import to_html
from analysis.results.card import ModelCard
from analysis.store import stored
from dashboard import ui
from dashboard.cohort_choice import cohort_words
from dashboard.document import file_of
from dashboard.frame import Frame
from dashboard.i18n import language, t
from dashboard.page import recorder
from ple_model.errors import UserError
from ple_model.numerals import Language, statistic
from ple_model.run import Run


def export(frame: Frame) -> None:
    """This page as it is shown, or the whole run's report: each one HTML file, made when it is asked for; aggregates only."""
    kept = recorder()
    page = kept.drawing
    if page is not None:
        page.run, page.facts = frame.run.name, _facts(frame)
    name = page.file_name(".html") if page is not None else f"{frame.run.name}.html"
    lang: Language = "ko" if language() == "ko" else "en"
    with ui.popover(t("frame.export"), icon=":material/download:", help=t("frame.export_help")):
        _save("page", lambda: file_of(kept.last()), name)
        if frame.diagnosis is not None or any(stored(frame.run.path)):
            _save("run", lambda: _report(frame), f"{frame.run.name}.html")
        _save("card", partial(_card, frame, lang, card_html), f"{frame.run.name}-card.html")
        _save("card_text", partial(_card, frame, lang, card_text), f"{frame.run.name}-card.md", "text/markdown")


def _report(frame: Frame) -> bytes:
    found = frame.diagnosis or load_diagnosis(frame.run.path)
    if found is None:
        raise UserError(f"{frame.run.path} has no stored measurement any more; open its overview to measure it again")
    return to_html(found).encode()


def _card(frame: Frame, lang: Language, write: Callable[[ModelCard], str]) -> bytes:
    """The run's model card, of all customers whatever the page shows. Made apart from the session, so `lang` is handed in."""
    found = load_diagnosis(frame.run.path, own=True) or frame.diagnosis or load_diagnosis(frame.run.path)
    return write(card(frame.run, found, lang)).encode()


def _save(what: str, make: Callable[[], bytes], name: str, mime: str = "text/html") -> None:
    ui.download_button(
        t(f"frame.export_{what}"), make, name, mime, key=f"export-{what}", on_click="ignore", width="stretch",
        help=t(f"frame.export_{what}_help"),
    )  # fmt: skip


def _facts(frame: Frame) -> dict[str, str]:
    """What a saved page is about, in words: the run, the run it is compared with, the customers."""
    out = {t("frame.run"): _identity(frame.run)}
    if frame.other is not None:
        out[t("export.compared")] = _identity(frame.other)
    if frame.data is not None:
        out[t("frame.data")] = str(frame.data)
    if frame.diagnosis is not None:
        out[t("frame.cohort")] = chosen = cohort_words(frame.store, frame.filters)
        if frame.filters:
            out[t("frame.cohort")] = f"{chosen} ({'; '.join(map(_in_words, frame.filters))}). {t('export.findings_all')}"
    return out


def _identity(run: Run) -> str:
    m = run.manifest
    data = t("export.data", name=m.data.name, fingerprint=m.data.fingerprint[:12])
    parts = [run.name, m.preset, data, t("export.trained", day=m.created[:10]), t("export.seed", seed=m.seed)]
    if m.commit:
        parts.append(t("export.commit", commit=m.commit[:10]))
    return " · ".join(parts)


def _in_words(chosen: CohortFilter) -> str:
    name = t(f"frame.{chosen.column}") if chosen.column in ("segment", "cluster") else chosen.column.removeprefix("raw:")
    if chosen.op == "between":
        low, high = (statistic(float(v)) for v in chosen.values)
        return f"{name}: {t('export.between', low=low, high=high)}"
    return f"{name}: {', '.join(map(str, chosen.values))}"
