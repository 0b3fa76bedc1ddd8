"""Steps of quantisation from pixels: of sets of PNG copies of JPEGs whose tables are known, and of those that have none."""

import numpy as np
import pytest
import torch
from cue_pictures import jpeg, photo

from lens.operations import dct_histograms
from lens.operations.jpeg import tables
from lens.operations.jpeg_planes import planes, stored_chroma
from lens.operations.quantisation_steps import recovered_of


def copies(quality, subsampling=0, count=6, size=(128, 160)):
    return [jpeg(photo(seed, size, grain=9.0), quality, subsampling) for seed in range(count)]


@pytest.mark.parametrize("quality", [30, 47, 61, 75, 88, 95])
def test_steps_and_quality_are_those_that_were_saved(quality):
    found = recovered_of(copies(quality))
    luminance, chroma, _ = tables(torch.tensor([quality]))[0].numpy()
    assert found.quality == quality
    assert abs(found.chroma_quality - quality) <= 1
    assert found.sampling == "4:4:4"
    for steps, true, least in ((found.luminance, luminance, 15), (found.chroma, chroma, 6)):
        told = steps > 0
        assert told.sum() >= least
        assert (steps == true)[told].mean() > 0.95


@pytest.mark.parametrize(("subsampling", "sampling"), [(1, "4:2:2"), (2, "4:2:0")])
def test_chromas_sampling_and_steps_are_recovered(subsampling, sampling):
    found = recovered_of(copies(80, subsampling))
    assert (found.quality, found.sampling) == (80, sampling)
    true = tables(torch.tensor([80]))[0, 1].numpy()
    told = found.chroma > 0
    assert told.sum() >= 8
    assert (found.chroma == true)[told].mean() > 0.9


def test_pictures_without_a_history_tell_no_step():
    found = recovered_of([photo(seed, (128, 160), grain=9.0) for seed in range(6)])
    assert (found.quality, found.chroma_quality) == (None, None)
    assert (found.luminance > 0).sum() <= 2


def test_a_table_of_another_kind_gives_its_steps_and_no_quality():
    import io

    import PIL.Image
    from cue_pictures import saved

    steps = [[9 + (n * 7) % 13 for n in range(64)], [8] * 64]
    pictures = []
    for seed in range(6):
        data = saved(photo(seed, (128, 160), grain=9.0), qtables=steps, subsampling=0)
        pictures.append(np.array(PIL.Image.open(io.BytesIO(data))))
    found = recovered_of(pictures)
    assert found.quality is None
    told = found.luminance > 0
    assert told.sum() > 40
    assert (found.luminance == np.array(steps[0]).reshape(8, 8))[told].mean() > 0.95


def test_pictures_of_any_sizes_count_and_too_small_ones_do_not():
    assert recovered_of([*copies(70), np.zeros((9, 90, 3), np.uint8), jpeg(photo(0, (33, 90)), 70)]).quality == 70
    assert recovered_of([np.zeros((9, 90, 3), np.uint8)]).quality is None


def test_stored_chroma_undoes_what_libjpeg_spreads():
    """Each stored sample is spread as (3 x[i] + x[i ± 1]) / 4 along both axes."""
    small = torch.rand(2, 2, 20, 24, dtype=torch.float64)

    def spread(values):
        before = torch.cat([values[..., :1], values[..., :-1]], dim=-1)
        after = torch.cat([values[..., 1:], values[..., -1:]], dim=-1)
        return torch.stack([3 * values + before, 3 * values + after], dim=-1).flatten(-2) / 4

    across = spread(small)
    torch.testing.assert_close(stored_chroma(across, "4:2:2"), small, rtol=0, atol=1e-4)
    both = spread(across.mT).mT
    torch.testing.assert_close(stored_chroma(both, "4:2:0"), small, rtol=0, atol=1e-4)


def test_histograms_count_each_coefficient_of_blocks_without_clipped_levels():
    images = torch.full((2, 3, 16, 24), 128.0)
    images[0, :, 0, 0] = 255
    counts = dct_histograms.histogram(planes(images, ["luminance"])["luminance"])
    assert counts.shape == (2, 64, dct_histograms.LEVELS)
    assert counts[0].sum() == 64 * 5
    assert counts[1].sum() == 64 * 6
    assert counts[1, :, 0].tolist() == [6] * 64


def test_evidence_speaks_for_the_step_whose_multiples_are_there():
    counts = torch.zeros(128)
    counts[[12, 24]] = 10
    evidence = dct_histograms.step_evidence(torch.arange(1, 40)) @ counts
    assert int(evidence.argmax()) + 1 == 12
    assert evidence[5] > 0  # 6 fits too, less well
    assert evidence[6] < 0  # 7 does not


def test_the_mean_of_a_block_says_nothing_of_a_quality():
    levels = torch.arange(120, 136).float().view(1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    images = levels.expand(1, 3, 32, 32).contiguous()
    histogram = dct_histograms.histogram(planes(images, ["luminance"])["luminance"])
    assert histogram[0, 0, 8:].sum() > 0
    fits = dct_histograms.by_quality(histogram, torch.zeros_like(histogram), chroma=False)
    assert fits.abs().max() < 1e-3
