"""A U-Net of segmentation-models-pytorch with any of its encoders, as in the paper."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from lens.base.errors import BadInput, nearest
from lens.lenses._levels import Levels


@dataclasses.dataclass(frozen=True)
class Unet(Levels):
    """δ is a U-Net (Minderer et al. 2020, section 3), from scratch; its edits are never sharper than two pixels."""

    encoder: str = "tu-tf_mobilenetv3_small_minimal_100"
    """Encoder: any segmentation-models-pytorch name, or tu-NAME for any timm model."""

    def network(self) -> Any:
        """The U-Net. Raises BadInput for an encoder that the library does not know, or that does not work at this depth."""
        import segmentation_models_pytorch as smp
        import timm
        from torch import nn

        known = [*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())]
        unknown = BadInput(f"unknown --lens.encoder {self.encoder!r}: {nearest(self.encoder, known)}")
        if self.encoder.startswith("tu-") and not timm.is_model(
            self.encoder[3:]
        ):  # a place of the hub or the disk is none
            raise unknown
        try:
            with warnings.catch_warnings():
                # Names like timm-mobilenetv3_… still work, and are what the literature's code uses.
                warnings.simplefilter("ignore", DeprecationWarning)
                unet = smp.Unet(
                    self.encoder,
                    encoder_depth=self.depth,
                    encoder_weights=None,
                    decoder_channels=(256, 128, 64, 32, 16)[-self.depth :],
                    in_channels=3,
                    classes=3,
                )
        except Exception as error:  # whatever a model of the library does not take
            raise BadInput(
                f"--lens.encoder {self.encoder!r} does not work at depth {self.depth}: {nearest(self.encoder, known)}"
            ) from error
        last = unet.segmentation_head[0]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return unet
