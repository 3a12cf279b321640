"""`guardian deploy`: which version of which model, what to warn of, and the release."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from guardian_cli.errors import GuardianError, UsageError
from guardian_cli.lifecycle.release.history import read_history
from guardian_cli.lifecycle.release.metrics import read_metrics
from guardian_cli.lifecycle.release.plan import DeployGoal
from guardian_cli.lifecycle.release.roles import own_endpoint, roles_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import ModelVersion
    from guardian_cli.lifecycle.release.execute import Release, Releases
    from guardian_cli.lifecycle.release.plan import DeployRequest

_VERSIONS_NAMED = 8


class Gate(Protocol):
    """What a version must pass before it gets everything."""

    def check(self, model: Model, version: str, champion: str | None) -> str | None:
        """Say in a line what it passed, None where nothing is asked of this model.

        Raises GateError, and what running it raises.
        """

    def describe(self, model: Model) -> str | None:
        """Say in a line what is asked, None where nothing is."""


def deploy_all(
    releases: Releases,
    models: Sequence[Model],
    request: DeployRequest,
    *,
    named: bool,
    gate: Gate | None = None,
) -> tuple[list[Release], GuardianError | None]:
    """Deploy each model that has a version; what went well, and the first failure.

    One model that fails does not keep the others from being deployed, unless it was `named`.
    """
    if request.promote and request.traffic_percent is not None:
        raise UsageError(
            "--promote gives a version everything: --traffic does not go with it",
            hint="guardian deploy MODEL --promote, or: guardian deploy MODEL "
            f"--traffic {request.traffic_percent}",
        )
    if request.no_gate and not request.promote:
        raise UsageError("--no-gate is for --promote: nothing else has a gate")
    if request.no_gate and not (request.why or "").strip():
        raise UsageError(
            "--no-gate needs --why: the reason is kept in the history",
            hint="guardian deploy MODEL --promote --no-gate --why TEXT",
        )
    if named:
        return [deploy_model(releases, model, request, gate) for model in models], None
    if request.version is not None and len(models) > 1:
        hint = f"guardian deploy {models[0].name} --version {request.version}"
        raise UsageError("--version needs a model: every model counts its own", hint=hint)
    # Without a model named, one that was never trained is no mistake.
    registry, reporter = releases.platform.registry, releases.reporter
    trained = [model for model in models if registry.versions(model.name)]
    if models and not trained:
        raise UsageError("no model has a version yet", hint=f"guardian train {models[0].name}")
    done: list[Release] = []
    failures: list[GuardianError] = []
    for model in models:
        if model not in trained:
            reporter.note(f"{model.name} has no version yet: guardian train {model.name}")
            continue
        try:
            done.append(deploy_model(releases, model, request, gate))
        except GuardianError as error:
            reporter.warn(f"{model.name}: {error}")
            failures.append(error)
    return done, next(iter(failures), None)


def deploy_model(
    releases: Releases, model: Model, request: DeployRequest, gate: Gate | None = None
) -> Release:
    """Deploy a version of a model, the newest where none is named; a promotion passes `gate` first.

    Raises UsageError for a version that is not there, and for a newest one that somebody has to
    name; GateError, and what `Releases.deploy` raises. Traffic and tags are then as they were.
    """
    # One listing serves for choice, metrics and comparison: on Azure each takes a while.
    known = releases.platform.registry.versions(model.name)
    version = _choose_version(releases, model, known, request.version)
    if version.simulated:
        releases.reporter.warn(
            f"version {version.version} of {model.name} was trained on simulated data: "
            "its scores mean nothing on real videos"
        )
    metrics = {one.version: read_metrics(one) for one in known}
    goal = DeployGoal(model, version.version, request, metrics)
    if request.promote and gate is not None:
        goal = _pass_gate(releases, goal, gate)
    return releases.deploy(goal)


def _pass_gate(releases: Releases, goal: DeployGoal, gate: Gate) -> DeployGoal:
    """Return the goal with what the gate says in its reason. Raises GateError."""
    request, model = goal.request, goal.model
    endpoint = own_endpoint(releases.platform, model)
    champion = roles_on(endpoint).champion if endpoint else None
    # It has everything already: there is nothing to be gained, and nothing to compare it with.
    if champion == goal.version:
        return goal
    if request.no_gate:
        return replace(goal, request=replace(request, why=f"without a gate: {request.why}"))
    # A gate scans videos for minutes: a dry run only says that it would.
    if request.dry_run:
        asked = gate.describe(model)
        if asked is not None:
            releases.reporter.note(f"{model.name}: its gate would be asked first: {asked}")
        return goal
    passed = gate.check(model, goal.version, champion)
    if passed is None:
        return goal
    releases.reporter.note(f"{model.name}: version {goal.version} passes its gate: {passed}")
    why = f"gate passed: {passed}" + (f"; {request.why}" if request.why else "")
    request = replace(request, why=why)
    return replace(goal, request=request, gated=True, gated_against=champion)


def _choose_version(
    releases: Releases, model: Model, known: Sequence[ModelVersion], wanted: str | None
) -> ModelVersion:
    if not known:
        raise UsageError(f"{model.name} has no version yet", hint=f"guardian train {model.name}")
    newest = known[-1]
    if wanted is None:
        _check_newest(releases, model, known)
        return newest
    found = next((one for one in known if one.version == wanted), None)
    if found is None:
        listed = ", ".join(one.version for one in known[-_VERSIONS_NAMED:])
        older = "…, " if len(known) > _VERSIONS_NAMED else ""
        raise UsageError(
            f"{model.name} has no version {wanted!r}: there is {older}{listed}",
            hint=f"guardian deploy {model.name} --version {newest.version}",
        )
    return found


def _check_newest(releases: Releases, model: Model, known: Sequence[ModelVersion]) -> None:
    """Raise UsageError where the newest version must not be deployed unless somebody names it.

    It was rolled back, or its AUC is lower than the champion's.
    """
    endpoint = own_endpoint(releases.platform, model)
    newest = read_metrics(known[-1])
    champion = roles_on(endpoint).champion if endpoint else None
    if endpoint is None or champion == newest.version:
        return
    # Newest first: what happened to this version last is what counts.
    own = [
        one
        for one in read_history(endpoint.tags)
        if one.target == newest.version or ("rollback", newest.version) == (one.action, one.source)
    ]
    if own and own[0].target != newest.version:
        problem = "was rolled back"
    else:
        theirs = next((read_metrics(one) for one in known if one.version == champion), None)
        # An AUC on simulated data says nothing about real videos, and differs with the seed.
        if theirs is None or newest.simulated or theirs.simulated:
            return
        if newest.auc is None or theirs.auc is None or newest.auc >= theirs.auc:
            return
        ours, best = f"{newest.auc:.3f}", f"{theirs.auc:.3f}"
        problem = f"has an AUC of {ours}, the champion, {theirs.version}, one of {best}"
    hint = f"guardian deploy {model.name} --version {newest.version} deploys it all the same"
    # After a stop, people reach for deploy to get their endpoint back.
    if endpoint.state == "stopped":
        hint = f"guardian endpoints {model.name} --start brings back what was stopped; {hint}"
    raise UsageError(
        f"the newest version of {model.name}, {newest.version}, {problem}: name the version",
        hint=hint,
    )
