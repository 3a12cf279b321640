"""Training as a command job on a cluster of the workspace: the same code, sent there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
from importlib.metadata import requires
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import guardian_cli
from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.deployments import pinned_environment
from guardian_cli.lifecycle.azure.errors import NotFoundError
from guardian_cli.lifecycle.platform import JobOutcome, TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.azure.client import AzureClient
    from guardian_cli.lifecycle.azure.registry import AzureRegistry

# On the registered version, so that the same training is not registered twice.
JOB_TAG = "guardian.training"
REQUEST_NAME, REPORT_NAME, TAGS_NAME = "request.json", "report.json", "tags.json"
_LOG_LINES = 100
_ENDED_BADLY = {"Failed", "Canceled", "NotResponding"}


def run_training(client: AzureClient, registry: AzureRegistry, job: TrainingJob) -> JobOutcome:
    """Send a training, show its log, register what it made; a job that runs already is followed.

    Raises PlatformError for a cluster that is not there and for a job that failed.
    """
    try:
        with client.calls("looking for the cluster", job.compute):
            client.ml.compute.get(job.compute)
    except NotFoundError as error:
        raise PlatformError(
            f"the workspace {client.address} has no cluster {job.compute}",
            hint=f"az ml compute create --name {job.compute} --type AmlCompute --size SIZE",
        ) from error
    name = find_or_submit(client, registry, job)
    try:
        follow(client, name)
    except KeyboardInterrupt:
        client.reporter.note(
            f"the job {name} goes on, and bills: the same command again follows it"
        )
        raise
    with tempfile.TemporaryDirectory(prefix="guardian-job-") as scratch:
        with client.calls("fetching the report", name):
            client.ml.jobs.download(name, download_path=scratch, output_name="report")
        found: dict[str, Any] = {}
        for wanted in (REPORT_NAME, TAGS_NAME):
            # How deep the SDK puts an output is up to its version.
            path = next(Path(scratch).rglob(wanted), None)
            if path is None:
                raise PlatformError(
                    f"the job {name} left no {wanted}", hint="look at it in Azure ML studio"
                )
            found[wanted] = json.loads(path.read_text(encoding="utf-8"))
    # The model itself stays where the job has written it: only its address is registered.
    model, tags = f"azureml://jobs/{name}/outputs/model", {**found[TAGS_NAME], JOB_TAG: name}
    return JobOutcome(registry.register_path(job.model, model, tags), found[REPORT_NAME])


def find_or_submit(client: AzureClient, registry: AzureRegistry, job: TrainingJob) -> str:
    """Return the name of this training's job that is not registered yet, or submit a new one."""
    registered = {one.tags.get(JOB_TAG) for one in registry.versions(job.model)}
    stem = f"guardian-{job.model}-{fingerprint(job)}"
    # A name is used up by a job that ended badly, and by one whose model is registered.
    names = (f"{stem}-{number}" for number in count(1))
    usable = (name for name in names if name not in registered)
    name, status = next(
        (name, status)
        for name in usable
        if (status := job_status(client, name)) not in _ENDED_BADLY
    )
    if status is not None:
        client.reporter.note(f"job {name} is there already ({status}): following it")
        return name
    package = Path(guardian_cli.__file__).parent
    with tempfile.TemporaryDirectory(prefix="guardian-job-") as scratch:
        code = Path(scratch) / "code"
        # Bytecode would make other uploads of the same code.
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, code / package.name, ignore=ignored)
        (code / REQUEST_NAME).write_text(json.dumps(dict(job.arguments)), encoding="utf-8")
        with client.calls("sending the job", name):
            client.ml.jobs.create_or_update(job_entity(job, name, code))
    client.reporter.note(f"job {name} was sent to {job.compute}")
    return name


def fingerprint(job: TrainingJob) -> str:
    """Return a digest of what decides about the numbers: arguments, CSV, each file's size and time.

    Not of where the files lie, which is another folder each time, nor of their bytes, which would
    take long to read.
    """
    parts: list[object] = [dict(job.arguments), job.compute]
    if job.data is not None:
        parts.append(job.data.read_text(encoding="utf-8"))
        files = sorted(one for one in job.data.parent.rglob("*") if one.is_file())
        parts += [
            [one.name, one.stat().st_size, one.stat().st_mtime_ns]
            for one in files
            if one != job.data
        ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]


def job_status(client: AzureClient, name: str) -> str | None:
    """The status of a job in Azure's words, None for one that is not there."""
    try:
        with client.calls("looking at the job", name):
            return str(client.ml.jobs.get(name).status)
    except NotFoundError:
        return None


def job_entity(job: TrainingJob, name: str, code: Path) -> Any:
    """Return the SDK's entity of a training job; `code` is the folder that is sent."""
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.constants import AssetTypes

    words = [f"python -m guardian_cli.training.run.job {REQUEST_NAME}"]
    inputs = {}
    if job.data is not None:
        inputs["data"] = Input(type=AssetTypes.URI_FOLDER, path=str(job.data.parent))
        words.append(f"--data ${{{{inputs.data}}}}/{job.data.name}")
    words.append("--model ${{outputs.model}} --report ${{outputs.report}}")
    # guardian's own requirements as its package names them, without those of extras.
    libraries = sorted(one for one in requires("guardian-cli") or () if "extra ==" not in one)
    return command(
        name=name,
        display_name=f"guardian train {job.model}",
        experiment_name="guardian",
        code=str(code),
        command=" ".join(words),
        inputs=inputs,
        outputs={
            "model": Output(type=AssetTypes.URI_FOLDER),
            "report": Output(type=AssetTypes.URI_FOLDER),
        },
        environment=pinned_environment("guardian-training", (), libraries),
        compute=job.compute,
        tags={"guardian.model": job.model},
    )


def follow(client: AzureClient, name: str) -> None:
    """Show a job's log until it has ended. Raises PlatformError when it ended badly."""
    problem = None
    try:
        lines = LineWriter(lambda line: client.reporter.note(f"  | {line}"))
        # `stream` prints: inside `calls`, which silences everything else.
        with (
            client.calls("following the job", name),
            contextlib.closing(lines),
            contextlib.redirect_stdout(lines),
        ):
            client.ml.jobs.stream(name)
    except PlatformError as error:
        # Either the job has failed or the connection: its status tells which.
        problem = error
    status = job_status(client, name)
    if status in _ENDED_BADLY:
        # Of a job that ended at once, the SDK has streamed nothing.
        with tempfile.TemporaryDirectory(prefix="guardian-job-") as scratch:
            try:
                with client.calls("fetching the log", name):
                    client.ml.jobs.download(name, download_path=scratch)
            except PlatformError as error:
                client.reporter.warn(str(error))
            for path in sorted(Path(scratch).rglob("std_log*.txt")):
                text = path.read_text(encoding="utf-8", errors="replace")
                last = "\n".join(text.splitlines()[-_LOG_LINES:])
                client.reporter.quote(f"log of {name}", last)
        raise PlatformError(
            f"the job {name} ended as {status}: no version was registered",
            hint="its log is above; the same command again sends it anew",
        )
    if problem is not None:
        raise problem


class LineWriter(io.TextIOBase):
    """A text stream that hands on whole lines, without those that are empty."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = ""

    def write(self, text: str) -> int:
        """Hand on the lines that are whole by now."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._on_line(line.rstrip())
        return len(text)

    def close(self) -> None:
        """Hand on the line that is left."""
        if self._rest.strip():
            self._on_line(self._rest.rstrip())
        self._rest = ""
        super().close()
