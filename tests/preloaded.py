"""What a process of `forks` finds done: all imports, and first calls that take long. Nothing here may start a thread or differentiate."""

# ruff: noqa: E402 - the collector would look through what is imported, again and again
import gc

gc.disable()

from importlib import import_module
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from einops import rearrange
from sklearn.linear_model import LogisticRegression

import lens
from lens.settings import parsing

ROOT = Path(lens.__file__).parent
ROOMS = [
    "base",
    "figures",
    "images",
    "lenses",
    "measuring",
    "operations",
    "players",
    "proving",
    "record",
    "settings",
    "sources",
    "tasks",
    "training",
]
LIBRARIES = [
    "einops._torch_specific", "kornia.color", "kornia.metrics", "lightning_fabric.strategies.ddp", "matplotlib.pyplot",
    "pytorch_metric_learning.losses", "segmentation_models_pytorch", "sklearn.neighbors", "timm", "torch.distributed.run",
]  # fmt: skip
OURS = [
    f"lens.{room}.{file.stem}"
    for room in ROOMS
    for file in sorted((ROOT / room).glob("*.py"))
    if file.stem != "__init__"
]
for name in [*LIBRARIES, *OURS, "lens.train", "lens.probe"]:
    import_module(name)

PIL.Image.init()
parsing.parse(["--data", "."], "lens.train")
with torch.no_grad():
    torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 3, 3))
    rearrange(torch.zeros(2, 3), "a b -> b a")
LogisticRegression().fit(np.eye(4), [0, 0, 1, 1]).predict(np.eye(4))

gc.freeze()
gc.enable()
