"""WebDataset shards: a .tar file, or a folder of them; `datasets` keeps their rows for random access."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import re
from collections.abc import Set
from pathlib import Path
from typing import Any

from lens.base.walk import Passed, files_ending_in, is_foreign
from lens.protocols.source import Record
from lens.sources._files import check_regular, file_stamps, image_endings
from lens.sources._hugging_face import HuggingFace

_SPLIT = re.compile(r"(?:^|/)(train|test|val)[^/]*(?:/|\.tar$)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class WebDataset(HuggingFace):
    """Samples in the order of the shards; labels are in .cls, or under `label` in .json, or none.

    A shard whose name, or whose folder's name, starts with train, test or val belongs to that split.
    """

    @staticmethod
    def accepts(path: Path, endings: Set[str]) -> bool:
        """A .tar file, or a folder with .tar files and neither images nor parquet files beside them."""
        return ".tar" in endings and not endings & (image_endings() | {".parquet"})

    def _load(self) -> tuple[Any, list[Record], list[str]]:
        import datasets

        root, passed = os.path.abspath(self.path), Passed()
        shards = {root: os.path.basename(root)}
        if os.path.isdir(root):
            found = sorted(files_ending_in((".tar",), root, passed))
            shards = {os.path.join(root, name): name for name in found}
        for shard in shards:
            check_regular(shard)
        stamps = {shard: [f"{stamp}/{self.image_column}" for stamp in file_stamps(shard)] for shard in shards}
        files = [glob.escape(shard) for shard in shards]
        rows = datasets.load_dataset(
            "webdataset", data_files={"train": files}, split="train", cache_dir=self._rows_folder(stamps)
        )
        where = rows.select_columns(["__url__", "__key__"]).with_format("arrow")[:].to_pydict()
        records, kept = [], []
        for row, (shard, sample) in enumerate(zip(where["__url__"], where["__key__"], strict=True)):
            name = f"{shards[shard]}:{sample}"
            if kind := next(filter(None, map(is_foreign, sample.split("/"))), None):
                passed.add(kind, name)
                continue
            split = _SPLIT.search(shards[shard])
            stamp, portable = stamps[shard]
            belongs = split[1].lower() if split else None
            records.append(Record(name, split=belongs, stamp=stamp, portable_stamp=portable))
            kept.append(row)
        return rows if len(kept) == len(rows) else rows.select(kept), records, passed.note()

    def _rows_folder(self, stamps: dict[str, list[str]]) -> str | None:
        """Where `datasets` keeps these shards' rows: it would know them again by name and time alone, another size or not."""
        if self.cache_dir is None:
            return None
        shards = json.dumps({shard: stamp for shard, (stamp, _) in stamps.items()})
        return os.path.join(self.cache_dir, hashlib.blake2b(shards.encode(), digest_size=16).hexdigest())
