"""`guardian merge PART...`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands import _options as options
from guardian_cli.commands._options import Common, common_options, read_outputs


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
    output: options.OUTPUT = None,
    report: options.REPORT = None,
    fail_on: options.FAIL_ON = options.FailOn.review,
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
        reports=read_outputs(output),
        sheet=report,
        fail_on=fail_on.value,
    )
