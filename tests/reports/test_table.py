"""What a person sees: complete, calm, and safe whatever a file is called."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.reports.picture import to_svg, to_text
from guardian_cli.reports.sparkline import BLOCKS, draw, squeeze
from guardian_cli.reports.table import SEGMENTS_SHOWN, render
from guardian_cli.reports.text import clock, shorten, visible
from guardian_cli.verdict.segments import Segment
from tests.reports.samples import failed, image, video


def shown(text: str, *parts: str) -> None:
    for part in parts:
        assert part in text, f"{part!r} is not in:\n{text}"


def test_one_video_at_80_columns() -> None:
    text = to_text(render([video()]), width=80)
    shown(
        text,
        "REVIEW  uploads/holiday.mp4\n        nsfw 0.70 at 12.0 s\n",
        "nsfw      REVIEW    0.70    0.50   0.80  ▁▁",
        "violence  ALLOW     0.11    0.60   0.90  ▁▁",
        "0:00.0 to 1:03.2",
        "nsfw 0:11.0 to 0:15.0, peak 0.71 at 0:12.0",
        "64 frames over 63.2 s, every 1 s, largest gap 1.0 s, reached the",
        "scored by  clip ViT-B-32/laion2b_s34b_b79k: ok, 64 frames",
        "without    nsfw endpoint https://example.test/score: off (--no-endpoints)",
        "took       3.1 s (2.0 s decoding, 1.2 s scoring)",
    )
    assert all(len(line) <= 80 for line in text.splitlines())


def test_without_block_characters_the_whole_output_is_ascii() -> None:
    text = to_text(render([video()], ascii_only=True), width=80)
    assert text.isascii()
    shown(text, "+++")
    assert to_text(render([video(), failed()], ascii_only=True), width=80).isascii()


def test_a_picture_has_no_time_line_and_an_unscored_category_says_so() -> None:
    text = to_text(render([image(score=None)]), width=100)
    shown(text, "unscored", "degraded: nsfw endpoint: 401 Unauthorized", "1 frame, reached the end")
    assert not set(BLOCKS) & set(text)
    assert "0:00.0" not in text


def test_an_error_shows_its_reason_and_how_far_it_came() -> None:
    text = to_text(render([failed()]), width=100)
    shown(text, "ERROR  uploads/broken.mp4", "gives no frame", "0 frames", ": incomplete")


def test_many_sources_have_a_row_each_and_a_total() -> None:
    results = [video(), image(), image(score=0.93), failed("x/" * 60 + "clip.mp4")]
    text = to_text(render(results, took_s=34.2), width=80)
    lines = text.splitlines()
    assert len(lines) == 1 + len(results) + 2
    assert [line.split()[0] for line in lines[1:5]] == ["REVIEW", "ALLOW", "BLOCK", "ERROR"]
    shown(lines[1], "uploads/holiday.mp4", "nsfw 0.70", "0:12.0")
    shown(lines[4], "...", "clip.mp4", "gives no frame")
    assert lines[-1] == "4 sources: 1 block, 1 error, 1 review, 1 allow in 34.2 s"


EVIL = "a\x1b[31m[red]\n\r\x07b\x9b2J\u202e\udcff.mp4"


@pytest.mark.parametrize("many", [False, True])
def test_a_file_name_cannot_steer_the_terminal(many: bool) -> None:
    result = replace(video(EVIL), reasons=(EVIL,))
    text = to_text(render([result] * (1 + many)), width=120)
    assert not set("\x1b\r\x07\x9b\u202e\udcff") & set(text)
    shown(text, r"a\x1b[31m[red]\n\r\x07b\x9b2J\u202e\udcff.mp4")


@given(st.text(st.characters(categories=None)))
def test_visible_text_is_one_harmless_line(text: str) -> None:
    safe = visible(text)
    assert safe.isprintable()
    assert visible(safe) == safe


@given(st.text(), st.integers(0, 30), st.sampled_from(["middle", "end"]))
def test_shortened_text_fits(text: str, width: int, where: str) -> None:
    from rich.cells import cell_len

    safe = visible(text)
    short = shorten(safe, width, "middle" if where == "middle" else "end")
    assert cell_len(short) <= width
    assert short == safe or "." in short or width == 0


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 80))
def test_a_narrow_time_line_keeps_its_peak(cells: list[float | None], width: int) -> None:
    narrow = squeeze(cells, width)
    assert len(narrow) == min(width, len(cells))
    seen = [cell for cell in cells if cell is not None]
    assert max((c for c in narrow if c is not None), default=None) == max(seen, default=None)
    assert len(draw(narrow)) == len(draw(narrow, ascii_only=True)) == len(narrow)


def test_scores_are_drawn_from_nought_to_one() -> None:
    assert draw([0.0, 0.5, 1.0, None]) == "▁▅█?"
    assert draw([0.0, 0.5, 1.0, None], ascii_only=True) == "_=#?"
    assert squeeze([], 10) == ()


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00.0"), (59.94, "0:59.9"), (59.96, "1:00.0"), (754.25, "12:34.2"), (7384, "2:03:04.0")],
)
def test_times_read_like_a_clock(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_hundreds_of_segments_do_not_flood_the_screen() -> None:
    segments = tuple(Segment(t, t + 1.0, 0.5 + t / 2000, t) for t in range(0, 600, 3))
    result = video()
    nsfw = replace(result.categories["nsfw"], segments=segments)
    text = to_text(render([replace(result, categories={"nsfw": nsfw})]), width=100)
    assert text.count(", peak 0.7") == SEGMENTS_SHOWN
    shown(text, "nsfw in 188 more segments, none higher; --json has all")


def test_a_picture_of_the_output_is_an_svg_that_loads_nothing() -> None:
    svg = to_svg(render([video()]), title="guardian scan holiday.mp4")
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "@font-face" not in svg
    assert "url(http" not in svg
