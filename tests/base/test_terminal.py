"""What reaches the terminal: nothing that steers it, in characters that it has, and nobody need be listening."""

import errno
import io
import os
import re
import subprocess
import sys

import pytest
import yaml
from small_grids import GRID
from tiny import SUMMARY

from lens import cli, doctor
from lens.base import bar as bars
from lens.base.bar import Bar
from lens.base.characters import printable
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.markdown import markdown_table
from lens.base.table import show
from lens.base.terminal import say
from lens.figures import drawing, summary_table
from lens.figures import grid as figures_grid
from lens.figures import maps as figures_maps
from lens.grids import summary as grid_summary
from lens.grids.file import read
from lens.results.maps import Maps
from lens.results.summary import Summary

TITLE = "\x1b]0;owned\x07"
HOSTILE = f"a{TITLE}\rb\nc\u202ed\u2028e\x9b31m\udcfff\x7f[red]g:smile:"
STEERS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def one_line(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def harmless(text):
    assert not STEERS.search(text), repr(text)
    return text


# --- characters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [red] $x$ é 猫 \U0001f600", "plain [red] $x$ é 猫 \U0001f600"),
        ("\x1b]0;t\x07", "\\x1b]0;t\\x07"),
        ("a\nb\rc\td\x00e", "a\\x0ab\\x0dc\\x09d\\x00e"),
        ("\x9b\x85\x7f", "\\x9b\\x85\\x7f"),
        ("\u202eevil\u2066\u2028\u2029\ufeff\u200b", "\\u202eevil\\u2066\\u2028\\u2029\\ufeff\\u200b"),
        (os.fsdecode(b"a\xff"), "a\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("می‌خواهم", "می‌خواهم"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_what_steers_a_terminal_is_made_visible_and_nothing_else(text, shown):
    assert printable(text) == shown


def fails(text):
    raise BadInput(text)


def hostile_grid(tmp_path):
    axes = {
        "im]0;$\\ages": {f"{TITLE}$_{{": {}, "猫[red]\u202e": {"shortcut": "arrow"}},
        "lens": ["none", "full_res"],
    }
    plain = GRID | {"name": "x", "axes": axes, "baseline": {"lens": "none"}, "seeds": [0, 1]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(plain))
    grid = read(tmp_path / "grid.yaml")
    rows = [
        {**run.cell, "seed": run.seed, "status": "finished", "directory": "d", "metric": "accuracy", "downstream": 0.5}
        for run in grid.runs()
    ]
    return grid, [row | {"clean": 0.25} for row in rows]


RUN = {
    "title": [HOSTILE, "$d$", "cue"], "task": "rotation", "data": "./a", "shortcut": "none", "lens": "full_res", "steps": 1, "seed": 0,
    "match": False, "psnr": 20.0, "map_95th_percentile": 1.0, "strongest_5_percent": 0.5, "map_images": 3, "size": [8, 8],
}  # fmt: skip
MAPS = Maps.of_json({
    "runs": [RUN | {"run": f"runs/{name}"} for name in "ab"],
    "rank_correlation": [[1.0, None], [None, 1.0]],
    "notes": ["a note"],
})  # fmt: skip


def test_no_table_no_line_and_no_bar_steers_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(summary_table, "table", lambda summary: [(HOSTILE, "1", "", "")])
    summary = Summary.of_json(SUMMARY | {"task": HOSTILE, "data": HOSTILE})
    summary_table.print_table(summary)
    figures_maps.print_maps(MAPS)
    grid_summary.print_overview(*hostile_grid(tmp_path))
    assert guard(lambda: fails(HOSTILE)) == 2
    say(HOSTILE)
    with Bar(HOSTILE, 2, "steps") as bar:
        bar.advance(1, HOSTILE)
    shown = capsys.readouterr()
    assert "[red]g:smile:" in "".join(harmless(shown.out).split())
    assert len(harmless(shown.err).splitlines()) == 3
    for text in (summary_table.markdown(summary), markdown_table([[HOSTILE]]), grid_summary.markdown(*hostile_grid(tmp_path))):  # fmt: skip
        harmless(text)
    assert "\\u202e" in grid_summary.markdown(*hostile_grid(tmp_path))


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_plain_bar_tells_its_first_figure_soon_and_the_last_once(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: clock[0])
    with Bar("training", 20, "steps") as bar:
        for second in range(1, 19):
            clock[0] = float(second)
            bar.advance(second, f"loss {second}")
    told = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["training 4/20", "training 15/20", "training 18/20"]
    with Bar("training", 20, "steps") as bar:
        clock[0] += 4
        bar.advance(20, "loss 1")
    assert capsys.readouterr().err.count("training 20/20") == 1


def test_names_are_drawn_as_they_are_and_warn_of_nothing(tmp_path):
    grid, rows = hostile_grid(tmp_path)
    assert len(figures_grid.files(grid, rows)) == len(grid.measures)
    plt = drawing.pyplot()
    figure, axis = plt.subplots()
    axis.set_title(drawing.drawable(f"$x_{{$ 猫{HOSTILE}{'long ' * 1000}"))
    assert drawing.png(plt, figure).startswith(b"\x89PNG")
    assert "$x_{$ \\u732b" in drawing.drawable("$x_{$ 猫")


def test_a_grids_name_keeps_its_brackets_and_dollars_everywhere(tmp_path, monkeypatch, capsys):
    """Neither rich's markup nor matplotlib's mathematics is made of what a person has called something."""
    name = "x[red]y $a_1$ [/z]"
    axes = {"adversary [bold]": {"none $b^2$": {"lens": "none"}, "lens [red]": {"objective": "uniform"}}}
    plain = GRID | {"name": name.replace("/", ""), "axes": axes, "baseline": {"adversary [bold]": "none $b^2$"}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    grid = read(tmp_path / "grid.yaml")
    rows = [
        {**run.cell, "seed": run.seed, "status": "finished", "directory": "d", "metric": "accuracy", "downstream": 0.5}
        for run in grid.runs()
    ]
    grid_summary.print_overview(grid, rows)
    shown = " ".join(capsys.readouterr().out.split())
    for words in (grid.name, "[bold]", "none $b^2$", "lens [red]"):
        assert words in shown
    drawn = []
    monkeypatch.setattr(figures_grid, "png", lambda plt, figure: drawn.append(figure) or b"")
    figures_grid.files(grid, rows)
    for figure in drawn:
        axis = figure.axes[0]
        assert axis.get_title() == grid.name
        texts = [axis.title, *axis.get_xticklabels()]
        assert [text.get_text() for text in axis.get_xticklabels()] == ["none $b^2$", "lens [red]"]
        assert not any(text.get_parse_math() for text in texts)


# --- streams ---------------------------------------------------------------------------------------------------------

SAYS = """
import sys
from pathlib import Path
from lens.base import bar as bars
from lens.base.bar import Bar
from lens.base.entry_point import guard
from lens.base.table import show
from lens.base.terminal import print_lines, say
def body():
    say("begins")
    with Bar("training", 2, "steps") as bar:
        bar.advance(1)
    show("title – λ", ["measure", "value"], [["á", "1 – 2"]] * ROWS, where=Path("runs/x/summary.json"))
    say("ends")
    Path(sys.argv[1]).touch()
    return 0
sys.exit(guard(body))
"""
TOLD = "the table could not be shown (stdout: {}): its figures are in runs/x/summary.json"


def shell(tmp_path, redirection, rows=1, **environment):
    """Run `SAYS` in a shell; the exit code of Python, stdout, stderr."""
    (tmp_path / "says.py").write_text(SAYS.replace("ROWS", str(rows)))
    command = f"{{ {sys.executable} says.py done; echo $? >code; }} {redirection}"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | environment
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(cli.Path(cli.__file__).parent.parent), environment.get("PYTHONPATH", "")]
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, env=environment, timeout=120)
    assert (tmp_path / "done").exists(), done.stderr
    return int((tmp_path / "code").read_text()), done.stdout, done.stderr.decode()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("redirection", "told"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "it is closed"),
        ("| head -c 1 >/dev/null", "Broken pipe"),
        ("2>&1 >/dev/null | true", None),
        ("2>/dev/full", None),
        ("2>&-", None),
        (">&- 2>&- <&-", None),
        ("<&-", None),
    ],
)
def test_a_body_that_nobody_hears_finishes(tmp_path, redirection, told, unbuffered):
    rows = 5000 if "head" in redirection else 1  # more than a pipe holds
    code, _, error = shell(tmp_path, redirection, rows, PYTHONUNBUFFERED=unbuffered)
    assert code == 0
    assert "Traceback" not in error
    assert "ignored" not in error
    if told:
        lines = error.splitlines()
        assert lines[0] == "begins"
        assert lines[-2:] == [TOLD.format(told), "ends"]


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_a_table_is_shown_in_the_characters_that_the_terminal_has(tmp_path, environment):
    code, shown, _ = shell(tmp_path, "", **environment)
    assert code == 0
    assert b"1 - 2" in shown or "1 – 2".encode() in shown
    if environment == {"PYTHONIOENCODING": "ascii"}:
        assert shown.isascii()
        assert b"title - lambda" in shown
        assert b"\\xe1" in shown
        assert len({len(line) for line in shown.splitlines()[1:] if line}) == 1  # its borders stand in line


@pytest.mark.parametrize(("width", "is_table"), [(60, True), (40, False)])
def test_no_figure_is_cut_where_the_terminal_is_narrow(monkeypatch, capsys, width, is_table):
    monkeypatch.setenv("COLUMNS", str(width))
    columns = ["a long name", *(f"measure{number}" for number in range(3))]
    rows = [[f"an_arm_whose_name_is_{number}" * 2, *(f"{10 * number + k}.25" for k in range(3))] for number in range(2)]
    show("title", columns, rows, left=["a long name"], caption="below")
    shown = capsys.readouterr().out
    assert ("┃" in shown) == is_table
    for word in ("title", "below", "measure2", *(cell for row in rows for cell in row[1:])):
        assert word in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_no_word_of_a_heading_is_broken_in_a_table(monkeypatch, capsys):
    columns = ["name", *(f"reconstruction_psnr{number}" for number in range(4))]
    for width in (24, 60, 80, 100, 101, 102, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        show("title", columns, [["an arm", "1.25", "2.25", "3.25", "4.25"]], left=["name"])
        shown = capsys.readouterr().out
        assert all(word in shown for word in [*columns[1:], "1.25", "4.25"])
        assert ("┃" in shown) == (width >= 102)


class Refuses(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO])
def test_a_table_that_cannot_be_shown_is_told_in_one_line(monkeypatch, capsys, number):
    monkeypatch.setattr(sys, "stdout", Refuses(number))
    show("t", ["a"], [["b"]], where=cli.Path("x.json"))
    assert (
        one_line(capsys) == f"the table could not be shown (stdout: {os.strerror(number)}): its figures are in x.json\n"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["train", "--help"], ["train", "--print_config"], ["doctor"]]
)
def test_what_was_asked_for_and_cannot_be_printed_is_a_fault_of_stdout(monkeypatch, capsys, argv, number):
    monkeypatch.setattr(sys, "stdout", Refuses(number))
    assert cli.main(argv) == 2
    assert one_line(capsys).startswith(f"lens: error: stdout takes nothing ({os.strerror(number)})")


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["train", "--help"], ["train", "--print_config"], ["doctor"]]
)
def test_a_reader_that_has_had_enough_is_no_fault(monkeypatch, capsys, argv):
    monkeypatch.setattr(sys, "stdout", Refuses(errno.EPIPE))
    assert cli.main(argv) == 0
    assert capsys.readouterr().err == ""


def test_a_config_that_the_encoding_would_change_is_not_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert cli.main(["train", "--data", "./é", "--print_config"]) == 2
    assert "stdout is ascii, which lacks 'é'" in one_line(capsys)


def test_a_fault_of_a_disk_is_not_told_as_one_of_stdout():
    def body():
        raise OSError(errno.ENOSPC, "No space left on device", "a/file")

    with pytest.raises(OSError, match="a/file"):
        guard(body)


# --- the doctor ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["x"], ["--device", "cpu"], ["--verbose=\x1b[1m"], ["--help", "x"]])
def test_the_doctor_takes_no_arguments(capsys, argv):
    assert doctor.main(argv) == 2
    assert "takes no arguments" in harmless(one_line(capsys))


def test_the_doctor_has_a_help(capsys):
    assert doctor.main(["--help"]) == 0
    assert "usage: lens doctor" in capsys.readouterr().out
