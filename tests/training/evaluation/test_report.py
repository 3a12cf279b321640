"""What a training concludes from its own numbers."""

from __future__ import annotations

import pytest

from guardian_cli.training.data.dataset import LeftOut
from guardian_cli.training.evaluation.metrics import Metrics
from guardian_cli.training.evaluation.report import (
    TrainReport,
    add_left_out,
    conclude,
    describe_metrics,
    version_tags,
)

GOOD = Metrics(
    auc=0.9,
    auc_interval=(0.8, 0.95),
    average_precision=0.9,
    ece=0.05,
    threshold=0.7,
    threshold_false_positive_rate=0.01,
    false_positive_rate=0.0,
    true_positive_rate=0.4,
    temporal_auc=None,
    metadata_auc=0.6,
    metadata_auc_interval=(0.5, 0.7),
    n=100,
    positives=50,
)


def part(
    low: float = 0.8, metadata: float = 0.6, recall: float = 0.4, high: float = 0.95
) -> dict[str, object]:
    found = describe_metrics(GOOD)
    return found | {
        "auc_interval": [low, high],
        "metadata_auc": metadata,
        "true_positive_rate": recall,
    }


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (part(), None),
        (part(low=0.6001), None),
        (part(low=0.6), "no better than metadata"),
        (part(low=0.4, high=0.55), "no better than metadata"),
        # Metadata below 0.5 is chance: what is no better than a coin is not better for that.
        (part(low=0.5, metadata=0.3), "no better than guessing"),
        (part(low=0.5001, metadata=0.3), None),
        (part(low=1.0, high=1.0, metadata=1.0), "no better than metadata"),
        (part(recall=0.0), "finds none of the positives"),
        (part(recall=0.01), None),
        (part() | {"auc_interval": [None, None]}, "too little data to tell"),
    ],
)
def test_what_is_not_worth_deploying(metrics: dict[str, object], said: str | None) -> None:
    found = conclude(metrics)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert said in found
        assert "not worth deploying" in found


def test_the_version_carries_the_conclusion_and_the_recall() -> None:
    data = dict.fromkeys(("source", "digest", "positive", "n", "left_out_count"), "x")
    training = {
        "backbone": "tiny", "seed": 0, "method": "given", "environment": {"version.guardian": "1"}
    }  # fmt: skip
    for metrics, conclusion in ((part(), None), (part(recall=0.0), "recall 0")):
        report = TrainReport("m", "1", None, metrics, {**data, "simulated": False}, training)
        tags = version_tags(report)
        assert tags["recall"] == ("0" if conclusion else "0.4")
        assert ("conclusion" in tags) == (conclusion is not None)
        assert conclusion is None or conclusion in tags["conclusion"]


def test_what_was_left_out_here_is_added_to_what_a_job_left_out_there() -> None:
    here = [LeftOut("data.csv, row 2", "a.mp4", "contradiction: …", contradiction=True)]
    there = add_left_out({"n": 8}, [LeftOut("data.csv, row 9", "b.mp4", "no frame")])
    found = add_left_out(there, here)
    assert (found["n"], found["left_out_count"], found["contradictions"]) == (8, 2, 1)
    assert [one["path"] for one in found["left_out"]] == ["a.mp4", "b.mp4"]
