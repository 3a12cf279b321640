"""`guardian setup`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import DRY_RUN, NO_WAIT, LifecycleContext, open_context
from guardian_cli.commands._options import Common, common_options


@common_options(target=True)
def setup(
    common: Common,
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
) -> None:
    """Make the workspace, or say that it is there."""
    from guardian_cli.errors import PlatformError
    from guardian_cli.lifecycle.platform import WorkspaceOptions
    from guardian_cli.lifecycle.setup import set_up
    from guardian_cli.reports.lifecycle import show_setup

    context = open_context(common)
    platform, console, models = context.platform, context.console, context.models(None)
    options = WorkspaceOptions(app_insights)
    change = not (check or dry_run)
    done = set_up(platform, options, models, console, change=change, wait=not no_wait)
    show_setup(console, platform.target, done, as_json=common.as_json, check=check)
    if write_config:
        _write_target(context, change=change)
    # Last: what is there is shown all the same.
    if check and not done.workspace.complete:
        missing = ", ".join(done.workspace.missing)
        raise PlatformError(f"not there: {missing}", hint="guardian setup")


def _write_target(context: LifecycleContext, *, change: bool) -> None:
    """Put the target, and Azure's names where it is azure, into the settings file."""
    from guardian_cli.settings_file import write_keys

    config, path = context.settings.config, context.settings.file
    values: dict[tuple[str, ...], str] = {("target",): context.platform.target}
    if context.platform.target == "azure":
        named = config.azure.model_dump(exclude_none=True)
        values |= {("azure", name): str(value) for name, value in named.items()}
    names = ", ".join(".".join(keys) for keys in values)
    if not change:
        context.console.note(f"would set {names} in {path}")
    else:
        changed = write_keys(path, values)
        context.console.note(f"{path}: {names} {'set' if changed else 'are set already'}")
