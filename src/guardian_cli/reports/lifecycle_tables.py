"""What a person sees of deployments, changes and workspaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from guardian_cli.lifecycle.endpoints import Sight
    from guardian_cli.lifecycle.platform import Probe, Workspace
    from guardian_cli.lifecycle.release.execute import Release
    from guardian_cli.lifecycle.release.figures import Figures
    from guardian_cli.lifecycle.release.history import Change

_ROLE_STYLES = {"champion": "bold green", "challenger": "yellow", "previous": "dim"}
_STATE_STYLES = {
    "failed": "bold red",
    "stopped": "bold red",
    "updating": "yellow",
    "not deployed": "dim",
}


def endpoints_table(
    sights: Sequence[Sight],
    *,
    probes: Mapping[str, Mapping[str, Probe]] | None = None,
    keys: Mapping[str, str] | None = None,
) -> RenderableType:
    """Return a block for each endpoint: its address and state, and a row for each deployment."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for sight in sights:
        head = Text.assemble(
            (sight.model, "bold"), "  ", (sight.state, _STATE_STYLES.get(sight.state, "green"))
        )
        # Addresses and keys are copied from here: they must not wrap.
        lines: list[RenderableType] = [head]
        if sight.deployed:
            lines.append(Text(f"  {sight.uri}", no_wrap=True, overflow="ignore"))
        if keys and sight.name in keys:
            lines.append(Text(f"  key {keys[sight.name]}", no_wrap=True, overflow="ignore"))
        if sight.deployed:
            lines.append(_rows_table(sight, (probes or {}).get(sight.name)))
        parts += [*([""] if parts else []), *lines]
    return Group(*parts) if parts else Text("no endpoints")


def release_table(release: Release) -> RenderableType:
    """Return a row for each deployment, as it was and as it is, or with `dry_run` would be."""
    from rich.console import Group
    from rich.text import Text

    now = "would be" if release.dry_run else "now"
    table = _table("deployment", "role", "was", now, "state")
    before = {row.name: row for row in release.before}
    after = {row.name: row for row in release.after}
    for name in dict.fromkeys([*before, *after]):
        row = after.get(name)
        was = f"{before[name].traffic}%" if name in before else "-"
        role = (row.role or "") if row else ""
        table.add_row(
            Text(name),
            Text(role, style=_ROLE_STYLES.get(role, "")),
            was,
            f"{row.traffic}%" if row else "-",
            row.state if row else "deleted",
        )
    title = Text.assemble((release.model, "bold"), f"  {release.action}")
    steps = [Text(f"  would {step}") for step in release.steps] if release.dry_run else []
    if release.dry_run and not steps:
        steps = [Text("  would change nothing")]
    return Group(title, *steps, table, *_figures_table(release.figures))


def _figures_table(figures: Sequence[Figures]) -> list[RenderableType]:
    """Return a column for the version that is deployed, and one for the champion beside it."""
    from rich.text import Text

    if all(one.auc is None for one in figures):
        return []
    roles = ("this version", "champion")
    names = [f"{role} ({one.version})" for role, one in zip(roles, figures, strict=False)]
    table = _table("by its training", *names)

    def show(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = {
        "AUC": [f"{show(one.auc)} ({show(one.auc_low)}-{show(one.auc_high)})" for one in figures],
        "metadata alone": [show(one.metadata_auc) for one in figures],
        "recall": [show(one.recall) for one in figures],
        "data": [_plain(one.data or "-").rpartition("/")[2] for one in figures],
    }
    for name, cells in rows.items():
        table.add_row(name, *(Text(cell) for cell in cells))
    return ["", table]


def history_table(changes: Sequence[Change]) -> RenderableType:
    """Return a row for each change, newest first."""
    from rich.text import Text

    if not changes:
        return Text("no changes yet")
    table = _table("when", "who", "action", "from", "to", "why")
    for one in changes:
        cells = (one.when, one.who, one.action, one.source or "-", one.target or "-", one.why or "")
        table.add_row(*(Text(_plain(cell)) for cell in cells))
    return table


def setup_table(
    workspace: Workspace, created: Sequence[str], *, dry_run: bool, bills: bool
) -> RenderableType:
    """Return a line for each part of a workspace, and what it costs where it `bills`."""
    from rich.console import Group
    from rich.text import Text

    word = "would be created" if dry_run else "created"
    table = _table("part", "state")
    for part in workspace.existing:
        table.add_row(Text(_plain(part)), "exists")
    for part in created:
        table.add_row(Text(_plain(part)), word)
    for part in workspace.missing:
        if part not in created:
            table.add_row(Text(_plain(part)), Text("missing", style="bold red"))
    cost = f"  about {workspace.monthly_cost_usd:.2f} USD a month" if bills else ""
    title = Text.assemble((_plain(workspace.name), "bold"), cost)
    return Group(title, table)


def _rows_table(sight: Sight, probes: Mapping[str, Probe] | None) -> RenderableType:
    from rich.text import Text

    if not sight.rows:
        return Text("  no deployments")
    names = ["  deployment", "version", "role", "traffic", "state"]
    table = _table(*names, *([] if probes is None else ["check"]))
    for row in sight.rows:
        table.add_row(
            Text(f"  {row.name}"),
            row.version or "-",
            Text(row.role or "-", style=_ROLE_STYLES.get(row.role or "", "")),
            f"{row.traffic}%",
            Text(row.state, style=_STATE_STYLES.get(row.state, "")),
            *([_check_cell(probes[row.name])] if probes and row.name in probes else []),
        )
    return table


def _check_cell(probe: Probe) -> Text:
    from rich.text import Text

    if probe.good:
        return Text(f"ok, score {probe.score:.3f}, {probe.latency_ms or 0:.0f} ms")
    return Text(_plain(probe.problem or ""), style="bold red")


def _table(*names: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        right = name in {"traffic", "was", "now", "would be"}
        wraps = name in {"why", "check"}
        table.add_column(name, no_wrap=not wraps, justify="right" if right else "left")
    return table


def _plain(text: str) -> str:
    """Return text in which nothing can steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
