"""The tables, the page and the pictures of an audit: what stands in them, and what is left out."""

import dataclasses

import numpy as np
import pytest
from markdown_it import MarkdownIt

from lens.base.characters import printable
from lens.figures import audit as figures
from lens.figures import audit_pictures, audit_tables
from lens.protocols.lookup import short_names
from lens.results.audit import Across, Audit, Comb, Row, Where
from lens.results.figure import Estimate


def row(name, accuracy, significant, kind="pixels", judge="trees", **more):
    return Row(
        name=name, kind=kind, judge=judge, about="", points_to="colour", acquisition=None,
        balanced_accuracy=Estimate(accuracy, [accuracy - 0.1, min(1.0, accuracy + 0.1)]), auc=0.876, excess=2 * accuracy - 1, null=0.52,
        p=0.001, p_holm=0.0123, significant=significant, confusion=[[0.9, 0.1], [0.4, 0.6]], says=["width: all of a 3"] * significant,
        extremes=[], seconds=1.0, **more,
    )  # fmt: skip


def result(**more):
    rows = [
        row("size", 0.9, True, "file"),
        row("quantisation", 0.8, True, "history"),
        row("grey", 0.5, False),
        row("whole_image", 0.95, True, judge="network"),
    ]
    return Audit(
        sources=["./a", "./b"], images=[100, 100], listed=[300, 100], test_images=[30, 30], chance=0.5, verdict=["They differ."],
        rows=rows, duplicates=[], skipped=[], notes=[], settings={}, seconds={"reading": 3.2}, peak_memory=1.23, combs=[], levels=[], **more,
    )  # fmt: skip


def comb(step):
    return Comb(
        quality=75, chroma_quality=None, sampling=None, steps=[[step] * 8] * 8, width=0.25, counts=list(range(160))
    )


def squares():
    return {
        f"extreme/{name}": np.zeros((2, 4, 16, 16, 3), np.uint8)
        for name in ("size", "quantisation", "whole_image (network)")
    }


def test_the_table_says_each_figure_and_marks_the_rows_that_tell():
    head, *rows = audit_tables.table(result())
    assert head == ["cue", "accuracy", "95 %", "AUC", "null", "p (Holm)", ""]
    assert rows[0] == ["size", "90.0 %", "80–100", "0.88", "52 %", "0.0123", "tells"]
    assert rows[2][-1] == ""
    assert rows[3][0] == "whole image (network)"
    inner = {"balanced_accuracy": 0.7, "significant": True}
    within = dataclasses.replace(result(), rows=[row("size", 0.9, True, within_classes=inner), row("grey", 0.5, False)])
    head, *rows = audit_tables.table(within)
    assert head[-2:] == ["within", ""]
    assert [line[-2] for line in rows] == ["70 % *", ""]


def test_the_notes_tell_of_the_sample_and_the_cost():
    words = " ".join(audit_tables.notes(result()))
    assert "60 test images (30 of a, 30 of b); chance is 50.0 %" in words
    assert "Looked at 200 of 400 images. It took reading 3 s, and at most 1.2 GiB of memory." in words
    assert "Within" not in words


def test_only_a_row_that_tells_is_above_a_limit():
    audit = result()
    assert audit_tables.is_above(audit, 0.94)
    assert not audit_tables.is_above(audit, 0.95)
    assert not audit_tables.is_above(audit, None)
    luck = dataclasses.replace(audit, rows=[row("grey", 0.99, False)])
    assert not audit_tables.is_above(luck, 0.6)


def test_extremes_are_of_each_kind_first_and_of_rows_that_tell():
    shown = audit_pictures.rows_shown(result(), squares())
    assert [key for _, key in shown] == ["extreme/whole_image (network)", "extreme/size", "extreme/quantisation"]


def test_every_picture_is_drawn_that_there_is_something_for_and_the_page_shows_it():
    plain = figures.files(dataclasses.replace(result(), rows=[row("grey", 0.5, False)]), {})
    assert list(plain) == ["audit.png", "confusion.png", "audit.md"]
    where = Where(cells=2, maps=[[[0.1, 0.2], [0.3, 0.4]]] * 2, images=60, noise=2 / 255, fragility=0.4)
    across = Across(
        classes=["x", "y"], accuracy=[[0.9, 0.6], [0.7, 0.8]], ci=[[[0.8, 0.95], [0.5, 0.7]], [[0.6, 0.8], [0.7, 0.9]]], chance=0.5,
        drop=[1 / 3, 0.125], worth=[[1.0, 0.25], [None, 1.0]], basket=[0.625, None], notes=["as many of each class"],
    )  # fmt: skip
    full = dataclasses.replace(result(), combs=[comb(4), comb(0)], where=where, across=across)
    found = figures.files(full, squares())
    pictures = ["audit.png", "extremes.png", "confusion.png", "combs.png", "where.png"]
    assert list(found) == [*pictures, "audit.md"]
    assert all(found[name].startswith(b"\x89PNG") for name in pictures)
    page = found["audit.md"]
    assert all(f"![{name}]({name})" in page for name in pictures)
    assert "| a | 90 % (80–95) | 60 % (50–70) | 33.3 % | 0.25 | 0.62 |" in page
    assert "| b | 70 % (60–80) | 80 % (70–90) | 12.5 % | ? | ? |" in page
    assert "The maps move with noise that nobody sees: read nothing into them." in page
    assert "- size: width: all of a 3" in page


def tokens(page):
    """The page as CommonMark with tables reads it: every token, those within lines too."""
    read = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page)
    return [one for token in read for one in (token, *(token.children or ()))]


WILD = [
    "<script>alert(1)</script>", "x\n\n# Forged", "[link](http://evil.org)", "![i](i.png)", "`code`", "_a_ __b *c* ~~d~~", "&lt;b&gt; &#35;",
    "# top", "> quote", "- item", "12. item", "a|b", "\\[x](y)", "[x]: y", "back\\", "https://evil.org", "<!-- hidden", "~~~ fence",
]  # fmt: skip


@pytest.mark.parametrize("name", WILD)
def test_a_strangers_name_is_text_on_the_page(name):
    pair = {"first": {"name": name, "source": "./a"}, "second": {"name": "2.png", "source": "./b"}}
    across = Across(
        classes=["x", "y"], accuracy=[[0.9, 0.6], [0.7, 0.8]], ci=[[[0.8, 0.95], [0.5, 0.7]], [[0.6, 0.8], [0.7, 0.9]]], chance=0.5,
        drop=[1 / 3, 0.125], worth=[[1.0, 0.25], [None, 1.0]], basket=[0.625, None], notes=[name],
    )  # fmt: skip
    whole = dataclasses.replace(
        result(), sources=[name, "b"], verdict=[name, "They differ."], duplicates=[pair], notes=[name]
    )
    whole.rows[0].says[:] = [name]
    page = figures.page(dataclasses.replace(whole, across=across), [])
    read = tokens(page)
    plain = tokens(
        figures.page(dataclasses.replace(result(), duplicates=[pair | {"first": pair["second"]}], across=across), [])
    )
    kinds = {token.type for token in plain} - {"image"}
    assert {token.type for token in read} <= kinds
    headings = [read[at + 1].content for at, token in enumerate(read) if token.type == "heading_open"]
    assert headings[1:] == ["Near-duplicates", "The ladder", "What the fields say", "Classes across sources"]
    shown = "".join(token.content if token.type == "text" else "\n" for token in read if not token.children)
    short = short_names([name])[0]
    assert f"Which cue tells {printable(short)}, b apart" in shown
    for line in (
        printable(name),
        f"size: {printable(name)}",
        f"{printable(name)} of ./a = 2.png of ./b",
        f"tested on {printable(short)}",
    ):
        assert f"\n{line}\n" in shown
    assert "://" not in page  # GitHub makes links of bare addresses


def test_a_plain_name_stays_as_it_is_on_the_page():
    for name in ("chest_xray-2.png", "./Ünï/photo (3) & more.jpg", "mean colour 1.5 > 1", "C:\\photos"):
        assert figures.literal(name) == name


def test_duplicates_are_listed_by_both_names():
    pair = {"first": {"name": "1.png", "source": "./a"}, "second": {"name": "2.png", "source": "./b"}}
    lines = audit_tables.duplicates(dataclasses.replace(result(), duplicates=[pair]))
    assert lines == ["1 pair of near-duplicates across the sources, kept in one split:", "1.png of ./a = 2.png of ./b"]
