"""Typed settings: a file, then the command line; unknown keys refused; the resolved values written into the run."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import jsonargparse
import yaml
from jsonargparse import ArgumentParser

from lens import protocols
from lens.protocols import BadInput, check_number, find, key_name, names, nearest

T = TypeVar("T")
RESUMABLE = ("steps", "epochs", "device", "workers", "wandb", "wandb_group", "wandb_tags", "wandb_project")
"""The settings that may differ when a run is resumed."""
ADDED = (
    "wandb", "wandb_group", "wandb_tags", "wandb_project", "match_mse", "norm_sync", "data_root", "cache",
)  # fmt: skip
"""The settings younger than 0.1.0 whose default does what versions without them did: a run that lacks them takes it."""

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training run; every one is a flag and a key of the YAML file."""

    task: str = "rotation"
    """Pretext task: a name, or a path to a .py file."""
    data: list[str] | str = "chest_xray"
    """Where images come from: a built-in name, a path (with a slash), or hub:owner/name; several are pooled."""
    data_root: str | None = None
    """Folder of the data sets that are called by name (cifar10, imagenet, …); default $LENS_DATA, else ./data."""
    image_column: str | None = None
    """Column of the images, where a table (parquet, shards, hub) leaves it open."""
    label_column: str | None = None
    """Column of the labels, where a table (parquet, shards, hub) leaves it open."""
    image_size: int = 96
    """Side of the square images in pixels, 8 or more."""
    cache: Literal["disk", "none"] = "disk"
    """disk: decode each image once, into --cache_dir; none: decode when a batch is read (give it --workers)."""
    cache_size: int | None = None
    """Side of the cached squares, which random crops are cut from; default 8/7 of the image size."""
    cache_dir: str | None = None
    """Where decoded images are kept between runs; default $LENS_CACHE, else lens in the user's cache directory."""
    max_bad_fraction: float = 0.01
    """Share of unreadable images, 0 to 1, beyond which a source is refused."""
    augment: Literal["none", "crop", "inception"] = "crop"
    """Training crops: none (centre), crop (random crop and flip), inception (area 0.05-1, flip, colour jitter)."""

    shortcut: str = "none"
    """Shortcut to plant: a name, or a path to a .py file."""
    shortcut_key: Literal["constant", "image", "source", "random"] = "constant"
    """What sets the shortcut's parameter; random is the control that predicts nothing."""

    extractor: str = "resnet18"
    """Feature extractor: any timm model name."""
    extractor_stem: Literal["default", "small"] = "default"
    """small: a 3x3 root without max-pool, for ResNets on small images."""
    extractor_args: dict[str, Any] = dataclasses.field(default_factory=dict)
    """More arguments for timm.create_model, e.g. --extractor_args.channels [32,64,128,256]."""
    extractor_weights: str | None = None
    """Safetensors file to start the extractor from, as timm names the tensors."""
    pretrained: bool = False
    """Start the extractor from timm's published weights (downloads them)."""
    lens_encoder: str = "tu-tf_mobilenetv3_small_minimal_100"
    """Encoder of the lens's U-Net: any segmentation-models-pytorch name, or tu-NAME for any timm model."""
    lens_depth: int = 5
    """Levels of the U-Net, 3 to 5; its input is padded to a multiple of 2**depth."""
    lens_weights: str | None = None
    """Safetensors file to start the lens from."""

    adversary: Literal["least_likely", "full", "uniform", "fgsm", "random", "none"] = "least_likely"
    """What the lens wants the task's answer to be; instead of a lens: fgsm (adversarial training), random (augmentation),
    or none (the extractor alone)."""
    recon_weight: float | None = None
    """Weight λ of the mean squared error on [0, 1]; fixed, or with --target_psnr where steering starts (default 100)."""
    target_psnr: float | None = None
    """PSNR in dB that λ is steered to, 5 to 60; default 25.5, unless --recon_weight is given."""
    match_mse: float | str | None = None
    """Mean squared change on [0, 1] of fgsm and random: a value, or the directory of a paired lens run (its validation
    error); default that of --target_psnr."""
    feed: Literal["both", "lensed"] = "both"
    """What the extractor learns from: raw and lensed images in equal parts (the paper), or lensed ones only."""
    batch_norm: Literal["separate", "joint"] = "separate"
    """Batch statistics of raw and lensed images: two sets, or one concatenated batch."""

    norm_sync: Literal["global", "local"] = "global"
    """Batch statistics under torchrun: over all ranks, as one process would see them, or each rank's own."""

    steps: int | None = None
    """Training steps; default 150, or as many as --epochs need."""
    epochs: float | None = None
    """Passes over the training split, instead of --steps."""
    batch_size: int = 16
    """Images a step, of all ranks together (rotation shows each of them in four views)."""
    accumulate: int = 1
    """Parts that a batch is cut into to save memory; batch statistics are each part's own."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Optimiser of the extractor (the lens always uses Adam); sgd has momentum 0.9."""
    lr: float = 3e-4
    """Peak learning rate of the extractor."""
    lens_lr: float = 2e-3
    """Peak learning rate of the lens."""
    weight_decay: float = 1e-4
    """Weight decay of the extractor."""
    warmup: float = 0.05
    """Share of the steps, 0 to 1, in which both rates rise linearly before they fall along a cosine."""

    seed: int = 0
    """Seed of everything random, 0 or more."""
    device: str = "auto"
    """auto (cuda where there is one, else cpu), cpu, cuda or cuda:N."""
    precision: Literal[32, 64, "bf16"] = 32
    """32, bf16 (mixed precision), or 64 (double, to compare runs that must agree)."""
    workers: int = 0
    """Processes that read batches; 0 reads them in the main process."""
    threads: int | None = None
    """CPU threads; default: as many as torch chooses. Bit-identical resuming needs the same number."""

    out: str | None = None
    """Run directory; default runs/<task>-<time>. One that holds a run is never overwritten."""
    resume: str | None = None
    """Run directory to continue; only steps, epochs, device, workers and the wandb settings may differ."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    eval_every: int = 50
    """Steps between evaluations on the validation split."""
    checkpoint_every: int = 50
    """Steps between checkpoints."""
    eval_images: int = 128
    """Validation images that an evaluation during training looks at, at most."""
    test_images: int | None = None
    """Test images that the pretext task is asked about at the end, at most; default all."""
    probe_images: int | None = None
    """Training images that a probe is fitted on, at most; default all."""
    probe: list[str] | str = dataclasses.field(default_factory=list)
    """Labelled sources for the linear and k-NN probes at the end; default: the training sources that have labels."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Mirror the record, settings, summary and pictures to Weights & Biases."""
    wandb_project: str = "lens"
    """Project of the Weights & Biases run."""
    wandb_group: str | None = None
    """Group of the Weights & Biases run."""
    wandb_tags: list[str] = dataclasses.field(default_factory=list)
    """Tags of the Weights & Biases run, one or several."""

    def __post_init__(self) -> None:
        """Raise BadInput, with the flag, for a value outside its range."""
        check_number("image_size", self.image_size, low=8)
        if self.cache_size is not None:
            check_number("cache_size", self.cache_size, low=self.image_size)
        check_number("max_bad_fraction", self.max_bad_fraction, low=0, high=1)
        check_number("lens_depth", self.lens_depth, low=3, high=5)
        if self.recon_weight is not None:
            check_number("recon_weight", self.recon_weight, low=0, open_low=self.target_psnr is not None)
        if self.target_psnr is not None:
            check_number("target_psnr", self.target_psnr, low=5, high=60)
        if self.match_mse is not None and not self.has_rival:
            raise BadInput(f"--match_mse has no meaning with --adversary {self.adversary}: it is for fgsm and random")
        if self.has_rival and self.recon_weight is not None:
            raise BadInput(f"--recon_weight has no meaning with --adversary {self.adversary}: give --match_mse")
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
        for flag in ("batch_size", "accumulate", "log_every", "eval_every", "checkpoint_every", "eval_images"):
            check_number(flag, getattr(self, flag), low=1)
        if self.batch_size % self.accumulate:
            raise BadInput(
                f"--batch_size {self.batch_size} does not divide into --accumulate {self.accumulate} equal parts"
            )
        for flag in ("lr", "lens_lr"):
            check_number(flag, getattr(self, flag), low=0, open_low=True)
        check_number("weight_decay", self.weight_decay, low=0)
        check_number("warmup", self.warmup, low=0, high=1)
        check_number("seed", self.seed, low=0, high=2**32 - 1)
        check_number("workers", self.workers, low=0)
        for flag in ("threads", "test_images", "probe_images"):
            if getattr(self, flag) is not None:
                check_number(flag, getattr(self, flag), low=1)
        if self.pretrained and self.extractor_weights:
            raise BadInput("--pretrained and --extractor_weights contradict each other: give one of them")
        if not self.sources:
            raise BadInput("--data is empty: give a built-in name or a path")
        if self.shortcut_key == "source" and len(self.sources) < 2:
            raise BadInput("--shortcut_key source needs two or more --data: the first gets no cue, each other its own")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise BadInput(f"--device {self.device!r} is unknown: give auto, cpu, cuda or cuda:N")

    @property
    def sources(self) -> list[str]:
        """`data` as a list."""
        return as_list(self.data)

    @property
    def probes(self) -> list[str]:
        """`probe` as a list."""
        return as_list(self.probe)

    @property
    def has_rival(self) -> bool:
        """Whether something else than a lens changes the images."""
        return self.adversary in ("fgsm", "random")

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
        """The side of the cached squares: --cache_size, else 8/7 of the image size."""
        return self.cache_size or -(-self.image_size * 8 // 7)


def as_list(value: list[str] | str) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@dataclasses.dataclass(frozen=True)
class Parsed:
    """The settings, the plug-ins with their own settings, and all of it as plain values for settings.yaml."""

    settings: Settings
    plugins: dict[str, Any]
    plain: dict[str, Any]


class _Parser(ArgumentParser):
    """A parser whose errors are one line, with the nearest key where a key is unknown."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise BadInput(_one_line(message, self.known_keys()))

    def known_keys(self) -> list[str]:
        return sorted(
            {option[2:] for action in self._actions for option in action.option_strings if option[:2] == "--"}
        )


def _one_line(message: str, keys: list[str]) -> str:
    keys = [key for key in keys if not key.endswith("+")]
    unknown = re.search(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted", message)
    if unknown:
        word = (unknown[1] or unknown[2]).split("=")[0].lstrip("-")
        if "." in word and not any(key.startswith(word.split(".")[0] + ".") for key in keys):
            owner = word.split(".")[0]
            if owner in names("task") + names("shortcut"):
                return f"--{word}: {owner} is not selected, so its settings have no meaning; select it or drop the flag"
        return f"unknown setting {word!r}: {nearest(word, keys)}"
    wrong = re.match(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL)
    if wrong:
        key, rest = wrong[1], wrong[2]
        value = re.search(r"(?:Got|Given) value: (.*)", rest)
        wanted = " or ".join(dict.fromkeys(re.findall(r"Expected an? (?:<class ')?([^\n'>]*(?:'[^\n\]]*\])?)", rest)))
        if value and wanted:
            return f"--{key} is {value[1]!r}: it must be {wanted.replace('typing.', '').replace('NoneType', 'null')}"
        return " ".join(f"--{key}: {rest}".split())
    return " ".join(message.split())


def normalise_arguments(argv: list[str], settings: type[Any]) -> list[str]:
    """Rewrite what the parser does not take as people write it.

    Lists: `--data A --data B` and `--data A B` both become one JSON list (the parser keeps the last of a repeated
    flag). Switches: a bare `--pretrained` becomes `--pretrained=true`.
    """
    fields = {field.name: str(field.type) for field in dataclasses.fields(settings)}
    lists: dict[str, list[str]] = {}
    rest: list[str] = []
    pending: str | None = None
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        name = flag[2:].removesuffix("+") if flag.startswith("--") else ""
        if word.startswith("--"):
            pending = None
        if name and fields.get(name, "").startswith("list"):
            pending = name
            lists.setdefault(name, [])
            if equals:
                lists[name] += _list_value(value)
        elif pending is not None:
            lists[pending] += _list_value(word)
        elif name and not equals and fields.get(name) == "bool":
            following = " ".join(argv[position + 1 : position + 2]).lower()
            rest.append(word if following in ("true", "false") else f"{word}=true")
        else:
            rest.append(word)
    for name, values in lists.items():
        if not values:
            raise BadInput(f"--{name} needs a value")
        rest.append(f"--{name}={json.dumps(values)}")
    return rest


def _list_value(text: str) -> list[str]:
    """One value of a list flag, or several written as YAML (`[a, b]`)."""
    value = yaml.safe_load(text) if text.startswith("[") and text.endswith("]") else text
    return [str(item) for item in value] if isinstance(value, list) else [str(text)]


def _selected(argv: list[str], base: dict[str, Any]) -> dict[str, str]:
    """The task and the shortcut that a command line selects, before the full parser exists."""
    chosen = {"task": "rotation", "shortcut": "none"}
    chosen.update({kind: str(base[kind]) for kind in chosen if kind in base})
    for i, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        value = value if equals else (argv[i + 1] if i + 1 < len(argv) else "")
        if flag == "--config" and Path(value).is_file():
            try:
                content = yaml.safe_load(Path(value).read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue  # the parser names the file and the place
            if isinstance(content, dict):
                chosen.update({kind: str(content[kind]) for kind in chosen if kind in content})
        elif flag[2:] in chosen and flag.startswith("--"):
            chosen[flag[2:]] = value
    return chosen


def parse(argv: list[str], prog: str, base: dict[str, Any] | None = None) -> Parsed:
    """The settings of a training run: defaults, then `base` (a run's own), then --config files, then flags.

    Raises BadInput, in one line, for an unknown key (with the nearest one), a wrong type or a value out of range.
    """
    argv = normalise_arguments(argv, Settings)
    chosen = _selected(argv, base or {})
    plugins = {kind: find(kind, key) for kind, key in chosen.items()}
    parser = _Parser(prog=prog, description=_description(prog), allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of settings; later flags override it")
    parser.add_class_arguments(Settings, None)
    for kind, plugin in plugins.items():
        name = key_name(chosen[kind])
        if name in {field.name for field in dataclasses.fields(Settings)}:
            raise BadInput(f"--{kind} {chosen[kind]}: {name} is the name of a setting; give the file another name")
        if any(field.init for field in dataclasses.fields(plugin)):
            parser.add_class_arguments(plugin, name)
    if base:
        # The settings of a plug-in that is no longer selected: that it is another one is refused by name.
        sections = {key_name(key) for key in chosen.values()}
        known = {field.name for field in dataclasses.fields(Settings)}
        kept = {k: v for k, v in base.items() if k in known or k in sections or not isinstance(v, dict)}
        argv = [f"--config={yaml.safe_dump(kept)}", *argv]
    parsed = parser.parse_args(argv)
    plain = {key: value for key, value in parsed.as_dict().items() if key not in ("config", "out", "resume")}
    instances = parser.instantiate(parsed)
    fields = {field.name: getattr(instances, field.name) for field in dataclasses.fields(Settings)}
    made = {kind: instances.get(key_name(chosen[kind])) or plugin() for kind, plugin in plugins.items()}
    return Parsed(Settings(**fields), made, plain)


def parse_simple(argv: list[str], prog: str, settings: type[T], positional: str) -> T:
    """Settings of a small verb: a frozen dataclass whose field `positional` is the first argument."""
    argv = normalise_arguments(argv, settings)
    parser = _Parser(prog=prog, description=_description(prog), allow_abbrev=False)
    parser.add_argument(positional, type=str, help=f"the {positional} directory")
    parser.add_class_arguments(settings, None, skip={positional})
    parsed = parser.instantiate(parser.parse_args(argv))
    return settings(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(settings)})  # type: ignore[arg-type]


def _description(prog: str) -> str:
    lines = [protocols.first_docstring_line(Path(__file__).parent / f"{prog.split('.')[-1].split()[-1]}.py")]
    for kind in ("task", "shortcut", "source"):
        lines.append(f"{kind}s: " + "; ".join(f"{name} ({protocols.summary_line(kind, name)})" for name in names(kind)))
    return "\n".join(lines)


def differing(stored: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The settings in which a resumed run would differ from what it was started with, those that may aside."""
    lists = ("data", "probe")  # one source may be written as a word or as a list of one
    stored, given = ({k: as_list(v) if k in lists else v for k, v in plain.items()} for plain in (stored, given))
    keys = set(stored) | set(given)
    return sorted(key for key in keys - set(RESUMABLE) if stored.get(key) != given.get(key))


def of_this_version(stored: dict[str, Any], writer: str, directory: Path) -> dict[str, Any]:
    """A run's settings with the keys of this version, where it can be known what they meant to the run.

    Raises BadInput, naming both versions and the key, where the version `writer` knew another set of settings (but for
    those in ADDED), and where it is newer: the same settings may then mean something else.
    """
    from lens import __version__

    chosen: dict[str, Any] = {kind: str(stored[kind]) for kind in ("task", "shortcut") if kind in stored}
    both = f"{directory} was written by lens {writer} and this is lens {__version__}"
    try:
        defaults = parse([], "lens.train", chosen).plain
    except BadInput as error:
        raise BadInput(f"{both}: {error}") from error
    sections = [key_name(key) for key in chosen.values()]
    theirs, ours = (
        {key for key in plain if key not in sections}
        | {f"{name}.{key}" for name in sections if isinstance(plain.get(name), dict) for key in plain[name]}
        for plain in (stored, defaults)
    )
    if unknown := sorted(theirs - ours):
        raise BadInput(f"{both}, which does not know the setting {unknown[0]!r}: use lens {writer}")
    if missing := sorted(ours - theirs - set(ADDED)):
        raise BadInput(
            f"{both}, whose setting {missing[0]!r} it lacks, so what it did there is not known: use lens {writer}"
        )
    if _numbers(writer) > _numbers(__version__):
        raise BadInput(f"{both}, which is older and may read its settings otherwise: use lens {writer}")
    return defaults | stored


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def refuse_foreign_code(plain: dict[str, Any], argv: list[str], directory: Path) -> None:
    """A run directory from a stranger runs no code: a plug-in file must be named again by hand.

    Raises BadInput where a run's task or shortcut is a file that the command line does not name.
    """
    for kind in ("task", "shortcut"):
        key = str(plain.get(kind, ""))
        named = [
            word
            for i, word in enumerate(argv)
            if word == f"--{kind}={key}" or argv[i - 1 : i + 1] == [f"--{kind}", key]
        ]
        if protocols.is_file_key(key) and not named:
            raise BadInput(
                f"{directory} uses the {kind} file {key}: if you trust that file, say so with --{kind} {key}"
            )
