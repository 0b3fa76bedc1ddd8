"""Sources, splits and the cache: every image form, every layout, nothing substituted."""

import dataclasses
import io
import json
import multiprocessing
import os
import re
import signal
import time

import numpy as np
import PIL.Image
import pytest
import torch
from pictures import load, load_uncached, picture, write_folder, write_parquet

from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.images import batching, cache, decoding, loading, opening, splits
from lens.protocols.source import Listing, Record
from lens.settings.groups.data import DataSettings

# --- one image -------------------------------------------------------------------------------------------------------


def red(mode):
    image = PIL.Image.new("RGB", (20, 10), (200, 40, 40))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_colour_modes_become_the_same_rgb(mode):
    square = decoding.to_square(red(mode), 8)
    assert square.shape == (8, 8, 3)
    assert np.abs(square.astype(int) - [200, 40, 40]).max() < 40  # palette and CMYK round


def test_grey_bilevel_16_bit_and_float_images_keep_their_brightness():
    ramp = np.tile(np.linspace(0, 1, 16), (16, 1))
    expected = decoding.to_square(PIL.Image.fromarray((ramp * 255).astype(np.uint8)), 16)
    sixteen = PIL.Image.fromarray((ramp * 65535).astype(np.uint16))
    buffer = io.BytesIO()
    sixteen.save(buffer, "PNG")
    ranges = {"whole": (0, 65535), "float": (0, 1)}
    for image in (sixteen, PIL.Image.open(buffer), PIL.Image.fromarray(ramp.astype(np.float32))):
        assert np.abs(decoding.to_square(image, 16, ranges).astype(int) - expected).max() <= 1
    assert set(np.unique(decoding.to_square(PIL.Image.fromarray(ramp > 0.5), 16))) == {0, 255}


def test_transparent_pixels_are_laid_on_white():
    assert (decoding.to_square(PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0)), 8) == 255).all()
    palette = PIL.Image.new("P", (8, 8), 0)
    palette.info["transparency"] = 0
    assert (decoding.to_square(palette, 8) == 255).all()


def test_exif_orientation_is_applied():
    image = PIL.Image.new("L", (20, 20), 0)
    image.paste(255, (0, 0, 20, 10))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the top is stored at the left
    buffer = io.BytesIO()
    image.rotate(90).save(buffer, "PNG", exif=exif)
    square = decoding.to_square(PIL.Image.open(buffer), 20)
    assert square[2].mean() > 250
    assert square[-3].mean() < 5


def test_a_photo_is_cut_square_before_anything_else():
    wide = PIL.Image.new("RGB", (30, 10), (0, 0, 255))
    wide.paste((255, 0, 0), (10, 0, 20, 10))
    assert (decoding.to_square(wide, 10) == [255, 0, 0]).all()


# --- sources ---------------------------------------------------------------------------------------------------------


def test_chest_xray_splits_share_no_patient(tmp_path):
    listing = opening.open_source("chest_xray").listing()
    assert len(listing.records) == 3166
    assert listing.classes == ("NORMAL", "PNEUMONIA")
    split = splits.split_of(listing)
    groups = {
        name: {r.group for r, s in zip(listing.records, split, strict=True) if s == name} for name in splits.SPLITS
    }
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["val"]
    assert not groups["val"] & groups["test"]
    assert sum(map(len, groups.values())) == len({r.group for r in listing.records}) == 2457
    shares = [split.count(name) / len(split) for name in splits.SPLITS]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_class_folders_without_splits(tmp_path):
    images = load([write_folder(tmp_path / "a", 40)], tmp_path)
    assert images.classes == [["class0", "class1"]]
    assert len(images) == 80
    assert all(len(images.indices(split)) > 0 for split in splits.SPLITS)
    assert sum(len(images.indices(split)) for split in splits.SPLITS) == 80


def test_train_and_test_folders_are_kept_and_val_is_cut_from_train(tmp_path):
    write_folder(tmp_path / "a" / "train", 40)
    write_folder(tmp_path / "a" / "test", 5, seed=1)
    images = load([tmp_path / "a"], tmp_path)
    test = [images.names[i] for i in images.indices("test")]
    assert len(test) == 10
    assert all(name.startswith("test/") for name in test)
    assert 0 < len(images.indices("val")) < 20


def test_train_and_val_folders_make_val_the_test_split(tmp_path):
    write_folder(tmp_path / "a" / "train", 40)
    write_folder(tmp_path / "a" / "val", 5, seed=1)
    images = load([tmp_path / "a"], tmp_path)
    assert all(images.names[i].startswith("val/") for i in images.indices("test"))
    assert len(images.indices("test")) == 10
    assert len(images.indices("val")) > 0


@pytest.mark.parametrize(("train", "val"), [("Train", "Val"), ("train", "valid"), ("training", "validation")])
def test_split_folders_are_known_by_their_usual_names(tmp_path, train, val):
    write_folder(tmp_path / "a" / train, 40)
    write_folder(tmp_path / "a" / val, 5, seed=1)
    images = load([tmp_path / "a"], tmp_path)
    assert images.classes == [["class0", "class1"]]
    assert {images.names[i].split("/")[0] for i in images.indices("test")} == {val}


def test_a_flat_folder_has_no_labels(tmp_path):
    (tmp_path / "flat").mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        picture(rng, 0).save(tmp_path / "flat" / f"ä {i}.jpg")
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    images = load([tmp_path / "flat"], tmp_path)
    assert len(images) == 30
    assert images.classes == [[]]
    assert (images.label == -1).all()


def test_images_beside_class_folders_are_refused(tmp_path):
    write_folder(tmp_path / "a", 2)
    picture(np.random.default_rng(0), 0).save(tmp_path / "a" / "stray.png")
    with pytest.raises(BadInput, match="1 images beside class folders"):
        load([tmp_path / "a"], tmp_path)


def test_a_loop_of_links_ends(tmp_path):
    write_folder(tmp_path / "a", 3)
    (tmp_path / "a" / "class0" / "loop").symlink_to(tmp_path / "a" / "class0")
    assert len(load([tmp_path / "a"], tmp_path)) <= 9


def test_a_parquet_folder_as_on_the_hub(tmp_path):
    (tmp_path / "p").mkdir()
    write_parquet(tmp_path / "p" / "train-00000-of-00001.parquet", 40)
    write_parquet(tmp_path / "p" / "test-00000-of-00001.parquet", 10, start=1)
    images = load([tmp_path / "p"], tmp_path)
    assert images.classes == [["blue", "red"]]
    assert len(images.indices("test")) == 10
    pixels = images.fetch(np.arange(len(images))).float()
    redder = (pixels[:, 0] - pixels[:, 2]).mean(dim=(1, 2)) > 0
    assert (redder.numpy() == (images.label == 1)).all()  # every row's image still has its own label


def test_parquet_in_split_folders_keeps_its_splits_and_names(tmp_path):
    for split, seed in (("train", 0), ("test", 1)):
        (tmp_path / "p" / split).mkdir(parents=True)
        write_parquet(tmp_path / "p" / split / "0000.parquet", 40, start=seed)
    images = load([tmp_path / "p"], tmp_path)
    assert len(set(images.names)) == 80
    assert len(images.indices("test")) == 40
    assert {images.names[i].split("/")[0] for i in images.indices("test")} == {"test"}


def test_a_single_training_file_is_split_as_a_whole(tmp_path):
    write_parquet(tmp_path / "train.parquet", 60)
    images = load([f"{tmp_path}/train.parquet"], tmp_path)
    assert all(len(images.indices(split)) for split in splits.SPLITS)


def test_parquet_columns_are_chosen_or_asked_for(tmp_path):
    write_parquet(tmp_path / "a.parquet", 12, extra={"other": list(range(12))})
    assert load([f"{tmp_path}/a.parquet"], tmp_path).classes == [["blue", "red"]]  # a class label beats a plain number
    assert len(load([f"{tmp_path}/a.parquet"], tmp_path, label_column="other").classes[0]) == 12
    with pytest.raises(BadInput, match=r"no column 'lable': did you mean 'label'"):
        load([f"{tmp_path}/a.parquet"], tmp_path, label_column="lable")


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "bool"])
def test_plain_parquet_labels_of_any_kind_are_classes(tmp_path, kind):
    import pyarrow as pa
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    pictures = []
    for i in range(20):
        buffer = io.BytesIO()
        picture(rng, i % 2, (20, 20)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    words = pa.array(["cat", "dog"] * 10)
    labels = {
        "string": words,
        "large_string": words.cast(pa.large_string()),
        "dictionary": words.dictionary_encode(),
        "bool": pa.array([True, False] * 10),
    }[kind]
    pyarrow.parquet.write_table(pa.table({"image": pictures, "label": labels}), tmp_path / "a.parquet")
    images = load([f"{tmp_path}/a.parquet"], tmp_path)
    assert len(images.classes[0]) == 2
    assert images.label[:2].tolist() == ([1, 0] if kind == "bool" else [0, 1])


def test_parquet_files_need_only_share_image_and_label(tmp_path):
    (tmp_path / "p").mkdir()
    write_parquet(tmp_path / "p" / "a.parquet", 4)
    write_parquet(tmp_path / "p" / "b.parquet", 4, extra={"other": [1, 2, 3, 4]}, start=1)
    images = load([tmp_path / "p"], tmp_path)
    assert images.classes == [["blue", "red"]]
    pixels = images.fetch(np.arange(8)).float()
    assert ((pixels[:, 0] > pixels[:, 2]).float().mean(dim=(1, 2)).round().numpy() == images.label).all()


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput, match="is no parquet file"):
        load([f"{tmp_path}/a.parquet"], tmp_path)


def test_a_name_is_a_built_in_and_a_path_has_a_slash(tmp_path, monkeypatch):
    write_folder(tmp_path / "chest", 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"did you mean 'chest_xray'.*write \./chest"):
        opening.open_source("chest")
    assert len(opening.open_source("./chest").listing().records) == 4
    with pytest.raises(BadInput, match="does not exist"):
        opening.open_source("./nothing")


def test_several_sources_are_pooled_and_told_apart(tmp_path):
    first, second = write_folder(tmp_path / "a", 20), write_folder(tmp_path / "b", 10, seed=1)
    images = load([first, second], tmp_path)
    assert np.bincount(images.source).tolist() == [40, 20]
    alone = load([second], tmp_path)
    index = np.array([41, 3, 59, 40])
    assert np.array_equal(images.fetch(index).numpy()[[0, 2, 3]], alone.fetch(np.array([1, 19, 0])).numpy())


# --- the cache -------------------------------------------------------------------------------------------------------


def test_the_cache_is_decoded_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 10)
    load([folder], tmp_path)
    built = []
    real = cache._build_cache
    monkeypatch.setattr(cache, "_build_cache", lambda *a: built.append(1) or real(*a))
    load([folder], tmp_path)
    assert not built
    PIL.Image.new("RGB", (9, 9), "white").save(folder / "class0" / "000.png")
    images = load([folder], tmp_path)
    assert built
    assert (images.fetch(np.array([0])).numpy() == 255).all()


def test_unreadable_images_are_skipped_counted_and_never_replaced(tmp_path):
    folder = write_folder(tmp_path / "a", 30)
    names = ["000.png", "007.png", "011.png"]
    (folder / "class0" / names[0]).write_bytes(b"")
    (folder / "class0" / names[1]).write_text("no image")
    whole = (folder / "class0" / names[2]).read_bytes()
    (folder / "class0" / names[2]).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"3 of 60 images .* cannot be read \(5\.0%, allowed 1\.0%\)"):
        load([folder], tmp_path)
    images = load([folder], tmp_path, bad=0.1)
    assert [entry.name for entry in images.skipped] == [f"class0/{name}" for name in names]
    assert len(images) == 57
    last = np.flatnonzero(np.array(images.names) == "class1/029.png")
    expected = decoding.to_square(PIL.Image.open(folder / "class1" / "029.png"), 16)
    assert np.array_equal(images.fetch(last)[0].permute(1, 2, 0).numpy(), expected)


def test_a_full_disk_is_refused_before_decoding(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "a", 5)
    usage = cache.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(BadInput, match=r"needs .* GB .* choose another --cache_dir"):
        load([folder], tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_an_interrupted_build_leaves_nothing_that_counts(tmp_path):
    folder = write_folder(tmp_path / "a", 5)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loading.load(
            DataSettings(data=[str(folder)], image_size=8, cache_image_size=16, cache_dir=str(tmp_path / "cache")),
            interrupt,
        )
    assert not list((tmp_path / "cache").iterdir())


# --- splits and batches ----------------------------------------------------------------------------------------------


def test_a_group_never_falls_into_two_splits():
    listing = Listing([Record(f"{i}", group=f"g{i // 5}") for i in range(500)], [])
    split = splits.split_of(listing)
    for start in range(0, 500, 5):
        assert len(set(split[start : start + 5])) == 1


def test_the_batch_of_a_step_depends_on_seed_and_step_alone(tmp_path):
    images = load([write_folder(tmp_path / "a", 30)], tmp_path)
    whole = list(batching.training_batches(images, 8, 0, 0, 12, 0))
    later = list(batching.training_batches(images, 8, 0, 9, 12, 0))
    workers = list(batching.training_batches(images, 8, 0, 0, 12, 2))
    other = list(batching.training_batches(images, 8, 1, 0, 12, 0))
    assert [b.index.tolist() for b in whole[9:]] == [b.index.tolist() for b in later]
    assert [b.index.tolist() for b in whole] == [b.index.tolist() for b in workers]
    assert [b.index.tolist() for b in whole] != [b.index.tolist() for b in other]
    per_epoch = batching.steps_per_epoch(images, 8)
    seen = np.concatenate([b.index.numpy() for b in whole[:per_epoch]])
    assert len(set(seen.tolist())) == per_epoch * 8
    assert set(seen.tolist()) <= set(images.indices("train").tolist())


def uneven(tmp_path):
    folders = [write_folder(tmp_path / f"s{i}", count, 1, seed=i) for i, count in enumerate((60, 20, 9))]
    return load(folders, tmp_path)


def test_sources_have_equal_shares_of_a_balanced_epoch(tmp_path):
    images = uneven(tmp_path)
    train = images.indices("train")
    sizes = np.bincount(images.source[train])
    assert sizes.max() > 3 * sizes.min()
    extra = []
    for epoch in range(3):
        order = train[batching.order_of(len(train), 0, epoch, "order", images.source[train]).numpy()]
        assert len(order) == len(train)
        share = np.bincount(images.source[order])
        assert share.max() - share.min() <= 1
        extra.append(share.tolist())
        for source, size in enumerate(sizes):
            times = np.bincount(order, minlength=len(images))[images.indices("train", source)]
            assert times.max() - times.min() <= 1  # whole passes before anything comes again
            assert times.sum() == share[source]
            assert (times.max() == 1) == (size >= share[source])
    assert len(train) % 3 == 0 or len({tuple(e) for e in extra}) > 1
    firsts = [
        batching.order_of(len(train), s, e, "order", images.source[train]).tolist() for s, e in ((0, 0), (0, 1), (1, 0))
    ]
    assert firsts[0] != firsts[1] != firsts[2] != firsts[0]


def test_a_balanced_epoch_is_mixed_and_every_pass_over_a_small_source_is_another():
    source = np.repeat([0, 1], [180, 20])
    order = batching.order_of(200, 0, 0, "order", source).numpy()
    assert 35 <= source[order[:100]].sum() <= 65
    passes = batching.order_of(200, 0, 0, "order", source)[
        torch.argsort(torch.randperm(200, generator=generator(0, 0, "order")))
    ]
    small = passes[100:].reshape(5, 20)  # as they were drawn, before they were mixed
    assert all(sorted(one.tolist()) == list(range(180, 200)) for one in small)
    assert len({tuple(one.tolist()) for one in small}) == 5


def test_an_image_that_comes_again_in_an_epoch_is_drawn_anew_and_the_first_time_as_ever(tmp_path):
    images = uneven(tmp_path)
    per_epoch = batching.steps_per_epoch(images, 8)
    drawn, keys = {}, set()
    for batch in batching.training_batches(images, 8, 0, 0, 2 * per_epoch, 0, balanced=True):
        draws = batch.draws(0).repeat(2)
        value = draws.uniform("crop")
        parts = torch.cat([part.uniform("crop") for part in draws.chunk(2)])
        assert torch.equal(parts, value)
        plain = Draws(0, batch.epoch, batch.index, torch.zeros_like(batch.index)).repeat(2).uniform("crop")
        for row, (index, again) in enumerate(zip(batch.index.tolist(), batch.again.tolist(), strict=True)):
            assert (batch.epoch, index, again) not in keys
            assert again == 0 or (batch.epoch, index, again - 1) in keys
            keys.add((batch.epoch, index, again))
            two = slice(2 * row, 2 * row + 2)
            drawn.setdefault(index, []).extend(value[two].tolist())
            assert torch.equal(value[two], plain[two]) == (again == 0)
    assert max(again for _, _, again in keys) >= 2
    assert all(len(set(values)) == len(values) for values in drawn.values())


def test_balanced_batches_are_the_same_for_any_number_of_workers_and_ranks(tmp_path):
    images = uneven(tmp_path)
    whole = list(batching.training_batches(images, 8, 0, 0, 12, 0, balanced=True))
    later = list(batching.training_batches(images, 8, 0, 9, 12, 0, balanced=True))
    workers = list(batching.training_batches(images, 8, 0, 0, 12, 2, balanced=True))
    plain = list(batching.training_batches(images, 8, 0, 0, 12, 0))
    ranks = [list(batching.training_batches(images, 8, 0, 0, 12, 0, rank, 2, balanced=True)) for rank in range(2)]
    indices = [b.index.tolist() for b in whole]
    assert indices[9:] == [b.index.tolist() for b in later]
    assert indices == [b.index.tolist() for b in workers]
    assert indices == [a.index.tolist() + b.index.tolist() for a, b in zip(*ranks, strict=True)]
    assert indices != [b.index.tolist() for b in plain]


def test_nothing_to_test_on_is_refused(tmp_path):
    images = load([write_folder(tmp_path / "a", 1)], tmp_path)
    with pytest.raises(BadInput, match="leaves no image for the"):
        batching.steps_per_epoch(images, 1)


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    images = load([write_folder(tmp_path / "a", 5)], tmp_path)
    with pytest.raises(BadInput, match="fewer than one batch of 64"):
        batching.steps_per_epoch(images, 64)


def test_splits_are_written_with_every_image(tmp_path):
    images = load([write_folder(tmp_path / "a", 10)], tmp_path)
    lines = [json.loads(line) for line in images.splits().splitlines()]
    assert len(lines) == 20
    first = {"source": images.keys[0], "name": "class0/000.png", "split": images.split[0], "label": "class0"}
    assert lines[0] == first | {"content": images.content[0]}


# --- without a cache -------------------------------------------------------------------------------------------------


def test_without_a_cache_the_images_are_the_same_bits_and_nothing_is_written(tmp_path):
    write_parquet(tmp_path / "c.parquet", 30)
    keys = [write_folder(tmp_path / "a", 20), write_folder(tmp_path / "b", 10, seed=1), tmp_path / "c.parquet"]
    cached, uncached = load(keys, tmp_path), load_uncached(keys, tmp_path / "nowhere")
    index = np.random.default_rng(0).permutation(len(cached))
    assert np.array_equal(uncached.fetch(index).numpy(), cached.fetch(index).numpy())
    assert uncached.splits(stamps=False) == dataclasses.replace(cached, content=()).splits()
    assert not (tmp_path / "nowhere").exists()
    for workers in (0, 2):
        pairs = zip(*(batching.training_batches(i, 8, 0, 0, 6, workers) for i in (cached, uncached)), strict=True)
        assert all(np.array_equal(a.images.numpy(), b.images.numpy()) for a, b in pairs)
    rates = [line for line in uncached.describe().splitlines() if "nothing is cached" in line]
    assert [line.split(":")[0] for line in rates] == [str(key) for key in keys]
    assert all(float(line.split()[-3].removesuffix("/s").replace(",", "")) > 1 for line in rates)


@pytest.mark.parametrize("workers", [0, 2])
def test_without_a_cache_an_unreadable_image_stops_the_run_by_its_name(tmp_path, workers):
    folder = write_folder(tmp_path / "a", 400)  # more than the 256 that are read at the start
    images = load_uncached([folder], tmp_path / "nowhere")
    for file in folder.rglob("*.png"):
        file.write_bytes(b"broken since")
    with pytest.raises(BadInput) as caught:
        list(batching.training_batches(images, 8, 0, 0, 3, workers))
    assert re.fullmatch(r"image 'class\d/\d{3}.png' of .* cannot be read .*use --cache disk.*", str(caught.value))
    with pytest.raises(BadInput, match="cannot be read"):
        load_uncached([folder], tmp_path / "nowhere")


def test_workers_outlive_signals_that_the_main_process_collects(tmp_path):
    images = load([write_folder(tmp_path / "a", 30)], tmp_path)
    batches = batching.training_batches(images, 8, 0, 0, 40, 2)
    next(batches)
    next(batches)  # one from each: both are up
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGINT)
    time.sleep(0.3)
    assert all(worker.is_alive() for worker in workers)
    assert len(list(batches)) == 38
