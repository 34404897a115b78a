"""Fifty customers of a bank of their own: every sentence of their reasons, in both languages, against the raw event rows."""

from __future__ import annotations

from functools import partial, partialmethod
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from analysis.engine.explainer import Explainer
from analysis.explain.assemble import Assembly
from analysis.explain.lookup import Undefined
from analysis.i18n import catalogue
from ple_model.data.build import artifacts
from ple_model.data.build.build import BuildSettings, build
from ple_model.data.build.spine import SplitSettings
from ple_model.data.dataset.reader import Dataset
from ple_model.data.derived import collaborative, encoder
from ple_model.data.synth import generate
from ple_model.run import Run, load_run
from ple_model.schema import load_schema
from ple_model.train import train
from tests.analysis.explain.raw_facts import RawBank
from tests.analysis.explain.raw_sentences import Told, Unreadable, Witness
from tests.fakes import tiny_config
from tests.shared import shared

pytestmark = pytest.mark.slow

CUSTOMERS, ASKED = 240, 50
TASKS = ("nba", "churn", "ltv", "channel", "engagement", "spending_category", "consumption_cycle", "merchant_affinity")
CUTOFFS = ("2024-08-01", "2024-10-01")
MARKET = ("epidemic_exposure_90d", "epidemic_early_adoption", "lifestyle_premium_90d")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank, the dataset of it and a small model of that: how well it has learnt is no matter to what its sentences say."""

    def make(folder: Path) -> None:
        generate(folder / "events", CUSTOMERS, seed=3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(artifacts, "fit_encoder", partial(encoder.fit_encoder, steps=encoder.STEPS // 5))
            patch.setattr(collaborative, "train", partial(collaborative.train, steps=collaborative.STEPS // 5))
            settings = BuildSettings(split=SplitSettings(train=0.5, validation=0.25), workers=1, threads=1)
            data = build(folder / "events", folder / "data", CUTOFFS, settings=settings)
        train(data, folder / "run", tiny_config({"training": {"phase1_epochs": 2}}), preset="small", device="cpu")

    return shared(tmp_path_factory, "true-sentences", make)


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    return load_run(place / "run")


@pytest.fixture(scope="module")
def witness(place: Path, run: Run) -> Witness:
    explainer = Explainer.cached(run)
    rows = list(zip(explainer.customers, explainer.cutoffs, strict=True))
    names = [(*k.split(".")[1:], v, x) for x in ("en", "ko") for k, v in catalogue(x).items() if k.startswith("trait.")]
    trained = Dataset.open(place / "data").table(["cluster_ids"], split="train").column(0).to_numpy()
    real = run.sample().normalizer().inverse(explainer.peers.features)
    assert explainer.peers.empty is not None
    real[explainer.peers.empty] = np.nan
    given = [c for c in load_schema().columns if c.part == "phase_transition" or c.name in MARKET]
    return Witness(
        RawBank(place / "events"), rows, explainer.peers.cluster, trained,
        {c.name: (c.sentence_en, c.sentence_ko, c.unit, c.part) for c in load_schema().columns},
        {m: dict(np.load(run.preprocess / f"hmm_{m}.npz")) for m in ("journey", "lifecycle", "behavior")},
        {(x, said): (column, side == "more") for column, side, said, x in names},
        explainer.peers.fields["collaborative_features"], {t: y.numpy() for t, y in explainer.targets.items()},
        {c.name: real[:, c.index] for c in given}, np.load(run.preprocess / "outcomes.npz")["centres"], *held_out(place),
    )  # fmt: skip


def held_out(place: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(graph embeddings [n, 64], labels by task [n]) of the latest row of each customer that was not learned from."""
    data = Dataset.open(place / "data")
    latest: dict[str, tuple[str, np.ndarray, dict[str, float]]] = {}
    for split in ("validation", "test"):
        batch = data.load(split)
        assert batch.inputs.collaborative_features is not None
        labels = {t: y.numpy() for t, y in (batch.inputs.targets or {}).items() if y.dim() == 1}
        for i, (customer, day) in enumerate(zip(batch.customer_id, batch.cutoff, strict=True)):
            if day >= latest.get(customer, ("",))[0]:
                own = {t: float(y[i]) for t, y in labels.items()}
                latest[customer] = (day, batch.inputs.collaborative_features[i].numpy(), own)
    rows = list(latest.values())
    return np.array([r[1] for r in rows]), {t: np.array([r[2][t] for r in rows]) for t in rows[0][2]}


@pytest.fixture(scope="module")
def told(run: Run) -> list[Told]:
    """The sentences of fifty customers, each asked of another task."""
    explainer, data = Explainer.cached(run), run.sample()
    table = data.table(["customer_id", "cutoff"]).to_pydict()
    at = {key: i for i, key in enumerate(zip(table["customer_id"], table["cutoff"], strict=True))}
    known = [at[c, d] for c, d in zip(explainer.customers, explainer.cutoffs, strict=True)]
    found: list[Told] = []
    asked: set[str] = set()
    few = partialmethod(Explainer.of_inputs, nodes=8)  # how exactly parts add up is no matter to what is said of a customer
    with (
        mock.patch.object(Explainer, "of_inputs", few),
        mock.patch.multiple(  # what no sentence of a reason needs
            Assembly,
            _faithfulness=lambda *_: None,
            _counterfactual=lambda *_: None,
            _concepts=lambda *_: (),
            _transfer=lambda *_: (),
        ),
    ):
        for i in np.random.default_rng(5).permutation(known):
            batch = data.take([int(i)])
            customer, cutoff, task = batch.customer_id[0], batch.cutoff[0], TASKS[len(asked) % len(TASKS)]
            if len(asked) == ASKED or customer in asked:
                continue
            try:
                e = Assembly(explainer, data, batch, task, None, 0, ("age", "sex", "region"), ("health",)).explanation()
            except Undefined:
                continue
            asked.add(customer)
            left = [r for r in (*e.contradicted, *e.unseen) if not r.matter]  # derived inputs, which are told more rarely
            reasons = [(r.said("en"), r.said("ko"), r.sources) for r in (*e.reasons, *e.against, *left)]
            reasons += [(*e.compared, ("compared",))] if e.compared[0] else []
            found += [Told(customer, cutoff, en, ko, sources, task, e.target) for en, ko, sources in reasons]
    assert len(asked) == ASKED
    return found


def test_every_sentence_of_fifty_customers_is_true_of_the_raw_rows(witness: Witness, told: list[Told]) -> None:
    untrue: list[str] = []
    unread: list[str] = []
    for sentence in told:
        try:
            found = witness.problems(sentence)
        except (Unreadable, KeyError) as e:
            unread.append(str(e))
            continue
        untrue += [f"{sentence.customer} {sentence.cutoff} ({sentence.task}): {sentence.en}\n    {p}" for p in found]
    assert not unread, "kinds of sentence that nothing judges:\n" + "\n".join(sorted(set(unread)))
    assert not untrue, f"{len(untrue)} of {len(told)}:\n" + "\n".join(untrue)
    assert len(told) > 4 * ASKED
    assert {"column", "similar", "months of a kind"} <= witness.kinds.keys()
