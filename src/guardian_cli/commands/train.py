"""`guardian train [MODEL]`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from guardian_cli.commands._lifecycle import open_context
from guardian_cli.commands._options import Common, common_options


class BackboneChoice(StrEnum):
    """What sees the pictures."""

    auto = "auto"
    clip = "clip"
    tiny = "tiny"


@common_options(target=True)
def train(
    common: Common,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Default: all.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="A folder with one sub-folder per class, or a CSV path,label[,group][,split]."
            " [default: simulated data]",
        ),
    ] = None,
    simulated: Annotated[
        bool,
        typer.Option(
            "--simulated",
            help="Train on simulated data, also where a version from real data exists.",
        ),
    ] = False,
    positive: Annotated[
        str | None,
        typer.Option(
            "--positive", metavar="NAME", help="The class to find. [default: by its name]"
        ),
    ] = None,
    backbone: Annotated[
        BackboneChoice,
        typer.Option("--backbone", help="auto: CLIP where its weights can be had, else tiny."),
    ] = BackboneChoice.auto,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, metavar="N", help="Most epochs to train.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Random seed.")] = 0,
    compute: Annotated[
        str | None, typer.Option("--compute", metavar="NAME", help="Azure: train as a job there.")
    ] = None,
) -> None:
    """Train a model on images or videos and register it as a new version."""
    from guardian_cli.reports.training import show_trainings
    from guardian_cli.training.run.train_all import TrainOptions, train_all

    context = open_context(common)
    options = TrainOptions(data, positive, backbone.value, epochs, seed, compute, simulated)
    models = context.models(model)
    platform, console, named = context.platform, context.console, model is not None
    reports, failure = train_all(platform, context.settings, models, options, console)
    if reports:
        show_trainings(console, platform.target, reports, as_json=common.as_json, named=named)
    # Of several models those before the failure are trained and shown.
    if failure is not None:
        raise failure
