"""What deciding again rests on: the new settings, laid over what a store was made with.

How frames were found and who looked at them (`scan`, `clip`, the command line's options) is as it
was in the store unless guardian.yaml says otherwise by name. All else is as the settings have it
now. Where they ask for what nobody stored, that is said, and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from guardian_cli.config import CategorySection, FusionSection, ScanSection
from guardian_cli.errors import UsageError
from guardian_cli.scanning.provenance import (
    digest_of_json,
    inputs_of_settings,
    made_of_settings,
    weights_by_name,
)
from guardian_cli.verdict.policy import DECISIONS
from guardian_cli.verdict.result import DetectorReport

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from guardian_cli.config import Config
    from guardian_cli.settings import Settings
    from guardian_cli.verdict.thresholds import Thresholds

# They bound how a source was fetched and decoded, which its result says itself.
_UNSEEN_SCAN_KEYS = {"timeout_s", "memory_mb", "detectors", "private_addresses"}
_KNOWN_CATEGORY_KEYS = {"review", "block", "prompts", "endpoint", "model", "calibration"}
SWITCHED_OFF = "switched off by an empty value"


@dataclass(frozen=True)
class Rules:
    """How sources that one run stored are decided again.

    `detectors` are those that count, by their index; `clip` says for each category with prompts
    whether CLIP's answers are the stored ones or come from its features. `missing` are reasons why
    every source would have to be scanned again. `changed` is False where all is as it was.
    """

    config: Config
    provenance: Mapping[str, Any]
    detectors: Mapping[int, str]
    clip: Mapping[str, Literal["stored", "features"]]
    missing: tuple[str, ...]
    changed: bool
    dropped: frozenset[str] = frozenset()
    switched_off: frozenset[str] = frozenset()
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)

    @property
    def every_s(self) -> float:
        """The sampling interval."""
        return self.config.scan.every

    @cached_property
    def old_thresholds(self) -> dict[str, Thresholds]:
        """The thresholds that the stored refinement was asked for by."""
        stored = self.provenance["inputs"]["settings"]["categories"]
        return {
            name: CategorySection.model_validate(one).thresholds for name, one in stored.items()
        }

    @cached_property
    def old_fusion(self) -> FusionSection:
        """The weights that the stored refinement was asked for by."""
        return FusionSection(**self.provenance["inputs"]["settings"]["fusion"])

    def stored_for(self, category: str) -> Iterator[tuple[int, str]]:
        """The detectors whose stored answers count for a category, by index and name."""
        for index, name in self.detectors.items():
            if name != "clip" or self.clip.get(category) == "stored":
                yield index, name

    def reports(self, stored: Iterable[Mapping[str, Any]]) -> tuple[DetectorReport, ...]:
        """What a scan with these settings would say of its detectors."""
        reports = []
        for kept in stored:
            report = DetectorReport(**kept)
            is_used = report.category is None or report.category in self.config.categories
            if self.counts(report.name, report.category):
                reports.append(report)
            elif report.name == "endpoint" and report.category in self.switched_off:
                reports.append(
                    DetectorReport("endpoint", report.category, None, "off", SWITCHED_OFF)
                )
            elif not is_used and report.name not in {"endpoint", "model", *self.dropped}:
                reason = f"none of its categories is in use: {report.category}"
                reports.append(
                    DetectorReport(report.name, report.category, report.model, "off", reason)
                )
        return tuple(reports)

    def counts(self, name: str, category: str | None) -> bool:
        """Whether a detector of this name and category takes part by these settings."""
        return takes_part(self.config, self.dropped, self.switched_off, name, category)

    def made(self) -> dict[str, Any]:
        """The `made` of a result, but for when; as a scan with these settings would have it."""
        provenance, inputs = self.provenance, self.provenance["inputs"]
        endpoints = {
            name: one for name, one in inputs["endpoints"].items() if self.counts("endpoint", name)
        }
        detectors = [one for one in inputs["detectors"] if self.counts(one[0], one[1])]
        mixed = {
            **inputs,
            **inputs_of_settings(self.config),
            "detectors": detectors,
            "endpoints": endpoints,
        }
        return {
            **made_of_settings(self.config),
            "decode": provenance["decode"],
            "weights": weights_by_name(
                (one["name"], one["category"], one["weights"])
                for one in provenance["detectors"]
                if self.counts(one["name"], one["category"])
            ),
            "endpoints": {name: one[0] for name, one in endpoints.items()},
            "fingerprint": digest_of_json(mixed),
            "fingerprint_of_streams": digest_of_json({**mixed, "for_s": provenance["for_s"]}),
        }


def takes_part(
    config: Config,
    dropped: Container[str],
    switched_off: Container[str],
    name: str,
    category: str | None,
) -> bool:
    """Whether a detector takes part; `dropped` are no longer in scan.detectors.

    `switched_off` are categories whose endpoint is.
    """
    if name in dropped or (category is not None and category not in config.categories):
        return False
    if category is None:
        return True
    if name == "endpoint":
        return category not in switched_off
    return name != "model" or config.categories[category].model is not None


def make_rules(
    provenance: Mapping[str, Any], settings: Settings, models: Mapping[str, str | None]
) -> Rules:
    """Lay the settings over what made some stored sources.

    `models` are the digests of the models that categories have now, of those that can be found.
    """
    config = settings.config
    stored_scan, named = provenance["scan"], config.scan.model_fields_set
    # A setting that only another version knows is no reason to refuse a store.
    kept = {name: one for name, one in stored_scan.items() if name in ScanSection.model_fields}
    try:
        # Only what guardian.yaml names wins: a default is no wish to have it otherwise.
        scan = ScanSection.model_validate(kept | config.scan.model_dump(include=named))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UsageError(f"the store's own scan settings are not valid here: {reason}") from error
    config = config.model_copy(update={"scan": scan})
    dropped = set(stored_scan["detectors"]) - set(config.scan.detectors)
    # Without a prompt CLIP is not even loaded, so no scan would report on it.
    if not any(one.prompts for one in config.categories.values()):
        dropped.add("clip")
    switched_off = frozenset(name for name, one in settings.endpoints.items() if one.uri is None)
    detectors = {
        index: one["name"]
        for index, one in enumerate(provenance["detectors"])
        if takes_part(config, dropped, switched_off, one["name"], one["category"])
    }
    stored = provenance["inputs"]["settings"]["categories"]
    has_clip = provenance["clip"] is not None and "clip" in detectors.values()
    clip: dict[str, Literal["stored", "features"]] = {}
    for name, section in config.categories.items():
        if section.prompts is None or "clip" not in detectors.values():
            continue
        prompts = section.prompts.model_dump(mode="json")
        # The same prompts need no features: what CLIP answered is stored, and exact.
        same = name in stored and stored[name].get("prompts") == prompts
        if same or has_clip:
            clip[name] = "stored" if same else "features"
    return Rules(
        config,
        provenance,
        detectors,
        clip,
        tuple(_missing(provenance, settings, config, models, detectors, clip)),
        changed=any(
            provenance["inputs"][name] != one for name, one in inputs_of_settings(config).items()
        )
        or len(detectors) < len(provenance["detectors"]),
        dropped=frozenset(dropped),
        switched_off=switched_off,
        thresholds={name: one.thresholds for name, one in config.categories.items()},
    )


def _missing(
    provenance: Mapping[str, Any],
    settings: Settings,
    config: Config,
    models: Mapping[str, str | None],
    detectors: Mapping[int, str],
    clip: Mapping[str, str],
) -> Iterator[str]:
    """Why no source of this run can be decided for certain; nothing where all can."""
    if provenance["inputs"]["decisions"] != DECISIONS:
        yield f"guardian {provenance['guardian']} stored it, and decides otherwise"
    scan = config.scan.model_dump(mode="json")
    for key, old in provenance["scan"].items():
        new = scan.get(key, old)
        if key not in _UNSEEN_SCAN_KEYS and new != old:
            now, then = ("unset" if one is None else one for one in (new, old))
            yield f"scan.{key} is {now}, and was {then} when it was stored"
    # Also those that were wanted and missing: their reports say so already.
    seen = {one["name"] for one in (*provenance["detectors"], *provenance["absent"])}
    for name in config.scan.detectors:
        wants = name != "endpoint" or provenance["asks_endpoints"]
        if name not in provenance["scan"]["detectors"] and wants:
            yield f"{name} never looked at it"
    stored = provenance["inputs"]["settings"]["categories"]
    defaults = CategorySection().model_dump(mode="json")
    for name, section in config.categories.items():
        before, now = stored.get(name, defaults), section.model_dump(mode="json")
        for key in now.keys() - _KNOWN_CATEGORY_KEYS:
            if now[key] != before.get(key, defaults[key]):
                yield f"categories.{name}.{key} is another"
        then = [
            one["weights"]
            for one in provenance["detectors"]
            if (one["name"], one["category"]) == ("model", name)
        ]
        is_another = Path(section.model or "").name != provenance["models"].get(name)
        # A folder's name says little, and @champion may have become another version.
        is_another |= bool(then) and models.get(name, then[0]) != then[0]
        if section.model and is_another:
            yield f"the model {Path(section.model).name} never looked at it for {name}"
        endpoint = settings.endpoints.get(name)
        was_asked = any(
            (one["name"], one["category"]) == ("endpoint", name) for one in provenance["detectors"]
        )
        if (
            endpoint is not None
            and endpoint.uri is not None
            and provenance["asks_endpoints"]
            and "endpoint" in config.scan.detectors
            and not was_asked
        ):
            yield f"the endpoint of {name} was never asked"
        wants_clip = section.prompts is not None and "clip" in config.scan.detectors
        if wants_clip and "clip" not in seen:
            yield f"CLIP never looked at it for {name}"
        if name in stored:
            continue
        scored = any(name in provenance["detectors"][index]["categories"] for index in detectors)
        if name not in clip and not scored:
            yield f"no stored detector scored {name}"
        for one in provenance["absent"]:
            if one["status"] == "off" and one["name"] != "endpoint" and name in one["categories"]:
                yield f"{one['name']} was off for {name}"
