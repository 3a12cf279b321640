"""`guardian rollback MODEL`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import DRY_RUN, TIMEOUT, WHY, open_context, seconds
from guardian_cli.commands._options import Common, common_options


@common_options(target=True)
def rollback(
    common: Common,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of guardian.yaml.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="N", help="A version that is still deployed.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="List the changes.")] = False,
    why: WHY = None,
    timeout: TIMEOUT = "30m",
    dry_run: DRY_RUN = False,
) -> None:
    """Take a live challenger off, or bring the previous champion back; again undoes it."""
    from guardian_cli.lifecycle.release.execute import Releases
    from guardian_cli.lifecycle.release.plan import RollbackGoal
    from guardian_cli.reports.lifecycle import show_history, show_releases

    timeout_s = seconds(timeout)
    context = open_context(common)
    console, as_json = context.console, common.as_json
    [chosen] = context.models(model)
    releases = Releases(context.platform, console, timeout_s)
    if history:
        changes = releases.history(chosen)
        show_history(console, chosen.name, changes, as_json=as_json)
        return
    goal = RollbackGoal(chosen, to, why)
    # Shown from inside, before the rollback counts as finished: see Releases.rollback.
    releases.rollback(
        goal,
        dry_run=dry_run,
        show=lambda release: show_releases(console, [release], as_json=as_json, named=True),
    )
