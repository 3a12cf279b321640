"""`guardian evaluate LABELS.csv`"""

from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands import _options as options
from guardian_cli.commands._options import Common, common_options


@common_options()
def evaluate(
    common: Common,
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS.csv",
            help="path,category,label[,group]; positive is a label of 1 or the category's name.",
        ),
    ],
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="FILE", help="Results of a scan, instead of scanning."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="OUT.yaml",
            help="Fit the scale and the thresholds, into a fragment of guardian.yaml.",
        ),
    ] = None,
    false_alarms: Annotated[
        str | None,
        typer.Option(
            "--false-alarms",
            metavar="RATE",
            help="Clean videos that may be flagged, for --calibrate. [default: 1%]",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw ROC, reliability and scores."),
    ] = None,
    mistakes: Annotated[
        Path | None,
        typer.Option(
            "--mistakes",
            metavar="FILE.csv",
            help="Write the labels that verdicts do not agree with, as train --data reads them.",
        ),
    ] = None,
    every: options.EVERY = None,
    decode: options.DECODE = options.Decode.fast,
    model: options.MODEL = None,
    pretrained: options.PRETRAINED = None,
    model_config: options.MODEL_CONFIG = None,
    device: options.DEVICE = options.Device.auto,
    precision: options.PRECISION = options.Precision.auto,
    no_endpoints: options.NO_ENDPOINTS = False,
    offline: options.OFFLINE = False,
    deployment: options.DEPLOYMENT = None,
    workers: options.WORKERS = None,
    resume: options.RESUME = None,
) -> int:
    """Say how good verdicts are on labelled videos, and set thresholds by them.

    Exit codes: 0 evaluated, 3 a labelled file could not be scanned, 2 usage or configuration, 5
    model weights or something else is not installed.
    """
    from guardian_cli.console import Console
    from guardian_cli.errors import UsageError
    from guardian_cli.evaluation.run import EvaluateRequest, run_evaluation
    from guardian_cli.scanning.pipeline import ScanRequest
    from guardian_cli.settings import load_settings, scan_flags

    if false_alarms is not None and calibrate is None:
        raise UsageError(
            "--false-alarms has no effect without --calibrate", hint="--calibrate OUT.yaml"
        )
    flags = scan_flags(every=every, model=model, pretrained=pretrained)
    scan = ScanRequest(
        sources=(),
        flags=flags,
        decode=decode.value,
        model_config=model_config,
        device=device.value,
        precision=precision.value,
        no_endpoints=no_endpoints,
        offline=offline,
        deployment=deployment,
        workers=workers,
        resume=resume,
    )
    # The default stands here, so that --false-alarms without --calibrate can be noticed.
    rate = false_alarms or "1%"
    request = EvaluateRequest(
        labels, results, calibrate, rate, plot, mistakes, as_json=common.as_json
    )
    settings = load_settings(common.config, flags=flags)
    return run_evaluation(request, scan, settings, Console(quiet=common.quiet))
