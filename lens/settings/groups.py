"""The settings of a training run: typed, frozen, checked; the resolved values are written into the run."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from typing import Any, Literal

from lens.base.errors import BadInput, check_number
from lens.base.patterns import compiled
from lens.protocols.lens import Lens
from lens.protocols.lookup import find

LARGEST_SIDE = 8192
"""Pixels of a square's side, at most."""
MOST_PROCESSES = 256
"""Processes that read batches, or runs at a time, at most: a thousand take all memory before they do anything."""
MOST_THREADS = 1024
"""CPU threads, at most: torch and the kernel end a process that asks for many more."""
Role = Literal[
    "images", "division", "reading", "views", "question", "players", "game", "optimisation", "precision", "length", "seed",
    "validation", "record", "measuring", "proof", "machine", "tracking", "place",
]  # fmt: skip
"""What a setting decides: which images there are and how large; how they are divided; how they are come by; how they are shown
in training; what is asked; what the two players are; what the lens is after; how both learn, in which numbers and for how
long; what is drawn; what is looked at on the way, and what is written down; what is measured at the end, and what is proved;
where it runs; who is told; where it is kept."""


OBJECTIVES = ("least_likely", "full", "uniform")
"""What a lens may want the task's answer to be."""
FIRST = "0.1.0"
"""The version of the settings that no `since` names."""


def setting(
    default: Any,
    *,
    role: Role | None = None,
    since: str = FIRST,
    resume: bool = False,
    needs: str | None = None,
    path: bool = False,
    before: Any = dataclasses.MISSING,
    grid: str | None = None,
    modes: str | None = None,
    was: str | None = None,
) -> Any:
    """A field with its default and all that is to be known of it: `lens.settings.agreement` derives from here which settings runs share.

    `role` is what it decides. `since` is the version that brought it: runs of earlier ones did what `before` says, else what
    the default says, whatever the task prefers. `resume`: it may differ when a run is resumed. `needs` names what a run must
    have for anybody to read the setting (`idle`); a `path` may begin with ~, and must be one that a file system can hold.
    `grid` is what stands for it in a grid's file, where it has no place itself. `modes` are those of a verb that has several
    in which the setting is read (None: all). `was` is its name in 0.3, which is taken for one version (`old_names`).
    """
    metadata = {
        "role": role,
        "since": since,
        "resume": resume,
        "needs": needs,
        "path": path,
        "grid": grid,
        "modes": modes,
        "was": was,
    }
    metadata |= {} if before is dataclasses.MISSING else {"before": before}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default, a new one each time."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training run; every one is a flag and a key of the YAML file."""

    task: str = setting("rotation", role="question", path=True)
    """Pretext task: a name, or a path to a .py file."""
    data: list[str] | str = setting("chest_xray", role="images", path=True)
    """Where images come from: a built-in name, a path (with a slash), or hub:owner/name; several are pooled."""
    data_root: str | None = setting(None, role="reading", since="0.2.0", needs="data set", path=True)
    """Folder of the data sets that are called by name (cifar10, imagenet, …); default $LENS_DATA, else ./data."""
    image_column: str | None = setting(None, role="images", needs="table")
    """Column of the images, where a table (parquet, shards, hub) leaves it open."""
    label_column: str | None = setting(None, role="images", needs="table")
    """Column of the labels, where a table (parquet, shards, hub) leaves it open."""
    image_size: int = setting(64, role="images")
    """Side of the square images in pixels, 8 or more."""
    cache: Literal["disk", "none"] = setting("disk", role="reading", since="0.2.0")
    """disk: decode each image once, into --cache_dir; none: decode when a batch is read (give it --num_workers)."""
    cache_image_size: int | None = setting(None, role="images", was="cache_size")
    """Side of the cached squares, which random crops are cut from; default 8/7 of the image size."""
    cache_dir: str | None = setting(None, role="reading", path=True)
    """Where decoded images are kept between runs; default $LENS_CACHE, else lens in the user's cache directory."""
    max_bad_fraction: float = setting(0.01, role="reading", needs="disk cache")
    """Share of unreadable images, 0 to 1, beyond which a source is refused."""
    intensity_range: list[float] | str = setting("auto", role="images", since="0.4.0")
    """Which numbers of deep images (16 or 32 bits, floats) are shown as black and as white, LOW HIGH; auto: decided once for a
    source, from its lowest and highest number. Images of 8 bits are taken as they are."""
    pseudo_sources: int | None = setting(None, role="division", since="0.4.0", was="split_sources")
    """Cut the one source at random into this many pseudo-sources, 2 to 64: they differ in nothing, so nothing may be found."""
    group_by: str | None = setting(None, role="division", since="0.4.0")
    """Regular expression that finds an image's group (a patient) in its name, which begins with its folders below the source's;
    a group falls into one split as a whole."""
    judge_fraction: float | None = setting(None, role="division", since="0.4.0", was="fresh_fraction")
    """Share of the training split, 0 to 0.9, that is kept from the lens for fresh classifiers that judge it later; default
    0.5 for dataset_classification, else 0."""
    augment: Literal["none", "crop", "inception", "resized"] = setting("crop", role="views")
    """Training crops: none (centre), crop (random crop and flip), inception (area 0.05-1, flip, colour jitter), resized
    (area 0.08-1, aspect 3/4-4/3, flip)."""
    rand_augment: float = setting(0.0, role="views", since="0.4.0")
    """Magnitude, 0 (off) to 10, of two random operations on each training image, before a shortcut is planted."""
    mixup: float = setting(0.0, role="views", since="0.4.0")
    """Alpha of the Beta law by which views of two images are mixed, answers too; 0: off. For tasks with one class a view."""
    cutmix: float = setting(0.0, role="views", since="0.4.0")
    """Alpha of the Beta law of the share that a box from another image takes; 0: off. With --mixup: one of the two."""
    label_smoothing: float = setting(0.0, role="views", since="0.4.0")
    """Share of each training answer, 0 to below 1, that is spread over all classes."""

    grey: float | None = setting(None, role="views", since="0.3.0")
    """Removal by hand: probability of showing a view in grey, 0 to 1; default as the task's protocol has it."""
    colour_jitter: float = setting(0.0, role="views", since="0.3.0")
    """Removal by hand: strength of random brightness, contrast, saturation and hue, 0 to 1.25."""
    blur: float = setting(0.0, role="views", since="0.3.0")
    """Removal by hand: largest sigma of a Gaussian blur in px, drawn from 0 for each view."""
    standardise: bool | None = setting(None, role="views", since="0.3.0")
    """Removal by hand: mean 0 and deviation 1 of each image or patch; default as the task's protocol has it."""

    shortcut: str = setting("none", role="question", path=True)
    """Shortcut to plant: a name, or a path to a .py file."""
    shortcut_key: Literal["constant", "image", "source", "random"] = setting(
        "constant", role="question", needs="planted shortcut"
    )
    """What sets the shortcut's parameter; random is the control that predicts nothing."""

    extractor: str = setting("resnet10t_narrow", role="players")
    """Feature extractor: any timm model name (resnetv2_50 is the paper's), resnet10t_narrow (a small one for a CPU), or
    all_conv (small, its first layers at full resolution)."""
    extractor_stem: Literal["default", "small", "stride1"] = setting("default", role="players")
    """small: a 3x3 root without max-pool, for ResNets on small images; stride1: the root takes every pixel, for patches."""
    extractor_args: dict[str, Any] = setting({}, role="players")
    """More arguments for timm.create_model, e.g. --extractor_args.channels [32,64,128,256]; of all_conv: width (16), pool
    (max, or mean)."""
    extractor_weights: str | None = setting(None, role="players", path=True)
    """Safetensors file to start the extractor from, as timm names the tensors."""
    pretrained: bool = setting(False, role="players")
    """Start the extractor from timm's published weights (downloads them)."""
    lens: str = setting("full_res", role="players", since="0.4.0", path=True)
    """What changes the views: a lens (full_res, unet, smooth, colour), a rival of it (fgsm: adversarial training; random:
    augmentation), none (the extractor alone), or a path to a .py file."""
    lens_noise: float = setting(0.0, role="players", since="0.4.0", needs="lens")
    """Standard deviation, on [0, 1], of Gaussian noise that the lens adds to what it gives: what is left of a cue is harder
    to read under it (dataset_classification: 0.03; 0 turns it off)."""
    lens_grey: Literal["keep", "free"] = setting(
        "keep", role="players", since="0.4.0", needs="changed images", before="free"
    )
    """What a lens, fgsm or random may do to an image without colour: keep (change one channel: it stays grey), or free."""
    lens_weights: str | None = setting(None, role="players", needs="lens", path=True)
    """Safetensors file to start the lens from."""

    objective: Literal["least_likely", "full", "uniform"] | None = setting(
        None, role="game", since="0.4.0", needs="lens"
    )
    """What the lens wants the task's answer to be: the class that the extractor finds least likely (the default), uniform (no
    class at all; default where it asks about two sources), or a high loss (full: the paper's full adversarial loss; default
    where the task has no classes)."""
    recon_weight: float | None = setting(None, role="game", needs="changed images")
    """Weight λ of the mean squared error on [0, 1]; fixed, or with --target_psnr where steering starts (default 100)."""
    target_psnr: float | None = setting(None, role="game", needs="changed images")
    """PSNR in dB that λ is steered to, 5 to 60; default 25.5, unless --recon_weight is given."""
    match_mse: float | str | None = setting(None, role="game", since="0.2.0", path=True)
    """Mean squared change on [0, 1] of fgsm and random: a value, or the directory of a paired lens run (its validation
    error); default that of --target_psnr."""
    feed: Literal["both", "lensed"] = setting("both", role="game", needs="changed images")
    """What the extractor learns from: raw and lensed images in equal parts (the paper), or lensed ones only."""
    batch_norm: Literal["separate", "joint"] = setting("separate", role="game", needs="changed images")
    """Batch statistics of raw and lensed images: two sets, or one concatenated batch."""

    sync_batchnorm: Literal["global", "local"] = setting("global", role="optimisation", since="0.2.0", was="norm_sync")
    """Batch statistics under torchrun: over all ranks, as one process would see them, or each rank's own."""

    steps: int | None = setting(None, role="length", resume=True)
    """Training steps; default 150 (dataset_classification: 1000), or as many as --epochs need."""
    epochs: float | None = setting(None, role="length", resume=True)
    """Passes over the training split, instead of --steps."""
    batch_size: int = setting(8, role="optimisation")
    """Images a step, of all ranks together (rotation shows each of them in four views)."""
    grad_accum_steps: int = setting(1, role="optimisation", was="accumulate")
    """Parts that a batch is cut into to save memory; batch statistics are each part's own."""
    optimizer: Literal["adamw", "sgd"] = setting("adamw", role="optimisation")
    """Optimiser of the extractor (the lens always uses Adam); sgd has momentum 0.9."""
    lr: float = setting(1e-3, role="optimisation")
    """Peak learning rate of the extractor."""
    lens_lr: float = setting(2e-3, role="optimisation", needs="lens")
    """Peak learning rate of the lens."""
    weight_decay: float = setting(1e-4, role="optimisation")
    """Weight decay of the extractor."""
    warmup_fraction: float = setting(0.05, role="optimisation", was="warmup")
    """Share of the steps, 0 to 1, in which both rates rise linearly before they fall along a cosine."""

    lens_update_every: int = setting(1, role="optimisation", since="0.4.0", needs="lens", was="lens_every")
    """The lens moves at every so many steps, the extractor at each: so that it stays ahead of the lens."""
    lr_schedule: Literal["cosine", "constant"] = setting("cosine", role="optimisation", since="0.4.0")
    """What the extractor's rate does after the warm-up; the lens's always falls along a cosine."""
    adam_beta1: float = setting(0.9, role="optimisation", since="0.4.0", needs="Adam", was="beta1")
    """Momentum of both players' Adam, 0 to below 1."""
    lens_ema: float = setting(0.0, role="optimisation", since="0.4.0", needs="lens", was="lens_average")
    """Decay, 0 (off) to below 1, of a running average of the lens's weights, which is the lens that is kept."""

    shuffle_labels: bool = setting(False, role="question", since="0.3.0", was="shuffle_targets")
    """Train on the answers of other images of the batch: the control that must not beat chance."""

    seed: int = setting(0, role="seed", grid="seeds: lists them")
    """Seed of everything random, 0 or more."""
    device: str = setting("auto", role="machine", resume=True)
    """auto (cuda where there is one, else cpu), cpu, cuda or cuda:N."""
    precision: Literal[32, 64, "bf16"] = setting(32, role="precision")
    """32, bf16 (mixed precision), or 64 (double, to compare runs that must agree)."""
    num_workers: int = setting(0, role="machine", resume=True, was="workers")
    """Processes that read batches; 0 reads them in the main process."""
    threads: int | None = setting(None, role="machine")
    """CPU threads; default: as many as this process may use. Bit-identical resuming needs the same number."""

    out: str | None = setting(None, role="place", path=True, grid="each run has its own directory in the grid's --out")
    """Run directory; default runs/<task>-<time>. One that holds a run is never overwritten."""
    resume: str | None = setting(None, role="place", path=True, grid="unfinished runs are resumed without being asked")
    """Run directory to continue; only steps, epochs, device, num_workers, the wandb and the proof's settings may differ."""
    log_every: int = setting(10, role="record")
    """Steps between lines of metrics.jsonl."""
    val_every: int = setting(50, role="record", was="eval_every")
    """Steps between evaluations on the validation split."""
    checkpoint_every: int = setting(50, role="record")
    """Steps between checkpoints."""
    val_images: int = setting(128, role="validation", was="eval_images")
    """Validation images that an evaluation during training looks at, at most."""
    test_images: int | None = setting(2000, role="measuring")
    """Test images that the pretext task is asked about at the end, at most; null: all."""
    probe_images: int | None = setting(10_000, role="measuring")
    """Training images that a probe is fitted on, at most; null: all."""
    probe_test_images: int | None = setting(2000, role="measuring", since="0.3.0", before=None)
    """Validation and test images, each, that a probe looks at, at most; null: all."""
    probe: list[str] | str = setting([], role="measuring", path=True)
    """Labelled sources for the linear and k-NN probes at the end; default: the training sources that have labels."""

    prove: bool = setting(False, role="proof", since="0.4.0", resume=True, was="removal")
    """Prove the removal at the end: fresh classifiers try to tell the sources apart on raw and on lensed images."""
    judges: list[str] | str = setting(
        [], role="proof", since="0.4.0", resume=True, needs="removal", was="removal_classifiers"
    )
    """Their architectures, as --extractor or NAME:{argument: value}; default: the extractor's, and all_conv or
    resnet18. The first one also learns the class labels, for the downstream cost."""
    judge_seeds: int = setting(3, role="proof", since="0.4.0", resume=True, needs="removal", was="removal_seeds")
    """Classifiers of each architecture, others for every --seed; the best of all in validation counts."""
    judge_steps: int = setting(2000, role="proof", since="0.4.0", resume=True, needs="removal", was="removal_steps")
    """Training steps of a fresh classifier, at most; over the last quarter its rate falls to zero. It ends earlier on its third
    plateau (before step 1,000 none counts, unless 95 % are read) or at 98 %."""
    judge_images: int | None = setting(
        None, role="proof", since="0.4.0", resume=True, needs="removal", was="removal_images"
    )
    """Images of each split that the proof looks at, at most; default all."""

    wandb: Literal["disabled", "offline", "online"] = setting("disabled", role="tracking", since="0.2.0", resume=True)
    """Mirror the record, settings, summary and pictures to Weights & Biases."""
    wandb_project: str = setting("lens", role="tracking", since="0.2.0", resume=True, needs="W&B")
    """Project of the Weights & Biases run."""
    wandb_group: str | None = setting(None, role="tracking", since="0.2.0", resume=True, needs="W&B")
    """Group of the Weights & Biases run."""
    wandb_tags: list[str] = setting([], role="tracking", since="0.2.0", resume=True, needs="W&B")
    """Tags of the Weights & Biases run, one or several."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("image_size", self.image_size, low=8, high=LARGEST_SIDE)
        if self.cache_image_size is not None:
            check_number("cache_image_size", self.cache_image_size, low=self.image_size, high=LARGEST_SIDE)
        check_number("rand_augment", self.rand_augment, low=0, high=10)
        for flag in ("mixup", "cutmix"):
            check_number(flag, getattr(self, flag), low=0)
        check_number("label_smoothing", self.label_smoothing, low=0, high=1, open_high=True)
        if self.grey is not None:
            check_number("grey", self.grey, low=0, high=1)
        check_number("colour_jitter", self.colour_jitter, low=0, high=1.25)
        check_number("blur", self.blur, low=0, high=self.image_size / 3)
        check_number("max_bad_fraction", self.max_bad_fraction, low=0, high=1)
        _check_range(self.intensity_range)
        if self.recon_weight is not None:
            check_number("recon_weight", self.recon_weight, low=0, open_low=self.target_psnr is not None)
        if self.target_psnr is not None:
            check_number("target_psnr", self.target_psnr, low=5, high=60)
        check_number("lens_noise", self.lens_noise, low=0, high=0.5)
        if self.lens_noise and self.steered_psnr is not None and self.lens_class.learns:
            alone = -20 * math.log10(self.lens_noise)
            if self.steered_psnr >= alone:
                raise BadInput(
                    f"--lens_noise {self.lens_noise:g} alone leaves {alone:.1f} dB and --target_psnr is "
                    f"{self.steered_psnr:g}: give less noise (0 turns it off) or a target below {alone:.1f}"
                )
        if self.match_mse is not None and not self.has_rival:
            raise BadInput(f"--match_mse has no meaning with --lens {self.lens}: it is for fgsm and random")
        if self.has_rival and self.recon_weight is not None:
            raise BadInput(f"--recon_weight has no meaning with --lens {self.lens}: give --match_mse")
        if self.match_mse is not None and self.target_psnr is not None:
            raise BadInput("--match_mse and --target_psnr contradict each other: give one of them")
        if isinstance(self.match_mse, float):
            check_number("match_mse", self.match_mse, low=0, high=0.25, open_low=True)
        if self.steps is not None and self.epochs is not None:
            raise BadInput(f"--steps {self.steps} and --epochs {self.epochs:g} contradict each other: give one of them")
        if self.steps is not None:
            check_number("steps", self.steps, low=1)
        if self.epochs is not None:
            check_number("epochs", self.epochs, low=0, open_low=True)
        for flag in ("batch_size", "grad_accum_steps", "log_every", "val_every", "checkpoint_every", "val_images"):
            check_number(flag, getattr(self, flag), low=1)
        if self.shuffle_labels:
            check_number("batch_size", self.batch_size, low=2)
        if self.batch_size % self.grad_accum_steps:
            raise BadInput(
                f"--batch_size {self.batch_size} does not divide into --grad_accum_steps {self.grad_accum_steps} equal parts"
            )
        for flag in ("lr", "lens_lr"):
            check_number(flag, getattr(self, flag), low=0, open_low=True)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("warmup_fraction", self.warmup_fraction, low=0, high=1)
        check_number("seed", self.seed, low=0, high=2**32 - 1)
        check_number("num_workers", self.num_workers, low=0, high=MOST_PROCESSES)
        for flag in ("adam_beta1", "lens_ema"):
            check_number(flag, getattr(self, flag), low=0, high=1, open_high=True)
        for flag in ("lens_update_every", "judge_seeds", "judge_steps"):
            check_number(flag, getattr(self, flag), low=1)
        if self.threads is not None:
            check_number("threads", self.threads, low=1, high=MOST_THREADS)
        for flag in ("test_images", "probe_images", "probe_test_images", "judge_images"):
            if getattr(self, flag) is not None:
                check_number(flag, getattr(self, flag), low=1)
        if self.wandb != "disabled":
            _check_wandb_names(self.wandb_project, self.wandb_group, self.wandb_tags)
        if self.pretrained and self.extractor_weights:
            raise BadInput("--pretrained and --extractor_weights contradict each other: give one of them")
        if not self.sources:
            raise BadInput("--data is empty: give a built-in name or a path")
        if self.pseudo_sources is not None:
            check_number("pseudo_sources", self.pseudo_sources, low=2, high=64)
            if len(self.sources) > 1:
                raise BadInput(
                    f"--pseudo_sources {self.pseudo_sources} cuts one source into several and {len(self.sources)} are given: "
                    "give one --data, or drop it"
                )
        if self.group_by is not None:
            compiled(self.group_by)
        if self.judge_fraction is not None:
            check_number("judge_fraction", self.judge_fraction, low=0, high=0.9)
        if self.shortcut_key == "source" and self.source_count < 2:
            raise BadInput(
                "--shortcut_key source needs two or more --data, or --pseudo_sources: the first gets no cue, each other its own"
            )
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise BadInput(f"--device {self.device!r} is unknown: give auto, cpu, cuda or cuda:N")

    @property
    def sources(self) -> list[str]:
        """`data` as a list."""
        return as_list(self.data)

    @property
    def source_count(self) -> int:
        """How many sources there are, pseudo-sources where one is cut."""
        return self.pseudo_sources or len(self.sources)

    @property
    def shown_range(self) -> tuple[float, float] | None:
        """What deep images show as 0 and as 255, or None where each source decides."""
        if isinstance(self.intensity_range, str):
            return None
        low, high = self.intensity_range
        return float(low), float(high)

    @property
    def probes(self) -> list[str]:
        """`probe` as a list."""
        return as_list(self.probe)

    @property
    def judge_architectures(self) -> list[str]:
        """The architectures of the fresh classifiers; the first one also judges what the lens costs the class labels."""
        own = f"{self.extractor}:{json.dumps(self.extractor_args)}" if self.extractor_args else self.extractor
        return as_list(self.judges) or [own, "all_conv" if self.extractor != "all_conv" else "resnet18"]

    @property
    def seeds_of_judges(self) -> list[int]:
        """The seeds of the fresh classifiers of one architecture; runs of a grid, of other seeds, have none in common."""
        return list(range(self.seed * self.judge_seeds, (self.seed + 1) * self.judge_seeds))

    @property
    def has_rival(self) -> bool:
        """Whether something else than a lens changes the images."""
        return self.lens_class.changes and not self.lens_class.learns

    @functools.cached_property
    def lens_class(self) -> type[Lens]:
        """The plug-in that --lens names. Raises BadInput where there is none."""
        return find("lens", self.lens)

    @property
    def first_recon_weight(self) -> float:
        """λ at the first step."""
        return 100.0 if self.recon_weight is None else self.recon_weight

    @property
    def steered_psnr(self) -> float | None:
        """The PSNR that λ is steered to, or None where λ is fixed."""
        return 25.5 if self.recon_weight is None and self.target_psnr is None else self.target_psnr

    @property
    def resolved_cache_size(self) -> int:
        """The side of the cached squares: --cache_image_size, else 8/7 of the image size."""
        return cache_side(self.cache_image_size, self.image_size)


def cache_side(cache_image_size: int | None, image_size: int) -> int:
    """The side in pixels of the cached squares: what is said, else 8/7 of the image size, which crops are cut from."""
    return cache_image_size or -(-image_size * 8 // 7)


def as_list(value: list[str] | str) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _check_range(value: list[float] | str) -> None:
    """Raise BadInput where a range is neither auto nor two finite numbers, the lower one first."""
    if value == "auto":
        return
    if isinstance(value, str) or len(value) != 2 or not all(map(math.isfinite, value)) or not value[0] < value[1]:
        given = value if isinstance(value, str) else " ".join(f"{x:g}" for x in value)
        raise BadInput(
            f"--intensity_range is {given!r}: it must be auto, or two numbers, what is shown as black and what as white, the "
            "lower one first, such as 0 4095"
        )


def _check_wandb_names(project: str, group: str | None, tags: list[str]) -> None:
    """Raise BadInput for names that Weights & Biases refuses: some at the start, some when an offline run is uploaded."""
    named = [("project", project, 128), *(("tags", tag, 64) for tag in tags)]
    named += [("group", group, 128)] if group is not None else []
    for what, name, most in named:
        if not 1 <= len(name) <= most:
            shown = f"{name[:20]}…" if name else "empty"
            raise BadInput(
                f"--wandb_{what} {shown} has {len(name)} characters: Weights & Biases takes 1 to {most}; shorten it, or leave "
                "it out"
            )
    if found := sorted(set(project) & set("/\\#?%:")):
        raise BadInput(
            f"--wandb_project {project!r} has {' and '.join(found)} in it, and Weights & Biases takes no / \\ # ? % : there: "
            "write - instead (the entity stands in WANDB_ENTITY)"
        )


PLUGINS = {
    kind: str(default_of(field))
    for field in dataclasses.fields(Settings)
    if (kind := field.name) in ("task", "shortcut", "lens")
}
"""The settings that name a plug-in, with their defaults; those of the plug-in itself begin with its kind: `task.permutations`."""
