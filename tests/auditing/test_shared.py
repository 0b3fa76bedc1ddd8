"""What images of one source are worth for another, what fields say in words, and the words of a verdict."""

import dataclasses

import numpy as np
import pytest

from lens.auditing import telling
from lens.auditing.across import worth_of
from lens.auditing.answers import answered
from lens.auditing.columns import joined
from lens.auditing.shared import Shared, differing_classes
from lens.auditing.verdict import verdict
from lens.images.data import Images
from lens.results.audit import Row
from lens.results.figure import Estimate


def test_an_image_is_worth_the_shift_between_two_learning_curves():
    sizes = np.array([100.0, 200.0, 400.0, 800.0])
    home = 0.3 + 0.1 * np.log2(sizes / 100)
    away = 0.3 + 0.1 * np.log2(0.5 * sizes / 100)  # what half as many images at home do
    assert worth_of(away, home, list(sizes)) == pytest.approx(0.5)
    assert worth_of(home, home, list(sizes)) == pytest.approx(1)
    assert worth_of(home - 0.5, home, list(sizes)) is None


def images(sizes, keys=("./a", "./b")):
    source = np.repeat(np.arange(len(sizes)), sizes)
    count = len(source)
    return Images(
        keys=list(keys), arrays=[], offsets=[], names=[""] * count, label=source, group=np.arange(count), source=source,
        split=np.full(count, "     "), classes=[[], []], skipped=[], store=source, stores=list(keys), group_names=[], gives_splits=[],
    )  # fmt: skip


def test_the_fields_that_differ_most_are_told_and_the_others_not():
    columns = joined([{
        "subsampling": np.array(["4:4:4"] * 100 + ["4:2:0"] * 98 + ["4:4:4"] * 2, object),
        "same": np.array(["x"] * 200, object),
        "quality": np.concatenate([np.arange(100.0), np.arange(100.0) + 60]),
        "noise": np.tile(np.arange(100.0), 2),
    }])  # fmt: skip
    assert telling.words(columns, images([100, 100])) == [
        "subsampling: all of a 4:4:4; 98 % of b 4:2:0",
        "quality, median: 49.5 in a; 110 in b",
    ]


@dataclasses.dataclass
class Data:
    """What of `Seen` is asked of classes."""

    images: Images


def labelled(label, source, names):
    found = images(np.bincount(source))
    return Data(dataclasses.replace(found, label=label, source=source, classes=[names, names]))


def test_mixes_of_classes_are_told_where_they_differ_by_more_than_luck():
    chance = np.random.default_rng(0)
    names = [f"c{n}" for n in range(60)]
    source = np.repeat([0, 1], 300)
    alike = labelled(chance.integers(0, 60, 600), source, names)  # two samples differ in a fifth of their images
    assert differing_classes(alike, 0) == []
    other = labelled(np.concatenate([chance.integers(0, 60, 300), chance.integers(0, 40, 300)]), source, names)
    assert "of 60 classes are in all of them;" in differing_classes(other, 0)[0]
    apart = dataclasses.replace(other.images, classes=[names, [name.upper() for name in names]])
    assert "share no class by its name" in differing_classes(Data(apart), 0)[0]


def test_matched_images_are_of_each_class_as_many_of_every_source():
    chance = np.random.default_rng(0)
    source = np.repeat([0, 1], [300, 100])
    label = np.where(source == 0, chance.choice(3, 400, p=[0.7, 0.2, 0.1]), chance.choice(3, 400, p=[0.1, 0.2, 0.7]))
    data = labelled(label, source, ["a", "b", "c"])
    data.images.split[:] = "train"
    chosen = Shared(label, ["a", "b", "c"], []).matched(data, "train", 0)
    assert len(np.unique(chosen)) == len(chosen) > 40
    for k in range(3):
        counts = np.bincount(source[chosen][label[chosen] == k], minlength=2)
        assert counts[0] == counts[1] == min((label[source == 0] == k).sum(), (label[source == 1] == k).sum())


class Asked:
    """Two images a split, of which the pseudo-source says the opposite."""

    def __init__(self):
        self.images = self
        self.source, self.pseudo = np.tile([0, 1], 3), np.tile([1, 0], 3)

    def rows(self, split):
        return np.arange(6)


def test_a_null_is_learnt_and_asked_of_pseudo_sources():
    asked = []

    def perfect(source):
        asked.append(source)
        return np.eye(2)[source]

    data = Asked()
    found = answered(data, "size", "trees", perfect, 0.0)
    np.testing.assert_array_equal(asked[0], data.source)
    np.testing.assert_array_equal(asked[1], data.pseudo)
    assert found.null == 1.0
    assert found.odds.argmax(axis=1).tolist() == data.source.tolist()


def row(name, accuracy, significant, kind="pixels", acquisition=None, points_to="what it shows", inner=None):
    return Row(
        name=name, kind=kind, judge="trees", about="", points_to=points_to, acquisition=acquisition,
        balanced_accuracy=Estimate(accuracy, [accuracy - 0.05, accuracy + 0.05]), auc=accuracy, excess=2 * accuracy - 1, null=0.5,
        p=0.0001 if significant else 0.5, p_holm=0.001 if significant else 1.0, significant=significant,
        confusion=[[accuracy, 1 - accuracy], [1 - accuracy, accuracy]], says=[], extremes=[], seconds=1.0, within_classes=inner,
    )  # fmt: skip


def said(*rows, within=False):
    return " ".join(verdict(rows, ["./a", "./b"], within))


def test_a_verdict_of_nothing_names_the_best_row_and_its_bound():
    words = said(row("size", 0.52, False), row("power_spectrum", 0.54, False))
    assert "Nothing that was asked tells a, b apart: the best row, power spectrum, names the source of" in words
    assert "of test images at a balanced accuracy of 54 %, at most 59 % by its 95 % interval; chance is 50 %." in words


def test_a_verdict_says_the_best_rows_figure_and_its_name_as_the_table_does():
    network = dataclasses.replace(row("whole_image", 0.95, True), judge="network")
    words = said(row("grey", 0.6, True), network)
    assert "the best of them, whole image (network), at a balanced accuracy of 95 %; chance is 50 %." in words


def test_the_simplest_view_that_reads_nearly_all_is_named():
    words = said(
        row("mean_colour", 0.9, True, points_to="colour and exposure"),
        row("grey", 0.6, False),
        row("whole_image", 0.95, True),
    )
    assert "mean colour alone reads nearly as much (90 %): this points to colour and exposure" in words
    assert "no rung that is free of content tells" in words


def test_files_alone_are_acquisition_and_no_view_tells():
    words = said(row("header", 1.0, True, "file", True, "how the files were written"), row("whole_image", 0.51, False))
    assert "No view of the pixels as a network is given them tells." in words
    assert "Acquisition: only rungs that hold nothing of what the pictures show" in words


def test_what_contents_can_move_is_not_called_acquisition():
    """Rows of history read up to 79 % where only contents are known to differ: so much proves nothing, and more does."""
    shown = row("whole_image", 0.66, True)
    faint = said(row("quantisation", 0.79, True, "history", True, "JPEG compression"), shown)
    assert (
        "Rows that look for traces of storage tell (quantisation 79 %), but other contents alone can move them so far"
        in faint
    )
    assert "no rung that is free of content tells" in faint
    plain = said(row("quantisation", 0.85, True, "history", True, "JPEG compression"), shown)
    assert "has left its mark in the pixels: quantisation 85 %" in plain
    assert "Acquisition: rungs that hold nothing of what the pictures show" in plain
    noisy = said(row("noise", 0.95, True, "history", None, "noise"), shown)
    assert "but other contents alone can move them so far" in noisy
    assert "has left its mark" in said(
        row("header", 0.6, True, "file", True, "x"), row("quantisation", 0.9, True, "history", True), shown
    )
    assert "Acquisition: rungs" in said(row("header", 0.65, True, "file", True, "x"), shown)


def test_content_is_told_within_classes_alone():
    inner = {"significant": False}
    assert "Content: within one class" in said(row("whole_image", 0.9, True, inner=inner), within=True)
    kept = said(row("whole_image", 0.9, True, inner={"significant": True}), within=True)
    assert "Acquisition: within one class" in kept
