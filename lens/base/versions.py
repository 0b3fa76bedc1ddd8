"""What is recorded beside figures: the versions that they depend on, the commit of the code."""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib import metadata
from pathlib import Path

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "segmentation-models-pytorch",
    "kornia",
    "lightning-fabric",
    "scikit-learn",
)


def versions() -> dict[str, str]:
    """The versions of Python, of this package and of the libraries that results depend on."""
    from lens import __version__

    return {"python": sys.version.split()[0], "lens": __version__} | {name: _version(name) for name in LIBRARIES}


_version = functools.cache(metadata.version)


@functools.cache
def git_commit() -> str | None:
    """The commit of the package's checkout, "-dirty" where files differ from it, None outside a checkout.

    As it is when it is first asked: what is imported stays, whatever is checked out meanwhile.
    """
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        status = subprocess.run(["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("-dirty" if status.stdout.strip() else "")
