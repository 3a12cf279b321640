"""Sources in clouds: listed as folders are, fetched whole or not at all, and no secret told."""

from __future__ import annotations

import io
import threading
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from guardian_cli.errors import MissingError, SourceError, UsageError
from guardian_cli.media.cloud import fetch_cloud, open_cloud
from guardian_cli.media.sources import expand_sources
from tests.guardian_process import guardian, tiny_options, write_settings
from tests.s3_server import SECRET, Storage, s3_environment
from tests.web_server import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
TEXT = b"just words\n" * 9


class Bucket(MemoryFileSystem):  # type: ignore[misc]
    """A storage of its own, not the one that all of its class share."""

    cachable = False

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]
        for key, content in objects.items():
            self.pipe_file(key, content)


class LosingBucket(Bucket):
    """Says that its objects are larger than what comes of them."""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {**super().info(path, **options), "size": 1000}


class ClosedBucket(Bucket):
    """Fails, in words that hold a secret."""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        raise OSError(f"GET https://host/{path}?sig={SECRET} failed")

    ls = find = info


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(
        {
            "b/in/a.mp4": b"a",
            "b/in/deep/photo": JPEG,
            "b/in/deep/notes": TEXT,
            "b/in/.hidden/c.mp4": b"c",
            "b/in/.guardian.mp4": b"d",
            "b/other/x[1].mp4": b"x",
            "b/texts/a.txt": TEXT,
        }
    )


def expand(bucket: Bucket, *named: str, skipped: Counter[str] | None = None) -> list[str]:
    found = expand_sources(named, skipped=skipped, connect=lambda _: bucket)
    assert {source.kind for source in found} == {"cloud"}
    return [source.shown for source in found]


@pytest.mark.parametrize("name", ["gs://b/in", "gs://b/in/", "gs://b/i*"])
def test_a_prefix_is_a_folder(bucket: Bucket, name: str) -> None:
    skipped: Counter[str] = Counter()
    assert expand(bucket, name, skipped=skipped) == ["gs://b/in/a.mp4", "gs://b/in/deep/photo"]
    assert skipped == {"hidden": 2, "no video or image": 1}


def test_globs_match_and_a_source_comes_once(bucket: Bucket) -> None:
    assert expand(bucket, "gs://b/*/a.*4", "gs://b/in/a.mp4") == ["gs://b/in/a.mp4"]
    assert expand(bucket, "gs://b/**/*.mp4") == [
        "gs://b/in/a.mp4", "gs://b/other/x[1].mp4"
    ]  # fmt: skip
    assert expand(bucket, "gs://b/other/x[1].mp4") == ["gs://b/other/x[1].mp4"], "it is there"


@pytest.mark.parametrize("name", ["gs://b/texts", "gs://b/nothing*"])
def test_a_prefix_with_nothing_in_it_is_a_usage_error(bucket: Bucket, name: str) -> None:
    with pytest.raises(UsageError, match="gs://b/"):
        expand(bucket, name)


def test_what_is_not_there_or_can_not_be_listed_is_a_source_that_says_why(
    bucket: Bucket, tmp_path: Path
) -> None:
    assert expand(bucket, "gs://b/gone.mp4") == ["gs://b/gone.mp4"]
    assert refused("gs://b/gone.mp4", tmp_path, bucket).kind == "missing"
    closed = ClosedBucket({"b/a.mp4": b"a"})
    assert expand(closed, "gs://b/*.mp4") == ["gs://b/*.mp4"]
    error = refused("gs://b/*.mp4", tmp_path, closed)
    assert str(error) == "gs://b/*.mp4: can't be fetched (OSError)"


def fetch(url: str, folder: Path, bucket: Bucket, **options: Any) -> Path:
    limits = {"timeout_s": 30, "max_bytes": 1000, **options}
    return fetch_cloud(url, folder, connect=lambda _: bucket, **limits)


def refused(url: str, folder: Path, bucket: Bucket, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(url, folder, bucket, **options)
    assert list(folder.iterdir()) == [], "nothing half-done is left"
    assert SECRET not in str(caught.value)
    return caught.value


def test_an_object_is_fetched_with_its_ending(bucket: Bucket, tmp_path: Path) -> None:
    path = fetch("gs://b/in/a.mp4", tmp_path, bucket)
    assert (path.suffix, path.read_bytes()) == (".mp4", b"a")


def test_what_is_too_large_late_broken_or_unwanted_leaves_nothing(tmp_path: Path) -> None:
    bucket, url = Bucket({"b/a.mp4": bytes(500)}), "gs://b/a.mp4"
    assert refused(url, tmp_path, bucket, max_bytes=499).kind == "too_large"
    assert refused(url, tmp_path, bucket, timeout_s=0).kind == "timeout"
    stop = threading.Event()
    stop.set()
    assert refused(url, tmp_path, bucket, stop=stop).kind == "interrupted"
    assert "broke off" in str(refused(url, tmp_path, LosingBucket({"b/a.mp4": bytes(500)})))
    assert "folder" in str(refused("gs://b", tmp_path, bucket))


def test_a_library_that_is_missing_is_named_by_its_extra() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(MissingError) as caught:
        open_cloud("az")
    assert caught.value.hint == 'pip install "guardian-cli[azure]"'


@pytest.mark.slow
def test_s3_by_its_own_protocol(tiny_clip: TinyClip, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "gray").save(picture, "JPEG")
    objects = {"in/a.jpg": picture.getvalue(), "in/b": TEXT, "in/": b"", "in/c.mp4": bytes(30_000)}
    storage = Storage(objects)
    write_settings(tmp_path, tiny_clip)
    (tmp_path / "temporary").mkdir()
    arguments = ["scan", "s3://uploads/in", "s3://other/x.mp4", "--jsonl", "--max-bytes", "20000"]
    arguments += ["--resume", "kept.jsonl", *tiny_options(tiny_clip)]
    with serving(storage) as web:
        environment = {**s3_environment(web.url("")), "TMPDIR": str(tmp_path / "temporary")}
        first = guardian(*arguments, folder=tmp_path, **environment)
        again = guardian(*arguments, folder=tmp_path, **environment)
    assert SECRET not in first.out + first.err + again.out + again.err
    assert first.code == again.code == 3
    assert "2 skipped" not in first.err
    lines = {line["source"]: line for line in first.lines}
    assert lines["s3://uploads/in/a.jpg"]["verdict"] == "allow"
    assert lines["s3://uploads/in/a.jpg"]["sha256"] == sha256(objects["in/a.jpg"]).hexdigest()
    assert lines["s3://uploads/in/c.mp4"]["error"]["kind"] == "too_large"
    assert lines["s3://other/x.mp4"]["error"]["kind"] == "missing"
    assert "1 skipped: 1 no video or image" in first.err
    assert {line["source"] for line in again.lines} == set(lines) - {"s3://uploads/in/a.jpg"}
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_offline_asks_no_cloud(tmp_path: Path) -> None:
    storage = Storage({"in/a.jpg": JPEG})
    with serving(storage) as web:
        environment = s3_environment(web.url(""))
        run = guardian("scan", "s3://uploads/in/", "--offline", folder=tmp_path, **environment)
        assert not web.requests
    assert run.code == 3
    assert "--offline touches no network" in run.out
