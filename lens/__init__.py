"""Find and remove shortcuts in images with an adversarial lens."""

import sys
from pathlib import Path

__version__ = "0.4.0"

# `python -m lens.VERB` puts the working directory first among the places that modules are imported from. In a run's
# directory of a stranger a wandb.py or a torch/ would be imported instead of the library (and every run has a wandb/).
if sys.argv[:1] == ["-m"] and sys.path[:1] and Path(__file__).parent.parent != Path(sys.path[0]):
    del sys.path[0]
