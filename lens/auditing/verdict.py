"""What the telling rungs of a ladder mean together, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from lens.base.intervals import too_few
from lens.protocols.lookup import short_names
from lens.results.audit import Row

FAINT = 0.1
"""Excess over chance below which a significant row is called faint."""
NEARLY = 0.8
"""Share of the strongest view's excess at which a simpler view reads nearly all of it."""
LEAKS = 0.6
"""Excess up to which rows of history may read what pictures show: `benchmarks/contents.py` saw 55 to 79 % of two folders where nothing
else is known to differ (results/audit.md); noise and clipping, up to 81 %, never count as acquisition."""


def verdict(rows: Sequence[Row], sources: Sequence[str], within: bool, mixed: Sequence[str] = ()) -> list[str]:
    """Sentences, the most important first: whether the sources are told apart, by what, and what that points to.

    One thing that differs moves several rungs: a colour cast is seen by every view that keeps colours. So the simplest
    rungs are named that explain the others. `within`: rows were asked within classes too; `mixed`: lines that say
    that the sources hold different mixes of classes.
    """
    names = ", ".join(short_names(sources))
    telling = [row for row in rows if row.significant]
    if not telling:
        best = max(rows, key=lambda row: row.excess)
        end = best.balanced_accuracy.interval
        upper = f", at most {_percent(float(end[1] or 0))} by its 95 % interval" if end and not too_few(end) else ""
        return [
            f"Nothing that was asked tells {names} apart: the best row, {called(best)}, names the source of "
            f"test images at a balanced accuracy of {_percent(best.accuracy)}{upper}; chance is {_percent(1 / len(sources))}. A larger sample may "
            "find fainter cues."
        ]
    best = max(telling, key=lambda row: row.excess)
    lines = [
        f"{names} can be told apart: {len(telling)} of {len(rows)} rows read more than luck allows, the best of them, "
        f"{called(best)}, at a balanced accuracy of {_percent(best.accuracy)}; chance is {_percent(1 / len(sources))}."
    ]
    if best.excess < FAINT:
        lines.append("It is a faint difference: a small share of the images, or a little of each one.")
    lines += _files(telling)
    lines += _history(telling)
    lines += _pixels(rows, telling)
    lines.append(_acquisition_or_content(telling, within))
    if mixed and not within:
        lines.append(
            "Content: by the names of their classes the sources show different things, or the same in other shares, whatever else differs."
        )
    return lines


def _files(telling: Sequence[Row]) -> list[str]:
    found = [row for row in telling if row.kind == "file"]
    if not found:
        return []
    best = max(found, key=lambda row: row.excess)
    said = [line for row in sorted(found, key=lambda row: -row.excess) for line in row.says][:4]
    fields = f" ({' | '.join(said)})" if said else ""
    return [
        f"The files alone tell, before a pixel is decoded: {_listed(found)}{fields}. {_upper(best.points_to)} differ; a network "
        "that is given decoded pixels does not see the files, but may see what they left in the pixels."
    ]


def _history(telling: Sequence[Row]) -> list[str]:
    lines = []
    if found := sorted((row for row in telling if row.kind == "history"), key=lambda row: -row.excess):
        points = "; ".join(dict.fromkeys(row.points_to for row in found[:3]))
        said = [line for row in found for line in row.says][:3]
        fields = f" ({' | '.join(said)})" if said else ""
        if any(row.acquisition and row.excess > LEAKS for row in found):
            lines.append(
                f"How pictures were processed or stored has left its mark in the pixels: {_listed(found)}. This points to {points}{fields}."
            )
        else:
            lines.append(
                f"Rows that look for traces of storage tell ({_listed(found)}), but other contents alone can move them so far. If it is not "
                f"these, it points to {points}{fields}."
            )
    if found := [row for row in telling if row.kind == "control"]:
        lines.append(
            f"The control without any content tells ({_listed(found)}): the pictures' native size leaves a mark when they are resized. Rows "
            "of pixels may read no more than that."
        )
    return lines


def _pixels(rows: Sequence[Row], telling: Sequence[Row]) -> list[str]:
    found = [row for row in telling if row.kind == "pixels"]
    if not found:
        return (
            ["No view of the pixels as a network is given them tells."]
            if any(row.kind == "pixels" for row in rows)
            else []
        )
    best = max(found, key=lambda row: row.excess)
    simplest = next(row for row in found if row.excess >= NEARLY * best.excess)
    if simplest is best or simplest.name == best.name:
        return [
            f"In the pixels {called(best)} reads most ({_percent(best.accuracy)}), and nothing simpler nearly as much: {best.points_to}."
        ]
    return [
        f"In the pixels {called(best)} reads most ({_percent(best.accuracy)}), but {called(simplest)} alone reads nearly as much "
        f"({_percent(simplest.accuracy)}): this points to {simplest.points_to}."
    ]


def _acquisition_or_content(telling: Sequence[Row], within: bool) -> str:
    """Acquisition is shown by rungs that hold no content; content can only be suspected, or refuted within classes."""
    certain = [row for row in telling if row.acquisition and (row.kind != "history" or row.excess > LEAKS)]
    open_ = [row for row in telling if row not in certain]
    strongest = max((row.excess for row in certain), default=0.0)
    most = max((row.excess for row in open_), default=0.0)
    if within:
        kept = [row for row in telling if row.within_classes and row.within_classes["significant"]]
        if kept:
            return f"Acquisition: within one class of pictures they are told apart still ({_listed(kept)}), so it is not only what the pictures show."
        return "Content: within one class of pictures no row tells the sources apart; they differ in what they show."
    if not certain:
        return (
            "Acquisition or content: no rung that is free of content tells, so colour, light, viewpoint or what the pictures show may be "
            "the difference. --labels asks again within classes, where the sources share them."
        )
    if not open_:
        return "Acquisition: only rungs that hold nothing of what the pictures show tell the sources apart."
    if strongest >= NEARLY * most:
        return (
            "Acquisition: rungs that hold nothing of what the pictures show read as much as the whole image does. Whether the contents "
            "differ as well cannot be seen beside that; --labels asks within classes, where the sources share them."
        )
    return (
        f"Both, perhaps: rungs without content read {_percent(strongest)} of what is above chance, views of the pictures "
        f"{_percent(most)}: colour, light, viewpoint or what the pictures show differ beyond how they were stored."
    )


def called(row: Row) -> str:
    """A row's name in words, in the table and in the verdict."""
    return row.name.replace("_", " ") + " (network)" * (row.judge == "network")


def _listed(rows: Sequence[Row]) -> str:
    shown = sorted(rows, key=lambda row: -row.excess)
    parts = [f"{called(row)} {_percent(row.accuracy)}" for row in shown[:5]]
    return ", ".join(parts) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]
