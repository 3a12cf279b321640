"""What flipped, by how much, why, and which side is right."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from guardian_cli.cli import run
from guardian_cli.errors import UsageError
from guardian_cli.evaluation.compare import FlipLimit, compare_results, mcnemar
from guardian_cli.reports.comparison import comparison_markdown
from guardian_cli.reports.schemas import load_schema
from tests.evaluation.elements import element, failed, write_results

if TYPE_CHECKING:
    from pathlib import Path


def test_flips_are_sorted_by_severity_then_score() -> None:
    old = [element(name, {"nsfw": 0.1}) for name in "abcd"]
    new = [
        element("a", {"nsfw": 0.55}),
        element("b", {"nsfw": 0.9}),
        element("c", {"nsfw": 0.7}),
        failed("d"),
    ]
    comparison = compare_results(old, new)
    assert [(flip.source, flip.old, flip.new) for flip in comparison.flips] == [
        ("b", "allow", "block"),
        ("d", "allow", "error"),
        ("c", "allow", "review"),
        ("a", "allow", "review"),
    ]
    assert comparison.flips[0].why == "score nsfw 0.10 -> 0.90"
    assert comparison.flips[1].why == "error none -> missing (no such file)"


def test_it_says_why() -> None:
    strict = {"review": 0.3, "block": 0.8}
    old = element("a", {"nsfw": 0.4, "violence": 0.1})
    (flip,) = compare_results(
        [old], [element("a", {"nsfw": 0.4, "violence": 0.1}, thresholds=strict)]
    ).flips
    assert flip.why == "threshold nsfw review 0.5 -> 0.3"
    cut = element("a", {"nsfw": 0.4}, verdict="review", reasons=["incomplete: cut off at 3.0 s"])
    cut["coverage"]["complete"] = False
    (flip,) = compare_results([element("a", {"nsfw": 0.4})], [cut]).flips
    assert flip.why == "coverage complete -> incomplete: cut off at 3.0 s"
    down = element(
        "a", {"nsfw": None}, degraded=True, reasons=["degraded: nsfw endpoint: 503", "x"]
    )
    (flip,) = compare_results([element("a", {"nsfw": 0.4})], [down]).flips
    assert flip.why == (
        "score nsfw 0.40 -> unscored; degraded no -> yes (degraded: nsfw endpoint: 503)"
    )
    (flip,) = compare_results([old], [element("a", {"nsfw": 0.4}, verdict="review")]).flips
    assert flip.why == "category violence only in old"


def test_other_content_and_sources_of_one_side_are_not_compared() -> None:
    old = [element("a", {"nsfw": 0.1}), element("b", {"nsfw": 0.1}), element("x", {"nsfw": 0.1})]
    new = [element("a", {"nsfw": 0.9}, sha256="f" * 64), element("c", {"nsfw": 0.9})]
    new[1]["sha256"] = old[1]["sha256"]
    comparison = compare_results(old, new)
    assert (comparison.compared, comparison.flips) == (0, ())
    assert comparison.other_content == ("a",)
    assert (comparison.only_old, comparison.only_new, comparison.renamed) == (("b", "x"), ("c",), 1)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30),
    st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_turned_round_it_says_the_same(
    scores: list[tuple[float, float]], positive: list[bool]
) -> None:
    old = [element(str(at), {"nsfw": one}) for at, (one, _) in enumerate(scores)]
    new = [element(str(at), {"nsfw": other}) for at, (_, other) in enumerate(scores)]
    labels = {str(at): {"nsfw": positive[at]} for at in range(len(scores))}
    there, back = (compare_results(*pair, labels=labels) for pair in ((old, new), (new, old)))
    assert {(one.source, one.old, one.new) for one in there.flips} == {
        (one.source, one.new, one.old) for one in back.flips
    }
    assert there.mcnemar is not None
    assert back.mcnemar is not None
    assert there.mcnemar.p_value == back.mcnemar.p_value
    assert there.mcnemar.labels == len(scores)
    assert compare_results(old, old).flips == ()


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_exact_one(old_right: int, new_right: int) -> None:
    found = mcnemar([(True, False)] * old_right + [(False, True)] * new_right + [(True, True)] * 5)
    split = old_right + new_right
    tail = sum(math.comb(split, at) for at in range(min(old_right, new_right) + 1)) / 2**split
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))
    assert (found.labels, found.both_right, found.both_wrong) == (split + 5, 5, 0)


@pytest.mark.parametrize(
    ("text", "compared", "flips", "exceeded"),
    [
        ("0", 5, 0, False),
        ("0", 5, 1, True),
        ("2%", 50, 1, False),
        ("2%", 49, 1, True),
        ("100%", 3, 3, False),
        ("3", 0, 0, True),
    ],
)
def test_a_limit_is_a_number_or_a_share(
    text: str, compared: int, flips: int, exceeded: bool
) -> None:
    old = [element(str(at), {"nsfw": 0.1}) for at in range(compared)]
    new = [element(str(at), {"nsfw": 0.1 if at >= flips else 0.6}) for at in range(compared)]
    assert FlipLimit.parse(text).is_exceeded(compare_results(old, new)) is exceeded


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "101%", "nan%", "1e3"])
def test_no_other_limit_is_taken(text: str) -> None:
    with pytest.raises(UsageError):
        FlipLimit.parse(text)


def test_markdown_shows_hostile_names_as_they_are() -> None:
    name = "a|b<script>`x`\n[l](u)\u202e"
    comparison = compare_results([element(name, {"nsfw": 0.1})], [element(name, {"nsfw": 0.6})])
    text = comparison_markdown(comparison, ("old.jsonl", "new.jsonl"), FlipLimit.parse("0"))
    assert "1 of 1 source flipped: over the limit of 0" in text
    (row,) = [line for line in text.splitlines() if "allow" in line]
    assert "a\\|b&lt;script&gt;\\`x\\`\\\\n\\[l\\](u)\\\\u202e" in row


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"a.mp4": (0.1, 0.9), "b.mp4": (0.1, 0.2), "c.mp4": (0.6, 0.4)}
    old, new = (
        write_results(
            tmp_path / f"{side}.jsonl",
            [element(name, {"nsfw": pair[side]}) for name, pair in scores.items()],
        )
        for side in (0, 1)
    )
    labels = tmp_path / "labels.csv"
    labels.write_text("path,category,label\na.mp4,nsfw,1\nb.mp4,nsfw,0\nc.mp4,nsfw,other\n")
    table = tmp_path / "flips.md"
    words = ["compare", str(old), str(new), "--labels", str(labels), "--markdown", str(table)]
    assert run([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    Draft202012Validator(load_schema("compare")).validate(document)
    assert document["counts"] == {"compared": 3, "flipped": 2, "only_old": 0, "only_new": 0}
    assert [(one["source"], one["right"]) for one in document["flips"]] == [
        ("a.mp4", "new"),
        ("c.mp4", "new"),
    ]
    assert document["mcnemar"]["p_value"] == 0.5
    assert "| allow | block | new | a.mp4 |" in table.read_text(encoding="utf-8")
    assert run([*words, "--max-flips", "50%", "--json"]) == 12
    out, err = capsys.readouterr()
    assert json.loads(out)["gate"] == {"max_flips": "50%", "passed": False}
    assert "error: 2 of 3 verdicts flipped, and --max-flips allows 50%" in err
    assert run([*words, "--max-flips", "2"]) == 0
    assert "ALLOW   BLOCK  new    a.mp4   score nsfw 0.10 -> 0.90" in capsys.readouterr().out


def test_results_without_a_source_in_common_pass_no_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write_results(tmp_path / "old.jsonl", [element("a.mp4", {"nsfw": 0.1})])
    new = write_results(tmp_path / "new.jsonl", [element("b.mp4", {"nsfw": 0.1})])
    assert run(["compare", str(old), str(new)]) == 0
    assert "nothing was compared" in capsys.readouterr().err
    assert run(["compare", str(old), str(new), "--max-flips", "100%"]) == 12
    assert run(["compare", str(old), str(tmp_path / "none.jsonl")]) == 2
    capsys.readouterr()
    assert run(["compare", "nsfw-detector@champion", "nsfw-detector@2"]) == 2
    assert "nsfw-detector@2 --on FOLDER" in capsys.readouterr().err
    (tmp_path / "rubbish.jsonl").write_bytes(b"\xff\x00{")
    assert run(["compare", str(old), str(tmp_path / "rubbish.jsonl")]) == 2


def test_the_markdown_goes_over_no_results(tmp_path: Path) -> None:
    results = tmp_path / "a.jsonl"
    write_results(results, [element("a", {"nsfw": 0.1})])
    before = results.read_bytes()
    assert run(["compare", str(results), str(results), "--markdown", str(results)]) == 2
    assert results.read_bytes() == before
