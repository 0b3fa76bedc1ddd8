"""Every mistake gets one clear line and exit code 2, no traceback, and leaves nothing half-written."""

import os
import shutil

import numpy as np
import pytest
from pictures import picture, write_folder
from tiny import TINY, fit

from lens import probe, train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders good and bad, and files that are no plug-ins."""
    folder = tmp_path_factory.mktemp("bad_input")
    write_folder(folder / "good", 20)
    (folder / "empty").mkdir()
    (folder / "only_text").mkdir()
    (folder / "only_text" / "a.txt").write_text("no image")
    write_folder(folder / "few", 2)
    write_folder(folder / "one_class", 20, classes=1)
    (folder / "flat").mkdir()
    for i in range(40):
        picture(np.random.default_rng(i), 0).save(folder / "flat" / f"{i}.png")
    for name, content in (("zero", b""), ("text", b"no image"), ("cut", None)):
        file = write_folder(folder / name, 20) / "class0" / "003.png"
        file.write_bytes(file.read_bytes()[:200] if content is None else content)
    (folder / "a_file").write_text("x")
    (folder / "broken.py").write_text("def (")
    half = "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Half:\n    views = 1\n    spatial = False\n    classes = None\n"
    (folder / "half.py").write_text(half)
    write_folder(write_folder(folder / "mixed", 5) / "train", 5)
    other = np.random.default_rng(5)  # pictures of another structure: near nothing else
    (folder / "other").mkdir()
    for i in range(40):
        picture(other, i % 2).rotate(90, expand=True).save(folder / "other" / f"{i}.png")
    (folder / "good_link").symlink_to("good")
    write_folder(folder / "linked", 20, classes=1)
    (folder / "linked" / "class9").symlink_to("../good/class1")
    (folder / "no_run").mkdir()
    (folder / "torn_run").mkdir()
    (folder / "torn_run" / "settings.yaml").write_text("task: [rot")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """The same in a test's own folder, which it works in: the files are links, and are not written to."""
    shutil.copytree(made, tmp_path, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


GOOD = [*TINY, "--data", "./good"]
NAMED = [*TINY, "--task", "dataset_classification", "--data"]
ROWS = [
    ([*NAMED, "./good"], "--data names one, ./good: give two or more, or cut it with --pseudo_sources 2"),
    ([*NAMED, "./good", "./other", "./good/"], "--data names ./good/ twice (it is ./good)"),
    ([*NAMED, "./good", "./good/class0"], "./good/class0 lies in ./good: an image cannot come from two sources"),
    ([*NAMED, "./good_link/class1", "./good"], "./good_link/class1 lies in ./good"),
    (
        [*NAMED, "./other", "./few"],
        "./few has 3 training images|./few has 4 training images: a source that is asked about",
    ),
    ([*NAMED, "./good", "./one_class"], "of the 20 images of ./one_class occur in ./good too"),
    ([*NAMED, "./good", "./other", "--pseudo_sources", "2"], "cuts one source into several and 2 are given"),
    ([*GOOD, "--pseudo_sources", "1"], "--pseudo_sources is 1: it must be a finite number, at least 2 and at most 64"),
    ([*GOOD, "--pseudo_sources", "64"], "there are only 40 groups of images to divide"),
    ([*GOOD, "--judge_fraction", "0.95"], "--judge_fraction is 0.95"),
    ([*GOOD, "--group_by", "p(\\d+"], "--group_by 'p(\\\\d+' is no regular expression: missing )"),
    ([*GOOD, "--group_by", "patient\\d+"], ", such as 'class0/000.png': fix it, drop it"),
    ([*GOOD, "--shortcut", "arrow", "--shortcut_key", "source"], "needs two or more --data, or --pseudo_sources"),
    ([*TINY, "--data", "./missing"], "./missing does not exist"),
    ([*TINY, "--data", "./empty"], "./empty holds no image file"),
    ([*TINY, "--data", "./only_text/"], "holds no image file"),
    ([*TINY, "--data", "good"], "a path has a slash|write ./good"),
    ([*TINY, "--data", "someone/pictures"], "write hub:someone/pictures"),
    ([*TINY, "--data", "./a_file"], "./a_file is no folder of images, parquet file, WebDataset shard"),
    ([*TINY, "--data", "cifar1"], "did you mean 'cifar10'"),
    ([*TINY, "--data", "./text", "--cache", "none"], "image 'class0/003.png' of ./text cannot be read"),
    ([*GOOD, "--cache", "ram"], "--cache is 'ram'"),
    ([*TINY, "--data", "./zero"], "1 of 40 images of ./zero cannot be read (2.5%, allowed 1.0%): 'class0/003.png'"),
    ([*TINY, "--data", "./text"], "cannot be read"),
    ([*TINY, "--data", "./cut"], "cannot be read"),
    ([*TINY, "--data", "./few", "--batch_size", "16"], "fewer than one batch of 16"),
    ([*GOOD, "--probe", "./one_class"], "a probe needs two classes and ./one_class has one class in its train split"),
    ([*GOOD, "--probe", "./flat"], "a probe needs labels and ./flat has none"),
    ([*GOOD, "--probe", "./missing"], "./missing does not exist"),
    ([*GOOD, "--task", "rotatoin"], "did you mean 'rotation'"),
    ([*GOOD, "--shortcut", "arow"], "did you mean 'arrow'"),
    ([*GOOD, "--shortcut", "watermark,colour_cast"], "several are written watermark+colour_cast"),
    (
        [*GOOD, "--shortcut", "watermark", "colour_cast"],
        "several of a kind are written together, as in --shortcut one+colour_cast",
    ),
    ([*GOOD, "--task", "rotation,jigsaw"], "unknown task 'rotation,jigsaw': did you mean 'rotation'?"),
    (["--data", "./flat", "--lens", "downsample", "jpeg"], "as in --shortcut one+jpeg or --lens one+jpeg"),
    ([*GOOD, "--shortcut", "watermark+"], "--shortcut watermark+: a + stands between two names"),
    ([*GOOD, "--lens", "+border"], "--lens +border: a + stands between two names"),
    ([*GOOD, "--lens", "zzz"], "border, clamp, colour,"),
    ([*GOOD, "--lens", "./flat"], "--lens ./flat: that is a folder"),
    ([*GOOD, "--lens", "./a_file"], "--lens ./a_file: that is no .py file"),
    ([*GOOD, "--prove", "yes"], "'yes' belongs to no setting"),
    ([*GOOD, "--target_psnr", "nan"], "it must be a finite number"),
    ([*GOOD, "--shortcut_key", "constnt"], "it must be constant, image"),
    ([*GOOD, "--extractor", "resnet_18"], "did you mean 'resnet18'"),
    ([*GOOD, "--extractor", "test_vit", "--extractor_stem", "small"], "is for ResNets"),
    ([*GOOD, "--lens", "unet", "--lens.encoder", "resnet81"], "did you mean 'resnet18'"),
    ([*GOOD, "--lens_weights", "./a_file"], "no safetensors file"),
    (
        [*fit([*GOOD, "--lens", "none"]), "--lens_weights", "./a_file"],
        "--lens_weights would be ignored: with --lens none no lens learns",
    ),
    ([*GOOD, "--recon_weight", "-1"], "--recon_weight is -1.0"),
    ([*GOOD, "--recon_weight", ".nan"], "--recon_weight is nan"),
    (
        [*GOOD, "--task", "jigsaw", "--mixup", "0.8", "--label_smoothing", "0.1"],
        "--mixup 0.8 and --label_smoothing 0.1 cannot be used with --task jigsaw",
    ),
    ([*GOOD, "--cutmix", "1", "--batch_size", "1"], "--cutmix 1 mixes each image with another"),
    ([*GOOD, "--lens_update_every", "0"], "--lens_update_every is 0"),
    ([*GOOD, "--lens_ema", "1"], "--lens_ema is 1"),
    ([*GOOD, "--lens_noise", "-0.1"], "--lens_noise is -0.1"),
    ([*GOOD, "--lens_noise", "0.1"], "--lens_noise 0.1 alone leaves 20.0 dB and --target_psnr is 25.5"),
    ([*GOOD, "--task", "exemplar", "--prove", "--judge_fraction", "0.5"], "--prove has nothing to ask of this run"),
    ([*GOOD, "--prove"], "--prove needs images that the lens has not seen"),
    ([*GOOD, "--device", "cuda:99"], "--device cuda:99: torch sees"),
    ([*GOOD, "--image_column", "img"], "belong to parquet files"),
    ([*GOOD, "--out", "./a_file"], "a_file exists and is no empty directory"),
    ([*GOOD, "--out", "./a_file/run"], "cannot write the run directory"),
    ([*GOOD, "--cache_dir", "./a_file/cache"], "cannot write the image cache"),
    ([*GOOD, "--out", "./flat"], "exists and is no empty directory"),
    (["--resume", "./no_run", "--out", "./other"], "--out has no meaning with --resume"),
    ([*GOOD, "--task", "./broken.py"], "--task ./broken.py cannot be loaded: SyntaxError"),
    ([*GOOD, "--task", "./half.py"], "Half lacks pose, present"),
    ([*TINY, "--data", "./mixed/"], "beside folders that are no split (class0, class1)"),
    (["--resume", "./no_run"], "no_run is no run directory: it has no settings.yaml"),
    (["--resume", "./missing"], "missing is no run directory: it does not exist"),
    (["--resume", "./a_file"], "a_file is no run directory: it is a file"),
    (["--resume", "./torn_run"], "settings.yaml cannot be read"),
]


@pytest.mark.parametrize(("argv", "message"), ROWS, ids=[message[:40] for _, message in ROWS])
def test_a_mistake_gets_one_line_and_leaves_nothing(place, capsys, argv, message):
    before = {path for path in place.rglob("*")}
    out = [] if "--out" in argv or "--resume" in argv else ["--out", "./out"]
    assert train.main([*argv, *out]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("decoding")]
    assert len(error) == 1, error
    assert error[0].startswith("lens: error: ")
    assert any(part in error[0] for part in message.split("|")), error[0]
    assert "Traceback" not in error[0]
    assert {path for path in place.rglob("*")} == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_output_is_refused(place, capsys):
    (place / "locked").mkdir(mode=0o500)
    assert train.main([*GOOD, "--out", "./locked/run"]) == 2
    assert "cannot write the run directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["./no_run"], "is no run directory"),
        (["./missing"], "is no run directory"),
        ([], "run"),
        (["./missing", "--weights", "worst"], "give last or best"),
        (["./missing", "--prob", "x"], "did you mean 'probe'"),
        (["./missing", "--judge_seeds", "2"], "unknown setting 'judge_seeds'"),
        (["./missing", "--fuse", "a", "--fuse_control", "b", "--layer", "all"], "leave --layer out"),
    ],
)
def test_a_probes_mistakes(place, capsys, argv, message):
    assert probe.main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_one_bad_image_among_many_is_skipped_counted_and_listed(place, capsys):
    assert train.main([*TINY, "--steps", "1", "--data", "./zero", "--max_bad_fraction", "0.05", "--out", "./run"]) == 0
    assert "skipped 1 unreadable images" in capsys.readouterr().err
    import json

    skipped = json.loads((place / "run" / "skipped.json").read_text())
    assert [entry["name"] for entry in skipped] == ["class0/003.png"]
    assert json.loads((place / "run" / "summary.json").read_text())["skipped_images"] == 1


def test_a_run_on_images_without_labels_has_no_probe(place):
    import json

    assert train.main([*TINY, "--steps", "1", "--data", "./flat", "--out", "./run"]) == 0
    assert json.loads((place / "run" / "summary.json").read_text())["downstream"] == {}
    assert probe.main(["./run"]) == 2
    assert probe.main(["./run", "--probe", "./good"]) == 0
