"""What the system refuses (open files, memory, a failing disk) is told as that, and never as a file's fault."""

import contextlib
import errno
import os
import pickle
import resource

import numpy as np
import pytest
from pictures import load, write_folder, write_parquet
from torch import nn

from lens.base.disk_errors import refusal
from lens.base.entry_point import guard
from lens.base.errors import BadInput
from lens.base.files import SYSTEM_FAULTS, SystemFault, reading, system_fault
from lens.images import cache, cache_folder, opening, uncached
from lens.players.weights import load_weights
from lens.sources import folder as folder_source
from lens.sources._files import file_stamps


@contextlib.contextmanager
def no_more_files():
    """No file can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def write_list(place, text="class0/000.png 0\n"):
    place.write_text(text)
    return place


PLACES = {
    "folder": lambda place: write_folder(place / "a", 2),
    "table": lambda place: write_parquet(place / "a.parquet", 4) or place / "a.parquet",
    "list": lambda place: write_list(place / "a.txt"),
    "weights": lambda place: write_list(place / "a.safetensors"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_too_many_open_files_are_told_as_that(tmp_path, kind):
    place = PLACES[kind](tmp_path)

    def look():
        if kind == "weights":
            return lambda: load_weights(nn.Linear(1, 1), place, "--lens_weights")
        return opening.open_source(str(place)).listing

    with contextlib.suppress(BadInput):
        look()()  # what is imported on the way is imported now
    asked = look()
    with no_more_files(), pytest.raises(SystemFault) as caught:
        asked()
    assert "(Too many open files): this process has as many files open as it may: allow it more with ulimit" in str(caught.value)  # fmt: skip
    assert str(place) in str(caught.value)


def test_the_files_of_a_table_are_closed_again(tmp_path):
    (tmp_path / "p").mkdir()
    for number in range(8):
        write_parquet(tmp_path / "p" / f"{number}.parquet", 2, start=number)
    load([tmp_path / "p" / "0.parquet"], tmp_path)
    before = len(os.listdir("/dev/fd"))
    source = opening.open_source(f"{tmp_path}/p")
    assert len(source.listing().records) == 16
    assert source.read(15).size == (20, 20)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("number", SYSTEM_FAULTS)
@pytest.mark.parametrize("way", ["disk", "none"])
def test_an_image_that_the_system_cannot_read_is_not_skipped(tmp_path, monkeypatch, number, way):
    place = write_folder(tmp_path / "a", 5)
    real = folder_source.open_image

    def failing(path):
        if path.endswith("class0/003.png"):
            raise OSError(number, os.strerror(number), path)
        return real(path)

    monkeypatch.setattr(folder_source, "open_image", failing)
    source = opening.open_source(f"{place}")
    listing = source.listing()
    look = {
        "disk": lambda: cache.cached(str(place), source, listing, 8, tmp_path / "cache", lambda *told: None),
        "none": lambda: uncached.uncached(str(place), source, listing, 8, lambda *told: None),
    }[way]
    with pytest.raises(SystemFault, match=r"003\.png"):
        look()
    assert not list((tmp_path / "cache").glob("*"))


def test_an_image_that_is_gone_is_still_counted(tmp_path):
    place = write_folder(tmp_path / "a", 5)
    source = opening.open_source(f"{place}")
    listing = source.listing()
    (place / "class0" / "003.png").unlink()
    held = cache.cached(str(place), source, listing, 8, tmp_path / "cache", lambda *told: None)
    assert [entry.name for entry in held.skipped] == ["class0/003.png"]


def test_a_row_group_that_the_system_cannot_read_is_not_skipped(tmp_path):
    write_parquet(tmp_path / "a.parquet", 4)
    load([tmp_path / "a.parquet"], tmp_path)
    source = opening.open_source(f"{tmp_path}/a.parquet")
    source.listing()
    with no_more_files(), pytest.raises(SystemFault, match=r"a\.parquet \(Too many open files\)"):
        source.read(0)
    assert source.read(0).size == (20, 20)  # nothing of it is kept


def test_a_stamp_that_cannot_be_had_is_not_that_of_a_missing_file(monkeypatch):
    def stat(path):
        raise OSError(errno.EIO, "Input/output error", path)

    assert file_stamps("/nowhere") == ("missing", "missing")
    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(SystemFault, match="/nowhere"):
        file_stamps("/nowhere")


def test_a_cache_that_cannot_be_opened_now_is_neither_damaged_nor_anothers(tmp_path):
    place = write_folder(tmp_path / "a", 5)
    images = load([place], tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    with no_more_files(), pytest.raises(SystemFault, match="Too many open files"):
        cache_folder.opened(folder, 10, 16, lambda *told: None)
    assert np.array_equal(images.fetch(np.arange(10)), load([place], tmp_path).fetch(np.arange(10)))


def test_squares_that_a_reader_of_batches_cannot_open_now_are_not_damaged(tmp_path):
    images = load([write_folder(tmp_path / "a", 5)], tmp_path)
    in_a_worker = pickle.loads(pickle.dumps(images.arrays[0]))  # without the descriptor
    with no_more_files(), pytest.raises(SystemFault, match=r"images\.npy \(Too many open files\)"):
        in_a_worker[np.arange(3)]


# --- one line --------------------------------------------------------------------------------------------------------


def raising(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "/some/file"),
        OSError(errno.EIO, "Input/output error"),
        RuntimeError("received 0 items of ancdata"),
        RuntimeError("unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)"),
    ],
)
def test_a_fault_that_nobody_has_met_is_one_line(capsys, error):
    assert guard(raising(error)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lens: error: cannot open or read")
    assert ("ulimit" in line) == ("Input" not in str(error))


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "Invalid argument"), RuntimeError("a bug")])
def test_other_errors_are_not_hidden(error):
    with pytest.raises(type(error)):
        guard(raising(error))


def test_a_fault_is_known_by_what_it_was_raised_from():
    error = ValueError("outer")
    error.__cause__ = OSError(errno.EMFILE, "Too many open files", b"inner")
    assert "inner" in str(system_fault(error))
    assert system_fault(ValueError("alone")) is None
    assert system_fault(None) is None


def test_a_file_that_cannot_be_opened_now_needs_no_copy(tmp_path):
    with pytest.raises(SystemFault, match=r"summary\.json \(Input/output error\)"), reading(tmp_path / "summary.json", "bring it back"):  # fmt: skip
        raise OSError(errno.EIO, "Input/output error")


def test_a_run_that_meets_it_is_told_how_to_go_on(tmp_path):
    told = refusal(OSError(errno.EMFILE, "Too many open files"), tmp_path, "continue with --resume runs/a")
    assert str(told).endswith("ulimit -n 4096; then continue with --resume runs/a")
