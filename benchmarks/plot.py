"""Draw what the benchmarks wrote: one bar for each rival, a dot for each round.

    python benchmarks/plot.py FOLDER docs/speed.svg

FOLDER holds scan_long.json, scan_folder.json, scan_cold.json, model_alone.json and memory.json, as
`make bench` leaves them; what is not there is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

OWN, RIVAL = "#1f6f8b", "#b9c2c9"
SCRIPTS = ("scan_long", "scan_folder", "scan_cold", "model_alone", "memory")


class Panel(NamedTuple):
    """One picture in the plot: values of every rival, round by round, in `unit`."""

    title: str
    unit: str
    bars: dict[str, list[float]]
    own: tuple[str, ...]


def panel_of(script: str, numbers: dict[str, Any]) -> Panel:
    """What one benchmark has to show. Raises KeyError for a file of another shape."""
    if script == "model_alone":
        speeds = numbers["views_a_second_and_gflops"]
        bars = {name: one for name, one in speeds.items() if "batch" in name}
        half = tuple(name for name in bars if not name.startswith("fp32"))
        return Panel("CLIP alone", "views a second, more is better", bars, half)
    if script == "memory":
        bars = {name: [peak] for name, peak in numbers["peak_mb"].items()}
        own = tuple(name for name in bars if name.startswith("guardian"))
        return Panel("Peak memory over length", "MB", bars, own)
    titles = {
        "scan_long": "Two minutes of 1080p",
        "scan_folder": "A folder of short clips",
        "scan_cold": "A clip of two seconds, cold",
    }
    bars = dict(numbers["seconds"])
    if "bound" in bars:
        bars["the slower of both, and start-up"] = bars.pop("bound")
    return Panel(titles[script], "seconds, less is better", bars, ("guardian", "guardian scan"))


def draw(panels: list[Panel], machine: dict[str, Any], file: Path) -> None:
    """Write the plot; its kind follows from the file's ending."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update({"svg.hashsalt": "guardian", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    heights = [0.8 + 0.32 * len(panel.bars) for panel in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(7.5, sum(heights)), height_ratios=heights, squeeze=False
    )
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _draw_panel(axis, panel)
    has = ", ".join(machine["has"]) or "no extension that matters here"
    figure.suptitle(f"{machine['cores']} cores of {machine['processor']} ({has})", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw_panel(axis: Any, panel: Panel) -> None:
    for row, (name, rounds) in enumerate(panel.bars.items()):
        median = statistics.median(rounds)
        axis.barh(row, median, color=OWN if name in panel.own else RIVAL, height=0.7)
        axis.plot(rounds, [row] * len(rounds), ".", color="#333333", markersize=3)
        text = f"{median:.0f}" if median >= 100 else f"{median:.2g}"
        axis.annotate(text, (max(*rounds, median), row), (4, 0), va="center", fontsize=8,
                      textcoords="offset points")  # fmt: skip
    axis.set_yticks(range(len(panel.bars)), list(panel.bars), fontsize=8)
    axis.invert_yaxis()
    axis.set_title(f"{panel.title} ({panel.unit})", fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    wanted = parser.parse_args()
    found = [one for one in SCRIPTS if (wanted.folder / f"{one}.json").exists()]
    if not found:
        raise SystemExit(f"{wanted.folder} holds no numbers; make bench writes them")
    documents = [json.loads((wanted.folder / f"{one}.json").read_text("utf-8")) for one in found]
    panels = [panel_of(*pair) for pair in zip(found, documents, strict=True)]
    draw(panels, documents[0]["machine"], wanted.file)
    print(f"wrote {wanted.file}")


if __name__ == "__main__":
    main()
