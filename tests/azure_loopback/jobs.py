"""Command jobs: the command really runs, with the uploaded code, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.addresses import (
    ARTIFACTS,
    find_asset,
    locate,
    locate_input,
    output_prefix,
)
from tests.azure_loopback.messages import Response, answer, now, refuse
from tests.azure_loopback.routing import WORKSPACE, Call, Router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.azure_loopback.cloud import Cloud
    from tests.azure_loopback.faults import OperationPlan
    from tests.azure_loopback.state import Document, Workspace
    from tests.azure_loopback.tracking import Tracking

JOB = WORKSPACE + "/jobs/{job}"
LOG = "user_logs/std_log.txt"
ENDED = {"Completed", "Failed", "Canceled"}


@dataclass
class Job:
    """A job; `log` is what it has printed so far."""

    name: str
    rest: Document
    folder: Path
    plan: OperationPlan
    status: str = "Starting"
    error: Mapping[str, Any] | None = None
    created: str = field(default_factory=now)
    experiment: str = ""
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread | None = None
    log_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.log_file = self.folder / "std_log.txt"
        self.log_file.touch()

    @property
    def log(self) -> str:
        """What it has printed so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def cancel(self) -> None:
        """End it and all that it started."""
        if self.status not in ENDED:
            self.status = "Canceled"
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Jobs:
    """`…/jobs`."""

    def __init__(
        self, cloud: Cloud, tracking: Tracking, environment: Callable[[], dict[str, str]]
    ) -> None:
        self._cloud = cloud
        self._tracking = tracking
        self._environment = environment

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        router.add("GET", WORKSPACE + "/jobs", self._list)
        router.add("GET", JOB, self._get)
        router.add("PUT", JOB, self._put)
        router.add("POST", JOB + "/cancel", self._cancel)

    def find(self, call: Call) -> Job:
        """The job of a request."""
        found = self._cloud.find_workspace(call).jobs.get(call["job"])
        if not isinstance(found, Job):
            raise refuse(404, "UserError", f"Job {call['job']} was not found.")
        return found

    def stop(self) -> None:
        """End all jobs."""
        for workspace in self._cloud.workspaces.values():
            for job in workspace.jobs.values():
                job.cancel()
                if job.thread is not None:
                    job.thread.join(30)

    def _document(self, path: str, workspace: Workspace, job: Job) -> Document:
        studio = f"https://ml.azure.com/runs/{job.name}?wsid={path.rpartition('/jobs/')[0]}"
        service = {"jobServiceType": "Studio", "endpoint": studio, "port": None, "status": None}
        artifacts = {
            "jobOutputType": "uri_folder",
            "uri": f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{job.name}",
            "mode": "ReadWriteMount",
        }
        outputs = {"default": artifacts, **(job.rest.get("outputs") or {})}
        return {
            "id": path,
            "name": job.name,
            "type": "Microsoft.MachineLearningServices/workspaces/jobs",
            "properties": {
                "tags": {},
                "properties": {},
                **job.rest,
                "status": job.status,
                "services": {"Studio": service},
                "outputs": outputs,
            },
            "systemData": {
                "createdAt": job.created,
                "createdBy": "somebody",
                "createdByType": "User",
            },
        }

    def _list(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        found = [
            self._document(f"{call.path}/{name}", workspace, job)
            for name, job in reversed(workspace.jobs.items())
        ]
        return answer(200, {"value": found})

    def _get(self, call: Call) -> Response:
        job = self.find(call)
        return answer(200, self._document(call.path, self._cloud.find_workspace(call), job))

    def _put(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        old = workspace.jobs.get(call["job"])
        if old is not None:
            # Of a job that is there only tags, names and the archive flag can change.
            for name in ("tags", "displayName", "isArchived", "description"):
                if name in call.body["properties"]:
                    old.rest[name] = call.body["properties"][name]
            return answer(200, self._document(call.path, workspace, old))
        rest = dict(call.body["properties"])
        if rest.get("jobType") != "Command":
            raise refuse(400, "UserError", f"The stand-in has no jobs of type {rest['jobType']}.")
        compute = str(rest.get("computeId") or "").rpartition("/")[2].lower()
        if compute and compute not in workspace.computes:
            raise refuse(400, "UserError", f"Compute {compute} was not found in the workspace.")
        folder = self._cloud.folder / "jobs" / f"{call['job']}-{uuid.uuid4().hex[:6]}"
        job = workspace.jobs[call["job"]] = Job(call["job"], rest, folder, call.plan)
        experiment = rest.get("experimentName") or "Default"
        job.experiment = self._tracking.begin_run(experiment, job.name)
        job.thread = threading.Thread(target=self._run, args=(workspace, job), daemon=True)
        job.thread.start()
        return answer(201, self._document(call.path, workspace, job))

    def _cancel(self, call: Call) -> Response:
        self.find(call).cancel()
        return answer(200)

    def _run(self, workspace: Workspace, job: Job) -> None:
        try:
            if job.plan.hold is not None:
                job.plan.hold.reached.set()
                job.plan.hold.released.wait(120)
            error = job.plan.error or self._run_command(workspace, job)
        except LookupError as missing:
            error = {"code": "UserError", "message": f"no {missing.args[0]}"}
        self._cloud.blobs.put(
            ARTIFACTS, f"ExperimentRun/dcid.{job.name}/{LOG}", job.log_file.read_bytes()
        )
        if job.status not in ENDED:
            job.error, job.status = error, "Failed" if error else "Completed"

    def _run_command(self, workspace: Workspace, job: Job) -> Mapping[str, Any] | None:
        """Run it to its end; the error that it ended with."""
        code = job.folder / "code"
        code.mkdir()
        if job.rest.get("codeId"):
            uri = str(find_asset(workspace, "codes", job.rest["codeId"])["codeUri"])
            self._cloud.blobs.copy_out(*locate(workspace, uri), code)
        values = {**self._mount_inputs(workspace, job), **self._make_outputs(job)}
        command = re.sub(
            r"\$\{\{\s*((?:inputs|outputs)\.[\w-]+)\s*\}\}",
            lambda found: values[found[1]],
            job.rest["command"],
        )
        with job.log_file.open("ab", buffering=0) as log:
            job.process = subprocess.Popen(
                ["/bin/sh", "-c", command], cwd=code, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=self._variables(workspace, job),
                start_new_session=True,
            )  # fmt: skip
        if job.status in ENDED:
            job.cancel()  # whoever canceled it came before there was a process to end
        else:
            job.status = "Running"
        code_of_exit = job.process.wait()
        self._keep_outputs(workspace, job)
        if not code_of_exit:
            return None
        message = f"Execution failed. User process exited with status code {code_of_exit}."
        return {"code": "UserError", "message": message}

    def _mount_inputs(self, workspace: Workspace, job: Job) -> dict[str, str]:
        values = {}
        for name, one in (job.rest.get("inputs") or {}).items():
            if one.get("jobInputType") == "literal":
                values[f"inputs.{name}"] = str(one["value"])
                continue
            container, prefix = locate_input(workspace, one["uri"])
            target = job.folder / "inputs" / name
            written = self._cloud.blobs.copy_out(container, prefix, target)
            if not written:
                raise LookupError(one["uri"])
            is_file = (container, prefix) in self._cloud.blobs.blobs
            values[f"inputs.{name}"] = str(written[0] if is_file else target)
        return values

    def _make_outputs(self, job: Job) -> dict[str, str]:
        values = {}
        for name in job.rest.get("outputs") or {}:
            folder = job.folder / "outputs" / name
            folder.mkdir(parents=True)
            values[f"outputs.{name}"] = str(folder)
        return values

    def _keep_outputs(self, workspace: Workspace, job: Job) -> None:
        for name in job.rest.get("outputs") or {}:
            folder = job.folder / "outputs" / name
            prefix = output_prefix(job.name, name)
            self._cloud.blobs.put_folder(workspace.container, prefix, folder)

    def _variables(self, workspace: Workspace, job: Job) -> dict[str, str]:
        path = workspace.resource_id(self._cloud.subscription)
        api = f"{workspace.location}.api.azureml.ms"
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        given = {k: str(v) for k, v in (job.rest.get("environmentVariables") or {}).items()}
        return {
            **self._environment(),
            "PATH": tools,
            "HOME": str(job.folder),
            "LANG": "C.UTF-8",
            "AZUREML_ARM_SUBSCRIPTION": self._cloud.subscription,
            "AZUREML_ARM_RESOURCEGROUP": workspace.group,
            "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
            "AZUREML_RUN_ID": job.name,
            "MLFLOW_RUN_ID": job.name,
            "MLFLOW_EXPERIMENT_ID": job.experiment,
            "MLFLOW_EXPERIMENT_NAME": job.rest.get("experimentName") or "Default",
            "MLFLOW_TRACKING_URI": f"azureml://{api}/mlflow/v2.0{path}",
            **given,
        }
