"""`guardian setup`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import DRY_RUN, NO_WAIT, TARGET, open_bench, write_target
from guardian_cli.commands._options import CONFIG, DEBUG, JSON, QUIET


def setup(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only look; exit code 4 when it is not there.")
    ] = False,
    app_insights: Annotated[
        str,
        typer.Option("--app-insights", metavar="new|none|ID", help="Azure: application insights."),
    ] = "new",
    no_wait: NO_WAIT = False,
    write_config: Annotated[
        bool, typer.Option("--write-config", help="Put target and names into guardian.yaml.")
    ] = False,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
    target: TARGET = None,
    config: CONFIG = None,
    quiet: QUIET = False,
    debug: DEBUG = False,
) -> None:
    """Make the workspace, or say that it is there."""
    from guardian_cli.errors import PlatformError
    from guardian_cli.lifecycle.platform import WorkspaceOptions
    from guardian_cli.lifecycle.setup import set_up
    from guardian_cli.reports.lifecycle import show_setup

    bench = open_bench(context, config, target, quiet=quiet)
    models = bench.models(None)
    options = WorkspaceOptions(app_insights)
    change = not (check or dry_run)
    done = set_up(bench.platform, options, models, bench.console, change=change, wait=not no_wait)
    show_setup(bench.console, bench.platform.target, done, as_json=as_json, check=check)
    if write_config:
        write_target(bench, dry_run=check or dry_run)
    if check and not done.workspace.complete:
        missing = ", ".join(done.workspace.missing)
        raise PlatformError(f"not there: {missing}", hint="guardian setup")
