"""Images divided for a task that asks about sources: overlaps refused, copies kept together, parts apart."""

import json
import os
import re

import numpy as np
import PIL.Image
import pytest
from pictures import flat, load, load_uncached, photos, picture, two, write_folder
from tiny import ROOT

from lens.base.errors import BadInput
from lens.images import divide, overlap
from lens.images.training_set import training_images
from lens.protocols.source import Listing, Record
from lens.settings.parsing import parse


def divided(images, by_source=True, pseudo_sources=None, fresh=0.0, seed=0):
    return divide.divided(images, by_source=by_source, pseudo_sources=pseudo_sources, judge_fraction=fresh, seed=seed)


def test_a_copy_and_its_picture_are_in_one_group_and_split_and_listed(tmp_path):
    images = load(two(tmp_path), tmp_path, size=36)
    before = images.split.copy()
    found = divided(images)
    assert (images.split == before).all()
    pairs = [(i, 60 + 56 + i) for i in range(4)]
    assert any(before[a] != before[b] for a, b in pairs)
    for a, b in pairs:
        assert found.group[a] == found.group[b]
        assert found.split[a] == found.split[b] == before[a]
    others = [i for i in range(120) if i not in np.array(pairs)]
    assert (found.split[others] == before[others]).all()
    assert len(np.unique(found.group)) == 116
    assert found.group.max() == 115 == len(found.group_names) - 1
    assert [found.group_names[g] for g in found.group[others]] == [images.names[i] for i in others]
    assert [entry["first"]["name"] for entry in found.duplicates] == [f"{i:03d}.png" for i in range(4)]
    assert [entry["second"]["name"] for entry in found.duplicates] == [f"{i:03d}.jpg" for i in range(56, 60)]
    assert found.duplicates[0]["second"]["source"] == str(tmp_path / "b")
    json.dumps(found.duplicates, allow_nan=False)
    line = found.describe().splitlines()[-1]
    assert line.startswith(f"4 pairs of near-duplicates across sources ('000.png' of {tmp_path / 'a'} = '056.jpg' of ")
    moved = sum(before[a] != before[b] for a, b in pairs)
    assert line.endswith(f"each pair is in one split; {moved} images moved to another split for that")


def test_frames_of_one_scene_are_in_one_split_and_are_no_pairs_across(tmp_path):
    """Without it a network learns scenes by heart with their source, and a source with no cue is recognised."""
    rng = np.random.default_rng(0)

    def frames(seed):
        for image in photos(20, seed):
            for _ in range(6):
                noisy = np.asarray(image, float) + rng.normal(0, 3, (64, 64, 3))
                yield PIL.Image.fromarray(noisy.clip(0, 255).astype(np.uint8))

    folders = [flat(tmp_path / name, list(frames(seed))) for seed, name in enumerate("ab")]
    images = load(folders, tmp_path, size=36)
    found = divided(images, fresh=0.5)
    scene = np.arange(240) // 6
    assert any(len(set(images.split[scene == k])) > 1 for k in range(40))
    assert all(len(set(found.split[scene == k])) == 1 for k in range(40))
    assert len(np.unique(found.group)) == 40
    assert found.duplicates == []
    assert f"no near-duplicates across sources; 120 images of {folders[0]} have near-duplicates in {folders[0]} itself" in found.describe()  # fmt: skip


def test_copies_of_a_given_test_image_are_held_out_with_it(tmp_path):
    first, second = photos(60), photos(60, seed=1)
    for place in range(6):  # six test images of a, as it gives them, stand among its training images and in b
        first[40 + place] = second[place] = first[place]
    flat(tmp_path / "a" / "train", first[:40])
    flat(tmp_path / "a" / "test", first[40:])
    flat(tmp_path / "b", second)
    images = load([tmp_path / "b", tmp_path / "a"], tmp_path, size=36)
    assert images.gives_splits == [False, True]
    assert "train" in images.split[:6]
    found = divided(images)
    where = dict(zip(zip(images.source, images.names, strict=True), found.split, strict=True))
    for place in range(6):
        assert where[1, f"train/{place:03d}.png"] == where[1, f"test/{place:03d}.png"] == where[0, f"{place:03d}.png"] == "test"  # fmt: skip
    assert len(found.duplicates) == 12  # the pairs within a are not listed
    assert all(pair["first"]["source"] != pair["second"]["source"] for pair in found.duplicates)


def test_copies_are_fresh_together(tmp_path):
    found = divided(load(two(tmp_path, shared=25), tmp_path, size=36), fresh=0.5)
    a, b = np.arange(25), 60 + 35 + np.arange(25)
    assert (found.split[a] == found.split[b]).all()
    assert "fresh" in found.split[a]


def test_copies_are_sought_for_sources_alone(tmp_path):
    images = load(two(tmp_path), tmp_path, size=36)
    found = divided(images, by_source=False)
    assert found.duplicates is None
    assert len(np.unique(found.group)) == 120
    clean = divided(load(two(tmp_path / "clean", shared=0), tmp_path, size=36))
    assert clean.duplicates == []
    assert "no near-duplicates across sources" in clean.describe()


def test_without_a_cache_copies_are_not_sought_and_it_says_so(tmp_path):
    found = divided(load_uncached(two(tmp_path), tmp_path / "nowhere", size=36))
    assert found.duplicates is None
    assert "near-duplicates are not sought: that needs --cache disk" in found.describe()


@pytest.mark.parametrize(("shared", "refused"), [(29, False), (30, True), (60, True)])
def test_half_a_source_in_another_is_refused(tmp_path, shared, refused):
    images = load(two(tmp_path, shared=shared), tmp_path, size=36)
    if not refused:
        assert len(divided(images).duplicates) == shared
        return
    with pytest.raises(BadInput, match=rf"{shared} of the 60 images of .*/[ab] occur in .*/[ab] too"):
        divided(images)


def test_the_smaller_source_counts(tmp_path):
    first, second = photos(120), photos(30, seed=1)
    second[:16] = first[:16]
    images = load([flat(tmp_path / "a", first), flat(tmp_path / "b", second)], tmp_path, size=36)
    with pytest.raises(BadInput, match=r"16 of the 30 images of .*/b occur in .*/a too"):
        divided(images)


# --- overlaps --------------------------------------------------------------------------------------------------------


def test_sources_that_overlap_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/class0", "b", "ab"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "inner").symlink_to(tmp_path / "a" / "class0")
    for keys, words in (
        (["./a", "./a/"], "./a/ twice"),
        (["cifar10", "cifar10"], "cifar10 twice"),
        (["./a", "./b", "./link"], r"./link twice \(it is ./a\)"),
        (["./a", "./a/class0"], "./a/class0 lies in ./a:"),
        (["./inner", "./b", "./a"], "./inner lies in ./a:"),
        ([f"{tmp_path}/a", "./a"], "twice"),
    ):
        with pytest.raises(BadInput, match=words):
            overlap.refuse_overlap(keys)
    overlap.refuse_overlap(["./a", "./ab", "./b", "cifar10", "hub:a/b"])


def test_a_link_inside_a_source_that_leads_into_another_is_refused(tmp_path):
    a, b = write_folder(tmp_path / "a", 2), write_folder(tmp_path / "b", 2)
    keys = [f"{a}/", f"{b}/"]

    def listings():
        from lens.images.opening import open_source

        return [open_source(key).listing() for key in keys]

    overlap.refuse_overlap(keys, listings())
    (b / "class2").symlink_to(a / "class1")
    with pytest.raises(BadInput, match=r"both lead to the images in .*/a/class1"):
        overlap.refuse_overlap(keys, listings())


def test_an_expression_without_a_match_is_refused():
    listings = [Listing([Record("a.png")], []), Listing([Record("b7.png")], [])]
    divide.refuse_unmatched(r"\w", ["./a", "./b"], listings)
    divide.refuse_unmatched(r"\d|$", ["./a", "./b"], listings)
    with pytest.raises(BadInput, match=r"finds nothing in any name of ./a, such as 'a.png'"):
        divide.refuse_unmatched(r"\d", ["./a", "./b"], listings)
    with pytest.raises(BadInput, match=r"--group_by '\(' is no regular expression: missing \)"):
        parse(["--group_by", "("], "lens.train")


# --- too small -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "fresh", "words"),
    [
        ((40, 40, 40), 0.5, None),
        ((40, 15, 40), 0.0, None),
        ((40, 14, 40), 0.5, "{b} has 19 training images: a source that is asked about needs 20"),
        ((40, 14, 40), 0.0, "{b} has 19 training images"),
    ],
)
def test_a_source_needs_images_to_be_told_by(tmp_path, counts, fresh, words):
    folders = []
    for name, count in zip("abc", counts, strict=True):
        folder = tmp_path / name
        for split, images in (("train", count + 5), ("val", 3), ("test", 3)):
            flat(
                folder / split,
                [picture(np.random.default_rng([i, len(folders), len(split)]), i % 2) for i in range(images)],
            )
        folders.append(folder)
    images = load(folders, tmp_path)
    if words is None:
        assert len(divided(images, fresh=fresh).keys) == 3
        return
    with pytest.raises(BadInput, match=words.format(b=folders[1])):
        divided(images, fresh=fresh)


def test_a_source_needs_an_image_in_every_split(tmp_path):
    folder = tmp_path / "b"
    flat(folder / "train", [picture(np.random.default_rng(i), 0) for i in range(30)])
    flat(folder / "test", [picture(np.random.default_rng(99), 0)])
    other = flat(tmp_path / "a", photos(40))
    images = load([other, folder], tmp_path)
    gone = images.split.copy()
    gone[(images.source == 1) & (gone == "val")] = "train"
    import dataclasses

    with pytest.raises(BadInput, match="b has no image in its val split"):
        divided(dataclasses.replace(images, split=gone))


# --- pseudo-sources --------------------------------------------------------------------------------------------------


def test_pseudo_sources_are_one_source_to_whoever_reads_images(tmp_path):
    folder = write_folder(tmp_path / "a", 60)
    images = load([folder], tmp_path)
    found = divided(images, pseudo_sources=3, fresh=0.3)
    key = str(folder)
    assert found.keys == [f"{key}#1", f"{key}#2", f"{key}#3"]
    assert found.classes == [["class0", "class1"]] * 3
    assert np.bincount(found.source).tolist() == [40, 40, 40]
    assert len(found.arrays) == len(found.offsets) == 1
    index = np.random.default_rng(0).permutation(120)
    assert np.array_equal(found.fetch(index).numpy(), images.fetch(index).numpy())
    lines = [json.loads(line) for line in found.splits().splitlines()]
    assert [line["source"] for line in lines] == [found.keys[s] for s in found.source]
    assert {line["split"] for line in lines} == {"train", "val", "test", "fresh"}
    assert [line["label"] for line in lines] == [f"class{label}" for label in images.label]
    for number, line in enumerate(found.describe().splitlines()[:3]):
        sizes = [f"{split} {len(found.indices(split, number))}" for split in ("train", "val", "test", "fresh")]
        assert line == f"{found.keys[number]}: {', '.join(sizes)} images, 2 classes"
    whole = found.whole()
    assert (whole.keys, whole.classes) == ([key], [["class0", "class1"]])
    assert (whole.source == 0).all()
    assert (whole.split == found.split).all()
    assert images.whole() is images


def test_groups_of_one_name_in_two_sources_stay_two(tmp_path):
    folders = [flat(tmp_path / name, photos(30, seed)) for seed, name in enumerate("ab")]
    images = load(folders, tmp_path, group_by=r"\d(?=\d\.png)")
    assert images.grouped == 60
    assert len(np.unique(images.group)) == 6
    assert not set(images.group[:30]) & set(images.group[30:])
    assert "--group_by finds a group in 60 of 60 names: 6 groups" in images.describe()
    for group in range(6):
        assert len(set(images.split[images.group == group])) == 1


def test_a_patient_in_both_given_splits_is_held_out_as_a_whole(tmp_path):
    for split, numbers in (("train", range(40)), ("test", range(38, 42))):
        folder = tmp_path / "a" / split
        folder.mkdir(parents=True)
        for i in numbers:
            picture(np.random.default_rng(i), 0).save(folder / f"p{i}_{split}.png")
    images = load([tmp_path / "a"], tmp_path, group_by=r"p\d+")
    where = {name: split for name, split in zip(images.names, images.split, strict=True)}
    assert where["train/p38_train.png"] == where["train/p39_train.png"] == "test"
    assert where["train/p37_train.png"] != "test"
    assert "moved 2 images to the split of held-out images of their group" in images.describe()


def test_a_patient_in_two_folders_is_one_group_by_readme_s_expression_and_told_of_by_another(tmp_path):
    for number, place in enumerate(("train/sick", "train/well", "test/sick")):
        folder = tmp_path / "images.v2" / place
        folder.mkdir(parents=True)
        for i in range(12):
            picture(np.random.default_rng(12 * number + i), 0).save(folder / f"p{i}_{number}.png")
    (pattern,) = re.findall(r"--group_by '(.+)'", (ROOT / "docs" / "cookbook.md").read_text())
    images = load([tmp_path / "images.v2"], tmp_path, group_by=pattern)
    assert "a group in 36 of 36 names: 12 groups" in images.describe()
    assert "differ from another" not in images.describe()
    other = load([tmp_path / "images.v2"], tmp_path, group_by="^[^_.]+")
    assert "36 groups of --group_by differ from another one in their folders alone ('test/sick/p0', 'train/sick/p0')" in other.describe()  # fmt: skip


def test_an_expression_that_finds_no_group_in_one_of_the_sources_is_refused(tmp_path):
    folders = [flat(tmp_path / name, photos(30, seed)) for seed, name in enumerate("ab")]
    for file in folders[1].iterdir():
        file.rename(file.with_name(f"x-{file.name}"))
    words = ["--data", *map(str, folders), "--image_size", "16", "--cache_dir", str(tmp_path / "cache"), "--group_by"]
    with pytest.raises(BadInput, match=rf"finds nothing in any name of {folders[1]}, such as 'x-0\d+.png'"):
        training_images(parse([*words, r"^\d\d"], "lens.train").settings)
    images = training_images(parse([*words, r"^\d\d|$"], "lens.train").settings)
    assert (images.grouped, len(np.unique(images.group))) == (30, 3 + 30)


def test_hard_links_are_copies(tmp_path):
    first = flat(tmp_path / "a", photos(40))
    second = flat(tmp_path / "b", photos(40, seed=1))
    os.remove(second / "000.png")
    os.link(first / "007.png", second / "000.png")
    found = divided(load([first, second], tmp_path, size=36))
    assert [entry["first"]["name"] for entry in found.duplicates] == ["007.png"]
