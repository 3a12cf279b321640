"""`guardian retrain [MODEL]`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import DRY_RUN, TIMEOUT, open_context, seconds
from guardian_cli.commands._options import Common, common_options


@common_options(target=True)
def retrain(
    common: Common,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="[default: all with a `retrain` section]"),
    ] = None,
    timeout: TIMEOUT = "30m",
    dry_run: DRY_RUN = False,
) -> None:
    """Train a model that is due, as challenger beside its champion; promote nothing.

    Not due is exit code 0: it may run from cron.
    """
    from guardian_cli.errors import GuardianError
    from guardian_cli.lifecycle.release.execute import Releases
    from guardian_cli.reports.retraining import show_retrainings
    from guardian_cli.watching.retrain import Retrainer, choose_sections

    timeout_s = seconds(timeout)
    context = open_context(common)
    named = model is not None
    due = choose_sections(context.settings, context.models(model), named=named)
    releases = Releases(context.platform, context.console, timeout_s)
    retrainer = Retrainer(context.platform, releases, context.settings, context.console)
    done, failures = [], []
    for one, section in due:
        try:
            done.append((retrainer.look if dry_run else retrainer.retrain)(one, section))
        except GuardianError as error:
            # Of several models the others are looked at all the same.
            if len(due) == 1:
                raise
            context.console.warn(f"{one.name}: {error}")
            failures.append(error)
    target = context.platform.target
    show_retrainings(context.console, target, done, as_json=common.as_json, named=named)
    if failures:
        raise failures[0]
