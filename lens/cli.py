"""The console script: `lens VERB …` does what `python -m lens.VERB …` does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from lens.base.entry_point import guard
from lens.base.errors import BadInput, nearest
from lens.base.terminal import print_lines
from lens.protocols.lookup import first_docstring_line

VERBS = ("train", "probe", "prove", "compare", "ablate", "audit", "doctor")


def main(argv: list[str] | None = None) -> int:
    """Run a verb; without one, or with --help, list them. Nothing heavy is imported before the verb is known."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in VERBS:
        return int(importlib.import_module(f"lens.{arguments[0]}").main(arguments[1:]))
    return guard(lambda: about(arguments))


def about(arguments: list[str]) -> int:
    """List the verbs, or print the version. Raises BadInput, with the nearest verb, for an unknown one."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {verb:<8} {first_docstring_line(Path(__file__).parent / f'{verb}.py')}" for verb in VERBS]
        print_lines("\n".join(["usage: lens VERB [options]    (lens VERB --help shows its options)\n", *lines]))
        return 0
    if arguments[0] == "--version":
        from lens import __version__

        print_lines(__version__)
        return 0
    raise BadInput(f"unknown verb {arguments[0]!r}: {nearest(arguments[0], VERBS)}")
