"""`guardian endpoints` from what was asked for to what there is to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.endpoints import (
    Sight,
    Variables,
    check,
    gather_variables,
    look,
    require,
    stop,
    write_configmap,
    write_env,
)
from guardian_cli.lifecycle.models import choose_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from guardian_cli.config import ModelSection
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform, Probe
    from guardian_cli.lifecycle.releases import Reporter


@dataclass(frozen=True, slots=True)
class EndpointTasks:
    """What the command line says."""

    check: bool = False
    write_env: Path | None = None
    write_configmap: Path | None = None
    rotate_key: str | None = None
    stop: bool = False
    show_keys: bool = False
    dry_run: bool = False


@dataclass
class EndpointsResult:
    """What was found; `plan` is what a dry run would have done, `keys` only where asked for."""

    sights: list[Sight]
    probes: dict[str, Probe] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    plan: list[str] = field(default_factory=list)

    def raise_for_failed_checks(self) -> None:
        """Raise PlatformError when an endpoint failed its check."""
        failed = {name: probe for name, probe in self.probes.items() if not probe.good}
        if failed:
            reasons = "; ".join(f"{name}: {probe.problem}" for name, probe in failed.items())
            raise PlatformError(
                f"{len(failed)} of {len(self.probes)} endpoints failed the check: {reasons}",
                hint=_cure([one for one in self.sights if one.name in failed]),
            )


def run_tasks(
    platform: Platform,
    reporter: Reporter,
    sections: Mapping[str, ModelSection],
    model: str | None,
    tasks: EndpointTasks,
) -> EndpointsResult:
    """Do what was asked for, in the order rotate, stop, write, check.

    Raises UsageError, and PlatformError when an endpoint that is needed is not there.
    """
    _check_usage(sections, model, tasks)
    models = choose_models(sections, model)
    plan: list[str] = []
    if tasks.rotate_key is not None:
        [rotated] = choose_models(sections, tasks.rotate_key)
        plan += _rotate(platform, reporter, rotated, tasks)
    sights = look(platform, models)
    if (model is not None and not tasks.stop) or _needs_one(tasks):
        require(sights, models)
    if tasks.stop:
        plan += _stop(platform, reporter, sights, tasks)
        sights = look(platform, models)
    result = EndpointsResult(sights, plan=plan)
    if not tasks.stop:
        _tell(reporter, sights, models)
    if tasks.write_env is not None or tasks.write_configmap is not None:
        result.plan += _write(platform, reporter, sights, tasks)
    if tasks.show_keys:
        result.keys = {one.name: platform.key(one.name).get_secret_value() for one in sights}
    if tasks.check:
        result.probes = check(platform, sights)
    return result


def _check_usage(
    sections: Mapping[str, ModelSection], model: str | None, tasks: EndpointTasks
) -> None:
    for option, path in (("env", tasks.write_env), ("configmap", tasks.write_configmap)):
        if model is None and path is not None and str(path) in sections:
            file = " FILE" if option == "configmap" else ""
            raise UsageError(
                f"--write-{option} {path}: {path} is a model, not a file",
                hint=f"guardian endpoints {path} --write-{option}{file}",
            )
    if tasks.stop and (tasks.check or _writes(tasks)):
        raise UsageError("--stop goes with neither --check nor --write-*")


def _writes(tasks: EndpointTasks) -> bool:
    return tasks.write_env is not None or tasks.write_configmap is not None


def _needs_one(tasks: EndpointTasks) -> bool:
    return tasks.check or _writes(tasks)


def _rotate(
    platform: Platform, reporter: Reporter, model: Model, tasks: EndpointTasks
) -> list[str]:
    require(look(platform, [model]), [model])
    if tasks.dry_run:
        return [f"replace the key of {model.endpoint}"]
    platform.rotate_key(model.endpoint)
    reporter.note(f"{model.endpoint} has a new key; the old one opens nothing any more")
    if tasks.write_env is None:
        reporter.note(f"hint: guardian endpoints {model.name} --write-env")
    return []


def _stop(
    platform: Platform, reporter: Reporter, sights: Sequence[Sight], tasks: EndpointTasks
) -> list[str]:
    if tasks.dry_run:
        return [f"stop {sight.name}" for sight in sights if sight.state != "stopped"]
    stopped = stop(platform, sights)
    for name in stopped:
        reporter.note(f"{name} is stopped; the next deploy brings it back, with its URI and key")
    if not stopped:
        reporter.note("nothing was running")
    return []


def _tell(reporter: Reporter, sights: Sequence[Sight], models: Sequence[Model]) -> None:
    there = {sight.model for sight in sights}
    for model in models:
        if model.name not in there:
            reporter.note(f"{model.name} has no endpoint yet: guardian deploy {model.name}")
    for sight in sights:
        if sight.state == "stopped":
            reporter.warn(f"{sight.name} is stopped: guardian deploy {sight.model} brings it back")


def _write(
    platform: Platform, reporter: Reporter, sights: Sequence[Sight], tasks: EndpointTasks
) -> list[str]:
    variables = gather_variables(platform, sights)
    names = ", ".join(variables.names)
    targets = [path for path in (tasks.write_env, tasks.write_configmap) if path is not None]
    if tasks.dry_run:
        return [f"set {names} in {path}" for path in targets]
    if tasks.write_env is not None:
        _write_env(reporter, tasks.write_env, variables, names)
    if tasks.write_configmap is not None:
        changed = write_configmap(tasks.write_configmap, variables)
        reporter.note(_written(tasks.write_configmap, names, changed=changed))
        if platform.target == "local":
            reporter.warn("a local endpoint answers on this machine only: no pod can reach it")
    return []


def _write_env(reporter: Reporter, path: Path, variables: Variables, names: str) -> None:
    changed, left = write_env(path, variables)
    reporter.note(_written(path, names, changed=changed))
    for name in left:
        reporter.warn(f"{name} in {path} has no {name}_KEY and took MODEL_ENDPOINT_KEY: changed")


def _written(path: Path, names: str, *, changed: bool) -> str:
    return f"{path}: {names} set (0600)" if changed else f"{path}: nothing to do, {names} are set"


def _cure(sights: Sequence[Sight]) -> str | None:
    return f"guardian deploy {sights[0].model}" if sights else None
