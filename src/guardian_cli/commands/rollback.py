"""`guardian rollback MODEL`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import (
    DRY_RUN,
    TARGET,
    TIMEOUT,
    WHY,
    open_bench,
    seconds,
)
from guardian_cli.commands._options import CONFIG, DEBUG, JSON, QUIET


def rollback(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of guardian.yaml.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="N", help="A version that is still deployed.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="List the changes.")] = False,
    why: WHY = None,
    timeout: TIMEOUT = "30m",
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
    target: TARGET = None,
    config: CONFIG = None,
    quiet: QUIET = False,
    debug: DEBUG = False,
) -> None:
    """Take a live challenger off, or bring the previous champion back; again undoes it."""
    from guardian_cli.lifecycle.clock import SystemClock
    from guardian_cli.lifecycle.release.execute import Releases
    from guardian_cli.lifecycle.release.planner import RollbackGoal
    from guardian_cli.reports.lifecycle import show_history, show_releases

    timeout_s = seconds(timeout)
    bench = open_bench(context, config, target, quiet=quiet)
    [chosen] = bench.models(model)
    releases = Releases(bench.platform, SystemClock(), bench.console, timeout_s)
    if history:
        changes = releases.history(chosen.name, chosen.endpoint)
        show_history(bench.console, chosen.name, changes, as_json=as_json)
        return
    goal = RollbackGoal(chosen.name, chosen.endpoint, to, why)
    releases.rollback(
        goal,
        dry_run=dry_run,
        show=lambda release: show_releases(bench.console, [release], as_json=as_json, named=True),
    )
