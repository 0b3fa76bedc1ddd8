"""Canny's edges of a batch of images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def canny(grey: Tensor, low: float, high: float) -> Tensor:
    """Images (B, 1, H, W) in [0, 1] → 1 on edges, 0 elsewhere (Canny 1986; Gaussian 3×3, Sobel's gradients of [0, 1]).

    An edge begins where the gradient is above `high` and goes on while it is above `low`.
    """
    from kornia.filters import canny as thresholded
    from scipy.ndimage import label

    # kornia's own following asks eight directions by convolution until nothing changes: thirty times the rest.
    kept = thresholded(grey, low, high, kernel_size=(3, 3), sigma=(1.0, 1.0), hysteresis=False)[1][:, 0].cpu().numpy()
    around = np.zeros((3, 3, 3), bool)
    around[1] = True  # eight neighbours in the same image
    piece, count = label(kept > 0, around)
    begun = np.zeros(count + 1, bool)
    begun[piece[kept == 1]] = True
    return torch.from_numpy(begun[piece])[:, None].to(grey)
