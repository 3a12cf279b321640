"""Shows the results of the life cycle's verbs: one JSON document, or a table and hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.reports.lifecycle_documents import (
    endpoints_document,
    history_document,
    release_document,
    releases_document,
    setup_document,
    to_text,
)
from guardian_cli.reports.lifecycle_tables import (
    endpoints_table,
    history_table,
    release_table,
    setup_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.console import Console
    from guardian_cli.lifecycle.endpoint_actions import EndpointsResult
    from guardian_cli.lifecycle.release.execute import Release
    from guardian_cli.lifecycle.release.history import Change
    from guardian_cli.lifecycle.setup import Setup


def show_releases(
    console: Console, releases: Sequence[Release], *, as_json: bool, named: bool
) -> None:
    """Show one release, or all of a deploy that named no model."""
    for release in releases:
        for hint in release.hints:
            console.note(f"hint: {hint}")
    if as_json:
        one = named and len(releases) == 1
        document = release_document(releases[0]) if one else releases_document(releases)
        console.result(to_text(document))
        return
    for release in releases:
        console.show(release_table(release))


def show_history(console: Console, model: str, changes: Sequence[Change], *, as_json: bool) -> None:
    """Show the changes of a model's endpoint."""
    if as_json:
        console.result(to_text(history_document(model, changes)))
    else:
        console.show(history_table(changes))


def show_setup(console: Console, target: str, done: Setup, *, as_json: bool, check: bool) -> None:
    """Show a workspace."""
    created = () if check else done.created
    if as_json:
        document = setup_document(target, done.workspace, created, dry_run=done.dry_run)
        console.result(to_text(document))
    else:
        bills = target != "local"
        console.show(setup_table(done.workspace, created, dry_run=done.dry_run, bills=bills))


def show_endpoints(
    console: Console, target: str, result: EndpointsResult, *, as_json: bool
) -> None:
    """Show endpoints, with their checks and keys where those were asked for."""
    if as_json:
        document = endpoints_document(
            target, result.sights, probes=result.probes, keys=result.keys, plan=result.plan
        )
        console.result(to_text(document))
        return
    for step in result.plan:
        console.result(f"would {step}")
    console.show(endpoints_table(result.sights, probes=result.probes, keys=result.keys))
