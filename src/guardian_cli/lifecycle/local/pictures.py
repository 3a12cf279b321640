"""The picture that a probe sends."""

from __future__ import annotations

import io


def draw_probe(width_px: int = 320, height_px: int = 180) -> bytes:
    """Draw a picture with some of everything (light, dark, edges, colour) as a JPEG."""
    from PIL import Image, ImageDraw

    glow = Image.radial_gradient("L").resize((width_px, height_px))
    image = Image.merge("RGB", (glow, glow.transpose(Image.Transpose.FLIP_LEFT_RIGHT), glow))
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, width_px // 3, height_px // 2), fill=(200, 60, 40))
    draw.ellipse((width_px // 2, 40, width_px - 30, height_px - 20), outline=(30, 90, 220), width=6)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
