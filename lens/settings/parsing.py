"""From a settings file and a command line to typed settings: unknown keys are refused, every mistake is one line."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jsonargparse
from jsonargparse import ArgumentParser

from lens.base import yaml_text
from lens.base.errors import BadInput, nearest
from lens.base.terminal import fitting, only_stdout_fails
from lens.protocols.lookup import find, first_docstring_line, folder_of, is_file_key, key_name, names, summary_line
from lens.settings import agreement, idle, old_names, words
from lens.settings.field import as_list, default_of, fields_of, groups_of
from lens.settings.run_settings import FIELDS, PLUGINS, Settings

T = TypeVar("T")

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
LOADER = "plain"
jsonargparse.set_loader(LOADER, words.plain_value, exceptions=(yaml_text.YamlError,))


@dataclasses.dataclass(frozen=True)
class Parsed:
    """The settings, the plug-ins with their own settings, and all of it as plain values for settings.yaml."""

    settings: Settings
    plugins: dict[str, Any]
    plain: dict[str, Any]
    given: frozenset[str] = frozenset()
    """The settings that a person has given now: by a flag, or by a --config file in another way than the default."""


class _Parser(ArgumentParser):
    """A parser whose errors are one line, with the nearest key where a key is unknown."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise BadInput(_one_line(_outside(message), self.known_keys()))

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse; --help and --print_config print, and that fails as itself."""
        with only_stdout_fails():
            return super().parse_args(*args, **kwargs)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help in characters that the terminal has."""
        sys.stdout.write(fitting(_outside(message), sys.stdout))

    def known_keys(self) -> list[str]:
        return sorted(
            {_outside(option[2:]) for action in self._actions for option in action.option_strings if option[:2] == "--"}
        )


def _one_line(message: str, keys: list[str]) -> str:
    keys = [key for key in keys if not key.endswith("+")]
    unknown = re.search(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted", message)
    if unknown:
        word = (unknown[1] or unknown[2]).split("=")[0].lstrip("-")
        owner, dot, _ = word.partition(".")
        if dot and owner in PLUGINS:
            own = [key for key in keys if key.startswith(f"{owner}.")]
            return f"--{word}: what --{owner} names has no such setting{': ' + nearest(word, own) if own else ' and no other'}"
        if dot and owner in names("task") + names("shortcut"):
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
    flag). Switches: a bare `--pretrained` becomes `--pretrained=true`. Paths: ~ becomes the person's own folder.

    Raises BadInput for a value that no file of settings can hold, and for one that would import code.
    """
    words.refuse_classes_in_words(argv)
    fields = fields_of(settings)
    types = {name: str(field.type) for name, field in fields.items()}
    lists: dict[str, list[str]] = {}
    rest: list[str] = []
    pending: str | None = None
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        name = flag[2:].removesuffix("+") if flag.startswith("--") else ""

        def checked(text: str, name: str = name) -> str:
            return words.checked(name or "a word", text, name in fields and fields[name].metadata.get("path", False))

        if word.startswith("--"):
            pending = None
        if name and types.get(name, "").startswith("list"):
            pending = name
            lists.setdefault(name, [])
            if equals:
                lists[name] += [checked(one) for one in _list_value(value)]
        elif pending is not None:
            lists[pending] += [checked(one, pending) for one in _list_value(word)]
        elif name and not equals and types.get(name) in ("bool", "bool | None"):
            following = " ".join(argv[position + 1 : position + 2]).lower()
            rest.append(word if following in ("true", "false") else f"{word}=true")
        elif name in fields and equals:
            rest.append(f"{flag}={checked(value)}")
        else:
            before = argv[position - 1][2:] if position and argv[position - 1].startswith("--") else ""
            rest.append(checked(word, before))
    for name, values in lists.items():
        if not values:
            raise BadInput(f"--{name} needs a value")
        # One word for a list of numbers is none of them (`auto`).
        alone = len(values) == 1 and not types[name].startswith("list[str]")
        rest.append(f"--{name}={values[0] if alone else json.dumps(values, ensure_ascii=False)}")
    return rest


def _list_value(text: str) -> list[str]:
    """One value of a list flag, or several written as JSON or YAML (`[a, b]`); a name in brackets is no list."""
    try:
        value = words.plain_value(text) if text.startswith("[") and text.endswith("]") else text
    except ValueError:
        value = text
    return [str(item) for item in value] if isinstance(value, list) else [str(text)]


def _without_files(argv: list[str]) -> tuple[list[str], list[str]]:
    """The --config files that a command line names, and its other words."""
    files: list[str] = []
    rest: list[str] = []
    awaited = False
    for word in argv:
        flag, equals, value = word.partition("=")
        if awaited or (flag == "--config" and equals):
            files.append(words.checked("config", word if awaited else value, is_path=True))
            awaited = False
        elif flag == "--config":
            awaited = True
        else:
            rest.append(word)
    if awaited:
        raise BadInput("--config needs a value")
    return files, rest


def value_of(flag: str, argv: list[str]) -> str | None:
    """The value that a command line gives to a flag, None where it does not."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def path_of(flag: str, argv: list[str]) -> str | None:
    """`value_of` a flag that names a path: ~ is the person's own folder. Raises BadInput for what is no path."""
    value = value_of(flag, argv)
    return None if value is None else words.checked(flag[2:], value, is_path=True)


def _selected(layers: list[dict[str, Any]], argv: list[str]) -> dict[str, str]:
    """The plug-ins that files and a command line select, before the full parser exists."""
    chosen = dict(PLUGINS)
    for layer in layers:
        chosen.update(
            {kind: str(layer[kind]) for kind in chosen if kind in layer and not isinstance(layer[kind], dict)}
        )
    for kind in chosen:
        for i, word in enumerate(argv):
            flag, equals, value = word.partition("=")
            if flag == f"--{kind}":
                chosen[kind] = value if equals else (argv[i + 1] if i + 1 < len(argv) else "")
    return chosen


def refuse_untrusted_files(settings: dict[str, Any], where: str, argv: list[str]) -> None:
    """A file of settings runs nobody's code: a plug-in file that it names must be named again by hand.

    Raises BadInput where its task, shortcut or lens is a file that the command line does not name.
    """
    for kind in PLUGINS:
        key = str(settings.get(kind, ""))
        if is_file_key(key) and value_of(f"--{kind}", argv) != key:
            raise BadInput(f"{where} uses the {kind} file {key}: if you trust that file, say so with --{kind} {key}")


def parse(argv: list[str], prog: str, base: dict[str, Any] | None = None, *, refuse_idle: bool = True) -> Parsed:
    """The settings of a training run: defaults, then `base` (a run's own), then --config files, then flags.

    Raises BadInput, in one line, for an unknown key (with the nearest one), a wrong type or a value out of range, for a
    value that would import code, and for settings of the files and flags that nobody would read in such a run (`idle`;
    with `refuse_idle` False they are left to the caller, in `Parsed.given`).
    """
    files, flags = _without_files(argv)
    layers = [words.of_file(file) for file in files]
    for file, layer in zip(files, layers, strict=True):
        refuse_untrusted_files(old_names.in_settings(layer), file, argv)  # whatever names it has for them
    if base:
        words.refuse_classes("the stored settings", base)
        layers.insert(0, base)
    flags = old_names.in_words(flags, _selected(layers, flags))
    chosen = _selected([old_names.in_settings(layer) for layer in layers], flags)
    named = [None, *files] if base else files
    layers = [old_names.in_settings(layer, chosen, file) for layer, file in zip(layers, named, strict=True)]
    flags, asked = _without("--print_config", normalise_arguments(flags, Settings))
    plugins = {kind: find(kind, key) for kind, key in chosen.items()}
    known = set(FIELDS)
    parser, opened = _parser(prog, tuple(plugins.items()))
    if base:
        # The settings of a plug-in that is no longer selected: that it is another one is refused by name.
        other = tuple(f"{kind}." for kind in PLUGINS if base.get(kind, PLUGINS[kind]) != chosen[kind])
        layers[0] = {key: value for key, value in layers[0].items() if not key.startswith(other)}
    lists = [name for name, field in FIELDS.items() if str(field.type).startswith("list")]
    own = [words.of_mapping(_checked(layer), lists, [*opened, *map(_outside, opened)]) for layer in layers]
    told = [*(word for one in own for word in one), *flags]
    for word in told:  # the parser's own names: it would read a file that one of them is given
        if (name := word[2:].partition("=")[0].partition(".")[0]) in map(SECTION.format, PLUGINS):
            raise BadInput(
                f"unknown setting {name!r}: give a plug-in's settings one by one, as in --task.SETTING VALUE"
            )
    refuse_times(told, Settings)
    for kind, plugin in plugins.items():
        refuse_times(told, plugin, f"{kind}.")
    parsed = _told(parser, words.gathered([_inside(word) for word in told], opened))
    plain = _flat({key: value for key, value in parsed.as_dict().items() if key not in ("config", "out", "resume")})
    instances = parser.instantiate(parsed)
    fields = {name: getattr(instances, name) for name in FIELDS}
    made = {kind: _made(plugin, instances.get(SECTION.format(kind))) for kind, plugin in plugins.items()}
    preferred = _preferred(plugins["task"])
    default = {name: preferred.get(name, default_of(field)) for name, field in FIELDS.items()}
    in_files = {words.key_of(word) for one in own[bool(base) :] for word in one}
    given = {word for word in in_files if word in known and _differs(fields[word], default[word])}
    given |= {name for word in flags if (name := words.key_of(word)) in known and fields[name] is not None}
    if fields["objective"] is None and plugins["lens"].learns:
        fields["objective"] = plain["objective"] = _default_objective(made["task"], fields)
    elif fields["objective"] in ("least_likely", "uniform") and made["task"].classes is None:
        raise BadInput(
            f"--objective {fields['objective']} needs classes and {key_name(chosen['task'])} has none (an embedding or a "
            "regression has no least likely answer, and none that is equally far from all): use --objective full"
        )
    settings = Settings.of(fields)
    if asked:
        with only_stdout_fails():
            sys.stdout.write(yaml_text.dump(plain))
            sys.stdout.flush()
        raise SystemExit(0)
    if made["task"].answer == "source" and settings.data.source_count < 2:
        raise BadInput(
            f"--task {key_name(chosen['task'])} asks which source an image comes from and --data names one, "
            f"{settings.data.sources[0]}: give two or more, or cut it with --pseudo_sources 2"
        )
    if refuse_idle:
        idle.refuse(settings, sorted(given))
    return Parsed(settings, made, plain, frozenset(given))


@functools.lru_cache(maxsize=16)
def _parser(prog: str, plugins: tuple[tuple[str, type[Any]], ...]) -> tuple[_Parser, tuple[str, ...]]:
    """The parser of a run with such plug-ins, by kind, and the settings into which it does not look.

    A grid parses the settings of every cell: reading them from the source takes longer than all the rest.
    """
    parser = _Parser(prog=prog, description=_description(prog), allow_abbrev=False, parser_mode=LOADER)
    parser.add_argument("--config", action="config", help="YAML file of settings; flags override it")
    opened = _add_settings(parser, Settings, None)
    for kind, plugin in plugins:
        opened += _add_settings(parser, plugin, SECTION.format(kind))
    preferred = _preferred(dict(plugins)["task"])
    has = set(FIELDS)
    has |= {f"{kind}.{field.name}" for kind, plugin in plugins for field in dataclasses.fields(plugin)}
    parser.set_defaults({_inside(f"--{key}")[2:]: value for key, value in preferred.items() if key in has})
    return parser, tuple(opened)


SECTION = "{}_settings"
"""What the parser calls the settings of a kind's plug-in: to its library `--task` and `--task.permutations` are one thing."""


def _inside(word: str) -> str:
    """A word as the parser knows it: `--task.permutations=8` → `--task_settings.permutations=8`."""
    return re.sub(rf"^--({'|'.join(PLUGINS)})\.", lambda found: f"--{SECTION.format(found[1])}.", word)


def _outside(text: str) -> str:
    """Names of the parser's as a person knows them; the flag of a whole section, which nobody may give, is left out."""
    whole = "|".join(map(SECTION.format, PLUGINS))
    text = re.sub(rf"\s\[--({whole}) CONFIG\]|^ +--({whole}) CONFIG\n( {{10,}}.*\n)?", "", text, flags=re.MULTILINE)
    return re.sub(rf"\b{SECTION.format('(' + '|'.join(PLUGINS) + ')')}\.", r"\1.", text)


def _flat(plain: dict[str, Any]) -> dict[str, Any]:
    """Settings with those of a plug-in by their kind's name: `task.permutations`."""
    sections = {SECTION.format(kind): kind for kind in PLUGINS}
    found = {key: value for key, value in plain.items() if key not in sections}
    for section, kind in sections.items():
        found |= {f"{kind}.{name}": value for name, value in (plain.get(section) or {}).items()}
    return found


def _without(flag: str, argv: list[str]) -> tuple[list[str], bool]:
    """A command line without a flag that takes no value, and whether it was there."""
    rest = [word for word in argv if word.partition("=")[0] != flag]
    return rest, len(rest) < len(argv)


def _preferred(task: type[Any]) -> dict[str, Any]:
    """The defaults of a task. How many steps is the default of the default: --epochs may say it instead (`train.total_steps`)."""
    return {k: v for k, v in task.defaults.items() if k != "steps"}


def _add_settings(parser: _Parser, settings: type[Any], section: str | None) -> list[str]:
    """Make a flag of each field of a dataclass; returns the names of those whose values the parser does not look into.

    Where a setting may hold anything, the parser's library would import and call whatever class it names.
    """
    opened = words.open_fields(settings)
    prefix = f"{section}." if section else ""
    fields = fields_of(settings)
    for part in groups_of(settings).values() or (settings,):
        if any(field.init for field in dataclasses.fields(part)):
            parser.add_class_arguments(part, section, skip={name for name in opened if name in fields_of(part)})
    for name in opened:
        parser.add_argument(f"--{prefix}{name}", type=words.mapping, default=default_of(fields[name]), help="a mapping")
    return [prefix + name for name in opened]


def _differs(value: Any, default: Any) -> bool:
    """Whether a value is another than the default; one source may be written as a word or as a list of one."""
    return bool((as_list(value) if isinstance(value, str) and isinstance(default, list) else value) != default)


def _made(plugin: type[Any], section: Any) -> Any:
    """A plug-in with its settings."""
    if section is None or isinstance(section, plugin):
        return section or plugin()
    return plugin(**dict(vars(section)))


def _checked(layer: dict[str, Any]) -> dict[str, Any]:
    """A file's settings with ~ as the person's own folder. Raises BadInput for words and paths that `words.checked` refuses."""
    paths = {name for name, field in FIELDS.items() if field.metadata.get("path")}

    def one(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [one(name, item) for item in value]
        return words.checked(name, value, name in paths) if isinstance(value, str) else value

    return {name: one(name, value) for name, value in layer.items()}


def refuse_times(told: list[str], settings: type[Any], prefix: str = "") -> None:
    """Raise BadInput for a number that is written as a time, or is longer than one that a float holds.

    The parser's library takes 1:30 for ninety, as YAML 1.1 does, and the other one ends in its traceback.
    """
    types = {f"--{prefix}{name}": str(field.type) for name, field in fields_of(settings).items()}
    numbers = {flag: kind for flag, kind in types.items() if re.search(r"\b(int|float)\b", kind)}
    for word, following in itertools.zip_longest(told, told[1:], fillvalue=""):
        flag, equals, text = word.partition("=")
        text = text if equals else following
        if flag in numbers and re.fullmatch(r"[-+\d_.]{40,}", text):
            raise BadInput(f"{flag} is a number of {len(text)} characters: no setting is")
        parts = re.findall(r'[^\s"\[\],]+', text)  # of a list, as it is written
        is_time = any(re.fullmatch(r"[-+]?\d[\d_]*(:\d+)+(\.\d*)?", part) for part in parts)
        if flag in numbers and (is_time or ("str" not in numbers[flag] and re.search(r"\d:\d", text))):
            raise BadInput(
                f"{flag} is {text!r}: it must be {numbers[flag].replace('None', 'null').replace(' |', ' or')}"
            )


def _default_objective(task: Any, fields: dict[str, Any]) -> str:
    """What the lens wants where nothing is said.

    Of two sources the least likely one is the other: a lens could swap the two, and both would still be told apart.
    """
    if task.classes is None:
        return "full"
    of_sources = task.answer == "source"
    sources = fields["pseudo_sources"] or len(as_list(fields["data"]))
    return "uniform" if of_sources and sources == 2 else "least_likely"


def parse_simple(argv: list[str], prog: str, settings: type[T], positional: str, what: str) -> T:
    """Settings of a small verb: a frozen dataclass whose field `positional` is the first argument, `what` it is in --help.

    A field that is a list takes one argument or several, before the flags and after them.
    """
    argv = _flags_last(normalise_arguments(old_names.renamed(argv, settings), settings))
    refuse_times(argv, settings)
    parser = _simple_parser(prog, settings, positional, what)  # type: ignore[arg-type]
    parsed = parser.instantiate(_told(parser, argv))
    values = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = values[field.name] = getattr(parsed, field.name)
        if field.metadata.get("path") and value is not None:  # the first argument has no flag that was looked at
            several = [words.checked(field.name, one, is_path=True) for one in as_list(value)]
            values[field.name] = several if isinstance(value, list) else several[0]
    return settings(**values)


def _told(parser: _Parser, told: list[str]) -> Any:
    """What a parser makes of words. One that has refused them, or shown help or settings, keeps traces: it is not used again."""
    try:
        return parser.parse_args(told)
    except BaseException:
        _parser.cache_clear()
        _simple_parser.cache_clear()
        raise


@functools.lru_cache(maxsize=16)
def _simple_parser(prog: str, settings: type[Any], positional: str, what: str) -> _Parser:
    parser = _Parser(prog=prog, description=_description(prog), allow_abbrev=False, parser_mode=LOADER)
    kind = {field.name: str(field.type) for field in dataclasses.fields(settings)}[positional]
    several: Any = {"nargs": "+"} if kind.startswith("list") else {}
    parser.add_argument(positional, type=str, help=what, **several)
    parser.add_class_arguments(settings, None, skip={positional})
    return parser


def _flags_last(argv: list[str]) -> list[str]:
    """Rewritten words with the arguments that belong to no flag first: the parser takes them in one piece only."""
    bare = [word.startswith("--") and "=" not in word for word in argv]
    values = [i > 0 and bare[i - 1] and not word.startswith("-") for i, word in enumerate(argv)]
    mine = [not word.startswith("-") and not value for word, value in zip(argv, values, strict=True)]
    return [w for w, m in zip(argv, mine, strict=True) if m] + [w for w, m in zip(argv, mine, strict=True) if not m]


def _description(prog: str) -> str:
    lines = [first_docstring_line(Path(__file__).parent.parent / f"{prog.split('.')[-1].split()[-1]}.py")]
    for kind in ("task", "shortcut", "lens", "source"):
        lines.append(
            f"{folder_of(kind).name}: " + "; ".join(f"{name} ({summary_line(kind, name)})" for name in names(kind))
        )
    return "\n".join(lines)


def differing(stored: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The settings in which a resumed run would differ from what it was started with, those that may aside."""
    lists = ("data", "probe")  # one source may be written as a word or as a list of one
    stored, given = ({k: as_list(v) if k in lists else v for k, v in plain.items()} for plain in (stored, given))
    keys = set(stored) | set(given)
    return sorted(key for key in keys - set(agreement.may_change()) if stored.get(key) != given.get(key))


def of_this_version(stored: dict[str, Any], writer: str, directory: Path) -> dict[str, Any]:
    """A run's settings with the keys of this version, where it can be known what they meant to the run.

    Raises BadInput, naming both versions and the key, where the run lacks a setting that the version `writer` had, or has one
    that this version has not, and where `writer` is newer: the same settings may then mean something else.
    """
    from lens import __version__

    stored = old_names.in_settings(stored)
    chosen: dict[str, Any] = {kind: str(stored[kind]) for kind in PLUGINS if kind in stored}
    asked_about = {key: stored[key] for key in ("data", "pseudo_sources") if key in stored}  # a task may need several
    both = f"{directory} was written by lens {writer} and this is lens {__version__}"
    try:
        defaults = parse([], "lens.train", chosen | asked_about).plain
    except BadInput as error:
        raise BadInput(f"{both}: {error}") from error
    theirs, ours = set(stored), set(defaults)
    if unknown := sorted(theirs - ours):
        raise BadInput(f"{both}, which does not know the setting {unknown[0]!r}: use lens {writer}")
    without = agreement.unknown_to(writer)
    if missing := sorted(ours - theirs - set(without)):
        if writer == __version__:
            raise BadInput(
                f"{directory}/settings.yaml is damaged: it lacks the setting {missing[0]!r}, which lens {writer} wrote; bring "
                "it back from a copy, or start a new run with another --out"
            )
        raise BadInput(
            f"{both}, whose setting {missing[0]!r} it lacks, so what it did there is not known: use lens {writer}"
        )
    if agreement.numbers(writer) > agreement.numbers(__version__):
        raise BadInput(f"{both}, which is older and may read its settings otherwise: use lens {writer}")
    return defaults | without | stored


def refuse_foreign_code(plain: dict[str, Any], argv: list[str], directory: Path) -> None:
    """A run directory from a stranger runs no code.

    Raises BadInput where a run's task or shortcut is a file that the command line does not name, or where a setting would
    import something.
    """
    words.refuse_classes(f"{directory}/settings.yaml", plain)
    refuse_untrusted_files(plain, str(directory), argv)
