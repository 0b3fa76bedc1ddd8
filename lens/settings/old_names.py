"""Names of settings that earlier versions had: taken for one version, with a line that says the new one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lens.base import yaml_text
from lens.base.errors import BadInput
from lens.base.terminal import say
from lens.protocols.lookup import key_name
from lens.settings.field import fields_of
from lens.settings.groups.game import OBJECTIVES
from lens.settings.run_settings import FIELDS, PLUGINS

VERSION = "0.4"
RENAMED = {old: field.name for field in FIELDS.values() if (old := field.metadata["was"])}
"""Old name → new name, of settings whose values mean the same."""
LENSES = {"full": "full_res", "smooth": "smooth", "colour": "colour"}
"""What --lens_encoder called the lenses that are now called by --lens; another value was the encoder of a U-Net."""
KNOWN = frozenset(FIELDS)
RIVALS = ("fgsm", "random", "none")
"""What --adversary called that is no lens with an objective. A file of code it could not be, and cannot be now."""
SPLIT = ("adversary", "lens_encoder", "lens_depth")
"""Settings that several new ones stand for."""
_told: set[str] = set()


def in_words(argv: list[str], chosen: Mapping[str, str]) -> list[str]:
    """A command line in the new names, each old one told once; `chosen` are the plug-ins that it and its files select."""
    sections = _sections(chosen)
    found: list[str] = []
    rest = iter(argv)
    for word in rest:
        flag, equals, value = word.partition("=")
        name, plus = (flag[2:].removesuffix("+"), "+" * flag.endswith("+")) if flag.startswith("--") else ("", "")
        owner, dot, own = name.partition(".")
        if name in RENAMED:
            found.append(f"--{RENAMED[name]}{plus}{equals}{value}")
            tell(name, f"--{RENAMED[name]}")
        elif dot and owner in sections:
            found.append(f"--{sections[owner]}.{own}{equals}{value}")
            tell(name, f"--{sections[owner]}.{own}")
        elif name in sections:  # --arrow={size: 0.3}
            text = value if equals else next(rest, "")
            own_settings = yaml_text.parse(text)
            if not isinstance(own_settings, dict):
                raise BadInput(
                    f"--{name} is {text!r}: give its settings one by one, as in --{sections[name]}.SETTING VALUE"
                )
            found += [f"--{sections[name]}.{key}={json.dumps(one)}" for key, one in own_settings.items()]
            tell(name, f"--{sections[name]}.SETTING")
        elif name in SPLIT:
            new = _split({name: value if equals else next(rest, "")})
            found += [f"--{key}={'null' if one is None else one}" for key, one in new.items()]
            tell(name, " ".join(f"--{key} {one}" for key, one in new.items() if one is not None))
        else:
            found.append(word)
    return found


def in_settings(
    plain: Mapping[str, Any], chosen: Mapping[str, str] | None = None, where: str | None = None
) -> dict[str, Any]:
    """Settings of a file in the new names; with `where`, the file's name, each old one is told once.

    The section of a selected plug-in (`jigsaw: {permutations: 100}`) becomes settings of its kind (`task.permutations`).
    """
    selected = {kind: str(plain.get(kind, default)) for kind, default in PLUGINS.items()} | dict(chosen or {})
    sections = _sections(selected)
    found: dict[str, Any] = {}
    split: dict[str, Any] = {}
    for key, value in plain.items():
        owner, dot, own = key.partition(".")
        if key in RENAMED:
            new = {RENAMED[key]: value}
        elif key in SPLIT:
            split[key] = value
            continue
        elif owner in sections and (dot or isinstance(value, dict)):
            new = {f"{sections[owner]}.{name}": one for name, one in ({own: value} if dot else value).items()}
        elif owner in sections:
            raise BadInput(f"{key} is {value!r}: it must be a mapping of the settings of {owner}")
        elif key in PLUGINS and isinstance(value, dict):  # lens: {depth: 4}
            new = {f"{key}.{name}": one for name, one in value.items()}
        else:
            found[key] = value
            continue
        if where is not None and (key not in PLUGINS):
            tell(f"{where}: {key}", ", ".join(new))
        found |= new
    if split:
        new = _split(split)
        if where is not None:
            tell(
                f"{where}: {', '.join(split)}",
                ", ".join(f"{key}: {one}" for key, one in new.items() if one is not None),
            )
        found = new | found
    return found


def renamed(argv: list[str], settings: type[Any]) -> list[str]:
    """A command line of a small verb in the new names of its settings, each old one told once."""
    new = {old: name for name, field in fields_of(settings).items() if (old := field.metadata.get("was"))}
    found = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag[2:] in new:
            tell(flag[2:], f"--{new[flag[2:]]}")
            word = f"--{new[flag[2:]]}{equals}{value}"
        found.append(word)
    return found


def is_old(key: str) -> bool:
    """Whether a setting was called so in 0.3 and is called otherwise now."""
    return key in RENAMED or key in SPLIT


def tell(old: str, new: str) -> None:
    """Say once in this process what an old name is called now."""
    if old not in _told:
        _told.add(old)
        where, colon, name = old.rpartition(": ")
        shown = f"{where}: {name}" if colon else f"--{old}"
        say(f"{shown} is {new or 'gone'} since {VERSION}; the old name works for one version")


def _sections(chosen: Mapping[str, str]) -> dict[str, str]:
    """The names by which 0.3 called the settings of the selected plug-ins, each with its kind."""
    named = {key_name(chosen[kind]): kind for kind in ("task", "shortcut") if kind in chosen}
    return {name: kind for name, kind in named.items() if name not in KNOWN}


def _split(old: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `adversary`, `lens_encoder` and `lens_depth` were."""
    new: dict[str, Any] = {}
    adversary, encoder = old.get("adversary"), old.get("lens_encoder")
    if adversary in RIVALS:
        return {"lens": adversary, "objective": None}
    if adversary is not None and adversary not in OBJECTIVES:
        raise BadInput(f"adversary is {str(adversary)[:80]!r}: it was one of {', '.join((*OBJECTIVES, *RIVALS))}")
    if "adversary" in old:
        new["objective"] = adversary
    if encoder is not None:
        new["lens"] = LENSES.get(encoder, "unet")
        if encoder not in LENSES:
            new["lens.encoder"] = encoder
    if "lens_depth" in old and encoder != "colour":
        new["lens.depth"] = old["lens_depth"]
    return new
