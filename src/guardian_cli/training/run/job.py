"""A training as a job on a cluster: data and request from folders, results into folders.

    python -m guardian_cli.training.run.job request.json [--data PATH]
        --model FOLDER --report FOLDER

Whoever sent it registers the model; the runs are logged where MLFLOW_TRACKING_URI says.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.console import Console
from guardian_cli.errors import GuardianError
from guardian_cli.lifecycle.platform import ModelVersion, Registry, Tracking
from guardian_cli.settings import count_cores, load_settings
from guardian_cli.training.run.train import TrainRequest, train_model
from guardian_cli.training.run.train_all import TRAINING_FOLDER, make_tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPORT_NAME, TAGS_NAME = "report.json", "tags.json"


class OutputFolders(Registry):
    """A registry that only puts what it is given into the job's outputs."""

    def __init__(self, model: Path, report: Path, tracking_uri: str) -> None:
        self._model, self._report, self._tracking_uri = model, report, tracking_uri

    def versions(self, model: str) -> Sequence[ModelVersion]:  # noqa: ARG002 - it keeps none
        """None: a job makes one."""
        return []

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Copy the model folder to the output, and its tags beside the report."""
        shutil.copytree(folder, self._model, dirs_exist_ok=True)
        self._report.mkdir(parents=True, exist_ok=True)
        (self._report / TAGS_NAME).write_text(json.dumps(dict(tags)), encoding="utf-8")
        return ModelVersion(model, "job", tags)

    def fetch(self, model: str, version: str, destination: Path) -> None:
        """Nothing: it keeps none."""

    def tracking(self) -> Tracking:
        """Where the runs go."""
        return Tracking(self._tracking_uri, takes_artifacts=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the request says; the exit code is guardian's own."""
    parser = argparse.ArgumentParser(prog="guardian_cli.training.run.job")
    parser.add_argument("request", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args(arguments)
    console = Console()
    try:
        wanted = json.loads(options.request.read_text(encoding="utf-8"))
        request = TrainRequest(**wanted, data=options.data)
        settings = load_settings()
        folder = TRAINING_FOLDER.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        uri = settings.tracking_uri or f"sqlite:///{folder / 'mlflow.db'}"
        registry = OutputFolders(options.model, options.report, uri)
        with make_tools(settings, request.model, console) as tools:
            report = train_model(request, registry, folder, tools)
    except GuardianError as error:
        console.error(str(error), error.hint)
        return error.exit_code
    text = json.dumps(dataclasses.asdict(report), default=str)
    (options.report / REPORT_NAME).write_text(text, encoding="utf-8")
    console.note(f"trained {request.model} on {count_cores()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
