"""Whatever a training says has its Korean, with the same values; what nobody translated stays as it is."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest

from ple_model.progressbar import ProgressBar
from ple_model.translation import training_sentence, training_words
from tests.training_warnings import every_warning

ROOT = Path(__file__).resolve().parents[2] / "ple_model"
HANGUL = re.compile(r"[가-힣]")
ENGLISH = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")
SAYERS = {
    "training/trainer.py": "warn",
    "training/report.py": "warn",
    "constants.py": "append",
    "transfer.py": "append",
    "fitting.py": "append",
}
"""Where warnings are made, and the call that takes them."""


@pytest.mark.parametrize("text", every_warning())
def test_every_warning_has_its_korean_with_the_same_values(text: str) -> None:
    korean = training_sentence(text, "ko")
    assert HANGUL.search(korean)
    assert ENGLISH.findall(re.sub(r"'[^']*'", "", korean)) == []
    assert sorted(re.findall(r"\d+", text)) == sorted(re.findall(r"\d+", korean))
    assert training_sentence(text, "en") == text


def forms(node: ast.expr) -> list[str]:
    """Every sentence an expression can become, with 7 for what is filled in."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(v.value) if isinstance(v, ast.Constant) else "7" for v in node.values)]
    if isinstance(node, ast.IfExp):
        return forms(node.body) + forms(node.orelse)
    if isinstance(node, ast.BinOp):
        return [a + b for a in forms(node.left) for b in forms(node.right)]
    return []


@pytest.mark.parametrize(("file", "call"), SAYERS.items())
def test_no_warning_in_the_code_is_without_its_korean(file: str, call: str) -> None:
    said = [
        form
        for n in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == call
        for a in n.args
        for form in forms(a)
        if " " in form
    ]
    assert said
    assert [s for s in said if not HANGUL.search(training_sentence(s, "ko"))] == []


REFUSERS = ("sequences/pretrain.py", "sequences/objectives.py", "new_run.py")
"""Modules whose every refusal is said in the reader's language."""


@pytest.mark.parametrize("file", REFUSERS)
def test_no_refusal_in_the_code_is_without_its_korean(file: str) -> None:
    said = [
        form
        for n in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "UserError"
        for form in forms(n.args[0])
    ]
    said = [s.replace("from7", "from; it has 7: --set training.sequence=7") for s in said]
    assert said
    assert [s for s in said if not HANGUL.search(training_sentence(s, "ko"))] == []


def test_the_catalogue_uses_no_value_that_its_sentence_lacks() -> None:
    words = training_words("ko")
    assert [k for k, v in words.items() if any(int(i) >= k.count("{}") for i in re.findall(r"\{(\d+)\}", v))] == []
    assert [v for v in words.values() if not HANGUL.search(v)] == []


def test_a_sentence_of_an_older_release_stays_as_it_is() -> None:
    assert training_sentence("the moon was full", "ko") == "the moon was full"


def test_the_terminal_speaks_korean_too() -> None:
    out = io.StringIO()
    bar = ProgressBar(out, live=False, language="ko")
    bar({"event": "start", "epochs": [2, 1], "rows": {"train": 1000}, "parameters": 5000, "device": "cpu", "amp": "off"})
    for best in (True, False):
        bar({"event": "epoch", "epoch": 1, "phase": 1, "best": best, "valid": {"mean_ratio": 0.9}, "train": {"total": 1.0},
             "samples_per_s": 1000.0, "eta_s": 75.0})  # fmt: skip
    bar({"event": "epoch", "epoch": 3, "phase": 2, "best": True, "valid": {"mean_ratio": None}, "train": {"total": None},
         "samples_per_s": 1000.0, "eta_s": None})  # fmt: skip
    bar({"event": "freeze", "epoch": 2, "what": ["gates"]})
    bar({"event": "warning", "text": every_warning()[0]})
    bar({"event": "resumed", "epoch": 2, "step": 3})
    lines = out.getvalue().splitlines()
    assert len(lines) == 7
    assert [line for line in lines if not HANGUL.search(line) or ENGLISH.search(line)] == []
