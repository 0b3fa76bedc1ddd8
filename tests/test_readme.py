"""Every command of every page runs, or is parsed by its verb; every link leads somewhere; README is short.

A command in a block runs, with tiny overrides. One in a sentence tells how a figure was made, or what a flag is for: it is parsed. So is one
in a block that says why, in words after its language: ```bash parsed: it is a measurement, and takes minutes
"""

import argparse
import functools
import importlib.util
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import write_folder, write_parquet
from tiny import LAYERED, ROOT, TINY, fit

from lens import ablate, cli, train
from lens.auditing import networks, reading
from lens.auditing.asked import AuditSettings
from lens.compare import CompareSettings
from lens.measuring import judges
from lens.probe import ProbeSettings
from lens.prove import ProveSettings
from lens.settings.parsing import parse
from lens.settings.small_verbs import parse_simple

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "results").glob("*.md"))]
OVERRIDES = [word for word in TINY if word not in ("--extractor", "all_conv")]
COMMAND = re.compile(
    r"(?:python|torchrun .*?) -m (lens|benchmarks)\.(\w+) +(.*)|(lens) (train|probe|prove|compare|ablate|audit|doctor)( .*|$)"
)
BLOCK = re.compile(r"^```(\w*)(?: parsed: ([^\n]+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of each `python -m lens.VERB …` and their like, `lens.VERB` first, and why one is not run: "" where it is.

    Without pip, pytest, and bare names of a verb in a sentence.
    """
    for language, why_not, block in BLOCK.findall(text):
        for line in block.splitlines() if language == "bash" else ():
            line = line.split(" && ")[-1].strip()
            if found := COMMAND.match(line):
                yield words(found), why_not
            else:
                assert not line or line.startswith(("#", "python -m pytest")), f"no command of lens: {line}"
    sentences = BLOCK.sub("", text)
    assert "```" not in sentences, f"a block that is not read: {sentences.partition('```')[2][:80]}"
    for span in re.findall(r"`([^`]+)`", sentences):
        if (found := COMMAND.fullmatch(" ".join(span.split()))) and "…" not in span and found[6] != "":
            yield words(found), "in a sentence"


def words(found: re.Match[str]) -> tuple[str, ...]:
    package, module, rest, _, verb, more = found.groups()
    return (f"{package or 'lens'}.{module or verb}", *shlex.split(rest or more or "", comments=True))


def texts() -> dict[Path, str]:
    """Each page, and the words of each notebook."""
    found = {page: page.read_text() for page in PAGES}
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(notebook.read_text())["cells"]
        found[notebook] = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return found


def collected() -> tuple[list[tuple[str, ...]], dict[tuple[str, ...], str]]:
    """The commands to run and those to parse, each once; one that runs somewhere is not parsed elsewhere."""
    every = [found for text in texts().values() for found in commands(text)]
    run = dict.fromkeys(command for command, why_not in every if not why_not)
    return list(run), {command: why_not for command, why_not in every if command not in run}


RUN, PARSED = collected()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that holds what the pages' examples name: ./photos/, ./cifar10/, configs/, my_task.py, runs/first."""
    folder = tmp_path_factory.mktemp("readme")
    write_folder(folder / "photos", 60)
    write_folder(folder / "more_photos", 30, seed=3)
    write_folder(folder / "labelled_photos", 20, seed=5)
    (folder / "cifar10").mkdir()
    write_parquet(folder / "cifar10" / "train-0.parquet", 80)
    write_parquet(folder / "cifar10" / "test-0.parquet", 20, start=9)
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "lens" / "tasks" / "rotation.py", folder / "my_task.py")
    for name in ("first", "second"):
        argv = [*LAYERED, "--steps", "2", "--data", f"{folder}/photos", "--out", str(folder / "runs" / name)]
        assert train.main(argv) == 0
    both = ["--task", "dataset_classification", "--data", f"{folder}/photos", f"{folder}/more_photos"]
    assert train.main([*TINY, *both, "--steps", "2", "--out", str(folder / "runs" / "sources")]) == 0
    return folder


def test_readme_is_read_in_three_minutes_and_has_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 170
    assert max(map(len, text.splitlines())) <= 200
    main, tests = (re.search(f"<!-- {name} command -->\n```bash\n(.+)\n```", text)[1] for name in ("main", "test"))
    assert main == "pip install -e '.[demo]' && python -m lens.train --task rotation"
    assert tests == "pip install -e '.[test]' && python -m pytest"


def test_commands_are_found_and_only_those_that_say_why_are_not_run():
    assert len(RUN) >= 20
    assert {command[0] for command in RUN} == {
        "lens.train",
        "lens.probe",
        "lens.prove",
        "lens.compare",
        "lens.ablate",
        "lens.audit",
        "lens.doctor",
    }
    assert {command[0] for command in PARSED} >= {"lens.train", "lens.probe", "lens.ablate", "benchmarks.step"}
    readme = list(commands((ROOT / "README.md").read_text()))
    assert len(readme) >= 8
    assert {why_not for _, why_not in readme} == {""}
    marked = {command: why_not for command, why_not in PARSED.items() if why_not != "in a sentence"}
    assert len(marked) <= 8, f"run more of {marked}"
    assert all(len(why_not.split()) >= 4 for why_not in marked.values())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```bash\n# so\nlens doctor  # now\n```", [(("lens.doctor",), "")]),
        ("```bash\npip install . && python -m lens.train --seed 1\n```", [(("lens.train", "--seed", "1"), "")]),
        ("```bash parsed: no GPU is here\nlens probe a\n```", [(("lens.probe", "a"), "no GPU is here")]),
        ("`lens\ntrain --seed 1`, `lens train`, `lens probe …`", [(("lens.train", "--seed", "1"), "in a sentence")]),
        ("```bash parsed: two\ntorchrun -n 2 -m lens.train --seed 1\n```", [(("lens.train", "--seed", "1"), "two")]),
        ("```python\nlens train\n```", []),
    ],
)
def test_commands_are_read_as_they_are_written(text, found):
    assert list(commands(text)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```bash\nlens trian --seed 1\n```", "no command of lens: lens trian"),
        ("```bash not run\nlens train --seed 1\n```", "a block that is not read: bash not run"),
    ],
)
def test_a_block_holds_nothing_that_no_test_looks_at(text, message):
    with pytest.raises(AssertionError, match=message):
        list(commands(text))


@pytest.mark.parametrize("command", RUN, ids=" ".join)
def test_a_command_of_a_page_runs(place, command, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    verb, argv = command[0].removeprefix("lens."), list(command[1:])
    if verb == "train" and "--resume" not in argv:
        tiny = OVERRIDES if "--config" in argv else LAYERED if {"--extractor_stem", "--match_mse"} & {*argv} else TINY
        argv = [*argv, *tiny, "--epochs", "null", "--steps", "1", "--test_images", "8", "--out", str(tmp_path / "run")]
        if "--config" in argv:
            argv += ["--extractor", "all_conv", "--extractor_args", "{}", "--extractor_stem", "default"]
            argv += ["--num_workers", "0"]
            if "lens: none" not in Path(argv[argv.index("--config") + 1]).read_text():
                argv += ["--lens", "unet", "--lens.encoder", "tu-tf_mobilenetv3_small_minimal_100"]
            argv += ["--precision", "32"]  # few CPUs have instructions for bf16
        if "jigsaw" in argv:
            argv += ["--task.embedding", "32", "--task.hidden", "64"]
        if "--data" not in argv:
            argv += ["--probe_images", "100"]
        argv = fit(argv)
    if "--prove" in argv or verb == "prove":
        argv += ["--judge_steps", "2", "--judge_seeds", "1", "--judge_images", "24", "--judge_cues", "false"]
        argv = [{"resnet10t": "test_resnet", "resnet18": "all_conv:{width: 4}"}.get(word, word) for word in argv]
        monkeypatch.setattr(judges, "Recipe", functools.partial(judges.Recipe, batch=8))
    if verb == "ablate":
        # Every run's settings are read; a real grid is run in test_ablate.
        argv += ["--out", str(tmp_path / "grid")]
        monkeypatch.setattr(ablate, "run_all", lambda asked, out, grid, runs, argv: 0 if len(runs) in (8, 9) else 1)
    if verb == "audit":
        argv += ["--image_size", "16", "--threads", "1", "--device", "cpu", "--out", str(tmp_path / "audit")]
        every = reading.every_cue()
        monkeypatch.setattr(reading, "every_cue", lambda: {name: every[name] for name in ("size", "whole_image")})
        monkeypatch.setattr(networks, "QUICK", judges.Recipe(steps=2, least=1, every=1, batch=8))
    if verb == "train" and "--resume" in argv:
        argv = [*argv[: argv.index("--steps")], "--steps", "3"] if "--steps" in argv else argv
    assert cli.main([verb, *argv]) == 0


@pytest.mark.parametrize("command", PARSED, ids=" ".join)
def test_a_command_that_is_not_run_is_one_that_its_verb_takes(place, command, monkeypatch):
    monkeypatch.chdir(place)
    taken(*command)


def taken(module: str, *argv: str) -> None:
    """Raise where a verb of lens, or a benchmark, would refuse these words."""
    if module == "lens.train":
        parse(list(argv), module)
    elif module == "lens.probe":
        parse_simple(list(argv), module, ProbeSettings, "run", "")
    elif module == "lens.prove":
        parse_simple(list(argv), module, ProveSettings, "run", "")
    elif module == "lens.compare":
        parse_simple(list(argv), module, CompareSettings, "run", "")
    elif module == "lens.audit":
        parse_simple(list(argv), module, AuditSettings, "source", "")
    elif module == "lens.ablate":
        own, more = ablate.split_words(list(argv))
        asked = parse_simple(own, module, ablate.AblateSettings, "grid", "")
        ablate.read(Path(asked.grid), ablate.overrides(ablate.normalise_arguments(more, ablate.Settings)))
    else:
        told, own = words_told(module, argv)
        if told:
            assert own, f"{module} does not know {' '.join(told)}"
            parse(told, "lens.train")


class Told(BaseException):
    """A benchmark's parser has read its words: those that it leaves over, and whether they are handed on to lens.train."""


def words_told(module: str, argv: tuple[str, ...]) -> tuple[list[str], bool]:
    """What `Told` says of a benchmark's words; nothing is measured."""
    main, read = importlib.import_module(module).main, argparse.ArgumentParser.parse_known_args

    def all_of_them(parser, args=None, namespace=None):
        raise Told(read(parser, args, namespace)[1], False)

    def some_of_them(parser, args=None, namespace=None):
        raise Told(read(parser, args, namespace)[1], True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *argv])
        patch.setattr(argparse.ArgumentParser, "parse_args", all_of_them)
        patch.setattr(argparse.ArgumentParser, "parse_known_args", some_of_them)
        with pytest.raises(Told) as caught:
            main()
    return caught.value.args


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("lens.train", "--sede", "1"), "did you mean"),
        (("lens.probe", "runs/first", "--layers", "all"), "did you mean"),
        (("lens.ablate", "configs/no.yaml"), "no.yaml"),
        (("benchmarks.coverage", "--sede", "1"), "does not know"),
        (("benchmarks.step", "--sede", "1"), "did you mean"),
    ],
)
def test_a_command_that_its_verb_refuses_is_found(place, command, message, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(Exception, match=message):
        taken(*command)


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """Where the links and pictures of a page lead, within the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", texts(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    every = texts()
    for link in links(every[page]):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link} is not there"
        if anchor:
            assert anchor in anchors(every[target]), f"{page.name}: {link} is no heading"


def test_every_page_and_picture_can_be_reached_from_readme():
    every, reached, todo = texts(), set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        targets = {
            (page.parent / link.partition("#")[0]).resolve() for link in links(every.get(page, "")) if link[0] != "#"
        }
        todo += targets - reached
    shown = {
        file for folder in ("docs", "results") for file in (ROOT / folder).iterdir() if file.suffix in (".md", ".png")
    }
    assert not {str(file.relative_to(ROOT)) for file in shown - reached}


def test_every_file_and_module_that_a_page_names_is_there():
    for page, text in texts().items():
        for name in re.findall(r"`((?:configs|benchmarks|notebooks|lens|tests|docs|results)/[\w/.-]+)[` ]", text):
            assert (ROOT / name).exists(), f"{page.name}: {name} is not there"
        for name in re.findall(r" -m ((?:lens|benchmarks)\.[\w.]*\w)", text):
            assert importlib.util.find_spec(name), f"{page.name}: there is no module {name}"
