"""`guardian replay DIR`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands import _options as options
from guardian_cli.commands._options import Common, common_options, read_outputs, split_names


@common_options()
def replay(
    common: Common,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What guardian scan --store DIR has kept.")
    ],
    categories: Annotated[
        str | None,
        typer.Option(
            "--categories",
            metavar="NAME,NAME",
            help="What to judge, as with scan. [default: nsfw,violence and those of guardian.yaml]",
        ),
    ] = None,
    as_jsonl: options.JSONL = False,
    output: options.OUTPUT = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Put every stored frame into the JSON.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", help="open_clip architecture. [default: the store's]")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            "--pretrained",
            metavar="TAG|PATH",
            help="Where the store's own weights are, for new prompts. [default: the store's tag]",
        ),
    ] = None,
    model_config: options.MODEL_CONFIG = None,
    fail_on: options.FAIL_ON = options.FailOn.review,
) -> int:
    """Decide again from stored features and scores, without decoding and without the model.

    The settings count as they are now: thresholds, policy, fusion, categories, prompts. What they
    ask for and nobody stored is marked needs_rescan, and is review at least. Exit codes as of scan:
    0 allow, 10 review, 11 block, 3 a source could not be scanned, 2 usage or configuration,
    5 the weights for new prompts are missing, 130 interrupted.
    """
    from guardian_cli.console import Console
    from guardian_cli.settings import load_settings, scan_flags
    from guardian_cli.store.replay import ReplayRequest, run_replay

    output_format = common.format(as_jsonl=as_jsonl)
    flags = scan_flags(model=model, pretrained=pretrained)
    settings = load_settings(common.config, flags=flags, categories=split_names(categories))
    request = ReplayRequest(
        folder=folder,
        output=output_format,
        reports=tuple(read_outputs(output)),
        frames=frames,
        model_config=model_config,
        fail_on=fail_on.value,
    )
    return run_replay(request, settings, Console(quiet=common.quiet))
