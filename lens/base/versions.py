"""What is recorded beside figures: the versions that they depend on, the commit of the code."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DISTRIBUTION = "lens-shortcuts"
"""What this package is called where packages are installed from."""
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
    """The versions of Python, of this package and of the libraries that results depend on, or that one is not installed."""
    from lens import __version__

    return {"python": sys.version.split()[0], "lens": __version__} | {name: _version(name) for name in LIBRARIES}


@functools.cache
def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def missing_packages() -> dict[str, str]:
    """The packages that this one needs, and that those need in turn, and that are not installed: each with what follows `pip install`.

    Those that are needed under a condition alone (an extra, another system) are left out. Of a checkout that was never
    installed it is not known what it needs: it is missing itself.
    """
    missing: dict[str, str] = {}
    wanted, seen = [DISTRIBUTION], {DISTRIBUTION}
    for requirement in wanted:  # it grows meanwhile
        name = _name(requirement)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            missing[name] = shlex.quote(requirement) if name != DISTRIBUTION else f"-e {shlex.quote(str(ROOT))}"
            continue
        new = [need for need in needs if ";" not in need and _name(need) not in seen]
        seen.update(map(_name, new))
        wanted += new
    return missing


def _name(requirement: str) -> str:
    """`Jsonargparse[signatures]<5` → `jsonargparse`: the package alone, as all spell it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


@functools.cache
def git_commit() -> str | None:
    """The commit of the package's checkout, "-dirty" where files differ from it, None outside a checkout.

    As it is when it is first asked: what is imported stays, whatever is checked out meanwhile.
    """
    if not (ROOT / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        status = subprocess.run(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("-dirty" if status.stdout.strip() else "")
