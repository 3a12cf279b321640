"""What a person sees: complete, calm, and safe whatever a file is called."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from guardian_cli.reports.document import to_dict
from guardian_cli.reports.table import (
    BLOCKS,
    SEGMENTS_SHOWN,
    Sparkline,
    render_many,
    render_one,
)
from guardian_cli.reports.text import shorten, shorten_path, visible
from guardian_cli.verdict.result import Segment
from tests.reports.samples import failed, image, video

if TYPE_CHECKING:
    from rich.console import RenderableType

    from guardian_cli.verdict.result import ScanResult


def to_text(renderable: RenderableType, *, width: int = 80) -> str:
    """What a pipe `width` cells wide would get."""
    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def shown(text: str, *parts: str) -> None:
    for part in parts:
        assert part in text, f"{part!r} is not in:\n{text}"


def many(results: list[ScanResult], width: int, *, pipe: bool = True) -> str:
    """The table of a batch, in a pipe or on a terminal this wide."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=not pipe, color_system=None)
    console.print(render_many(map(to_dict, results), " in 34.2 s, 9 frames/s"))
    return out.getvalue()


def test_one_video_at_80_columns() -> None:
    text = to_text(render_one(video()), width=80)
    shown(
        text,
        "REVIEW  uploads/holiday.mp4\n        nsfw 0.70 at 12.0 s\n",
        "nsfw      REVIEW    0.70    0.50   0.80  ▁▁",
        "violence  ALLOW     0.11    0.60   0.90  ▁▁",
        "0 to 63.2 s",
        "nsfw 11.0 to 15.0 s, peak 0.71 at 12.0 s",
        "64 frames over 63.2 s, every 1 s, largest gap 1.0 s, reached the",
        "scored by  clip ViT-B-32/laion2b_s34b_b79k: ok, 64 frames",
        "without    nsfw endpoint https://example.test/score: off (--no-endpoints)",
        "took       3.1 s (2.0 s decoding, 1.2 s scoring)",
    )
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_picture_has_no_time_line_and_an_unscored_category_says_so() -> None:
    text = to_text(render_one(image(score=None)), width=100)
    shown(text, "unscored", "degraded: nsfw endpoint: 401 Unauthorized", "1 frame, reached the end")
    assert not set(BLOCKS) & set(text)
    assert "0 to" not in text


def test_an_error_shows_its_reason_and_how_far_it_came() -> None:
    text = to_text(render_one(failed()), width=100)
    shown(text, "ERROR  uploads/broken.mp4", "gives no frame", "0 frames", ": incomplete")


def test_many_sources_have_a_row_each_the_worst_first_and_a_total() -> None:
    results = [image(), video(), failed("clip.mp4"), image(score=0.93)]
    lines = many(results, 120).splitlines()
    assert [line[:8].strip() for line in lines[:4]] == ["BLOCK", "ERROR", "REVIEW", "ALLOW"]
    shown(lines[1], "clip.mp4", "gives no frame")
    shown(lines[2], "uploads/holiday.mp4", "nsfw 0.70 at 12.0 s")
    total = "4 sources: 1 block, 1 error, 1 review, 1 allow in 34.2 s, 9 frames/s"
    assert lines[4:] == ["", total]


def test_the_higher_score_comes_first_within_a_verdict() -> None:
    results = [image("a.jpg", 0.1), image("b.jpg", 0.3), image("c.jpg", 0.2)]
    names = [line.split()[1] for line in many(results, 80).splitlines()[:3]]
    assert names == ["b.jpg", "c.jpg", "a.jpg"]


REASON = "incomplete: the track says 60.00 s, frames end at 40.00 s; not seen: " + "x" * 150


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("pipe", [True, False])
def test_a_reason_is_wrapped_and_never_cut(width: int, pipe: bool) -> None:
    broken = replace(video(), reasons=(REASON, "degraded: nsfw endpoint: 401 Unauthorized"))
    text = many([broken, video("uploads/other.mp4")], width, pipe=pipe)
    assert "...".join(text.split()).count("...") == len(text.split()) - 1, "nothing is cut"
    assert (REASON + ";").replace(" ", "") in "".join(text.split())
    assert all(len(line) <= width for line in text.splitlines())
    shown(text, "uploads/holiday.mp4", "uploads/other.mp4")


@pytest.mark.parametrize("width", [40, 60])
def test_a_files_name_is_the_last_thing_to_shrink(width: int) -> None:
    results = [video(f"uploads/a/long/way/down/the/tree/holiday-{n}.mp4") for n in range(9)]
    text = many(results, width, pipe=False)
    for number in range(9):
        shown(text, f"/holiday-{number}.mp4")


def test_in_a_pipe_a_name_stays_whole() -> None:
    name = "x/" * 100 + "clip.mp4"
    assert name in "".join(many([video(name), video()], 80).split())


@pytest.mark.slow
@given(st.text(st.characters(categories=["L", "N"]) | st.just("/")), st.integers(4, 60))
def test_a_shortened_path_fits_and_ends_as_it_did(path: str, width: int) -> None:
    from rich.cells import cell_len

    short = shorten_path(path, width)
    assert cell_len(short) <= width
    assert short == path or path.endswith(short.rpartition("...")[2])


EVIL = "a\x1b[31m[red]\n\r\x07b\x9b2J\u202e\udcff.mp4"


@pytest.mark.parametrize("alone", [False, True])
def test_a_file_name_cannot_steer_the_terminal(alone: bool) -> None:
    result = replace(video(EVIL), reasons=(EVIL,))
    text = to_text(render_one(result), width=120) if alone else many([result] * 2, 120)
    assert not set("\x1b\r\x07\x9b\u202e\udcff") & set(text)
    shown(text, r"a\x1b[31m[red]\n\r\x07b\x9b2J\u202e\udcff.mp4")


@given(st.text(st.characters(categories=None)))
def test_visible_text_is_one_harmless_line(text: str) -> None:
    safe = visible(text)
    assert safe.isprintable()
    assert visible(safe) == safe


@given(st.text(), st.integers(0, 30))
def test_shortened_text_fits(text: str, width: int) -> None:
    from rich.cells import cell_len

    safe = visible(text)
    short = shorten(safe, width)
    assert cell_len(short) <= width
    assert short == safe or "." in short or width == 0


def drawn(cells: list[float | None], width: int = 80) -> str:
    return to_text(Sparkline(tuple(cells)), width=width).rstrip("\n")


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 80))
def test_a_narrow_timeline_keeps_its_peak(cells: list[float | None], width: int) -> None:
    narrow = drawn(cells, width)
    assert len(narrow) == min(width, len(cells))
    seen = [cell for cell in cells if cell is not None]
    highest = max((BLOCKS.index(c) for c in narrow if c in BLOCKS), default=None)
    assert highest == (min(7, int(max(seen) * 8)) if seen else None)


def test_scores_are_drawn_from_nought_to_one() -> None:
    assert drawn([0.0, 0.5, 1.0, None]) == "▁▅█?"
    assert drawn([]) == ""


def test_hundreds_of_segments_do_not_flood_the_screen() -> None:
    segments = tuple(Segment(t, t + 1.0, 0.5 + t / 2000, t) for t in range(0, 600, 3))
    result = video()
    nsfw = replace(result.categories["nsfw"], segments=segments)
    text = to_text(render_one(replace(result, categories={"nsfw": nsfw})), width=100)
    assert text.count(", peak 0.7") == SEGMENTS_SHOWN
    shown(text, "nsfw in 188 more segments, none higher; --json has all")
