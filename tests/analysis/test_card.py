"""The model card: the numbers and words of the pages, in both languages; what is not stored is said to be missing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from analysis import diagnose
from analysis.card.content import card
from analysis.card.render import text, to_html, to_markdown
from analysis.diagnose import Diagnosis, load_diagnosis
from analysis.i18n import section
from analysis.results.card import ModelCard
from analysis.stats.skill import judged_skill
from analysis.verdict import State, Verdict
from dashboard.i18n import catalogue
from ple_model.cli import main
from ple_model.data.dataset.manifest import sha256_file
from ple_model.interval import Interval
from ple_model.numerals import Language
from ple_model.run import Run
from tests.dashboard.test_export import Seen


@pytest.fixture(scope="module")
def found(tiny_run: Run) -> Diagnosis:
    return diagnose(tiny_run)


def judged(found: Diagnosis, states: dict[str, State]) -> Diagnosis:
    """The same with other trust in its tasks."""
    other = replace(found)
    other.__dict__["verdict"] = Verdict("works", True, states)
    return other


def rows(made: ModelCard, name: str, heading: str) -> list[tuple[str, ...]]:
    return [r for s in made.sections if s.name == name for b in s.blocks if b.heading == heading for r in b.rows]


def facts(made: ModelCard) -> dict[str, str]:
    return {r[0]: r[1] for s in made.sections for b in s.blocks if b.kind == "facts" for r in b.rows}


def test_numbers_are_those_that_are_stored(tiny_run: Run, found: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    for x in found.statistics.skill["test"].values():
        monkeypatch.setitem(x.baseline_skill, "linear", x.skill.value / 2)
    shown = {r[0]: r for r in rows(card(tiny_run, found), "results", "Skill beside simpler answers")}
    stored = found.statistics.skill["test"]
    assert shown.keys() == stored.keys() - set(found.statistics.facts.unlearned)
    for task, row in shown.items():
        x = stored[task]
        assert float(row[1]) == pytest.approx(x.skill.value, abs=5e-4)
        assert [float(v) for v in row[2].split(" … ")] == pytest.approx([x.skill.low, x.skill.high], abs=5e-4)
        assert float(row[4]) == pytest.approx(x.skill.value / 2, abs=5e-4)
        assert int(row[6].replace(",", "")) == x.rows
        assert row[7] == catalogue("en")[f"skill.state_{found.verdict.states[task]}"]


def test_it_says_which_weights_and_which_data(tiny_run: Run, found: Diagnosis) -> None:
    said = facts(card(tiny_run, found))
    assert said["Identity (SHA-256 of model.safetensors)"] == sha256_file(tiny_run.path / "model.safetensors")
    assert said["Fingerprint"] == tiny_run.manifest.data.fingerprint
    assert said["Seed"] == str(tiny_run.manifest.seed)
    assert said["Rows"] == " · ".join(f"{k} {v:,}" for k, v in tiny_run.manifest.data.rows.items())


def test_a_trusted_task_that_was_never_compared_is_said_to_be_one(
    tiny_run: Run, found: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = [t for t in tiny_run.config.tasks if tiny_run.context().learned(t)]
    made_of = judged(found, dict.fromkeys(learned, "trusted"))
    skill = judged_skill(found.statistics)
    gap = Interval(-0.01, -0.02, 0.0)
    for task in learned:
        monkeypatch.setitem(skill[task].behind, "linear", gap)
    alone = "never held against a simpler model"
    assert alone not in " ".join(r[0] for r in rows(card(tiny_run, made_of), "use", "Intended use"))
    monkeypatch.delitem(skill[learned[0]].behind, "linear")
    monkeypatch.delitem(skill[learned[0]].behind, "boosting", raising=False)
    meant = [r[0] for r in rows(card(tiny_run, made_of), "use", "Intended use")]
    place = next(i for i, line in enumerate(meant) if alone in line)
    assert len(meant) - place == 2
    assert meant[-1].startswith(learned[0])


def test_a_measurement_of_the_runs_own_sample_is_found_behind_a_newer_one(
    tiny_run: Run, found: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Newer:
        made_of, meta = found.store.made_of, {**found.store.meta, "own_sample": False}

        def __getattr__(self, name: str) -> object:
            return getattr(found.store, name)

    newer = Newer()
    monkeypatch.setattr(import_module("analysis.diagnose"), "stored", lambda path: [newer, found.store])
    newest, own = load_diagnosis(tiny_run.path), load_diagnosis(tiny_run.path, own=True)
    assert newest is not None
    assert own is not None
    assert newest.store is newer
    assert own.store is found.store


def test_what_was_measured_on_other_data_says_nothing_of_use(
    tiny_run: Run, found: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(found.store.meta, "own_sample", False)
    (meant,) = rows(card(tiny_run, found), "use", "Intended use")
    assert "other data" in meant[0]


@pytest.mark.parametrize("state", ["doubted", "behind", "none", "untold", "few"])
def test_only_trusted_tasks_are_meant_to_be_used(tiny_run: Run, found: Diagnosis, state: State) -> None:
    first, second, *rest = [t for t in tiny_run.config.tasks if tiny_run.context().learned(t)]
    made = card(tiny_run, judged(found, {first: "trusted", second: state, **dict.fromkeys(rest, "trusted")}))
    meant = " ".join(r[0] for r in rows(made, "use", "Intended use"))
    barred = [r[0] for r in rows(made, "use", "Not to be used for")]
    assert re.search(rf"\b{first}\b", meant)
    assert not re.search(rf"\b{second}\b", meant)
    assert any(line == section("card", "en")[f"not_{state}"].format(tasks=second) for line in barred)


def test_without_an_analysis_it_says_so_and_invents_nothing(tiny_run: Run) -> None:
    made = card(tiny_run, None)
    assert rows(made, "use", "Intended use") == [(section("card", "en")["use_none"],)]
    assert not rows(made, "results", "Skill beside simpler answers")
    kept = tiny_run.metrics()["splits"]["test"]
    metrics = rows(made, "results", "Metrics")
    assert {r[0] for r in metrics} <= kept.keys()
    auc = next(r for r in metrics if r[1] == "AUC")
    assert float(auc[2]) == pytest.approx(kept[auc[0]]["metrics"]["auc"], abs=5e-4)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_it_speaks_as_the_overview_does(language: Language) -> None:
    own, page = section("card", language), catalogue(language)
    said = {k: v for k, v in own.items() if k.startswith(("state_", "word_", "counted")) or k in ("uncompared", "untold")}
    pages = {k: page[f"skill.{k}"] for k in said if k not in ("state_unlearned", "state_unmeasured")}
    pages |= {k: page[f"metric.{k.removeprefix('metric_')}"] for k in own if k.startswith("metric_")}
    assert {k: own[k] for k in pages} == pages


@pytest.mark.parametrize("language", ["en", "ko"])
def test_both_forms_say_every_value(tiny_run: Run, found: Diagnosis, language: Language) -> None:
    made = card(tiny_run, found, language)
    page, plain = Seen(to_html(made)), to_markdown(made)
    cells = [c for s in made.sections for b in s.blocks for row in b.rows for c in row]
    assert [c for c in cells if " ".join(c.split()) not in " ".join(page.text.split())] == []
    assert [c for c in cells if text(c) not in plain] == []
    assert not [t for t, a in page.tags if t in ("script", "link", "img", "a")]


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("![a](http://x.y)", r"! \[a\] (http: //x.y)"),
        ("a|b\n# c", r"a\|b # c"),
        ("<img src=x>", r"\< img src=x\>"),
        ("# c", r"\# c"),
        ("- c", r"\- c"),
        ("1. c", r"1\. c"),
        ("2) c", r"2\) c"),
        ("Lost 0.3 in 2024. Nothing (of 12) else.", "Lost 0.3 in 2024. Nothing (of 12) else."),
        ("**b** `c` ~~d~~ &lt;", r"\*\*b\*\* \`c\` \~\~d\~\~ \&lt;"),
        ("_e_ brand_prediction", r"\_e\_ brand_prediction"),
        ("-0.035", "-0.035"),
        ("a\\", r"a\\"),
    ],
)
def test_foreign_words_are_text_in_markdown(foreign: str, shown: str) -> None:
    assert text(foreign) == shown


def test_the_command_writes_what_it_is_asked_for(
    tiny_run: Run, found: Diagnosis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found.store.path.is_dir()
    page, plain = tmp_path / "card.html", tmp_path / "sub" / "card.md"
    assert main(["card", str(tiny_run.path), "--out", str(page), "--out", str(plain), "--lang", "ko"]) == 0
    made = card(tiny_run, load_diagnosis(tiny_run.path, own=True), "ko")
    assert page.read_text(encoding="utf-8") == to_html(made)
    assert plain.read_text(encoding="utf-8") == to_markdown(made)
    capsys.readouterr()
    assert main(["card", str(tiny_run.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == tiny_run.name
    assert main(["card", str(tiny_run.path), "--out", str(tmp_path / "card.docx")]) == 2
    assert "card.docx: a card is written as .html or .md" in capsys.readouterr().err
