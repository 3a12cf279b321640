"""The JSON of deploy, rollback, endpoints and setup; keys only where they were asked for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.lifecycle.endpoints import verdict_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.lifecycle.endpoints import Sight
    from guardian_cli.lifecycle.platform import Probe, Workspace
    from guardian_cli.lifecycle.release.execute import Release
    from guardian_cli.lifecycle.release.history import Change
    from guardian_cli.lifecycle.release.plan import Row

Json = dict[str, Any]


def to_text(document: Json) -> str:
    """Return a document as text, in ASCII: readable in whatever encoding a pipe has."""
    return json.dumps(document, indent=2, allow_nan=False)


def release_document(release: Release) -> Json:
    """Return guardian.release/1 for one model."""
    return {"schema": "guardian.release/1", **_release(release)}


def releases_document(releases: Sequence[Release]) -> Json:
    """Return guardian.release/1 for a deploy that named no model."""
    return {"schema": "guardian.release/1", "releases": [_release(one) for one in releases]}


def history_document(model: str, changes: Sequence[Change]) -> Json:
    """Return guardian.history/1, newest first."""
    return {
        "schema": "guardian.history/1",
        "model": model,
        "changes": [
            {
                "when": change.when,
                "who": change.who,
                "action": change.action,
                "from": change.source,
                "to": change.target,
                "why": change.why,
            }
            for change in changes
        ],
    }


def endpoints_document(
    target: str,
    sights: Sequence[Sight],
    *,
    probes: Mapping[str, Mapping[str, Probe]] | None = None,
    keys: Mapping[str, str] | None = None,
    plan: Sequence[str] | None = None,
) -> Json:
    """Return guardian.endpoints/1; `keys` are by endpoint, `probes` by endpoint and deployment."""
    document: Json = {
        "schema": "guardian.endpoints/1",
        "target": target,
        "endpoints": [_endpoint(sight, probes or {}, keys or {}) for sight in sights],
    }
    return document | ({"plan": list(plan)} if plan else {})


def setup_document(
    target: str, workspace: Workspace, created: Sequence[str], *, dry_run: bool
) -> Json:
    """Return guardian.setup/1; with `dry_run`, `created` is what would be."""
    return {
        "schema": "guardian.setup/1",
        "target": target,
        "workspace": workspace.name,
        "created": list(created),
        "existing": list(workspace.existing),
        "monthly_cost_usd": workspace.monthly_cost_usd,
        "dry_run": dry_run,
    }


def _release(release: Release) -> Json:
    return {
        "model": release.model,
        "endpoint": release.endpoint,
        "action": release.action,
        "before": [_row(row) for row in release.before],
        "after": [_row(row) for row in release.after],
        "steps": list(release.steps),
        "dry_run": release.dry_run,
        "warnings": list(release.warnings),
        "figures": [asdict(one) for one in release.figures],
    }


def _row(row: Row) -> Json:
    return {
        "name": row.name,
        "version": row.version,
        "role": row.role,
        "traffic": row.traffic,
        "state": row.state,
    }


def _endpoint(
    sight: Sight, probes: Mapping[str, Mapping[str, Probe]], keys: Mapping[str, str]
) -> Json:
    checked = probes.get(sight.name, {})
    shown: Json = {
        "model": sight.model,
        "endpoint": sight.name,
        "uri": sight.uri,
        "state": sight.state,
        "deployments": [
            _row(row) | ({"check": _check(checked[row.name])} if row.name in checked else {})
            for row in sight.rows
        ],
    }
    if sight.name in probes:
        shown["check"] = _check(verdict_on(sight, checked))
    if sight.name in keys:
        shown["key"] = keys[sight.name]
    return shown


def _check(probe: Probe) -> Json:
    return {
        "ok": probe.good,
        "problem": probe.problem,
        "score": probe.score,
        "latency_ms": None if probe.latency_ms is None else round(probe.latency_ms, 3),
    }
