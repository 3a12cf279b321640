"""What answers at `<region>.api.azureml.ms` besides MLflow: discovery, and the history of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.azure_loopback.addresses import ARTIFACTS
from tests.azure_loopback.jobs import LOG, Job, Jobs
from tests.azure_loopback.messages import Response, answer
from tests.azure_loopback.routing import WORKSPACE, Call, Router

if TYPE_CHECKING:
    from tests.azure_loopback.cloud import Cloud

HISTORY = "/history/v1.0" + WORKSPACE
SERVICES = ("api", "catalog", "experimentation", "gallery", "history", "hyperdrive", "labeling",
            "modelmanagement", "pipelines", "studio")  # fmt: skip


class RunHistory:
    """The parts that `ml.jobs.stream` and `ml.jobs.download` need."""

    def __init__(self, cloud: Cloud, jobs: Jobs) -> None:
        self._cloud = cloud
        self._jobs = jobs

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        router.add("GET", "/discovery", self._discover)
        router.add("GET", HISTORY + "/runs/{job}/details", self._get_details)
        router.add("GET", HISTORY + "/runs/{job}", self._get_run)
        router.add("POST", HISTORY + "/rundata", self._get_data)

    def _discover(self, call: Call) -> Response:
        return answer(200, dict.fromkeys(SERVICES, f"https://{call.request.host}"))

    def _get_run(self, call: Call) -> Response:
        return answer(200, _run(self._jobs.find(call)))

    def _get_data(self, call: Call) -> Response:
        named = Call(call.request, {**call.names, "job": str(call.body["runId"])}, call.plan)
        return answer(200, {"runMetadata": _run(self._jobs.find(named))})

    def _get_details(self, call: Call) -> Response:
        job = self._jobs.find(call)
        workspace = self._cloud.find_workspace(call)
        name = f"ExperimentRun/dcid.{job.name}/{LOG}"
        self._cloud.blobs.put(ARTIFACTS, name, job.log_file.read_bytes())
        address = f"https://{workspace.blob_host}/{ARTIFACTS}/{name}"
        error = {"error": {"error": dict(job.error)}} if job.error else {}
        document = {
            "runId": job.name,
            "target": str(job.rest.get("computeId") or "").rpartition("/")[2],
            "status": job.status,
            "startTimeUtc": job.created,
            "properties": {},
            "logFiles": {LOG: f"{address}?{self._cloud.blobs.sign(ARTIFACTS, 'r')}"},
            **error,
        }
        return answer(200, document)


def _run(job: Job) -> dict[str, Any]:
    return {
        "runId": job.name,
        "status": job.status,
        "displayName": job.rest.get("displayName"),
        "tags": job.rest.get("tags") or {},
        "properties": {},
        "outputs": {},
    }
