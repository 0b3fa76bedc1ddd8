"""A data set of the Hugging Face hub, hub:owner/name or hub:owner/name:config, downloaded by `datasets`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lens.base.errors import BadInput
from lens.protocols.source import Record
from lens.sources._files import SPLITS
from lens.sources._hugging_face import HuggingFace


@dataclasses.dataclass(frozen=True)
class Hub(HuggingFace):
    """Its own train, validation and test; other splits are read only where it has none of these.

    `datasets` has refused data sets that bring code of their own since version 4.
    """

    @property
    def _key(self) -> str:
        return f"hub:{self.path}"

    def _load(self) -> tuple[Any, list[Record], list[str]]:
        import datasets

        name, _, config = self.path.partition(":")
        if Path(name).exists():
            raise BadInput(
                f"{self._key}: there is a local {name} too, which would be read instead; write ./{name} for it"
            )
        found = datasets.load_dataset(name, config or None, cache_dir=self.cache_dir)
        parts = {split: rows for split, rows in found.items() if split.lower() in SPLITS} or dict(found)
        records = [
            Record(f"{split}/{row}", split=SPLITS.get(split.lower()), stamp=f"{rows._fingerprint}/{self.image_column}")
            for split, rows in parts.items()
            for row in range(len(rows))
        ]
        left = [split for split in found if split not in parts]
        notes = [f"left out its splits {', '.join(left)}: they are neither train, validation nor test"] if left else []
        return datasets.concatenate_datasets(list(parts.values())), records, notes
