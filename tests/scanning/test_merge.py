"""Results of several parts as those of one scan: which result stands, and what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from guardian_cli.errors import UsageError
from guardian_cli.scanning.merge import Merged, merge_results

DIGEST = f"sha256:{'0' * 64}"


def line(source: str, verdict: str = "allow", at: int = 0, **more: Any) -> dict[str, Any]:
    """A result of a source, made `at` minutes past the hour."""
    made = {"when": f"2026-11-27T09:{at:02d}:00Z", "guardian": "0.2.0", "fingerprint": "f1"}
    return {
        "source": source, "verdict": verdict, "sha256": "a" * 64, "coverage": {}, "made": made,
        **more,
    }  # fmt: skip


def shard(index: int, held: int, total: int, count: int = 2, digest: str = DIGEST) -> Any:
    return {
        "index": index, "count": count, "sources": held, "all_sources": total,
        "sources_digest": digest,
    }  # fmt: skip


def verdicts(merged: Merged) -> dict[str, str]:
    return {scan["source"]: scan["verdict"] for scan in merged.scans}


@pytest.mark.parametrize("backwards", [False, True])
def test_the_latest_that_is_no_error_stands_in_any_order(backwards: bool) -> None:
    lines = [
        line("a", "allow", 1), line("a", "block", 3), line("a", "error", 5),
        line("b", "error", 1, sha256=None), line("b", "error", 2, sha256=None),
        line("c", "review", 4), line("c", "allow", 2),
    ]  # fmt: skip
    merged = merge_results(reversed(lines) if backwards else lines)
    assert verdicts(merged) == {"a": "block", "b": "error", "c": "review"}
    assert [scan["made"]["when"][14:16] for scan in merged.scans] == ["03", "02", "04"]
    assert (merged.warnings, merged.gaps, merged.missing) == ([], [], None)


def test_of_two_alike_the_later_line_stands() -> None:
    assert verdicts(merge_results([line("a", "allow"), line("a", "block")])) == {"a": "block"}
    old = line("a", "block")
    del old["made"]
    assert verdicts(merge_results([line("a", "allow"), old])) == {"a": "allow"}


def test_masked_addresses_stay_apart() -> None:
    lines = [line("https://h/x?…", source_id=one) for one in ("1", "2")]
    assert len(merge_results(lines).scans) == 2


def test_all_shards_are_one_scan() -> None:
    merged = merge_results([line("b", shard=shard(2, 1, 2)), line("a", shard=shard(1, 1, 2))])
    assert [scan["source"] for scan in merged.scans] == ["a", "b"]
    assert not any("shard" in scan for scan in merged.scans)
    assert (merged.gaps, merged.missing) == ([], None)


def test_an_empty_shard_is_not_missing() -> None:
    merged = merge_results([line("a", shard=shard(3, 1, 1, count=4))])
    assert (merged.gaps, merged.missing) == ([], None)


def test_a_shard_that_is_missing_is_named_with_how_much_it_holds() -> None:
    merged = merge_results([line("a", shard=shard(1, 1, 9, count=4))])
    assert merged.gaps == ["shards 2/4, 3/4, 4/4 missing: 8 of 9 sources without a result"]
    assert merged.missing == {"shards": [2, 3, 4], "shard_count": 4, "sources": 8}
    many = merge_results([line("a", shard=shard(1, 1, 9, count=40))])
    assert "13/40 and 27 more missing" in many.gaps[0]


def test_a_shard_that_was_cut_off_is_named() -> None:
    lines = [line("a", shard=shard(1, 3, 4)), line("b", shard=shard(2, 1, 4))]
    merged = merge_results(lines)
    assert merged.gaps == ["shard 1/2 is incomplete: 2 of 3 sources without a result"]
    assert merged.missing == {"shards": [], "shard_count": 2, "sources": 2}


def test_what_another_part_made_good_is_not_missing() -> None:
    lines = [line("a", shard=shard(1, 1, 2)), line("b", "error", 1, shard=shard(2, 1, 2))]
    merged = merge_results([*lines, line("b", "allow", 2, shard=shard(2, 1, 2))])
    assert verdicts(merged) == {"a": "allow", "b": "allow"}
    assert merged.missing is None


def test_a_shard_that_was_done_twice_counts_once_wherever_its_folder_is_mounted() -> None:
    part = shard(1, 2, 2, count=1)

    def of(source: str, at: int = 0, sha256: str = "a" * 64) -> dict[str, Any]:
        return line(source, at=at, sha256=sha256, shard={**part, "name": source[-5:]})

    merged = merge_results([of("/mnt/a.mp4", 1), of("/srv/a.mp4", 2), of("/mnt/b.mp4")])
    assert [scan["source"] for scan in merged.scans] == ["/mnt/b.mp4", "/srv/a.mp4"]
    assert (merged.warnings, merged.gaps, merged.missing) == ([], [], None)
    # Two results, and still one source of the two is in none.
    merged = merge_results([of("/mnt/a.mp4"), of("/srv/a.mp4")])
    assert merged.gaps == ["shard 1/1 is incomplete: 1 of 2 sources without a result"]
    # Another folder with the same names is another batch.
    assert len(merge_results([of("/may/a.mp4"), of("/june/a.mp4", 0, "b" * 64)]).scans) == 2


def test_machines_that_saw_other_sources_are_told_of() -> None:
    """A source that came between two listings may be in the part that was listed already."""
    other = f"sha256:{'1' * 64}"
    lines = [line("a", shard=shard(1, 1, 2)), line("b", shard=shard(2, 1, 3, digest=other))]
    merged = merge_results(lines)
    assert "did not see the same sources (2 or 3)" in merged.gaps[-1]
    assert merged.missing is not None
    assert merged.missing["sources"] == 1


def test_batches_that_were_divided_differently_are_refused() -> None:
    lines = [line("a", shard=shard(1, 1, 2)), line("b", shard=shard(2, 1, 2, count=3))]
    with pytest.raises(UsageError, match="into 2 shards, and into 3"):
        merge_results(lines)


@pytest.mark.parametrize(
    "broken",
    [
        1,
        "1/2",
        [],
        {},
        {"index": "1"},
        {**shard(1, 1, 1), "count": True} | {"index": 0},
        shard(1, -1, 1),
        {**shard(1, 1, 1), "name": 1},
    ],
)
def test_a_shard_that_is_none_is_refused(broken: Any) -> None:
    with pytest.raises(UsageError, match="shard"):
        merge_results([line("a", shard=broken)])


def test_parts_of_other_settings_or_versions_or_contents_are_told_of() -> None:
    made = {"when": "2026-11-27T09:00:00Z", "guardian": "0.3.0", "fingerprint": "f2"}
    merged = merge_results([line("a"), line("b"), line("c", made=made), line("c", sha256="b" * 64)])
    assert merged.warnings == ["1 source had other contents in other parts"]
    merged = merge_results([line("a"), line("b"), line("c", made=made)])
    (warning,) = merged.warnings
    assert "made in 2 ways" in warning
    assert "0.2.0, 0.3.0), for 2, 1 sources" in warning
    stream = {**made, "fingerprint": "stream"}
    assert not merge_results([line("a"), line("rtsp://host/x", made=stream)]).warnings
