"""Figures of labelled videos are right, honest about little data, and kind to no group."""

from __future__ import annotations

import numpy as np
import pytest

from guardian_cli.evaluation.figures import Scored, measure, ratio


def scored(positives: int, clean: int, *, groups: int | None = None, seed: int = 0) -> Scored:
    """Scores in which a fifth of each class is on the other's side of 0.5."""
    rng = np.random.default_rng(seed)
    positive = np.arange(positives + clean) < positives
    wrong = np.arange(len(positive)) % 5 == 0
    scores = np.where(positive ^ wrong, 0.7, 0.1) + rng.uniform(0, 0.1, len(positive))
    media = [{"kind": "video", "width": 640, "height": 360, "duration_s": 60.0, "codec": "h264"}]
    reached = (scores >= 0.5).astype(np.int64)
    numbers = np.arange(len(positive)) % (groups or len(positive))
    return Scored(positive, scores, reached, numbers.tolist(), media * len(positive))


def test_figures_are_what_they_say() -> None:
    figures = measure(scored(50, 100))
    assert figures.review.recall.value == pytest.approx(0.8)
    assert figures.review.false_alarms.value == pytest.approx(0.2)
    assert figures.review.precision.value == pytest.approx(40 / 60)
    assert figures.auc.value == pytest.approx(0.8, abs=0.05)
    low, high = figures.review.recall.interval or (0, 0)
    assert 0.65 < low < 0.8 < high < 0.95
    assert figures.block.recall.value == 0.0
    assert figures.block.precision.value is None
    assert sum(row.videos for row in figures.reliability) == 150
    assert figures.notes == ()


def test_what_was_never_seen_has_an_interval_all_the_same() -> None:
    among = np.ones(60, dtype=bool)
    figure = ratio(np.zeros(60, dtype=bool), among, range(60))
    assert figure.value == 0.0
    assert figure.interval is not None
    assert figure.interval[0] == 0.0
    assert figure.interval[1] == pytest.approx(0.06, abs=0.005)
    # As many videos of a tenth of the sources say less.
    few = ratio(np.zeros(60, dtype=bool), among, [at // 10 for at in range(60)])
    assert few.interval is not None
    assert few.interval[1] > 5 * figure.interval[1]


def test_too_few_are_null_and_said() -> None:
    figures = measure(scored(2, 40))
    assert figures.auc.value is None
    assert figures.metadata_auc.value is None
    assert figures.review.recall.value is None
    assert figures.review.false_alarms.value == pytest.approx(0.2, abs=0.05)
    assert figures.notes == ("2 positive videos with a score: too few to tell",)
    assert measure(scored(10, 40)).notes == ("only 10 positive videos: the intervals are wide",)
    empty = measure(scored(0, 0))
    assert len(empty.notes) == 2


def test_what_metadata_alone_gives_away_is_found() -> None:
    one = scored(40, 40)
    telling = [{**media, "width": 1280} if at < 40 else media for at, media in enumerate(one.media)]
    leak = measure(Scored(one.positive, one.scores, one.reached, one.groups, telling))
    assert leak.metadata_auc.value == 1.0
    assert measure(one).metadata_auc.value == pytest.approx(0.5, abs=0.1)
