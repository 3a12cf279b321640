"""Training as a command job on a cluster of the workspace: the same code, sent there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.environments import training_environment
from guardian_cli.lifecycle.azure.failures import is_missing, sdk_errors
from guardian_cli.lifecycle.platform import JobOutcome, TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.azure.client import AzureClient
    from guardian_cli.lifecycle.azure.registry import AzureRegistry
    from guardian_cli.lifecycle.platform import Reporter

PACKAGE = Path(__file__).resolve().parent.parent.parent
JOB_TAG = "guardian.training"
REQUEST_NAME, REPORT_NAME, TAGS_NAME = "request.json", "report.json", "tags.json"
_LOG_LINES = 100
_ENDED_BADLY = {"Failed", "Canceled", "NotResponding"}


def run_training(
    client: AzureClient, registry: AzureRegistry, job: TrainingJob, reporter: Reporter
) -> JobOutcome:
    """Send a training, show its log, register what it made; a job that runs already is followed.

    Raises PlatformError for a cluster that is not there and for a job that failed.
    """
    _check_cluster(client, job.compute)
    name = _find_or_submit(client, registry, job, reporter)
    try:
        _follow(client, name, reporter)
    except KeyboardInterrupt:
        reporter.note(f"the job {name} goes on, and bills: the same command again follows it")
        raise
    with tempfile.TemporaryDirectory(prefix="guardian-job-") as scratch:
        report, tags = _fetch_report(client, name, Path(scratch))
    made = registry.register_path(
        job.model, f"azureml://jobs/{name}/outputs/model", {**tags, JOB_TAG: name}
    )
    return JobOutcome(made, report)


def _check_cluster(client: AzureClient, compute: str) -> None:
    with client.calls("looking for the cluster", compute):
        try:
            client.ml.compute.get(compute)
        except sdk_errors() as error:
            if is_missing(error):
                raise PlatformError(
                    f"the workspace {client.place} has no cluster {compute}",
                    hint=f"az ml compute create --name {compute} --type AmlCompute --size SIZE",
                ) from error
            raise


def _find_or_submit(
    client: AzureClient, registry: AzureRegistry, job: TrainingJob, reporter: Reporter
) -> str:
    """The job of this training that has not been registered yet, or a new one."""
    known = {one.tags.get(JOB_TAG) for one in registry.versions(job.model)}
    stem = f"guardian-{job.model}-{fingerprint(job)}"
    number = 1
    while True:
        name = f"{stem}-{number}"
        status = None if name in known else _status(client, name)
        if name not in known and status is None:
            _submit(client, job, name)
            reporter.note(f"job {name} was sent to {job.compute}")
            return name
        if name not in known and status not in _ENDED_BADLY:
            reporter.note(f"job {name} is there already ({status}): following it")
            return name
        number += 1


def fingerprint(job: TrainingJob) -> str:
    """Name what decides about the numbers: the arguments, the CSV, each file's size and time."""
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


def _status(client: AzureClient, name: str) -> str | None:
    with client.calls("looking at the job", name):
        try:
            return str(client.ml.jobs.get(name).status)
        except sdk_errors() as error:
            if is_missing(error):
                return None
            raise


def _submit(client: AzureClient, job: TrainingJob, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="guardian-job-") as scratch:
        code = Path(scratch) / "code"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, code / PACKAGE.name, ignore=ignored)
        (code / REQUEST_NAME).write_text(json.dumps(dict(job.arguments)), encoding="utf-8")
        with client.calls("sending the job", name):
            client.ml.jobs.create_or_update(describe(job, name, code))


def describe(job: TrainingJob, name: str, code: Path) -> Any:
    """Return the SDK's entity of a training job."""
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.constants import AssetTypes

    words = [f"python -m guardian_cli.training.run.job {REQUEST_NAME}"]
    inputs = {}
    if job.data is not None:
        inputs["data"] = Input(type=AssetTypes.URI_FOLDER, path=str(job.data.parent))
        words.append(f"--data ${{{{inputs.data}}}}/{job.data.name}")
    words.append("--model ${{outputs.model}} --report ${{outputs.report}}")
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
        environment=training_environment(),
        compute=job.compute,
        tags={"guardian.model": job.model},
    )


def _follow(client: AzureClient, name: str, reporter: Reporter) -> None:
    """Show a job's log until it has ended. Raises PlatformError when it ended badly."""
    problem = None
    with client.calls("following the job", name):
        try:
            lines = Lines(lambda line: reporter.note(f"  | {line}"))
            with contextlib.closing(lines), contextlib.redirect_stdout(lines):
                client.ml.jobs.stream(name)
        except sdk_errors() as error:
            problem = error
    status = _status(client, name)
    if status in _ENDED_BADLY:
        _quote_log(client, name, reporter)
        raise PlatformError(
            f"the job {name} ended as {status}: no version was registered",
            hint="its log is above; the same command again sends it anew",
        )
    if problem is not None:
        with client.calls("following the job", name):
            raise problem


def _quote_log(client: AzureClient, name: str, reporter: Reporter) -> None:
    """Show the end of a job's log: of one that ended at once, the SDK has streamed nothing."""
    with tempfile.TemporaryDirectory(prefix="guardian-job-") as scratch:
        try:
            with client.calls("fetching the log", name):
                client.ml.jobs.download(name, download_path=scratch)
        except PlatformError as error:
            reporter.warn(str(error))
        for path in sorted(Path(scratch).rglob("std_log*.txt")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            reporter.quote(f"log of {name}", "\n".join(lines[-_LOG_LINES:]))


def _fetch_report(client: AzureClient, name: str, scratch: Path) -> tuple[Any, dict[str, str]]:
    with client.calls("fetching the report", name):
        client.ml.jobs.download(name, download_path=scratch, output_name="report")
    return _read(scratch, REPORT_NAME, name), _read(scratch, TAGS_NAME, name)


def _read(folder: Path, name: str, job: str) -> Any:
    found = next(folder.rglob(name), None)
    if found is None:
        raise PlatformError(f"the job {job} left no {name}", hint="look at it in Azure ML studio")
    return json.loads(found.read_text(encoding="utf-8"))


class Lines(io.TextIOBase):
    """A stream that hands on whole lines: what the SDK prints, for stderr."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._rest = ""

    def write(self, text: str) -> int:
        """Hand on the lines that are whole by now."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._tell(line.rstrip())
        return len(text)

    def close(self) -> None:
        """Hand on the line that is left."""
        if self._rest.strip():
            self._tell(self._rest.rstrip())
        self._rest = ""
        super().close()
