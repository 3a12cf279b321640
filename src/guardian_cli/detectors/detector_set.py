"""Which detectors take part in a run, by the settings, and which do not and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import Absent, DetectorInfo, DetectorOptions, FeatureDetector
from guardian_cli.detectors.registry import make_specs
from guardian_cli.errors import MissingError, UsageError

if TYPE_CHECKING:
    from guardian_cli.detectors.base import Detector, DetectorSpec
    from guardian_cli.settings import Settings

DEFAULT_SIDE_PX = 336
# It needs no download, so it takes part where CLIP can't be had.
STAND_IN = "opennsfw"


@dataclass(slots=True)
class DetectorSet:
    """The detectors of a run, loaded or not yet, and the ones that are missing from it."""

    detectors: list[Detector] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)
    offline: bool = False
    specs: list[DetectorSpec] = field(default_factory=list)

    @property
    def short_side_px(self) -> int:
        """The shorter side of frames that serves every detector, in pixels; known at once.

        Never less than an endpoint's, so that none of them changes what another detector sees.
        """
        return max([DEFAULT_SIDE_PX, *(spec.short_side_px for spec in self.specs)])

    def add(self, name: str, settings: Settings, options: DetectorOptions) -> None:
        """Ask a detector for its specs and keep those that score one of the categories."""
        for spec in make_specs(name, settings, options):
            if isinstance(spec, Absent):
                self.absent.append(spec)
            elif set(spec.categories) & set(settings.config.categories):
                # What it says of a category that the user has switched off is not asked for.
                self.specs.append(spec)
            else:
                reason = f"none of its categories is in use: {', '.join(spec.categories)}"
                self.absent.append(Absent(spec.info, "off", reason, spec.categories))

    def add_stand_in(self, settings: Settings, options: DetectorOptions) -> None:
        """Where CLIP is missing, ask the detector that needs no download to take part."""
        taking_part = {spec.info.name for spec in self.specs}
        clip_is_gone = any(gone.info.name == "clip" for gone in self.absent)
        if not clip_is_gone or STAND_IN in taking_part or "nsfw" not in settings.config.categories:
            return
        try:
            self.add(STAND_IN, settings, options)
        except MissingError as error:
            info = DetectorInfo(STAND_IN, "nsfw", None)
            self.absent.append(Absent(info, "unavailable", str(error), ("nsfw",), error.hint))

    def load(self, settings: Settings, options: DetectorOptions) -> None:
        """Load every detector. Raises UsageError for a model that can't be what was meant, and
        MissingError when nothing is left that could score a frame.
        """
        # A copy of the list: a stand-in may join it on the way.
        for spec in list(self.specs):
            try:
                self.detectors.append(spec.load())
            except MissingError as error:
                if spec.info.name != "clip":
                    raise
                # Its weights were found, and are damaged.
                self.specs.remove(spec)
                gone = Absent(spec.info, "unavailable", str(error), spec.categories, error.hint)
                self.absent.append(gone)
                before = len(self.specs)
                self.add_stand_in(settings, options)
                self.detectors += [one.load() for one in self.specs[before:]]
        # Only when all are loaded: each looks for the CLIP among the others.
        for detector in self.detectors:
            if isinstance(detector, FeatureDetector):
                detector.follow(self.detectors)
        self.check_not_empty()

    def check_not_empty(self) -> None:
        """Raise MissingError when something is missing and nothing is left to score a frame."""
        missing = [gone for gone in self.absent if gone.status == "unavailable"]
        if missing and not self.specs:
            reasons = "; ".join(f"{gone.info.name}: {gone.reason}" for gone in missing)
            hints = dict.fromkeys(gone.hint for gone in missing if gone.hint)
            raise MissingError(f"nothing can score a frame ({reasons})", hint="; or ".join(hints))


def choose_detectors(settings: Settings, options: DetectorOptions) -> DetectorSet:
    """Find what the settings name, without loading any of it.

    Raises UsageError for what can't be meant, MissingError for a detector that is not installed
    and when nothing is left that could score a frame.
    """
    chosen = DetectorSet(offline=options.offline)
    wanted = settings.config.scan.detectors
    # A name that is there twice would score every frame twice.
    for name in dict.fromkeys(wanted):
        chosen.add(name, settings, options)
    chosen.add_stand_in(settings, options)
    if options.deployment is not None and all(
        spec.info.name != "endpoint" for spec in chosen.specs
    ):
        raise UsageError(
            f"--deployment {options.deployment}: no endpoint is in use",
            hint="guardian endpoints --write-env",
        )
    chosen.check_not_empty()
    return chosen
