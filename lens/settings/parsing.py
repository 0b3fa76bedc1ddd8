"""From settings files and a command line to typed settings: unknown keys are refused, every mistake is one line."""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from lens.base import yaml_text
from lens.base.errors import BadInput
from lens.base.terminal import only_stdout_fails
from lens.protocols.composition import BETWEEN
from lens.protocols.lookup import find, is_file_key, key_name
from lens.settings import idle, old_names, words
from lens.settings.arguments import normalise_arguments, refuse_times, value_of, without, without_files
from lens.settings.field import as_list, default_of
from lens.settings.parser import (
    SECTION,
    Parser,
    add_settings,
    asks_for_help,
    in_stages,
    inside,
    new_parser,
    outcome,
    outside,
)
from lens.settings.run_settings import FIELDS, PLUGINS, Settings


@dataclasses.dataclass(frozen=True)
class Parsed:
    """The settings, the plug-ins with their own settings, and all of it as plain values for settings.yaml."""

    settings: Settings
    plugins: dict[str, Any]
    plain: dict[str, Any]
    given: frozenset[str] = frozenset()
    """The settings that a person has given now: by a flag, or by a --config file in another way than the default."""


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


def parse(
    argv: list[str],
    prog: str,
    base: dict[str, Any] | None = None,
    *,
    where: str | None = None,
    asked: Collection[str] = (),
    refuse_idle: bool = True,
) -> Parsed:
    """The settings of a training run: defaults, then `base` (a run's own), then --config files, then flags.

    `base` comes from the file `where`, but for the settings in it that are `asked` for now.

    Raises BadInput, in one line, for an unknown key (with the nearest one), a wrong type or a value out of range, which
    names the file that says so, for a value that would import code, and for settings of the files and flags that nobody
    would read in such a run (`idle`; with `refuse_idle` False they are left to the caller, in `Parsed.given`).
    """
    files, flags = without_files(argv)
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
    read_from = [where, *files] if base else files
    said_by = {key: file for file, layer in zip(read_from, layers, strict=True) for key in layer}
    with _file_named(said_by | (dict.fromkeys(asked) if base else {}), flags):
        return _of_layers(layers, flags, chosen, prog, base, refuse_idle)


@contextmanager
def _file_named(said_by: dict[str, str | None], flags: list[str]) -> Iterator[None]:
    """Put the file of a setting, where it is known and no flag says the setting again, before an error about it."""
    try:
        yield
    except BadInput as error:
        about = re.match(rf"--([\w.]+)|unknown setting '([^']+)'|unknown ({'|'.join(PLUGINS)})", str(error))
        name = about[about.lastindex or 0] if about else ""
        file = said_by.get(name)
        if file is None or any(word.partition("=")[0].removesuffix("+") == f"--{name}" for word in flags):
            raise
        raise BadInput(f"{file}: {error}") from error


def _of_layers(
    layers: list[dict[str, Any]],
    flags: list[str],
    chosen: dict[str, str],
    prog: str,
    base: dict[str, Any] | None,
    refuse_idle: bool,
) -> Parsed:
    """The settings of `layers`, the first of which is `base` where there is one, and then of flags, with the `chosen` plug-ins."""
    flags, asked = without("--print_config", normalise_arguments(flags, Settings))
    plugins = {kind: find(kind, key) for kind, key in chosen.items()}
    known = set(FIELDS)
    parser, opened = _parser(prog, tuple(plugins.items()), asks_for_help(flags))
    if base:
        # The settings of a plug-in that is no longer selected: that it is another one is refused by name.
        other = tuple(f"{kind}." for kind in PLUGINS if base.get(kind, PLUGINS[kind]) != chosen[kind])
        layers[0] = {key: value for key, value in layers[0].items() if not key.startswith(other)}
    lists = [name for name, field in FIELDS.items() if str(field.type).startswith("list")]
    own = [words.of_mapping(_checked(layer), lists, [*opened, *map(outside, opened)]) for layer in layers]
    told = [*(word for one in own for word in one), *flags]
    for word in told:  # the parser's own names: it would read a file that one of them is given
        if (name := word[2:].partition("=")[0].partition(".")[0]) in map(SECTION.format, PLUGINS):
            raise BadInput(
                f"unknown setting {name!r}: give a plug-in's settings one by one, as in --task.SETTING VALUE"
            )
    refuse_times(told, Settings)
    for kind, plugin in plugins.items():
        refuse_times(told, plugin, f"{kind}.")
    parsed = outcome(
        parser, words.gathered([inside(in_stages(word, chosen)) for word in told], opened), _parser.cache_clear
    )
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
def _parser(prog: str, plugins: tuple[tuple[str, type[Any]], ...], helped: bool) -> tuple[Parser, tuple[str, ...]]:
    """The parser of a run with such plug-ins, by kind, and the settings into which it does not look.

    A grid parses the settings of every cell: reading them from the source takes longer than all the rest.
    """
    parser = new_parser(prog, helped)
    parser.add_argument("--config", action="config", help="YAML file of settings; flags override it")
    opened = add_settings(parser, Settings, None)
    for kind, plugin in plugins:
        opened += add_settings(parser, plugin, SECTION.format(kind))
    has = {name: [name] for name in FIELDS}
    for kind, plugin in plugins:
        for field in dataclasses.fields(plugin):  # of several, a default is that of every stage which has the setting
            name = f"{kind}.{field.name.rpartition(BETWEEN)[2]}"
            has.setdefault(name, []).append(f"{SECTION.format(kind)}.{field.name}")
    preferred = _preferred(dict(plugins)["task"])
    parser.set_defaults({name: value for key, value in preferred.items() for name in has.get(key, ())})
    return parser, tuple(opened)


def _flat(plain: dict[str, Any]) -> dict[str, Any]:
    """Settings with those of a plug-in by their kind's name: `task.permutations`."""
    sections = [SECTION.format(kind) for kind in PLUGINS]
    found = {key: value for key, value in plain.items() if key not in sections}
    for section in sections:
        found |= {outside(f"{section}.{name}"): value for name, value in (plain.get(section) or {}).items()}
    return found


def _preferred(task: type[Any]) -> dict[str, Any]:
    """The defaults of a task. How many steps is the default of the default: --epochs may say it instead (`train.total_steps`)."""
    return {k: v for k, v in task.defaults.items() if k != "steps"}


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


def _default_objective(task: Any, fields: dict[str, Any]) -> str:
    """What the lens wants where nothing is said.

    Of two sources the least likely one is the other: a lens could swap the two, and both would still be told apart.
    """
    if task.classes is None:
        return "full"
    of_sources = task.answer == "source"
    sources = fields["pseudo_sources"] or len(as_list(fields["data"]))
    return "uniform" if of_sources and sources == 2 else "least_likely"
