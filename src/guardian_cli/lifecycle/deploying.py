"""`guardian deploy` for a model: which version, what to warn of, and the release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.errors import GuardianError, UsageError
from guardian_cli.lifecycle.figures import read_figures
from guardian_cli.lifecycle.history import read_history
from guardian_cli.lifecycle.ownership import own_endpoint
from guardian_cli.lifecycle.planning import DeployGoal, roles_on
from guardian_cli.lifecycle.platform import REQUEST_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Endpoint, ModelVersion, Registry
    from guardian_cli.lifecycle.releases import Release, Releases


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What the command line says."""

    version: str | None = None
    traffic_percent: int | None = None
    promote: bool = False
    prune: bool = False
    why: str | None = None
    dry_run: bool = False
    instance_type: str | None = None
    instance_count: int | None = None
    request_timeout_s: float = REQUEST_TIMEOUT_S
    allow_simulated: bool = False


def deploy_model(releases: Releases, model: Model, request: DeployRequest) -> Release:
    """Deploy a version of a model, the newest where none is named.

    Raises UsageError for a version that is not there, and for a newest one that somebody has to
    name; and what `Releases.deploy` raises.
    """
    registry = releases.platform.registry
    version = find_version(registry, model.name, request.version)
    if request.version is None:
        _check_choice(releases, model, version)
    if version.simulated:
        releases.reporter.warn(
            f"version {version.version} of {model.name} was trained on simulated data: "
            "its scores mean nothing on real videos"
        )
    goal = DeployGoal(
        model=model.name,
        endpoint=model.endpoint,
        version=version.version,
        instance_type=request.instance_type or model.instance_type,
        instance_count=request.instance_count or model.instance_count,
        traffic_percent=request.traffic_percent,
        promote=request.promote,
        prune=request.prune,
        why=request.why,
        request_timeout_s=request.request_timeout_s,
        figures={one.version: read_figures(one) for one in registry.versions(model.name)},
        allow_simulated=request.allow_simulated,
    )
    return releases.deploy(goal, dry_run=request.dry_run)


def deploy_all(
    releases: Releases, models: Sequence[Model], request: DeployRequest, *, named: bool
) -> tuple[list[Release], GuardianError | None]:
    """Deploy each model that has a version; what went well, and the first failure.

    One model that fails does not keep the others from being deployed.
    """
    if request.promote and request.traffic_percent is not None:
        raise UsageError(
            "--promote gives a version everything: --traffic does not go with it",
            hint="guardian deploy MODEL --promote, or: guardian deploy MODEL "
            f"--traffic {request.traffic_percent}",
        )
    if not named:
        models = _with_versions(releases, models, request)
    done: list[Release] = []
    failures: list[GuardianError] = []
    for model in models:
        try:
            done.append(deploy_model(releases, model, request))
        except GuardianError as error:
            if named:
                raise
            releases.reporter.warn(f"{model.name}: {error}")
            failures.append(error)
    return done, next(iter(failures), None)


def find_version(registry: Registry, model: str, wanted: str | None) -> ModelVersion:
    """Return the version that is wanted, or the newest. Raises UsageError."""
    found = registry.get(model, wanted) if wanted is not None else None
    if found is not None:
        return found
    known = registry.versions(model)
    if not known:
        raise UsageError(f"{model} has no version yet", hint=f"guardian train {model}")
    if wanted is None:
        return known[-1]
    raise UsageError(
        f"{model} has no version {wanted!r}: there is {_listed(known)}",
        hint=f"guardian deploy {model} --version {known[-1].version}",
    )


def _check_choice(releases: Releases, model: Model, newest: ModelVersion) -> None:
    """Raise UsageError where the newest version is nothing to deploy unless somebody names it."""
    endpoint = own_endpoint(releases.platform, model.name, model.endpoint)
    champion = roles_on(endpoint).champion if endpoint else None
    if endpoint is None or champion == newest.version:
        return
    problem = None
    if was_rolled_back(endpoint, newest.version):
        problem = "was rolled back"
    elif champion is not None:
        problem = _why_worse(newest, releases.platform.registry.get(model.name, champion))
    if problem is None:
        return
    hint = f"guardian deploy {model.name} --version {newest.version} deploys it all the same"
    if endpoint.state == "stopped":
        hint = f"guardian endpoints {model.name} --start brings back what was stopped; {hint}"
    raise UsageError(
        f"the newest version of {model.name}, {newest.version}, {problem}: name the version",
        hint=hint,
    )


def was_rolled_back(endpoint: Endpoint, version: str) -> bool:
    """Whether the last that happened to a version was that a rollback took it off."""
    for change in read_history(endpoint.tags):
        if change.target == version:
            return False
        if change.action == "rollback" and change.source == version:
            return True
    return False


def _why_worse(newest: ModelVersion, champion: ModelVersion | None) -> str | None:
    """Say that a version has the lower AUC; None where it has not, or they cannot be compared."""
    if champion is None:
        return None
    ours, theirs = read_figures(newest), read_figures(champion)
    # An AUC on simulated data says nothing of real videos, and differs with the seed.
    if ours.auc is None or theirs.auc is None or ours.simulated or theirs.simulated:
        return None
    if ours.auc >= theirs.auc:
        return None
    return f"has an AUC of {ours.auc:.3f}, the champion, {theirs.version}, one of {theirs.auc:.3f}"


def _with_versions(
    releases: Releases, models: Sequence[Model], request: DeployRequest
) -> list[Model]:
    """Leave out the models that have no version. Raises UsageError when none has."""
    if request.version is not None and len(models) > 1:
        hint = f"guardian deploy {models[0].name} --version {request.version}"
        raise UsageError("--version needs a model: every model counts its own", hint=hint)
    found = [model for model in models if releases.platform.registry.versions(model.name)]
    if models and not found:
        raise UsageError("no model has a version yet", hint=f"guardian train {models[0].name}")
    for model in models:
        if model not in found:
            releases.reporter.note(f"{model.name} has no version yet: guardian train {model.name}")
    return found


def _listed(versions: Sequence[ModelVersion]) -> str:
    newest = [one.version for one in versions[-8:]]
    return ("…, " if len(versions) > len(newest) else "") + ", ".join(newest)
