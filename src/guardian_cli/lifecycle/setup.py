"""`guardian setup`: say what is there and what it will cost, and create what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.platform import Metered, NonBlocking, require_non_blocking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform, Reporter, Workspace, WorkspaceOptions


@dataclass(frozen=True, slots=True)
class Setup:
    """A workspace as it is now, and its parts that were created, or with `dry_run` would be."""

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
    """Create what is missing of the workspace, or without `change` only look.

    `existing` are the parts that were there before. Without `wait` the creation is only begun.
    Raises PlatformError, and UsageError where the platform cannot go on by itself.
    """
    before = platform.look_at_workspace(options)
    for warning in before.warnings:
        reporter.warn(warning)
    # Also where nothing is to be made: what is deployed bills all the same.
    cost_usd = _monthly_cost_usd(platform, models, reporter)
    before = replace(before, monthly_cost_usd=cost_usd)
    if before.complete or not change:
        return Setup(before, before.missing, dry_run=not change)
    reporter.note(f"creating {', '.join(before.missing)}")
    after = before
    try:
        if wait:
            after = platform.create_workspace(options)
        else:
            require_non_blocking(platform).begin_workspace(options)
    except KeyboardInterrupt:
        if isinstance(platform, NonBlocking):
            reporter.note(f"what was begun goes on at {platform.target}: look with setup --check")
        raise
    # Created parts exist now, but people want to know what was there before.
    done = replace(after, existing=before.existing, monthly_cost_usd=cost_usd)
    return Setup(done, before.missing, dry_run=False)


def _monthly_cost_usd(platform: Platform, models: Sequence[Model], reporter: Reporter) -> float:
    """Return the sum of what the models bill, as deployed or as they would be, and say it."""
    if not isinstance(platform, Metered):
        return 0.0
    total_usd = 0.0
    for model in models:
        endpoint = platform.endpoint(model.endpoint)
        sizes = [
            (found.instance_type, found.instance_count)
            for found in (endpoint.deployments if endpoint else ())
            if found.instance_type and found.instance_count
        ]
        when = "is deployed" if sizes else "once deployed"
        if not sizes:
            sizes = [(model.instance_type, model.instance_count)]
            try:
                platform.check_quota(model.instance_type, model.instance_count)
            except PlatformError as error:
                # A set-up is no deployment: it can be done while the quota is being raised.
                reporter.warn(f"{model.name}: {error}")
        costs_usd = [platform.monthly_cost_usd(*size) for size in sizes]
        known_usd = sum(cost or 0.0 for cost in costs_usd)
        price = f"about ${known_usd:.0f} a month"
        if None in costs_usd:
            price = "at a price that is not known here"
        named = ", ".join(f"{count} × {kind}" for kind, count in sizes)
        reporter.note(f"{model.name}: {named}, {when}, {price}")
        total_usd += known_usd
    reporter.note(
        "what is deployed bills with traffic or without; each version that stays deployed costs "
        "the same again"
    )
    return round(total_usd, 2)
