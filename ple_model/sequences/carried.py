"""The pre-trained encoder that a run carries in its temporal expert (`ple train --encoder`), as an encoder of its own.

Whoever asks it for errors of hidden steps needs the head that restores them. With `frozen` weights it is as the pre-training
left it; an encoder that was trained on with the tasks has moved away from that head, which no task trains.
"""

from __future__ import annotations

from dataclasses import dataclass

from ple_model.adapters import stream_of
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.stream import EncoderMode

NONE = "The run has no pre-trained encoder: `ple train --encoder RUN_ENCODER` gives it one."


@dataclass(frozen=True, eq=False)
class CarriedEncoder:
    """An encoder of a run's own, in eval mode, and the sequence field that it reads."""

    encoder: SequenceEncoder
    sequence: str
    mode: EncoderMode


def carried(model: PLEClusterAdaTT) -> CarriedEncoder | None:
    """None where the model has none."""
    expert = stream_of(model)
    if expert is None or expert.pretrained is None:
        return None
    stream = expert.pretrained
    return CarriedEncoder(stream.encoder, stream.sequence, stream.mode)


def restoring(model: PLEClusterAdaTT) -> CarriedEncoder:
    """The model's encoder where its error on hidden steps means what it did after the pre-training. `UserError` says why it
    does not."""
    found = carried(model)
    if found is None:
        raise UserError(NONE)
    if found.mode != "frozen":
        raise UserError(
            f"The run's encoder was trained on with the tasks ({found.mode}), the head that restores hidden days was not: its "
            f"error says nothing. `ple predict --encoder RUN_ENCODER` scores by the encoder as it was pre-trained."
        )
    objective = found.encoder.config.objective
    if not found.encoder.config.restores:
        raise UserError(
            f"The run's encoder was pre-trained with encoder.objective={objective}, which does not teach it to restore hidden "
            f"days: masked or both does."
        )
    return found
