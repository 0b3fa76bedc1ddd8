"""Where a source's channels end: a cast moves the ends by its strength, to the level."""

import numpy as np
import pytest
import torch

from lens.auditing import levels
from lens.base.draws import EVALUATION, Draws
from lens.protocols.lookup import find
from lens.results.audit import Levels

HUES = [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)]
"""Which channel a cast raises, and which it lowers."""


def pictures(count, seed):
    """Blocks of random shades (n, 24, 24, 3) uint8, black and white among them."""
    shades = np.random.default_rng(seed).integers(-40, 296, (count, 6, 6, 3)).clip(0, 255)
    return shades.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)


def ends_of(images):
    return levels.ends(sum(levels.counted(image) for image in images))


@pytest.mark.parametrize("hue", range(6))
@pytest.mark.parametrize("strength", [0.03, 0.08])
def test_a_cast_is_told_to_the_level(hue, strength):
    clean, other = pictures(40, 1), pictures(40, 2)
    images = torch.from_numpy(other.copy()).permute(0, 3, 1, 2).float() / 255
    index = torch.arange(40)
    theta = torch.full((40,), hue / 6)
    planted = find("shortcut", "colour_cast")(strength=strength).plant(
        images, theta, Draws(0, EVALUATION, index, index)
    )
    cast = (planted * 255).round().byte().permute(0, 2, 3, 1).numpy()
    lines = levels.words([ends_of(clean), ends_of(cast)], ["a", "b"])
    by = round(strength * 255)
    raised, lowered = (levels.CHANNELS[k] for k in HUES[hue])
    assert len(lines) == 2
    said = {line.split(":")[0]: line for line in lines}
    assert f"as if b were raised by {by} levels" in said[raised]
    assert f"as if b were lowered by {by} levels" in said[lowered]
    assert f"levels 0 to 255 in a, {by} to 255 in b" in said[raised]


def test_ends_are_those_of_all_pixels_but_one_in_ten_thousand():
    counts = np.zeros((3, 256), int)
    counts[:, 10:201] = 1000
    counts[0, 3] = 5  # rare
    counts[1, 3] = 500
    counts[2, 250] = 500
    assert levels.ends(counts) == Levels(lowest=[10, 3, 10], highest=[200, 200, 250])


def test_nothing_is_said_of_like_sources_and_no_cast_of_a_contrast_or_of_three():
    same = Levels(lowest=[0, 0, 0], highest=[255, 255, 255])
    assert levels.words([same, Levels(lowest=[1, 0, 0], highest=[255, 254, 255])], ["a", "b"]) == []
    (line,) = levels.words([same, Levels(lowest=[16, 0, 0], highest=[235, 255, 255])], ["a", "b"])
    assert line == "red: levels 0 to 255 in a, 16 to 235 in b"
    (line,) = levels.words([same, same, Levels(lowest=[0, 9, 0], highest=[255, 255, 255])], ["a", "b", "c"])
    assert line == "green: levels 0 to 255 in a, 0 to 255 in b, 9 to 255 in c"


def test_large_pictures_are_counted_in_part():
    image = np.full((3000, 2000, 3), 7, np.uint8)
    counts = levels.counted(image)
    assert counts[:, 7].tolist() == [counts.sum() // 3] * 3
    assert 0.5 * levels.PIXELS < counts[0].sum() < 2 * levels.PIXELS
