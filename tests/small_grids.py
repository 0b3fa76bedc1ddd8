"""A grid of four cells and two seeds that takes seconds: written, run, and its table read."""

import csv

import yaml
from tiny import TINY

from lens import ablate

TINY_SETTINGS = dict(zip([word[2:] for word in TINY[::2]], map(yaml.safe_load, TINY[1::2]), strict=True))

GRID = {
    "settings": TINY_SETTINGS | {"test_images": 10, "probe_images": 20},
    "axes": {
        "images": {"natural": {}, "planted": {"shortcut": "arrow"}},
        "adversary": {"no lens": {"lens": "none"}, "lens": {"objective": "uniform", "target_psnr": 25}},
    },
    "seeds": [0, 1],
    "baseline": {"adversary": "no lens"},
}


def write_grid(place, name="grid", **changes):
    file = place / f"{name}.yaml"
    plain = {key: value for key, value in (GRID | changes).items() if value is not None}
    file.write_text(yaml.safe_dump(plain, sort_keys=False))
    return file


def call(file, *more):
    return ablate.main([str(file), "--out", str(file.parent / "out"), *more])


def read_csv(out):
    with open(out / "table.csv", newline="") as stream:
        return list(csv.DictReader(stream))
