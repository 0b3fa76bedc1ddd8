"""What the two players are: the extractor and what changes its views."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

from lens.base.errors import BadInput, check_number
from lens.protocols.lens import Lens
from lens.protocols.lookup import find
from lens.settings.field import setting


@dataclasses.dataclass(frozen=True)
class PlayerSettings:
    """What the two players are: the extractor and what changes its views."""

    extractor: str = setting("resnet10t_narrow", role="players")
    """Feature extractor: any timm model name (resnetv2_50 is the paper's), resnet10t_narrow (a small one for a CPU), or
    all_conv (small, its first layers at full resolution)."""
    extractor_stem: Literal["default", "small", "stride1"] = setting("default", role="players")
    """small: a 3x3 root without max-pool, for ResNets on small images; stride1: the root takes every pixel, for patches."""
    extractor_args: dict[str, Any] = setting({}, role="players")
    """More arguments for timm.create_model, e.g. --extractor_args.channels [32,64,128,256]; of all_conv: width (16), pool
    (max, or mean)."""
    extractor_weights: str | None = setting(None, role="players", path=True)
    """Safetensors file to start the extractor from, as timm names the tensors."""
    pretrained: bool = setting(False, role="players")
    """Start the extractor from timm's published weights (downloads them)."""
    lens: str = setting("full_res", role="players", since="0.4.0", path=True)
    """What changes the views: a lens by its name (docs/lenses.md says what each may do; an unknown name lists all), a rival of it
    (fgsm: adversarial training; random: augmentation), none (the extractor alone), several one after the other
    (noise+full_res), or a path to a .py file."""
    lens_noise: float = setting(0.0, role="players", since="0.4.0", needs="added noise")
    """Standard deviation, on [0, 1], of Gaussian noise that the lens adds to what it gives: what is left of a cue is harder
    to read under it (dataset_classification: 0.03; 0 turns it off)."""
    lens_grey: Literal["keep", "free"] = setting(
        "keep", role="players", since="0.4.0", needs="steered change", before="free"
    )
    """What a lens, fgsm or random may do to an image without colour: keep (change one channel: it stays grey), or free."""
    lens_weights: str | None = setting(None, role="players", needs="lens", path=True)
    """Safetensors file to start the lens from."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("lens_noise", self.lens_noise, low=0, high=0.5)
        if self.pretrained and self.extractor_weights:
            raise BadInput("--pretrained and --extractor_weights contradict each other: give one of them")

    @functools.cached_property
    def lens_class(self) -> type[Lens]:
        """The plug-in that --lens names. Raises BadInput where there is none."""
        return find("lens", self.lens)

    @property
    def has_rival(self) -> bool:
        """Whether something else than a lens changes the images: a rival, whose change is steered."""
        return self.lens_class.changes and not self.lens_class.learns and not self.lens_class.fixed
