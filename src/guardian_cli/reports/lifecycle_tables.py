"""What a person sees of deployments, changes and workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.reports.grid import new_table
from guardian_cli.reports.text import number, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from guardian_cli.lifecycle.cost import Costs
    from guardian_cli.lifecycle.endpoints import EndpointsResult, EndpointStatus
    from guardian_cli.lifecycle.platform import Probe, Workspace
    from guardian_cli.lifecycle.release.execute import Release
    from guardian_cli.lifecycle.release.history import Change
    from guardian_cli.lifecycle.release.metrics import VersionMetrics

_ROLE_STYLES = {"champion": "bold green", "challenger": "yellow", "previous": "dim"}
_STATE_STYLES = {
    "failed": "bold red",
    "stopped": "bold red",
    "updating": "yellow",
    "not deployed": "dim",
}


def endpoints_table(result: EndpointsResult) -> RenderableType:
    """Return a block for each endpoint: its address and state, and a row for each deployment."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for one in result.endpoints:
        style = _STATE_STYLES.get(one.state, "green")
        parts += [""] if parts else []
        parts.append(Text.assemble((one.model, "bold"), "  ", (one.state, style)))
        # Addresses and keys are copied from here: they must not wrap.
        if one.deployed:
            parts.append(Text(f"  {one.uri}", no_wrap=True, overflow="ignore"))
        if one.name in result.keys:
            key = result.keys[one.name]
            parts.append(Text(f"  key {key}", no_wrap=True, overflow="ignore"))
        if one.deployed:
            parts.append(_deployments_table(one, result.probes.get(one.name)))
    return Group(*parts) if parts else Text("no endpoints")


def _deployments_table(
    endpoint: EndpointStatus, probes: Mapping[str, Probe] | None
) -> RenderableType:
    from rich.text import Text

    if not endpoint.rows:
        return Text("  no deployments")
    names = ["  deployment", "version", "role", "traffic", "state"]
    table = new_table(
        *names, *([] if probes is None else ["check"]), right={"traffic"}, wraps={"check"}
    )
    for row in endpoint.rows:
        cells = [
            Text(f"  {row.name}"),
            Text(row.version or "-"),
            Text(row.role or "-", style=_ROLE_STYLES.get(row.role or "", "")),
            Text(f"{row.traffic}%"),
            Text(row.state, style=_STATE_STYLES.get(row.state, "")),
        ]
        probe = (probes or {}).get(row.name)
        if probe is not None and probe.good:
            cells.append(Text(f"ok, score {probe.score:.3f}, {probe.latency_ms or 0:.0f} ms"))
        elif probe is not None:
            cells.append(Text(visible(probe.problem or ""), style="bold red"))
        table.add_row(*cells)
    return table


def costs_table(costs: Costs) -> RenderableType:
    """Return a row for each deployment, those that bill without traffic first, and the sum."""
    from rich.console import Group
    from rich.text import Text

    if not costs.deployments:
        return Text("no deployments")
    if costs.noted is None:
        table = new_table("endpoint", "deployment", "traffic", "disk", right={"traffic", "disk"})
        for one in costs.deployments:
            disk = "-" if one.disk_mb is None else f"{one.disk_mb:.1f} MB"
            table.add_row(Text(one.endpoint), Text(one.name), f"{one.traffic}%", disk)
        servers = [
            Text(f"  {name}: " + ("not running" if mb is None else f"{mb:.0f} MB of memory"))
            for name, mb in costs.memory_mb.items()
        ]
        return Group(table, *servers, Text("0 USD a month", style="bold"))
    table = new_table(
        *("endpoint", "deployment", "traffic", "instances", "USD a month", "cheaper"),
        right={"traffic", "USD a month"},
        wraps={"endpoint", "instances", "cheaper"},
    )
    for one in costs.deployments:
        cheaper = ""
        if one.cheaper is not None:
            size = f"{one.cheaper.name} ({one.cheaper.memory_gib:g} GiB)"
            cheaper = f"{size} saves {one.saves_usd:.0f}"
        usd = "unknown" if one.monthly_usd is None else f"{one.monthly_usd:.0f}"
        style = "bold red" if one.is_idle else ""
        instances = f"{one.instance_count or 1} × {one.instance_type or '-'}"
        cells = (one.endpoint, one.name, f"{one.traffic}%", instances, usd, cheaper)
        table.add_row(*(Text(visible(cell), style=style) for cell in cells))
    # What bills and serves nobody is what this table is for.
    idle = sum(one.monthly_usd or 0.0 for one in costs.deployments if one.is_idle)
    total = f"{costs.monthly_usd:.0f} USD a month, {idle:.0f} of it without traffic"
    return Group(table, Text(total, style="bold"))


def release_table(release: Release) -> RenderableType:
    """Return a row for each deployment, as it was and as it is, or with `dry_run` would be."""
    from rich.console import Group
    from rich.text import Text

    now = "would be" if release.dry_run else "now"
    table = new_table("deployment", "role", "was", now, "state", right={"was", now})
    before = {row.name: row for row in release.before}
    after = {row.name: row for row in release.after}
    # In the order that was: rows stay where they were, and new ones follow.
    for name in dict.fromkeys([*before, *after]):
        row = after.get(name)
        role = (row.role or "") if row else ""
        table.add_row(
            Text(name),
            Text(role, style=_ROLE_STYLES.get(role, "")),
            f"{before[name].traffic}%" if name in before else "-",
            f"{row.traffic}%" if row else "-",
            row.state if row else "deleted",
        )
    parts: list[RenderableType] = [Text.assemble((release.model, "bold"), f"  {release.action}")]
    if release.dry_run:
        steps = release.steps or ("change nothing",)
        parts += [Text(f"  would {step}") for step in steps]
    parts.append(table)
    if any(one.auc is not None for one in release.metrics):
        parts += ["", _metrics_table(release.metrics)]
    return Group(*parts)


def _metrics_table(metrics: Sequence[VersionMetrics]) -> Table:
    """Return a column for the version that is deployed, and one for the champion beside it."""
    from rich.text import Text

    roles = ("this version", "champion")
    # Without a champion there is one column.
    names = [f"{role} ({one.version})" for role, one in zip(roles, metrics, strict=False)]
    table = new_table("by its training", *names)
    rows = {
        "AUC": [
            f"{number(one.auc)} ({number(one.auc_low)}-{number(one.auc_high)})" for one in metrics
        ],
        "metadata alone": [number(one.metadata_auc) for one in metrics],
        "recall": [number(one.recall) for one in metrics],
        "data": [visible(one.data or "-").rpartition("/")[2] for one in metrics],
    }
    for name, cells in rows.items():
        table.add_row(name, *map(Text, cells))
    return table


def history_table(changes: Sequence[Change]) -> RenderableType:
    """Return a row for each change, newest first."""
    from rich.text import Text

    if not changes:
        return Text("no changes yet")
    table = new_table("when", "who", "action", "from", "to", "why", wraps={"why"})
    for one in changes:
        cells = (one.when, one.who, one.action, one.source or "-", one.target or "-", one.why or "")
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table


def setup_table(
    workspace: Workspace, created: Sequence[str], *, dry_run: bool, bills: bool
) -> RenderableType:
    """Return a line for each part of a workspace, and what it costs where it `bills`."""
    from rich.console import Group
    from rich.text import Text

    table = new_table("part", "state")
    states = dict.fromkeys(workspace.existing, Text("exists"))
    states |= dict.fromkeys(created, Text("would be created" if dry_run else "created"))
    for part in workspace.missing:
        states.setdefault(part, Text("missing", style="bold red"))
    for part, state in states.items():
        table.add_row(Text(visible(part)), state)
    cost = f"  about {workspace.monthly_cost_usd:.2f} USD a month" if bills else ""
    return Group(Text.assemble((visible(workspace.name), "bold"), cost), table)
