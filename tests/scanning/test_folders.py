"""What folders leave out and lists name, told on stderr, in the document and by the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guardian_process import guardian

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_folder_leaves_out_is_told(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "gone.mp4").symlink_to("nothing")
    for name in ("notes.txt", "list.csv", ".DS_Store"):
        (uploads / name).write_text("words")
    run = guardian("scan", "uploads", "--json", folder=tmp_path)
    assert (run.code, [scan["source"] for scan in run.document["scans"]]) == (
        3,
        ["uploads/gone.mp4"],
    )
    assert run.document["skipped"] == {"no video or image": 2, "hidden": 1}
    assert "3 skipped: 2 no video or image, 1 hidden" in run.err.splitlines()


def test_a_list_goes_on_past_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "clip1.mp4").write_bytes(b"")
    run = guardian("scan", "-", "--json", folder=tmp_path, stdin="a[1].mp4\nempty\nclip[1].mp4\n")
    errors = {scan["source"]: scan["error"]["kind"] for scan in run.document["scans"]}
    assert errors == {"a[1].mp4": "missing", "empty": "empty", "clip[1].mp4": "missing"}
    assert run.code == 3


def test_a_video_on_stdin_is_a_usage_error(tmp_path: Path) -> None:
    run = guardian("scan", "-", folder=tmp_path, stdin="\0\0\0\x20ftypisom\0\0\2\0isomiso2")
    assert (run.code, run.out) == (2, "")
    assert "- reads a list of names" in run.err
    assert "hint: " in run.err
