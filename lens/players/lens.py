"""The lens that plays: a network of a plug-in with padding, noise and grey images seen to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.operations.grey import keep_grey, noise_of
from lens.players.fixed import FixedLens
from lens.players.unreached import freeze_unreached
from lens.protocols.lens import Lens

GiveDraws = Callable[[], Draws]
"""What gives the views' draws: a function, for Lightning Fabric converts whatever it finds in an argument that is a dataclass."""


class LearnedLens(nn.Module):
    """x → x + δ(x) (Minderer et al. 2020, section 3), δ a network that a plug-in of `lenses/` gives, at first the identity.

    Takes and gives images (V, C, H, W) on the scale of [0, 1]; the output is not clamped (see `training.step`). Sizes
    that the network does not take are padded by reflection and cropped again. With `noise` σ it adds Gaussian noise of
    that standard deviation on [0, 1]: a function of the image alone can hide a cue where a network that knows the lens finds
    it again, and noise makes that harder (results/removal.md). With `grey` "keep" an image without colour stays without:
    its δ is the mean over the channels, so that the budget goes into the picture and not into coloured fringes. The network
    of a plug-in that `replaces` gives the new image itself, of any size, without all of that.
    """

    def __init__(
        self,
        plugin: Lens,
        noise: float = 0.0,
        grey: str = "keep",
        before: Sequence[FixedLens] = (),
        after: Sequence[FixedLens] = (),
    ) -> None:
        super().__init__()
        self.before, self.after = tuple(before), tuple(after)
        self.noise = 0.0 if plugin.replaces else noise
        self.grey = grey
        self.unet: Any = plugin.network()
        self.replaces = plugin.replaces
        self.multiple = plugin.multiple
        self.side: int | None = None
        """The size that its weights were trained at, None for that of the images: it edits others at that size."""
        self.eval()
        if not self.replaces:  # at a depth below 5 an encoder's last blocks are not reached
            freeze_unreached(self, self._edit(torch.zeros(1, 3, 64, 64)))
        self.train()

    def forward(
        self, images: Tensor, noise: Tensor | None = None, draws: GiveDraws | None = None, in_step: bool = False
    ) -> Any:
        """Images (V, C, H, W) in [0, 1] and their noise (see `noise_for`), same shape → x + δ(x) + noise, not clamped.

        With stages `before` it, x is what they made of the image; stages `after` change what it gives, in [0, 1]. Both need
        the views' draws, which `draws` gives. `in_step` it gives two things: that, and by how much x + δ(x) + noise left [0, 1]
        before the stages after it took that away, None without any. The reconstruction has to see it: nothing else would bring δ back.
        """
        edited = self._edited(images, noise, draws)
        lensed = edited
        for stage in self.after:
            lensed = stage(lensed, _given(draws))
        if not in_step:
            return lensed
        return lensed, (edited - edited.clamp(0, 1)).detach() if self.after else None

    def take_parts(self, share: float) -> None:
        """Be told that of each batch so much comes at a time (--grad_accum_steps): a network may have a pull of its own to scale."""
        if hasattr(self.unet, "share"):
            self.unet.share = share

    def _edited(self, images: Tensor, noise: Tensor | None, draws: GiveDraws | None) -> Tensor:
        """What the network makes of images, and noise, before the stages after it."""
        images = self.prepared(images, draws)
        if self.replaces:
            replaced: Tensor = self.unet(images, _given(draws))
            return replaced
        delta = self._delta(images)
        if self.grey == "keep":
            delta = keep_grey(images, delta)
        return images + delta if noise is None else images + delta + noise

    def prepared(self, images: Tensor, draws: GiveDraws | None = None) -> Tensor:
        """Images (V, C, H, W) in [0, 1] as the stages before the network make them, same shape."""
        for stage in self.before:
            images = stage(images, _given(draws))
        return images

    def noise_for(self, images: Tensor, draws: Draws) -> Tensor | None:
        """The noise of images (V, C, H, W), same shape: a function of each image, in any batch; None for a lens without.

        Whether an image has colour is asked of what the stages before the network leave of it: what they take away must not
        come back as the noise's colour.
        """
        if not self.noise:
            return None
        if self.before and self.grey == "keep":
            with torch.no_grad():
                images = self.prepared(images, lambda: draws)
        return self.noise * noise_of(images, draws, "lens noise", keep=self.grey == "keep")

    def _delta(self, images: Tensor) -> Tensor:
        """Images (V, C, H, W) in [0, 1] → δ(x), same shape and type."""
        if self.side not in (None, images.shape[-1]):
            size = images.shape[-2:]
            small = functional.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
            delta: Tensor = functional.interpolate(self._edit(small), size, mode="bilinear", align_corners=False)
            return delta.to(images.dtype)
        return self._edit(images).to(images.dtype)

    def _edit(self, images: Tensor) -> Tensor:
        """Images (V, C, H, W) in [0, 1] → δ(x), same shape."""
        height, width = images.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = images * 2 - 1
        if bottom or right:
            # Reflection needs more pixels than it adds; small images repeat their edge instead.
            mode = "reflect" if bottom < height and right < width else "replicate"
            padded = functional.pad(padded, (0, right, 0, bottom), mode=mode)
        delta: Tensor = self.unet(padded)[..., :height, :width]
        return delta


def _given(draws: GiveDraws | None) -> Draws:
    assert draws is not None, "stages of a lens take the views' draws"
    return draws()
