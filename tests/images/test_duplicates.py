"""Near-duplicates: copies are found whatever they went through, other pictures are not."""

import io

import numpy as np
import PIL.Image
import pytest
from pictures import photos

from lens.images import duplicates
from lens.images.decoding import to_square


def squares(images, side=36):
    return np.stack([to_square(image, side) for image in images])


def saved(image, **how):
    buffer = io.BytesIO()
    image.save(buffer, **how)
    return PIL.Image.open(buffer)


COPIES = {
    "same": lambda image: image,
    "jpeg 40": lambda image: saved(image, format="JPEG", quality=40),
    "webp": lambda image: saved(image, format="WEBP", quality=70),
    "half": lambda image: image.resize((32, 32), PIL.Image.Resampling.BICUBIC),
    "double": lambda image: image.resize((128, 128), PIL.Image.Resampling.BILINEAR),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_found_and_nothing_else(copy):
    first, second = photos(40), photos(40, seed=1)
    for place in range(8):
        second[5 * place] = COPIES[copy](first[place])
    pixels, source = squares(first + second), np.repeat([0, 1], 40)
    found = duplicates.find(lambda index: pixels[index], source)
    assert sorted(map(tuple, found.index.tolist())) == [(place, 40 + 5 * place) for place in range(8)]
    assert found.difference.max() < duplicates.DIFFERENCE
    assert found.bits.max() <= duplicates.BITS
    if copy == "same":
        assert found.bits.max() == found.difference.max() == 0


def test_copies_within_a_source_are_found_too():
    pixels = squares(photos(10) * 3)
    found = duplicates.find(lambda index: pixels[index], np.zeros(30, int))
    expected = [(a, b) for a in range(30) for b in range(a + 1, 30) if a % 10 == b % 10]
    assert found.index.tolist() == [list(pair) for pair in expected]


def test_one_hash_of_two_pictures_is_no_pair():
    """A picture and a fainter one have one hash, which knows no contrast: their thumbnails differ."""
    strong = squares(photos(1))[0].astype(float)
    pixels = np.stack([strong, 128 + (strong - 128) / 2]).round().astype(np.uint8)
    first, second = duplicates.hashes(duplicates.thumbnails(pixels))
    assert np.bitwise_count(first ^ second) <= duplicates.BITS
    assert len(duplicates._candidates(np.array([first, second]), np.array([0, 1]))) == 1
    assert len(duplicates.find(lambda index: pixels[index], np.array([0, 1])).index) == 0


def brute_force(every):
    return [
        (i, j)
        for i in range(len(every))
        for j in range(i + 1, len(every))
        if bin(int(every[i]) ^ int(every[j])).count("1") <= duplicates.BITS
    ]


@pytest.mark.parametrize("pairs_at_once", [1 << 20, 7])
def test_candidates_are_those_of_a_slow_search(monkeypatch, pairs_at_once):
    monkeypatch.setattr(duplicates, "PAIRS", pairs_at_once)
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 2**64, 12, dtype=np.uint64)
    every = bases[rng.integers(0, 12, 200)]
    for _ in range(4):  # up to four bits of each are turned, so that some are near and some just not
        every = every ^ (np.uint64(1) << rng.integers(0, 64, 200).astype(np.uint64)) * rng.integers(0, 2, 200).astype(
            np.uint64
        )
    source = rng.integers(0, 3, 200)
    found = duplicates._candidates(every, source)
    assert sorted(map(tuple, found.tolist())) == brute_force(every)
    assert (source[found[:, 0]] != source[found[:, 1]]).sum() > 50


def test_thousands_of_blank_images_are_linked_without_all_their_pairs():
    source = np.repeat([0, 1], 2000)
    found = duplicates._candidates(np.zeros(4000, np.uint64), source)
    across = found[source[found[:, 0]] != source[found[:, 1]]]
    assert len(across) == 3999
    assert set(across.flatten().tolist()) == set(range(4000))
    assert len(found) == 3999 + 2 * 1999


def test_the_thumbnail_is_luminance_without_aliasing():
    pixels = np.zeros((2, 128, 128, 3), np.uint8)
    pixels[0, ..., 1] = 255
    pixels[1, ::2] = 255  # lines: grey from afar
    thumbs = duplicates.thumbnails(pixels)
    assert thumbs.shape == (2, 32, 32)
    assert thumbs[0] == pytest.approx(0.587 * 255, abs=0.01)
    assert thumbs[1] == pytest.approx(127.5, abs=10)
