"""The console script: `lens VERB …` does what `python -m lens.VERB …` does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from lens.protocols import first_docstring_line, nearest

VERBS = ("train", "probe", "ablate", "doctor")


def main(argv: list[str] | None = None) -> int:
    """Run a verb; without one, or with --help, list them. Nothing heavy is imported before the verb is known."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: lens VERB [options]    (lens VERB --help shows its options)\n")
        for verb in VERBS:
            print(f"  {verb:<8} {first_docstring_line(Path(__file__).parent / f'{verb}.py')}")
        return 0
    if arguments[0] == "--version":
        from lens import __version__

        print(__version__)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"lens: error: unknown verb {verb!r}: {nearest(verb, VERBS)}", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"lens.{verb}").main(rest))
