"""Each task against slow references in NumPy and loops, written from the formulas."""

import itertools
import math

import numpy as np
import pytest
import torch
from pictures import Data

from lens.base.draws import Draws, generator
from lens.base.errors import BadInput
from lens.players.posing import posed_about
from lens.protocols.lookup import find
from lens.settings.parsing import parse
from lens.tasks._patches import Geometry, cut, nine
from lens.tasks.jigsaw import permutations


def images(count=4, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=generator(seed, 0, "images"))


def asked(task, count=4, side=32, seed=0):
    index = torch.arange(count) + 10
    rows = Draws(seed, 0, index, torch.zeros_like(index)).repeat(task.views)
    return task.pose(images(count, side, seed).repeat_interleave(task.views, dim=0), rows)


def cross_entropy(logits, target):
    return [
        math.log(sum(math.exp(x) for x in row)) - row[k]
        for row, k in zip(logits.double().tolist(), target.tolist(), strict=True)
    ]


# --- patches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "expected"), [(255, (85, 64, 21)), (96, (32, 24, 8)), (64, (21, 16, 5)), (32, (10, 8, 2))]
)
@pytest.mark.parametrize("name", ["relative_patch", "jigsaw"])
def test_the_geometry_has_the_published_proportions(side, expected, name):
    task = find("task", name)()
    assert Geometry.of(side, task.gap, task.jitter) == Geometry(*expected)
    assert all(str(number) in type(task).__doc__ for number in expected)


@pytest.mark.parametrize(("gap", "jitter"), [(0.0, 0.25), (0.3, 0.0), (0.2, 0.2), (0.0, 0.0)])
def test_patches_stay_in_their_cells_and_keep_the_gap(gap, jitter):
    geometry = Geometry.of(96, gap, jitter)
    index = torch.arange(500)
    corners = geometry.corners(torch.zeros(500, 3, 96, 96), Draws(0, 0, index, torch.zeros_like(index))).numpy()
    for number in range(9):
        for axis, cell in ((0, number // 3), (1, number % 3)):
            inside = corners[:, number, axis] - cell * geometry.cell
            assert inside.min() >= 0
            assert inside.max() + geometry.patch <= geometry.cell
            assert inside.max() - inside.min() == geometry.jitter  # every place is met
    right = corners[:, 1, 1] - (corners[:, 0, 1] + geometry.patch)
    assert right.min() >= round(32 * gap)


def test_cutting_is_slicing():
    views = images(3)
    corners = Geometry.of(32, 0, 0.25).corners(views, Draws(0, 0, torch.arange(3), torch.zeros(3, dtype=torch.int64)))
    got = cut(views, corners, 8)
    for view, number in itertools.product(range(3), range(9)):
        top, left = corners[view, number].tolist()
        assert torch.equal(got[view * 9 + number], views[view, :, top : top + 8, left : left + 8])


def test_downstream_reads_nine_patches_of_the_published_crop():
    smooth = torch.linspace(0, 1, 255).expand(1, 3, 255, 255)
    patches = nine(smooth, 64)
    assert patches.shape == (9, 3, 64, 64)
    # Short side 224, crop 192: from 16/224 to 208/224 of the width, a third in each column of patches.
    for number in range(9):
        left = (16 + 64 * (number % 3)) / 224
        assert patches[number, 0, 0].mean().item() == pytest.approx(left + 32 / 224, abs=0.01)


def test_patches_that_are_too_small_are_refused():
    with pytest.raises(
        BadInput,
        match=r"^--task.gap 0.4 and --task.jitter 0.5 leave patches of 1 px in cells of 10 px: 4 px are the least",
    ):
        Geometry.of(32, 0.4, 0.5)


def test_the_lens_sees_the_whole_image_and_the_extractor_its_patches():
    for name in ("relative_patch", "jigsaw"):
        task = find("task", name)()
        views, question = asked(task)
        assert torch.equal(views, images())
        shown = task.present(views, question)
        top, left = question["corners"][2, 5].tolist()
        assert torch.equal(shown[2 * 9 + 5], views[2, :, top : top + 8, left : left + 8] * 2 - 1)


# --- relative patch --------------------------------------------------------------------------------------------------


def test_relative_patch_asks_about_the_eight_pairs_of_centre_and_neighbour():
    task = find("task", "relative_patch")(embedding=5, hidden=7)
    head = task.head(6).eval()
    features = torch.rand(2 * 9, 6, generator=generator(0, 0, "f"))
    _, question = asked(task, 2)
    logits = head(features)
    rows = []
    for view in range(2):
        centre = head.embed(features[view * 9 + 4])
        for target, neighbour in enumerate([0, 1, 2, 3, 5, 6, 7, 8]):
            pair = torch.cat([centre, head.embed(features[view * 9 + neighbour])])
            rows.append(head.classify(pair[None])[0])
            assert question["target"][len(rows) - 1] == target
    assert torch.allclose(logits, torch.stack(rows), atol=1e-5)
    assert np.allclose(task.loss(logits, question).tolist(), cross_entropy(logits, question["target"]), atol=1e-5)


# --- jigsaw ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 73, 100, 504])
def test_permutations_differ_in_at_least_seven_places(count):
    chosen = permutations(count).tolist()
    assert all(sorted(order) == list(range(9)) for order in chosen)
    least = min(sum(a != b for a, b in zip(x, y, strict=True)) for x, y in itertools.combinations(chosen[:150], 2))
    assert len({tuple(order) for order in chosen}) == count
    assert least >= 7
    if count > 72:
        assert least == 7
    assert permutations.__wrapped__(count).tolist() == chosen


def test_jigsaw_shows_each_image_in_different_orders():
    task = find("task", "jigsaw")(embedding=5, hidden=7)
    _, question = asked(task, 3)
    target = question["target"].reshape(3, 8)
    assert all(len(set(row)) == 8 for row in target.tolist())
    assert target[0].tolist() != target[1].tolist()
    assert question["order"].tolist() == permutations(100)[question["target"].numpy()].tolist()
    head = task.head(6).eval()
    features = torch.rand(3 * 9, 6, generator=generator(0, 0, "f"))
    logits = head(features, question)
    for view, shown in itertools.product(range(3), range(8)):
        order = question["order"][view * 8 + shown].tolist()
        slots = torch.cat([head.embed(features[view * 9 + patch]) for patch in order])
        assert torch.allclose(logits[view * 8 + shown], head.classify(slots[None])[0], atol=1e-5)
    assert np.allclose(task.loss(logits, question).tolist(), cross_entropy(logits, question["target"]), atol=1e-5)


# --- exemplar --------------------------------------------------------------------------------------------------------


def distances(embeddings):
    unit = embeddings / np.sqrt((embeddings**2).sum(axis=1, keepdims=True))
    return np.array([[((a - b) ** 2).sum() for b in unit] for a in unit])


def test_exemplar_is_the_mean_over_semi_hard_triplets():
    task = find("task", "exemplar")()
    outputs = torch.randn(12, 4, generator=generator(0, 0, "e")) * torch.arange(1, 13)[:, None]  # lengths do not count
    target = torch.tensor([7, 7, 7, 3, 3, 3, 9, 9, 9, 1, 1, 1])
    d = distances(outputs.double().numpy())
    costs = []
    for a, p, n in itertools.product(range(12), repeat=3):
        if a == p or target[a] != target[p] or target[a] == target[n]:
            continue
        if d[a, p] < d[a, n] < d[a, p] + 0.5:
            costs.append((a, d[a, p] - d[a, n] + 0.5))
    assert len(costs) > 10
    got = task.loss(outputs, {"target": target})
    assert got.mean().item() == pytest.approx(sum(cost for _, cost in costs) / len(costs), rel=1e-4)
    of_anchor = [sum(cost for a, cost in costs if a == anchor) * 12 / len(costs) for anchor in range(12)]
    assert np.allclose(got.tolist(), of_anchor, rtol=1e-4)


def test_exemplar_without_a_semi_hard_triplet_costs_nothing_and_keeps_a_gradient():
    task = find("task", "exemplar")()
    outputs = torch.tensor([[1.0, 0], [1, 0.01], [-1, 0], [-1, 0.01]], requires_grad=True)
    loss = task.loss(outputs, {"target": torch.tensor([0, 0, 1, 1])})
    assert loss.tolist() == [0, 0, 0, 0]
    loss.sum().backward()
    assert outputs.grad is not None


def test_exemplar_counts_the_nearer_of_two_crops():
    task = find("task", "exemplar")()
    outputs = torch.randn(3 * 8, 4, generator=generator(0, 0, "e"))
    d = distances(outputs.double().numpy())
    expected = []
    for image, crop in itertools.product(range(3), range(8)):
        following = (crop + 1) % 8
        expected.append(
            float(d[image * 8 + crop, image * 8 + following] < d[image * 8 + crop, (image + 1) % 3 * 8 + following])
        )
    assert task.correct(outputs, {}).tolist() == expected
    assert task.correct(torch.ones(16, 4), {}).tolist() == [0.5] * 16


def test_exemplar_crops_show_shares_of_the_image():
    task = find("task", "exemplar")()
    ramp = torch.linspace(0, 1, 64).expand(200, 3, 64, 64)
    index = torch.arange(200)
    views, question = task.pose(ramp.repeat_interleave(8, dim=0), Draws(0, 0, index, torch.zeros_like(index)).repeat(8))
    width = (views[:, 0, 32].amax(dim=1) - views[:, 0, 32].amin(dim=1)).numpy()
    assert 0.1 < width.min() < 0.35  # √(0.05 · 3/4) = 0.19 at the least
    assert width.max() > 0.9
    right = (views[:, 0, 32, -1] > views[:, 0, 32, 0]).float().mean().item()
    assert abs(right - 0.5) < 0.06  # flipped half the time
    assert question["target"].tolist() == index.repeat_interleave(8).tolist()


# --- colourisation ---------------------------------------------------------------------------------------------------


def test_colorization_asks_for_the_colours_of_the_raw_image_and_shows_lightness():
    task = find("task", "colorization")()
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1).expand(2, 3, 32, 32)
    index = torch.arange(2)
    views, question = task.pose(red, Draws(0, 0, index, torch.zeros_like(index)))
    assert question["target"].shape == (2, 2, 8, 8)
    # sRGB red in CIE Lab under D65: L 53.24, a 80.09, b 67.20.
    assert question["target"][0, :, 3, 3].tolist() == pytest.approx([80.09 / 110, 67.20 / 110], abs=2e-3)
    assert torch.allclose(task.present(views, question), torch.full((2, 3, 32, 32), 53.24 / 50 - 1), atol=1e-3)
    assert torch.equal(views, red)


def test_colorization_by_regression_is_the_mean_squared_error():
    task = find("task", "colorization")()
    _, question = asked(task, 3)
    outputs = torch.randn(3, 2, 8, 8, generator=generator(0, 0, "o"))
    target = question["target"].numpy()
    expected = [((outputs.numpy()[v] - target[v]) ** 2).sum() / (2 * 8 * 8) for v in range(3)]
    assert np.allclose(task.loss(outputs, question), expected, atol=1e-5)
    other = [((outputs.numpy()[v] - target[(v + 1) % 3]) ** 2).sum() / (2 * 8 * 8) for v in range(3)]
    assert task.correct(outputs, question).tolist() == [float(a < b) for a, b in zip(expected, other, strict=True)]


def test_colorization_by_bins_is_the_rebalanced_cross_entropy():
    task = find("task", "colorization")(target="bins")
    assert task.classes == 261
    _, question = asked(task, 3)
    target = question["target"]
    assert len(target) == 3 * 8 * 8
    logits = torch.randn(len(target), 261, generator=generator(0, 0, "o"))
    share = np.bincount(target.numpy(), minlength=261) / len(target)
    weight = 1 / (0.5 * share + 0.5 / 261)
    weight = weight / (share * weight).sum()
    expected = np.array(cross_entropy(logits, target)) * weight[target.numpy()]
    assert np.allclose(task.loss(logits, question), expected, rtol=1e-4)
    # A cell's bin is the nearest centre: within half a bin of it in a and in b, where the gamut goes on.
    grey = torch.full((1, 3, 32, 32), 0.5)
    index = torch.arange(1)
    _, question = task.pose(grey, Draws(0, 0, index, torch.zeros_like(index)))
    from lens.tasks.colorization import _bins

    assert _bins()[question["target"][0]].abs().max() < 1e-6


# --- inpainting ------------------------------------------------------------------------------------------------------


def test_inpainting_hides_a_square_and_asks_what_was_there():
    task = find("task", "inpainting")(cells=4)
    views, question = asked(task, 5)
    shown = task.present(views, question)
    places = set()
    for view in range(5):
        rows, columns = question["mask"][view, 0].nonzero().T
        top, left = int(rows.min()), int(columns.min())
        places.add((top, left))
        assert len(rows) == 16 * 16 == (int(rows.max()) - top + 1) * (int(columns.max()) - left + 1)
        assert shown[view, :, top : top + 16, left : left + 16].abs().max() == 0
        for i, j in itertools.product(range(4), repeat=2):
            block = images(5)[view, :, top + 4 * i : top + 4 * i + 4, left + 4 * j : left + 4 * j + 4]
            assert torch.allclose(question["target"][view, :, i, j], block.mean(dim=(1, 2)) * 2 - 1, atol=1e-5)
        outside = question["mask"][view, 0] == 0
        assert torch.equal(shown[view][:, outside], (views[view] * 2 - 1)[:, outside])
    assert len(places) > 2
    outputs = torch.randn(5, 3, 4, 4, generator=generator(0, 0, "o"))
    expected = ((outputs - question["target"]).numpy() ** 2).reshape(5, -1).mean(axis=1)
    assert np.allclose(task.loss(outputs, question), expected, atol=1e-6)
    other = []
    for view in range(5):  # the same place of the next image
        top, left = question["corner"][view].tolist()
        there = images(5)[(view + 1) % 5, :, top : top + 16, left : left + 16] * 2 - 1
        blocks = there.reshape(3, 4, 4, 4, 4).mean(dim=(2, 4))
        other.append(((outputs[view] - blocks) ** 2).mean().item())
    assert task.correct(outputs, question).tolist() == (expected < np.array(other)).astype(float).tolist()


# --- labels, and what a task may be asked ----------------------------------------------------------------------------


def test_labels_of_several_sources_are_pooled_by_name():
    settings = parse(["--task", "labels"], "lens.train").settings
    found = Data([["cat", "dog"], ["bird", "cat"]], [0, 0, 1, 1], [0, 1, 0, 1])
    task, answers = posed_about(find("task", "labels")(), "labels", settings.views, found)
    assert task.classes == 3
    assert answers.tolist() == [1, 2, 0, 1]  # bird, cat, dog
    logits = torch.randn(4, 3, generator=generator(0, 0, "o"))
    assert np.allclose(task.loss(logits, {"target": answers}), cross_entropy(logits, answers), atol=1e-5)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Data([["cat", "dog"]], [0, 0], [0, -1]), "needs labels and 1 of 2 images have none"),
        (Data([["cat"]], [0, 0], [0, 0]), "needs two classes and the data has 1"),
    ],
)
def test_labels_refuse_data_without_them(data, words):
    settings = parse(["--task", "labels"], "lens.train").settings
    with pytest.raises(BadInput, match=words):
        posed_about(find("task", "labels")(), "labels", settings.views, data)


def test_the_answer_of_dataset_classification_is_the_source():
    settings = parse(["--task", "dataset_classification", "--data", "./a", "./b"], "lens.train").settings
    found = Data([[], []], [0, 1, 1], [-1, -1, -1])
    found.keys = ["./a", "./b"]
    task, answers = posed_about(
        find("task", "dataset_classification")(), "dataset_classification", settings.views, found
    )
    assert task.classes == 2
    assert answers.tolist() == [0, 1, 1]
    logits = torch.randn(3, 2, generator=generator(0, 0, "o"))
    assert np.allclose(task.loss(logits, {"target": answers}), cross_entropy(logits, answers), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "adversary"),
    [
        (["--task", "dataset_classification", "--data", "./a", "./b"], "uniform"),
        (["--task", "dataset_classification", "--data", "./a", "./b", "./c"], "least_likely"),
        (["--task", "dataset_classification", "--data", "./a", "./b", "--objective", "full"], "full"),
        (["--task", "labels", "--data", "./a", "./b"], "least_likely"),
    ],
)
def test_of_two_sources_the_lens_aims_at_neither(words, adversary):
    parsed = parse(words, "lens.train")
    assert parsed.settings.game.objective == adversary
    assert parsed.plain["objective"] == adversary  # as the run records it


@pytest.mark.parametrize("name", ["exemplar", "colorization", "inpainting"])
@pytest.mark.parametrize("adversary", ["least_likely", "uniform"])
def test_a_task_without_classes_takes_the_full_loss_alone(name, adversary):
    with pytest.raises(
        BadInput, match=r"an embedding or a regression has no least likely answer.* use --objective full"
    ):
        parse(["--task", name, "--objective", adversary], "lens.train")
    assert parse(["--task", name, "--objective", "full"], "lens.train").settings.game.objective == "full"
    assert parse(["--task", name], "lens.train").plain["objective"] == "full"
    assert parse(["--task", "rotation"], "lens.train").settings.game.objective == "least_likely"
