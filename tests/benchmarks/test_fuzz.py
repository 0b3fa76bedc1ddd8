"""Runs, grids and files of settings damaged at random: every verb answers in one line, and touches nothing else."""

import pytest

from benchmarks import fuzz

ROUNDS = 40


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz").resolve()
    fuzz.prepare(place)
    return place


@pytest.mark.parametrize("part", range(4))
def test_no_damage_is_a_traceback_a_hang_a_command_or_a_write_outside(place, part):
    bad = [one for one in (fuzz.play(place, 0, number) for number in range(part, ROUNDS, 4)) if one.faults]
    assert not bad, "\n\n".join(f"round {one.number}: {one.did} {one.argv}\n{one.faults}" for one in bad)


def test_a_fault_is_seen(place, monkeypatch):
    """What the rounds look for is found where it is there."""
    from lens import ablate, probe, train

    def breaks(argv):
        (place / "outside" / "file").write_text("gone")
        print("\x1b]0;owned\x07")
        raise RuntimeError("a fault")

    for verb in (ablate, probe, train):
        monkeypatch.setattr(verb, "main", breaks)
    before = (place / "outside" / "file").read_text()
    faults = fuzz.play(place, 0, 0).faults
    (place / "outside" / "file").write_text(before)
    assert any("RuntimeError: a fault" in fault for fault in faults)
    assert any(fault.startswith("touched ") for fault in faults)
    assert "control characters reached the terminal" in faults
