"""One clock: lengths and times from the first frame, whatever stamps and tracks do."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings
from guardian_cli.verdict.category import judge_category
from guardian_cli.verdict.thresholds import Thresholds
from guardian_cli.verdict.timeline import Sample, windows_to_refine
from tests.fakes import brightness
from tests.media.drawing import MILLISECONDS, draw, steady

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from guardian_cli.media.decoder import SourceDecoding
    from guardian_cli.media.frames import Frame
    from guardian_cli.verdict.result import CategoryVerdict

COLD = np.full((96, 160, 3), 40, np.uint8)
HOT = np.full((96, 160, 3), 255, np.uint8)
BOTH = DecodeSettings(mode="full")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as one:
        yield one


def look(decoder: Decoder, path: Path) -> tuple[list[Frame], SourceDecoding]:
    decoding = decoder.open(str(path), BOTH)
    return list(decoding.frames()), decoding


def judged(decoder: Decoder, path: Path) -> CategoryVerdict:
    """What a scan makes of a file with a model that scores brightness."""
    frames, decoding = look(decoder, path)

    def scored(frames: Sequence[Frame]) -> list[Sample]:
        return [
            Sample(f.time_s, {"x": CategoryScore(brightness(f.image))}, None, f.shown_until_s)
            for f in frames
        ]

    first = scored(frames)
    assert decoding.coverage.complete, decoding.coverage.notes
    windows = windows_to_refine(first, {"x": 0.5}, 1.0)
    known = {frame.time_s for frame in frames}
    again = [f for f in decoding.refine(windows, 1 / 11) if f.time_s not in known]
    end_s = decoding.coverage.duration_s or 0.0
    return judge_category(
        "x",
        first,
        scored(again),
        thresholds=Thresholds(0.5, 0.8),
        unscored="review",
        every_s=1.0,
        end_s=end_s,
    )


def draw_tracks(path: Path, tracks: Sequence[Sequence[float]], *, with_sound: bool = False) -> Path:
    """Draw videos beside each other, the second of them white, perhaps with sound from 0 s on."""
    with av.open(str(path), "w") as file:
        streams: list[Any] = [file.add_stream("libx264", rate=25) for _ in tracks]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
            stream.time_base = stream.codec_context.time_base = MILLISECONDS
        sound: Any = file.add_stream("aac", rate=44100, layout="mono") if with_sound else None
        packets = []
        for stream, image, times_s in zip(streams, (COLD, HOT, COLD), tracks, strict=False):
            for time_s in times_s:
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts, frame.time_base = round(time_s * 1000), MILLISECONDS
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for at in range(100 if with_sound else 0):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 44100, at * 1024
            silence.time_base = Fraction(1, 44100)
            packets += sound.encode(silence)
        packets += sound.encode(None) if with_sound else []
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            file.mux(packet)
    return path


def test_a_slide_is_judged_alike_as_one_frame_and_as_many(decoder: Decoder, tmp_path: Path) -> None:
    slides = [COLD, COLD, HOT, COLD]
    # The last picture is there twice: this muxer has no other way to say how long it lasts.
    once = draw(tmp_path / "1.mkv", [0, 5, 10, 15, 20], pictures=[*slides, COLD])
    many = draw(tmp_path / "2.mkv", steady(20), pictures=[slides[at // 125] for at in range(500)])
    for path in (once, many):
        outcome = judged(decoder, path)
        assert outcome.verdict == "block", path
        assert [(s.start_s, s.end_s) for s in outcome.segments] == [(10.0, 15.0)], path


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "avif"])
def test_a_long_frame_behind_short_ones_is_scored_and_counts(
    decoder: Decoder, tmp_path: Path, ending: str
) -> None:
    from PIL import Image

    path = tmp_path / f"late.{ending}"
    levels = (0, 20, 40, 255, 60)
    pictures = [Image.fromarray(np.full((96, 160, 3), level, np.uint8)) for level in levels]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=[100, 100, 100, 5000, 100]
    )
    frames, decoding = look(decoder, path)
    # An AVIF has a picture beside its animation.
    assert [round(frame.time_s, 3) for frame in frames[:3]] == [0.0, 0.3, 5.3]
    assert frames[1].shown_until_s == pytest.approx(5.3)
    assert decoding.coverage.duration_s == pytest.approx(5.4)
    outcome = judged(decoder, path)
    assert outcome.verdict == "block"
    [segment] = outcome.segments
    assert (segment.start_s, segment.end_s) == pytest.approx((0.3, 5.3))


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "flv", "ts"])
@pytest.mark.parametrize("delay_s", [0.16, 2.4])
def test_a_video_that_starts_after_its_sound_is_as_long_as_its_frames(
    decoder: Decoder, tmp_path: Path, ending: str, delay_s: float
) -> None:
    times_s = [delay_s + time_s for time_s in steady(2)]
    path = draw_tracks(tmp_path / f"late.{ending}", [times_s], with_sound=True)
    frames, decoding = look(decoder, path)
    assert [frame.time_s for frame in frames] == [0.0, 1.0, 1.96]
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.duration_s == pytest.approx(2.0, abs=0.05)


def test_an_empty_edit_is_no_part_of_the_length(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "delay.mp4", [2.5 + time_s for time_s in steady(2)])
    assert b"elst" in path.read_bytes()
    _, decoding = look(decoder, path)
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.duration_s == pytest.approx(2.0, abs=0.05)


def test_what_an_edit_list_hides_is_looked_at_and_told(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(
        tmp_path / "hides.mp4",
        steady(4),
        pictures=[HOT] * 50 + [COLD] * 50,
        options={"bf": "0", "g": "25"},
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    units = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    data[at + 4 : at + 8] = (2 * units).to_bytes(4, "big")
    path.write_bytes(data)
    frames, decoding = look(decoder, path)
    assert decoding.coverage.decode_errors == 0
    assert decoding.coverage.remarks == (
        "an edit list hides 50 of 100 frames, which were looked at too",
    )
    assert decoding.coverage.complete, decoding.coverage.notes
    assert [frame.image.mean() > 200 for frame in frames] == [True, True, False, False, False]


def with_edits(path: Path, *edits_s: tuple[float, float]) -> Path:
    """Give an MP4 with its index at its end a list of edits: each a length and where it starts."""
    data = path.read_bytes()
    units = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    at = data.index(b"edts") - 4
    entries = b"".join(
        struct.pack(">IiI", round(1000 * length_s), round(start_s * units), 1 << 16)
        for length_s, start_s in edits_s
    )
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits_s)) + entries
    edts = struct.pack(">I4s", 8 + len(elst), b"edts") + elst
    before = int.from_bytes(data[at : at + 4], "big")
    changed = bytearray(data[:at] + edts + data[at + before :])
    for kind in (b"moov", b"trak"):
        size_at = data.index(kind) - 4
        size = int.from_bytes(data[size_at:][:4], "big") + len(edts) - before
        changed[size_at : size_at + 4] = size.to_bytes(4, "big")
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize(
    ("times_s", "hot", "edits_s"),
    [
        ([0.0, 3.0, *(6 + time_s for time_s in steady(4))], 2, [(4.0, 6.0)]),
        (steady(4), 50, [(2.0, 2.0), (2.0, 2.0)]),
    ],
    ids=["pictures-that-stand", "another-part-twice"],
)
def test_an_edit_list_hides_nothing_however_few_the_frames(
    decoder: Decoder,
    tmp_path: Path,
    times_s: Sequence[float],
    hot: int,
    edits_s: Sequence[tuple[float, float]],
) -> None:
    pictures = [HOT] * hot + [COLD] * (len(times_s) - hot)
    options = {"bf": "0", "g": "1"}
    path = draw(tmp_path / "hides.mp4", times_s, pictures=pictures, options=options)
    frames, decoding = look(decoder, with_edits(path, *edits_s))
    assert frames[0].image.mean() > 200
    assert decoding.coverage.frames_decoded == len(times_s)
    assert "which were looked at too" in decoding.coverage.remarks[0]
    assert decoding.coverage.complete, decoding.coverage.notes


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize(
    ("first_s", "second_s"), [(500.0, 0.0), (0.0, 500.0), (26.0 * 3600, 5.0), (10.0, 86_000.0)]
)
def test_a_jump_of_the_stamps_is_no_time_that_passes(
    decoder: Decoder, tmp_path: Path, first_s: float, second_s: float
) -> None:
    parts = [
        draw(tmp_path / f"{start_s}.ts", [start_s + t for t in steady(2)], pictures=[image] * 50)
        for start_s, image in ((first_s, COLD), (second_s, HOT))
    ]
    frames, decoding = look(decoder, joined(tmp_path / "both.ts", *parts))
    coverage = decoding.coverage
    assert coverage.duration_s == pytest.approx(4.0, abs=0.1)
    assert (coverage.discontinuities, coverage.frames_decoded) == (1, 100)
    assert coverage.complete, coverage.notes
    assert [frame.image.mean() > 200 for frame in frames].count(True) >= 2
    assert frames[-1].time_s == pytest.approx(3.96, abs=0.1)


def test_slides_in_a_broadcast_are_pauses_and_no_jumps(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "slides.ts", [0.0, 20.0, 55.0, 56.0], pictures=[COLD] * 4)
    _, decoding = look(decoder, path)
    assert decoding.coverage.discontinuities == 0
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.duration_s == pytest.approx(56.0, abs=0.1)


def test_a_long_pause_that_is_written_down_is_believed(decoder: Decoder, tmp_path: Path) -> None:
    path = draw(tmp_path / "pause.mkv", [0.0, 7200.0, 7201.0], pictures=[COLD] * 3)
    _, decoding = look(decoder, path)
    assert decoding.coverage.discontinuities == 0
    assert decoding.coverage.duration_s == pytest.approx(7201.0, abs=1.1)


def on_identifier(path: Path, number: str, start_s: float, image: Any) -> Path:
    times_s = [start_s + time_s for time_s in steady(2)]
    options = {"mpegts_start_pid": number}
    return draw(path, times_s, pictures=[image] * 50, container_options=options)


def test_a_video_that_moves_to_another_identifier_is_seen_to_its_end(
    decoder: Decoder, tmp_path: Path
) -> None:
    parts = [
        on_identifier(tmp_path / "1.ts", "256", 0.0, COLD),
        on_identifier(tmp_path / "2.ts", "768", 2.0, HOT),
        on_identifier(tmp_path / "3.ts", "256", 4.0, COLD),
    ]
    path = joined(tmp_path / "both.ts", *parts)
    outcome = judged(decoder, path)
    frames, decoding = look(decoder, path)
    assert decoding.coverage.duration_s == pytest.approx(6.0, abs=0.1)
    assert decoding.coverage.discontinuities == 0
    assert frames[-1].time_s == pytest.approx(5.96, abs=0.1)
    assert outcome.verdict == "block"


def test_tracks_one_after_the_other_are_one_video(decoder: Decoder, tmp_path: Path) -> None:
    rest = [2.0 + time_s for time_s in steady(2)]
    path = draw_tracks(tmp_path / "two.mkv", [steady(2), rest])
    frames, decoding = look(decoder, path)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 1, 1.96, 2, 3, 3.96], abs=0.01)
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.duration_s == pytest.approx(4.0, abs=0.05)
    assert decoding.facts is not None
    assert decoding.facts.duration_s == decoding.coverage.duration_s
    assert "one of 2 video tracks, the default one" in decoding.coverage.remarks
    assert judged(decoder, path).verdict == "block"


def test_a_second_view_of_the_same_time_is_told_and_nothing_more(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = draw_tracks(tmp_path / "views.mkv", [steady(2), steady(2)])
    frames, decoding = look(decoder, path)
    assert decoding.coverage.complete, decoding.coverage.notes
    assert decoding.coverage.remarks == ("one of 2 video tracks, the default one",)
    assert len(frames) == 3


def test_a_second_view_that_lasts_longer_is_not_passed_over(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = draw_tracks(tmp_path / "longer.mkv", [steady(2), steady(4)])
    _, decoding = look(decoder, path)
    assert not decoding.coverage.complete
    assert any("goes on for 2.0" in note for note in decoding.coverage.notes)


def test_a_second_view_that_starts_before_is_not_passed_over(
    decoder: Decoder, tmp_path: Path
) -> None:
    late = [2.0 + time_s for time_s in steady(2)]
    path = draw_tracks(tmp_path / "before.mkv", [late, steady(3)])
    _, decoding = look(decoder, path)
    assert "another video track starts before the one that counts" in decoding.coverage.notes


def test_packets_in_the_order_of_decoding_are_not_compared_with_times(
    decoder: Decoder, tmp_path: Path
) -> None:
    times_s = [0.0, *[0.5 + time_s for time_s in steady(2)]]
    path = draw(tmp_path / "b.avi", times_s, codec="mpeg4", options={"bf": "2"})
    _, decoding = look(decoder, path)
    assert decoding.coverage.frames_decoded == 51
    assert decoding.coverage.complete, decoding.coverage.notes
