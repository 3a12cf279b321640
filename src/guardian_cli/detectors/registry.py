"""Which detectors there are: guardian's own, and those that other packages bring.

A detector is a function from the settings and the command line's options to its specs, none, one or
several, which are cheap to make. guardian's own stand in BUILT_IN; another package names its own in
the entry point group `guardian_cli.detectors`:

    [project.entry-points."guardian_cli.detectors"]
    mine = "my_package.detector:make_specs"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.detectors.base import Absent, DetectorOptions, DetectorSpec
    from guardian_cli.settings import Settings

GROUP = "guardian_cli.detectors"
# In the order in which reports list them.
BUILT_IN = {
    "clip": "guardian_cli.detectors.clip.detector:clip_specs",
    "endpoint": "guardian_cli.detectors.endpoint.spec:endpoint_specs",
    "model": "guardian_cli.detectors.model:model_specs",
    "opennsfw": "guardian_cli.detectors.opennsfw:OpenNsfwDetector.specs",
    "nudenet": "guardian_cli.detectors.nudenet:NudeNetDetector.specs",
}
# What a frame's scores in the JSON have beside the detectors' names.
RESERVED = ("fused", "custom")


def known_detectors() -> dict[str, EntryPoint]:
    """Every detector's name, and where its function is.

    Raises UsageError where two go by one name: the score of one would be taken for the other's.
    """
    known = {name: EntryPoint(name, place, GROUP) for name, place in BUILT_IN.items()}
    for found in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        if found.name in RESERVED or known.setdefault(found.name, found).value != found.value:
            raise UsageError(f"{found.value} can't be a detector named {found.name}: it is taken")
    return known


def check_detector(name: str) -> str:
    """Return the name of a detector that there is. Raises ValueError, which lists those."""
    # To look into every installed package takes longer than all the rest of the settings.
    if name not in BUILT_IN and name not in (known := known_detectors()):
        raise ValueError(f"unknown detector {name}; there are {', '.join(known)}")
    return name


def make_specs(
    name: str, settings: Settings, options: DetectorOptions
) -> Sequence[DetectorSpec | Absent]:
    """Ask a detector for its specs. Raises MissingError or UsageError where it can make none."""
    place = BUILT_IN.get(name)
    found = EntryPoint(name, place, GROUP) if place else known_detectors()[name]
    specs: Sequence[DetectorSpec | Absent] = found.load()(settings, options)
    for spec in specs:
        # Under another name its score could be taken for another detector's.
        if spec.info.name != name:
            raise UsageError(f"the detector {name} calls itself {spec.info.name}")
    return specs


def report_order(name: str) -> tuple[int, str]:
    """Sort guardian's own detectors first, and others by name."""
    order = tuple(BUILT_IN)
    return (order.index(name) if name in order else len(order), name)
