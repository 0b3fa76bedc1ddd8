"""The blockwise DCT against scipy's, at any grid offset."""

import numpy as np
import pytest
import scipy.fft
import torch

from lens.base.draws import generator
from lens.operations import dct


@pytest.mark.parametrize(("size", "top", "left"), [(8, 0, 0), (8, 3, 5), (4, 1, 0)])
def test_the_blockwise_dct_is_scipys_of_each_whole_block(size, top, left):
    images = torch.rand(2, 3, 21, 30, generator=generator(0, 0, "dct"), dtype=torch.float64)
    found = dct.blockwise(images, size, top, left)
    high, wide = (21 - top) // size, (30 - left) // size
    assert found.shape == (2, 3, high, wide, size, size)
    for row in range(high):
        for column in range(wide):
            block = images[:, :, top + row * size :][:, :, :size, left + column * size :][..., :size].numpy()
            expected = scipy.fft.dctn(block, axes=(2, 3), norm="ortho")
            np.testing.assert_allclose(found[:, :, row, column].numpy(), expected, atol=1e-12)


def test_an_image_without_a_whole_block_is_refused():
    with pytest.raises(ValueError, match="no block of 8×8"):
        dct.blockwise(torch.zeros(1, 1, 8, 8), 8, top=1)
