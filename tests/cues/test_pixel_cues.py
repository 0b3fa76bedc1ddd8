"""What each cue of the squares keeps, and what it takes away."""

import numpy as np
import pytest
import torch
from cue_pictures import described, photo, photos_of, picture
from tiny import draws

from lens.base.draws import Draws, generator
from lens.operations import hog, shrinking, spectra
from lens.protocols.cue import Picture
from lens.protocols.lookup import find


def squares(count=4, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=generator(seed, 0, "squares"))


def view(name, images, **settings):
    return find("cue", name)(**settings).view(images, draws(len(images)))


def colours(images):
    """Each image's pixels as colours, sorted."""
    flat = images.flatten(2).mT.numpy()
    return np.stack([rows[np.lexsort(rows.T)] for rows in flat])


@pytest.mark.parametrize("name", ["pixel_shuffle", "pixel_shuffle_fixed", "patch_shuffle"])
def test_shuffles_keep_every_colour_and_move_it(name):
    images = squares()
    shuffled = view(name, images)
    np.testing.assert_array_equal(colours(shuffled), colours(images))
    assert (shuffled != images).any(dim=1).float().mean() > 0.9


def test_the_random_shuffle_is_each_images_own_and_the_fixed_one_is_shared():
    places = torch.arange(32 * 32).view(1, 1, 32, 32).expand(3, 3, 32, 32) / 1024
    own, shared = view("pixel_shuffle", places), view("pixel_shuffle_fixed", places)
    assert not torch.equal(own[0], own[1])
    assert torch.equal(shared[0], shared[1])
    later = find("cue", "pixel_shuffle")().view(places, Draws(0, 7, torch.arange(3), torch.ones(3).long()))
    assert torch.equal(later, own)  # an image's order is its own in every epoch and view
    other = find("cue", "pixel_shuffle_fixed")().view(places, Draws(1, -1, torch.arange(3), torch.zeros(3).long()))
    assert not torch.equal(other[0], shared[0])


def test_one_black_pixel_in_a_fixed_place_is_seen_in_the_cell_of_its_place():
    plain = photos_of(6)
    marked = []
    for one in plain:
        square = one.square.copy()
        square[20, 11] = 0
        marked.append(Picture({}, one.native, square))
    first, second = (described("pixel_shuffle_fixed", shown)["least"] for shown in (plain, marked))
    moved = (first != second).all(axis=1)  # of all channels
    assert (moved.sum(axis=(1, 2)) >= 1).all()
    assert (moved == moved[0]).all()
    assert (second[moved.nonzero()[0], :, moved.nonzero()[1], moved.nonzero()[2]] == 0).all()


@pytest.mark.parametrize("patch", [2, 4, 5, 16])
def test_patches_stay_whole(patch):
    side = 32 // patch
    number = torch.arange(side * side).view(side, side).repeat_interleave(patch, 0).repeat_interleave(patch, 1)
    images = (number / 1024).expand(2, 3, -1, -1)
    whole = torch.zeros(2, 3, 32, 32)
    whole[:, :, : side * patch, : side * patch] = images
    shuffled = view("patch_shuffle", whole, patch=patch)
    assert shuffled.shape == images.shape
    blocks = shuffled[:, 0].unfold(1, patch, patch).unfold(2, patch, patch).flatten(3)
    assert torch.equal(blocks.amin(dim=3), blocks.amax(dim=3))
    assert not torch.equal(shuffled, images)
    alike = torch.rand(2, 3, patch, patch, generator=generator(0, 0, "patch")).tile(1, 1, side, side)
    assert torch.equal(view("patch_shuffle", alike, patch=patch), alike)


def test_the_low_and_the_high_frequencies_together_are_the_image():
    grey = shrinking.luminance(squares())
    radius = 40 / 224
    low, high = (spectra.banded(grey, radius, low=low) for low in (True, False))
    torch.testing.assert_close(low + high, grey, rtol=0, atol=1e-5)
    torch.testing.assert_close(view("low_pass", squares()), spectra.stretched(low))
    torch.testing.assert_close(view("high_pass", squares()), spectra.stretched(high))
    assert spectra.power(high[:, 0])[:, 0, 1].max() < spectra.power(low[:, 0])[:, 0, 1].max()


@pytest.mark.parametrize(("cycles", "kept"), [(2, "low_pass"), (12, "high_pass")])
def test_a_wave_passes_on_its_own_side_alone(cycles, kept):
    """40 cycles of 224 px are 5.7 of 32."""
    wave = 0.5 + 0.4 * torch.cos(2 * torch.pi * cycles * torch.arange(32) / 32)
    images = wave.expand(1, 3, 32, 32)
    for name in ("low_pass", "high_pass"):
        seen = view(name, images)
        assert (seen.std() > 0.3) == (name == kept), name


def test_mean_colour_moves_by_exactly_a_cast():
    cast = np.array([12, -7, 3])
    plain = photos_of(3)
    moved = [Picture({}, one.native, (one.square + cast).astype(np.uint8)) for one in plain]
    apart = described("mean_colour", moved)["mean_colour"] - described("mean_colour", plain)["mean_colour"]
    np.testing.assert_allclose(apart, np.tile(cast, (3, 1)), atol=1e-4)
    expected = np.stack([one.square.reshape(-1, 3).mean(axis=0) for one in plain])
    np.testing.assert_allclose(described("mean_colour", plain)["mean_colour"], expected, rtol=1e-6)


def test_the_colour_histogram_counts_and_does_not_ask_where():
    one = photos_of(1)[0]
    mixed = np.random.default_rng(0).permutation(one.square.reshape(-1, 3)).reshape(one.square.shape)
    first = described("colour_histogram", [one])
    second = described("colour_histogram", [Picture({}, one.native, mixed)])
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-6)
    counts = np.stack([np.histogram(one.square[..., c], bins=24, range=(0, 255))[0] for c in range(3)]) / 32**2
    np.testing.assert_allclose(first["channel"][0], counts, atol=0.003)
    assert first["box"].sum() == pytest.approx(1)
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    assert described("colour_histogram", [Picture({}, red, red)])["box"][0, 48] == 1


def test_edges_are_those_of_kornias_canny():
    from kornia.filters import canny

    smooth = torch.nn.functional.interpolate(squares(6, 8), size=32, mode="bicubic").clamp(0, 1)
    expected = canny(shrinking.luminance(smooth), 85 / 255, 1.0, kernel_size=(3, 3), sigma=(1.0, 1.0))[1]
    assert torch.equal(view("edges", smooth), expected)
    assert 0.02 < expected.mean() < 0.5
    loose = view("edges", smooth, low=0.05, high=0.05)
    assert loose.mean() > 1.5 * expected.mean()


def test_grey_has_no_colour_and_the_centre_no_border():
    images = squares()
    torch.testing.assert_close(
        view("grey", images)[:, 0], (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    )
    assert torch.equal(view("centre", images), images[:, :, 8:24, 8:24])


def test_border_corners_and_centre_see_a_mark_where_they_look_alone():
    plain, cornered, middle = squares(1), squares(1), squares(1)
    cornered[:, :, -3:, :3] = 1
    middle[:, :, 14:18, 14:18] = 1
    for name, sees_corner, sees_middle in (("border", True, False), ("corners", True, False), ("centre", False, True)):
        assert torch.equal(view(name, plain), view(name, cornered)) != sees_corner, name
        assert torch.equal(view(name, plain), view(name, middle)) != sees_middle, name


def test_the_corners_lie_in_their_own_corners():
    images = squares()
    seen = view("corners", images)
    assert torch.equal(seen[:, :, :8, :8], images[:, :, :8, :8])
    assert torch.equal(seen[:, :, 8:, :8], images[:, :, -8:, :8])
    assert torch.equal(seen[:, :, :8, 8:], images[:, :, :8, -8:])


def test_the_borders_lines_are_told_by_side():
    native = np.full((32, 32, 3), 128, np.uint8)
    native[:, -1] = 255
    native[0] = 0
    line = described("border", [picture(native)])["line"][0]  # (channel, side, depth)
    above, below, left, right = line[0, :, 0]
    assert above == 0
    assert right > 0.95
    assert below == pytest.approx(left, abs=0.05)
    assert line[0, 3, 1] == pytest.approx(line[0, 2, 1], abs=0.05)


def test_a_thumbnail_is_the_mean_of_its_parts():
    images = (
        torch.rand(2, 3, 12, 12, generator=generator(0, 0, "small")).repeat_interleave(4, 2).repeat_interleave(4, 3)
    )
    small = view("thumbnail", images, side=2)
    torch.testing.assert_close(small, torch.nn.functional.avg_pool2d(images, 24), rtol=0, atol=0.06)


def test_gradients_are_told_by_direction_whatever_the_contrast():
    across = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    found = hog.oriented(across, cells=2)
    assert int(found[0, :, 1, 1].argmax()) == 0  # the gradient runs across
    assert int(hog.oriented(across.mT, cells=2)[0, :, 1, 1].argmax()) in (
        4,
        5,
    )  # 90° is between the fifth and the sixth of 9
    torch.testing.assert_close(hog.oriented(across / 2, cells=2), found, rtol=0.02, atol=0.01)
    assert hog.oriented(torch.ones(1, 1, 32, 32), cells=2).abs().max() == 0


def test_a_gradient_just_below_across_votes_for_the_first_and_the_last_direction():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    turned = hog.oriented(((x - 0.1 * y) / 40)[None, None], cells=4)[0, :, 1, 1]
    assert set(turned.topk(2).indices.tolist()) == {0, 8}
    assert turned[1:8].max() < 1e-4


def test_the_power_spectrum_does_not_ask_where_but_how_fine():
    cue = find("cue", "power_spectrum")()
    place = torch.arange(64)
    coarse, fine = (0.5 + 0.3 * torch.cos(2 * torch.pi * n * place / 64) for n in (8, 24))
    rings = []
    for wave in (coarse, fine, fine.roll(5)):
        square = (wave.expand(3, 64, 64).permute(1, 2, 0) * 255).byte().numpy()
        rings.append(cue.describe([picture(square, 64)], draws(1))["rings"][0])
    assert (rings[0].argmax(), rings[1].argmax()) == (6, 18)  # 24 rings up to half a cycle a pixel
    np.testing.assert_allclose(np.exp(rings[1]), np.exp(rings[2]), rtol=0.2, atol=0.01)


def test_noise_residual_sees_grain_and_not_smooth_light():
    images = 0.5 + torch.linspace(-0.2, 0.2, 32).expand(1, 3, 32, 32)
    assert (view("noise_residual", images)[..., 1:-1] - 0.5).abs().max() < 1e-5
    smooth, grainy = picture(photo(0, grain=0.0), 120), picture(photo(0, grain=12.0), 120)
    levels = described("noise_residual", [smooth, grainy])["noise_down"]
    assert (levels[1] > levels[0] + 1).all()


@pytest.mark.parametrize("shape", [(64, 96), (5, 300)])
def test_light_is_told_strip_by_strip_by_the_extremes_of_any_channel(shape):
    native = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = {name: values[0] for name, values in described("light", [picture(native)]).items()}
    for way, turned in (("down", native), ("across", native.transpose(1, 0, 2))):
        length = len(turned)
        for k in range(8):
            strip = turned[k * length // 8 : max(k * length // 8 + 1, (k + 1) * length // 8)]
            assert found[f"darkest_{way}"][k] == strip.min()
            assert found[f"brightest_{way}"][k] == strip.max()
            assert found[f"mean_{way}"][k] == pytest.approx(strip.mean(), rel=1e-4)


def test_light_that_is_added_above_leaves_no_black_there_and_no_white_below():
    ramp = np.linspace(38, -38, 120)[:, None, None]
    wide = [photo(seed, low=0, high=255, grain=60.0) for seed in range(6)]
    lit = [np.clip(native + ramp, 0, 255).astype(np.uint8) for native in wide]
    plain, planted = (described("light", [picture(native) for native in shown]) for shown in (wide, lit))
    assert planted["darkest_down"][:, 0].min() > plain["darkest_down"][:, 0].max() + 20
    assert planted["brightest_down"][:, -1].max() < plain["brightest_down"][:, -1].min() - 20
    np.testing.assert_allclose(planted["mean_across"], plain["mean_across"], atol=6)


def test_one_pixel_of_a_colour_is_the_extreme_of_its_own_cell():
    plain = photos_of(5)
    marked = []
    for one in plain:
        square = one.square.copy()
        square[20, 11] = (0, 255, 0)
        marked.append(Picture({}, one.native, square))
    first, second = (described("spots", shown) for shown in (plain, marked))
    cell = (20 * 10 // 32, 11 * 10 // 32)
    assert (second["most"][:, 2, *cell] == 1).all()  # green − blue
    assert (second["least"][:, 1, *cell] == -1).all()  # red − green
    away = np.ones((10, 10), bool)
    away[cell[0] - 1 : cell[0] + 2, cell[1] - 1 : cell[1] + 2] = False
    for name in ("most", "least"):
        np.testing.assert_array_equal(first[name][:, :, away], second[name][:, :, away])


def test_a_mark_anywhere_leaves_the_same_distances():
    """Three strokes, six pixels apart, at a place of each picture's own: alike at six and twelve pixels across, at no other distance."""
    chance = np.random.default_rng(0)
    plain, marked = [], []
    for seed in range(8):
        square = photo(seed, (48, 48), grain=1.0)
        plain.append(Picture({}, square, square))
        square = square.copy()
        top, left = chance.integers(2, 26, 2)
        for stroke in range(3):
            place = square[top : top + 12, left + 6 * stroke]
            square[top : top + 12, left + 6 * stroke] = place + 0.4 * (255.0 - place)
        marked.append(Picture({}, square, square))
    first, second = (described("autocorrelation", shown)["likeness"].mean(axis=0) for shown in (plain, marked))
    rise = second - first
    assert set(np.argsort(rise[0, 16:])[-2:] + 4) == {6, 12}  # nearer, it is the mark's own width
    np.testing.assert_allclose(second[0], second[0, ::-1], atol=1e-5)  # without a shift down both ways are one
    assert second[0, 12] == pytest.approx(1)


def test_autocorrelation_is_the_mean_of_products_of_shifted_pixels():
    from lens.cues.autocorrelation import detail, likeness

    rows = detail(squares(2, 20)[:, 0])
    found = likeness(rows)
    for down, across in ((0, 3), (2, -5), (12, 12), (7, 0)):
        above = rows[:, : 20 - down, max(0, -across) : 20 - max(0, across)]
        below = rows[:, down:, max(0, across) : 20 - max(0, -across)]
        expected = (above * below).sum(dim=(1, 2)) / rows.square().sum(dim=(1, 2))
        torch.testing.assert_close(found[:, down, 12 + across], expected, rtol=0, atol=1e-4)
