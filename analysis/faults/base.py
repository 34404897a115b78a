"""The healthy runs that faults are planted in: of each seed a synthetic bank, a `small` run and a tiny run, kept for later.

Neither is the bank of the bundled runs (seed 7), on which some thresholds were looked at. A bank is generated anew when the
source files of the generator change, a healthy run is trained anew when those of the training, its configuration or the bank
do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ple_model.config import Config, load_config
from ple_model.data.build.build import BuildSettings, build
from ple_model.data.build.spine import SplitSettings
from ple_model.data.dataset.reader import Dataset
from ple_model.data.synth import generate
from ple_model.finish import write_sample
from ple_model.run import Run, load_run
from ple_model.run_fingerprint import write_fingerprint
from ple_model.skill import measure, stored
from ple_model.sources import source_digest
from ple_model.train import Options, train

SPLIT = SplitSettings(train=0.225, validation=0.075)
"""Of banks that faults are planted in: hardly a thousand customers to learn from, and as many that were not looked at are left
to ask whether what a healthy run is told of its skill is true."""
HEALTHY_SPLIT = SplitSettings(train=0.45, validation=0.15)
"""Of banks of healthy runs alone. Four customers in ten are left for the test split: calibration needs 500 labelled rows that
nothing was fitted on."""
SHARES = {"test": 0.6, "validation": 0.2, "train": 0.2}
"""As many test rows as calibration needs, and enough of the others to hold training rows against them."""
TINY = (
    "shared_experts.unified_hgcn={output_dim: 16, node_dim: 8, merchant_dim: 8, fusion_dims: [16]}",
    "shared_experts.perslay={output_dim: 8, functions: 3, hidden_dim: 12, stats_dim: 8}",
    "shared_experts.deepfm={output_dim: 8, embedding_dim: 4, deep_dims: [16]}",
    "shared_experts.temporal={output_dim: 8, txn_days: 24, sessions: 12, mamba_dim: 8, mamba_state: 4, chunk: 6, lnn_dim: 6, "
    "transformer_dim: 8, mix_dim: 8}",
    "shared_experts.lightgcn={output_dim: 8, hidden_dim: 16}",
    "shared_experts.causal={output_dim: 8, hidden_dim: 16, variables: 6}",
    "shared_experts.optimal_transport={output_dim: 8, hidden_dim: 16, support_points: 6, support_dim: 2, prototypes: 4, "
    "iterations: 5}",
    "shared_experts.raw_scale={output_dim: 8, hidden_dim: 12, mlp_dim: 8}",
    "task_experts.group_hidden_dim=32",
    "task_experts.group_output_dim=16",
    "task_experts.cluster_embed_dim=8",
    "task_towers.hidden_dims=[16]",
    "hmm_triple_mode.proj_dim=8",
    "sae.expansion=4",
    "sae.k=12",
    "sae.learning_rate=5.0e-3",
    "adatt.warmup_epochs=2",
    "adatt.freeze_epoch=4",
    "training.phase1_epochs=5",
    "training.phase2_epochs=1",
    "training.batch_size=64",
    "cgc.entropy_lambda=0.02",
    "training.learning_rate=4.0e-3",
    "training.expert_supervision=0.0",
)  # fmt: skip
"""The one configuration of all faults that need training: six epochs of about 16 steps."""
TINY_ROWS = 3600
TINY_CUSTOMERS = 330
BASE_CUSTOMERS = 1200

OPTIONS = Options(sample_customers=10)
"""Of every training here; the sample is written afterwards, mostly of customers that the run never saw."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """One seed's material: data and weight faults are planted in copies of `run` and its sample, training faults in `rows`."""

    seed: int
    run: Run
    tiny: Run
    rows: Dataset
    bank: Dataset | None = None
    """all that both runs are drawn from"""


def cache_dir() -> Path:
    """Where healthy runs are kept between benchmarks, unless `--workdir` says otherwise."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "ple-scope" / "faults"


def tiny_config(overrides: Iterable[str] = (), seed: int = 0) -> Config:
    return load_config("small", overrides=(*TINY, f"training.seed={seed}", *overrides))


def prepare(workdir: Path, seed: int, customers: int, say: Say) -> Bench:
    """The bank, its dataset, and both healthy runs of one seed: taken from `workdir`, or made there."""
    bank = workdir / f"bank-{customers}-{seed}"
    base = prepare_small(workdir, seed, customers, say, SPLIT)
    whole = Dataset.open(bank / "dataset")
    few = _few_rows(bank, whole)
    tiny = _healthy(bank, "tiny", tiny_config(seed=seed), few, TINY_CUSTOMERS, say)
    return Bench(seed, base, tiny, few, whole)


def prepare_small(workdir: Path, seed: int, customers: int, say: Say, split: SplitSettings = HEALTHY_SPLIT) -> Run:
    """The healthy `small` run of one seed alone; its bank lies in the folder `dataset` beside it."""
    bank = workdir / f"bank-{customers}-{seed}"
    rows = bank_rows(bank, seed, customers, say, split)
    with_baselines(rows, say)
    config = load_config("small", overrides=(f"training.seed={seed}",))
    return _healthy(bank, "base", config, rows, BASE_CUSTOMERS, say)


def bank_rows(bank: Path, seed: int, customers: int, say: Say, split: SplitSettings) -> Dataset:
    """The built dataset of a seed's bank. `build` itself returns what is there when neither events nor code changed."""
    generator, code = bank / "generator", source_digest("ple_model.data.synth")
    if not (bank / "events" / "events.json").exists() or not generator.exists() or generator.read_text() != code:
        if generator.exists():
            say(f"seed {seed}: the generator has changed since the bank that is kept was made")
        say(f"seed {seed}: generating a bank of {customers} customers")
        shutil.rmtree(bank / "events", ignore_errors=True)
        bank.mkdir(parents=True, exist_ok=True)
        generate(bank / "events", customers, seed)
        generator.write_text(code)
    say(f"seed {seed}: features")
    return build(bank / "events", bank / "dataset", settings=BuildSettings(split=split, workers=1, threads=1), tell=say)


def with_baselines(rows: Dataset, say: Say) -> None:
    """What simpler answers reach on these rows, kept with them and carried into every sample, for checks to compare with."""
    found = stored(rows)
    if found is None or not found.current:
        say(f"{rows.path.parent.name}: linear model and boosting of every task")
        measure(rows)


def _few_rows(bank: Path, rows: Dataset) -> Dataset:
    by = source_digest(Dataset.__module__)
    out = bank / f"rows-{rows.manifest.fingerprint[:12]}-{by[:8]}-{TINY_ROWS}"
    if not (out / "dataset.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        rows.extract(out, limit=min(TINY_ROWS, rows.manifest.rows))
    return Dataset.open(out)


def _healthy(bank: Path, name: str, config: Config, rows: Dataset, customers: int, say: Say) -> Run:
    by = source_digest(train.__module__, write_sample.__module__)
    settings = f"{config.to_yaml()}|{rows.manifest.fingerprint}|{by}|{customers}|{OPTIONS}|{SHARES}"
    key = hashlib.sha256(settings.encode()).hexdigest()
    path = bank / f"{name}-{key[:12]}"
    if (path / "healthy").exists():
        say(f"{bank.name}: the healthy {name} run is kept from before")
        return load_run(path)
    older = list(bank.glob(f"{name}-*"))
    since = ": the program, its configuration or the bank has changed since the one that is kept" if older else ""
    say(f"{bank.name}: training the healthy {name} run{since}")
    for old in older:
        shutil.rmtree(old, ignore_errors=True)
    run = train_run(rows, path, config, customers)
    (path / "healthy").touch()
    return run


def train_run(rows: Dataset, path: Path, config: Config, customers: int) -> Run:
    """A run from start to end, its sample mostly customers that it never saw."""
    shutil.rmtree(path, ignore_errors=True)
    run = train(rows, path, config, preset="small", device="cpu", options=OPTIONS)
    write_sample(run.path, rows, customers, shares=SHARES)
    write_fingerprint(run.path)
    return run
