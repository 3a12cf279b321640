"""A stand-in for Azure Machine Learning that the unmodified SDK reaches by its environment only."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.azure_loopback import sign_in
from tests.azure_loopback.assets import Assets
from tests.azure_loopback.authority import Authority
from tests.azure_loopback.blobs import BlobStore, Upload
from tests.azure_loopback.cloud import Cloud
from tests.azure_loopback.contract import Contract, find_specification
from tests.azure_loopback.deployments import Deployments
from tests.azure_loopback.endpoints import Endpoints
from tests.azure_loopback.faults import Fault, Faults, obey_after, obey_before, obey_last, plan_of
from tests.azure_loopback.jobs import Job, Jobs
from tests.azure_loopback.messages import RefusedError, Request, Response, answer, refuse
from tests.azure_loopback.proxy import DroppedError, Proxy
from tests.azure_loopback.routing import Call, Router
from tests.azure_loopback.run_history import RunHistory
from tests.azure_loopback.runners import shared_hosting
from tests.azure_loopback.scoring_gateway import ScoringGateway
from tests.azure_loopback.sign_in import SignIn
from tests.azure_loopback.state import SIZES, TENANT, Deployment, Endpoint, Workspace
from tests.azure_loopback.subscription import Subscription
from tests.azure_loopback.tracking import Tracking
from tests.azure_loopback.workspaces import ArmDeployment, Workspaces

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.runners import Hosting

ARM_HOST = "management.azure.com"
# Asked for before anybody has signed in.
OPEN_PATHS = {"/discovery", "/metadata/endpoints"}
PROVIDERS = (
    "Microsoft.MachineLearningServices", "Microsoft.Storage", "Microsoft.KeyVault",
    "Microsoft.Insights", "Microsoft.OperationalInsights", "Microsoft.ContainerRegistry",
    "Microsoft.PolicyInsights", "Microsoft.Cdn",
)  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """A request and the status that it was answered with; None: the connection was cut."""

    request: Request
    response: Response | None

    @property
    def status(self) -> int | None:
        """The answer's status."""
        return None if self.response is None else self.response.status

    def __getattr__(self, name: str) -> Any:
        """method, host, path, query, headers, body, json: those of the request."""
        return getattr(self.request, name)


class LoopbackAzure:
    """One subscription with one resource group, on loopback; a context manager.

    Nothing of this process is changed: what `environment()` returns is for a process under test.

    What is in it: `workspaces`, `endpoints`, `models`, `jobs`, `cloud` (quotas, providers, groups),
    `permissions`, `taken_names`; tests look at them and change them. `faults` says what goes wrong
    or happens at which request. What was asked of it: `requests`, `sent()`, `uploads`. In the end,
    or by `check()`, requests that no real service would take fail the test.
    """

    resource_group = "guardian-group"
    workspace = "guardian-workspace"

    def __init__(
        self, folder: Path, *, location: str = "eastus2", hosting: Hosting | None = None
    ) -> None:
        self.subscription_id = str(uuid.uuid4())
        self.location = location
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self.cloud = Cloud(
            self.subscription_id, location, folder, self.blobs, hosting or shared_hosting()
        )
        self.cloud.groups[self.resource_group] = location
        self.cloud.providers.update({name.lower(): "Registered" for name in PROVIDERS})
        self.cloud.core_limits.update({size.family: 100 for size in SIZES.values()})
        self.permissions.append(
            {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
        )
        self.faults = Faults()
        self.requests: list[Exchange] = []
        self.sign_in = SignIn()
        self.mistakes: list[str] = []
        self._guard = threading.Lock()
        self._assets = Assets(self.cloud)
        self._workspaces = Workspaces(self.cloud)
        self._scoring_gateway = ScoringGateway(self.cloud)
        self.tracking = Tracking(self.cloud)
        self._jobs = Jobs(self.cloud, self.tracking, self._environment_of_a_job)
        self._deployments = Deployments(self.cloud)
        self._arm, self._data_plane = Router(), Router()
        for part in (Subscription(self.cloud), self._workspaces, self._assets,
                     Endpoints(self.cloud), self._deployments, self._jobs):  # fmt: skip
            part.add_to(self._arm)
        RunHistory(self.cloud, self._jobs).add_to(self._data_plane)
        self.tracking.add_to(self._data_plane)
        names = (ARM_HOST, "*.blob.core.windows.net", "*.api.azureml.ms",
                 f"*.{location}.inference.ml.azure.com", sign_in.HOST)  # fmt: skip
        self._authority = Authority(folder / "authority", names)
        self._proxy: Proxy | None = None

    def __enter__(self) -> Self:
        self._proxy = Proxy(self._authority.context, self._answer)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.faults.clear()
        self._jobs.stop()
        if self._proxy is not None:
            self._proxy.close()
            self.mistakes += [repr(one) for one in self._proxy.mistakes]
        self.cloud.stop()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Fail for what no real service would have taken or answered."""
        wrong = [*dict.fromkeys(self.mistakes + self.violations())]
        assert not wrong, "\n".join(wrong)

    def violations(self) -> list[str]:
        """Where requests and answers of ARM differ from Microsoft's OpenAPI, if that is there."""
        folder = find_specification()
        if folder is None:
            return []
        contract = Contract(folder)
        return [
            problem
            for one in list(self.requests)
            if one.request.host == ARM_HOST
            for problem in contract.check(one.request, one.response)
        ]

    @property
    def port(self) -> int:
        """Where the proxy listens."""
        assert self._proxy is not None, "use it as a context manager"
        return self._proxy.port

    def environment(self) -> dict[str, str]:
        """What a process needs to find this instead of Azure."""
        proxy, bundle = f"http://127.0.0.1:{self.port}", str(self._authority.bundle)
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "IDENTITY_ENDPOINT": f"{proxy}/msi/token",
            "IDENTITY_HEADER": sign_in.IDENTITY_HEADER,
            "AZURE_SUBSCRIPTION_ID": self.subscription_id,
            "AZURE_RESOURCE_GROUP": self.resource_group,
            "AZURE_ML_WORKSPACE": self.workspace,
        }

    def environment_of_a_service_principal(self) -> dict[str, str]:
        """The same for whoever signs in with a client secret instead of a managed identity."""
        kept = {k: v for k, v in self.environment().items() if not k.startswith("IDENTITY_")}
        signed = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": sign_in.CLIENT}
        return {**kept, **signed, "AZURE_CLIENT_SECRET": self.sign_in.client_secret}

    def add_workspace(self, name: str | None = None) -> Workspace:
        """Put a workspace there, without an ARM deployment."""
        with self.cloud.lock:
            return self._workspaces.create(
                name or self.workspace, self.resource_group, self.location
            )

    def add_endpoint(self, name: str, **more: Any) -> Endpoint:
        """Put an endpoint there that somebody else has made."""
        with self.cloud.lock:
            made = Endpoint(name, self.location, state="Succeeded", **more)
            self.cloud.workspaces[self.workspace.lower()].endpoints[name.lower()] = made
            return made

    def add_compute(self, name: str, size: str = "Standard_DS3_v2") -> None:
        """Put a cluster there."""
        with self.cloud.lock:
            self._workspaces.add_compute(self.cloud.workspaces[self.workspace.lower()], name, size)

    def add_model(
        self, name: str, folder: Path, *, version: str = "1", tags: dict[str, str] | None = None
    ) -> str:
        """Register a folder as a version of a model, without a request; returns its ARM id."""
        with self.cloud.lock:
            workspace = self.cloud.workspaces[self.workspace.lower()]
            prefix = f"LocalUpload/{uuid.uuid4().hex}/{folder.name}"
            self.blobs.put_folder(workspace.container, prefix, folder)
            uri = f"azureml://datastores/workspaceblobstore/paths/{prefix}"
            more = {"modelUri": uri, "modelType": "mlflow_model", "tags": tags or {}}
            path = workspace.resource_id(self.subscription_id)
            return self._assets.add(workspace, path, "models", name, version, more)

    def add_deployment(
        self,
        endpoint: str,
        name: str,
        *,
        code: Path,
        model: str,
        tags: dict[str, str] | None = None,
        **properties: Any,
    ) -> Deployment:
        """Bring a deployment up, without a request: `code` has score.py, `model` is an ARM id."""
        workspace = self.cloud.workspaces[self.workspace.lower()]
        container = str(uuid.uuid4())
        self.blobs.put_folder(container, "code", code)
        uri = f"https://{workspace.blob_host}/{container}/code"
        with self.cloud.lock:
            old = self.endpoints[endpoint.lower()].deployments.get(name.lower())
            if old is not None and old.runner is not None:
                old.runner.stop()
            path = workspace.resource_id(self.subscription_id)
            code_id = self._assets.add(workspace, path, "codes", container, "1", {"codeUri": uri})
            made = self.endpoints[endpoint.lower()].add_deployment(
                name,
                tags=tags,
                model=model,
                codeConfiguration={"codeId": code_id, "scoringScript": "score.py"},
                **properties,
            )
        error = self._deployments.bring_up(workspace, made)
        made.state = "Failed" if error else "Succeeded"
        return made

    @property
    def workspaces(self) -> dict[str, Workspace]:
        """By name in small letters."""
        return self.cloud.workspaces

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Those of the workspace, by name in small letters; {} when there is no workspace."""
        found = self.cloud.workspaces.get(self.workspace.lower())
        return {} if found is None else found.endpoints

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs of the workspace."""
        found = self.cloud.workspaces.get(self.workspace.lower())
        return {} if found is None else found.jobs

    @property
    def arm_deployments(self) -> list[ArmDeployment]:
        """The templates that were submitted."""
        return list(self._workspaces.submitted.values())

    @property
    def models(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The registered versions of the workspace: name, version, resource."""
        found = self.cloud.workspaces.get(self.workspace.lower())
        return {} if found is None else found.assets["models"]

    @property
    def uploads(self) -> list[Upload]:
        """Every blob that was written, in order."""
        return self.blobs.uploads

    @property
    def permissions(self) -> list[dict[str, Any]]:
        """What the caller may do, as ARM lists it; the default is everything."""
        return self.cloud.permissions

    @property
    def taken_names(self) -> set[str]:
        """Names of endpoints that somebody else in the region has."""
        return self.cloud.taken_names

    def sent(self, method: str, path: str = "") -> list[Exchange]:
        """The requests of a method whose path ends in `path`, in order."""
        return [
            one
            for one in list(self.requests)
            if one.request.method == method and one.request.path.lower().endswith(path.lower())
        ]

    def settle(self) -> None:
        """End every operation that may end, as time does."""
        with self.cloud.lock:
            self._settle()

    def _settle(self) -> None:
        self.cloud.book.settle()
        self._workspaces.settle()

    def _environment_of_a_job(self) -> dict[str, str]:
        token = self.sign_in.make_token("https://management.azure.com")
        return {**self.environment(), "MLFLOW_TRACKING_TOKEN": token}

    def _answer(self, request: Request) -> Response:
        rules = self.faults.take(request)
        response: Response | None = None
        try:
            response = obey_before(rules)
            if response is None:
                response = self._obey(request, rules)
                obey_after(rules)
        except DroppedError:
            response = None
            raise
        finally:
            with self._guard:
                self.requests.append(Exchange(request, response))
        return obey_last(rules, response)

    def _obey(self, request: Request, rules: list[Fault]) -> Response:
        try:
            return self._dispatch(request, rules)
        except RefusedError as error:
            return error.response

    def _dispatch(self, request: Request, rules: list[Fault]) -> Response:
        host = request.host
        if host == ARM_HOST:
            return self._route(self._arm, request, rules)
        if host.endswith(".api.azureml.ms"):
            return self._route(self._data_plane, request, rules)
        if host.endswith(".blob.core.windows.net"):
            return self.blobs.answer(request)
        if host.endswith(".inference.ml.azure.com"):
            return self._scoring_gateway.answer(request)
        if not host and request.path == "/msi/token":
            return self.sign_in.answer_identity(request)
        if host == sign_in.HOST:
            return self.sign_in.answer_login(request)
        self.mistakes.append(f"a request to a stranger: {request}")
        return answer(404)

    def _route(self, router: Router, request: Request, rules: list[Fault]) -> Response:
        if request.path not in OPEN_PATHS:
            self.sign_in.check(request.headers)
        found = router.find(request.method, request.path.rstrip("/"))
        if found is None:
            self.mistakes.append(f"no such request in the stand-in: {request}")
            raise refuse(404, "InvalidResourceType", f"Nothing at {request.path}.")
        handler, names = found
        with self.cloud.lock:
            self._settle()
            return handler(Call(request, names, plan_of(rules)))
