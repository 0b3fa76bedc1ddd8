"""Threads: as many as the process may use, asleep while they wait, shared by runs side by side."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from lens.base import threads
from lens.grids.processes import Job, work


@pytest.mark.skipif(not shutil.which("taskset"), reason="no taskset to pin a process with")
def test_the_usable_cores_are_those_of_the_affinity():
    command = [
        "taskset",
        "-c",
        "0",
        sys.executable,
        "-c",
        "from lens.base.threads import usable_cores; print(usable_cores())",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "LOKY_MAX_CPU_COUNT"}
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip() == "1"


def test_a_person_s_own_waiting_policy_stays(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    threads.choose_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    threads.choose_waiting()
    assert "OMP_WAIT_POLICY" not in os.environ


def test_the_first_process_spins_and_another_beside_it_sleeps_before_torch_is_there(tmp_path):
    code = (
        "import sys; from lens.base.entry_point import guard\n"
        "def body():\n    import os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'), "
        "'torch' in sys.modules, flush=True); sys.stdin.read(); return 0\n"
        "guard(body)"
    )
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"TMPDIR": str(tmp_path)}
    words = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    spins, sleeps = [str(threads.SPINS), "None", "False"], ["None", "PASSIVE", "False"]
    with subprocess.Popen([sys.executable, "-c", code], **words) as first:
        assert first.stdout.readline().split() == spins
        beside = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, env=environment)
        assert beside.stdout.split() == sleeps
        first.communicate("")
    after = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, env=environment)
    assert after.stdout.split() == spins
    (tmp_path / f"lens-threads-{os.getuid()}").unlink()
    (tmp_path / f"lens-threads-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    through_a_link = subprocess.run(
        [sys.executable, "-c", code], input="", capture_output=True, text=True, env=environment
    )
    assert through_a_link.stdout.split() == sleeps
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("given", "own", "processes", "expected"), [(3, None, 1, 3), (None, "1", 1, None), (None, None, 1, 4), (None, None, 2, 2), (None, None, 9, 1)]
)  # fmt: skip
def test_threads_are_those_given_or_the_usable_cores_shared(monkeypatch, given, own, processes, expected):
    told = []
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setattr("threadpoolctl.threadpool_limits", told.append)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if own:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    threads.set_threads(given, processes)
    assert told == ([] if expected is None else [expected] * 2)


@pytest.mark.parametrize(("workers", "own", "expected"), [(2, None, "3"), (2, "5", "5"), (1, None, "None")])
def test_jobs_side_by_side_share_the_cores(monkeypatch, tmp_path, workers, own, expected):
    monkeypatch.setattr("lens.grids.processes.usable_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if own:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    command = [sys.executable, "-c", "import os; print(os.environ.get('OMP_NUM_THREADS'))"]
    work([Job("one", command, tmp_path / "logs" / "one.log")], workers, [], lambda job, code, error: None)
    assert (tmp_path / "logs" / "one.log").read_text().split() == [expected]
