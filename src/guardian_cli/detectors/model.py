"""Models in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardian_cli.detectors.base import DetectorOptions, DetectorSpec
    from guardian_cli.settings import Settings


def model_specs(_settings: Settings, _options: DetectorOptions) -> list[DetectorSpec]:
    """None yet."""
    return []
