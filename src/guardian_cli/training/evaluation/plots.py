"""ROC, precision-recall and reliability as PNG files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.training.evaluation.metrics import (
    calibration_bins,
    precision_recall_points,
    roc_points,
)

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.training.evaluation.measure import Judged, Metrics

NAMES = ("roc.png", "precision-recall.png", "reliability.png")
_SIZE_INCHES = (4.8, 4.5)
_DPI = 110
_MODEL, _METADATA, _GUIDE = "#1f5fa8", "#c0752a", "#999999"


def draw_plots(folder: Path, judged: Judged, metrics: Metrics) -> list[Path]:
    """Draw the three plots into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in NAMES]
    for path, draw in zip(paths, (_draw_roc, _draw_precision, _draw_reliability), strict=True):
        figure, axes = _new_figure()
        draw(axes, judged, metrics)
        axes.legend(loc="best", frameon=False, fontsize=8)
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return paths


def _new_figure() -> tuple[Any, Any]:
    # A figure of its own canvas: pyplot would keep state and look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(visible=True, color="#eeeeee")
    return figure, axes


def _draw_roc(axes: Any, judged: Judged, metrics: Metrics) -> None:
    low, high = metrics.auc_interval
    fpr, tpr, _ = roc_points(judged.labels, judged.scores)
    axes.plot(fpr, tpr, color=_MODEL, label=f"model, AUC {metrics.auc:.3f} ({low:.2f}-{high:.2f})")
    fpr, tpr, _ = roc_points(judged.labels, judged.metadata)
    axes.plot(
        fpr,
        tpr,
        color=_METADATA,
        linestyle=":",
        label=f"metadata alone, {metrics.metadata_auc:.3f}",
    )
    axes.plot([0, 1], [0, 1], color=_GUIDE, linewidth=0.8)
    point = metrics.operating
    axes.plot(
        [point.false_positive_rate],
        [point.true_positive_rate],
        "o",
        color=_MODEL,
        label=f"threshold {point.threshold:.3f}",
    )
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", title="ROC")


def _draw_precision(axes: Any, judged: Judged, metrics: Metrics) -> None:
    precision, recall = precision_recall_points(judged.labels, judged.scores)
    axes.step(
        recall,
        precision,
        where="post",
        color=_MODEL,
        label=f"model, average precision {metrics.average_precision:.3f}",
    )
    share = metrics.positives / metrics.n
    axes.axhline(share, color=_GUIDE, linewidth=0.8, label=f"share of positives {share:.2f}")
    axes.set(xlabel="recall", ylabel="precision", title="Precision and recall")


def _draw_reliability(axes: Any, judged: Judged, metrics: Metrics) -> None:
    bins = calibration_bins(judged.labels, judged.scores)
    axes.plot([0, 1], [0, 1], color=_GUIDE, linewidth=0.8)
    axes.plot(
        [one.mean_score for one in bins],
        [one.positive_share for one in bins],
        "o-",
        color=_MODEL,
        label=f"model, ECE {metrics.ece:.3f}",
    )
    for one in bins:
        axes.annotate(
            str(one.count),
            (one.mean_score, one.positive_share),
            fontsize=7,
            xytext=(4, -8),
            textcoords="offset points",
        )
    axes.set(xlabel="mean score", ylabel="share of positives", title="Reliability")
