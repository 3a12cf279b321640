"""`guardian monitor RESULTS... --reference REF`."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands._options import Common, common_options


@common_options()
def monitor(
    common: Common,
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Results files (--json, --jsonl) or stores."),
    ],
    reference: Annotated[
        list[Path],
        typer.Option(
            "--reference", metavar="REF", help="Results or stores to compare with. May be repeated."
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="day|N", help="Also day by day, or in chunks of N sources."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with time-lines.")
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option("--prometheus", metavar="FILE", help="Write metrics in the textfile format."),
    ] = None,
) -> None:
    """Watch verdicts, scores, health and traffic against a reference.

    Exit codes: 0 nothing to tell (or too little data to), 12 an alert, 2 usage or configuration.
    """
    from guardian_cli.console import Console
    from guardian_cli.errors import GateError
    from guardian_cli.files import check_outputs
    from guardian_cli.reports.formats import write_report
    from guardian_cli.reports.monitor import prometheus_text, show_monitoring
    from guardian_cli.reports.monitor_page import page_text
    from guardian_cli.settings import load_settings
    from guardian_cli.watching.monitor import monitor as compare
    from guardian_cli.watching.reading import read_observations

    settings, console = load_settings(common.config), Console(quiet=common.quiet)
    for warning in settings.warnings:
        console.warn(warning)
    check_outputs([one for one in (html, prometheus) if one], read=[*results, *reference])
    watched = read_observations(results, settings, console.note)
    usual = read_observations(reference, settings, console.note)
    found = compare(watched, usual, settings.config.monitor, by=by, draw=html is not None)
    names = [str(one) for one in results], [str(one) for one in reference]
    # Files before the alert is raised: they are what somebody looks at then.
    if html is not None:
        write_report(page_text(found, *names), html)
    if prometheus is not None:
        write_report(prometheus_text(found, time.time()), prometheus)
    show_monitoring(console, found, *names, as_json=common.as_json)
    if found.alerts:
        again = shlex.join((*names[0], "--reference", names[1][0]))
        hint = f"guardian monitor {again} --html monitor.html"
        raise GateError(found.summary, hint=hint)
