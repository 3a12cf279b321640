"""The real SDK in a process of its own: a step a line on stdin, its result a line on stdout.

Run as a script. Each step comes with the environment that leads to one stand-in.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def connect() -> Any:
    """A client of the workspace that the environment names."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(
        DefaultAzureCredential(),
        os.environ["AZURE_SUBSCRIPTION_ID"],
        os.environ["AZURE_RESOURCE_GROUP"],
        os.environ["AZURE_ML_WORKSPACE"],
        show_progress=False,
        enable_telemetry=False,
    )


def get_workspace(ml: Any) -> Any:
    found = ml.workspaces.get(ml.workspace_name)
    return {"name": found.name, "tracking": found.mlflow_tracking_uri}


def create_workspace(ml: Any) -> Any:
    from azure.ai.ml.entities import Workspace

    made = ml.workspaces.begin_create(Workspace(name=ml.workspace_name, location="eastus2"))
    return {"name": made.result().name}


def register(ml: Any, name: str, path: str, tags: dict[str, str]) -> Any:
    from azure.ai.ml.entities import Model

    made = ml.models.create_or_update(Model(name=name, path=path, type="custom_model", tags=tags))
    return {"version": made.version, "path": made.path}


def list_models(ml: Any, name: str) -> Any:
    return [{"version": one.version, "tags": one.tags} for one in ml.models.list(name)]


def archive(ml: Any, name: str, version: str) -> Any:
    ml.models.archive(name, version=version)


def create_endpoint(ml: Any, name: str, tags: dict[str, str]) -> Any:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    wanted = ManagedOnlineEndpoint(name=name, auth_mode="key", tags=tags)
    made = ml.online_endpoints.begin_create_or_update(wanted).result()
    return {"uri": made.scoring_uri, "state": made.provisioning_state}


def get_endpoint(ml: Any, name: str) -> Any:
    found = ml.online_endpoints.get(name)
    return {"traffic": found.traffic, "tags": found.tags, "state": found.provisioning_state}


def set_traffic(ml: Any, name: str, traffic: dict[str, int]) -> Any:
    found = ml.online_endpoints.get(name)
    found.traffic = traffic
    return {"traffic": ml.online_endpoints.begin_create_or_update(found).result().traffic}


def deploy(ml: Any, endpoint: str, name: str, model: str, code: str) -> Any:
    from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment

    conda = {"name": "x", "channels": ["conda-forge"], "dependencies": ["python=3.11"]}
    image = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"
    wanted = ManagedOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        model=model,
        code_configuration=CodeConfiguration(code=code, scoring_script="score.py"),
        environment=Environment(name="serving", version="1", image=image, conda_file=conda),
        instance_type="Standard_DS3_v2",
        instance_count=1,
    )
    return {
        "state": ml.online_deployments.begin_create_or_update(wanted).result().provisioning_state
    }


def delete_deployment(ml: Any, endpoint: str, name: str) -> Any:
    ml.online_deployments.begin_delete(name=name, endpoint_name=endpoint).result()


def get_logs(ml: Any, endpoint: str, name: str) -> Any:
    return ml.online_deployments.get_logs(name=name, endpoint_name=endpoint, lines=50)


def get_keys(ml: Any, name: str) -> Any:
    return ml.online_endpoints.get_keys(name).primary_key


def regenerate(ml: Any, name: str) -> Any:
    ml.online_endpoints.begin_regenerate_keys(name, key_type="primary").result()


def run_job(ml: Any, name: str, code: str, data: str, command: str) -> Any:
    from azure.ai.ml import Input, Output
    from azure.ai.ml import command as describe
    from azure.ai.ml.entities import Environment

    job = describe(
        name=name,
        code=code,
        command=command,
        inputs={"data": Input(type="uri_folder", path=data)},
        outputs={"model": Output(type="uri_folder")},
        environment=Environment(image="x", conda_file={"dependencies": ["python=3.11"]}),
        compute="cpu-cluster",
        experiment_name="guardian",
    )
    return {"status": ml.jobs.create_or_update(job).status}


def stream_job(ml: Any, name: str) -> Any:
    heard = Path(f"{name}.log")
    with heard.open("w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        ml.jobs.stream(name)
    return heard.read_text(encoding="utf-8")


def download_output(ml: Any, name: str, output: str, folder: str) -> Any:
    ml.jobs.download(name, download_path=folder, output_name=output)
    return sorted(str(one.relative_to(folder)) for one in Path(folder).rglob("*") if one.is_file())


def track(ml: Any) -> Any:
    import mlflow

    mlflow.set_tracking_uri(ml.workspaces.get(ml.workspace_name).mlflow_tracking_uri)
    mlflow.set_experiment("guardian")
    with mlflow.start_run(run_name="first") as run:
        mlflow.log_params({"epochs": 3})
        mlflow.log_metrics({"auc": 0.9})
    found = mlflow.search_runs(
        experiment_names=["guardian"], filter_string="metrics.auc > 0.8", output_format="list"
    )
    return [[one.data.params, one.data.metrics, one.info.status] for one in found
            if one.info.run_id == run.info.run_id]  # fmt: skip


def log_model(ml: Any) -> Any:
    import mlflow

    mlflow.set_tracking_uri(ml.workspaces.get(ml.workspace_name).mlflow_tracking_uri)
    mlflow.set_experiment("guardian")
    mlflow.create_external_model(name="m")


def main() -> None:
    """Do the steps, one after the other, until stdin ends."""
    # The SDK prints dots: only this channel is for results.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    clean = dict(os.environ)
    for line in sys.stdin:
        order = json.loads(line)
        os.environ.clear()
        os.environ.update(clean | order["environment"])
        os.chdir(order["folder"])
        try:
            result = {"result": globals()[order["step"]](connect(), **order["arguments"])}
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            status = getattr(error, "status_code", None)
            result = {"error": type(error).__name__, "status": status, "message": str(error)}
        channel.write(json.dumps(result, default=str) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
