"""`guardian setup`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import DRY_RUN, TARGET, open_bench
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
    from guardian_cli.lifecycle.setting_up import set_up
    from guardian_cli.reports.lifecycle import show_setup

    bench = open_bench(context, config, target, quiet=quiet)
    options = WorkspaceOptions(bench.settings.config.azure.location, app_insights)
    done = set_up(bench.platform, options, bench.console, change=not (check or dry_run))
    show_setup(bench.console, bench.platform.target, done, as_json=as_json, check=check)
    if check and not done.workspace.complete:
        missing = ", ".join(done.workspace.missing)
        raise PlatformError(f"not there: {missing}", hint="guardian setup")
