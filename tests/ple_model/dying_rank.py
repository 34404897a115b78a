"""`ple` as torchrun starts it, but its second process is killed after its third step."""

from __future__ import annotations

import os
import signal
import sys

from ple_model.cli import main
from ple_model.training.trainer import Trainer

if os.environ["RANK"] == "1":
    heed = Trainer._heed

    def dying(self: Trainer, save: bool = False) -> None:
        if self.position.total_steps == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        heed(self, save)

    Trainer._heed = dying  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
