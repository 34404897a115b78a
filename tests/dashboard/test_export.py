"""A page saved as a file: everything the page shows, nothing from outside the file, no customers' rows, a bounded size."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import threading
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from analysis.checks.finding import Evidence, Finding, Fix
from analysis.html_page import asset
from analysis.report import MAX_BYTES
from dashboard.components.figure import csv
from dashboard.document import ROWS, to_html
from dashboard.document_figures import SHADES, figure_json, template_json
from dashboard.i18n import LANGUAGES, catalogue
from dashboard.page import KEY, Card, Figure, Page, PageRecorder, Table, Text
from dashboard.server import DEBUG, RUNS_VARIABLE
from dashboard.view import run_views
from ple_model.errors import UserError
from ple_model.run import Run

pytestmark = pytest.mark.slow

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
SOURCES = sorted([*(DASHBOARD / "views").glob("*.py"), *(DASHBOARD / "components").glob("*.py")])
NAMES = [v.name for v in run_views()]
NUMBERS = {"metric", "code", "json", "table", "dataframe", "plotly_chart"}
TEXT = {
    "subheader",
    "caption",
    "markdown",
    "info",
    "success",
    "warning",
    "error",
    "expander",
    "write",
    "title",
    "header",
    "text",
}
DRAWERS = {"put", "figure", "cards"}
"""Components that draw and keep what they draw."""
PANELS = ("edit.", "map.", "whatif.help", "whatif.title", "why.row", "why.cut", "report.recorded", "picked.how")
"""Texts of panels in which nothing was tried yet, of lists and buttons: no use on paper; a line whose id is a mask there."""


class Seen(HTMLParser):
    """Text, tags and addresses of a saved page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str, **attributes: str) -> int:
        return sum(t == tag and attributes.items() <= a.items() for t, a in self.tags)


def page(start: str) -> None:
    """The app as it opens on one page (the source of this function is what AppTest runs)."""
    from dashboard.app import main

    main(start)


@pytest.fixture(scope="session")
def two_runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a measured run and another to compare it with."""
    runs = tmp_path_factory.mktemp("saved")
    for name in ("first", "second"):
        shutil.copytree(tiny_run.path, runs / name)
    diagnose(runs / "first")
    shutil.copytree(runs / "first" / "analysis", runs / "second" / "analysis", dirs_exist_ok=True)
    return runs


Drawn = Callable[..., tuple[AppTest, Seen, str]]


@pytest.fixture(scope="module")
def drawn(two_runs: Path) -> Drawn:
    """By name and language, a page of a cohort beside another run, and what is saved of it, read and as text; each once."""

    @cache
    def found(name: str, language: str = "en") -> tuple[AppTest, Seen, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(DEBUG, "1")
            app, shown = opened(two_runs, patch, name, lang=language, segment="warm_start", compare="second")
        text = to_html(shown)
        return app, Seen(text), text

    return found


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, **query: str) -> tuple[AppTest, Page]:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs))
    app = AppTest.from_function(page, args=(name,), default_timeout=120)
    for key, value in {"run": "first", **query}.items():
        app.query_params[key] = value
    app.run()
    assert [e.message for e in app.exception] == []
    found: PageRecorder = app.session_state[KEY]
    return app, found.last(0)


def of_a_panel(text: str, known: dict[str, str]) -> bool:
    """Does the catalogue have this text, with any values, under one of `PANELS`?"""
    forms = (re.split(r"{\w+}", plain(v)) for k, v in known.items() if k.startswith(PANELS))
    return any(re.fullmatch(".*".join(map(re.escape, form)), text) for form in forms)


def plain(text: str) -> str:
    """Without the app's marks for bold and icons."""
    return " ".join(re.sub(r":material/\w+:|\*\*|`", "", text).split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_a_saved_page_has_every_figure_and_table_that_the_page_shows(drawn: Drawn, name: str, language: str) -> None:
    (app, seen, _), known = drawn(name, language), catalogue(language)
    charts = app.get("plotly_chart")
    left_out = seen.text.count(known["export.customers"].split("{n}")[1])
    assert seen.count("div", role="img") == len(charts)
    assert seen.count("table") + left_out == len(app.dataframe) + len(app.table)
    titles = [plain(m.value) for m in app.main.markdown if re.fullmatch(r"\*\*[^*]+\*\*", m.value)]
    captions = [plain(c.value) for c in app.main.caption if "[" not in c.value]  # no colours
    assert len(titles) >= len(charts)
    assert [t for t in titles + captions if t not in seen.text and not of_a_panel(t, known)] == []
    assert app.title[0].value in seen.text
    assert ("html", {"lang": language}) in seen.tags
    assert seen.count("script") == (len(charts) + 3 if charts else 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_page_says_what_it_is_about_and_asks_nothing_of_a_network(drawn: Drawn, name: str) -> None:
    _, seen, text = drawn(name)
    assert len(text.encode()) <= MAX_BYTES
    assert [a for _, a in seen.tags if {"src", "href", "action", "data"} & a.keys()] == []
    assert "default-src 'none'" in text
    assert re.search(r"@import|url\(", asset("dashboard", "document.css")) is None
    assert all(part in seen.text for part in ("first", "second", "run=first", "compare=second"))
    if next(v for v in run_views() if v.name == name).needs == "analysis":
        assert re.search(r"[\d,]+ of [\d,]+ rows, [\d,]+ customers \(Segment: warm_start\)", seen.text)


def test_customers_rows_stay_out_of_a_saved_page(two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, shown = opened(two_runs, monkeypatch, "sae_neurons")
    names = {str(v) for d in app.dataframe for c in d.value.columns if c == catalogue("en")["why.customer"] for v in d.value[c]}
    text = to_html(shown)
    assert names
    assert [n for n in names if n in text] == []
    assert Seen(text).text.count("Rows of this table are of single customers") == 2


def test_the_passed_and_quiet_checks_are_there_though_folded(two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, shown = opened(two_runs, monkeypatch, "cgc_gates")
    assert len(app.main.expander) > 0
    text = Seen(to_html(shown)).text
    assert [e.label for e in app.main.expander if e.label not in text] == []


def test_what_was_tried_is_saved_with_its_result(two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, shown = opened(two_runs, monkeypatch, "cgc_gates", **{"try": "gate_temperature=2"})
    text = Seen(to_html(shown)).text
    assert catalogue("en")["whatif.title"] in text
    assert [m.value for m in app.main.metric if m.value not in text] == []
    assert "try=gate_temperature%3D2" in text


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stem not in DRAWERS], ids=lambda p: p.stem)
def test_nothing_is_drawn_past_the_saved_page(path: Path) -> None:
    kinds = NUMBERS | TEXT if path.parent.name == "views" else NUMBERS  # a component may have words around its buttons
    tree = ast.parse(path.read_text(encoding="utf-8"))
    past = [
        f"line {n.lineno}: {n.value.id}.{n.attr}, use put.{n.attr}, figure.show or figure.table"
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id in ("st", "ui") and n.attr in kinds
    ]
    assert past == []


def blank(*items: object) -> Page:
    made = Page("overview", "Overview", "Is this run any good?", "en")
    for item in items:
        made.add(item)  # type: ignore[arg-type]
    return made


def big(key: str, points: int) -> Figure:
    return Figure(key, go.Figure(go.Scatter(x=[str(i) for i in range(points)], y=[0] * points)), f"Figure {key}")


def test_figures_that_do_not_fit_are_left_out_by_name_and_the_rest_stays() -> None:
    room = len(to_html(blank(big("small", 3)))) + 20_000
    made = blank(big("small", 3), big("large", 20_000), Text("text", "the end"))
    text = to_html(made, limit=room)
    assert len(text.encode()) <= room
    assert Seen(text).count("div", role="img") == 1
    assert "Figure large" in text
    assert "This figure is left out" in text


def test_a_page_that_cannot_fit_is_refused_with_its_size() -> None:
    with pytest.raises(UserError, match=r"the page 'Overview' has [\d,]+ bytes, and a saved page may have 20,000"):
        to_html(blank(Text("text", "long " * 10_000)), limit=20_000)


def test_a_long_table_is_cut_and_says_how_long_it_is() -> None:
    rows = pd.DataFrame({"n": range(1000, 1000 + 3 * ROWS)})
    seen = Seen(to_html(blank(Table("t", rows, "Numbers"))))
    assert seen.count("tr") == ROWS + 1
    assert f"The first {ROWS} of {3 * ROWS} rows" in seen.text


def test_what_people_and_data_wrote_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    figure = go.Figure(go.Bar(x=[1], y=[evil], name="</script><img src=x>"))
    finding = Finding("X", "error", evil, evil, (Evidence(evil, 1.0),), evil, Fix(evil, evil, evil, evil))
    made = blank(Text("text", evil), Figure(evil, figure, evil, evil), Card(finding),
                 Table("t", pd.DataFrame({evil: [evil]}), evil))  # fmt: skip
    made.facts = {evil: evil}
    seen = Seen(to_html(made))
    assert seen.count("script") == 4
    assert seen.count("img") == 0
    assert seen.text.count("alert(1)") >= 8


def test_figures_are_drawn_in_light_colours_whatever_the_reader_had() -> None:
    figure = go.Figure(go.Heatmap(z=[[1, 2]], colorscale=[[0, "#000021"], [1, "#000030"]]), layout={"colorway": ["#6C97F2"]})
    made = json.loads(figure_json(Figure("f", figure, "F")))
    assert made["layout"]["colorway"][0] == "#3B6FE0"
    assert "#0000" not in json.dumps(made) + template_json()


def test_points_that_are_customers_cannot_be_read_off() -> None:
    n = 50
    trace = go.Scattergl(x=[i * 1.23456789 for i in range(n)], y=[i**2 * 0.777 for i in range(n)], mode="markers",
                         customdata=list(range(n)), hovertemplate="%{customdata}",
                         marker={"color": [31_000.5 + i for i in range(n)], "coloraxis": "coloraxis"})  # fmt: skip
    made = json.loads(figure_json(Figure("f", go.Figure(trace), "F", points=True)))["data"][0]
    assert made["type"] == "scatter"
    assert "customdata" not in made
    assert "hovertemplate" not in made
    assert len(set(made["marker"]["color"])) <= SHADES + 1


def test_a_save_waits_for_the_page_that_is_being_drawn() -> None:
    kept, old, new = PageRecorder(), blank(Text("text", "old")), blank(Text("text", "new"))
    kept.begin(old)
    kept.end(old)
    kept.begin(new)
    assert kept.last(0) is old
    found: list[Page] = []
    thread = threading.Thread(target=lambda: found.append(kept.last(60)))
    thread.start()
    kept.end(new)
    thread.join(60)
    assert found == [new]
    assert found[0] is new


def test_a_page_that_was_never_drawn_cannot_be_saved() -> None:
    kept = PageRecorder()
    kept.begin(blank())
    with pytest.raises(UserError, match="not drawn"):
        kept.last(0)


def test_a_figure_drawn_again_takes_its_old_place() -> None:
    made = blank(big("a", 2), Text("text", "between"))
    made.add(Figure("a", go.Figure(), "anew"))
    assert [getattr(i, "title", "") for i in made.items] == ["anew", ""]


def test_a_csv_opens_in_excel_with_korean_and_says_its_units() -> None:
    rows = pd.DataFrame({"고객": ["가"], "Rate": [0.25], "Effect": [1.5]})
    data = csv(rows, {"Rate": {"type_config": {"type": "progress", "format": "percent"}}}, {"Effect": "standard deviations"})
    assert data.startswith(b"\xef\xbb\xbf")
    read = pd.read_csv(io.BytesIO(data), encoding="utf-8-sig")
    assert list(read.columns) == ["고객", "Rate [share of 1]", "Effect [standard deviations]"]
    assert read.iloc[0].tolist() == ["가", 0.25, 1.5]


@pytest.mark.parametrize("text", ['=HYPERLINK("http://127.0.0.1:9/","x")', "@SUM(1)", "+1+cmd|' /C x'!A0", "-2+3", "\t=1"])
def test_a_name_is_no_formula_in_a_spreadsheet(text: str) -> None:
    read = pd.read_csv(io.BytesIO(csv(pd.DataFrame({"a": [text, "-1.5", "+3%", "plain"]}))), dtype=str)
    assert read["a"].tolist() == [f"'{text}", "-1.5", "+3%", "plain"]


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_its_csv(drawn: Drawn, name: str) -> None:
    app, _, _ = drawn(name)
    files = [b for b in app.get("download_button") if b.proto.label == catalogue("en")["table.csv"]]
    assert len(files) == len(app.dataframe) + len(app.table)
