"""The gate before `deploy --promote`: a version against its champion, on data that people chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import ConfigError, GateError
from guardian_cli.evaluation.compare import Comparison, FlipLimit, compare_results
from guardian_cli.watching.challenge import measure_auc, read_data, scan_with

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardian_cli.config import GateSection
    from guardian_cli.console import Console
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform
    from guardian_cli.settings import Settings


@dataclass
class PromotionGate:
    """Asks what `models.<model>.gate` says. `scan` scans sources with a version of a model."""

    platform: Platform
    settings: Settings
    console: Console
    scan: Callable[[Model, str, Sequence[str], Settings, Console], list[dict[str, Any]]] = scan_with

    def describe(self, model: Model) -> str | None:
        """Say what is asked of a version of this model; None where nothing is."""
        section = self.settings.config.models[model.name].gate
        if section is None:
            return None
        asked = [f"on {section.data}"]
        if section.max_flips is not None:
            asked.append(f"at most {section.max_flips} flips")
        if section.min_auc is not None:
            asked.append(f"an AUC of at least {section.min_auc:g}")
        return ", ".join(asked)

    def check(self, model: Model, version: str, champion: str | None) -> str | None:
        """Scan with both, and say what was passed; None where nothing is asked.

        Raises GateError with every reason against it, ConfigError for a gate that cannot be asked,
        and what scanning raises.
        """
        section = self.settings.config.models[model.name].gate
        if section is None:
            return None
        # Each time anew: people add to this file, and the gate is about what they say now.
        sources, labels = read_data(Path(section.data), model.category)
        if section.min_auc is not None and not labels:
            raise ConfigError(
                f"models.{model.name}.gate: min_auc needs labels, and {section.data} is a folder",
                hint="data: a CSV path,category,label[,group]",
            )
        new = self.scan(model, version, sources, self.settings, self.console)
        # The first version of a model has no champion from which verdicts could flip.
        comparison = None
        if section.max_flips is not None and champion is not None:
            old = self.scan(model, champion, sources, self.settings, self.console)
            comparison = compare_results(old, new)
        auc = measure_auc(new, labels) if section.min_auc is not None else None
        passed, failed = weigh(section, comparison, auc)
        if failed:
            against = f" against version {champion}" if champion is not None else ""
            on = f" --on {section.data}"
            both = f"guardian compare {model.name}@{champion} {model.name}@{version}{on}"
            raise GateError(
                f"version {version} of {model.name} does not pass its gate{against}: "
                f"{'; '.join(failed)}; traffic is as it was",
                hint=both if champion is not None else f"guardian evaluate {section.data}",
            )
        return ", ".join(passed) or "there was no champion to compare with"


def weigh(
    section: GateSection, comparison: Comparison | None, auc: float | None
) -> tuple[list[str], list[str]]:
    """Say what speaks for a version, and what against it. Pure; what cannot be told is against."""
    passed: list[str] = []
    failed: list[str] = []
    if comparison is not None:
        limit = FlipLimit.parse(str(section.max_flips))
        flips = f"{len(comparison.flips)} of {comparison.compared} flipped (at most {limit.text})"
        (failed if limit.is_exceeded(comparison) else passed).append(flips)
    if section.min_auc is not None and auc is not None:
        text = f"AUC {auc:.3f} (at least {section.min_auc:g})"
        # NaN, where one class is missing, is at least nothing.
        (passed if auc >= section.min_auc else failed).append(text)
    return passed, failed
