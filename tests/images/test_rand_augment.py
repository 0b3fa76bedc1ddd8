"""RandAugment: each operation is Pillow's, the strength is the published one, and an image's draws are its own."""

import math

import numpy as np
import PIL.Image
import pytest
import torch
from PIL import ImageEnhance, ImageOps

from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.images import rand_augment as module
from lens.images.rand_augment import OPERATIONS, rand_augment
from lens.settings.run_settings import Settings

PUBLISHED = {
    "identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
}  # fmt: skip
WITHOUT_MAGNITUDE = {"identity", "autocontrast", "equalize"}


def draws(index, seed=0, epoch=0):
    index = torch.as_tensor(index)
    return Draws(seed, epoch, index, torch.zeros_like(index))


def images(count, side=24):
    """8-bit pictures, smooth with some noise, of little contrast and away from black and white."""
    random = generator(0, 0, "images")
    ramp = torch.linspace(-0.2, 0.2, side)[:, None] * torch.rand(count, 3, 1, 1, generator=random)
    shown = 0.35 + 0.3 * torch.rand(count, 3, 1, 1, generator=random) + ramp
    shown = shown + 0.05 * torch.randn(count, 3, side, side, generator=random)
    return (shown.clamp(0.02, 0.98) * 255).round() / 255


def test_the_list_is_the_published_one():
    assert set(OPERATIONS) == PUBLISHED


@pytest.mark.parametrize("name", sorted(PUBLISHED - {"identity"}))
def test_an_operation_does_something_more_with_more_strength_and_nothing_with_none(name):
    before = images(8)
    for sign in (1, -1):
        changes = []
        for strength in (0.0, 0.4, 0.9):
            after = OPERATIONS[name](before, torch.full((8,), sign * strength))
            assert after.shape == before.shape
            assert after.dtype == before.dtype
            assert 0 <= after.min() <= after.max() <= 1
            changes.append((after - before).abs().mean(dim=(1, 2, 3)))
        if name in WITHOUT_MAGNITUDE:
            assert changes[0].min() > 0.01
        else:
            assert changes[0].max() < 1e-5
            assert changes[2].min() > 1e-3
            assert (changes[2] > changes[1]).all()


@pytest.mark.parametrize("name", sorted(PUBLISHED - WITHOUT_MAGNITUDE - {"solarize", "posterize"}))
def test_a_sign_turns_an_operation_round(name):
    before = images(4)
    there, back = (OPERATIONS[name](before, torch.full((4,), sign * 0.3)) for sign in (1, -1))
    assert (there - back).abs().mean() > 1e-3


def pillow(name, image, strength):
    """The operation as PIL does it on 8 bits, its arguments worked out from the published ranges."""
    factor = 1 + 0.9 * strength
    side = image.width
    warp = {"resample": PIL.Image.Resampling.BILINEAR, "fillcolor": (128, 128, 128)}
    affine = PIL.Image.Transform.AFFINE
    return {
        "identity": lambda: image,
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "solarize": lambda: ImageOps.solarize(image, 256 * (1 - abs(strength))),
        "posterize": lambda: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
        "color": lambda: ImageEnhance.Color(image).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "rotate": lambda: image.rotate(30 * strength, **warp),
        "shear_x": lambda: image.transform(image.size, affine, (1, -0.3 * strength, 0, 0, 1, 0), **warp),
        "shear_y": lambda: image.transform(image.size, affine, (1, 0, 0, -0.3 * strength, 1, 0), **warp),
        "translate_x": lambda: image.transform(image.size, affine, (1, 0, -0.45 * side * strength, 0, 1, 0), **warp),
        "translate_y": lambda: image.transform(image.size, affine, (1, 0, 0, 0, 1, -0.45 * side * strength), **warp),
    }[name]()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_an_operation_is_pillows_to_a_level_or_two(name):
    before = images(6)
    strength = torch.tensor([0.9, -0.9, 0.5, -0.5, 1.0, -0.3])
    got = OPERATIONS[name](before, strength)
    for i in range(6):
        picture = PIL.Image.fromarray((before[i] * 255).round().byte().permute(1, 2, 0).numpy())
        wanted = torch.from_numpy(np.array(pillow(name, picture, float(strength[i])))).permute(2, 0, 1) / 255
        inside = (got[i] - wanted).abs()
        if name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
            # Where the picture ends, and by what fraction of a pixel, is each library's own convention.
            assert (inside.amax(dim=0) > 0.06).double().mean() < 0.12, (i, inside.amax(dim=0))
            assert inside.mean() < 0.015
            assert inside.mean() < 0.25 * (before[i] - wanted).abs().mean()
        else:
            assert inside.max() < 2.1 / 255, i


def test_an_image_is_augmented_the_same_in_any_batch():
    before = images(60)
    whole = rand_augment(before, 9.0, draws(range(60)))
    assert 0 <= whole.min() <= whole.max() <= 1
    order = torch.randperm(60, generator=generator(0, 0, "order"))
    assert torch.allclose(rand_augment(before[order], 9.0, draws(order)), whole[order], atol=1e-5)
    halves = [rand_augment(before[i : i + 20], 9.0, draws(range(i, i + 20))) for i in range(0, 60, 20)]
    assert torch.allclose(torch.cat(halves), whole, atol=1e-5)
    alone = torch.cat([rand_augment(before[i : i + 1], 9.0, draws([i])) for i in range(12)])
    assert torch.allclose(alone, whole[:12], atol=1e-5)
    for other in ({"seed": 1}, {"epoch": 1}):
        assert (rand_augment(before, 9.0, draws(range(60), **other)) - whole).abs().amax(dim=(1, 2, 3)).median() > 0.05
    assert torch.equal(before, images(60))  # what it was given is left alone


def test_images_stay_single_where_torchs_default_is_double():
    single = rand_augment(images(60), 9.0, draws(range(60)))
    before = images(60)
    torch.set_default_dtype(torch.float64)
    try:
        after = rand_augment(before, 9.0, draws(range(60)))
    finally:
        torch.set_default_dtype(torch.float32)
    assert after.dtype == torch.float32
    assert torch.allclose(after, single, atol=1e-5)


def test_two_operations_are_drawn_evenly_with_the_published_magnitude(monkeypatch):
    """Each operation writes down what it is asked for, in place of doing it."""
    seen = {name: [] for name in OPERATIONS}
    rounds = []

    def spy(name):
        def note(rows, strength):
            seen[name].append(strength)
            rounds.append(len(rows))
            return rows

        return note

    monkeypatch.setattr(module, "OPERATIONS", {name: spy(name) for name in OPERATIONS})
    count = 7000
    rand_augment(torch.zeros(count, 1, 1, 1), 6.0, draws(range(count)))
    assert sum(rounds) == 2 * count
    each = 2 * count / 14
    for name, strengths in seen.items():
        assert abs(len(torch.cat(strengths)) - each) < 4 * math.sqrt(each), name
    strength = torch.cat([s for strengths in seen.values() for s in strengths]).double()
    magnitude = 10 * strength.abs()
    assert abs(magnitude.mean() - 6) < 4 * 0.5 / math.sqrt(2 * count)
    assert abs(magnitude.std() - 0.5) < 0.015
    assert abs((strength > 0).double().mean() - 0.5) < 4 * 0.5 / math.sqrt(2 * count)

    for strengths in seen.values():
        strengths.clear()
    rand_augment(torch.zeros(count, 1, 1, 1), 10.0, draws(range(count)))
    strength = torch.cat([s for strengths in seen.values() for s in strengths])
    assert strength.abs().max() == 1  # a magnitude beyond 10 is 10
    assert 0.47 < (strength.abs() == 1).double().mean() < 0.53


@pytest.mark.parametrize("value", [-1.0, 10.5, float("nan")])
def test_a_magnitude_out_of_range_is_refused(value):
    with pytest.raises(BadInput, match="--rand_augment is"):
        Settings.of({"rand_augment": value})


def test_training_images_are_augmented_before_a_shortcut_is_planted_and_held_out_ones_never(photos, monkeypatch):
    from tiny import TINY, fit

    from lens.images import batching
    from lens.images.augment import centre
    from lens.images.training_set import training_images
    from lens.players.build import build
    from lens.players.fabric import make_fabric
    from lens.settings.parsing import parse

    argv = fit([*TINY, "--data", f"{photos}", "--lens", "none", "--task", "labels", "--augment", "none"])
    parsed = parse([*argv, "--rand_augment", "9", "--shortcut", "arrow"], "lens.train")
    images = training_images(parsed.settings)
    players = build(parsed, images, make_fabric(parsed.settings.machine))
    batch = batching.gather(images, images.indices("train")[:12], 0)
    clean = players.views(batch, training=False, planted=False)[0]
    assert torch.equal(clean, centre(batch.images, 16))
    augmented = players.views(batch, training=True, planted=False)[0]
    assert torch.equal(augmented, rand_augment(clean, 9.0, batch.draws(0)))
    planted = players.views(batch, training=True)[0]
    assert torch.equal(planted, players.shortcut.plant(augmented, torch.zeros(12), batch.draws(0)))
    held_out = players.views(batch, training=False)[0]
    assert torch.equal(held_out, players.shortcut.plant(clean, torch.zeros(12), batch.draws(0)))
