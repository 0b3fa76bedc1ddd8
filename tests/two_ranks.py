"""A training of two ranks whose processes are forks."""

import os
import sys
import time
from pathlib import Path

from lens import train

TORCHRUN = ["--standalone", "--nproc-per-node=2", "-m", "lens.train"]


def torchrun(argv):
    """torchrun's own main, but that it forks its ranks: each leaves its process's number in the folder PIDS."""
    from torch.distributed import run

    real = run.elastic_launch

    def forking(config, entrypoint):
        assert os.path.samefile(entrypoint, sys.executable)
        config.start_method = "fork"
        return lambda *command: real(config, a_rank)(argv)

    run.elastic_launch = forking
    run.main([*TORCHRUN, *argv])


def a_rank(argv):
    Path(os.environ["PIDS"], os.environ["RANK"]).write_text(str(os.getpid()))
    if os.environ["RANK"] == "0" and (seconds := float(os.environ.get("SLOW_TO_SPEAK", 0))):
        quick = sys.stderr.write

        def write(text):
            if "lens: error" in text:
                time.sleep(seconds)
            return quick(text)

        sys.stderr.write = write
    code = train.main(argv)
    if code:
        sys.exit(code)
