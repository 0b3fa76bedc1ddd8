"""The same folders through `lens audit` and through other tools: what each sees, what it misses, how long it takes.

    pip install dataeval cleanlab cleanvision
    python -m benchmarks.audit_rivals --pair ./a/ ./b/ --pair chest_xray ./c/ --images 300 --out rivals.json

DataEval (`DriftDomainClassifier`, LightGBM in cross-validation) is given 12×12 pixels of each picture, as its manual gives it embeddings: it
takes rows of numbers. Datalab (with CleanVision) is given the pictures and the folder as their label: its spurious correlations
are scores of seven properties, of which one below its threshold is reported. Neither is a part of lens, or needed by it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.files import json_text, write_atomically
from lens.base.markdown import markdown_table
from lens.base.terminal import print_lines
from lens.base.walk import walk
from lens.images.opening import open_source

SIDE = 12
ENDINGS = (".jpg", ".jpeg", ".png")


def pictures(folder: str, count: int, seed: int) -> list[str]:
    """At most so many picture files below a folder, at random."""
    files = sorted(name for name in walk(folder) if name.lower().endswith(ENDINGS))
    if not files:
        raise BadInput(f"{folder} holds no {', '.join(ENDINGS)} files: give a folder of pictures")
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return [str(Path(folder, files[k])) for k in sorted(chosen.tolist())]


def as_folder(key: str, place: Path) -> str:
    """A folder as it is; a built-in set's files below `place`, as they were stored. Raises BadInput for a set that is not kept in files."""
    if "/" in key or Path(key).is_dir():
        return key
    source = open_source(key)
    for position, record in enumerate(source.listing().records):
        file = place / key / record.name
        file.parent.mkdir(parents=True, exist_ok=True)
        with source.read(position) as image:
            if not isinstance(getattr(image, "fp", None), io.BytesIO):
                raise BadInput(
                    f"{key} does not keep its pictures in files, which the other tools are given: name another"
                )
            file.write_bytes(image.fp.getvalue())
    return str(place / key)


def by_lens(folders: list[str], count: int, seed: int) -> dict[str, Any]:
    """The rows of `lens audit` that tell, and its verdict's first lines."""
    from lens.api import audit

    rows = audit(*folders, images=count, seed=seed, threads=1)
    telling = rows[rows.significant].sort_values("balanced_accuracy", ascending=False)
    best = telling.groupby("kind", sort=False).first().reset_index()
    told = [f"{row.kind}: {row['name']} {100 * row.balanced_accuracy:.0f} %" for _, row in best.iterrows()]
    return {"sees": told, "rows": int(rows.significant.sum()), "of": len(rows)}


def by_dataeval(folders: list[str], count: int, seed: int) -> dict[str, Any]:
    """The area under the curve of DataEval's domain classifier on small pixels."""
    from dataeval.shift import DriftDomainClassifier

    first, second = (np.stack([_small(file) for file in pictures(one, count, seed)]) for one in folders)
    detector = DriftDomainClassifier()
    detector.fit(first)
    found = detector.predict(second)
    said = "drifted" if found.drifted else "not drifted"
    return {"sees": [f"{said}: {found.metric_name} {found.distance:.3f} (threshold {found.threshold:.2f})"]}


def by_datalab(folders: list[str], count: int, seed: int) -> dict[str, Any]:
    """The properties of pictures that Datalab finds correlated with the folder, and the issues that it counts."""
    from cleanlab import Datalab
    from datasets import ClassLabel, Dataset, Image

    files = [pictures(one, count, seed) for one in folders]
    table = {
        "image": [file for own in files for file in own],
        "source": [k for k, own in enumerate(files) for _ in own],
    }
    data = Dataset.from_dict(table).cast_column("image", Image())
    lab = Datalab(data=data.cast_column("source", ClassLabel(names=["a", "b"])), label_name="source", image_key="image")
    lab.find_issues()
    found = lab.get_info("spurious_correlations")
    scores = found["correlations_df"]
    below = scores[scores["score"] < found["threshold"]].sort_values("score")
    told = [f"{row.property.removesuffix('_score')} (score {row.score:.2f})" for row in below.itertuples()]
    counted = lab.get_issue_summary()
    issues = {row.issue_type: int(row.num_issues) for row in counted.itertuples() if row.num_issues}
    return {"sees": told or ["no spurious correlation"], "issues": issues}


TOOLS: dict[str, Callable[[list[str], int, int], dict[str, Any]]] = {
    "lens audit, quick": by_lens,
    "DataEval": by_dataeval,
    "Datalab": by_datalab,
}


def _small(file: str) -> np.ndarray[Any, Any]:
    with PIL.Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE)), np.float32).reshape(-1) / 255


def compared(pairs: list[list[str]], count: int, seed: int, out: Path | None) -> int:
    """Put every pair through every tool, print the table, keep the figures."""
    try:
        import cleanlab  # noqa: F401
        import dataeval  # noqa: F401
    except ImportError as error:
        raise BadInput(f"{error.name} is not installed: pip install dataeval cleanlab cleanvision") from error
    found = []
    with tempfile.TemporaryDirectory() as place:
        folders_of = [[as_folder(key, Path(place)) for key in pair] for pair in pairs]
        for (pair, folders), (name, tool) in itertools.product(zip(pairs, folders_of, strict=True), TOOLS.items()):
            begin = time.monotonic()
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                told = tool(folders, count, seed)
            names = " / ".join(Path(one).name for one in pair)
            found.append({"pair": names, "tool": name, "seconds": round(time.monotonic() - begin, 1)} | told)
            if out is not None:
                write_atomically(out, json_text(found))
    rows = [(one["pair"], one["tool"], "; ".join(one["sees"]), f"{one['seconds']:.0f} s") for one in found]
    print_lines(markdown_table([("pair", "tool", "sees", "time"), ("---", "---", "---", "---:"), *rows]))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", required=True, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=300, help="of each folder, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    asked = parser.parse_args(argv)
    return guard(lambda: compared(asked.pair, asked.images, asked.seed, asked.out))


if __name__ == "__main__":
    raise SystemExit(main())
