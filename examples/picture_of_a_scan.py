"""Make docs/scan.svg: a real scan of a video that we draw, by a small CLIP that we train.

    python -m examples.picture_of_a_scan docs/scan.svg

The small CLIP knows coloured shapes only: its category is a red star, there from second 7 to 9.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from examples.draw_video import write_video

from guardian_cli.console import Console
from guardian_cli.scanning.pipeline import ScanRequest, run_scan
from guardian_cli.settings import load_settings
from tests.tiny_clip import NEGATIVE, POSITIVE, trained_tiny_clip

if TYPE_CHECKING:
    from rich.console import RenderableType


class Easel(Console):
    """Keeps what is shown instead of printing it."""

    shown: RenderableType | None = None

    def show(self, renderable: RenderableType) -> None:
        """Keep it."""
        self.shown = renderable


def to_svg(renderable: RenderableType, *, title: str, width: int = 92) -> str:
    """Return a picture of a terminal `width` cells wide; it loads no font from anywhere."""
    from rich.console import Console as Terminal

    terminal = Terminal(
        file=io.StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    terminal.print(renderable)
    svg = terminal.export_svg(title=title, unique_id="guardian")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def make_picture(path: Path) -> None:
    """Scan the drawn video and write the table that comes out as an SVG."""
    tiny = trained_tiny_clip()
    prompts = {"positive": POSITIVE, "negative": NEGATIVE}
    settings = {"categories": {"nsfw": {"prompts": prompts}, "violence": False}}
    target = path.resolve()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("guardian.yaml").write_text(json.dumps(settings), encoding="utf-8")
        write_video(Path("upload.mp4"))
        easel = Easel(quiet=True)
        clip = {"model": tiny.name, "pretrained": str(tiny.checkpoint)}
        request = ScanRequest(("upload.mp4",), model_config=tiny.config)
        run_scan(request, load_settings(flags={"clip": clip}), easel)
        os.chdir(target.parent)
    assert easel.shown is not None
    target.write_text(to_svg(easel.shown, title="guardian scan upload.mp4"), encoding="utf-8")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("path", type=Path)
    make_picture(arguments.parse_args().path)
