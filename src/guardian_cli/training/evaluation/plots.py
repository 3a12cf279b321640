"""ROC, precision-recall and reliability as PNG files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from guardian_cli.training.evaluation.metrics import calibration_bins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardian_cli.training.evaluation.metrics import HeldOutScores, Metrics

# The axes of a plot of rates.
SQUARE = {"xlim": (-0.01, 1.01), "ylim": (-0.01, 1.01), "aspect": "equal"}
MODEL, METADATA, GUIDE = "#1f5fa8", "#c0752a", "#999999"


def draw_plots(folder: Path, test: HeldOutScores, metrics: Metrics) -> None:
    """Draw roc.png, precision-recall.png and reliability.png into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        "roc": draw_roc,
        "precision-recall": draw_precision_recall,
        "reliability": draw_reliability,
    }
    for name, draw in plots.items():
        figure = new_figure()
        axes = figure.add_subplot()
        axes.set(**SQUARE)
        axes.grid(visible=True, color="#eeeeee")
        draw(axes, test, metrics)
        axes.legend(loc="best", frameon=False, fontsize=8)
        # Without matplotlib's version in it, the same numbers give the same bytes.
        figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})


def new_figure(columns: int = 1, rows: int = 1) -> Any:
    """Return an empty figure with room for so many square plots; `savefig` writes it."""
    # What it says of a folder for its cache, where there is no home, is no concern of the user's.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # A figure of its own canvas: pyplot would keep state and look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * columns, 4.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_roc(axes: Any, test: HeldOutScores, metrics: Metrics) -> None:
    """Draw the model's curve and metadata's, and where the threshold is."""
    from sklearn.metrics import roc_curve

    low, high = metrics.auc_interval
    fpr, tpr, _ = roc_curve(test.labels, test.scores, drop_intermediate=False)
    axes.plot(fpr, tpr, color=MODEL, label=f"model, AUC {metrics.auc:.3f} ({low:.2f}-{high:.2f})")
    fpr, tpr, _ = roc_curve(test.labels, test.metadata, drop_intermediate=False)
    label = f"metadata alone, {metrics.metadata_auc:.3f}"
    axes.plot(fpr, tpr, color=METADATA, linestyle=":", label=label)
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    point = [metrics.false_positive_rate], [metrics.true_positive_rate]
    axes.plot(*point, "o", color=MODEL, label=f"threshold {metrics.threshold:.3f}")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", title="ROC")


def draw_precision_recall(axes: Any, test: HeldOutScores, metrics: Metrics) -> None:
    """Draw precision over recall, beside the share of positives, which guessing would reach."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(test.labels, test.scores)
    label = f"model, average precision {metrics.average_precision:.3f}"
    axes.step(recall, precision, where="post", color=MODEL, label=label)
    share = metrics.positives / metrics.n
    axes.axhline(share, color=GUIDE, linewidth=0.8, label=f"share of positives {share:.2f}")
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")


def draw_reliability(axes: Any, test: HeldOutScores, metrics: Metrics) -> None:
    """Draw the share of positives over the mean score of each bin, with the bin's size."""
    bins = zip(*calibration_bins(test.labels, test.scores), strict=True)
    draw_bins(axes, list(bins), f"model, ECE {metrics.ece:.3f}")


def draw_bins(axes: Any, bins: Sequence[tuple[int, float, float]], label: str) -> None:
    """Draw bins of scores: how many each has, their mean score, and the share of positives."""
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8)
    axes.plot(
        [mean for _, mean, _ in bins], [share for *_, share in bins], "o-", color=MODEL, label=label
    )
    for count, *place in bins:
        axes.annotate(str(count), place, fontsize=7, xytext=(4, -8), textcoords="offset points")
    axes.set(xlabel="mean score", ylabel="share of positives", title="Reliability")
