"""`guardian report RESULTS DIR`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands._options import Common, common_options
from guardian_cli.commands.scan import read_output


@common_options()
def report(
    common: Common,
    results: Annotated[
        Path,
        typer.Argument(metavar="RESULTS", help="Results of scan: JSON lines, or a JSON document."),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the evidence sheet goes: DIR/index.html.")
    ],
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            metavar="FORMAT=FILE",
            help="Write a file too: json, jsonl, csv, sarif, junit, md, table. May be repeated.",
        ),
    ] = None,
) -> int:
    """Make the evidence sheet, and other formats, of stored results; it then has no stills.

    Exit codes: 0 written, 2 usage, unreadable results or a file that cannot be written.
    """
    from guardian_cli.console import Console
    from guardian_cli.evidence.stored import report_stored

    console = Console(quiet=common.quiet)
    outputs = [read_output(text) for text in output or ()]
    return report_stored(results, folder, outputs, console, as_json=common.as_json)
