"""A cue that is a frozen network's features: does what tells the sources apart survive in what people really use?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import PIL.Image

from lens.base.draws import step_seed
from lens.base.errors import BadInput, nearest
from lens.protocols.cue import Cue, Picture

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lens.base.draws import Draws

    Array = np.ndarray[Any, Any]

NAME = "features"
"""What the row is called."""
CLUSTERS = 10


@dataclasses.dataclass(frozen=True)
class Features(Cue):
    """The pooled features of a frozen timm network, of each picture's middle square at the network's own input size."""

    order: ClassVar[float] = 101
    points_to: ClassVar[str] = (
        "anything that a network keeps which was trained on other pictures: mostly what they show"
    )
    acquisition: ClassVar[bool | None] = None

    model: nn.Module
    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    device: torch.device

    def describe(self, pictures: Sequence[Picture], draws: Draws) -> Mapping[str, Array]:
        """`feature` (B, F)."""
        import torch

        squares = np.stack([_square(picture.native, self.side) for picture in pictures])
        images = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (images.new_tensor(values)[None, :, None, None] for values in (self.mean, self.deviation))
        with torch.no_grad():
            found = self.model((images - mean) / deviation)
        return {"feature": found.float().cpu().numpy()}


def cue_of(name: str, device: torch.device) -> Features:
    """The cue of a timm network by its name, with its published weights.

    Raises BadInput for a name that timm does not know, and where its weights cannot be had.
    """
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise BadInput(f"unknown --features {name!r}: {nearest(name, timm.list_models(pretrained=True))}")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # a hub that cannot be reached raises much
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"--features {name}: no weights could be had ({what})") from error
    told: Any = model.pretrained_cfg
    return Features(model.eval().to(device), int(told["input_size"][-1]), told["mean"], told["std"], device)


def mix(features: Array, source: Array, pseudo: Array, name: str, seed: int) -> str:
    """What clusters of features (n, F) say of content: how far the sources' shares of them are apart, beside pseudo-sources'.

    The distance is the largest total variation of two sources' shares of `CLUSTERS` clusters (k-means on standardised features).
    """
    from sklearn.cluster import KMeans

    scale = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(scale > 1e-6, scale, 1)
    model = KMeans(CLUSTERS, n_init=3, random_state=step_seed(seed, 0, "clusters") % 2**31)
    cluster = model.fit_predict(standard)
    return (
        f"{CLUSTERS} clusters of {name}'s features: {100 * _apart(cluster, source):.0f} % of one source would have to show something else "
        f"to have the mix of another (of random parts {100 * _apart(cluster, pseudo):.0f} %)."
    )


def _apart(cluster: Array, source: Array) -> float:
    counts = [np.bincount(cluster[source == k], minlength=CLUSTERS) for k in np.unique(source)]
    shares = np.stack([one / one.sum() for one in counts])
    return float(np.abs(shares[:, None] - shares[None]).sum(axis=2).max() / 2)


def _square(native: Array, side: int) -> Array:
    """The middle square of a picture (H, W, 3), resized: (side, side, 3) uint8."""
    height, width = native.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    image = PIL.Image.fromarray(native[top : top + short, left : left + short])
    return np.asarray(image.resize((side, side), PIL.Image.Resampling.BICUBIC))
