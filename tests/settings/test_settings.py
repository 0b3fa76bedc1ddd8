"""Settings cannot lie: typed, no unknown keys, file then flags, plug-ins' own settings."""

import dataclasses
import typing
from pathlib import Path

import pytest
import yaml
from tiny import ROOT

from lens import probe, train
from lens.base.errors import BadInput
from lens.grids.file import read
from lens.protocols.lookup import find, names
from lens.settings import parsing, small_verbs
from lens.settings.parsing import parse
from lens.settings.run_settings import PLUGINS, Settings
from lens.settings.stored import differing, refuse_foreign_code

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def settings(*argv):
    return parse(list(argv), "lens.train").settings


def test_flags_override_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("lr: 0.5\nbatch_size: 7\nprecision: 32\nshortcut: arrow\narrow:\n  size: 0.3\ndata: chest_xray\n")
    parsed = parse(["--config", str(file), "--lr", "0.25", "--shortcut.strength", "0.5"], "lens.train")
    assert (
        parsed.settings.optimisation.lr,
        parsed.settings.optimisation.batch_size,
        parsed.settings.machine.precision,
    ) == (0.25, 7, 32)
    assert (parsed.plugins["shortcut"].size, parsed.plugins["shortcut"].strength) == (0.3, 0.5)


@pytest.mark.parametrize(
    ("argv", "first", "steered"),
    [
        ([], 100, 25.5),
        (["--recon_weight", "30"], 30, None),
        (["--target_psnr", "20"], 100, 20),
        (["--recon_weight", "30", "--target_psnr", "20"], 30, 20),
    ],
)
def test_a_weight_that_is_given_stays_fixed_unless_a_psnr_is_asked_for(argv, first, steered):
    assert (settings(*argv).game.first_recon_weight, settings(*argv).game.steered_psnr) == (first, steered)


def test_what_is_written_reads_back_the_same(tmp_path):
    first = parse(
        [
            "--shortcut",
            "arrow",
            "--shortcut.size",
            "0.4",
            "--extractor_args.channels",
            "[8,8,8,8]",
            "--data",
            "./a",
            "./b",
        ],
        "lens.train",
    )
    again = parse([], "lens.train", yaml.safe_load(yaml.safe_dump(first.plain)))
    assert again.settings == first.settings
    assert again.plugins == first.plugins
    assert differing(first.plain, again.plain) == []


@pytest.mark.parametrize(
    "argv",
    [["--data", "./a", "--data", "./b"], ["--data", "./a", "./b"], ["--data=./a", "--data=./b"], ["--data=[./a, ./b]"]],
)
def test_lists_are_taken_however_people_write_them(argv):
    assert settings(*argv, "--seed", "3").data.sources == ["./a", "./b"]


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        (["--pretrained"], True),
        (["--pretrained", "false"], False),
        ([], False),
        (["--pretrained", "--seed", "1"], True),
        (["--pretrained=true"], True),
    ],
)
def test_a_switch_can_be_turned_on_and_off(argv, value):
    assert settings(*argv).players.pretrained is value


def test_a_switch_that_a_task_prescribes_can_be_turned_on_and_off_too():
    given = (["--standardise"], ["--standardise", "false"], [], ["--standardise", "--grey", "0.5"])
    assert [settings(*argv).views.standardise for argv in given] == [True, False, None, True]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--extracto", "resnet18"], "did you mean 'extractor'"),
        (["--tsk", "rotation"], "unknown setting 'tsk': did you mean 'task'"),
        (["--task", "rotatoin"], "unknown task 'rotatoin': did you mean 'rotation'"),
        (["--shortcut", "arow"], "unknown shortcut 'arow': did you mean 'arrow'"),
        (["--shortcut_key", "constnt"], "shortcut_key is 'constnt'"),
        (["--shortcut", "arrow", "--shortcut_key", "label", "--shortcut_share", "1.5"], "--shortcut_share is 1.5"),
        (["--arrow.size", "0.2"], "arrow is not selected"),
        (["--shortcut.size", "0.2"], "--shortcut.size: what --shortcut names has no such setting and no other"),
        (["--shortcut", "arrow", "--shortcut.sise", "0.2"], "did you mean 'shortcut.size'"),
        (["--lr", "fast"], "--lr is 'fast'"),
        (["--steps", "1.5"], "--steps is '1.5'"),
        (["--recon_weight", "-1"], "--recon_weight is -1.0"),
        (["--recon_weight", ".nan"], "--recon_weight is nan"),
        (["--recon_weight", "nan"], "--recon_weight is 'nan'"),
        (["--lr", ".inf"], "--lr is inf"),
        (["--steps", "5", "--epochs", "2"], "contradict"),
        (["--steps", "0"], "at least 1"),
        (["--seed", "5000000000"], "at most"),
        (["--batch_size", "10", "--grad_accum_steps", "3"], "equal parts"),
        (["--cache_image_size", "60"], "at least 64"),
        (["--device", "tpu9"], "unknown"),
        (["--shortcut", "arrow", "--shortcut_key", "source"], "two or more --data"),
        (["--task", "./nothing.py"], "there is no such file"),
        (["--config", "./nothing.yaml"], "does not exist"),
        (["--data"], "--data needs a value"),
        (["--lr"], "expected one argument"),
        (
            ["--wandb", "offline", "--wandb_tags", "good", "t" * 80],
            "--wandb_tags tttttttttttttttttttt… has 80 characters",
        ),
        (["--wandb", "online", "--wandb_tags", ""], "--wandb_tags empty has 0 characters"),
        (
            ["--wandb", "offline", "--wandb_project", "p" * 129],
            "--wandb_project pppppppppppppppppppp… has 129 characters",
        ),
        (["--wandb", "offline", "--wandb_project", ""], "--wandb_project empty"),
        (["--wandb", "offline", "--wandb_project", "runs/first#"], "'runs/first#' has # and / in it"),
        (["--wandb", "offline", "--wandb_group", "g" * 200], "--wandb_group gggggggggggggggggggg… has 200 characters"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(argv, message):
    with pytest.raises(BadInput) as caught:
        settings(*argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_longest_names_that_wandb_takes_are_taken():
    names = ["--wandb_tags", "t" * 64, "u", "--wandb_project", "p" * 128, "--wandb_group", "g" * 128]
    assert settings("--wandb", "offline", *names).record.wandb_tags == ["t" * 64, "u"]


def test_an_unknown_key_in_a_file_names_the_nearest(tmp_path):
    (tmp_path / "c.yaml").write_text("recon_wieght: 3\n")
    with pytest.raises(BadInput, match="did you mean 'recon_weight'"):
        settings("--config", str(tmp_path / "c.yaml"))


OWN = [
    (kind, name, field.name)
    for kind in PLUGINS
    for name in names(kind)
    for field in dataclasses.fields(find(kind, name))
    if field.init and typing.get_type_hints(find(kind, name))[field.name] is not str
]


@pytest.mark.parametrize(("kind", "name", "own"), OWN)
def test_a_setting_of_a_plugin_is_asked_for_its_kind(kind, name, own):
    with pytest.raises(BadInput, match=rf"^--{kind}\.{own} is 'x': it must be "):
        parse([f"--{kind}", name, f"--{kind}.{own}", "x"], "lens.train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: -3", "--lr is -3.0: it must be a finite number, above 0"),
        ("lr: abc", "--lr is 'abc': it must be a number"),
        ("augment: [1]", "--augment is '[1]': it must be none, crop, inception or resized"),
        ("steps: {a: 1}", "--steps"),
        ("lrr: 3", "unknown setting 'lrr': did you mean 'lr'?"),
        ("lens: clamp\nlens.margin: 7", "--lens.margin is 7.0: it must be a finite number"),
        ("task: {angle: 45}", "--task.angle: what --task names has no such setting"),
        ("shortcut: arow", "unknown shortcut 'arow': did you mean 'arrow'?"),
        ("steps: 3\nepochs: 3", "--steps 3 and --epochs 3 contradict each other"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path, text, message):
    """And one that a flag makes, whatever a file says, names none."""
    file, other = tmp_path / "c.yaml", tmp_path / "other.yaml"
    file.write_text(text)
    other.write_text("seed: 3\nlens_lr: 0.5\n")
    with pytest.raises(BadInput) as caught:
        parse(["--config", str(file), "--config", str(other), "--batch_size", "9"], "lens.train")
    assert str(caught.value).startswith(f"{file}: {message}")
    with pytest.raises(BadInput, match=r"^--seed is 'x': it must be a whole number$"):
        parse(["--config", str(other), "--seed", "x"], "lens.train")
    with pytest.raises(BadInput, match=r"^/a/settings.yaml: --lens_lr is -1.0"):
        parse([], "lens.train", {"lens_lr": -1.0}, where="/a/settings.yaml")
    with pytest.raises(BadInput, match=r"^--lens_lr is -1.0"):  # as lens probe RUN --device abc
        parse([], "lens.train", {"lens_lr": -1.0}, where="/a/settings.yaml", asked=["lens_lr"])


def test_a_task_from_a_file_outside_the_package(tmp_path):
    source = Path(find("task", "rotation").__module__.replace(".", "/") + ".py")
    text = (ROOT / source).read_text()
    (tmp_path / "my_task.py").write_text(
        text.replace("views: ClassVar[int] = 4", "views: ClassVar[int] = 4\n    angle: int = 90")
    )
    parsed = parse(["--task", f"{tmp_path}/my_task.py", "--my_task.angle", "45"], "lens.train")
    assert parsed.plugins["task"].angle == 45
    with pytest.raises(BadInput, match="if you trust that file"):
        refuse_foreign_code(parsed.plain, ["--resume", "x"], Path("x"))
    refuse_foreign_code(parsed.plain, ["--task", f"{tmp_path}/my_task.py"], Path("x"))


def test_a_file_without_one_dataclass_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(BadInput, match="expected one public dataclass"):
        settings("--task", f"{tmp_path}/empty.py")


@pytest.mark.parametrize("stored", [{"bogus": 1}, {"lr": "fast"}])
def test_a_run_with_settings_that_do_not_exist_is_refused_in_one_line(stored):
    with pytest.raises(BadInput, match=r"bogus|lr"):
        parse([], "lens.train", stored)


def test_another_shortcut_is_refused_by_its_name():
    stored = parse(["--shortcut", "arrow"], "lens.train").plain
    given = parse(["--shortcut", "none"], "lens.train", stored).plain
    assert "shortcut" in differing(stored, given)


def test_one_source_as_a_word_or_a_list_is_the_same():
    assert differing({"data": "./a"}, {"data": ["./a"]}) == []


def test_only_some_settings_may_differ_on_resume():
    stored = parse(["--steps", "5"], "lens.train").plain
    given = parse(["--steps", "9", "--device", "cpu", "--num_workers", "1", "--seed", "4"], "lens.train").plain
    assert differing(stored, given) == ["seed"]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_is_valid_and_says_what_it_shows_and_costs(file):
    text = file.read_text()
    if "\naxes:" in text:
        assert len(read(file).runs()) > 1
    else:
        assert isinstance(settings("--config", str(file)), Settings)
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert len(header) >= 3


def test_a_task_prefers_its_own_settings_where_nothing_is_said(tmp_path):
    two = ["--task", "dataset_classification", "--data", "./a", "./b"]
    preferred = parse(two, "lens.train").settings
    assert (preferred.players.extractor, preferred.players.lens, preferred.game.feed) == (
        "all_conv",
        "full_res",
        "lensed",
    )
    assert (
        preferred.optimisation.lens_update_every,
        preferred.optimisation.lens_ema,
        preferred.optimisation.lr_schedule,
    ) == (2, 0.99, "constant")
    assert preferred.players.lens_noise == 0.03
    assert parse(two, "lens.train").plain["lens.depth"] == 3
    assert "lens.depth" not in parse([*two, "--lens", "colour"], "lens.train").plain
    assert (
        parse(
            [*two, "--lens_update_every", "1", "--feed", "both"], "lens.train"
        ).settings.optimisation.lens_update_every
        == 1
    )
    file = tmp_path / "settings.yaml"
    file.write_text("task: dataset_classification\ndata: [./a, ./b]\nextractor: resnet18\n")
    told = parse([f"--config={file}"], "lens.train").settings
    assert (told.players.extractor, told.players.lens) == ("resnet18", "full_res")
    other = parse(["--task", "labels"], "lens.train").settings
    assert (other.players.extractor, other.optimisation.lens_update_every, other.optimisation.lens_ema) == (
        "resnet10t_narrow",
        1,
        0.0,
    )


def test_the_number_of_steps_that_a_task_prefers_gives_way_to_epochs():
    two = ["--task", "dataset_classification", "--data", "./a", "./b"]
    assert train.total_steps(parse(two, "lens.train").settings, 10, 1000) == 1000
    assert train.total_steps(parse([*two, "--epochs", "3"], "lens.train").settings, 10, 1000) == 30
    assert train.total_steps(parse([*two, "--steps", "7"], "lens.train").settings, 10, 1000) == 7
    assert train.total_steps(parse([], "lens.train").settings, 10) == train.DEFAULT_STEPS


def test_the_parser_of_a_task_is_made_once_and_keeps_nothing_of_a_parse(monkeypatch):
    made = []
    add = parsing.add_settings
    monkeypatch.setattr(parsing, "add_settings", lambda *given: made.append(given[1]) or add(*given))
    parsing._parser.cache_clear()
    first = parse([], "lens.train")
    assert made == [Settings, *(type(first.plugins[kind]) for kind in ("task", "shortcut", "lens"))]
    words = ["--probe", "a", "--data", "b", "--extractor_args.width", "3", "--steps", "7"]
    other = parse(words, "lens.train")
    assert (
        other.settings.measuring.probe,
        other.settings.players.extractor_args,
        other.settings.optimisation.steps,
    ) == (["a"], {"width": 3}, 7)
    for found in (first, other):  # whoever changes what he was given changes nobody's defaults
        for value in (*found.settings.flat().values(), *found.plain.values()):
            value.clear() if isinstance(value, list | dict) else None
    again = parse([], "lens.train")
    assert len(made) == 4
    parsing._parser.cache_clear()
    afresh = parse([], "lens.train")
    assert len(made) == 8
    assert again == afresh


def test_the_parser_of_a_small_verb_is_made_once_and_keeps_nothing_of_a_parse(monkeypatch):
    read = []
    made = small_verbs.new_parser
    monkeypatch.setattr(small_verbs, "new_parser", lambda prog, helped: read.append(prog) or made(prog, helped))
    small_verbs._simple_parser.cache_clear()

    def parsed(*argv):
        return small_verbs.parse_simple([*argv], "lens.probe", probe.ProbeSettings, "run", "run directories")

    other = parsed("a", "--probe", "c", "--weights", "best")
    assert (other.run, other.probe, other.weights) == (["a"], ["c"], "best")
    other.probe.clear()
    again = parsed("a")
    assert read == ["lens.probe"]
    small_verbs._simple_parser.cache_clear()
    assert parsed("a") == again
    assert len(read) == 2


def test_a_parser_that_has_shown_its_settings_is_not_used_again(capsys):
    """It would remember that it was asked to, and fail at the next words."""
    with pytest.raises((SystemExit, BadInput)):
        parse(["--print_config", "--lr", "a lot"], "lens.train")
    assert parse(["--lr", "0.5"], "lens.train").settings.optimisation.lr == 0.5
    with pytest.raises(SystemExit):
        parse(["--print_config"], "lens.train")
    assert parse([], "lens.train").settings.optimisation.lr == 1e-3
