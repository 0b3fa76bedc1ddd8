"""An extractor built from its name: any timm model without classifier, with the task's head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lens.base.errors import BadInput, nearest
from lens.players.extractor import Extractor
from lens.players.stems import small_stem, unstrided_root
from lens.players.unreached import freeze_unreached
from lens.protocols.task import Task

NOT_ARGUMENTS = frozenset({
    "model_name", "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit", "features_only", "out_indices",
    "feature_cfg", "feature_cls", "num_classes", "in_chans", "global_pool", "kwargs_filter",
})  # fmt: skip
"""Arguments of timm.create_model that a settings file does not give: `checkpoint_path` and all of `pretrained…` read files,
some of which are pickles, and the others give no pooled features of a colour image."""


def build_extractor(
    task: Task, name: str, image_size: int, stem: str, arguments: dict[str, Any], pretrained: bool, separate: bool,
    flag: str = "extractor",
) -> Extractor:  # fmt: skip
    """A timm model without classifier, with the task's head. Raises BadInput for names (of `flag`) and stems that do not exist."""
    import timm

    import lens.players.all_conv
    import lens.players.narrow_resnet  # noqa: F401  (timm knows both by name from here on)

    backbone: Any
    if not timm.is_model(name):
        raise BadInput(f"unknown --{flag} {name!r}: {nearest(name, timm.list_models())}")
    if refused := sorted(key for key in arguments if key in NOT_ARGUMENTS or key.startswith("pretrained")):
        given = "--extractor_args" if flag == "extractor" else "arguments"
        raise BadInput(
            f"--{flag} {name} does not take {given} {refused[0]}: it would load a file, or give something else than features; "
            "--extractor_weights and --pretrained load weights"
        )
    try:
        backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    except Exception as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        if pretrained and not isinstance(error, TypeError):
            raise BadInput(f"--pretrained: no weights for {name} could be had ({what})") from error
        if not arguments:
            raise
        given = "--extractor_args" if flag == "extractor" else "arguments"
        raise BadInput(f"--{flag} {name} does not take {given} {arguments}: {what}") from error
    if hasattr(backbone, "set_input_size"):
        # What the task presents need not be the image: patches are smaller.
        presented = task.prepare(torch.zeros(1, 3, image_size, image_size))
        backbone.set_input_size(img_size=tuple(presented.shape[-2:]))
    if stem == "small":
        small_stem(backbone, name)
    elif stem == "stride1":
        unstrided_root(backbone, name)
    head = task.head(_features(backbone, task, name, image_size, flag))
    return Extractor(backbone, head, task.spatial, separate, task.head_reads_question)


def _features(backbone: nn.Module, task: Task, name: str, image_size: int, flag: str) -> int:
    """F, by asking: not every timm model puts out its `num_features`. Raises BadInput for a size it cannot take."""
    inputs = task.prepare(torch.zeros(1, 3, image_size, image_size))
    backbone.eval()
    try:
        features = Extractor(backbone, nn.Identity(), task.spatial, False)(inputs)
    except (AssertionError, RuntimeError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"--{flag} {name} does not take images of {inputs.shape[-1]} px ({what}): try another, or another --image_size"
        ) from error
    freeze_unreached(backbone, features)
    backbone.train()
    return int(features.shape[1])
