"""The results of deploy, rollback, endpoints and setup: one JSON document, or a table and hints."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps
from guardian_cli.reports.lifecycle_tables import (
    costs_table,
    endpoints_table,
    history_table,
    release_table,
    setup_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.console import Console
    from guardian_cli.lifecycle.cost import Costs
    from guardian_cli.lifecycle.endpoints import EndpointsResult, EndpointStatus
    from guardian_cli.lifecycle.platform import Probe
    from guardian_cli.lifecycle.release.execute import Release
    from guardian_cli.lifecycle.release.history import Change
    from guardian_cli.lifecycle.setup import Setup

Json = dict[str, Any]


def show_releases(
    console: Console, releases: Sequence[Release], *, as_json: bool, named: bool
) -> None:
    """Show one release, or all of a deploy that named no model; JSON is guardian.release/1."""
    for release in releases:
        for hint in release.hints:
            console.note(f"hint: {hint}")
    if as_json:
        parts = [release_part(release) for release in releases]
        # Whoever named a model gets its document, not a list of one.
        content = parts[0] if named and len(parts) == 1 else {"releases": parts}
        console.result(dumps({"schema": "guardian.release/1", **content}, indent=2))
        return
    for release in releases:
        console.show(release_table(release))


def show_history(console: Console, model: str, changes: Sequence[Change], *, as_json: bool) -> None:
    """Show the changes of a model's endpoint, newest first; JSON is guardian.history/1."""
    if not as_json:
        console.show(history_table(changes))
        return
    shown = [
        {
            "when": change.when,
            "who": change.who,
            "action": change.action,
            "from": change.source,
            "to": change.target,
            "why": change.why,
        }
        for change in changes
    ]
    document = {"schema": "guardian.history/1", "model": model, "changes": shown}
    console.result(dumps(document, indent=2))


def show_setup(console: Console, target: str, done: Setup, *, as_json: bool, check: bool) -> None:
    """Show a workspace; JSON is guardian.setup/1, in a dry run with what would be created."""
    created, workspace = () if check else done.created, done.workspace
    if not as_json:
        bills = target != "local"
        console.show(setup_table(workspace, created, dry_run=done.dry_run, bills=bills))
        return
    document = {
        "schema": "guardian.setup/1",
        "target": target,
        "workspace": workspace.name,
        "created": list(created),
        "existing": list(workspace.existing),
        "monthly_cost_usd": workspace.monthly_cost_usd,
        "dry_run": done.dry_run,
    }
    console.result(dumps(document, indent=2))


def show_endpoints(
    console: Console, target: str, result: EndpointsResult, *, as_json: bool
) -> None:
    """Show endpoints, with checks and keys where asked for; JSON is guardian.endpoints/1."""
    if not as_json:
        for step in result.plan:
            console.result(f"would {step}")
        console.show(endpoints_table(result) if result.costs is None else costs_table(result.costs))
        return
    costs = result.costs
    cost_part = (
        {}
        if costs is None
        else {"monthly_cost_usd": round(costs.monthly_usd, 2), "prices_noted": costs.noted}
    )
    document = {
        "schema": "guardian.endpoints/1",
        "target": target,
        "endpoints": [_endpoint_part(one, result) for one in result.endpoints],
        **({"plan": result.plan} if result.plan else {}),
        **cost_part,
    }
    console.result(dumps(document, indent=2))


def release_part(release: Release) -> Json:
    """Return what guardian.release/1 says of one model."""
    return {
        "model": release.model,
        "endpoint": release.endpoint,
        "action": release.action,
        "before": [asdict(row) for row in release.before],
        "after": [asdict(row) for row in release.after],
        "steps": list(release.steps),
        "dry_run": release.dry_run,
        "warnings": list(release.warnings),
        "figures": [asdict(metrics) for metrics in release.metrics],
    }


def _endpoint_part(endpoint: EndpointStatus, result: EndpointsResult) -> Json:
    probes = result.probes.get(endpoint.name, {})
    rows = [
        asdict(row) | ({"check": _check_part(probes[row.name])} if row.name in probes else {})
        for row in endpoint.rows
    ]
    part: Json = {
        "model": endpoint.model,
        "endpoint": endpoint.name,
        "uri": endpoint.uri,
        "state": endpoint.state,
        "deployments": rows,
    }
    if endpoint.name in result.probes:
        part["check"] = _check_part(endpoint.check_result(probes))
    if result.costs is not None:
        part |= _cost_part(result.costs, endpoint.name, rows)
    if endpoint.name in result.keys:
        part["key"] = result.keys[endpoint.name]
    return part


def _cost_part(costs: Costs, endpoint: str, rows: list[Json]) -> Json:
    """Put its cost into each deployment's row, and return what the whole endpoint takes."""
    # Names of deployments are unique within an endpoint only.
    of_it = {one.name: one for one in costs.deployments if one.endpoint == endpoint}
    for row in rows:
        one = of_it[row["name"]]
        row["monthly_cost_usd"] = None if one.monthly_usd is None else round(one.monthly_usd, 2)
        row["instance_type"], row["instance_count"] = one.instance_type, one.instance_count
        row["cheaper"] = one.cheaper and {
            "instance_type": one.cheaper.name,
            "memory_gib": one.cheaper.memory_gib,
            "saves_usd": round(one.saves_usd, 2),
        }
        row["disk_mb"] = None if one.disk_mb is None else round(one.disk_mb, 3)
    memory_mb = costs.memory_mb.get(endpoint)
    # A price that is unknown is left out of the sum: `null` in its row says so.
    known = [one.monthly_usd for one in of_it.values() if one.monthly_usd is not None]
    return {
        "monthly_cost_usd": round(sum(known), 2),
        "memory_mb": None if memory_mb is None else round(memory_mb, 1),
    }


def _check_part(probe: Probe) -> Json:
    return {
        "ok": probe.good,
        "problem": probe.problem,
        "score": probe.score,
        "latency_ms": None if probe.latency_ms is None else round(probe.latency_ms, 3),
    }
