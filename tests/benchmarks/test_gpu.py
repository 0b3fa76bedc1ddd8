"""The checks that need a GPU, tried at tiny sizes on a CPU: what each leaves, and what becomes of one that fails. Never times."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import save_file
from tiny import ROOT

from benchmarks import gpu, gpu_pack, gpu_resume, gpu_table
from lens.base.errors import BadInput
from lens.base.intervals import too_few
from lens.sources.folder import Folder

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def gpu_sh(*words, **environment):
    """What benchmarks/gpu.sh does when it is told some words."""
    told = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"} | {k: str(v) for k, v in environment.items()}
    return subprocess.run(["bash", "benchmarks/gpu.sh", *words], cwd=ROOT, env=told, capture_output=True, text=True)


# --- the whole, dry --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu")
    done = gpu_sh("--dry", OUT=out, PACK=out / "no pack")
    assert done.returncode == 0, done.stdout + done.stderr
    return done, out, json.loads((out / "gpu.json").read_text())["parts"]


def rows(text, part):
    """The cells of a part's rows of the table."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [cells for cells in lines if cells[0] == part]


def test_every_part_ends_and_has_its_rows(dry):
    done, out, parts = dry
    assert {name: part["state"] for name, part in parts.items()} == dict.fromkeys(gpu.PARTS, "done")
    assert sum(limit for _, limit in gpu.PARTS.values()) < 12 * 60
    assert done.stdout == (out / "gpu.md").read_text()  # the table, and nothing else
    for name, part in parts.items():
        assert rows(done.stdout, name), name
        assert part["dry"]
        assert 0 < part["seconds"] <= part["limit"]
        assert part["machine"]["device"] == "cpu"
    assert "say nothing" in done.stdout.splitlines()[0]
    assert {path.name for path in out.iterdir()} == {"gpu.json", "gpu.md", "gpu.log"}


def test_gradients_are_compared_in_every_mode_with_every_objective(dry):
    cases = dry[2]["gradients"]["result"]["cases"]
    double = [case for case in cases if case["precision"] == 64]
    assert {case["mode"] for case in double} == {"both, separate", "both, joint", "lensed"}
    assert {case["adversary"] for case in double} == {"least_likely", "full", "uniform"}
    for case in cases:
        limit = 1e-9 if case["precision"] == 64 else 1
        assert 0 < case["extractor_error"] < limit
        assert 0 < case["lens_error"] < limit
        assert case["same_views"]
    assert {case["precision"] for case in cases} == {64, 32, "bf16"}


def test_the_resumed_run_has_the_bits_of_the_whole_one(dry):
    part = dry[2]["resume"]["result"]["precisions"]["bf16"]
    assert part["same"]
    assert len(set(part["checksums"])) == 1
    assert len(part["checksums"][0]) == 32


def test_every_mode_of_the_step_has_its_figures(dry):
    modes = dry[2]["step"]["result"]["modes"]
    assert set(modes) == {"plain", "both, separate", "both, joint", "lensed", "two-pass"}
    for row in modes.values():
        assert row["images_per_second"] > 0
        assert row["ratio_to_floor"] > 0
        assert row["peak_memory"] > 0
    table = rows(dry[0].stdout, "step")
    assert [cells[1] for cells in table] == [*modes, "peak memory, GB"]
    compiled = dry[2]["compile"]["result"]["ways"]["both, separate"]["compile"]
    assert compiled["gradients_apart"] < 0.05
    assert compiled["speed_up"] > 0
    assert dry[2]["graph"]["result"]["ways"]["both, separate"]["graph"]["speed_up"] > 0


def test_the_table_says_which_share_of_the_cards_peak_is_reached():
    row = {
        "images_per_second": 1234.5, "ratio_to_floor": 1.01, "flops_per_second": 395.6e12, "share_of_bf16_peak": 0.4,
        "bound_by": "launches, device busy 70%", "peak_memory": 12.34e9,
    }  # fmt: skip
    entry = {"state": "done", "result": {"modes": {"plain": row}}, "seconds": 1.0, "limit": 2.0}
    step, memory = rows(gpu_table.table({"step": entry}), "step")
    assert step[1:] == [
        "plain",
        "1,234.5 images/s, × 1.010 of its floor, 40% of 989 TFLOP/s",
        "bound by launches, device busy 70%",
    ]
    assert memory[2] == "plain 12.34"


def test_three_arms_train_for_the_same_steps_beside_the_replication(dry):
    result = dry[2]["arrow"]["result"]
    assert set(result["arms"]) == {"clean", "arrow", "arrow + lens"}
    for arm, part in result["arms"].items():
        assert part["steps"] == result["steps"]
        low, high = part["downstream"]["linear_ci"]
        assert 0 <= low <= part["downstream"]["linear"] <= high <= 1
        assert (part["psnr"] is not None) == (arm == "arrow + lens")
        assert ("--shortcut=arrow" in part["command"]) == (arm != "clean")
    beside = {cells[1].partition(", ")[0]: cells[3] for cells in rows(dry[0].stdout, "arrow")}
    for arm, figure in (("clean", "68.3"), ("arrow", "53.2"), ("arrow + lens", "57.1")):
        assert figure in beside[arm]
    assert "on images of our own making: 120 training images, of which 20 are trained on" in dry[0].stdout
    real = gpu_table.table({"arrow": dry[2]["arrow"] | {"dry": False}})
    assert "on a part of CIFAR-10: 120 training images" in real


def test_the_planted_cast_is_trained_and_judged(dry):
    result = dry[2]["cast"]["result"]
    assert "--shortcut=colour_cast" in result["training"]["command"]
    assert "--lens=colour" in result["training"]["command"]
    assert 5 < result["training"]["psnr"] < 90
    for name in ("raw", "lensed", "trained_on"):
        assert 0 <= result["removal"][name] <= 1
        assert too_few(result["removal"][f"{name}_ci"])  # of so few images
    grid = yaml.safe_load((ROOT / "configs" / "removal" / "planted.yaml").read_text())
    assert result["full_steps"] == grid["axes"]["cue"]["colour cast"]["steps"]


def test_the_table_of_several_files_has_the_parts_of_all(dry, tmp_path, capsys):
    parts = dry[2]
    for number, names in enumerate((["step", "arrow"], ["gradients"])):
        (tmp_path / f"{number}.json").write_text(json.dumps({"parts": {name: parts[name] for name in names}}))
    assert gpu.main(["--table", str(tmp_path / "0.json"), str(tmp_path / "1.json")]) == 0
    shown = capsys.readouterr().out
    for name in ("gradients", "step", "arrow"):
        assert rows(shown, name) == rows(dry[0].stdout, name)
    assert not rows(shown, "resume")
    assert gpu.main(["--table", str(tmp_path / "none.json")]) == 2


def test_a_run_that_resumes_with_other_bits_fails_and_says_whose_fault_it_is(tmp_path, monkeypatch):
    """Of two runs that differ in one tensor; whole runs differ as well, and deterministic algorithms help."""

    def train(words, start_method, deterministic):
        out = Path(words[-1].partition("=")[2])
        for step in (1, 2):
            place = out / "checkpoint" / f"step-{step:08d}"
            if not place.exists():
                place.mkdir(parents=True)
                value = 1.0 if deterministic or out.name == "whole" else 1.5
                save_file({"a": torch.tensor([value]), "b": torch.ones(2)}, place / "players.safetensors")
        (out / "summary.json").write_text("{}")

    monkeypatch.setattr(gpu_resume, "in_a_process", train)
    result = gpu_resume.check(gpu.Asked(dry=True, seconds=60, images=tmp_path, work=tmp_path), lambda found: None)
    part = result["precisions"]["bf16"]
    assert (part["same"], part["unlike"], part["tensors"], part["largest"]) == (False, 1, 2, 0.5)
    assert (part["whole_runs"]["same"], part["deterministic"]["same"]) == (False, True)
    assert result["failed"]
    entry = {"state": "failed", "dry": True, "result": result, "error": "as told"}
    (row, whole) = rows(gpu_table.table({"resume": entry}), "resume")
    assert "1 of 2 tensors differ" in row[2]
    assert row[3] == "two whole runs: other bits; with deterministic algorithms: same bits"
    assert whole[2:] == ["**failed**", "as told"]


# --- parts that fail -------------------------------------------------------------------------------------------------


def too_slow(asked, keep):
    keep({"found": 1})
    child = subprocess.Popen(["sleep", "60"])
    (asked.work / "child").write_text(str(child.pid))
    time.sleep(60)


def broken(asked, keep):
    keep({"found": 2})
    raise BadInput("no such thing\nat all")


def disagrees(asked, keep):
    return {"found": 3, "failed": ["two figures differ"]}


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("part", "state", "error", "found"),
    [(too_slow, "cut", None, 1), (broken, "failed", "BadInput: no such thing", 2), (disagrees, "failed", "two figures differ", 3)],
)  # fmt: skip
def test_a_part_that_fails_or_overruns_is_told_and_leaves_what_it_had(part, state, error, found, tmp_path, monkeypatch):
    monkeypatch.setitem(gpu.PARTS, "resume", (f"{__name__}:{part.__name__}", 1.0))
    file = tmp_path / "gpu.json"
    gpu.record(file, "gradients", state="done")
    asked = gpu.Asked(dry=True, seconds=1.0 if part is too_slow else 60.0, images=tmp_path, work=tmp_path)
    assert not gpu.run_part("resume", asked, file, tmp_path / "gpu.log", {"device": "a card"})
    entry = gpu.read(file)["parts"]["resume"]
    assert (entry["state"], entry.get("error"), entry["result"]["found"]) == (state, error, found)
    assert entry["machine"] == {"device": "a card"}
    assert gpu.read(file)["parts"]["gradients"] == {"state": "done"}
    if part is too_slow:
        deadline = time.monotonic() + 5
        while is_running(int((tmp_path / "child").read_text())) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(int((tmp_path / "child").read_text()))


def test_the_others_go_on_and_the_exit_code_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        gpu, "PARTS", {"gradients": (f"{__name__}:broken", 60.0), "resume": (f"{__name__}:disagrees", 60.0)}
    )
    monkeypatch.setattr(gpu, "IMPORTED", ())
    monkeypatch.setattr(gpu_table, "ROWS", dict.fromkeys(gpu.PARTS, lambda result: []))
    monkeypatch.setenv("LENS_CACHE", "")
    assert gpu.main(["--dry", "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr()
    assert [
        cells[2].startswith("**failed**") for cells in rows(shown.out, "gradients") + rows(shown.out, "resume")
    ] == [True] * 2
    assert "no such thing" in shown.err


def test_what_cannot_begin_is_told_in_one_line(tmp_path, capsys):
    assert gpu.main(["--dry", "nonsense"]) == 2
    assert "no part 'nonsense'" in capsys.readouterr().err
    assert gpu.main(["--out", str(tmp_path), "--pack", str(tmp_path)]) == 2  # without --dry, on a CPU or without a pack
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


# --- the pack --------------------------------------------------------------------------------------------------------


def write_parquet(folder, sizes=(8,)):
    """Two files of a small labelled data set, its column names and features as CIFAR-10's; the pixels of each image."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    pixels = {}
    for split, count in (("train", 12), ("test", 6)):
        images, labels = [], []
        for number in range(count):
            size = sizes[number % len(sizes)]
            square = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            stream = io.BytesIO()
            PIL.Image.fromarray(square).save(stream, "PNG")
            images.append({"bytes": stream.getvalue(), "path": None})
            labels.append(number % 3)
            pixels.setdefault((split, number % 3), []).append(square)
        names = {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}
        features = {"img": {"_type": "Image"}, "label": names}
        table = pa.table({"img": images, "label": labels})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, folder / f"{split}.parquet")
    return pixels


def test_packed_images_come_out_as_they_went_in(tmp_path):
    pixels = write_parquet(tmp_path / "data")
    pack = ["--train", "6", "--test", "3", f"{tmp_path}/data/", str(tmp_path / "pack")]
    assert gpu_pack.main(pack) == 0
    gpu_pack.unpack(tmp_path / "pack" / "images.npz", tmp_path / "images")
    source = Folder(str(tmp_path / "images"))
    listing = source.listing()
    assert listing.classes == ["cat", "dog", "owl"]
    found = {}
    for position, record in enumerate(listing.records):
        found.setdefault((record.split, record.label), []).append(np.asarray(source.read(position)))
    assert {split for split, _ in found} == {"train", "test"} or {split for split, _ in found} == {None, "test"}
    for (split, label), squares in found.items():
        assert len(squares) == (1 if split == "test" else 2)
        for square, expected in zip(squares, pixels[split or "train", label], strict=False):
            assert np.array_equal(square, expected)


def test_what_cannot_be_packed_is_refused_before_anything_is_written(tmp_path, capsys):
    write_parquet(tmp_path / "data")
    write_parquet(tmp_path / "mixed", sizes=(8, 9))
    for words in ([f"{tmp_path}/data/", "--train", "60"], [f"{tmp_path}/mixed/", "--train", "12", "--test", "6"]):
        assert gpu_pack.main([words[0], str(tmp_path / "pack"), *words[1:]]) == 2
    said = capsys.readouterr().err
    assert "has 4 images of 'cat'" in said
    assert "several sizes" in said
    assert not (tmp_path / "pack").exists()


def test_a_damaged_pack_is_told_in_one_line(tmp_path):
    (tmp_path / "images.npz").write_bytes(b"PK no zip")
    with pytest.raises(BadInput, match=r"gpu_pack\.sh"):
        gpu_pack.unpack(tmp_path / "images.npz", tmp_path / "images")


def test_only_wheels_of_packages_that_are_not_there_are_installed(tmp_path):
    """`torch` is there and must stay as it is, whatever the pack holds."""
    (tmp_path / "pack" / "wheels").mkdir(parents=True)
    for name in ("torch-99.0", "No_such_thing-1.0"):
        (tmp_path / "pack" / "wheels" / f"{name}-py3-none-any.whl").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\nif [ "$1" = - ]; then exec {sys.executable} "$@"; fi\necho "$PYTHONPATH: $*"\n')
    python.chmod(0o755)
    done = gpu_sh("--dry", "step", PYTHON=python, PACK=tmp_path / "pack", OUT=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    install, run = done.stdout.splitlines()
    assert "--no-index --no-deps" in install
    assert "No_such_thing-1.0" in install
    assert "torch-99.0" not in install
    site = install.split("--target ")[1].split()[0]
    assert run.startswith(f"{site}:{ROOT}")
    assert run.endswith(f"-m benchmarks.gpu --pack {tmp_path}/pack --out {tmp_path}/out --dry step")
    assert not Path(site).exists()  # gone with the call
