"""The workspace's MLflow: the calls of MLflow's REST API that runs, parameters and metrics need.

As the real one it knows no logged models.
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import RefusedError, Response, answer
from tests.azure_loopback.routing import WORKSPACE, Call, Router

if TYPE_CHECKING:
    from tests.azure_loopback.cloud import Cloud

BASE = rf"/mlflow/v\d\.\d{WORKSPACE}/api/2.0/mlflow"
_CONDITION = re.compile(
    r"(?:(?P<kind>tags?|params?|metrics?|attributes?)\.)?[`\"]?(?P<name>[^`\"=!<> ]+)[`\"]?\s*"
    r"(?P<sign>=|!=|>=|<=|>|<)\s*['\"]?(?P<value>[^'\"]*)['\"]?",
    re.IGNORECASE,
)


@dataclass
class Experiment:
    """A named group of runs."""

    id: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time() * 1000))


@dataclass
class Run:
    """One run with all that was logged."""

    id: str
    experiment: str
    name: str
    start: int
    status: str = "RUNNING"
    end: int | None = None
    user: str = ""
    deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def info(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "run_id": self.id,
            "run_uuid": self.id,
            "run_name": self.name,
            "experiment_id": self.experiment,
            "user_id": self.user,
            "status": self.status,
            "start_time": self.start,
            "lifecycle_stage": "deleted" if self.deleted else "active",
            "artifact_uri": f"azureml://experiments/x/runs/{self.id}/artifacts",
            **({"end_time": self.end} if self.end else {}),
        }

    def document(self) -> dict[str, Any]:
        """With its data."""
        data = {
            "metrics": [max(one, key=lambda m: m["step"]) for one in self.metrics.values()],
            "params": [{"key": k, "value": v} for k, v in self.params.items()],
            "tags": [{"key": k, "value": v} for k, v in self.tags.items()],
        }
        return {"info": self.info(), "data": data, "inputs": {}}


class Tracking:
    """Experiments and runs of all workspaces."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, Run] = {}

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        calls = {
            ("GET", "experiments/get-by-name"): self._get_experiment_by_name,
            ("GET", "experiments/get"): self._get_experiment,
            ("POST", "experiments/create"): self._create_experiment,
            ("POST", "experiments/search"): self._search_experiments,
            ("POST", "experiments/set-experiment-tag"): self._tag_experiment,
            ("POST", "runs/create"): self._create_run,
            ("GET", "runs/get"): self._get_run,
            ("POST", "runs/update"): self._update_run,
            ("POST", "runs/delete"): self._delete_run,
            ("POST", "runs/search"): self._search_runs,
            ("POST", "runs/log-batch"): self._log_batch,
            ("POST", "runs/log-metric"): self._log_metric,
            ("POST", "runs/log-parameter"): self._log_parameter,
            ("POST", "runs/set-tag"): self._set_tag,
            ("POST", "runs/delete-tag"): self._delete_tag,
            ("GET", "metrics/get-history"): self._get_history,
        }
        for (method, path), handler in calls.items():
            router.add(method, f"{BASE}/{path}", handler)
        for method in ("GET", "POST", "PATCH", "DELETE"):
            router.add(method, BASE + "/{unknown:path}", self._refuse)

    def begin_run(self, experiment: str, run: str) -> str:
        """A run of a job, in an experiment that is made for it; returns the experiment's id."""
        found = self._experiment_named(experiment) or self._add_experiment(experiment)
        self.runs[run] = Run(run, found.id, run, int(time.time() * 1000))
        return found.id

    def _experiment_named(self, name: str) -> Experiment | None:
        return next((one for one in self.experiments.values() if one.name == name), None)

    def _add_experiment(self, name: str) -> Experiment:
        made = Experiment(str(uuid.uuid4()), name)
        self.experiments[made.id] = made
        return made

    def _refuse(self, call: Call) -> Response:
        self._cloud.find_workspace(call)
        return Response(404)

    def _get_experiment_by_name(self, call: Call) -> Response:
        self._cloud.find_workspace(call)
        found = self._experiment_named(call.query.get("experiment_name", ""))
        if found is None:
            raise _missing("experiment", call.query.get("experiment_name", ""))
        return answer(200, {"experiment": _experiment(found)})

    def _get_experiment(self, call: Call) -> Response:
        found = self.experiments.get(call.query.get("experiment_id", ""))
        if found is None:
            raise _missing("experiment", call.query.get("experiment_id", ""))
        return answer(200, {"experiment": _experiment(found)})

    def _create_experiment(self, call: Call) -> Response:
        self._cloud.find_workspace(call)
        name = call.body["name"]
        if self._experiment_named(name) is not None:
            raise _refused(400, "RESOURCE_ALREADY_EXISTS", f"Experiment {name} exists.")
        made = self._add_experiment(name)
        made.tags = {one["key"]: one["value"] for one in call.body.get("tags", [])}
        return answer(200, {"experiment_id": made.id})

    def _search_experiments(self, call: Call) -> Response:
        found = [_experiment(one) for one in self.experiments.values()]
        return answer(200, {"experiments": found})

    def _tag_experiment(self, call: Call) -> Response:
        found = self.experiments.get(call.body["experiment_id"])
        if found is None:
            raise _missing("experiment", call.body["experiment_id"])
        found.tags[call.body["key"]] = call.body["value"]
        return answer(200, {})

    def _find(self, call: Call) -> Run:
        name = str(call.query.get("run_id") or call.body.get("run_id") or "")
        found = self.runs.get(name)
        if found is None:
            raise _missing("run", name)
        return found

    def _create_run(self, call: Call) -> Response:
        self._cloud.find_workspace(call)
        body = call.body
        if body["experiment_id"] not in self.experiments:
            raise _missing("experiment", body["experiment_id"])
        made = Run(
            str(uuid.uuid4()),
            body["experiment_id"],
            body.get("run_name") or "quiet_rain",
            int(body.get("start_time") or time.time() * 1000),
            user=body.get("user_id", ""),
        )
        made.tags = {one["key"]: one["value"] for one in body.get("tags", [])}
        made.tags.setdefault("mlflow.runName", made.name)
        self.runs[made.id] = made
        return answer(200, {"run": made.document()})

    def _get_run(self, call: Call) -> Response:
        return answer(200, {"run": self._find(call).document()})

    def _update_run(self, call: Call) -> Response:
        found = self._find(call)
        found.status = call.body.get("status", found.status)
        found.end = int(call.body["end_time"]) if call.body.get("end_time") else found.end
        found.name = call.body.get("run_name") or found.name
        return answer(200, {"run_info": found.info()})

    def _delete_run(self, call: Call) -> Response:
        self._find(call).deleted = True
        return answer(200, {})

    def _search_runs(self, call: Call) -> Response:
        wanted = set(call.body.get("experiment_ids", []))
        found = [
            run
            for run in self.runs.values()
            if run.experiment in wanted and not run.deleted and _fits(run, call.body.get("filter"))
        ]
        found.sort(key=lambda run: run.start, reverse=True)
        top = int(call.body.get("max_results") or 1000)
        return answer(200, {"runs": [run.document() for run in found[:top]]})

    def _log_batch(self, call: Call) -> Response:
        found = self._find(call)
        for one in call.body.get("metrics", []):
            _add_metric(found, one)
        for one in call.body.get("params", []):
            _add_parameter(found, one)
        found.tags.update({one["key"]: one["value"] for one in call.body.get("tags", [])})
        return answer(200, {})

    def _log_metric(self, call: Call) -> Response:
        _add_metric(self._find(call), call.body)
        return answer(200, {})

    def _log_parameter(self, call: Call) -> Response:
        _add_parameter(self._find(call), call.body)
        return answer(200, {})

    def _set_tag(self, call: Call) -> Response:
        self._find(call).tags[call.body["key"]] = call.body["value"]
        return answer(200, {})

    def _delete_tag(self, call: Call) -> Response:
        self._find(call).tags.pop(call.body["key"], None)
        return answer(200, {})

    def _get_history(self, call: Call) -> Response:
        key = call.query.get("metric_key", "")
        return answer(200, {"metrics": self._find(call).metrics.get(key, [])})


def _experiment(experiment: Experiment) -> dict[str, Any]:
    return {
        "experiment_id": experiment.id,
        "name": experiment.name,
        "artifact_location": "",
        "lifecycle_stage": "active",
        "creation_time": experiment.created,
        "last_update_time": experiment.created,
        "tags": [{"key": k, "value": v} for k, v in experiment.tags.items()],
    }


def _add_metric(run: Run, given: dict[str, Any]) -> None:
    metric = {
        "key": given["key"],
        "value": given["value"],
        "timestamp": int(given.get("timestamp") or time.time() * 1000),
        "step": int(given.get("step") or 0),
    }
    run.metrics.setdefault(given["key"], []).append(metric)


def _add_parameter(run: Run, given: dict[str, Any]) -> None:
    old = run.params.setdefault(given["key"], given["value"])
    if old != given["value"]:
        message = f"Changing param values is not allowed. Param with key='{given['key']}'."
        raise _refused(400, "INVALID_PARAMETER_VALUE", message)


def _fits(run: Run, text: str | None) -> bool:
    """Whether a run fits a filter: conditions joined by `and`."""
    if not text or not text.strip():
        return True
    conditions = re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE)
    return all(_holds(run, one) for one in conditions)


def _holds(run: Run, text: str) -> bool:
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        raise _refused(400, "INVALID_PARAMETER_VALUE", f"Invalid filter: {text}")
    kind, name = (found["kind"] or "attribute").lower().rstrip("s"), found["name"]
    have: Any
    if kind == "metric":
        values = run.metrics.get(name)
        have, wanted = (float(values[-1]["value"]) if values else None), float(found["value"])
    else:
        source = {"tag": run.tags, "param": run.params}.get(kind, run.info())
        have, wanted = source.get(name), found["value"]  # type: ignore[assignment]
    if have is None:
        return False
    signs = {"=": have == wanted, "!=": have != wanted, ">": have > wanted, "<": have < wanted,
             ">=": have >= wanted, "<=": have <= wanted}  # fmt: skip
    return bool(signs[found["sign"]])


def _missing(kind: str, name: str) -> RefusedError:
    return _refused(404, "RESOURCE_DOES_NOT_EXIST", f"No {kind} {name} was found.")


def _refused(status: int, code: str, message: str) -> RefusedError:
    return RefusedError(answer(status, {"error_code": code, "message": message}))
