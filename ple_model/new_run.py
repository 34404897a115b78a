"""A run folder that is ready to train."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import torch

from ple_model import label_profile
from ple_model.config import Config
from ple_model.constants import with_training_statistics
from ple_model.context import ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.holes import stored_costs
from ple_model.device import Precision, pick_device
from ple_model.distill.teacher import Teacher
from ple_model.encoder_start import EncoderStart, require_weights
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.fitting import fitted_to
from ple_model.model import PLEClusterAdaTT
from ple_model.provenance import code_commit, library_versions
from ple_model.run import write_config
from ple_model.run_manifest import DataInfo, Manifest, TeacherInfo
from ple_model.staging import staged_folder
from ple_model.start_from import StartFrom


def create_run(
    dataset: Dataset, run_dir: Path, config: Config, *, preset: str, device: str, start: StartFrom | None = None,
    teacher: Teacher | None = None, encoder: EncoderStart | None = None, world_size: int = 1,
) -> None:  # fmt: skip
    """A run folder that is ready to train, put in place by one rename. With `start` it begins with another run's weights, with
    `teacher` it learns from another run's outputs, with `encoder` its temporal expert starts from a pre-trained one.
    `world_size`: processes that train it.

    Two processes may make the same run at once: each works in a folder of its own, the first rename wins, the other is refused.
    """
    _require_trainable(dataset, run_dir, config, taught=teacher is not None)
    if encoder is not None and start is not None:
        raise UserError("--encoder and --from: the weights of the other run are the start already; give one of them")
    where = pick_device(device)
    precision = Precision.choose(where, config.training.amp)
    config, left_out = fitted_to(config, dataset, dataset.context())
    if encoder is not None:
        config = encoder.into(config, dataset)
    require_weights(config, given=encoder is not None or start is not None)
    context, warnings = with_training_statistics(dataset.context(), dataset, config)
    if not context.constant_loss:
        raise UserError(f"{dataset.path} has no training labels for any of the config's tasks: {', '.join(config.tasks)}")
    batch_size = config.training.batch_size or min(16384, max(256, dataset.rows("train") // 32))
    with staged_folder(run_dir) as fresh:
        _keep_what_it_knows(fresh, dataset, config, context)
        with torch.random.fork_rng():
            torch.manual_seed(config.training.seed)
            model = PLEClusterAdaTT(config, context)
        if start is not None:
            start.keep(fresh, model, config)
            warnings = [*warnings, *start.warnings(dataset.manifest.fingerprint)]
        parameters = sum(p.numel() for p in model.parameters())
        started = None
        if encoder is not None:
            started = encoder.keep(fresh, model)
            warnings = [*warnings, *encoder.warnings(dataset.manifest.fingerprint)]
        taught = None
        if teacher is not None:
            plan = teacher.plan(model, config)
            plan.save(fresh / "state")
            taught = TeacherInfo(plan.name, plan.fingerprint)
            warnings = [*warnings, *teacher.warnings(model, dataset.manifest.fingerprint)]
        Manifest(
            preset=preset,
            device=where.type,
            amp=precision.amp,
            seed=config.training.seed,
            threads=torch.get_num_threads(),
            batch_size=batch_size,
            data=DataInfo(dataset.manifest.name, dataset.manifest.fingerprint, dict(dataset.manifest.splits)),
            versions=library_versions(),
            status="running",
            created=now(),
            commit=code_commit(),
            parameters=parameters,
            experts=list(config.shared_experts),
            parent=None if start is None else start.run.name,
            teacher=taught,
            encoder=started,
            world_size=world_size,
            warnings=[*left_out, *model.skipped_edges, *warnings, *_holes(dataset)],
        ).save(fresh)


def _require_trainable(dataset: Dataset, run_dir: Path, config: Config, *, taught: bool) -> None:
    """`UserError` unless the folder is free, the dataset has rows to train and validate on, and a student has its teacher."""
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(f"{run_dir} is not empty and holds no run; choose another folder")
    for split in ("train", "validation"):
        if dataset.rows(split) == 0:
            raise UserError(f"{dataset.path} has no rows in its {split} split; a training needs them")
    if config.distillation.enabled != taught:
        raise UserError("distillation.enabled: `ple distill TEACHER RUN` trains a student, and alone does")


def _keep_what_it_knows(run: Path, dataset: Dataset, config: Config, context: ModelContext) -> None:
    """The configuration, and of the dataset all that scoring needs without it; where that lies is state."""
    (run / "state").mkdir()
    shutil.copytree(dataset.path / "artifacts", run / "preprocess")
    context.save(run / "preprocess")
    label_profile.save(run / "preprocess", dataset, config)
    write_config(run, config)
    write_json(run / "state" / "dataset.json", {"path": str(dataset.path.resolve())})


def _holes(dataset: Dataset) -> list[str]:
    """What holes in the events take from the cut-offs that are trained on."""
    return [str(cost) for cost in stored_costs(dataset.manifest.settings, dataset.manifest.cutoffs) or ()]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
