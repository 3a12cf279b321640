"""guardian.scan/1: what is written validates, and never holds NaN."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli import __version__
from guardian_cli.detectors.fusion import CategoryScore
from guardian_cli.errors import UsageError
from guardian_cli.reports.document import document, dumps, to_dict, to_line
from guardian_cli.reports.schemas import load_schema, schema_names, schema_text
from guardian_cli.verdict.timeline import Sample
from tests.reports.samples import CLIP, COVERAGE, DOWN, failed, image, video

if TYPE_CHECKING:
    from guardian_cli.verdict.result import ScanResult

RESULTS = [video(), image(), image(score=None), failed(), replace(video(), samples=None)]
VALIDATOR = jsonschema.Draft202012Validator(load_schema("scan"))
UNIT = st.none() | st.floats(0, 1)


def is_valid(value: Any) -> bool:
    return VALIDATOR.is_valid(json.loads(json.dumps(value)))


@pytest.mark.parametrize("result", RESULTS)
def test_documents_and_lines_validate(result: ScanResult) -> None:
    VALIDATOR.validate(json.loads(dumps(to_line(result))))
    VALIDATOR.validate(json.loads(dumps(document([to_dict(result)]))))


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(load_schema("scan"))


def test_a_document_is_as_promised() -> None:
    value = document([to_line(video()), to_line(failed()), to_dict(image())])
    assert list(value) == ["schema", "guardian", "verdict", "scans", "skipped", "interrupted"]
    assert (value["skipped"], value["interrupted"]) == ({}, False)
    assert (value["schema"], value["guardian"], value["verdict"]) == (
        "guardian.scan/1",
        __version__,
        "error",
    )
    assert [next(iter(scan)) for scan in value["scans"]] == ["source"] * 3


def test_what_an_interrupt_left_out_is_not_allowed() -> None:
    assert document([to_dict(image())])["verdict"] == "allow"
    assert document([to_dict(image())], interrupted=True)["verdict"] == "error"
    assert document([])["verdict"] == "error"


def test_an_element_is_as_promised() -> None:
    element = to_dict(video())
    assert element["verdict"] == "review"
    assert element["reasons"] == ["nsfw 0.70 at 12.0 s"]
    assert element["categories"]["nsfw"] == {
        "score": 0.7,
        "verdict": "review",
        "segments": [{"start_s": 11.0, "end_s": 15.0, "peak": 0.71, "peak_s": 12.0}],
    }
    assert element["frames"][12] == {
        "time_s": 12.0,
        "scores": {
            "nsfw": {"fused": 0.71, "clip": 0.8, "custom": None},
            "violence": {"fused": 0.09, "clip": 0.1, "custom": None},
        },
    }
    assert element["error"] is None
    assert next(iter(to_line(video()))) == "schema"


def test_frames_are_there_where_they_were_kept_and_in_time_order() -> None:
    assert "frames" not in to_dict(replace(video(), samples=None))
    samples = tuple(Sample(t, {"nsfw": CategoryScore(0.1)}) for t in (1.0, 0.0, 0.5, 1.0))
    frames = to_dict(replace(video(), samples=samples))["frames"]
    assert [frame["time_s"] for frame in frames] == [0.0, 0.5, 1.0]


def test_an_offline_detector_stands_under_its_own_name() -> None:
    score = CategoryScore(0.78, 0.5, 0.9, {"nudenet": 0.9, "opennsfw": 0.25})
    line = to_line(replace(video(), samples=(Sample(0.0, {"nsfw": score}),)))
    expected = {"fused": 0.78, "clip": 0.5, "custom": 0.9, "nudenet": 0.9, "opennsfw": 0.25}
    assert line["frames"][0]["scores"]["nsfw"] == expected
    VALIDATOR.validate(line)


def test_frames_are_counted_by_who_scored_them_and_older_documents_stay_valid() -> None:
    endpoint = replace(DOWN, deployments={"version-3": 12})
    line = json.loads(dumps(to_line(replace(video(), detectors=(endpoint,)))))
    assert line["detectors"][0]["deployments"] == {"version-3": 12}
    VALIDATOR.validate(line)
    del line["detectors"][0]["deployments"]
    VALIDATOR.validate(line)


def test_scores_over_time_are_kept_for_drawing_and_older_documents_stay_valid() -> None:
    line = json.loads(dumps(to_line(replace(video(), samples=None))))
    assert line["timeline"]["step_s"] == 2.0
    assert len(line["timeline"]["scores"]["violence"]) == 32
    assert line["timeline"]["scores"]["nsfw"][5:9] == [0.7, 0.71, 0.7, 0.09]
    assert line["severity"] == "medium"
    assert to_line(failed())["timeline"] is None
    del line["timeline"], line["severity"]
    VALIDATOR.validate(line)


def test_the_latency_of_an_endpoint_stands_where_it_answered() -> None:
    endpoint = replace(DOWN, latency_ms={"p50": 31.0, "p95": 80.25})
    line = to_line(replace(video(), detectors=(endpoint, CLIP)))
    assert [one.get("latency_ms") for one in line["detectors"]] == [
        {"p50": 31.0, "p95": 80.25},
        None,
    ]
    VALIDATOR.validate(line)


def test_what_could_not_be_scanned_has_its_error() -> None:
    element = to_dict(failed())
    assert element["error"] == {
        "kind": "no-frames",
        "message": "gives no frame: the stream is cut off",
    }
    assert (element["categories"], element["coverage"]["frames_decoded"]) == ({}, 0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(number: float) -> None:
    result = replace(video(), coverage=replace(COVERAGE, duration_s=number, largest_gap_s=number))
    coverage = json.loads(dumps(to_dict(result)))["coverage"]
    assert (coverage["duration_s"], coverage["largest_gap_s"]) == (None, None)


@pytest.mark.slow
@given(st.text(), st.floats(0, 1e6), UNIT, UNIT, UNIT)
def test_any_name_and_score_validates(
    name: str, time_s: float, fused: float | None, clip: float | None, custom: float | None
) -> None:
    sample = Sample(time_s, {name: CategoryScore(fused, clip, custom)})
    text = dumps(to_line(replace(video(name), samples=(sample,))))
    assert text.isascii()
    VALIDATOR.validate(json.loads(text))


def test_stray_bytes_of_a_file_name_become_visible() -> None:
    text = dumps(to_line(video("caf\udce9.mp4")))
    assert json.loads(text)["source"] == "caf\\udce9.mp4"


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"verdict": "maybe"},
        {"sha256": "abc"},
        {"error": {"kind": "x", "message": "y"}},
        {"coverage": None},
        {"categories": {}},
        {"categories": {"nsfw": {"score": 1.5, "verdict": "allow", "segments": []}}},
        {"detectors": [{"name": "clip"}]},
    ],
)
def test_the_schema_refuses_what_was_not_promised(change: dict[str, Any]) -> None:
    assert not is_valid({**to_line(video()), **change})
    whole = document([to_dict(video())])
    assert not is_valid({**whole, "scans": [{**to_dict(video()), **change}]})


def test_the_schema_refuses_an_error_without_its_error() -> None:
    assert not is_valid({**to_line(failed()), "error": None})
    assert not is_valid(to_dict(video()))


def test_schemas_are_found_by_name() -> None:
    assert "scan" in schema_names()
    assert json.loads(schema_text("scan")) == load_schema("scan")
    with pytest.raises(UsageError, match="scan"):
        schema_text("../scan")


def test_a_score_in_the_json_is_never_rounded_onto_a_threshold() -> None:
    result = image(score=0.79999996)
    assert result.verdict == "review"
    element = to_dict(result)
    assert element["categories"]["nsfw"]["score"] < 0.8
    assert element["frames"][0]["scores"]["nsfw"]["fused"] < 0.8


def test_what_made_a_result_and_what_was_left_out_validates() -> None:
    digest = f"sha256:{'0' * 64}"
    made = {
        "when": "2026-11-27T09:00:00Z",
        "guardian": "0.2.0",
        "every": 1.0,
        "decode": "fast",
        "thresholds": {"nsfw": {"review": 0.5, "block": 0.8}},
        "policy": {"incomplete": "review"},
        "fusion": {"custom": 0.7},
        "prompts": {"nsfw": digest},
        "weights": {"clip": digest},
        "fingerprint": digest,
    }
    line = to_line(replace(video(), made=made))
    assert line["made"] == made
    VALIDATOR.validate(line)
    whole = document([line], skipped={"no video or image": 2}, interrupted=True)
    VALIDATOR.validate(whole)
    assert not is_valid({**line, "made": {**made, "fingerprint": "0"}})
