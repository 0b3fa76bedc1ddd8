"""Garbage is sought more rarely within an entry point, and as before afterwards, however that ends."""

import gc

import pytest

from lens.base.entry_point import guard
from lens.base.errors import BadInput


def refuse():
    raise BadInput(str(gc.get_threshold()[0]))


def leave():
    raise SystemExit(gc.get_threshold()[0])


def test_garbage_is_sought_more_rarely_within_an_entry_point_only(capsys):
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        assert guard(lambda: gc.get_threshold()[0]) == 20_000
        assert gc.get_threshold() == (700, 10, 10)
        assert guard(refuse) == 2
        assert "20000" in capsys.readouterr().err
        assert gc.get_threshold() == (700, 10, 10)
        with pytest.raises(SystemExit, match="20000"):
            guard(leave)
        assert gc.get_threshold() == (700, 10, 10)
    finally:
        gc.set_threshold(*before)
