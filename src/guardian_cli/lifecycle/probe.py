"""A probe: the picture that an endpoint is to score, its request, and what the answer is worth."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

from guardian_cli.lifecycle.platform import Probe

# As long as a deployment is given for any request (`platform.REQUEST_TIMEOUT_S`).
PROBE_TIMEOUT_S = 60.0


def probe_body() -> bytes:
    """Return the request that scores one picture."""
    picture = base64.b64encode(draw_probe()).decode()
    table = {"columns": ["image"], "index": [0], "data": [[picture]]}
    return json.dumps({"input_data": table}).encode()


def read_answer(status: int, answer: Any, latency_ms: float) -> Probe:
    """Read the answer to one picture, which is good when it is a list with one score in 0..1."""
    if status != 200:
        message = answer.get("message") if isinstance(answer, dict) else None
        return Probe(problem=f"HTTP {status}" + (f": {message}" if message else ""))
    if not isinstance(answer, list) or len(answer) != 1 or not isinstance(answer[0], int | float):
        return Probe(problem="the answer is no list with one score")
    score = float(answer[0])
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        return Probe(problem=f"the score {score} is not in 0..1")
    return Probe(score=score, latency_ms=latency_ms)


def draw_probe() -> bytes:
    """Draw a picture with some of everything (light, dark, edges, colour) as a JPEG."""
    from PIL import Image, ImageDraw

    glow = Image.radial_gradient("L").resize((320, 180))
    image = Image.merge("RGB", (glow, glow.transpose(Image.Transpose.FLIP_LEFT_RIGHT), glow))
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, 106, 90), fill=(200, 60, 40))
    draw.ellipse((160, 40, 290, 160), outline=(30, 90, 220), width=6)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
