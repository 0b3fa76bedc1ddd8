"""The contract of every cue found: what it says of itself, the shape and range of what it gives, and a row for each image."""

import dataclasses

import numpy as np
import pytest
import torch
from cue_pictures import photo, photos_of, picture, saved
from tiny import draws

from lens.auditing.header import header_of
from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.protocols.cue import Cue, Kind
from lens.protocols.lookup import find, names, summary_line

VIEWS = [name for name in names("cue") if find("cue", name)().view(torch.zeros(1, 3, 16, 16), draws(1)) is not None]
SIZES = [(120, 160), (61, 47), (300, 40), (32, 32), (120, 160)]


@pytest.fixture(params=names("cue"))
def cue(request):
    return find("cue", request.param)()


@pytest.fixture(scope="module")
def pictures():
    made = [photo(seed, size) for seed, size in enumerate(SIZES)]
    return [picture(native, header=header_of(saved(native, quality=60))) for native in made]


def test_the_built_in_cues_are_found():
    assert {
        "header", "file_size", "quantisation", "block_grid", "double_compression", "resampling", "noise", "clipping", "content_null", "mean_colour",
        "colour_histogram", "pixel_shuffle", "pixel_shuffle_fixed", "patch_shuffle", "low_pass", "high_pass", "edges", "grey", "border",
        "centre", "corners", "hog", "noise_residual", "power_spectrum", "thumbnail", "light", "spots", "autocorrelation",
    } <= set(names("cue"))  # fmt: skip


def test_every_cue_says_what_it_is(cue):
    assert isinstance(cue, Cue)
    assert cue.__dataclass_params__.frozen
    assert cue.kind in Kind.__args__
    assert cue.acquisition in (True, False, None)
    assert 10 < len(cue.points_to) < 120


def test_every_cue_has_a_line_for_help_and_a_place_of_its_own():
    assert all(10 < len(summary_line("cue", name)) <= 160 for name in names("cue"))
    places = [find("cue", name).order for name in names("cue")]
    assert len(set(places)) == len(places)


def test_the_ladder_climbs_from_files_over_histories_to_content():
    place = {name: find("cue", name).order for name in names("cue")}
    assert place["header"] < place["content_null"] < place["quantisation"] < place["mean_colour"] < place["hog"]


def test_numbers_have_a_row_for_each_image_and_a_column_for_each_name(cue, pictures):
    found = cue.describe(pictures, draws(len(pictures)))
    assert found
    for name, values in found.items():
        assert len(values) == len(pictures), name
        assert values.dtype in (np.float32, object), name
        assert values.dtype == object or not np.isinf(values).any(), name
    columns = sum(int(np.prod(values.shape[1:])) for values in found.values())
    assert 2 <= columns <= 1000


def test_an_image_has_the_same_numbers_in_any_batch(cue, pictures):
    """The draws are of its index, not of its place."""
    whole = cue.describe(pictures, draws(len(pictures)))
    order = [3, 1, 4]
    part = cue.describe([pictures[place] for place in order], Draws(0, -1, torch.tensor(order), torch.zeros(3).long()))
    assert part.keys() == whole.keys()
    for name, values in part.items():
        if values.dtype == object:
            assert list(values) == list(whole[name][order])
        else:
            np.testing.assert_allclose(values, whole[name][order], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_images_in_range_and_rows_are_independent(name):
    cue = find("cue", name)()
    squares = torch.rand(5, 3, 32, 32, generator=generator(0, 0, "squares"))
    whole = cue.view(squares, draws(5))
    assert whole.shape[0] == 5
    assert whole.shape[1] in (1, 3)
    assert whole.shape[2] == whole.shape[3]
    assert whole.min() >= 0
    assert whole.max() <= 1
    part = cue.view(squares[[3, 1]], Draws(0, -1, torch.tensor([3, 1]), torch.zeros(2).long()))
    torch.testing.assert_close(part, whole[[3, 1]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_are_described_without_infinities(cue, level):
    flat = picture(np.full((40, 24, 3), level, np.uint8), header={"container": "PNG"})
    for name, values in cue.describe([flat, flat], draws(2)).items():
        assert values.dtype == object or not np.isinf(values).any(), name


@pytest.mark.parametrize("name", [name for name in names("cue") if find("cue", name).kind == "history"])
def test_pictures_too_small_for_blocks_are_nan_beside_others_that_are_not(name):
    cue = find("cue", name)()
    small = picture(photo(0, (12, 90)))
    mixed, alone = cue.describe([small, *photos_of(1)], draws(2)), cue.describe([small], draws(1))
    assert mixed.keys() == alone.keys()
    for name, values in mixed.items():
        assert np.isnan(values[0]).all(), name
        assert np.isnan(alone[name]).all(), name
        assert alone[name].shape[1:] == values.shape[1:], name
        # A quality is told where there is one.
        assert np.isfinite(values[1]).any() != name.endswith("quality"), name


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [("patch_shuffle", "patch", 1), ("patch_shuffle", "patch", 17), ("low_pass", "radius", 0.0), ("high_pass", "radius", 113.0),
     ("edges", "low", 1.0), ("edges", "high", 0.2), ("thumbnail", "side", 13)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name, setting, value):
    cue = find("cue", name)
    assert setting in [field.name for field in dataclasses.fields(cue)]
    with pytest.raises(BadInput, match=f"--cue.{setting}"):
        cue(**{setting: value})
