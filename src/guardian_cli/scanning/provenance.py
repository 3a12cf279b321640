"""What made a result: `made` of guardian.scan/1, and the fingerprint that `--resume` compares.

The fingerprint covers everything by default. What is left out is listed here, with its reason, so
that after a new setting or option a result is made again once too often, never once too seldom.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.detectors.clip.architecture import name_model
from guardian_cli.detectors.clip.detector import ClipDetector
from guardian_cli.lifecycle.clock import utc_stamp
from guardian_cli.media.sources import Source
from guardian_cli.urls import mask_url
from guardian_cli.verdict.policy import DECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from guardian_cli.config import Config
    from guardian_cli.detectors.detector_set import DetectorSet
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.settings import Settings

# `detectors` and `clip` are covered by the detectors that really score, `max_gap` by its value in
# seconds. A time-out, too little memory or an address that is refused ends in a result that never
# stands, and so does what is over --max-bytes.
_UNSEEN_SECTIONS: Any = {
    "target": True,
    "models": True,
    "azure": True,
    "monitor": True,
    "clip": True,
    "scan": {"detectors", "max_gap", "timeout_s", "memory_mb", "private_addresses"},
    "categories": {"__all__": {"endpoint", "model"}},
}
# Settings hold what `flags` say; who scores tells whether endpoints or the network were off.
# Device and precision change no verdict: a score that rounding could decide is computed in fp32.
_UNSEEN_OPTIONS = frozenset(
    {
        *("sources", "flags", "output", "reports", "report", "stills", "frames", "fail_on"),
        *("workers", "resume", "cluster", "shard", "store", "max_bytes"),
        *("device", "precision", "no_endpoints", "offline", "model_config", "for_s"),
    }
)
_NO_SOURCE = Source("file", "", "")


@dataclass
class Provenance:
    """What the results of one run are made by; ask it once the detectors are known."""

    request: ScanRequest
    settings: Settings
    detector_set: DetectorSet
    _fingerprints: dict[bool, str] = field(default_factory=dict)

    def made(self, source: Source) -> dict[str, Any]:
        """Return the `made` of a result that is finished now."""
        return {
            "when": utc_stamp(datetime.now(UTC)),
            **made_of_settings(self.settings.config),
            "decode": self.request.decode,
            "weights": weights_by_name(
                (one.info.name, one.info.category, one.info.weights)
                for one in self.detector_set.detectors
            ),
            "endpoints": {
                category: mask_url(uri) for category, uri in sorted(self._endpoints().items())
            },
            "fingerprint": self.fingerprint(source),
        }

    def kept(self) -> dict[str, Any]:
        """Return what a store keeps of the run: who scored, on which settings, and on what CLIP.

        There is no secret in it, and no folder of this machine.
        """
        request, config = self.request, self.settings.config
        detectors = self.detector_set.detectors
        clip = next((one for one in detectors if isinstance(one, ClipDetector)), None)
        return {
            "schema": "guardian.store/1",
            "guardian": __version__,
            "scan": config.scan.model_dump(mode="json"),
            "decode": request.decode,
            "offline": request.offline,
            "asks_endpoints": not (request.offline or request.no_endpoints),
            "for_s": request.for_s,
            "inputs": self.inputs(is_stream=False),
            # Of a folder its name is enough to tell it from another.
            "models": {
                name: Path(one.model).name
                for name, one in config.categories.items()
                if one.model is not None
            },
            "detectors": [
                {
                    "name": one.info.name,
                    "category": one.info.category,
                    "model": one.info.model,
                    "weights": one.info.weights,
                    "categories": list(one.categories),
                }
                for one in detectors
            ],
            "absent": [
                {"name": one.info.name, "status": one.status, "categories": list(one.categories)}
                for one in self.detector_set.absent
            ],
            "clip": None
            if clip is None
            else {
                "index": detectors.index(clip),
                "model": clip.info.model,
                "weights": f"sha256:{clip.info.weights}",
                "architecture": name_model(config.clip.model, request.model_config),
                "pretrained": Path(config.clip.pretrained).name,
                "precision": clip.precision,
                "scale": clip.scale,
                "logit_errors": dict(clip.logit_errors),
            },
        }

    def stale_calibrations(self) -> Iterator[str]:
        """Say which categories' calibration was fitted to other scores than this run makes."""
        config = self.settings.config
        for name, category in config.categories.items():
            one = category.calibration
            if one is None:
                continue
            if one.fitted_to not in {None, scale_digest(self.made(_NO_SOURCE), name)}:
                yield f"{name}: its calibration fits other prompts, weights, endpoint or fusion"
            if one.every not in {None, config.scan.every}:
                yield f"{name}: its calibration is for a frame every {one.every:g} s"

    def fingerprint(self, source: Source) -> str:
        """Return one digest over all that could give this source another result."""
        is_stream = source.kind == "stream"
        if is_stream not in self._fingerprints:
            self._fingerprints[is_stream] = digest_of_json(self.inputs(is_stream=is_stream))
        return self._fingerprints[is_stream]

    def inputs(self, *, is_stream: bool) -> dict[str, Any]:
        """Return everything that a fingerprint is a digest of; there is no secret in it."""
        request, config, chosen = self.request, self.settings.config, self.detector_set
        infos = [detector.info for detector in chosen.detectors]
        detectors = [[one.name, one.category, one.model, one.weights] for one in infos]
        # With --offline a detector that can't be had is what the user chose, and degrades nothing.
        if not chosen.offline:
            detectors += [
                [one.info.name, one.info.category, one.status]
                for one in chosen.absent
                if one.status == "unavailable"
            ]
        model_config = request.model_config
        return {
            **inputs_of_settings(config),
            "options": {
                one.name: getattr(request, one.name)
                for one in fields(request)
                if one.name not in _UNSEEN_OPTIONS
            },
            "for_s": request.for_s if is_stream else None,
            "model_config": model_config.read_text("utf-8") if model_config else None,
            "detectors": sorted(detectors, key=str),
            # Masked addresses may look alike; what tells them apart gives no secret away.
            "endpoints": {
                category: (shown := mask_url(uri), Source("url", uri, shown).identity)
                for category, uri in self._endpoints().items()
            },
        }

    def _endpoints(self) -> dict[str, str]:
        """The addresses of the endpoints that score, by category."""
        asked = {
            one.info.category for one in self.detector_set.detectors if one.info.name == "endpoint"
        }
        return {
            category: setting.uri
            for category, setting in self.settings.endpoints.items()
            if category in asked and setting.uri is not None
        }


def weights_by_name(
    detectors: Iterable[tuple[str, str | None, str | None]],
) -> dict[str, str]:
    """The digest of each detector's weights; of those with the same name, by category too.

    `detectors` are names, categories and digests, None for a detector without weights.
    """
    found = [one for one in detectors if one[2] is not None]
    names = [name for name, _, _ in found]
    return {
        name if names.count(name) == 1 else f"{name} {category}": f"sha256:{weights}"
        for name, category, weights in found
    }


def made_of_settings(config: Config) -> dict[str, Any]:
    """Return the part of `made` that the settings alone say."""
    categories = config.categories.items()
    return {
        "guardian": __version__,
        "every": config.scan.every,
        "max_gap": config.scan.max_gap_s,
        "thresholds": {
            name: {"review": one.review, "block": one.block} for name, one in categories
        },
        "calibration": {
            name: digest_of_json(one.calibration.model_dump(mode="json"))
            for name, one in categories
            if one.calibration is not None
        },
        "policy": config.policy.model_dump(),
        "fusion": config.fusion.model_dump(),
        "prompts": {
            name: digest_of_json(one.prompts.model_dump(mode="json"))
            for name, one in categories
            if one.prompts is not None
        },
    }


def inputs_of_settings(config: Config) -> dict[str, Any]:
    """Return the part of a fingerprint's inputs that the settings alone say."""
    return {
        "decisions": DECISIONS,
        "settings": config.model_dump(mode="json", exclude=_UNSEEN_SECTIONS),
        "max_gap_s": config.scan.max_gap_s,
    }


def scale_digest(made: Mapping[str, Any], category: str) -> str:
    """Return the digest of what a category's fused scores rest on, by the `made` of a result."""
    own = [(made.get(name) or {}).get(category) for name in ("prompts", "endpoints")]
    return digest_of_json([*own, made.get("fusion"), made.get("weights")])


def digest_of_json(value: Any) -> str:
    """Return the SHA-256 of a value as JSON, the same however mappings are ordered."""
    text = json.dumps(value, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
