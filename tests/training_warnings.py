"""Every warning that a training can leave in a run, as the code that says it makes it: for tests of what readers see."""

from __future__ import annotations

from ple_model.badstep import BadStep
from ple_model.config import TransferEdge
from ple_model.data.events.holes import Hole, HoleCost
from ple_model.finite import Tally, tensors_sentence
from ple_model.tasks import TASKS
from ple_model.training.report import TITLES
from ple_model.transfer import active_edges

CAUSES = (
    "NaN or Inf in the batch: 'features' in 3, 'label ctr' in 2 of 32 rows", "the output of 'temporal', 'deepfm' overflowed",
    "a prediction or a loss overflowed behind the experts", "the gradient of 'gates' and 2 more overflowed",
    "the sum of the losses overflowed",
)  # fmt: skip


def _edges() -> list[str]:
    one = {n: s for n, s in TASKS.items() if n != "ctr"}
    none = {n: s for n, s in one.items() if n != "cvr"}
    edge = TransferEdge("ctr", "cvr", "output_concat")
    return active_edges([edge], one)[1] + active_edges([edge], none)[1]


def _tallies() -> list[str]:
    many = {f"field_{i}": 5 for i in range(9)}
    tallies = [
        Tally("data/bank", 100, {"features": 5}, {}, "c1"),
        Tally("data/bank", 100, {}, {"ctr": 5, "cvr": 2}, "c1"),
        Tally("data/bank", 100, many, {"ctr": 5}, "c1"),
    ]
    return [t.sentence() for t in tallies]


def every_warning() -> list[str]:
    hole = Hole("transactions", "2023-08-01", "2023-08-31", 0.01)
    steps = [str(BadStep(32, tasks, {}, cause)) for cause in CAUSES for tasks in ((), ("ctr", "cvr"))]
    return [
        "experts left out, for want of any input in this dataset: temporal, perslay",
        "tasks left out, for want of labels in this dataset: ctr, nba",
        *_edges(),
        "task 'ctr' has no labels in the training split: it is not trained",
        *(
            f"task '{n}' has no labels in the training split: it is not trained (a label needs {s.needs})"
            for n, s in TASKS.items()
            if s.needs
        ),
        "task 'ctr' has one and the same label in the whole training split: there is nothing to learn",
        *(str(HoleCost("2023-08-06", hole, *days)) for days in ((5, 28, 0), (0, 28, 3), (5, 28, 3))),
        "the weights that it starts from were learnt from other data ('bank'); the fitted map is of that data",
        "resumed with 2 threads, the run was started with 1: last bits may differ",
        "resumed with 1 processes, the run was started with 2: dropout is drawn otherwise and last bits may differ",
        "resumed on cpu, the run was started on cuda: numbers may differ",
        *(
            f"epoch 2: 3 steps were skipped, their loss or gradient was not finite; the first at step 4: {step}"
            for step in steps
        ),
        "epoch 2: 3 steps were skipped, their loss or gradient was not finite; the cause is not known",
        *(
            f"epoch 2: the {title} stayed as they were in 4 steps, their own loss or gradient was no number; no prediction "
            "depends on them"
            for title in TITLES.values()
        ),
        *_tallies(),
        *(f"{t}; such predictions count as misses" for t in _tallies()),
        f"{tensors_sentence('the trained weights', {'sae.decoder': 0.5})}: no prediction depends on them",
    ]
