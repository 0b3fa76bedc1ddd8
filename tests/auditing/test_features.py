"""The features of a frozen network as a cue, and what clusters of them say of content."""

import numpy as np
import pytest
import timm
import torch
from cue_pictures import photo, picture
from tiny import draws

from lens.auditing import features
from lens.base.errors import BadInput


@pytest.fixture
def network(monkeypatch):
    """A network of timm's with random weights, in the place of published ones."""
    make = timm.create_model

    def made(name, pretrained, **arguments):
        assert pretrained
        torch.manual_seed(0)
        return make(name, **arguments)

    monkeypatch.setattr(timm, "create_model", made)
    return features.cue_of("test_resnet", torch.device("cpu"))


def test_features_are_those_of_the_middle_square_as_the_network_wants_it(network):
    found = network.describe([picture(photo(0, (96, 130))), picture(photo(1, (50, 40)))], draws(2))["feature"]
    native = photo(0, (96, 130))[:, 17:113]
    size, mean, deviation = (
        160,
        *(np.array(timm.create_model("test_resnet", True).pretrained_cfg[key]) for key in ("mean", "std")),
    )
    import PIL.Image

    resized = np.asarray(PIL.Image.fromarray(native).resize((size, size), PIL.Image.Resampling.BICUBIC))
    inputs = torch.from_numpy(((resized / 255 - mean) / deviation).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = network.model(inputs).numpy()
    np.testing.assert_allclose(found[:1], expected, rtol=1e-3, atol=1e-4)
    alone = network.describe([picture(photo(1, (50, 40)))], draws(1))["feature"]
    np.testing.assert_allclose(found[1:], alone, rtol=1e-3, atol=1e-4)


def test_clusters_tell_of_another_mix_and_not_of_random_parts():
    chance = np.random.default_rng(0)
    centre = 20 * chance.normal(size=(10, 5))
    kind = np.concatenate([np.arange(300) % 5, np.arange(300) % 10])  # the first source shows half of the kinds only
    rows = centre[kind] + chance.normal(size=(600, 5))
    source = np.repeat([0, 1], 300)
    words = features.mix(rows, source, chance.permutation(source), "NAME", 0)
    assert words.startswith("10 clusters of NAME's features: 50 % of one source")
    assert int(words.split("random parts ")[1].split(" ")[0]) < 15


def test_unknown_networks_and_weights_that_cannot_be_had_are_refused(monkeypatch):
    with pytest.raises(BadInput, match="unknown --features 'resnt18'"):
        features.cue_of("resnt18", torch.device("cpu"))

    def gone(*arguments, **settings):
        raise OSError("the hub cannot be reached")

    monkeypatch.setattr(timm, "create_model", gone)
    with pytest.raises(BadInput, match=r"--features resnet18: no weights could be had .the hub cannot be reached"):
        features.cue_of("resnet18", torch.device("cpu"))
