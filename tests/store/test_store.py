"""What a store holds, and that it holds a source whole or not at all."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from guardian_cli.errors import UsageError
from guardian_cli.files import hold_lock
from guardian_cli.media.frames import Coverage, MediaFacts
from guardian_cli.media.sources import Source
from guardian_cli.scanning.observer import ScoredFrame
from guardian_cli.store.layout import LOCK_FILE, SCHEMA, list_files
from guardian_cli.store.reader import StoreReader
from guardian_cli.store.writer import StoreWriter
from guardian_cli.verdict.result import ScanResult, Timing
from guardian_cli.verdict.timeline import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COMPACT_AT = 8
PICTURE = np.full((4, 4, 3), 7, np.uint8)


def provenance(weights: str = "sha256:aa", **more: Any) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "detectors": [{"name": "clip"}, {"name": "endpoint"}],
        "clip": {"index": 0, "model": "tiny/x", "weights": weights},
        **more,
    }


def writer_of(folder: Path, **more: Any) -> StoreWriter:
    writer = StoreWriter(folder, compact_at=COMPACT_AT)
    writer.begin(provenance(**more))
    return writer


def features(seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(2, 8)).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def put(writer: StoreWriter, number: int, name: str | None = None, sha256: str = "s") -> None:
    name = name or f"{number}.mp4"
    recorder = writer.observe(Source("file", name, name), number)
    seen = features(number)
    for at in range(3):
        recorder.on_frame(
            ScoredFrame(
                PICTURE,
                Sample(float(at), {}, 0.0 if at else None, at + 1.0),
                {0: {"nsfw": 0.1 * at}, **({1: {"nsfw": 1 / 3}} if at else {})},
                {0: seen},
                {1: "version-1"} if at else {},
                is_refined=at == 2,
            )
        )
    facts = MediaFacts("video", 4, 4, 3.0, "drawn", 0)
    result = ScanResult(
        source=name,
        sha256=sha256,
        verdict="allow",
        reasons=(),
        degraded=False,
        media=facts,
        coverage=Coverage(3.0, "full"),
        detectors=(),
        categories={},
        timing=Timing(0.0, 0.0, 0.0),
        made={"fingerprint": "f"},
    )
    recorder.on_result(result)


def names(folder: Path) -> list[str]:
    return [row.source for row in StoreReader(folder).index()]


def test_a_row_has_every_number_as_it_was(tmp_path: Path) -> None:
    put(writer_of(tmp_path), 5)
    reader = StoreReader(tmp_path)
    (block,) = reader.blocks(reader.index(), features=True)
    assert block.column("time_s").tolist() == [0.0, 1.0, 2.0]
    assert block.column("score.0.clip.nsfw").tolist() == [0.0, 0.1, 0.2]
    custom = block.column("score.1.endpoint.nsfw").tolist()
    assert np.isnan(custom[0])
    assert custom[1:] == [1 / 3, 1 / 3]
    assert block.is_refined().tolist() == [False, False, True]
    assert block.words("deployment.1.endpoint", 0) == [None, "version-1", "version-1"]
    rows, rounding, begins, counts = block.features()
    # One picture, one pair of views, in all three frames.
    assert rows.shape == (2, 8)
    assert begins.tolist() == [0, 0, 0]
    assert counts.tolist() == [2, 2, 2]
    assert np.allclose(rows, features(5), atol=2**-11)
    assert np.allclose(rounding, np.linalg.norm(rows - features(5), axis=1), atol=1e-8)


def test_a_file_says_what_made_it_and_holds_no_picture(tmp_path: Path) -> None:
    put(writer_of(tmp_path), 0)
    (file,) = list_files(tmp_path)
    schema = pq.read_schema(file.path)
    assert json.loads(schema.metadata[b"guardian"]) == provenance()
    assert "halffloat" in str(schema.field("features").type)
    assert "binary" not in str(schema)
    assert PICTURE.tobytes() not in file.path.read_bytes()


def test_many_become_one_file_and_none_is_lost(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for number in range(COMPACT_AT + 3):
        put(writer, number)
    files = list_files(tmp_path)
    assert [one.is_part for one in files] == [True, False, False, False]
    assert names(tmp_path) == [f"{number}.mp4" for number in range(COMPACT_AT + 3)]
    reader = StoreReader(tmp_path)
    blocks = list(reader.blocks(reader.index(), features=True))
    assert sum(map(len, blocks)) == COMPACT_AT + 3


def test_a_kill_while_files_are_put_together_doubles_nothing(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "store")
    for number in range(COMPACT_AT - 1):
        put(writer, number)
    shutil.copytree(tmp_path / "store", tmp_path / "before")
    writer.compact()
    for single in (tmp_path / "before").glob("source-*.parquet"):
        shutil.copy(single, tmp_path / "store")
    (tmp_path / "store" / ".source-x.parquet.12.part").write_bytes(b"half")
    assert len(list_files(tmp_path / "store")) == COMPACT_AT
    reader = StoreReader(tmp_path / "store")
    rows = reader.index()
    assert [row.number for row in rows] == list(range(COMPACT_AT - 1))
    stored = [key for block in reader.blocks(rows) for key in block.text("key")]
    assert sorted(stored) == sorted(row.key for row in rows)


def test_the_newest_row_of_a_source_counts(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for sha256 in ("old", "new"):
        put(writer_of(tmp_path), 0, "a.mp4", sha256)
    (row,) = StoreReader(tmp_path).index()
    assert row.sha256 == "new"
    source = Source("file", "a.mp4", "a.mp4")
    writer.read_index()
    assert writer.holds(source, "new", lambda: "f")
    assert not writer.holds(source, "old", lambda: "f")
    assert not writer.holds(source, "new", lambda: "other settings")
    assert not writer.holds(Source("file", "b.mp4", "b.mp4"), "new", lambda: "f")


def test_a_store_is_of_one_clip(tmp_path: Path) -> None:
    put(writer_of(tmp_path), 0)
    with pytest.raises(UsageError, match="holds features of tiny/x") as caught:
        writer_of(tmp_path, weights="sha256:bb")
    assert caught.value.hint
    # A run without CLIP, as with only an endpoint, may share it.
    StoreWriter(tmp_path).begin({**provenance(), "clip": None})


def test_two_guardians_write_to_one_store(tmp_path: Path) -> None:
    def work(first: int) -> None:
        writer = writer_of(tmp_path)
        for number in range(first, first + 12):
            put(writer, number)
        writer.close()

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    seen: set[str] = set()
    while any(thread.is_alive() for thread in threads):
        reader = StoreReader(tmp_path)
        rows = reader.index()
        # What was there once stays there, whatever the writers do meanwhile.
        assert seen <= {row.key for row in rows}
        seen = {row.key for row in rows}
    assert len(names(tmp_path)) == 36


def test_files_are_left_alone_while_another_guardian_is_at_them(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    with hold_lock(tmp_path / LOCK_FILE):
        for number in range(COMPACT_AT + 1):
            put(writer, number)
        writer.compact()
    assert not any(one.is_part for one in list_files(tmp_path))


def test_sources_of_other_columns_are_put_together(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    put(writer, 0)
    failed = writer.observe(Source("file", "x", "x"), 1)
    frame = ScoredFrame(PICTURE, Sample(0.0, {}), {0: {"gore": 0.5}}, {}, {}, is_refined=False)
    failed.on_frame(frame)
    facts = MediaFacts("image", 4, 4, None, "drawn", 0)
    coverage, timing = Coverage(None, "full"), Timing(0.0, 0.0, 0.0)
    failed.on_result(
        ScanResult("x", "s", "allow", (), False, facts, coverage, (), {}, timing, made={})
    )
    writer.compact()
    (file,) = list_files(tmp_path)
    assert file.is_part
    reader = StoreReader(tmp_path)
    (block,) = reader.blocks(reader.index(), features=True)
    order = block.text("source")
    gore = block.column("score.0.clip.gore")
    at = int(block.offsets[order.index("x")])
    assert gore[at] == 0.5
    assert np.isnan(np.delete(gore, at)).all()
    _, _, _, counts = block.features()
    assert counts[at] == 0
    assert np.delete(counts, at).tolist() == [2, 2, 2]


@pytest.mark.parametrize("rubbish", [b"", b"PAR1", b"PAR1" + b"\xff" * 400 + b"PAR1"])
def test_a_damaged_file_is_named_and_scanned_again(tmp_path: Path, rubbish: bytes) -> None:
    writer = writer_of(tmp_path)
    for number in range(3):
        put(writer, number)
    damaged = list_files(tmp_path)[1].path
    damaged.write_bytes(rubbish)
    with pytest.raises(UsageError, match=damaged.name) as caught:
        StoreReader(tmp_path).index()
    assert caught.value.hint
    again = writer_of(tmp_path)
    again.read_index()
    assert not again.holds(Source("file", "1.mp4", "1.mp4"), "s", lambda: "f")
    assert again.holds(Source("file", "2.mp4", "2.mp4"), "s", lambda: "f")
    put(again, 1)
    assert sorted(names(tmp_path)) == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_damaged_file_does_not_end_putting_together(tmp_path: Path) -> None:
    writer = writer_of(tmp_path)
    for number in range(COMPACT_AT - 1):
        put(writer, number)
    list_files(tmp_path)[0].path.write_bytes(b"PAR1")
    writer.compact()
    assert len(names(tmp_path)) == COMPACT_AT - 2


def test_what_is_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such store"):
        StoreReader(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--store"):
        StoreWriter(tmp_path / "file")
    import pyarrow as pa

    name = f"part-{'0' * 12}-x.parquet"
    pq.write_table(pa.table({"a": [1]}), tmp_path / name)
    with pytest.raises(UsageError, match="not a file of a store"):
        StoreReader(tmp_path).index()
