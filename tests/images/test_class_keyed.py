"""Cues that an image's class sets: one pattern a class, the share that carries its own, and what refuses to be planted."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from pictures import picture
from tiny import TINY

from lens import train
from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.images import planting
from lens.operations.quality import psnr
from lens.protocols.lookup import find
from lens.training.trainer import Trainer

CUES = ("patch_noise", "one_pixel")


def grey(count, seed=0, side=32):
    """Images well inside the range: nothing is clipped."""
    return 0.3 + 0.4 * torch.rand(count, 3, side, side, generator=generator(seed, 0, "grey"))


def rows(count, first=0, epoch=0, views=1, seed=0):
    index = torch.arange(first, first + count)
    return Draws(seed, epoch, index, torch.zeros_like(index)).repeat(views)


def change(name, theta, images=None, **where):
    images = grey(len(theta)) if images is None else images
    return find("shortcut", name)().plant(images, theta, rows(len(theta), **where)) - images


@dataclasses.dataclass
class Some:
    """As much of a run's images as the key needs."""

    label: np.ndarray
    classes: list
    split: np.ndarray
    names: list

    def __post_init__(self):
        self.source = np.zeros(len(self.label), np.int64)

    def __len__(self):
        return len(self.label)


def some(count=4000, classes=10):
    label = np.arange(count) % classes
    return Some(label, [[str(k) for k in range(classes)]], np.full(count, "train"), [f"{i}.png" for i in range(count)])


def test_patch_noise_is_one_pattern_a_class_with_a_little_new_in_each_image():
    theta = torch.arange(10).repeat_interleave(4) / 10
    noise = change("patch_noise", theta).flatten(1)
    likeness = torch.corrcoef(noise).reshape(10, 4, 10, 4)
    same = torch.stack([likeness[k, :, k] for k in range(10)])[:, ~torch.eye(4, dtype=torch.bool)]
    assert same.min() > 0.75
    assert same.max() < 0.99  # new in each image
    other = likeness[~torch.eye(10, dtype=torch.bool)[:, None, :, None].expand(10, 4, 10, 4)]
    assert other.abs().max() < 0.35
    assert torch.allclose(noise.norm(dim=1), torch.tensor(1.3), atol=1e-3)
    assert psnr(float(noise.square().mean())) == pytest.approx(32.6, abs=0.05)


def test_patch_noise_is_made_of_blocks_in_proportion_to_the_side():
    for side, block in ((32, 4), (64, 8)):
        noise = change("patch_noise", torch.tensor([0.3]), grey(1, side=side))
        blocks = noise.reshape(1, 3, side // block, block, side // block, block)
        assert torch.allclose(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks), atol=1e-6)
        assert psnr(float(noise.square().mean())) == pytest.approx(32.6, abs=0.05)


def test_one_pixel_is_one_place_and_one_corner_of_the_colour_cube_a_class():
    theta = torch.arange(10).repeat_interleave(3) / 10
    images = grey(30)
    planted = find("shortcut", "one_pixel")().plant(images, theta, rows(30))
    touched = (planted != images).any(dim=1)
    assert touched.sum(dim=(1, 2)).tolist() == [1] * 30
    cues = {
        (k // 3, *touched[k].nonzero()[0].tolist(), *planted[k][:, touched[k]].flatten().tolist()) for k in range(30)
    }
    assert len(cues) == 10
    assert len({cue[1:] for cue in cues}) == 10
    assert {value for cue in cues for value in cue[3:]} == {0.0, 1.0}
    assert (
        33 < psnr(float((planted - images).square().mean())) < 42
    )  # of images that are mid-grey; 35 dB on photographs


def test_one_pixel_grows_in_proportion():
    images = grey(1, side=96)
    planted = find("shortcut", "one_pixel")().plant(images, torch.tensor([0.5]), rows(1))
    assert (planted != images).any(dim=1).sum() == 9


@pytest.mark.parametrize("name", CUES)
def test_a_cue_is_the_same_in_any_batch_view_and_epoch_and_another_for_another_seed(name):
    theta = torch.arange(6) / 10
    images = grey(6)
    whole = change(name, theta, images)
    assert torch.allclose(change(name, theta[2:5], images[2:5], first=2), whole[2:5], atol=1e-6)
    assert torch.equal(change(name, theta, images, epoch=7), whole)
    twice = find("shortcut", name)().plant(
        images.repeat_interleave(2, dim=0), theta.repeat_interleave(2), rows(6, views=2)
    )
    assert torch.equal(twice[0::2], twice[1::2])
    assert not torch.allclose(change(name, theta, images, seed=1), whole, atol=1e-3)


@pytest.mark.parametrize("name", CUES)
def test_a_linear_model_reads_the_class_and_nothing_where_every_cue_is_a_random_classs(name):
    from sklearn.linear_model import RidgeClassifier

    def accuracy(share):
        data = some(800, 4)
        theta = planting.thetas_of_classes(data, 0, share)
        planted, carries = planting.plant(
            find("shortcut", name)(), "label", grey(800), rows(800), torch.zeros(800, dtype=torch.long), 1, theta
        )
        assert carries.all()
        pixels = planted.flatten(1).numpy()
        return RidgeClassifier(100.0).fit(pixels[:400], data.label[:400]).score(pixels[400:], data.label[400:])

    assert accuracy(1.0) > 0.95
    assert accuracy(0.0) < 0.36  # five standard errors above a quarter


def test_every_image_has_its_own_class_and_the_share_is_honoured():
    data = some()
    assert torch.equal(planting.thetas_of_classes(data, 0, 1.0), torch.from_numpy(data.label) / 10)
    for share in (0.0, 0.3, 0.8):
        own = (planting.thetas_of_classes(data, 0, share) * 10).round().long().numpy() == data.label
        expected = share + (1 - share) / 10  # a random class can be the own one
        assert own.mean() == pytest.approx(expected, abs=0.035)
    none = (planting.thetas_of_classes(data, 0, 0.0) * 10).round().long()
    assert torch.bincount(none, minlength=10).min() > 320
    assert not torch.equal(planting.thetas_of_classes(data, 1, 0.5), planting.thetas_of_classes(data, 0, 0.5))


def test_images_without_a_class_are_refused_unless_no_split_uses_them():
    data = some(20)
    data.label[3] = -1
    with pytest.raises(BadInput, match=r"1 of 20 images have none \('3.png'\)"):
        planting.thetas_of_classes(data, 0, 1.0)
    data.split = data.split.astype("<U12")
    data.split[3] = "unlabelled"
    assert len(planting.thetas_of_classes(data, 0, 1.0)) == 20


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("patch_noise", {"strength": 0.0}), ("patch_noise", {"block": 0}), ("patch_noise", {"own": 1.5}),
        ("one_pixel", {"size": 0}), ("one_pixel", {"size": 17}),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(name, setting):
    with pytest.raises(BadInput, match=r"--shortcut\."):
        find("shortcut", name)(**setting)


def test_a_run_plants_classes_measures_clean_images_beside_and_goes_on_as_if_it_had_not_stopped(
    photos, tmp_path, monkeypatch
):
    poison = ["--task", "labels", "--shortcut", "one_pixel", "--shortcut_key", "label", "--shortcut_share", "0.5"]
    words = [*TINY, "--data", str(photos), *poison, "--probe_images", "20"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert train.main([*words, "--out", str(whole)]) == 0
    with monkeypatch.context() as patch:
        done, step = [], Trainer.train_step

        def ends_after_four(self, batch):
            if len(done) == 4:
                raise RuntimeError("the machine goes down")
            done.append(0)
            return step(self, batch)

        patch.setattr(Trainer, "train_step", ends_after_four)
        with pytest.raises(RuntimeError, match="the machine goes down"):
            train.main([*words, "--out", str(part)])
    assert train.main(["--resume", str(part)]) == 0
    assert (whole / "extractor.safetensors").read_bytes() == (part / "extractor.safetensors").read_bytes()
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["shortcut_key"] == "label"
    assert {"clean", "raw", "lensed"} <= summary["pretext"].keys()


def test_a_run_on_images_without_labels_is_refused_before_it_begins(tmp_path, capsys):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(40):
        picture(np.random.default_rng(number), 0).save(flat / f"{number}.png")
    words = [*TINY, "--data", str(flat), "--shortcut", "one_pixel", "--shortcut_key", "label"]
    assert train.main([*words, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "40 of 40 images have none" in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()
