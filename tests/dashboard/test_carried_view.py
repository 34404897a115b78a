"""The reasons of a cohort on the page and in the shell: counted in a process with progress, kept, and with the numbers of each
customer's own explanation. Both are here, since they take a measured run."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from analysis.engine.explainer import Explainer
from analysis.explain import carried as module
from analysis.explain.carried import CarriedOrder, carried, class_of, classes, drawn, main, whose_choice
from analysis.explain.customer import explain
from analysis.results.carried import CarriedReasons
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Standing
from analysis.store import AnalysisStore
from dashboard import background
from dashboard.document import to_html
from dashboard.i18n import catalogue
from dashboard.page import KEY
from dashboard.running import CarriedCounting
from dashboard.server import READ_ONLY_VARIABLE, RUNS_VARIABLE
from ple_model.cli import main as ple
from ple_model.numerals import Language
from ple_model.run import load_run

DRAWN = 2


@pytest.fixture(scope="module", autouse=True)
def whatever_its_skill() -> Iterator[None]:
    """Whether this small model has any skill, or its few customers bear its reasons out, is no matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Explainer, "outcomes", property(lambda _: None))
        for name in ("analysis.explain.customer", "analysis.explain.carried"):
            patch.setattr(import_module(name), "standing", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def store(measured: Path) -> AnalysisStore:
    return diagnose(measured / "tiny").store


@pytest.fixture(scope="module")
def found(measured: Path, store: AnalysisStore) -> CarriedReasons:
    """Of two customers, each really explained."""
    target = class_of(load_run(measured / "tiny"), store, "nba", "")
    return carried(measured / "tiny", store, CarriedOrder("nba", target, drawn=DRAWN))


@pytest.fixture(scope="module")
def own(measured: Path, store: AnalysisStore, found: CarriedReasons) -> dict[str, Explanation]:
    """The same customers as the page explains them, one at a time."""
    every = whose_choice(store, CarriedOrder("nba", found.target))
    assert (found.customers, found.drawn) == (len(every), DRAWN)
    return {c: explain(measured / "tiny", c, "nba") for c in drawn(every, DRAWN)}


def test_every_number_is_that_of_the_customers_own_explanation(
    measured: Path, found: CarriedReasons, own: dict[str, Explanation]
) -> None:
    shown = {c: x for c, x in own.items() if not x.withheld and x.reasons}
    assert found.told == len(shown)
    assert found.told + sum(found.without.values()) == found.drawn
    schema = load_run(measured / "tiny").context().schema
    for row in found.reasons:
        effects = {c: r.contribution for c, x in shown.items() for r in x.reasons if module.reason_key(r, schema) == row.key}
        assert row.count == len(effects)
        assert row.examples == tuple(sorted(effects, key=lambda c: -abs(effects[c])))
        assert row.effect == pytest.approx(sum(effects.values()) / len(effects))  # the median of one or two
    for case in found.cases:
        assert case.prediction == own[case.customer_id].prediction
        assert case.facts[0] == own[case.customer_id].reasons[0].fact("en")


def test_the_worker_says_how_far_it_is_and_then_the_answer(
    measured: Path, store: AnalysisStore, found: CarriedReasons, own: dict[str, Explanation],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[dict[str, Any]] = []
    one = next(iter(own.values()))

    def explain_row(*_: object, **options: Any) -> Explanation:
        asked.append(options)
        if len(asked) == 2:
            raise RuntimeError("a row that cannot be read")
        return replace(one, reasons=()) if len(asked) == 3 else one

    monkeypatch.setattr(module, "explain_row", explain_row)
    words = (str(measured / "tiny"), "", str(store.path), "nba", str(found.target), "cluster:ge:n!0", "3")
    assert main(*words) == 0
    *progress, answer = capsys.readouterr().out.splitlines()
    assert progress == [f"{k}/3" for k in range(4)]
    told = CarriedReasons.from_dict(json.loads(answer))
    assert told.drawn == 3
    assert told.without["broken"] == 1
    assert told.told + sum(told.without.values()) == 3
    assert {o["target"] for o in asked} == {found.target}
    assert main(*words[:3], "nba", "0", "colour:in:red", "3") == 2
    assert "no column 'colour'" in capsys.readouterr().err


def test_the_command_prints_it_masked_and_names_the_nearest_class(
    measured: Path, found: CarriedReasons, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, orders = str(measured / "tiny"), list[CarriedOrder]()

    def known(run: object, store: object, order: CarriedOrder, *_: object) -> CarriedReasons:
        orders.append(order)
        return found

    monkeypatch.setattr(module, "carried", known)
    assert ple(["explain", run, "--recommended", found.target_name, "--task", "nba", "--drawn", "2", "--json"]) == 0
    text = capsys.readouterr().out
    plain = json.loads(text)
    assert (plain["told"], plain["target"]) == (found.told, found.target)
    assert not any(c.customer_id in text for c in found.cases)
    assert ple(["explain", run, "--recommended", "--task", "nba", "--show-ids"]) == 0
    text = capsys.readouterr().out
    assert all(c.customer_id in text for c in found.cases)
    assert [(o.target, o.drawn) for o in orders] == [(found.target, 2), (found.target, 60)]
    name = classes(load_run(Path(run)), "nba")[0]
    assert ple(["explain", run, "--recommended", f"{name}x", "--task", "nba"]) == 2
    assert f"did you mean '{name}'" in capsys.readouterr().err
    assert ple(["explain", run, "--recommended", "--html", "x.html"]) == 2
    assert "--html" in capsys.readouterr().err
    assert ple(["explain", run, "--customer", "x", "--drawn", "2"]) == 2
    assert "--drawn goes with --recommended" in capsys.readouterr().err
    assert ple(["explain", run, "--recommended", "yes", "--task", "churn"]) == 2
    assert "has no class 'yes'" in capsys.readouterr().err


def counting(program: str) -> CarriedCounting:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return CarriedCounting(subprocess.Popen([sys.executable, "-c", program], **pipes))


def test_a_process_is_followed_and_its_fault_is_told() -> None:
    task = counting("import sys; print('1/3', flush=True); print('no such task', file=sys.stderr); sys.exit(2)")
    task.follow()
    assert (task.done, task.total, task.error, task.result) == (1, 3, "no such task", None)
    task = counting("print('{}')")
    task.follow()
    assert task.result is None
    assert task.error


def page() -> None:
    from dashboard.app import main

    main("why_recommended")


def opened(runs: Path, monkeypatch: pytest.MonkeyPatch, lang: str) -> AppTest:
    monkeypatch.setenv(RUNS_VARIABLE, str(runs))
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")  # nothing is written, so that it works there too
    app = AppTest.from_function(page, default_timeout=120)
    for key, value in {"run": "tiny", "why_task": "nba", "reader": "groups", "lang": lang, "drawn": "30"}.items():
        app.query_params[key] = value
    return app.run()


def test_a_button_counts_and_the_tables_stand_there(
    measured: Path, found: CarriedReasons, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps(found.to_dict()), encoding="utf-8")
    popen, words = subprocess.Popen, list[list[str]]()

    def instead(command: list[str], **options: Any) -> subprocess.Popen[str]:
        words.append(command)
        program = f"print('2/2'); print(open({str(answer)!r}, encoding='utf-8').read())"
        return popen([sys.executable, "-c", program], **options)

    background._countings().clear()
    app = opened(measured, monkeypatch, "en")
    with monkeypatch.context() as patch:
        patch.setattr(background.subprocess, "Popen", instead)
        app.button(key="carried-count").click().run()
    (task,) = background._countings().values()
    assert task.thread is not None
    task.thread.join(60)
    app.run()
    assert [e.message for e in app.exception] == []
    assert words[0][2] == "analysis.explain.carried"
    assert words[0][-1] == "30"
    assert "carried-count" not in {b.key for b in app.button}
    saved = html.unescape(to_html(app.session_state[KEY].last(0)))
    assert found.reasons[0].titles[0] in saved
    assert not any(c.customer_id in saved for c in found.cases)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_table_has_what_was_counted(
    measured: Path, found: CarriedReasons, monkeypatch: pytest.MonkeyPatch, lang: Language
) -> None:
    task = counting("pass")
    task.result = found
    monkeypatch.setattr(background, "counting", lambda wanted: task)
    app, known = opened(measured, monkeypatch, lang), catalogue(lang)
    (rows,) = (d.value for d in app.dataframe if known["carried.reason"] in d.value)
    assert rows[known["carried.customers"]].tolist() == [r.count for r in found.reasons]
    assert rows[known["carried.reason"]].tolist() == [r.said(lang) for r in found.reasons]
    (examples,) = (d.value for d in app.dataframe if known["carried.first"] in d.value)
    assert examples[known["why.customer"]].tolist() == [c.customer_id for c in found.cases]


def test_a_task_without_skill_has_a_sentence_and_no_table(found: CarriedReasons) -> None:
    def script() -> None:
        import streamlit as st

        from dashboard.components import carried

        carried._found(st.session_state["given"])

    app = AppTest.from_function(script, default_timeout=60)
    unskilled = replace(found, skill=Standing(-0.1, -0.2, 0.0, 400, has_skill=False), reasons=(), cases=(), told=0)
    app.session_state["given"] = unskilled
    app.run()
    assert [w.value for w in app.warning] == [unskilled.unskilled_said("en")]
    assert not app.dataframe
