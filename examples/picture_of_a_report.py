"""Make docs/report.png: the evidence sheet of a video that we draw, as a browser shows it.

    python -m examples.picture_of_a_report docs/report.png

The small CLIP of the tests knows coloured shapes only: its category is a red star. Wants chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from examples.draw_video import write_video

from guardian_cli.console import Console
from guardian_cli.scanning.pipeline import ScanRequest, run_scan
from guardian_cli.settings import load_settings
from tests.browser import Browser
from tests.tiny_clip import NEGATIVE, POSITIVE, trained_tiny_clip

WIDTH_PX, HEIGHT_PX = 960, 760


def make_picture(path: Path) -> None:
    """Scan the drawn video with --report, and write what a browser shows of the sheet as PNG."""
    tiny = trained_tiny_clip()
    square = {"positive": ["a blue square"], "negative": ["a plain background", "a red star"]}
    categories = {
        "nsfw": {"prompts": {"positive": POSITIVE, "negative": NEGATIVE}},
        "violence": {"prompts": square},
    }
    target = path.resolve()
    with TemporaryDirectory() as folder, TemporaryDirectory() as profile:
        os.chdir(folder)
        Path("guardian.yaml").write_text(json.dumps({"categories": categories}), encoding="utf-8")
        write_video(Path("upload.mp4"))
        clip = {"model": tiny.name, "pretrained": str(tiny.checkpoint)}
        request = ScanRequest(("upload.mp4",), model_config=tiny.config, report=Path("sheet"))
        run_scan(request, load_settings(flags={"clip": clip}), Console(quiet=True, out=sys.stderr))
        with Browser(Path(profile)) as browser:
            address = Path("sheet/index.html").resolve().as_uri()
            browser.open(address, width=WIDTH_PX, height=HEIGHT_PX)
            png = browser.picture(whole=False)
        os.chdir(target.parent)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    cv2.imwrite(str(target), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("path", type=Path)
    make_picture(arguments.parse_args().path)
