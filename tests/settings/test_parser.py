"""What --help tells is read from docstrings where somebody asks for it, and only there."""

import docstring_parser
import pytest

from lens.probe import ProbeSettings
from lens.settings import parsing, small_verbs
from lens.settings.parser import asks_for_help
from lens.settings.parsing import parse
from lens.settings.small_verbs import parse_simple

PARSERS = {
    "lens.train": lambda *words: parse([*words, "--data", "."], "lens.train"),
    "lens.probe": lambda *words: parse_simple([".", *words], "lens.probe", ProbeSettings, "run", "a run directory"),
}


@pytest.fixture(autouse=True)
def _no_parser_is_kept():
    for keeps in (parsing._parser, small_verbs._simple_parser):
        keeps.cache_clear()


def help_of(prog, flag, capsys):
    with pytest.raises(SystemExit):
        PARSERS[prog](flag)
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("prog", PARSERS)
def test_words_are_parsed_without_a_look_at_the_source(prog, monkeypatch):
    def looked(*told, **how):
        raise AssertionError(f"the source of {told} was parsed")

    monkeypatch.setattr(docstring_parser, "parse_from_object", looked)
    monkeypatch.setattr("lens.settings.parser.first_docstring_line", looked)
    assert PARSERS[prog]()


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    ("prog", "told"), [("lens.train", "Levels of the U-Net, 3 to 5"), ("lens.probe", "Epochs of the sgd probe")]
)
def test_help_tells_of_settings_and_plugins_after_other_words_too(prog, told, flag, capsys):
    PARSERS[prog]()
    shown = help_of(prog, flag, capsys)
    assert "tasks: " in shown
    assert told in shown
    PARSERS[prog]()  # and what was built for help is not what parses next


@pytest.mark.parametrize(
    "words", [["--data", ".", "-h"], ["-h", "--data", "."], ["--data", ".", "others", "-h", "--steps", "3"]]
)
def test_the_short_flag_for_help_ends_a_list(words, capsys):
    with pytest.raises(SystemExit):
        parse(words, "lens.train")
    assert "usage: lens.train" in capsys.readouterr().out


def test_help_tells_of_no_place_in_memory(capsys):
    shown = help_of("lens.train", "--help", capsys)
    assert "settings by their names (type: mapping, default: {})" in shown
    assert " at 0x" not in shown


def test_a_value_that_only_holds_the_word_asks_for_nothing():
    assert asks_for_help(["--data", ".", "-h"])
    assert not asks_for_help(["--data=--help", "./help"])
