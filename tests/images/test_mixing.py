"""Mixing: answers are mixed as the pixels are, by the published laws; what cannot be mixed is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from tiny import TINY, fit
from torch.nn import functional

from lens import train
from lens.base.draws import Draws, generator, step_seed
from lens.base.errors import BadInput
from lens.images.mixing import Mixing
from lens.protocols.lookup import find, names
from lens.settings.run_settings import Settings
from lens.training import trainer

MODES = {"mixup": Mixing(0.8, 0.0, 0.0), "cutmix": Mixing(0.0, 1.0, 0.0), "both": Mixing(0.8, 1.0, 0.0)}


def coded(count, height=16, width=16):
    """Views of which view i is 1 in channel i and 0 elsewhere: a mixed pixel tells how much of whom is in it."""
    return torch.eye(count)[:, :, None, None].expand(-1, -1, height, width).contiguous()


def mixed(mixing, images, views=1, classes=7, seed=0, side=16):
    target = torch.randint(classes, (images * views,), generator=generator(0, 0, "target"))
    shown, question = mixing.mix(coded(images * views, side, side), {"target": target}, classes, images, seed)
    return shown, question["target"], target


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_answer_has_the_share_that_its_pixels_have(mode, smoothing):
    shown, probabilities, target = mixed(dataclasses.replace(MODES[mode], label_smoothing=smoothing), 40)
    assert torch.allclose(shown.sum(dim=1), torch.ones(()))
    for row in range(40):
        wanted = torch.zeros(7)
        for source in range(40):
            wanted[target[source]] += shown[row, source].mean()
        assert torch.allclose(probabilities[row], 0.9 * wanted + 0.1 / 7 if smoothing else wanted, atol=1e-5)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_view_is_mixed_in_its_own_place_with_one_of_another_image(mode):
    images, views = 9, 4
    seen, turned = [], []
    for seed in range(40):
        shown, _, _ = mixed(MODES[mode], images, views, seed=seed)
        for row in range(images * views):
            sources = shown[row].amax(dim=(1, 2)).nonzero().flatten().tolist()
            others = [source for source in sources if source != row]
            assert len(others) <= 1
            if others:
                assert others[0] // views != row // views
                turned.append(others[0] % views != row % views)
                seen.append((others[0] // views - row // views) % images)
    assert set(seen) == set(range(1, images))  # whom a view is mixed with is drawn anew
    assert 0.65 < np.mean(turned) < 0.85  # and which of its views, too


@pytest.mark.parametrize("alpha", [0.2, 0.8, 4.0])
def test_mixup_is_one_share_everywhere_that_follows_its_law(alpha):
    shown, _, _ = mixed(Mixing(alpha, 0.0, 0.0), 400, side=4)
    own = shown[torch.arange(400), torch.arange(400)]
    assert torch.equal(own, own[:, :1, :1].expand_as(own))
    assert stats.kstest(own[:, 0, 0].double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_cutmix_is_a_box_whose_area_follows_its_law():
    count, side = 600, 32
    few = torch.arange(30)
    own = torch.cat([mixed(MODES["cutmix"], 30, side=side, seed=seed)[0][few, few] for seed in range(20)])
    assert set(own.unique().tolist()) == {0.0, 1.0}
    heights, widths, tops = [], [], []
    for keep in own:
        rows, columns = (keep == 0).any(dim=1), (keep == 0).any(dim=0)
        assert torch.equal(keep == 0, rows[:, None] & columns)
        heights.append(int(rows.sum()))
        widths.append(int(columns.sum()))
        tops.append(rows.int().argmax().item() if rows.any() else -1)
        assert int(rows.int().diff().abs().sum()) <= 2  # in one piece
    rng = np.random.default_rng(1)
    area = []
    for _ in range(20_000):  # the paper's own lines
        cut = np.sqrt(1 - rng.beta(1, 1)) * side
        y, x = rng.uniform(0, side, 2)
        y1, y2, x1, x2 = (np.clip(v, 0, side) for v in (y - cut / 2, y + cut / 2, x - cut / 2, x + cut / 2))
        area.append((y2 - y1) * (x2 - x1))
    got = np.array(heights) * np.array(widths)
    assert abs(got.mean() - np.mean(area)) < 4 * np.std(area) / np.sqrt(count) + 12  # whole pixels, rounded down
    assert max(heights) <= side
    assert max(heights) > 0.9 * side
    assert {0, 31} & set(tops)
    assert len(set(tops)) > 20


def test_with_both_each_view_gets_the_one_or_the_other():
    count = 400
    shown, _, _ = mixed(MODES["both"], count, side=8)
    own = shown[torch.arange(count), torch.arange(count)]
    binary = ((own == 0) | (own == 1)).flatten(1).all(dim=1).double().mean()
    assert abs(binary - 0.5) < 4 * 0.5 / np.sqrt(count)


def test_smoothed_answers_alone_give_the_loss_of_torchs_argument():
    task = find("task", "rotation")()
    outputs = torch.randn(24, 4, generator=generator(0, 0, "x"))
    target = torch.arange(24) % 4
    views = torch.rand(24, 3, 8, 8)
    shown, question = Mixing(0.0, 0.0, 0.1).mix(views, {"target": target}, 4, 6, 0)
    assert torch.equal(shown, views)
    wanted = functional.cross_entropy(outputs, target, reduction="none", label_smoothing=0.1)
    assert torch.allclose(task.loss(outputs, question), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_views_keep_their_kind_and_range_and_a_seed_gives_them_again(dtype):
    views = torch.rand(6, 3, 8, 8, dtype=dtype).contiguous(memory_format=torch.channels_last)
    views[0], views[1] = 0, 1
    question = {"target": torch.arange(6) % 3}
    kept = views.clone()
    shown, asked = MODES["both"].mix(views, question, 3, 6, 5)
    assert shown.dtype == asked["target"].dtype == dtype
    assert shown.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= shown.min() <= shown.max() <= 1
    assert torch.equal(views, kept)
    assert question["target"].dtype == torch.int64
    again, asked_again = MODES["both"].mix(views, question, 3, 6, 5)
    assert torch.equal(shown, again)
    assert torch.equal(asked["target"], asked_again["target"])
    assert not torch.equal(shown, MODES["both"].mix(views, question, 3, 6, 6)[0])


# --- which tasks -----------------------------------------------------------------------------------------------------


def posed(task):
    index = torch.zeros(1, dtype=torch.int64)
    return task.pose(torch.zeros(task.views, 3, 32, 32), Draws(0, 0, index, index).repeat(task.views))[1]


def bound(name):
    task = find("task", name)()
    return task.for_classes(["a", "b", "c"]) if task.answer else task


@pytest.mark.parametrize("name", names("task"))
@pytest.mark.parametrize("mixing", [Mixing(0.8, 0.0, 0.0), Mixing(0.0, 1.0, 0.0), Mixing(0.0, 0.0, 0.1)])
def test_only_tasks_with_one_class_a_view_are_mixed(name, mixing):
    task = bound(name)
    Mixing(0.0, 0.0, 0.0).check(task, name, task.views, posed(task), 1)
    if name in ("rotation", "labels", "dataset_classification"):
        mixing.check(task, name, task.views, posed(task), 2)
        return
    flag = next(field for field, value in vars(mixing).items() if value)
    with pytest.raises(BadInput, match=f"--{flag} .* cannot be used with --task {name}: .*leave it out"):
        mixing.check(task, name, task.views, posed(task), 2)


@pytest.mark.parametrize("kind", ["takes no probabilities", "is no plain cross-entropy", "needs more of the question", "head reads", "couples"])  # fmt: skip
def test_a_task_whose_loss_is_another_is_refused(kind):
    class Other(find("task", "rotation")):
        head_reads_question = kind == "head reads"
        couples = kind == "couples"

        def pose(self, images, draws):
            views, question = super().pose(images, draws)
            return views, question | ({"more": question["target"]} if "more" in kind else {})

        def loss(self, outputs, question):
            if "takes no" in kind:
                return functional.nll_loss(outputs.log_softmax(dim=1), question["target"], reduction="none")
            return super().loss(outputs, question) * (2 if "plain" in kind else 1)

    with pytest.raises(BadInput, match="cannot be used with --task mine"):
        Mixing(0.8, 0.0, 0.1).check(Other(), "mine", 4, posed(Other()), 2)


def test_an_image_alone_cannot_be_mixed_but_its_answer_smoothed():
    task = bound("labels")
    for mixing in (MODES["mixup"], MODES["cutmix"]):
        with pytest.raises(BadInput, match="give a larger --batch_size"):
            mixing.check(task, "labels", 1, {}, 1)
    Mixing(0.0, 0.0, 0.1).check(task, "labels", 1, {}, 1)


@pytest.mark.parametrize("setting", [{"mixup": -0.1}, {"cutmix": float("nan")}, {"label_smoothing": 1.0}])
def test_values_out_of_range_are_refused(setting):
    with pytest.raises(BadInput, match=f"--{next(iter(setting))} is .*at least 0"):
        Settings.of(setting)


# --- whole runs ------------------------------------------------------------------------------------------------------

ALL = ["--task", "labels", "--mixup", "0.8", "--cutmix", "1", "--label_smoothing", "0.1", "--rand_augment", "9", "--augment", "resized"]  # fmt: skip


def test_a_step_trains_on_mixed_views_and_answers_and_only_a_step(tmp_path, photos, monkeypatch):
    steps, handed = [], []
    mix, step = Mixing.mix, trainer.adversarial_step

    def spy_mix(self, views, question, classes, images, seed):
        result = mix(self, views, question, classes, images, seed)
        steps.append((seed, views, *result))
        return result

    def spy_step(game, lens, extractor, views, question, recon_weight):
        handed.append((views, question["target"]))
        return step(game, lens, extractor, views, question, recon_weight)

    monkeypatch.setattr(Mixing, "mix", spy_mix)
    monkeypatch.setattr(trainer, "adversarial_step", spy_step)
    argv = [*TINY, "--data", f"{photos}", "--out", f"{tmp_path / 'r'}", *ALL, "--grad_accum_steps", "2", "--objective", "full", "--precision", "64"]  # fmt: skip
    assert train.main([*argv, "--steps", "2"]) == 0
    assert [seed for seed, *_ in steps] == [step_seed(0, s, "mixing 0") for s in range(2)]  # no evaluation mixes
    for number, (_, raw, views, question) in enumerate(steps):
        parts = handed[2 * number : 2 * number + 2]
        assert torch.equal(torch.cat([part for part, _ in parts]), views)
        assert torch.equal(torch.cat([part for _, part in parts]), question["target"])
        assert views.dtype == torch.float64
        assert not torch.equal(views, raw)


@pytest.mark.parametrize("more", [["--lens", "fgsm", "--precision", "64"], ["--task", "rotation", "--lens", "none"], ["--batch_norm", "joint", "--precision", "bf16"]])  # fmt: skip
def test_every_mode_trains(tmp_path, photos, more):
    assert (
        train.main(fit([*TINY, "--data", f"{photos}", "--out", f"{tmp_path / 'r'}", *ALL, *more, "--steps", "2"])) == 0
    )


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, photos):
    original = trainer.Trainer.train_step
    argv = [*TINY, "--data", f"{photos}", *ALL]
    assert train.main([*argv, "--out", f"{tmp_path / 'whole'}"]) == 0

    def stop_at_3(self, batch):
        if self.step == 3:
            raise KeyboardInterrupt
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "train_step", stop_at_3)
        assert train.main([*argv, "--out", f"{tmp_path / 'parts'}"]) == 130
    assert train.main(["--resume", f"{tmp_path / 'parts'}"]) == 0
    for name in ("extractor", "head", "lens"):
        a, b = (load_file(tmp_path / part / f"{name}.safetensors") for part in ("whole", "parts"))
        assert all(torch.equal(a[key], b[key]) for key in a)
