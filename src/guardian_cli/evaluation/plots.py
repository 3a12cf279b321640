"""One picture of an evaluation: ROC, reliability and scores by label, a row for each category."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from guardian_cli.training.evaluation.plots import (
    GUIDE,
    METADATA,
    MODEL,
    SQUARE,
    draw_bins,
    new_figure,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.evaluation.evaluate import CategoryEvaluation

_BINS = 20


def draw_evaluation(categories: Mapping[str, CategoryEvaluation]) -> bytes:
    """Return a PNG."""
    figure = new_figure(3, len(categories))
    for row, (name, one) in enumerate(categories.items()):
        panels = (draw_roc, draw_reliability, draw_histograms)
        for column, draw in enumerate(panels):
            axes = figure.add_subplot(len(categories), 3, row * 3 + column + 1)
            axes.grid(visible=True, color="#eeeeee")
            axes.set_axisbelow(True)
            if column == 0:
                axes.annotate(name, (0.02, 1.08), xycoords="axes fraction", weight="bold")
            # An empty panel keeps every category in a row of its own.
            if one.figures.auc.value is None:
                axes.set(xticks=(), yticks=())
                axes.text(0.5, 0.5, "too little data", ha="center", transform=axes.transAxes)
                continue
            draw(axes, one)
            axes.legend(loc="best", frameon=False, fontsize=8)
    picture = io.BytesIO()
    # Without the version of matplotlib in it, the same figures give the same file.
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def draw_roc(axes: Any, one: CategoryEvaluation) -> None:
    """The curve, what metadata alone reaches, and where the thresholds are."""
    from sklearn.metrics import roc_curve

    figures, scored = one.figures, one.scored
    fpr, tpr, _ = roc_curve(scored.positive, scored.scores, drop_intermediate=False)
    low, high = figures.auc.interval or (0.0, 1.0)
    axes.plot(fpr, tpr, color=MODEL, label=f"AUC {figures.auc.value:.3f} ({low:.2f}-{high:.2f})")
    if figures.metadata_auc.value is not None:
        label = f"metadata alone, AUC {figures.metadata_auc.value:.3f}"
        # For the legend alone: of what metadata reaches only the AUC is kept.
        axes.plot([], [], color=METADATA, linestyle=":", label=label)
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    for edge, at, mark in (("review", figures.review, "o"), ("block", figures.block, "s")):
        if at.false_alarms.value is not None:
            axes.plot([at.false_alarms.value], [at.recall.value], mark, color=MODEL, label=edge)
    axes.set(xlabel="false alarms", ylabel="recall", title="ROC", **SQUARE)


def draw_reliability(axes: Any, one: CategoryEvaluation) -> None:
    """The share of positives over the mean score of each bin, with the bin's size."""
    bins = [(row.videos, row.mean_score, row.share) for row in one.figures.reliability]
    draw_bins(axes, bins, f"ECE {one.figures.ece or 0.0:.3f}")
    axes.set(**SQUARE)


def draw_histograms(axes: Any, one: CategoryEvaluation) -> None:
    """How many videos of each label have which score, and where the thresholds are."""
    positive, scores = one.scored.positive, one.scored.scores
    for side, colour, label in ((False, GUIDE, "clean"), (True, METADATA, "positive")):
        own = scores[positive == side]
        axes.hist(own, bins=_BINS, range=(0, 1), color=colour, alpha=0.6, label=label)
    for edge in ("review", "block"):
        if one.thresholds:
            axes.axvline(one.thresholds[edge], color=MODEL, linewidth=0.8)
            top = axes.get_ylim()[1]
            axes.text(one.thresholds[edge], top, f" {edge}", fontsize=7, va="top", color=MODEL)
    axes.set(xlabel="score", ylabel="videos", title="Scores", xlim=(-0.01, 1.01))
