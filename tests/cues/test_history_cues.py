"""Cues of how pictures were stored: each against pictures whose history is known, beside the same without it."""

import numpy as np
import PIL.Image
import pytest
import torch
from cue_pictures import described, jpeg, photo, photos_of, picture, saved
from tiny import draws

from lens.images.decoding import to_square
from lens.protocols.cue import Picture
from lens.protocols.lookup import find


def history(name, treat, count=4, size=(120, 160)):
    return described(name, photos_of(count, size, treat=treat))


def resized(native, factor):
    image = PIL.Image.fromarray(native)
    size = (round(image.width * factor), round(image.height * factor))
    return np.array(image.resize(size, PIL.Image.Resampling.BICUBIC))


# --- compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [30, 50, 75, 90])
def test_the_quality_of_a_single_png_copy_is_read_from_its_pixels(quality, subsampling):
    found = history("quantisation", lambda native: jpeg(native, quality, subsampling))
    assert (np.abs(found["luminance_quality"] - quality) <= 1).all()
    clean = history("quantisation", lambda native: native)
    assert np.isnan(clean["luminance_quality"]).all()
    assert clean["luminance_fit"].max() < found["luminance_fit"].min() == 6


@pytest.mark.parametrize(("subsampling", "sampling"), [(0, "4:4:4"), (2, "4:2:0")])
def test_chroma_fits_as_it_was_stored_alone(subsampling, sampling):
    found = history("quantisation", lambda native: jpeg(native, 80, subsampling))
    assert np.nanmedian(np.abs(found[f"chroma_{sampling}_quality"] - 80)) <= 2
    other = {"4:4:4": "4:2:0", "4:2:0": "4:4:4"}[sampling]
    assert found[f"chroma_{sampling}_fit"].mean() > found[f"chroma_{other}_fit"].mean() + 1


@pytest.mark.parametrize("grain", [2.0, 25.0])
def test_without_a_history_fits_are_about_0_whatever_a_picture_shows(grain):
    """Faint grain and strong: a tree on the fits cannot tell what is shown."""
    chance = np.random.default_rng(0)
    made = [np.clip(128 + chance.normal(0, grain, (200, 220, 3)), 1, 254).round().astype(np.uint8) for _ in range(12)]
    fits = described("quantisation", [picture(native) for native in made])["luminance_fits"]
    assert np.abs(fits.mean()) < 0.6
    assert 0.5 < fits.std() < 1.5


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 6)])
def test_the_grid_begins_where_the_picture_was_cut(top, left):
    found = history("block_grid", lambda native: jpeg(native, 40)[top:, left:])
    assert (found["luminance_begins_down"] == -top % 8).all()
    assert (found["luminance_begins_across"] == -left % 8).all()
    clean = history("block_grid", lambda native: native)
    assert found["luminance_strength_down"].min() > 3 * clean["luminance_strength_down"].max()


def test_chroma_at_every_other_pixel_has_a_grid_of_16():
    found = history("block_grid", lambda native: jpeg(native, 25, 2), size=(160, 160))["chroma_grid_down"].mean(axis=0)
    assert found.argmax() == 0
    assert found[0] > 1.2 * found[8]


def test_the_grid_is_counted_from_the_pictures_own_corner_whatever_part_is_looked_at():
    found = history("block_grid", lambda native: jpeg(native, 40), count=1, size=(100, 402))
    assert found["luminance_begins_across"] == 0


def test_a_ghost_shows_the_first_of_two_qualities():
    """Stored at 40, then at 80: at 40 it changes less than a neighbour of its kind does."""
    qualities = [10, 15, 20, 25, 30, 35, 40, 45, 50]
    twice = history("double_compression", lambda native: jpeg(jpeg(native, 40), 80))["ghost"].mean(axis=0)
    once = history("double_compression", lambda native: jpeg(native, 80))["ghost"].mean(axis=0)
    gain = (once - twice)[: len(qualities)]
    assert qualities[int(gain.argmax())] == 40
    assert gain[6] > 0.5


@pytest.mark.parametrize("grain", [2.0, 25.0])
def test_without_a_history_there_is_no_ghost_whatever_a_picture_shows(grain):
    chance = np.random.default_rng(0)
    made = [np.clip(128 + chance.normal(0, grain, (200, 220, 3)), 1, 254).round().astype(np.uint8) for _ in range(8)]
    ghost = described("double_compression", [picture(native) for native in made])["ghost"]
    assert np.abs(ghost).mean() < 0.05


def test_levels_have_gaps_after_two_compressions_and_none_after_one():
    twice = history("double_compression", lambda native: jpeg(jpeg(native, 45), 85), count=8)["gaps"]
    once = history("double_compression", lambda native: jpeg(native, 85), count=8)["gaps"]
    assert np.abs(twice.mean(axis=0)).mean() > 2 * np.abs(once.mean(axis=0)).mean()


# --- resampling, noise, levels ----------------------------------------------------------------------------------------


def test_an_enlarged_picture_repeats_itself_at_its_own_rate():
    """Half as large again: two pixels become three, so that the second difference repeats every third."""
    grain = [np.random.default_rng(seed).integers(90, 166, (80, 120, 3), dtype=np.uint8) for seed in range(4)]
    found = described("resampling", [picture(resized(native, 1.5)) for native in grain])
    assert (np.abs(found["peak_down"] - 1 / 3) < 0.02).all()
    assert (np.abs(found["peak_across"] - 1 / 3) < 0.02).all()
    plain = described(
        "resampling", [picture(np.random.default_rng(9).integers(90, 166, (120, 180, 3), dtype=np.uint8))]
    )
    assert found["height_down"].min() > plain["height_down"].max() + 0.5


def test_blocks_of_compression_are_not_called_resizing():
    found = history("resampling", lambda native: jpeg(native, 20), size=(256, 256))
    for way in ("down", "across"):
        off = np.abs(found[f"peak_{way}"] * 16 - np.round(found[f"peak_{way}"] * 16)) / 16
        assert (off >= 0.008).all()
        assert found[f"height_{way}"].max() < 2.5


def test_noise_is_told_to_its_level_by_channel():
    chance = np.random.default_rng(0)
    levels = np.array([2.0, 5.0, 9.0])
    native = np.clip(144 + chance.normal(0, levels, (200, 200, 3)), 0, 255).round().astype(np.uint8)
    found = described("noise", [picture(native)])
    np.testing.assert_allclose(np.exp(found["level"][0, :, 2]), np.hypot(levels, 12**-0.5), rtol=0.1)
    assert np.abs(found["together"]).max() < 0.05
    assert np.isfinite(found["by_brightness"][0]).tolist() == [place == 4 for place in range(8)]  # 128 to 159
    grey = np.repeat(native[..., :1], 3, axis=2)
    assert described("noise", [picture(grey)])["together"].min() > 0.95


def test_noise_that_grows_with_brightness_is_told_by_brightness():
    chance = np.random.default_rng(0)
    light = np.linspace(20, 230, 256)[:, None, None] + np.zeros((256, 256, 3))
    native = np.clip(light + chance.normal(0, 1, light.shape) * light / 25, 0, 255).round().astype(np.uint8)
    found = described("noise", [picture(native)])["by_brightness"][0]
    assert (np.diff(found[1:7]) > 0).all()


def test_the_ends_of_the_levels_are_counted():
    native = np.full((32, 32, 3), 100, np.uint8)
    native[0, :8] = (0, 100, 255)
    found = {name: values[0] for name, values in described("clipping", [picture(native)]).items()}
    assert found["least"].tolist() == [0, 100, 100]
    assert found["greatest"].tolist() == [100, 100, 255]
    share = 8 / 1024
    np.testing.assert_allclose(found["at_least"], [share, 1, 1 - share])
    np.testing.assert_allclose(found["low"][:, 0], [share, 0, 0])
    np.testing.assert_allclose(found["high"][:, 7], [0, 0, share])
    np.testing.assert_allclose(found["clipped"], [[1 - share, share, 0, 0], [1 - share, share, 0, 0]])
    assert found["grey"] == pytest.approx(1 - share)
    np.testing.assert_allclose(found["used"], [2 / 101, 1, 2 / 156])


def test_a_stretched_contrast_leaves_levels_out():
    plain = history("clipping", lambda native: native)
    wide = history("clipping", lambda native: np.clip((native.astype(float) - 40) * 1.4, 0, 255).astype(np.uint8))
    assert (wide["used"] < 0.85 * plain["used"]).all()
    assert (wide["uneven"][..., 0] > 2 * plain["uneven"][..., 0]).all()


# --- no content at all ------------------------------------------------------------------------------------------------


def test_content_null_reads_the_size_and_nothing_else():
    first, second = picture(photo(0, (90, 140))), picture(photo(1, (90, 200)))
    other = picture(photo(0, (91, 140)))
    ask = find("cue", "content_null")().describe
    one, same, moved = (ask([shown], draws(1)) for shown in (first, second, other))
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])  # the square in the middle is as wide
    assert any(not np.array_equal(one[name], moved[name]) for name in one)
    apart = ask([first, first], draws(2))
    assert not np.array_equal(apart["likeness"][0], apart["likeness"][1])  # each image's noise is its own


def test_content_null_goes_the_way_that_pictures_go():
    from lens.cues.content_null import null_square

    made = null_square(75, 32, 0, 5)
    whole = null_square(75, 75, 0, 5)
    expected = to_square(PIL.Image.fromarray(np.repeat(whole[..., None], 3, axis=2)), 32)
    np.testing.assert_array_equal(np.repeat(made[..., None], 3, axis=2), expected)


def test_content_null_tells_two_sizes_apart_by_their_noise():
    small, large = ([picture(np.zeros((side, side, 3), np.uint8))] * 20 for side in (40, 160))
    ask = find("cue", "content_null")().describe
    first, second = ask(small, draws(20))["deviation"], ask(large, draws(20))["deviation"]
    assert first.min() > second.max() + 0.5


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_header_cue_gives_every_field_but_the_size():
    native = photo(0)
    shown = [
        Picture({"width": 160.0, "file_bytes": 9.0, "quality": 75.0, "mode": "RGB"}, native, native),
        Picture({"width": 160.0, "mode": "L"}, native, native),
        Picture({"width": 160.0, "quality": 30.0}, native, native),
    ]
    found = find("cue", "header")().describe(shown, draws(3))
    assert found.keys() == {"quality", "mode"}
    np.testing.assert_array_equal(found["quality"], np.array([75, np.nan, 30], np.float32))
    assert list(found["mode"]) == ["RGB", "L", "none"]


def test_the_size_of_the_file_is_a_cue_of_its_own():
    native = photo(0)
    found = described(
        "file_size", [Picture({"file_bytes": 9.0, "bytes_per_pixel": 0.5}, native, native), picture(native)]
    )
    np.testing.assert_array_equal(found["file_bytes"], np.array([9, np.nan], np.float32))
    np.testing.assert_array_equal(found["bytes_per_pixel"], np.array([0.5, np.nan], np.float32))


def test_no_history_cue_reads_the_file_or_the_square():
    """A PNG copy and the JPEG itself are the same pixels: they have the same history."""
    native = jpeg(photo(0), 70, 2)
    plain = Picture({}, native, to_square(PIL.Image.fromarray(native), 32))
    other = Picture({"container": "JPEG"}, native, np.zeros((8, 8, 3), np.uint8))
    assert saved(native, "PNG") != saved(native)
    for name in ("quantisation", "block_grid", "double_compression", "resampling", "noise", "clipping"):
        first, second = (find("cue", name)().describe([shown], draws(1)) for shown in (plain, other))
        for column in first:
            np.testing.assert_array_equal(first[column], second[column])


def test_crops_are_bounded_and_lie_on_the_grid():
    from lens.cues._native import crop

    place = np.stack(np.broadcast_arrays(np.arange(700)[:, None], np.arange(400)[None], 0), axis=2)
    found = crop(place)
    assert found.shape == (256, 256, 3)
    assert found[0, 0, :2].tolist() == [208, 64]  # the middle begins at (222, 72)
    assert crop(place[:100, :300]).shape == (100, 256, 3)
    assert torch.tensor(found[0, 0, :2] % 16).sum() == 0
