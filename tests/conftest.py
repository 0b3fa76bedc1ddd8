"""Small images of our own making, and settings that make a run last seconds."""

from __future__ import annotations

import gc
import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

# Tests run in three processes: threads of all on two cores would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import PIL.Image
import pytest

from lens.base.files import write_atomically
from lens.figures import run as figures
from lens.players.lens import LearnedLens
from lens.protocols.lookup import find

# What modules make stays for good, and the collector would look through it again and again: not while they are imported,
# and never after.
gc.disable()

TINY = [
    "--extractor", "test_resnet", "--lens.depth", "3", "--image_size", "32", "--cache_image_size", "36", "--batch_size", "4",
    "--steps", "6", "--log_every", "2", "--val_every", "3", "--checkpoint_every", "2", "--val_images", "8",
    "--threads", "1", "--device", "cpu",
]  # fmt: skip

SUMMARY = {
    "task": "rotation", "data": "./photos", "shortcut": "none", "lens": "none", "seed": 0, "steps": 6, "seconds": 1.0,
    "images_per_second": 3.0, "pretext": {"metric": "accuracy", "images": 8, "chance": 0.25, "clean": 0.5}, "downstream": {},
}  # fmt: skip
"""What a summary.json has at least."""


def fit(words: list[str]) -> list[str]:
    """Words of lens.train without the lens's own settings of TINY, where the words take the lens away."""
    lens = ["full_res", *(word for before, word in itertools.pairwise(words) if before == "--lens")][-1]
    if lens not in ("none", "fgsm", "random"):
        return words
    idle = {"--lens.depth", "--lens.encoder"} | ({"--feed"} if lens == "none" else set())
    return [w for before, w in zip(["", *words], words, strict=False) if w not in idle and before not in idle]


def made_lens(name: str, noise: float = 0.0, grey: str = "keep", **own: object) -> LearnedLens:
    """A lens that plays, of a plug-in with settings of its own."""
    return LearnedLens(find("lens", name)(**own), noise, grey)


LONGEST = ("ranks", "strangers", "train", "gpu", "proof", "readme", "ablate", "faults", "run", "probe", "compare")
"""The files that take longest, the longest first: begun last, one of them would leave the other process waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    assert all(Path(__file__).with_name(name).is_file() for name in place)
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what the modules made
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def undrawn(patch: pytest.MonkeyPatch) -> None:
    """A run's pictures are files of one pixel: all that is written is written, and a third of a tiny run's time is saved."""
    content = io.BytesIO()
    PIL.Image.new("RGB", (1, 1)).save(content, "PNG")
    for name in ("edits", "edit_map", "curves"):
        patch.setattr(figures, name, lambda numbers, file: write_atomically(file, content.getvalue()))


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest) -> Iterator[None]:
    """The runs of a test are `undrawn`, those of fixtures that several share are drawn, and so are those of tests marked `pictures`."""
    with pytest.MonkeyPatch.context() as patch:  # one of its own: a test may undo what it has changed
        if not request.node.get_closest_marker("pictures"):
            undrawn(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["LENS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def picture(rng: np.random.Generator, label: int, size: tuple[int, int] = (40, 48)) -> PIL.Image.Image:
    """A picture that is brighter at the top (so that a turn shows) and redder or bluer (so that a class shows)."""
    height, width = size
    pixels = np.empty((height, width, 3))
    pixels[:] = np.linspace(220, 30, height)[:, None, None]
    pixels[..., 0 if label else 2] += 40
    pixels += rng.normal(0, 15, pixels.shape)
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_folder(root: Path, per_class: int = 30, classes: int = 2, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for i in range(per_class):
            picture(rng, label).save(root / f"class{label}" / f"{i:03d}.png")
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of two classes in class folders."""
    return write_folder(tmp_path_factory.mktemp("data") / "photos")
