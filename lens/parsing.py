"""From a settings file and a command line to typed settings: unknown keys are refused, every mistake is one line."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jsonargparse
import yaml
from jsonargparse import ArgumentParser

from lens import protocols
from lens.protocols import BadInput, find, key_name, names, nearest
from lens.settings import ADDED, RESUMABLE, Settings, as_list
from lens.terminal import fitting, only_stdout_fails

T = TypeVar("T")

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)


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

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse; --help and --print_config print, and that fails as itself."""
        with only_stdout_fails():
            return super().parse_args(*args, **kwargs)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help in characters that the terminal has."""
        sys.stdout.write(fitting(message, sys.stdout))

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
        elif name and not equals and fields.get(name) in ("bool", "bool | None"):
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
    # How many steps is the default of the default: --epochs may say it instead (`train.total_steps`).
    preferred = {k: v for k, v in protocols.trait(plugins["task"], "defaults").items() if k != "steps"}
    parser.set_defaults(preferred)
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
    if fields["adversary"] is None:
        fields["adversary"] = plain["adversary"] = _default_adversary(made["task"], fields)
    elif fields["adversary"] in ("least_likely", "uniform") and made["task"].classes is None:
        raise BadInput(
            f"--adversary {fields['adversary']} needs classes and {key_name(chosen['task'])} has none (an embedding or a "
            "regression has no least likely answer, and none that is equally far from all): use --adversary full"
        )
    settings = Settings(**fields)
    if protocols.trait(made["task"], "answer") == "source" and settings.source_count < 2:
        raise BadInput(
            f"--task {key_name(chosen['task'])} asks which source an image comes from and --data names one, "
            f"{settings.sources[0]}: give two or more, or cut it with --split_sources 2"
        )
    return Parsed(settings, made, plain)


def _default_adversary(task: Any, fields: dict[str, Any]) -> str:
    """What the lens wants where nothing is said.

    Of two sources the least likely one is the other: a lens could swap the two, and both would still be told apart.
    """
    if task.classes is None:
        return "full"
    of_sources = protocols.trait(task, "answer") == "source"
    sources = fields["split_sources"] or len(as_list(fields["data"]))
    return "uniform" if of_sources and sources == 2 else "least_likely"


def parse_simple(argv: list[str], prog: str, settings: type[T], positional: str, what: str) -> T:
    """Settings of a small verb: a frozen dataclass whose field `positional` is the first argument, `what` it is in --help.

    A field that is a list takes one argument or several, before the flags and after them.
    """
    argv = _flags_last(normalise_arguments(argv, settings))
    parser = _Parser(prog=prog, description=_description(prog), allow_abbrev=False)
    kind = {field.name: str(field.type) for field in dataclasses.fields(settings)}[positional]  # type: ignore[arg-type]
    several: Any = {"nargs": "+"} if kind.startswith("list") else {}
    parser.add_argument(positional, type=str, help=what, **several)
    parser.add_class_arguments(settings, None, skip={positional})
    parsed = parser.instantiate(parser.parse_args(argv))
    return settings(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(settings)})  # type: ignore[arg-type]


def _flags_last(argv: list[str]) -> list[str]:
    """Rewritten words with the arguments that belong to no flag first: the parser takes them in one piece only."""
    bare = [word.startswith("--") and "=" not in word for word in argv]
    values = [i > 0 and bare[i - 1] and not word.startswith("-") for i, word in enumerate(argv)]
    mine = [not word.startswith("-") and not value for word, value in zip(argv, values, strict=True)]
    return [w for w, m in zip(argv, mine, strict=True) if m] + [w for w, m in zip(argv, mine, strict=True) if not m]


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
    asked_about = {key: stored[key] for key in ("data", "split_sources") if key in stored}  # a task may need several
    both = f"{directory} was written by lens {writer} and this is lens {__version__}"
    try:
        defaults = parse([], "lens.train", chosen | asked_about).plain
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
    fields = (field for field in dataclasses.fields(Settings) if field.name in ADDED)
    without = {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields}
    return defaults | without | stored


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
