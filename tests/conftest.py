"""What every test has: a cache of its own, small photos, runs that draw nothing; which files are begun first."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Tests run in three processes: threads of all on two cores would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from pictures import write_folder
from tiny import two_penalties, undrawn

# Whoever begins the tests with nohup has them ignore what a closed terminal sends.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What modules make stays for good, and the collector would look through it again and again: not while they are imported,
# and never after.
gc.disable()

LONGEST = ("ranks", "strangers", "train", "gpu", "proof", "readme", "ablate", "faults", "run", "probe", "compare")
"""The files that take longest, the longest first: begun last, one of them would leave the other process waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    assert place.keys() <= {file.name for file in Path(__file__).parent.rglob("test_*.py")}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what the modules made
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest) -> Iterator[None]:
    """The runs of a test are `undrawn`, those of fixtures that several share are drawn, and so are those of tests marked `pictures`."""
    with pytest.MonkeyPatch.context() as patch:  # one of its own: a test may undo what it has changed
        if not request.node.get_closest_marker("pictures"):
            undrawn(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _two_penalties() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        two_penalties(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["LENS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of two classes in class folders."""
    return write_folder(tmp_path_factory.mktemp("data") / "photos")
