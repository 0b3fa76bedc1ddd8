"""Images read for an audit: the same numbers in any chunk, whatever they are stored as; headers of what is in memory."""

import dataclasses
import io

import numpy as np
import PIL.Image
from cue_pictures import photo, saved

from lens.auditing import reading
from lens.auditing.asked import AuditSettings
from lens.auditing.sampling import Sampled, sampled
from lens.base.bar import Bar
from lens.protocols.source import Listing, Record

CUES = ("size", "header", "mean_colour", "pixel_shuffle", "noise")


@dataclasses.dataclass
class Kept:
    """A source whose images are opened by functions."""

    openers: list

    def listing(self):
        return Listing([Record(f"{n}") for n in range(len(self.openers))], [])

    def read(self, position):
        return self.openers[position]()


def read(openers, chosen=None, first=0):
    source = Kept(openers)
    every = reading.every_cue()
    sampled = Sampled("./a", source, source.listing(), list(range(len(openers))) if chosen is None else chosen)
    with Bar("reading", len(openers), "images") as bar:
        return reading.read(sampled, 16, {name: every[name] for name in CUES}, 0, first, bar)


def opener(content):
    return lambda: PIL.Image.open(io.BytesIO(content))


def test_an_image_has_the_same_numbers_in_any_chunk_and_its_own_draws(monkeypatch):
    openers = [opener(saved(photo(n, (40 + n, 48)))) for n in range(20)]
    whole = read(openers)
    monkeypatch.setattr(reading, "CHUNK", 8)
    parts = read(openers)
    for name in CUES:
        np.testing.assert_allclose(parts.columns[name].numbers, whole.columns[name].numbers, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(parts.columns[name].words, whole.columns[name].words)
    np.testing.assert_array_equal(whole.squares, parts.squares)
    assert whole.columns["size"].numbers[:, 1].tolist() == [40.0 + n for n in range(20)]
    elsewhere = read(openers, first=100).columns["pixel_shuffle"].numbers
    assert (elsewhere != whole.columns["pixel_shuffle"].numbers).any()


def test_only_the_chosen_are_read_and_what_cannot_be_is_skipped_by_name():
    openers = [opener(saved(photo(n, (40, 48)), "PNG")) for n in range(12)]
    openers[5] = opener(b"no picture")
    found = read(openers, [1, 5, 7])
    assert found.kept == [0, 2]
    assert [(one.name, one.reason[:24]) for one in found.skipped] == [("5", "UnidentifiedImageError: ")]
    assert len(found.squares) == len(found.columns["mean_colour"]) == 2


def test_an_image_in_memory_has_a_header_of_its_size_and_one_of_bytes_all_fields():
    native = photo(0, (40, 48))
    found = read([lambda: PIL.Image.fromarray(native), opener(saved(native, quality=70))])
    header = found.columns["header"]
    quality = header.numbers[:, header.number_names.index("quality")]
    assert np.isnan(quality[0])
    assert quality[1] == 70
    assert header.words[:, header.word_names.index("container")].tolist() == ["none", "JPEG"]
    assert found.columns["size"].numbers[:, 0].tolist() == [48.0, 48.0]


def test_deep_images_share_one_range_and_are_shown_in_8_bits():
    levels = np.linspace(0, 4000, 40 * 48).reshape(40, 48).astype(np.uint16)

    def deep(scale):
        return opener(_png(PIL.Image.fromarray((levels * scale).astype(np.uint16))))

    found = read([deep(1), deep(0.5)])
    mean = found.columns["mean_colour"].numbers
    assert abs(mean[0] - 2000 / 4095 * 255).max() < 1
    assert abs(mean[1] - 1000 / 4095 * 255).max() < 1
    assert "0 to 4095 is shown as 0 to 255" in found.notes[0]


def test_a_sample_is_random_seeded_and_the_same_whatever_else_is_read(tmp_path):
    for key in ("a", "b"):
        (tmp_path / key).mkdir()
        for number in range(80):
            (tmp_path / key / f"{number:02d}.png").write_bytes(b"listed, not read")
    keys = [str(tmp_path / key) for key in ("a", "b")]

    def chosen(**settings):
        return [one.chosen for one in sampled(AuditSettings(source=keys, **settings))]

    first = chosen(images=50)
    assert [len(set(one)) for one in first] == [50, 50]
    assert first[0] == sorted(first[0]) != first[1]
    assert chosen(images=50) == first != chosen(images=50, seed=1)
    assert chosen() == [list(range(80))] * 2


def _png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
