"""What a process of `forks` finds done: all imports, and first calls that take long. Nothing here may start a thread or differentiate."""

import gc
from importlib import import_module

import conftest  # noqa: F401 - first: it stops the collector
import numpy as np
import PIL.Image
import torch
from einops import rearrange
from sklearn.linear_model import LogisticRegression

from lens import parsing
from lens.protocols import names

MODULES = [
    "einops._torch_specific", "kornia.color", "kornia.metrics", "lens.evaluate", "lens.figures", "lens.figures_removal",
    "lens.grey_sources", "lens.narrow_resnet", "lens.probe", "lens.proof", "lens.rehearsal", "lens.schemas", "lens.shown",
    "lens.train", "lens.trainer", "lightning_fabric.strategies.ddp", "matplotlib.pyplot", "pytorch_metric_learning.losses",
    "segmentation_models_pytorch", "sklearn.neighbors", "timm", "torch.distributed.run",
]  # fmt: skip
for name in [*MODULES, *(f"lens.sources.{name}" for name in names("source"))]:
    import_module(name)

PIL.Image.init()
parsing.parse(["--data", "."], "lens.train")
with torch.no_grad():
    torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(4, 3, 3, 3))
    rearrange(torch.zeros(2, 3), "a b -> b a")
LogisticRegression().fit(np.eye(4), [0, 0, 1, 1]).predict(np.eye(4))

gc.freeze()
gc.enable()
