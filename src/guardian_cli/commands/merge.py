"""`guardian merge PART...`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands._options import FAIL_ON, Common, FailOn, common_options
from guardian_cli.commands.scan import read_output


@common_options()
def merge(
    common: Common,
    parts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PART", help="Results of scan --shard, or of any scan; or folders of them."
        ),
    ],
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON line per source.")] = False,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            metavar="FORMAT=FILE",
            help="Write a file as well, in any format of scan. May be repeated.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="DIR", help="Write an evidence sheet: DIR/index.html."),
    ] = None,
    fail_on: FAIL_ON = FailOn.review,
) -> int:
    """Join the results of several machines: one for each source, and what is missing.

    Exit codes: as of one scan; 3 also where a shard or a source of one has no result.
    """
    from guardian_cli.console import Console
    from guardian_cli.scanning.merge import run_merge

    output_format = common.format(as_jsonl=as_jsonl)
    return run_merge(
        parts,
        Console(quiet=common.quiet),
        output=output_format,
        reports=[read_output(text) for text in output or ()],
        sheet=report,
        fail_on=fail_on.value,
    )
