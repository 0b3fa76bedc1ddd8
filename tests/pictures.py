"""Pictures and sources of our own making: written to disk, loaded, and what stands for loaded ones."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from einops import rearrange

from lens.images import loading
from lens.settings.groups.data import DataSettings


def picture(rng: np.random.Generator, label: int, size: tuple[int, int] = (40, 48)) -> PIL.Image.Image:
    """A picture that is brighter at the top (so that a turn shows) and redder or bluer (so that a class shows)."""
    height, width = size
    pixels = np.empty((height, width, 3))
    pixels[:] = np.linspace(220, 30, height)[:, None, None]
    pixels[..., 0 if label else 2] += 40
    pixels += rng.normal(0, 15, pixels.shape)
    return PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_folder(root: Path, per_class: int = 30, classes: int = 2, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for i in range(per_class):
            picture(rng, label).save(root / f"class{label}" / f"{i:03d}.png")
    return root


def load(keys, tmp_path, size=16, bad=0.01, **columns):
    place = {"cache_dir": str(tmp_path / "cache"), "max_bad_fraction": bad}
    return loading.load(
        DataSettings(data=list(map(str, keys)), image_size=8, cache_image_size=size, **place, **columns)
    )


def write_parquet(file, count, features=None, extra=None, start=0):
    import datasets

    rng = np.random.default_rng(start)
    rows = {"img": [], "label": []}
    for i in range(count):
        buffer = io.BytesIO()
        picture(rng, i % 2, (20, 20)).save(buffer, "PNG")
        rows["img"].append({"bytes": buffer.getvalue(), "path": None})
        rows["label"].append(i % 2)
    rows |= extra or {}
    features = features or {"img": datasets.Image(), "label": datasets.ClassLabel(names=["blue", "red"])}
    for name in extra or {}:
        features[name] = datasets.Value("int64")
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(file, batch_size=7)


def load_uncached(keys, place, size=16):
    return loading.load(
        DataSettings(data=list(map(str, keys)), image_size=8, cache_image_size=size, cache_dir=str(place), cache="none")
    )


def encoded(label, seed=0):
    buffer = io.BytesIO()
    picture(np.random.default_rng(seed), label, (20, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(file, count, start=0, fields=("cls",), words=("0", "1")):
    """Samples of alternating labels, in .cls, in .json or nowhere, beside a caption."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for i in range(start, start + count):
            sample = {"png": encoded(i % 2, i), "txt": f"picture {i}".encode()}
            if "cls" in fields:
                sample["cls"] = words[i % 2].encode()
            if "json" in fields:
                sample["json"] = json.dumps({"label": f"kind {i % 2}", "width": 20}).encode()
            for field, content in sample.items():
                member = tarfile.TarInfo(f"{i:05d}.{field}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_pictures(folder, names, label):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        picture(np.random.default_rng(i), label).save(folder / name)


def write_imagenet(root):
    folder = root / "imagenet"
    for label, wnid in enumerate(["n01440764", "n01443537"]):
        write_pictures(folder / "train" / wnid, [f"{wnid}_{i}.JPEG" for i in range(12)], label)
        write_pictures(folder / "val" / wnid, [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(label, 6, 2)], label)
    torch.save(({"n01440764": ("tench", "Tinca tinca"), "n01443537": ("goldfish",)}, []), folder / "meta.bin")


PLACES = ["a/abbey", "f/field/wild"]


def write_places205(root, per_class=8):
    lists, images = root / "trainvalsplit_places205", root / "data/vision/torralba/deeplearning/images256"
    lists.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        lines = []
        for label, place in enumerate(PLACES):
            (images / place).mkdir(parents=True, exist_ok=True)
            for i in range(per_class):
                name = f"{place}/gsun_{split}{i}.jpg"
                picture(rng, label).save(images / name)
                lines.append(f"{name} {label}\n")
        rng.shuffle(lines)
        (lists / f"{split}_places205.csv").write_text("".join(lines))
    picture(rng, 0).save(images / "a/abbey/in_no_list.jpg")
    return root


def photos(count, seed=0, side=64):
    """Pictures with structure at every scale, no two alike."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = PIL.Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((side, side), PIL.Image.Resampling.BICUBIC), float) + rng.normal(
            0, 6, (side, side, 3)
        )
        found.append(PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return found


def flat(folder, pictures, ending="png"):
    folder.mkdir(parents=True)
    for i, image in enumerate(pictures):
        image.save(folder / f"{i:03d}.{ending}")
    return folder


def two(tmp_path, shared=4, count=60, where=("a", "b")):
    """Two folders; the first `shared` pictures of the first stand at the end of the second, saved again."""
    first, second = photos(count), photos(count, seed=1)
    second[count - shared :] = first[:shared]
    return flat(tmp_path / where[0], first), flat(tmp_path / where[1], second, "jpg")


class Data:
    def __init__(self, classes, source, label, split=None):
        self.classes, self.source, self.label = classes, np.array(source), np.array(label)
        self.split = np.array(split or ["train"] * len(label))

    def __len__(self):
        return len(self.label)

    def indices(self, split):
        return np.flatnonzero(self.split == split)


def turned_blocks(images):
    """Images (V, C, H, W) of even sides, each block of 2 × 2 pixels turned by a half: its mean and its values are as they were."""
    blocks = rearrange(images, "v c (h a) (w b) -> v c h w a b", a=2, b=2)
    return rearrange(blocks.flip(4, 5), "v c h w a b -> v c (h a) (w b)")


def smooth(count=6, side=32):
    """Smooth pictures with an edge and some noise, on 8-bit levels: (count, 3, side, side)."""
    torch.manual_seed(0)
    ramp = torch.linspace(0.1, 0.9, side)
    images = ramp[None, None, :, None] * torch.rand(count, 3, 1, 1) + 0.3 * (ramp[None, None, None] > 0.5)
    return ((images + 0.05 * torch.rand(count, 3, side, side)).clamp(0, 1) * 255).round() / 255
