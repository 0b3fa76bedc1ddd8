"""What the sources read through Hugging Face's `datasets` share: which columns, which labels, reading a row."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING, Any

from lens.base.errors import BadInput
from lens.base.files import system_fault
from lens.protocols.source import Listing, Record
from lens.sources._columns import Column, choose, labelled
from lens.sources._files import image_endings, open_image

if TYPE_CHECKING:
    import PIL.Image

LABELS = ("label", "cls", "json.label", "json.cls")
"""Columns that hold labels where no column is a class label by its type; `a.b` is key b of the JSON in a."""


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """Rows of arrow files that `datasets` keeps below `cache_dir`, for random access, under `--cache none` too."""

    path: str
    image_column: str | None = None
    label_column: str | None = None
    cache_dir: str | None = None

    def listing(self) -> Listing:
        """Names, labels and splits. Raises BadInput, in one line, for what `datasets` cannot load or unclear columns."""
        return self._listing[0]

    def read(self, position: int) -> PIL.Image.Image:
        """Open image `position` of the listing. Raises ValueError where its row holds none, or a path that leads elsewhere."""
        rows, kept = self._listing[1:]
        value = rows[kept[position]][self._image_column]
        if value is None:
            raise ValueError("its row holds no image")
        if isinstance(value, bytes):
            return open_image(value)
        return open_image(value["bytes"] if value["bytes"] is not None else self._own_file(value["path"]))

    def _own_file(self, path: Any) -> str:
        """The path of an image that `datasets` has downloaded as a file of its own, and no other: a row may name any."""
        import datasets
        import huggingface_hub.constants

        config = datasets.config
        folders = [config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, config.EXTRACTED_DATASETS_PATH]
        folders += [huggingface_hub.constants.HF_HUB_CACHE, *filter(None, [self.cache_dir])]
        if isinstance(path, str):
            real = os.path.realpath(path)
            if any(real.startswith(os.path.realpath(folder) + os.sep) for folder in folders):
                return real
        raise ValueError("its row holds no image, only the path of a file that is not below the folders of `datasets`")

    def _load(self) -> tuple[Any, list[Record], list[str]]:
        """The rows, a record without a label for each, lines for the person. Any exception means that there is nothing to read."""
        raise NotImplementedError

    @property
    def _key(self) -> str:
        """What the person wrote."""
        return self.path

    @functools.cached_property
    def _loaded(self) -> tuple[Any, list[Record], list[str]]:
        import datasets

        try:
            rows, records, notes = self._load()
        except BadInput:
            raise
        except Exception as error:
            # The outermost error of a failed build only says that it failed.
            cause = error.__cause__ if isinstance(error, datasets.exceptions.DatasetGenerationError) else None
            cause = cause or error
            line = f"{self._key} cannot be loaded ({type(cause).__name__}: {' '.join(str(cause).split())})"
            raise system_fault(error, self._key) or BadInput(line) from error
        for name, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(name, datasets.Image(decode=False))
        return rows, records, notes

    @functools.cached_property
    def _image_column(self) -> str:
        features = self._loaded[0].features
        found = [name for name, feature in features.items() if _is_image(name, feature)]
        if self.image_column in features and self.image_column not in found:
            raise BadInput(
                f"{self._key}: column {self.image_column!r} holds no images ({', '.join(found) or 'none'} do)"
            )
        return choose(self._key, "image", self.image_column, found, list(features))

    @functools.cached_property
    def _listing(self) -> tuple[Listing, Any, list[int]]:
        rows, records, notes = self._loaded
        images = rows.select_columns([self._image_column])
        column = self._labels(rows)
        if not records:
            raise BadInput(f"{self._key} holds no rows")
        listing, kept = Listing(records, []), list(range(len(records)))
        if column is not None:
            listing, kept = labelled(self._key, records, column)
        return dataclasses.replace(listing, notes=[*notes, *listing.notes]), images, kept

    def _labels(self, rows: Any) -> Column | None:
        """The column of the labels, with its class names where it has some; None where nothing says what a label is."""
        import datasets

        columns = {}
        for name, feature in rows.features.items():
            columns[name] = feature
            if isinstance(feature, dict):
                columns |= {f"{name}.{key}": value for key, value in feature.items()}
        found = [name for name, feature in columns.items() if isinstance(feature, datasets.ClassLabel)]
        found = found or [name for name in LABELS if name in columns][:1]
        if not found and not self.label_column:
            return None
        column = choose(self._key, "label", self.label_column, found, list(columns))
        outer, _, inner = column.partition(".") if column not in rows.features else (column, "", "")
        values = rows.select_columns([outer]).with_format("arrow")[:].column(outer).to_pylist()
        if inner:
            values = [value and value[inner] for value in values]
        feature = columns[column]
        names = list(feature.names) if isinstance(feature, datasets.ClassLabel) else None
        return Column(column, values, names, bool(self.label_column))


def _is_image(name: str, feature: Any) -> bool:
    """Whether a column holds images: by its type, or as the bytes of a file whose ending `datasets` does not know (.avif)."""
    import datasets

    ending = "." + name.rpartition(".")[2].lower()
    return isinstance(feature, datasets.Image) or (
        isinstance(feature, datasets.Value) and feature.dtype == "binary" and ending in image_endings()
    )
