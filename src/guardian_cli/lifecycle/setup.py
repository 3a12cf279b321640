"""`guardian setup`: look first, say what it will cost, and make what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.platform import Leavable, Metered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform, Reporter, Workspace, WorkspaceOptions


@dataclass(frozen=True, slots=True)
class Setup:
    """A workspace as it is now, and which of its parts were made, or with `dry_run` would be."""

    workspace: Workspace
    created: tuple[str, ...]
    dry_run: bool


def set_up(
    platform: Platform,
    options: WorkspaceOptions,
    models: Sequence[Model],
    reporter: Reporter,
    *,
    change: bool,
    wait: bool = True,
) -> Setup:
    """Make what is missing of the workspace, or without `change` only look. Raises PlatformError.

    `existing` are the parts that were there before. Without `wait` the making is only begun.
    """
    before = platform.look_at_workspace(options)
    for warning in before.warnings:
        reporter.warn(warning)
    before = replace(before, monthly_cost_usd=_foretell(platform, models, reporter))
    if before.complete or not change:
        return Setup(before, before.missing, dry_run=not change)
    reporter.note(f"creating {', '.join(before.missing)}")
    try:
        after = _create(platform, options, wait=wait) or before
    except KeyboardInterrupt:
        if isinstance(platform, Leavable):
            reporter.note(f"what was begun goes on at {platform.target}: look with setup --check")
        raise
    done = replace(after, existing=before.existing, monthly_cost_usd=before.monthly_cost_usd)
    return Setup(done, before.missing, dry_run=False)


def _create(platform: Platform, options: WorkspaceOptions, *, wait: bool) -> Workspace | None:
    if wait:
        return platform.create_workspace(options)
    if not isinstance(platform, Leavable):
        raise UsageError(
            f"--no-wait: the target {platform.target} does not go on by itself",
            hint="leave --no-wait out",
        )
    platform.begin_workspace(options)
    return None


def _foretell(platform: Platform, models: Sequence[Model], reporter: Reporter) -> float:
    """Say what the models bill in a month, as deployed or as they would be; the sum in dollars."""
    if not isinstance(platform, Metered):
        return 0.0
    total_usd = 0.0
    for model in models:
        deployed = _deployed(platform, model)
        sizes = deployed or [(model.instance_type, model.instance_count)]
        if not deployed:
            _warn_of_quota(platform, model, reporter)
        costs = [platform.monthly_cost_usd(*size) for size in sizes]
        named = ", ".join(f"{count} × {kind}" for kind, count in sizes)
        when = "is deployed" if deployed else "once deployed"
        price = "at a price that is not known here"
        if all(cost is not None for cost in costs):
            price = f"about ${sum(cost or 0.0 for cost in costs):.0f} a month"
        reporter.note(f"{model.name}: {named}, {when}, {price}")
        total_usd += sum(cost or 0.0 for cost in costs)
    reporter.note(
        "what is deployed bills with traffic or without; each version that stays deployed costs "
        "the same again"
    )
    return round(total_usd, 2)


def _deployed(platform: Platform, model: Model) -> list[tuple[str, int]]:
    """Instance types and counts of what is deployed for a model now."""
    endpoint = platform.endpoint(model.endpoint)
    return [
        (found.instance_type, found.instance_count)
        for found in (endpoint.deployments if endpoint else ())
        if found.instance_type and found.instance_count
    ]


def _warn_of_quota(platform: Metered, model: Model, reporter: Reporter) -> None:
    try:
        platform.check_quota(model.instance_type, model.instance_count)
    except PlatformError as error:
        reporter.warn(f"{model.name}: {error}")
