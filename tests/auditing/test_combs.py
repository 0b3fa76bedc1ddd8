"""What a source's pictures say together of how they were quantised, though they are no JPEG any more."""

import numpy as np
from cue_pictures import jpeg, photo

from lens.auditing import combs


def source(quality, count=12):
    return [combs.middle(jpeg(photo(seed, (300, 290)), quality)) for seed in range(count)]


def test_the_middle_begins_on_the_grid_and_is_a_copy_of_its_own():
    native = photo(0, (400, 290))
    part = combs.middle(native)
    assert part.shape == (256, 256, 3)
    np.testing.assert_array_equal(part, native[64:320, 16:272])
    part[:] = 0
    assert native.any()


def test_the_quality_of_copies_is_told_and_its_comb_drawn():
    found = combs.comb_of(source(60))
    assert found.quality == 60
    step = found.steps[1][1]
    assert step == 10  # Annex K's 12, at quality 60
    counts = np.array(found.counts)
    at = [round(n * step / found.width) for n in (1, 2, 3)]
    between = [round((n + 0.5) * step / found.width) for n in (1, 2, 3)]
    assert counts[at].min() > 20 * max(1, counts[between].max())


def test_words_name_each_source_and_none_where_nothing_was_quantised():
    plain = combs.comb_of([combs.middle(photo(seed, (128, 128))) for seed in range(6)])
    assert plain.quality is None
    assert combs.words([plain, plain], ["a", "b"]) == []
    told = combs.words([combs.comb_of(source(60)), plain], ["a", "b"])
    assert told[0].startswith("pixels of a: quantised as by JPEG of quality 60, chroma 4:4:4")
    assert told[1] == "pixels of b: no steps in common"
