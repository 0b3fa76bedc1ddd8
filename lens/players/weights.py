"""Weights of a player from a safetensors file: strictly, or told in one line why not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from lens.base.errors import BadInput
from lens.base.files import MEBIBYTE, read_bytes, system_fault, tensors_told
from lens.players.lens import LearnedLens
from lens.settings.groups.data import LARGEST_SIDE

SIDE = "side"
"""What a lens's file calls the size that it was trained at."""


def load_weights(module: nn.Module, file: str | Path, flag: str, advice: str | None = None) -> None:
    """Load a safetensors file into `module`, strictly. Raises BadInput, with advice, where it is none or does not fit.

    A lens takes on the size that its file says it was trained at, which need not be that of the run it comes from.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    advice = advice or f"give another file, or leave {flag} out"
    if not Path(file).exists():
        raise BadInput(f"{flag} {file}: there is no such file: {advice}")
    own = module.state_dict()
    try:
        # In double precision, with names: a larger file is another network's.
        content = read_bytes(file, 8 * sum(x.numel() for x in own.values()) + 64 * MEBIBYTE)
        state = load(content)
    except (SafetensorError, OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise system_fault(error, file) or BadInput(
            f"{flag} {file} is no safetensors file ({what}): {advice}"
        ) from error
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    wrong += [key for key in state if key not in own]
    if wrong:
        raise BadInput(
            f"{flag} {file} does not fit: {len(wrong)} tensors are missing, unknown or of another shape, first {wrong[0]}; "
            f"{advice}"
        )
    wrong = [key for key in own if state[key].is_floating_point() != own[key].is_floating_point()]
    wrong += [key for key, x in state.items() if x.is_floating_point() and not torch.isfinite(x).all()]
    if wrong:
        raise BadInput(
            f"{flag} {file} is damaged: {len(wrong)} tensors hold what is no finite number, first {wrong[0]}; {advice}"
        )
    if isinstance(module, LearnedLens) and (said := tensors_told(content).get(SIDE)) is not None:
        if not (said.isascii() and said.isdecimal() and len(said) < 6 and 8 <= int(said) <= LARGEST_SIDE):
            raise BadInput(f"{flag} {file} is damaged: it says that it was trained at {said[:20]!r} px; {advice}")
        module.side = int(said)
    module.load_state_dict(state)
