"""The planted cue itself: it is asked of one source, of any task and key, and chance is read where it is gone."""

import json
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from tiny import TINY
from torch import nn

from lens import prove, train
from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.figures import removal_table
from lens.images.training_set import training_images
from lens.measuring import judges
from lens.measuring.forensic import Forensic
from lens.measuring.judge import JudgeResult
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.protocols.lookup import find
from lens.proving import best_possible, cue, parameters, proof
from lens.proving import verdict as verdicts
from lens.record import schemas
from lens.results.removal import Cue, PlantedCue, Removal
from lens.settings.parsing import parse

SIDE = 16
WORDS = [
    *TINY, "--image_size", "16", "--cache_image_size", "16", "--augment", "none", "--extractor", "all_conv",
    "--extractor_args", "{width: 8}", "--judge_fraction", "0.6", "--prove", "--judges", "all_conv:{width: 8}", "--judge_seeds", "1",
    "--judge_cues", "false",
]  # fmt: skip
CAST = ["--shortcut", "colour_cast", "--shortcut.strength", "0.2"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two folders of grey noise, of one law, in two classes that nothing tells apart."""
    place = tmp_path_factory.mktemp("cue")
    rng = np.random.default_rng(0)
    for folder in ("one", "two"):
        for label in ("a", "b"):
            (place / folder / label).mkdir(parents=True)
            for i in range(250):
                pixels = rng.integers(100, 156, (SIDE, SIDE, 3), np.uint8)
                PIL.Image.fromarray(pixels).save(place / folder / label / f"{i:03d}.png")
    return place


def players_of(data, *words):
    parsed = parse([*WORDS, "--data", *data, *words], "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


def nearest(judge, pictures, seed, what):
    """A judge in no time: which class's mean is nearest, in each channel's mean, how far it lies from the others, and last bits?"""

    def rows(split):
        images = pictures[split].images
        means = images.mean(axis=(1, 2))
        apart = np.abs(means - means.mean(axis=1, keepdims=True))
        return np.concatenate([means, apart, 100 * (images % 2).mean(axis=(1, 2))], axis=1)

    answer = pictures["train"].answer.reshape(-1)
    kinds, train = np.unique(answer), rows("train")
    centres = np.stack([train[answer == k].mean(axis=0) for k in kinds])
    told = {s: kinds[np.square(rows(s)[:, None] - centres).sum(axis=2).argmin(axis=1)] for s in ("val", "test")}
    return JudgeResult(told["test"], float((told["val"] == pictures["val"].answer).mean()), 0.5, 1, True)


@pytest.fixture
def players(pictures, monkeypatch):
    """A run about rotation, of one source, every image with the same cast."""
    monkeypatch.setattr(judges.Network, "read", nearest)
    monkeypatch.setattr(Forensic, "read", nearest)
    monkeypatch.setattr(verdicts, "CLOSE", 0.5)  # 200 test images: their intervals are wide, and lie by luck
    return players_of([str(pictures / "one")], "--task", "rotation", *CAST)


class Grey(nn.Module):
    """Takes each channel's mean away: no cast is left."""

    def forward(self, images):
        return images - images.mean(dim=(2, 3), keepdim=True) + 0.5


class LastBit(Grey):
    """The same, but writes into the last bit of every pixel whether red was raised or lowered."""

    def forward(self, images):
        means = images.mean(dim=(2, 3), keepdim=True)
        marked = (means - means.mean(dim=1, keepdim=True)).abs().amax(dim=1, keepdim=True) > 0.05
        levels = (super().forward(images) * 255).round()
        return (levels - levels % 2 + marked) / 255


def asked(players):
    (found,) = cue.of_run(players, proof.judging_of(players)).to_json()["planted"].values()
    return found


def test_a_lens_that_changes_nothing_leaves_the_cue_readable_in_a_run_of_one_source(players):
    players.lens = nn.Identity()
    found = asked(players)
    presence, theta = found["presence"], found["theta"]
    assert (found["classes"], found["native"], theta["classes"]) == (6, True, 6)
    assert (presence["asked"], theta["asked"]) == ("the cue's presence", "which cue it is")
    assert presence["raw"]["balanced_accuracy"] > 0.95
    assert theta["raw"]["balanced_accuracy"] > 0.9
    assert min(part["lensed"]["forensic"] for part in (presence, theta)) > 0.9
    assert [part["verdict"] for part in (presence, theta)] == ["unchanged"] * 2
    assert (presence["chance"], theta["chance"]) == (0.5, pytest.approx(1 / 6))
    assert presence["raw"]["by_class"] == presence["lensed"]["by_class"]
    assert len(found["by_theta"]["lensed"]) == 6
    assert min(found["by_theta"]["lensed"]) > 0.8


class Blank(nn.Module):
    """Leaves nothing of any image."""

    def forward(self, images):
        return torch.zeros_like(images)


@pytest.mark.parametrize(("lens", "apart"), [(nn.Identity(), 1), (Blank(), 0)])
def test_what_a_run_of_any_task_leaves_of_the_cues_presence_is_bounded(players, lens, apart):
    """Of pairs with and without it that come out the same nobody reads more than chance. The run has one source."""
    players.lens = lens
    found = cue.of_run(players, proof.judging_of(players)).planted["colour_cast"]
    assert found.bound.differ == [pytest.approx(apart, abs=0.03)]
    assert found.bound.proved == pytest.approx((1 + found.bound.upper[0]) / 2)
    assert (found.bound.proved < 0.52) == (apart == 0)
    assert found.presence.lensed.balanced_accuracy.value <= found.bound.proved


def test_a_lens_that_takes_the_cue_away_leaves_chance(players):
    players.lens = Grey()
    found = asked(players)
    for name, chance in (("presence", 0.5), ("theta", 1 / 6)):
        part = found[name]
        assert part["raw"]["balanced_accuracy"] > 0.9, name
        assert abs(part["lensed"]["balanced_accuracy"] - chance) < 0.15, name
        assert abs(part["lensed"]["forensic"] - chance) < 0.15, name
        assert part["verdict"] in ("removed", "reduced"), name
    assert found["change"]["without"] < found["change"]["with"]
    rows = {
        row[0]: row
        for row in removal_table.table(Removal.of_json(costs() | {"cue": {"planted": {"colour_cast": found}}}))
    }
    assert rows["the cue's presence"][3].startswith(f"{found['presence']['verdict']}; balanced, chance 50.0 %")
    assert rows["which of 6 cues"][2].startswith(f"{100 * found['theta']['lensed']['balanced_accuracy']:.1f} % (")


@pytest.mark.parametrize("real", [False, True])
def test_a_lens_that_hides_the_cue_in_the_last_bit_is_found_out(pictures, players, monkeypatch, real):
    if real:  # judges as they are: a network, and trees
        monkeypatch.undo()
        recipe = judges.Recipe(steps=40, least=40, every=20, patience=2, batch=16)
        monkeypatch.setattr(judges, "Recipe", lambda steps: recipe)
        monkeypatch.setattr(parameters, "of", lambda shortcut: parameters.Parameters((), native=True))
    players.lens = LastBit()
    part = asked(players)["presence"]
    assert max(part["lensed"]["balanced_accuracy"], part["lensed"]["forensic"]) > 0.9
    assert part["verdict"] in ("not removed", "not halved")


def costs():
    """What removal.json holds where nobody was asked for the source, and nothing was measured."""
    return {"source": {"none": "there is one"}, "sources": ["./one"], "downstream": None, "frozen": None, "probes": {}, "psnr": 25.0,
            "psnr_planted": None, "ssim": 0.9}  # fmt: skip


@pytest.mark.parametrize("key", ["constant", "source", "label", "image", "random"])
def test_the_answer_is_the_cues_and_not_the_pictures_whatever_the_key(pictures, key):
    """Half have a cue, all values of it alike; the pictures of both halves are of one law, and those of one class are too."""
    folders = [str(pictures / name) for name in ("one", "two")]
    made = players_of(folders, "--task", "labels", *CAST, "--shortcut_key", key)
    made.lens = nn.Identity()
    planted = cue.planted_by(made)
    assert planted["colour_cast"][1].classes == (2 if key == "label" else 6)
    test = cue._sets(made, planted, "colour_cast")["test"]
    index = made.of_each_source("test", None)
    source, (label, _) = made.images.source[index], cue.classes.pooled(made.images)
    assert test.carries.sum() == (len(index) + 1) // 2
    for known in (source, label[index]):  # neither tells whether there is a cue, nor which
        assert abs(test.carries[known == 0].mean() - 0.5) < 0.15
        assert abs(test.kind[known == 0].mean() - test.kind[known == 1].mean()) < 0.8
    clean = made.images.fetch(index).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(test.half_raw[~test.carries], clean[~test.carries])
    assert np.array_equal(test.half_raw[test.carries], test.raw[test.carries])
    assert (test.raw != clean).any(axis=(1, 2, 3)).all()
    # A cast's own class, read off the pixels: which channel rose and which fell.
    moved = (test.raw.astype(int) - clean).mean(axis=(1, 2))
    hues = [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)]
    read = np.array([hues.index((int(row.argmax()), int(row.argmin()))) for row in moved])
    assert np.array_equal(read, test.kind if key != "label" else test.kind * 3)  # θ = 0 and 1/2


def test_pairs_of_a_cue_share_the_lenss_noise(pictures):
    made = players_of(
        [str(pictures / "one")], "--task", "rotation", *CAST, "--lens", "full_res", "--lens_noise", "0.05", "--judge_images", "12"
    )  # fmt: skip
    test = cue._sets(made, cue.planted_by(made), "colour_cast")["test"]
    assert np.array_equal(test.lensed[test.carries], test.half_lensed[test.carries])
    assert (test.lensed != test.raw).any()


@pytest.mark.parametrize(
    ("name", "own", "edges", "native"),
    [
        ("arrow", {}, [1 / 4, 2 / 4, 3 / 4], True),
        ("watermark", {}, [1 / 4, 2 / 4, 3 / 4], True),
        ("colour_cast", {}, [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6], True),
        ("light_gradient", {"directions": 1}, [], True),
        ("chromatic", {"directions": 8}, [k / 8 for k in range(1, 8)], True),
        ("chromatic", {"directions": 16}, [k / 16 for k in range(1, 16)], True),
        ("chromatic", {"radial": True}, [k / 8 for k in range(1, 8)], False),
        ("jpeg", {}, [k / 8 for k in range(1, 8)], False),
        ("jpeg", {"highest": 42}, [1 / 4, 3 / 4], True),
        ("patch_noise", {}, [k / 8 for k in range(1, 8)], False),
    ],
)
def test_theta_has_the_classes_that_change_a_picture_or_eight_bins(name, own, edges, native):
    found = parameters.of(find("shortcut", name)(**own))
    assert found.edges == pytest.approx(edges)
    assert (found.classes, found.native) == (len(edges) + 1, native)


def test_a_theta_on_an_edge_is_of_the_class_that_begins_there():
    draws = SimpleNamespace(uniform=lambda name: torch.tensor([0.0, 0.25, 0.5, 0.75]))
    assert parameters.of(find("shortcut", "arrow")()).drawn(draws)[1].tolist() == [0, 1, 2, 3]


def test_values_of_theta_within_a_class_plant_the_same():
    made = find("shortcut", "colour_cast")()
    draws = parameters.Draws(0, -1, torch.arange(500), torch.zeros(500, dtype=torch.int64))
    theta, kind = parameters.of(made).drawn(draws)
    planted = made.plant(torch.full((500, 3, 4, 4), 0.5), theta, draws)
    for k in range(6):
        assert (planted[kind == k] == planted[kind == k][:1]).all()
    assert torch.equal(kind.unique(), torch.arange(6))
    assert len({tuple(planted[kind == k][0].flatten().tolist()) for k in range(6)}) == 6


def test_a_cue_that_theta_does_not_change_is_asked_for_its_presence_alone(pictures, monkeypatch):
    monkeypatch.setattr(judges.Network, "read", nearest)
    monkeypatch.setattr(Forensic, "read", nearest)
    words = ["--task", "rotation", "--shortcut", "light_gradient", "--shortcut.directions", "1", "--judge_images", "40"]
    made = players_of([str(pictures / "one")], *words)
    made.lens = nn.Identity()
    found = asked(made)
    assert "presence" in found
    assert found["theta"] == {"none": "every θ plants the same"}


TWO = ["--shortcut", "arrow+colour_cast", "--shortcut.colour_cast.strength", "0.2", "--shortcut.arrow.strength", "0.5"]


def test_several_cues_are_planted_one_after_the_other():
    two = find("shortcut", "arrow+colour_cast")(arrow__of__strength=0.5, colour_cast__of__strength=0.2)
    images, theta = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(4) / 4
    draws = parameters.Draws(0, -1, torch.arange(4), torch.zeros(4, dtype=torch.int64))
    first = find("shortcut", "arrow")(strength=0.5).plant(images, theta, draws)
    both = find("shortcut", "colour_cast")(strength=0.2).plant(first, theta, draws)
    assert torch.equal(two.plant(images, theta, draws), both)
    assert not torch.equal(both, first)


def test_of_several_cues_each_is_there_or_not_whatever_the_others_do(pictures):
    made = players_of([str(pictures / "one")], "--task", "rotation", *TWO)
    planted = cue.planted_by(made)
    assert list(planted) == ["arrow", "colour_cast"]
    (batch,) = made.batches(made.of_each_source("test", None), 400)
    draws, clean = batch.draws(0), cue.centre(batch.images, SIDE)
    tinted, bare, _ = cue.with_and_without(planted, "colour_cast", clean, draws)
    again, others, _ = cue.with_and_without(planted, "arrow", clean, draws)

    def drawn_on(images):
        return ((images - clean).mean(dim=1) < -0.15).flatten(1).any(dim=1)

    def cast_of(images):  # far from the arrow: of each channel's mean in a corner, what is not common to all
        corner = (images - clean)[:, :, :4, :4].mean(dim=(2, 3))
        return (corner - corner.mean(dim=1, keepdim=True)).abs().amax(dim=1) > 0.1

    assert torch.equal(drawn_on(tinted), drawn_on(bare))  # the other cue tells nothing of this one
    assert cast_of(tinted).all()
    assert not cast_of(bare).any()
    assert drawn_on(again).all()
    assert not drawn_on(others).any()
    assert torch.equal(cast_of(again), cast_of(others))
    for there in (drawn_on(bare), cast_of(others)):
        assert 0.35 < there.float().mean() < 0.65
    assert abs(torch.corrcoef(torch.stack([drawn_on(bare).float(), cast_of(others).float()]))[0, 1]) < 0.25
    hues = (tinted - bare)[:, :, :4, :4].mean(dim=(2, 3))[cast_of(others)]
    elsewhere = (others - clean)[:, :, :4, :4].mean(dim=(2, 3))[cast_of(others)]
    assert (hues - elsewhere).abs().amax(dim=1).gt(0.1).float().mean() > 0.5  # its θ is another one there


def test_a_lens_that_takes_one_cue_of_two_is_told_so(pictures, monkeypatch):
    def told(judge, pictures, seed, what):
        def rows(split):
            means = pictures[split].images.mean(axis=(1, 2))
            apart = np.abs(means - means.mean(axis=1, keepdims=True)) / 50
            dark = pictures[split].images.mean(axis=3).reshape(len(means), -1).min(axis=1, keepdims=True) < 85
            return np.concatenate([apart, dark], axis=1)

        truth, train = pictures["train"].answer, rows("train")
        centres = np.stack([train[truth == k].mean(axis=0) for k in np.unique(truth)])
        read = {s: np.square(rows(s)[:, None] - centres).sum(axis=2).argmin(axis=1) for s in ("val", "test")}
        return JudgeResult(read["test"], float((read["val"] == pictures["val"].answer).mean()), 0.5, 1, True)

    monkeypatch.setattr(judges.Network, "read", told)
    monkeypatch.setattr(Forensic, "read", told)
    monkeypatch.setattr(verdicts, "CLOSE", 0.5)
    made = players_of([str(pictures / "one")], "--task", "rotation", *TWO)

    class Untint(nn.Module):
        """Gives every channel the same mean: the cast goes, the arrow stays."""

        def forward(self, images):
            means = images.mean(dim=(2, 3), keepdim=True)
            return images - means + means.mean(dim=1, keepdim=True)

    made.lens = Untint()
    found = proof.removal(made, [])
    verdict = {name: one.presence.verdict for name, one in found.cue.planted.items()}
    assert verdict["colour_cast"] in ("removed", "reduced")
    assert verdict["arrow"] == "not removed"
    assert found.best_possible.none == "not known: several cues are planted"
    rows = {row[0]: row[3] for row in removal_table.table(found)}
    assert rows["the cue's presence, arrow"].startswith("not removed")
    assert rows["which of 6 cues, colour_cast"].split(";")[0] in ("removed", "reduced")


def test_the_best_possible_change_is_that_of_the_papers_formula():
    """W2²/4 of a cast of ±0.08 on two channels of three: 29.7 dB. Of a ramp from −s to s: a third of s², over four."""
    zero = torch.zeros(3, 32, 32)
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    cast = best_possible.offset(find("shortcut", "colour_cast")(), 0.0, 32)
    assert best_possible.least(torch.stack([zero, cast]), half) == pytest.approx(2 * 0.08**2 / 3 / 4)
    ramp = best_possible.offset(find("shortcut", "light_gradient")(), 0.0, 32)
    assert best_possible.least(torch.stack([zero, ramp]), half) == pytest.approx(0.15**2 / 3 / 4, rel=0.01)
    for name in ("arrow", "watermark", "jpeg", "chromatic", "one_pixel", "patch_noise"):
        assert best_possible.offset(find("shortcut", name)(), 0.0, 32) is None, name
    # One side alone may be changed, but no way of sharing the change is cheaper than half-way.
    shares = [(t * cast).square().mean() / 2 + ((1 - t) * cast).square().mean() / 2 for t in torch.linspace(0, 1, 101)]
    assert min(shares).item() == pytest.approx(best_possible.least(torch.stack([zero, cast]), half))


def test_the_best_possible_line_stands_beside_the_mean_of_the_sides_and_a_half_way_lens_reaches_it(pictures):
    made = players_of([str(pictures / "one")], "--task", "dataset_classification", "--pseudo_sources", "2", *CAST, "--shortcut_key", "source")  # fmt: skip

    class Halfway(nn.Module):
        """Gives both sources half of the cast."""

        def forward(self, images):
            means = images.mean(dim=(2, 3), keepdim=True)
            raised = (means[:, :1] - means[:, 1:2] > 0.2).to(images)
            half = torch.tensor([0.1, -0.1, 0.0])[None, :, None, None]
            return images + half - 2 * half * raised

    made.lens = Halfway()
    test = proof.lens_splits(made).splits["test"]
    found = best_possible.of_run(made, None, test)
    assert found.sides == "the sources"
    assert found.psnr == pytest.approx(-10 * np.log10(2 * 0.2**2 / 3 / 4))
    assert found.found == pytest.approx(found.psnr, abs=0.05)
    proved = Removal.of_json(costs() | {"best_possible": found.to_json()})
    row = next(row for row in removal_table.table(proved) if "mean of" in row[0])
    assert row[2] == f"{found.found:.2f} dB"
    assert f"{found.psnr:.2f} dB at most" in row[3]


def changed(without, with_it):
    """What was asked of a cue, of which only the changes are known."""
    one = PlantedCue(classes=2, native=True, by_theta={}, change={"without": without, "with": with_it})
    return Cue(planted={"colour_cast": one})


def test_of_a_cue_that_classes_set_the_line_is_that_of_their_values(pictures):
    """Two classes, θ = 0 and 1/2: red up, green down and the other way round. Half are clean, and their middle is where it was."""
    made = players_of([str(pictures / "one")], "--task", "labels", *CAST, "--shortcut_key", "label")
    found = best_possible.of_run(made, changed(0.01, 0.03), None)
    assert found.psnr == pytest.approx(-10 * np.log10(2 * 0.2**2 / 3 / 2))  # all of the planted half has to come back
    assert found.found == pytest.approx(-10 * np.log10(0.02))
    made = players_of([str(pictures / "one")], "--task", "labels", "--shortcut", "watermark")
    assert "not known" in best_possible.of_run(made, changed(0, 0), None).none


@pytest.mark.usefixtures("players")
def test_a_run_of_one_source_is_proved_and_read_back(pictures, tmp_path, capsys):
    """Rotation, one folder: the cue and the run's own question, no source; the table, the picture and the file hold both."""
    out = tmp_path / "run"
    words = [
        *WORDS,
        "--task",
        "rotation",
        "--data",
        str(pictures / "one"),
        *CAST,
        "--judge_steps",
        "2",
        "--judge_images",
        "24",
    ]
    assert train.main([*words, "--out", str(out)]) == 0
    found = json.loads((out / "removal.json").read_text())
    assert "one source" in found["source"]["none"]
    assert not {"raw", "verdict", "bound"} & found.keys()
    assert found["cue"]["planted"]["colour_cast"]["theta"]["classes"] == 6
    assert found["question"]["asked"] == "rotation"
    assert found["best_possible"]["sides"] == "images without the cue and with each of its values"
    assert (out / "figures" / "removal.png").stat().st_size > 10_000
    assert schemas.summary((out / "summary.json").read_bytes()).removal.to_json() == found
    told = " ".join(capsys.readouterr().out.split())
    for words in (
        "the cue's presence",
        "which of 6 cues",
        "the run's own question, rotation",
        "not asked: there is one source",
    ):
        assert words[:12] in told
    assert prove.main([str(out), "--judge_images", "12"]) == 0
    assert (
        json.loads((out / "removal.json").read_text())["cue"]["planted"]["colour_cast"]["presence"]["images"]["test"]
        == 12
    )


def test_where_nothing_can_be_asked_it_says_so_of_each_part(pictures):
    words = ["--task", "exemplar"]
    with pytest.raises(BadInput, match=r"nothing to ask of this run; of the source: there is one source.*planted cue: no --shortcut.*exemplar has no classes"):  # fmt: skip
        proof.check(players_of([str(pictures / "one")], *words))
    proof.check(players_of([str(pictures / "one")], *words, *CAST))  # the cue can be asked for
