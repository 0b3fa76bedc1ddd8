"""A lens that begins with another run's weights: judges are shown no image that those have met."""

import shutil

import numpy as np
import PIL.Image
import pytest
import yaml
from safetensors.torch import save_file
from tiny import TINY

from lens.base.errors import BadInput
from lens.base.ranks import Ranks
from lens.images.training_set import training_images
from lens.players.build import build
from lens.players.fabric import make_fabric
from lens.proving import begun_with, cue, proof
from lens.record import image_record
from lens.settings.parsing import parse

WORDS = [*TINY, "--image_size", "24", "--cache_image_size", "24", "--augment", "none", "--shortcut", "jpeg"]
SOURCES = [
    *("--task", "dataset_classification", "--pseudo_sources", "2", "--shortcut_key", "source"),
    *("--prove", "--judges", "all_conv:{width: 8}", "--judge_seeds", "1"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    place, rng = tmp_path_factory.mktemp("begun") / "pictures", np.random.default_rng(0)
    place.mkdir()
    for i in range(240):
        light = np.linspace(40, 200, 24)[:, None, None] * rng.uniform(0.5, 1, 3)
        shown = (light + rng.normal(0, 4, (24, 24, 3))).clip(0, 255).astype(np.uint8)
        PIL.Image.fromarray(shown).save(place / f"{i:03d}.png")
    return str(place)


def players_of(data, *words):
    parsed = parse([*WORDS, "--data", data, *words], "lens.train")
    fabric = make_fabric(parsed.settings.machine)
    return parsed, build(parsed, training_images(parsed.settings), fabric, Ranks(fabric))


def ran(place, data, *words):
    """What is needed of a run's directory; the file of its lens's weights."""
    parsed, players = players_of(data, *words)
    place.mkdir()
    (place / "settings.yaml").write_text(yaml.safe_dump(parsed.plain))
    image_record.write(place, players.images.splits())
    save_file({key: value.contiguous() for key, value in players.lens.state_dict().items()}, place / "lens.safetensors")
    return str(place / "lens.safetensors")


def test_weights_that_have_met_what_judges_are_shown_are_refused(pictures, tmp_path):
    """Also where a run in between has begun with them and has met none of these itself."""
    all_of_them = ran(tmp_path / "rotation", pictures, "--task", "rotation")
    with pytest.raises(
        BadInput, match=r"^--lens_weights come from .*/rotation, whose lens has met \d+ of the \d+ images"
    ):
        proof.check(players_of(pictures, *SOURCES, "--lens_weights", all_of_them)[1])
    between = ran(tmp_path / "between", pictures, *SOURCES, "--lens_weights", all_of_them)
    with pytest.raises(BadInput, match=r"come from .*/rotation, whose lens has met"):
        proof.check(players_of(pictures, *SOURCES, "--lens_weights", between)[1])


def test_weights_of_a_run_that_divided_the_images_alike_are_taken(pictures, tmp_path, capsys):
    alike = players_of(pictures, *SOURCES, "--lens_weights", ran(tmp_path / "alike", pictures, *SOURCES))[1]
    proof.check(alike)
    assert begun_with.why_unknown(alike) is None
    assert "not known" not in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["splits.jsonl.gz", "settings.yaml", "content"])
def test_nothing_is_bounded_where_it_is_not_known_what_the_weights_have_met(pictures, tmp_path, capsys, lost):
    file = ran(tmp_path / "first", pictures, *SOURCES, *(["--cache", "none"] if lost == "content" else []))
    if lost != "content":
        (tmp_path / "first" / lost).unlink()
    made = players_of(pictures, *SOURCES, "--lens_weights", file)[1]
    proof.check(made)
    assert "of which it is not known what images they have met" in capsys.readouterr().err
    assert "not known what images" in cue.bound_of(made, None).none
    shutil.rmtree(tmp_path / "first")
    assert "not known what images" in begun_with.why_unknown(made)
