"""The steps of quantisation that a set of images has in common, recovered from its pixels.

Letters: F = 64 frequencies in rows of eight, N sizes of coefficients.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lens.operations import dct_histograms
from lens.operations.jpeg import tables
from lens.operations.jpeg_planes import LUMINANCE, SAMPLINGS, planes

if TYPE_CHECKING:
    from torch import Tensor

    Array = np.ndarray[Any, Any]

WIDTH = 0.25
"""The width of a histogram's bins, in levels: finer than steps of 1."""
LEVELS = 4400
"""Bins: up to 1,100, the largest coefficient that there is."""
SURE = 20.0
"""Evidence in nats from which a step is told."""
MOSTLY = 0.8
"""The share of the evidence for the steps one by one that a quality's whole table must keep to be named."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """What was recovered of one set of images."""

    luminance: Array
    """Steps (8, 8) int64, 1 to 255; 0 where the coefficients tell none."""
    chroma: Array
    """The same of both chromas, as `sampling` stored them."""
    quality: int | None
    """libjpeg's quality, 1 to 100, whose table of luminance fits nearly as well as the steps one by one; else None."""
    chroma_quality: int | None
    sampling: str | None
    """How chroma was stored, "4:4:4", "4:2:2" or "4:2:0"; None where chroma tells no step."""
    evidence: float
    """For the steps of luminance against none, in nats a counted coefficient."""


def recovered(histograms: Mapping[str, Tensor]) -> Steps:
    """The steps that all images of a set were quantised to, by the combs of their histograms (after Fridrich & Goljan 2003).

    `histograms`, (F, N) by plane, are `pooled` over the set. Images of several qualities, or resized or turned after compression,
    give no steps, or those of most of them.
    """
    luminance, quality, evidence = _told(histograms[LUMINANCE], chroma=False)
    by_sampling = {name: _told(histograms[name], chroma=True) for name in SAMPLINGS}
    best = max(by_sampling, key=lambda name: by_sampling[name][2])
    chroma, chroma_quality, chroma_evidence = by_sampling[best]
    return Steps(
        luminance=luminance.reshape(8, 8),
        chroma=chroma.reshape(8, 8),
        quality=quality,
        chroma_quality=chroma_quality,
        sampling=best if chroma_evidence > 0 else None,
        evidence=evidence / max(float(histograms[LUMINANCE][:, 1:].sum()), 1.0),
    )


def pooled(images: Iterable[Array]) -> dict[str, Tensor]:
    """Pictures (H, W, 3) uint8 of any sizes, as they are stored → the histograms (F, N) of each plane, of all together.

    The whole of each picture is counted; one below 16 px is not.
    """
    found = {name: torch.zeros(64, LEVELS) for name in (LUMINANCE, *SAMPLINGS)}
    for image in images:
        if min(image.shape[:2]) >= 16:
            levels = torch.tensor(image).permute(2, 0, 1)[None].float()
            for name, plane in planes(levels, list(found)).items():
                found[name] += dct_histograms.histogram(plane, LEVELS, WIDTH)[0]
    return found


def recovered_of(images: Iterable[Array]) -> Steps:
    """`recovered` of pictures (H, W, 3) uint8 of any sizes, as they are stored."""
    return recovered(pooled(images))


def _told(counts: Tensor, chroma: bool) -> tuple[Array, int | None, float]:
    """Histograms (F, N) → each frequency's step (F,), 0 where none is told; the quality; the evidence for the steps in nats."""
    nats = counts @ _evidence_of_steps().T  # (F, 255)
    best, place = nats.max(dim=1)
    told = best > SURE
    evidence = float(best[told].sum())
    table = tables(torch.arange(1, 101))[:, int(chroma)].flatten(1).T.long()  # (F, 100)
    of_tables = nats.gather(1, table - 1)
    likely = int(of_tables.sum(dim=0).argmax())
    fits = bool(told.any()) and float(of_tables[told, likely].sum()) >= MOSTLY * evidence
    return torch.where(told, place + 1, 0).numpy(), likely + 1 if fits else None, evidence


@functools.cache
def _evidence_of_steps() -> Tensor:
    """What a coefficient of each size says of each step from 1 to 255: (255, N)."""
    return dct_histograms.step_evidence(torch.arange(1, 256), LEVELS, WIDTH)
