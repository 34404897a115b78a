"""From a file of card payments to a tuned model, by clicks alone, in a browser on a fresh state folder.

`python -m tests.drills.story [--customers N] [--seed S] [--out FOLDER] [--until STEP] [--json]` prints minutes and clicks a
step, and keeps a picture of every screen. What a person would be stuck at ends it with exit status 1 and a picture of where.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, sync_playwright

from dashboard.browser import CONTENT, WAIT_MS, app, launch, ready
from tests.drills.card_file import CardFile, write_card_file
from tests.drills.walk import EN, HEIGHT, WIDTH, Walk, totals

FIRST, SECOND, BEST, LONGER = "first", "second", "best", "longer"
EPOCHS = ("4", "1")
"""Of both phases: a walk, not a benchmark."""
TUNE_SETTINGS = "training.phase1_epochs=1\ntraining.phase2_epochs=0"
TRIALS = "12"


def _open(walk: Walk, file: CardFile) -> None:
    """The app as it is without a run; the page that makes datasets."""
    walk.picture("nothing-yet", everywhere=True)
    walk.click(walk.button("datasets.open", walk.main))
    walk.picture("make-a-dataset", everywhere=True)


def _upload(walk: Walk, file: CardFile) -> None:
    walk.click(walk.main.get_by_text(EN["datasets.way_files"], exact=True).first)
    walk.picture("files-of-your-own")
    walk.steps[-1].clicks += 1
    walk.page.locator('input[type="file"]').set_input_files(file.path)
    walk.shown(EN["import.columns"])
    walk.shown(EN["import.faults"].split("{")[0])
    walk.picture("map-and-faults", everywhere=True)


def _correct(walk: Walk, file: CardFile) -> None:
    """One column of the map by hand: the grade of the card is what it was paid with."""
    grid = walk.main.locator('[data-testid="stDataFrame"]').filter(has_text=EN["import.theirs"]).first
    _choose_cell(walk, grid, EN["import.theirs"], EN["import.column.product"], "card grade")
    walk.attached(EN["import.column.product"], grid)
    walk.page.wait_for_timeout(1500)
    walk.picture("map-corrected")


def _choose_cell(walk: Walk, grid: Locator, column: str, row: str, option: str) -> None:
    """A choice in a cell of an editable table, which is drawn: the cell is found by its row's text, reached by the keys."""
    grid.evaluate("e => e.scrollIntoView({block: 'center'})")
    grid.get_by_text(row).first.wait_for(state="attached", timeout=WAIT_MS)
    table = grid.locator("table").first
    heads = [h.strip() for h in table.locator("th").all_text_contents()]
    rows = table.locator("tbody tr")
    texts = [rows.nth(k).text_content() or "" for k in range(rows.count())]
    down = next(k for k, text in enumerate(texts) if row in text)
    across = heads.index(column)
    walk.page.wait_for_timeout(500)
    box = grid.bounding_box()
    assert box is not None
    walk.page.mouse.click(box["x"] + 40, box["y"] + 52)  # the first row: the header is 35 pixels high
    for _ in range(down):
        walk.page.keyboard.press("ArrowDown")
    for _ in range(across):
        walk.page.keyboard.press("ArrowRight")
    walk.page.keyboard.press("Enter")
    walk.page.wait_for_timeout(400)
    walk.page.keyboard.type(option)
    walk.page.keyboard.press("Enter")
    walk.steps[-1].clicks += 2
    walk.page.wait_for_timeout(600)
    ready(walk.page)


def _leave_out(walk: Walk, file: CardFile) -> None:
    """The faulty rows, by one click; then the import."""
    walk.click(walk.button("import.leave_out_start", walk.main, n=len(file.faulty)))
    walk.shown(EN["import.left_out"].split("{")[0])
    walk.picture("rows-left-out", everywhere=True)


def _import(walk: Walk, file: CardFile) -> None:
    walk.click(walk.button("import.start", walk.main))
    walk.shown(EN["making.choose"])
    walk.picture("imported")
    walk.click(walk.button("making.choose", walk.main))


def _cutoffs(walk: Walk, file: CardFile) -> None:
    walk.shown(EN["build.counts"])
    walk.picture("cut-offs-and-labels", everywhere=True)


def _build(walk: Walk, file: CardFile) -> None:
    """Started, stopped and gone on with; it ends with a dataset and what simple models reach on it."""
    walk.click(walk.button("build.start", walk.main))
    card = walk.main.locator('[class*="st-key-page-making-"]').first
    card.get_by_role("progressbar").wait_for(timeout=WAIT_MS)
    walk.picture("building", everywhere=True)
    walk.click(card.get_by_role("button", name=EN["job.stop"]))
    walk.shown(EN["job.stopped"], card)
    walk.picture("building-stopped")
    walk.click(card.get_by_role("button", name=EN["job.resume"]))
    again = walk.main.locator('[class*="st-key-page-making-"]').first
    walk.shown(EN["making.train"], again)
    walk.picture("dataset", everywhere=True)


def _form(walk: Walk, name: str) -> None:
    """Name and epochs of the open training form."""
    walk.type(walk.sidebar.get_by_role("textbox", name=EN["train.name"]), name)
    for key, epochs in zip(("train.phase1", "train.phase2"), EPOCHS, strict=True):
        walk.type(walk.sidebar.get_by_role("spinbutton", name=EN[key]), epochs)


def _card(walk: Walk, name: str) -> Locator:
    return walk.sidebar.locator('[class*="st-key-job-"]').filter(has_text=name).first


def _train(walk: Walk, file: CardFile) -> None:
    """The first training: baselines in the form, paused, found again after a reload, gone on with."""
    walk.click(walk.main.get_by_role("button", name=EN["making.train"]).last)
    walk.click(walk.button("datasets.reach_brief", walk.sidebar))
    walk.picture("baselines-in-the-form")
    walk.page.keyboard.press("Escape")
    _form(walk, FIRST)
    walk.picture("training-form")
    walk.click(walk.button("train.start", walk.sidebar))
    card = _card(walk, FIRST)
    walk.shown(re.compile(r"epoch \d"), card)
    walk.picture("training-runs")
    walk.click(card.get_by_role("button", name=EN["job.pause"], exact=True))
    walk.shown(EN["job.paused"], card)
    walk.page.reload()
    ready(walk.page)
    walk.shown(EN["job.paused"], _card(walk, FIRST))
    walk.picture("training-paused", everywhere=True)
    walk.click(_card(walk, FIRST).get_by_role("button", name=EN["job.go_on"], exact=True))
    walk.shown(EN["job.finished"], _card(walk, FIRST))
    walk.picture("training-finished")


def _verdict(walk: Walk, file: CardFile) -> None:
    walk.click(_card(walk, FIRST).get_by_role("button", name=EN["job.open"], exact=True))
    _overview(walk, "verdict")


def _overview(walk: Walk, name: str) -> None:
    walk.page.locator(CONTENT).first.wait_for(timeout=20 * WAIT_MS)
    walk.drawn()
    walk.picture(name, everywhere=True)


def _change(walk: Walk, file: CardFile) -> None:
    """A second training from the first one's settings, one key changed, compared with it when it has ended."""
    walk.click(walk.sidebar.get_by_text(EN["train.title"]).first)
    walk.choose(walk.sidebar.get_by_role("combobox", name=EN["train.from"]), FIRST)
    walk.type(walk.sidebar.get_by_role("textbox", name=EN["train.name"]), SECOND)
    walk.type(walk.sidebar.get_by_role("textbox", name=EN["train.set"]), "global.dropout=0.3", "Control+Enter")
    walk.click(walk.sidebar.get_by_text(EN["train.diff"], exact=True))
    walk.choose(walk.sidebar.get_by_role("combobox", name=EN["train.diff_against"]), FIRST)
    walk.picture("second-form")
    walk.click(walk.button("train.start", walk.sidebar))
    walk.shown(EN["job.finished"], _card(walk, SECOND))
    walk.click(_card(walk, SECOND).get_by_role("button", name=EN["job.compare"].format(parent=FIRST)))
    _overview(walk, "compared")


def _tune(walk: Walk, file: CardFile) -> None:
    walk.click(walk.page.get_by_role("link", name=EN["tune.title"], exact=True))
    ready(walk.page)
    walk.picture("tune-empty", everywhere=True)
    walk.type(walk.main.get_by_role("textbox", name=EN["train.set"]), TUNE_SETTINGS, "Control+Enter")
    walk.type(walk.main.get_by_role("spinbutton", name=EN["tune.trials"], exact=True), TRIALS)
    walk.picture("tune-form")
    walk.click(walk.button("tune.start", walk.main))
    card = walk.main.locator('[class*="st-key-tuning-"]').first
    walk.shown(EN["tune.trials_of"].format(done=1, of=TRIALS), card)
    walk.picture("tuning", everywhere=True)
    walk.shown(EN["job.finished"], card, minutes=60)
    walk.drawn()
    walk.picture("tuned", everywhere=True)


def _train_best(walk: Walk, file: CardFile) -> None:
    walk.click(walk.main.get_by_role("button", name=re.compile(EN["tune.train_best"].split("{")[0] + r"\d+")).first)
    walk.picture("best-in-the-form")
    walk.type(walk.sidebar.get_by_role("textbox", name=EN["train.name"]), BEST)
    walk.click(walk.button("train.start", walk.sidebar))
    walk.shown(EN["job.finished"], _card(walk, BEST))
    walk.click(_card(walk, BEST).get_by_role("button", name=EN["job.open"], exact=True))
    _overview(walk, "tuned-model")


def _go_on(walk: Walk, file: CardFile) -> None:
    """Another epoch from the weights of the best."""
    walk.click(walk.sidebar.get_by_text(EN["train.title"]).first)
    walk.choose(walk.sidebar.get_by_role("combobox", name=EN["train.from"]), BEST)
    weights = EN["train.weights"].format(run=BEST)
    walk.choose(walk.sidebar.get_by_role("combobox", name=weights), EN["train.weights_all"])
    walk.type(walk.sidebar.get_by_role("textbox", name=EN["train.name"]), LONGER)
    for key, epochs in (("train.phase1", "1"), ("train.phase2", "0")):
        walk.type(walk.sidebar.get_by_role("spinbutton", name=EN[key], exact=True), epochs)
    walk.picture("weights-in-the-form")
    walk.click(walk.button("train.start", walk.sidebar))
    walk.shown(EN["job.finished"], _card(walk, LONGER))
    walk.click(_card(walk, LONGER).get_by_role("button", name=EN["job.open"], exact=True))
    _overview(walk, "trained-longer")


STEPS: dict[str, tuple[str, Callable[[Walk, CardFile], None]]] = {
    "open": ("Open the app", _open),
    "upload": ("Upload the file, read the map", _upload),
    "correct": ("Correct one column", _correct),
    "leave-out": ("Leave the faulty rows out", _leave_out),
    "import": ("Import", _import),
    "cut-offs": ("Cut-offs and label counts", _cutoffs),
    "build": ("Build, stop and go on", _build),
    "train": ("Train, pause and go on", _train),
    "verdict": ("Read the verdict", _verdict),
    "change": ("Train with one key changed", _change),
    "tune": (f"Tune, {TRIALS} trials", _tune),
    "best": ("Train with the best", _train_best),
    "longer": ("Train on from its weights", _go_on),
}
"""In order: what they are called on the command line, what is printed."""


def story(folder: Path, out: Path, customers: int, seed: int, begin: str, until: str) -> Walk:
    """The walk from the step `begin` to `until`; `folder` takes runs, data and state."""
    out.mkdir(parents=True, exist_ok=True)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    file = write_card_file(folder / "payments.csv", customers, seed)
    variables = {"XDG_STATE_HOME": str(folder / "state")}
    with app([folder / "runs"], folder / "app.log", variables=variables) as address, sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce")
        page.set_default_timeout(WAIT_MS)
        walk = Walk(page, out)
        page.goto(address)
        ready(page)
        if begin != "open":
            page.goto(f"{address}/datasets")
            ready(page)
        names = list(STEPS)
        for name in names[names.index(begin) : names.index(until) + 1]:
            title, act = STEPS[name]
            with walk.step(title):
                act(walk, file)
        browser.close()
    return walk


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.story", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=600, help="cards in the file (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the file (default 1)")
    parser.add_argument("--out", type=Path, default=Path("story"), help="folder of the pictures (default ./story)")
    parser.add_argument("--until", choices=STEPS, default="longer", help="the last step (default: all of them)")
    parser.add_argument("--work", type=Path, help="keep runs, data and state in this folder")
    parser.add_argument("--from", choices=STEPS, default="open", dest="begin", help="the first step, on an earlier --work")
    parser.add_argument("--json", action="store_true", help="the steps as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ple-story-") as folder:
        try:
            walk = story(given.work or Path(folder), given.out, given.customers, given.seed, given.begin, given.until)
        except Exception:
            traceback.print_exc()
            return 1
    print(json.dumps(walk.to_dict(), indent=1) if given.json else f"{'all':<34} {totals(walk.steps)}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
