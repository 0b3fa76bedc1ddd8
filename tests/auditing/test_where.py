"""Where a network looks: a network that looks at one cell has one there; one that noise moves is found out."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from lens.auditing import where
from lens.auditing.networks import view_of
from lens.auditing.reading import every_cue


@dataclasses.dataclass
class Data:
    """What of `Seen` is asked here: 40 grey images of two sources, a white square in those of source 1."""

    size: int = 48

    def __post_init__(self):
        chance = np.random.default_rng(0)
        self.source = np.arange(40) % 2
        self.squares = chance.integers(90, 110, (40, self.size, self.size, 3)).astype(np.uint8)
        self.squares[self.source == 1, 8:16, 24:32] = 255
        self.images = self
        self.keys = ["a", "b"]
        self.arrays = [self.squares]
        self.cues = every_cue()

    def __len__(self):
        return 40

    def rows(self, split):
        return np.arange(40)

    def fetch(self, index):
        return self.squares[index]


class OneCell(nn.Module):
    """Its score is the mean of the cell in row 1, column 3 of six."""

    def forward(self, images):
        score = 4 * images[:, :, 8:16, 24:32].mean(dim=(1, 2, 3))
        return torch.stack([-score, score], dim=1)


class Trembling(nn.Module):
    """Its score is a wild function of all pixels."""

    def forward(self, images):
        weights = torch.randn(images[0].numel(), generator=torch.Generator().manual_seed(0))
        score = torch.sin(1e3 * images.flatten(1) @ weights)
        return torch.stack([-score, score], dim=1)


def test_the_map_is_where_the_network_looks_and_noise_leaves_it_there():
    found = where.where(OneCell(), Data(), torch.device("cpu"), 0)
    maps = np.array(found.maps)
    assert maps.shape == (2, 6, 6)
    assert np.unravel_index(maps[1].argmax(), (6, 6)) == (1, 3)
    assert maps[1, 1, 3] > 1
    assert np.abs(np.delete(maps[1].ravel(), 9)).max() < 1e-3
    assert found.images == 40
    assert found.noise == pytest.approx(2 / 255)


def test_a_map_that_noise_moves_is_found_out():
    steady = where.where(nn.Sequential(nn.Flatten(), Linear()), Data(), torch.device("cpu"), 0)
    assert steady.fragility > 0.9
    assert abs(where.where(Trembling(), Data(), torch.device("cpu"), 0).fragility) < 0.6


class Linear(nn.Module):
    """Its score is a weighted mean of all pixels, smooth over the image."""

    def forward(self, flat):
        score = flat @ torch.linspace(-1, 1, flat.shape[1]) / 100
        return torch.stack([-score, score], dim=1)


def test_a_network_is_shown_what_a_cue_leaves_in_three_channels_at_one_size():
    data = Data()
    grey = view_of(data, "grey", 0)
    assert grey.shape == data.squares.shape
    assert (grey[..., 0] == grey[..., 1]).all()
    np.testing.assert_array_equal(view_of(data, "whole_image", 0), data.squares)
    small = view_of(data, "thumbnail", 0)
    assert small.shape == data.squares.shape
    assert (small[:, :4, :4] == small[:, :1, :1]).all()  # 12×12, each pixel four times each way
