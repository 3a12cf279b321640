"""`guardian doctor`."""

from typing import Annotated

import typer

from guardian_cli.commands import _options as options
from guardian_cli.commands._options import Common, common_options


@common_options()
def doctor(
    common: Common,
    fetch: Annotated[
        bool,
        typer.Option(
            "--fetch-weights",
            help="Download CLIP's weights, for a machine that will have no network.",
        ),
    ] = False,
    model: options.MODEL = None,
    pretrained: options.PRETRAINED = None,
) -> None:
    """Say what is missing for a scan, and what to type.

    Looks at the configuration, libraries, weights, device and disk, and lets each endpoint score a
    picture. Exit codes: 0 ready, 5 something is missing or answers wrong, 2 usage.
    """
    from guardian_cli.console import Console
    from guardian_cli.detectors.base import DetectorOptions
    from guardian_cli.doctor import diagnose, fetch_weights
    from guardian_cli.lifecycle.model_files import version_finder
    from guardian_cli.reports.doctor import doctor_document, doctor_text
    from guardian_cli.settings import load_settings, scan_flags

    console = Console(quiet=common.quiet)
    flags = scan_flags(model=model, pretrained=pretrained)
    settings = load_settings(common.config, flags=flags)
    if fetch:
        path = fetch_weights(settings, console.note)
        console.note(f"the weights are in {path}")
    told = DetectorOptions(find_version=version_finder(settings, console))
    diagnosis = diagnose(settings, told)
    console.result(doctor_document(diagnosis) if common.as_json else doctor_text(diagnosis))
    diagnosis.raise_for_missing()
