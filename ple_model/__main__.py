"""`python -m ple_model`: the command `ple`."""

import sys

from ple_model.cli import main

sys.exit(main())
