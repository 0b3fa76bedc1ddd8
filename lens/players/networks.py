"""The two players: the lens (a U-Net that starts as the identity) and the extractor (any timm model with a head)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lens.base.draws import Draws
from lens.base.errors import BadInput, nearest
from lens.base.files import MEBIBYTE, read_bytes, system_fault, tensors_told
from lens.operations.grey import keep_grey, without_colour
from lens.players.full_resolution import ALL_CONV, COLOUR, FULL, SMOOTH, AllConv, ColourMap, FullUnet, Smoothing
from lens.protocols.task import Question, Task
from lens.settings.groups import LARGEST_SIDE

OWN: dict[str, Callable[[int], nn.Module]] = {FULL: FullUnet, SMOOTH: Smoothing, COLOUR: lambda depth: ColourMap()}
"""The lenses of our own, beside segmentation-models-pytorch's encoders: a U-Net or its like of a depth."""
NOT_ARGUMENTS = frozenset({
    "model_name", "checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit", "features_only", "out_indices",
    "feature_cfg", "feature_cls", "num_classes", "in_chans", "global_pool", "kwargs_filter",
})  # fmt: skip
"""Arguments of timm.create_model that a settings file does not give: `checkpoint_path` and all of `pretrained…` read files,
some of which are pickles, and the others give no pooled features of a colour image."""
SIDE = "side"
"""What a lens's file calls the size that it was trained at."""
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Lens(nn.Module):
    """x → x + δ(x) (Minderer et al. 2020, section 3), δ a U-Net whose last layer starts at zero: exactly the identity.

    Takes and gives images (V, C, H, W) on the scale of [0, 1]; the output is not clamped (see `adversary`). Sizes
    that the U-Net cannot halve evenly are padded by reflection and cropped again. With `noise` σ it adds Gaussian noise of
    that standard deviation on [0, 1]: a function of the image alone can hide a cue where a network that knows the lens finds
    it again, and noise makes that harder (results/removal.md). With `grey` "keep" an image without colour stays without:
    its δ is the mean over the channels, so that the budget goes into the picture and not into coloured fringes.
    """

    def __init__(self, encoder: str, depth: int, noise: float = 0.0, grey: str = "keep") -> None:
        super().__init__()
        self.noise = noise
        self.grey = grey
        if encoder in OWN:
            self.unet: Any = OWN[encoder](depth)
            last: Any = self.unet.last
        else:
            self.unet = _smp_unet(encoder, depth)
            last = self.unet.segmentation_head[0]
        self.multiple = 2**depth
        self.side: int | None = None
        """The size that its weights were trained at, None for that of the images: it edits others at that size."""
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.eval()
        freeze_unreached(self, self._edit(torch.zeros(1, 3, 64, 64)))  # at a depth below 5 the encoder's last blocks
        self.train()

    def forward(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """Images (V, C, H, W) in [0, 1] and their noise (see `noise_for`), same shape → x + δ(x) + noise, not clamped."""
        delta = self._delta(images)
        if self.grey == "keep":
            delta = keep_grey(images, delta)
        return images + delta if noise is None else images + delta + noise

    def noise_for(self, images: Tensor, draws: Draws) -> Tensor | None:
        """The noise of images (V, C, H, W), same shape: a function of each image, in any batch; None for a lens without."""
        if not self.noise:
            return None
        noise = draws.normal("lens noise", *images.shape[1:]).to(images)
        if self.grey == "keep":  # one channel's: the mean of three would be weaker than σ
            noise = torch.where(without_colour(images), noise[:, :1], noise)
        return self.noise * noise

    def _delta(self, images: Tensor) -> Tensor:
        """Images (V, C, H, W) in [0, 1] → δ(x), same shape and type."""
        if self.side not in (None, images.shape[-1]):
            size = images.shape[-2:]
            small = functional.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
            delta: Tensor = functional.interpolate(self._edit(small), size, mode="bilinear", align_corners=False)
            return delta.to(images.dtype)
        return self._edit(images).to(images.dtype)

    def _edit(self, images: Tensor) -> Tensor:
        """Images (V, C, H, W) in [0, 1] → δ(x), same shape."""
        height, width = images.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = images * 2 - 1
        if bottom or right:
            # Reflection needs more pixels than it adds; small images repeat their edge instead.
            mode = "reflect" if bottom < height and right < width else "replicate"
            padded = functional.pad(padded, (0, right, 0, bottom), mode=mode)
        delta: Tensor = self.unet(padded)[..., :height, :width]
        return delta


def _smp_unet(encoder: str, depth: int) -> nn.Module:
    """A U-Net of segmentation-models-pytorch, from scratch. Raises BadInput for an encoder that it does not know."""
    import segmentation_models_pytorch as smp
    import timm

    known = [*OWN, *smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())]
    if encoder.startswith("tu-") and not timm.is_model(encoder[3:]):  # a place of the hub or of the disk is none
        raise BadInput(f"unknown --lens_encoder {encoder!r}: {nearest(encoder, known)}")
    try:
        with warnings.catch_warnings():
            # Names like timm-mobilenetv3_… still work, and are what the literature's code uses.
            warnings.simplefilter("ignore", DeprecationWarning)
            unet: nn.Module = smp.Unet(
                encoder,
                encoder_depth=depth,
                encoder_weights=None,
                decoder_channels=(256, 128, 64, 32, 16)[-depth:],
                in_channels=3,
                classes=3,
            )
            return unet
    except Exception as error:  # whatever a model of the library does not take
        raise BadInput(
            f"--lens_encoder {encoder!r} does not work at depth {depth}: {nearest(encoder, known)}"
        ) from error


def freeze_unreached(module: nn.Module, outputs: Tensor) -> None:
    """Ask for no gradient of the parameters that `outputs` do not depend on: several ranks would wait for it for ever."""
    outputs.sum().backward()  # type: ignore[no-untyped-call]
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None


class Extractor(nn.Module):
    """A timm backbone with the task's head, and with two sets of batch-norm statistics where asked for.

    The backbone's own buffers are the raw set: raw, clean and downstream images use it. The second set belongs to
    lensed images (`--batch_norm separate`).
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, spatial: bool, separate: bool, head_reads_question: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.spatial = spatial
        self.head_reads_question = head_reads_question
        self.find_norms()
        self.lensed_statistics = nn.ModuleList(_Statistics(norm) for norm in (self.norms if separate else []))

    def find_norms(self) -> None:
        """List the modules that keep running statistics; again, where one has been replaced by another kind."""
        modules = [*self.backbone.modules(), *self.head.modules()]
        self.norms: list[Any] = [m for m in modules if getattr(m, "running_mean", None) is not None]

    def features(self, inputs: Tensor) -> Tensor:
        """The extractor's input → pooled features (V, F): what downstream probes read.

        A task that reads the map has trained nothing behind it (some models have layers there): its mean is the feature.
        """
        if self.spatial:
            return self._map(inputs).mean(dim=(2, 3))
        pooled: Tensor = self.backbone(inputs)
        return pooled

    def _map(self, inputs: Tensor) -> Tensor:
        backbone: Any = self.backbone  # timm's methods are not typed
        maps: list[Tensor] = backbone.forward_intermediates(inputs, indices=1, norm=True, intermediates_only=True)
        return maps[-1]

    def forward(self, inputs: Tensor, question: Question | None = None, lensed: bool = False) -> Tensor:
        """The extractor's input → the head's outputs, with the lensed set of statistics if there is one and asked."""
        with self.statistics(lensed):
            features = self._map(inputs) if self.spatial else self.backbone(inputs)
            outputs: Tensor = self.head(features, question) if self.head_reads_question else self.head(features)
            return outputs

    @contextmanager
    def statistics(self, lensed: bool) -> Iterator[None]:
        """Within this context the norms read and update the lensed set."""
        if lensed:
            self._swap()
        try:
            yield
        finally:
            if lensed:
                self._swap()

    def use_lensed_statistics(self) -> None:
        """Make the lensed set of statistics the only one."""
        self._swap()
        self.lensed_statistics = nn.ModuleList()

    def _swap(self) -> None:
        for norm, other in zip(self.norms, self.lensed_statistics, strict=False):
            for name in STATISTICS:
                norm._buffers[name], other._buffers[name] = other._buffers[name], norm._buffers[name]


class _Statistics(nn.Module):
    """A second set of a norm's running statistics."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        for name in STATISTICS:
            buffer = norm._buffers[name]
            assert buffer is not None
            self.register_buffer(name, buffer.clone())


@torch.no_grad()
def reestimate_statistics(extractor: Extractor, inputs: Iterator[tuple[Tensor, Question]]) -> None:
    """Replace the raw set of statistics by plain averages over batches of the extractor's input (and their questions).

    With `--feed lensed` the running statistics have only ever seen lensed images; before unlensed images are
    measured, the raw set is estimated on them.
    """
    momenta = [norm.momentum for norm in extractor.norms]
    was_training = extractor.training
    extractor.eval()
    for norm in extractor.norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    for batch, question in inputs:
        extractor(batch, question)
    for norm, momentum in zip(extractor.norms, momenta, strict=True):
        norm.momentum = momentum
    extractor.train(was_training)


def build_extractor(
    task: Task, name: str, image_size: int, stem: str, arguments: dict[str, Any], pretrained: bool, separate: bool,
    flag: str = "extractor",
) -> Extractor:  # fmt: skip
    """A timm model without classifier, with the task's head. Raises BadInput for names (of `flag`) and stems that do not exist."""
    import timm

    import lens.players.narrow_resnet  # noqa: F401  (timm knows it by name from here on)

    backbone: Any
    if name != ALL_CONV and not timm.is_model(name):
        raise BadInput(f"unknown --{flag} {name!r}: {nearest(name, [ALL_CONV, *timm.list_models()])}")
    if name == ALL_CONV and (pretrained or stem != "default"):
        raise BadInput(
            f"--extractor {name} has neither published weights nor another root: drop --pretrained and --extractor_stem"
        )
    if refused := sorted(key for key in arguments if key in NOT_ARGUMENTS or key.startswith("pretrained")):
        given = "--extractor_args" if flag == "extractor" else "arguments"
        raise BadInput(
            f"--{flag} {name} does not take {given} {refused[0]}: it would load a file, or give something else than features; "
            "--extractor_weights and --pretrained load weights"
        )
    try:
        if name == ALL_CONV:
            backbone = AllConv(task.prepare(torch.zeros(1, 3, image_size, image_size)).shape[-1], **arguments)
        else:
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
        _small_stem(backbone, name)
    elif stem == "stride1":
        _unstrided_root(backbone, name)
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


def _small_stem(model: nn.Module, name: str) -> None:
    """A 3×3 root with stride 1 and no max-pool, as CIFAR's ResNets have it (He et al. 2016, section 4.2)."""
    from timm.layers.std_conv import StdConv2d
    from timm.models.resnet import ResNet
    from timm.models.resnetv2 import ResNetV2

    def root(channels: int, kind: type[nn.Conv2d] = nn.Conv2d) -> nn.Conv2d:
        conv = kind(3, channels, 3, padding=1, bias=False)
        if kind is nn.Conv2d:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        return conv

    backbone: Any = model  # timm's attributes are not typed
    if isinstance(model, ResNet):
        backbone.conv1 = root(backbone.bn1.num_features)
        backbone.maxpool = nn.Identity()
    elif isinstance(model, ResNetV2):
        convolutions = [m for m in backbone.stem.modules() if isinstance(m, nn.Conv2d)]
        kind = StdConv2d if isinstance(convolutions[-1], StdConv2d) else nn.Conv2d
        parts: dict[str, nn.Module] = {"conv": root(convolutions[-1].out_channels, kind)}
        if hasattr(backbone.stem, "norm"):
            parts["norm"] = backbone.stem.norm
        backbone.stem = nn.Sequential()
        for key, part in parts.items():
            backbone.stem.add_module(key, part)
    else:
        raise BadInput(f"--extractor_stem small is for ResNets (resnet*, resnetv2_*); {name} has no root to replace")


def _unstrided_root(model: nn.Module, name: str) -> None:
    """The first convolution takes every pixel, as for 64 px patches in Kolesnikov et al. (2019); the max-pool stays."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or max(first.stride) != 2:
        raise BadInput(f"--extractor_stem stride1: {name} has no root convolution of stride 2; try default or small")
    first.stride = (1, 1)


def without_backbone(extractor: Extractor) -> nn.Module:
    """The parts of an extractor beside its backbone, under their names in `head.safetensors`."""
    return nn.ModuleDict({"head": extractor.head, "lensed_statistics": extractor.lensed_statistics})


def load_weights(module: nn.Module, file: str | Path, flag: str) -> None:
    """Load a safetensors file into `module`, strictly. Raises BadInput where it is none or does not fit.

    A lens takes on the size that its file says it was trained at, which need not be that of the run it comes from.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not Path(file).exists():
        raise BadInput(f"{flag} {file}: there is no such file")
    own = module.state_dict()
    try:
        # In double precision, with names: a larger file is another network's.
        content = read_bytes(file, 8 * sum(x.numel() for x in own.values()) + 64 * MEBIBYTE)
        state = load(content)
    except (SafetensorError, OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise system_fault(error, file) or BadInput(f"{flag} {file} is no safetensors file ({what})") from error
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    wrong += [key for key in state if key not in own]
    if wrong:
        raise BadInput(
            f"{flag} {file} does not fit: {len(wrong)} tensors are missing, unknown or of another shape, first {wrong[0]}"
        )
    wrong = [key for key in own if state[key].is_floating_point() != own[key].is_floating_point()]
    wrong += [key for key, x in state.items() if x.is_floating_point() and not torch.isfinite(x).all()]
    if wrong:
        raise BadInput(
            f"{flag} {file} is damaged: {len(wrong)} tensors hold what is no finite number, first {wrong[0]}"
        )
    if isinstance(module, Lens) and (said := tensors_told(content).get(SIDE)) is not None:
        if not (said.isascii() and said.isdecimal() and len(said) < 6 and 8 <= int(said) <= LARGEST_SIDE):
            raise BadInput(f"{flag} {file} is damaged: it says that it was trained at {said[:20]!r} px")
        module.side = int(said)
    module.load_state_dict(state)
