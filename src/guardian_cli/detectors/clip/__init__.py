"""CLIP, zero-shot: positive against negative prompts, over views that cover the whole frame."""

from guardian_cli.detectors.clip.detector import ClipDetector, load_clip
from guardian_cli.prompts import Prompts

__all__ = ["ClipDetector", "Prompts", "load_clip"]
