"""What a platform must offer so that models can be set up, registered, deployed and undone on it.

Every call blocks until the platform says that it is done. What a platform cannot always do
(start and stop an endpoint) is a type of its own, never a flag.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from guardian_cli.errors import PlatformError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from pydantic import SecretStr

    from guardian_cli.lifecycle.cost import Footprint, PriceList

State = Literal["ready", "updating", "failed", "stopped"]
# How long one request may take, where a platform limits that: Azure's own default of 5 s is short
# for a batch of frames on a CPU.
REQUEST_TIMEOUT_S = 60.0


class EndpointBusyError(PlatformError):
    """Another operation is running on the endpoint: wait, then try again."""


class ChangedMeanwhileError(PlatformError):
    """Somebody else has changed the endpoint since it was looked at: nothing is overwritten."""


class NameTakenError(PlatformError):
    """Somebody else has an endpoint of this name."""


class OperationTimeoutError(PlatformError):
    """A platform took longer than `--timeout`."""


class DeploymentFailedError(PlatformError):
    """A deployment did not come up; `log` is what its container wrote, "" where there is none."""

    def __init__(self, message: str, *, log: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.log = log


@dataclass(frozen=True, slots=True)
class WorkspaceOptions:
    """How a workspace that is not there is created; a platform ignores what it does not know.

    Without `thorough` only the workspace itself is looked at, not what surrounds it.
    """

    app_insights: str = "new"
    thorough: bool = True


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as found: `missing` and `existing` name its parts for a person to read."""

    name: str
    existing: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    monthly_cost_usd: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version. `tags` hold what training found, and `data=simulated` if so."""

    model: str
    version: str
    tags: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None

    @property
    def simulated(self) -> bool:
        """Whether it was trained on simulated data; a version that says nothing was not."""
        return self.tags.get("data") == "simulated"


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where runs are logged: an MLflow tracking URI, "" for nowhere, and whether it takes files.

    Where it is not `needed`, a version is registered also when its run could not be logged.
    `artifacts_uri` is where files go, None where the server knows.
    """

    uri: str
    takes_artifacts: bool = True
    needed: bool = True
    artifacts_uri: str | None = None


class Registry(Protocol):
    """The versions of models."""

    def versions(self, model: str) -> Sequence[ModelVersion]:
        """All versions, oldest first; empty for a model that was never registered."""

    def get(self, model: str, version: str) -> ModelVersion | None:
        """One version, or None."""
        return next((one for one in self.versions(model) if one.version == version), None)

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        """Upload a model folder (MLflow's format) as the next version."""

    def fetch(self, model: str, version: str, destination: Path) -> None:
        """Bring a version's files into a folder that is not there yet."""

    def tracking(self) -> Tracking:
        """Where the runs of this workspace are logged."""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """A deployment to be created; its `tags` tell guardian's deployments from foreign ones."""

    name: str
    model: str
    version: str
    instance_type: str
    instance_count: int
    tags: Mapping[str, str] = field(default_factory=dict)
    request_timeout_s: float = REQUEST_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as found; `traffic` in whole percent of the endpoint's requests."""

    name: str
    traffic: int
    state: State
    model: str | None = None
    version: str | None = None
    instance_type: str | None = None
    instance_count: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as found; live traffic of its deployments sums to 0 or 100."""

    name: str
    uri: str
    state: State
    deployments: tuple[Deployment, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None

    def deployment(self, name: str) -> Deployment | None:
        """The deployment of this name, or None."""
        return next((found for found in self.deployments if found.name == name), None)

    @property
    def traffic(self) -> dict[str, int]:
        """Percent by deployment, those at 0 included."""
        return {found.name: found.traffic for found in self.deployments}


def check_unchanged(expected: Endpoint, found: Endpoint) -> None:
    """Raise ChangedMeanwhileError where traffic or tags are not what they were."""
    # Not the deployments' states: those change by themselves.
    if (expected.traffic, expected.tags) != (found.traffic, found.tags):
        raise ChangedMeanwhileError(
            f"{found.name} was changed by somebody else meanwhile: nothing was overwritten",
            hint="look with `guardian endpoints`, then run the same command again",
        )


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A training to run on a platform: `arguments` are those of the job's own command.

    `data` is a CSV; it and what else is in its folder are sent.
    """

    model: str
    compute: str
    arguments: Mapping[str, Any]
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What a training job registered, and the report that it wrote."""

    version: ModelVersion
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of sending one picture to an endpoint: `problem` is None for a good answer."""

    problem: str | None = None
    score: float | None = None
    latency_ms: float | None = None

    @property
    def good(self) -> bool:
        """Whether a score in 0..1 came back."""
        return self.problem is None


class Reporter(Protocol):
    """Where progress goes."""

    def note(self, text: str) -> None:
        """Say what is being done."""

    def warn(self, text: str) -> None:
        """Say what the user should know in any case."""

    def quote(self, title: str, text: str) -> None:
        """Show what another program wrote."""


class Platform(Protocol):
    """One place where models live. Raises PlatformError, or one of its kinds above."""

    @property
    def target(self) -> str:
        """The word of `--target`: `local` or `azure`."""

    @property
    def place(self) -> str:
        """Where that is, for people to read: `.guardian/ in /home/me/project`."""

    @property
    def registry(self) -> Registry:
        """The versions of models."""

    def who(self) -> str:
        """Who is at work, for the history: a user name, never a secret."""

    def lock(self, endpoint: str) -> AbstractContextManager[None]:
        """Keep other guardians away while a plan is carried out. Raises EndpointBusyError.

        Released when the process dies. A platform that cannot lock gives a null context.
        """

    def look_at_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Return the workspace as it is, changing nothing."""

    def create_workspace(self, options: WorkspaceOptions) -> Workspace:
        """Create what is missing, nothing twice, and return the workspace as it is then."""

    def endpoint(self, name: str) -> Endpoint | None:
        """An endpoint with all its deployments, or None (also where there is no workspace)."""

    def create_endpoint(self, name: str, tags: Mapping[str, str]) -> Endpoint:
        """Create an endpoint, or create a failed one again. Raises NameTakenError."""

    def update_endpoint(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str | None] | None = None,
        expected: Endpoint | None = None,
    ) -> Endpoint:
        """Change traffic and tags in one operation: both or neither.

        `traffic` is whole: a deployment that it leaves out gets 0. `tags` is a patch: None
        removes one, those not named stay. Returns the endpoint as it is afterwards.
        Raises EndpointBusyError, and ChangedMeanwhileError where its traffic and tags are no
        longer the `expected` ones.
        """

    def create_deployment(self, endpoint: str, spec: DeploymentSpec, *, timeout_s: float) -> None:
        """Create a deployment, or create it again when one of this name is there and not ready.

        Where the process dies in here, the deployment must not stay `updating` for ever: whoever
        looks next waits for as long as it is. A new one has no traffic, one that is created again
        keeps what it has, and all others' traffic stays.
        Raises DeploymentFailedError (what failed stays there, state `failed`),
        EndpointBusyError, OperationTimeoutError.
        """

    def delete_deployment(self, endpoint: str, name: str) -> None:
        """Remove a deployment that has no traffic; nothing to do when it is not there."""

    def logs(self, endpoint: str, deployment: str, *, lines: int = 200) -> str:
        """The newest lines that the deployment's container wrote."""

    def key(self, endpoint: str) -> SecretStr:
        """The key that opens the endpoint."""

    def rotate_key(self, endpoint: str) -> SecretStr:
        """Replace the key at once: the old one opens nothing any more."""

    def probe(self, endpoint: str, deployment: str | None = None) -> Probe:
        """Score one picture through the scoring URI, by one deployment or by traffic.

        Never raises for what the endpoint answers, or when nobody does.
        """


@runtime_checkable
class Stoppable(Protocol):
    """A platform whose endpoints can be stopped and started: a server on this machine."""

    def start(self, endpoint: str) -> Endpoint:
        """Bring a stopped endpoint back with its URI, key, deployments and traffic."""

    def stop(self, endpoint: str) -> bool:
        """Stop it, keep everything it is; False when it was not running."""


@runtime_checkable
class Hosted(Protocol):
    """A platform whose endpoints take memory and disk of this machine."""

    def footprint(self, endpoint: str) -> Footprint:
        """What an endpoint takes now."""


@runtime_checkable
class Metered(Protocol):
    """A platform that bills for what is deployed, with traffic or without, and has quotas."""

    def check_quota(self, instance_type: str, instance_count: int) -> None:
        """Raise PlatformError, with the figures, when a deployment would not fit."""

    def monthly_cost_usd(self, instance_type: str, instance_count: int) -> float | None:
        """What a deployment costs in a month of 730 hours; None for an unknown type."""

    def price_list(self) -> PriceList:
        """Documented prices, without asking anybody."""


@runtime_checkable
class NonBlocking(Protocol):
    """A platform on which long operations go on when guardian does not wait for them."""

    def begin_deployment(self, endpoint: str, spec: DeploymentSpec) -> None:
        """Begin what `create_deployment` waits for; it is `updating` until it has ended."""

    def begin_workspace(self, options: WorkspaceOptions) -> None:
        """Begin what `create_workspace` waits for."""


@runtime_checkable
class Clustered(Protocol):
    """A platform that trains on clusters of its own."""

    def train(self, job: TrainingJob) -> JobOutcome:
        """Run a training there, show its log, and register what it made."""


def require_non_blocking(platform: Platform) -> NonBlocking:
    """Return a platform for which --no-wait makes sense. Raises UsageError."""
    if isinstance(platform, NonBlocking):
        return platform
    raise UsageError(
        f"--no-wait: the target {platform.target} does not go on by itself",
        hint="leave --no-wait out",
    )
