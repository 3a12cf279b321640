"""`guardian setup`: look first, and make what is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import Platform, Workspace, WorkspaceOptions
    from guardian_cli.lifecycle.releases import Reporter


@dataclass(frozen=True, slots=True)
class Setup:
    """A workspace as it is now, and which of its parts were made, or with `dry_run` would be."""

    workspace: Workspace
    created: tuple[str, ...]
    dry_run: bool


def set_up(
    platform: Platform, options: WorkspaceOptions, reporter: Reporter, *, change: bool
) -> Setup:
    """Make what is missing of the workspace, or without `change` only look. Raises PlatformError.

    `existing` are the parts that were there before.
    """
    before = platform.look_at_workspace(options)
    for warning in before.warnings:
        reporter.warn(warning)
    if before.complete or not change:
        return Setup(before, before.missing, dry_run=not change)
    reporter.note(f"creating {', '.join(before.missing)}")
    after = platform.create_workspace(options)
    return Setup(replace(after, existing=before.existing), before.missing, dry_run=False)
