"""`guardian deploy [MODEL]`."""

from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import (
    DRY_RUN,
    NO_WAIT,
    TIMEOUT,
    WHY,
    open_context,
    seconds,
)
from guardian_cli.commands._options import Common, common_options

# As lifecycle.platform has it, which --help has no time to load.
REQUEST_TIMEOUT_S = 60.0


@common_options(target=True)
def deploy(
    common: Common,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of guardian.yaml. [default: all]")
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="N", help="Version to deploy. [default: the newest]"),
    ] = None,
    traffic: Annotated[
        int | None,
        typer.Option(
            "--traffic",
            min=0,
            max=100,
            metavar="PERCENT",
            help="Traffic of a challenger. [default: 10]",
        ),
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it champion, with all traffic.")
    ] = False,
    allow_simulated: Annotated[
        bool,
        typer.Option(
            "--allow-simulated",
            help="Let a version from simulated data take traffic from a real one.",
        ),
    ] = False,
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="Promote without the model's gate; needs --why.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what has no role and no traffic.")
    ] = False,
    instance_type: Annotated[
        str | None,
        typer.Option("--instance-type", metavar="SIZE", help="[default: the model's section]"),
    ] = None,
    instance_count: Annotated[
        int | None,
        typer.Option("--instance-count", min=1, metavar="N", help="[default: the model's section]"),
    ] = None,
    request_timeout: Annotated[
        float,
        typer.Option(
            "--request-timeout",
            min=1,
            max=180,
            metavar="SECONDS",
            help="Azure: limit for one request.",
        ),
    ] = REQUEST_TIMEOUT_S,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Leave a deployment that failed.")
    ] = False,
    why: WHY = None,
    timeout: TIMEOUT = "30m",
    no_wait: NO_WAIT = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Deploy a version: the first as champion, a later one as challenger beside it."""
    from guardian_cli.lifecycle.deploy import deploy_all
    from guardian_cli.lifecycle.release.execute import Releases
    from guardian_cli.lifecycle.release.plan import DeployRequest
    from guardian_cli.reports.lifecycle import show_releases
    from guardian_cli.watching.gate import PromotionGate

    timeout_s = seconds(timeout)
    context = open_context(common)
    releases = Releases(context.platform, context.console, timeout_s, keep_failed, no_wait)
    request = DeployRequest(
        # In the order of the class: a verb's options become a request as they stand.
        version, traffic, promote, prune, why, dry_run, instance_type, instance_count,
        request_timeout, allow_simulated, no_gate,
    )  # fmt: skip
    named = model is not None
    gate = PromotionGate(context.platform, context.settings, context.console)
    done, failure = deploy_all(releases, context.models(model), request, named=named, gate=gate)
    show_releases(context.console, done, as_json=common.as_json, named=named)
    if failure is not None:
        raise failure
