"""What a run is computed on: a precision that the processor would only imitate is told."""

import pytest

from lens.players import fabric
from lens.settings.groups.machine import MachineSettings


@pytest.mark.parametrize(
    ("precision", "able", "told"), [("bf16", False, True), ("bf16", True, False), (32, False, False)]
)
def test_bf16_on_a_processor_without_instructions_for_it_is_told(precision, able, told, monkeypatch, capsys):
    monkeypatch.setattr(fabric, "has_bf16_instructions", lambda: able)
    fabric.make_fabric(MachineSettings(device="cpu", precision=precision, threads=1))
    assert ("--precision 32 is likely to be several times as fast" in capsys.readouterr().err) == told


def test_the_processor_is_asked():
    assert fabric.has_bf16_instructions() in (True, False)
