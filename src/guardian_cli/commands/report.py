"""`guardian report RESULTS DIR`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands import _options as options
from guardian_cli.commands._options import Common, common_options, read_outputs


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
    output: options.OUTPUT = None,
) -> int:
    """Make the evidence sheet, and other formats, of stored results; it then has no stills.

    Exit codes: 0 written, 2 usage, unreadable results or a file that cannot be written.
    """
    from guardian_cli.console import Console
    from guardian_cli.evidence.stored import report_stored

    console = Console(quiet=common.quiet)
    return report_stored(results, folder, read_outputs(output), console, as_json=common.as_json)
