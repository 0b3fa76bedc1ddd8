"""The forensic judge: what its descriptors say of images that are known, what its trees read, and that they read nothing in nothing."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from lens.base.draws import generator
from lens.base.errors import BadInput
from lens.measuring import forensic
from lens.measuring.judges import Pictures
from lens.measuring.proportions import means_by_class
from lens.operations.jpeg import compressed


def photographs(count, seed=0, side=32):
    """Smooth coloured pictures with grain, (n, 3, H, W) in [0, 1], on 8-bit levels."""
    chance = generator(seed, 0, "photographs")
    smooth = functional.interpolate(torch.rand(count, 3, 6, 6, generator=chance), size=side, mode="bicubic")
    grey = torch.randn(count, 1, side, side, generator=chance) * 0.05
    own = torch.randn(count, 3, side, side, generator=chance) * 0.01
    return ((0.1 + 0.8 * smooth + grey + own).clamp(0, 1) * 255).round() / 255


def levels(images):
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def described(images):
    rows, names = forensic.described(levels(images))
    assert rows.shape == (len(images), len(names))
    assert len(set(names)) == len(names)
    return {name: rows[:, place] for place, name in enumerate(names)}


def jpeg(images, quality):
    return compressed(images, torch.full((len(images),), quality))


def green_shifted(images):
    return torch.stack([images[:, 0], images[:, 1].roll(1, dims=2), images[:, 2]], dim=1)


def halves(treat, count=360, seed=0):
    """Pictures by split of which a random half is treated."""
    images = photographs(count, seed)
    answer = (torch.rand(count, generator=generator(seed, 1, "half")) < 0.5).numpy().astype(np.int64)
    both = np.where(answer[:, None, None, None] == 1, levels(treat(images)), levels(images))
    cuts = {
        "train": slice(0, count // 2),
        "val": slice(count // 2, count * 3 // 4),
        "test": slice(count * 3 // 4, count),
    }
    return {split: Pictures(both[cut], answer[cut]) for split, cut in cuts.items()}


def read(result, pictures):
    truth = pictures["test"].answer
    return means_by_class(result.answers == truth, truth).mean()


SMALL = forensic.Trees(most=40)


@pytest.mark.parametrize(
    "treat",
    [lambda x: jpeg(x, 40), green_shifted, lambda x: (x + 0.08).clamp(0, 1) - 0.04],
    ids=["jpeg", "green", "clipped"],
)
def test_trees_read_compression_a_shifted_channel_and_a_clipped_end(treat):
    pictures = halves(treat)
    assert read(forensic.judge(pictures, 0, SMALL), pictures) > 0.93


def test_of_nothing_they_read_nothing_and_the_seed_decides_what_they_say():
    pictures = halves(lambda x: x, 600)
    first = forensic.judge(pictures, 0, SMALL)
    assert abs(read(first, pictures) - 0.5) < 0.17  # four standard errors of 150 images
    assert first.steps <= SMALL.most
    np.testing.assert_array_equal(forensic.judge(pictures, 0, SMALL).answers, first.answers)


def test_rare_classes_count_as_much_as_frequent_ones():
    """Of weak evidence unweighted trees would always name the class that 19 of 20 images have."""
    chance = np.random.default_rng(0)
    answer = {split: (np.arange(400) % 20 == 0).astype(np.int64) for split in ("train", "val", "test")}
    rows = {
        split: (chance.normal(size=(400, 3)) + 1.0 * truth[:, None]).astype(np.float32)
        for split, truth in answer.items()
    }
    told = forensic.judge_rows(rows, answer, 0, SMALL).answers
    assert told[answer["test"] == 1].mean() > 0.45


def test_answers_are_the_classes_as_they_were_given():
    chance = np.random.default_rng(0)
    answer = {split: np.arange(90) % 3 * 5 + 2 for split in ("train", "val", "test")}
    rows = {split: truth[:, None] + chance.normal(size=(90, 2)).astype(np.float32) for split, truth in answer.items()}
    result = forensic.judge_rows(rows, answer, 0, SMALL)
    assert (result.answers == answer["test"]).mean() > 0.9
    assert result.validation > 0.9


def test_trees_stop_once_validation_has_no_more_to_give():
    chance = np.random.default_rng(0)
    answer = {split: np.arange(200) % 2 for split in ("train", "val", "test")}
    rows = {split: chance.normal(size=(200, 4)).astype(np.float32) for split in answer}
    result = forensic.judge_rows(rows, answer, 0, forensic.Trees(most=400))
    assert result.plateau
    assert result.steps < 100
    told = {split: values + 9 * answer[split][:, None] for split, values in rows.items()}
    sure = forensic.judge_rows(told, answer, 0, forensic.Trees(most=400))
    assert sure.plateau
    assert sure.steps < 200
    cut = forensic.judge_rows(rows | {"val": rows["train"]}, answer, 0, forensic.Trees(most=20))
    assert (cut.steps, cut.plateau) == (20, False)


def test_a_row_is_a_function_of_its_own_image_in_any_chunk(monkeypatch):
    images = levels(photographs(7))
    whole, _ = forensic.described(images)
    monkeypatch.setattr(forensic, "PIXELS", 2 * 32 * 32)
    np.testing.assert_allclose(forensic.described(images)[0], whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(8, 8), (9, 40), (17, 8), (65, 50)])
def test_any_size_from_8_px_and_any_content_gives_finite_descriptors_of_the_same_names(shape):
    chance = np.random.default_rng(0)
    flat = np.zeros((1, *shape, 3), np.uint8)
    images = np.concatenate([flat, flat + 255, chance.integers(0, 256, (2, *shape, 3), dtype=np.uint8)])
    rows, names = forensic.described(images)
    assert np.isfinite(rows).all()
    assert names == forensic.described(levels(photographs(1)))[1]


@pytest.mark.parametrize("shape", [(2, 7, 32, 3), (2, 32, 32, 1), (0, 32, 32, 3)])
def test_images_that_cannot_be_described_are_refused(shape):
    with pytest.raises(BadInput):
        forensic.described(np.zeros(shape, np.uint8))


def test_one_answer_is_nothing_to_judge():
    pictures = halves(lambda x: x, 40)
    pictures["train"] = Pictures(pictures["train"].images, np.zeros(20, np.int64))
    with pytest.raises(BadInput, match="one answer"):
        forensic.judge(pictures, 0, SMALL)


# --- descriptors of what is known -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quality", "place"), [(40, 3), (75, 7), (90, 10)])
def test_the_comb_of_the_table_that_an_image_was_compressed_with_is_the_strongest(quality, place):
    found = described(jpeg(photographs(40), quality))
    fits = [found[f"luminance_table[{number}]"].mean() for number in range(12)]
    assert int(np.argmax(fits)) == place


def test_the_grid_of_compression_is_seen_at_its_own_offset():
    images = jpeg(photographs(40, side=40), 10)[:, :, 3:, 5:]
    found = described(images)
    down = [found[f"luminance_grid_down[{offset}]"].mean() for offset in range(8)]
    across = [found[f"luminance_grid_across[{offset}]"].mean() for offset in range(8)]
    assert int(np.argmax(down)) == 4  # between rows 7 and 8 of the whole image: 3 are cut off
    assert int(np.argmax(across)) == 2
    for steps in (down, across):
        assert max(steps) > 1.3 * sorted(steps)[-2]


def test_encoding_again_changes_nothing_where_it_has_settled():
    images = photographs(6)
    for _ in range(8):
        images = jpeg(images, 40)
    found = described(images)
    assert found["encoded_again_same[1]"].min() > 0.99
    assert described(photographs(6))["encoded_again_same[1]"].max() < 0.5


def test_a_channel_shifted_by_a_pixel_correlates_best_at_that_shift():
    peaks = described(green_shifted(photographs(10)))
    shifts = [peaks[f"alignment[0,{number}]"].mean() for number in range(9)]  # red with green
    assert int(np.argmax(shifts)) == 5  # one across, none down
    still = described(photographs(10))
    assert int(np.argmax([still[f"alignment[0,{number}]"].mean() for number in range(9)])) == 4


def test_the_ends_of_a_channel_are_counted():
    image = np.full((1, 8, 8, 3), 100, np.uint8)
    image[0, 0, :4, 0] = 0
    image[0, 1, :2, 1] = 255
    rows, names = forensic.described(image)
    found = dict(zip(names, rows[0], strict=True))
    assert found["black[0]"] == pytest.approx(4 / 64)
    assert found["white[1]"] == pytest.approx(2 / 64)
    assert (found["least[0]"], found["greatest[1]"], found["greatest[2]"]) == (0, 255, 100)
    assert found["at_least[2]"] == 1
    assert found["mean[0]"] == pytest.approx(100 * 60 / 64)
    assert found["difference_greatest[0]"] == 0
    assert found["difference_least[0]"] == -155


def test_resampling_to_four_times_the_height_makes_the_second_derivative_periodic_downwards():
    noise = torch.rand(20, 3, 8, 32, generator=generator(0, 0, "noise"))
    found = described(functional.interpolate(noise, size=(32, 32), mode="bilinear", align_corners=False))
    down, across = ([found[f"periodic_{way}[{k}]"].mean() for k in range(16)] for way in ("down", "across"))
    assert int(np.argmax(down)) == 7  # a quarter of a cycle a pixel
    assert down[7] > 5 * max(across)
