"""`guardian scan SOURCE...`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands import _options as options
from guardian_cli.commands._options import Common, common_options, read_outputs, split_names


@common_options()
def scan(
    common: Common,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Videos, images, folders, globs, http(s)://, s3://, gs://, az://, hf:// and "
            "rtsp:// addresses; - reads a list.",
        ),
    ],
    every: options.EVERY = None,
    categories: Annotated[
        str | None,
        typer.Option(
            "--categories",
            metavar="NAME,NAME",
            help="What to score: nsfw, violence, gore, weapons, self-harm, drugs, hate-symbols, "
            "alcohol, tobacco, or a category of guardian.yaml. [default: nsfw,violence and those]",
        ),
    ] = None,
    as_jsonl: options.JSONL = False,
    output: options.OUTPUT = None,
    report: options.REPORT = None,
    no_stills: Annotated[
        bool, typer.Option("--no-stills", help="Keep no picture in the report.")
    ] = False,
    frames: Annotated[
        bool, typer.Option("--frames", help="Put every scored frame into the JSON.")
    ] = False,
    decode: options.DECODE = options.Decode.fast,
    model: options.MODEL = None,
    pretrained: options.PRETRAINED = None,
    model_config: options.MODEL_CONFIG = None,
    device: options.DEVICE = options.Device.auto,
    precision: options.PRECISION = options.Precision.auto,
    no_endpoints: options.NO_ENDPOINTS = False,
    offline: options.OFFLINE = False,
    deployment: options.DEPLOYMENT = None,
    fail_on: options.FAIL_ON = options.FailOn.review,
    workers: options.WORKERS = None,
    resume: options.RESUME = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="DIR",
            help="Keep features and scores of each frame, for guardian replay; no picture.",
        ),
    ] = None,
    for_s: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="How long to watch an rtsp:// stream."),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            "--max-bytes",
            min=1,
            metavar="BYTES",
            help="Fetch nothing larger than this. [default: 16 GiB]",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            metavar="ray|ray://HOST:PORT",
            help="Scan on a Ray cluster; ray starts one here where none runs.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Scan part I of N, the same on every machine; guardian merge joins them.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="Decoding time for one source; what was seen by then is judged as incomplete. "
            "[default: the larger of 600 and twice its length]",
        ),
    ] = None,
) -> int:
    """Scan videos and images: allow, review or block, with evidence.

    Exit codes: 0 allow, 10 review, 11 block, 3 an input could not be scanned, 2 usage or
    configuration, 4 a model's registry does not answer, 5 model weights or something else is not
    installed, 130 interrupted.
    """
    from guardian_cli.console import Console
    from guardian_cli.scanning.pipeline import MAX_DOWNLOAD_BYTES, ScanRequest, run_scan
    from guardian_cli.scanning.shards import Shard
    from guardian_cli.settings import load_settings, scan_flags

    output_format = common.format(as_jsonl=as_jsonl)
    flags = scan_flags(every=every, timeout_s=timeout, model=model, pretrained=pretrained)
    settings = load_settings(common.config, flags=flags, categories=split_names(categories))
    request = ScanRequest(
        sources=tuple(sources),
        flags=flags,
        output=output_format,
        reports=tuple(read_outputs(output)),
        report=report,
        stills=not no_stills,
        frames=frames,
        decode=decode.value,
        model_config=model_config,
        device=device.value,
        precision=precision.value,
        no_endpoints=no_endpoints,
        offline=offline,
        deployment=deployment,
        fail_on=fail_on.value,
        workers=workers,
        resume=resume,
        store=store,
        for_s=for_s,
        # Not the option's own default: --help would have to import the pipeline for it.
        max_bytes=max_bytes or MAX_DOWNLOAD_BYTES,
        cluster=cluster,
        shard=Shard.parse(shard) if shard is not None else None,
    )
    console = Console(quiet=common.quiet)
    if cluster is None:
        return run_scan(request, settings, console)
    # Here, since Ray's room imports more than a scan on one machine needs.
    from guardian_cli.cluster.session import ClusterSession

    return run_scan(request, settings, console, ClusterSession)
