"""`guardian endpoints` from what was asked for to what there is to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.endpoint_keys import COMMON_KEY
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import may_be_committed, read_if_there
from guardian_cli.lifecycle.endpoints import (
    Sight,
    check,
    env_values,
    gather_variables,
    lent_to,
    look,
    require,
    stoppable,
    verdict_on,
    write_configmap,
    write_env,
)
from guardian_cli.lifecycle.environment_file import variables_in
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.settings import environment_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.config import ModelSection
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform, Probe
    from guardian_cli.lifecycle.release.execute import Reporter
    from guardian_cli.settings import EndpointSetting


_IN_USE = ("champion", "challenger")


@dataclass(frozen=True, slots=True)
class EndpointTasks:
    """What the command line says."""

    check: bool = False
    write_env: Path | None = None
    write_configmap: Path | None = None
    rotate_key: str | None = None
    stop: bool = False
    start: bool = False
    show_keys: bool = False
    dry_run: bool = False
    # Where a scan looks for its keys.
    env_file: Path = Path(".env")


@dataclass
class EndpointsResult:
    """What was found; `plan` is what a dry run would have done, `keys` only where asked for.

    `probes` are by endpoint and deployment, for what was checked.
    """

    sights: list[Sight]
    probes: dict[str, dict[str, Probe]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    plan: list[str] = field(default_factory=list)

    def raise_for_failed_checks(self) -> None:
        """Raise PlatformError when an endpoint failed its check, with each deployment that did."""
        checked = [
            (sight, verdict_on(sight, self.probes[sight.name]))
            for sight in self.sights
            if sight.name in self.probes
        ]
        failed = [(sight, verdict) for sight, verdict in checked if not verdict.good]
        if failed:
            reasons = "; ".join(f"{sight.name}: {verdict.problem}" for sight, verdict in failed)
            sight, _ = failed[0]
            raise PlatformError(
                f"{len(failed)} of {len(checked)} endpoints failed the check: {reasons}",
                hint=_cure(sight, self.probes[sight.name]),
            )


def run_tasks(
    platform: Platform,
    reporter: Reporter,
    sections: Mapping[str, ModelSection],
    model: str | None,
    tasks: EndpointTasks,
    configured: Mapping[str, EndpointSetting] | None = None,
) -> EndpointsResult:
    """Do what was asked for, in the order rotate, stop or start, write, check.

    `configured` are the endpoints that a scan would call now, by category. Raises UsageError,
    and PlatformError when an endpoint that is needed is not there.
    """
    _check_usage(sections, model, tasks)
    models = choose_models(sections, model)
    plan: list[str] = []
    sights = look(platform, models)
    if (model is not None and not tasks.stop) or tasks.check or tasks.start or _writes(tasks):
        require(sights)
    new_key = None
    if tasks.rotate_key is not None:
        [rotated] = choose_models(sections, tasks.rotate_key)
        new_key = _rotate(platform, reporter, rotated, plan, tasks)
    if tasks.stop or tasks.start:
        plan += _stop_or_start(platform, reporter, sights, tasks)
        sights = look(platform, models)
    result = EndpointsResult(sights, plan=plan)
    there = [sight for sight in sights if sight.deployed]
    if not tasks.stop:
        _tell(reporter, sights)
    if _writes(tasks):
        result.plan += _write(platform, reporter, there, tasks, configured or {})
    if new_key is not None:
        _tell_who_has_the_old_key(reporter, rotated, new_key, tasks)
    if tasks.show_keys:
        result.keys = {one.name: platform.key(one.name).get_secret_value() for one in there}
    if tasks.check:
        result.probes = check(platform, there)
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
    if tasks.stop and (tasks.start or tasks.check or _writes(tasks)):
        raise UsageError("--stop goes with none of --start, --check and --write-*")


def _writes(tasks: EndpointTasks) -> bool:
    return tasks.write_env is not None or tasks.write_configmap is not None


def _rotate(
    platform: Platform, reporter: Reporter, model: Model, plan: list[str], tasks: EndpointTasks
) -> str | None:
    """Replace a key and return the new one; a dry run adds to the plan instead."""
    require(look(platform, [model]))
    if tasks.dry_run:
        plan.append(f"replace the key of {model.endpoint}")
        return None
    new = platform.rotate_key(model.endpoint).get_secret_value()
    reporter.note(f"{model.endpoint} has a new key; the old one opens nothing any more")
    return new


def _tell_who_has_the_old_key(
    reporter: Reporter, model: Model, new_key: str, tasks: EndpointTasks
) -> None:
    renew = f"guardian endpoints {model.name} --write-env"
    stale = False
    for path in dict.fromkeys([tasks.env_file, *([tasks.write_env] if tasks.write_env else [])]):
        # Some have a virtual environment of that name.
        held = variables_in(read_if_there(path)) if path.is_file() else {}
        if held.get(f"{environment_name(model.category)}_KEY", new_key) != new_key:
            stale = True
            file = "" if path == tasks.env_file else f" {path}"
            reporter.warn(f"{path} has another key for {model.endpoint}: {renew}{file}")
    if not stale and tasks.write_env is None:
        reporter.note(f"hint: {renew}")


def _stop_or_start(
    platform: Platform, reporter: Reporter, sights: Sequence[Sight], tasks: EndpointTasks
) -> list[str]:
    able = stoppable(platform)
    due = [one for one in sights if one.deployed and (one.state == "stopped") == tasks.start]
    if tasks.dry_run:
        return [f"{'start' if tasks.start else 'stop'} {sight.name}" for sight in due]
    for sight in due:
        if tasks.start:
            able.start(sight.name)
            reporter.note(f"{sight.name} is back as it was, with its URI, key, roles and traffic")
        elif able.stop(sight.name):
            again = f"guardian endpoints {sight.model} --start"
            reporter.note(f"{sight.name} is stopped; {again} brings it back as it was")
    if not due:
        reporter.note("nothing was stopped" if tasks.start else "nothing was running")
    return []


def _tell(reporter: Reporter, sights: Sequence[Sight]) -> None:
    for sight in sights:
        if not sight.deployed:
            reporter.note(f"{sight.model} has no endpoint yet: guardian deploy {sight.model}")
        elif sight.state == "stopped":
            again = f"guardian endpoints {sight.model} --start"
            reporter.warn(f"{sight.name} is stopped: {again} brings it back as it was")


def _write(
    platform: Platform,
    reporter: Reporter,
    sights: Sequence[Sight],
    tasks: EndpointTasks,
    configured: Mapping[str, EndpointSetting],
) -> list[str]:
    variables = gather_variables(platform, sights, configured)
    targets = []
    if (path := tasks.write_env) is not None:
        old = variables_in(read_if_there(path))
        values = env_values(old, variables)
        names = [name for name, value in values.items() if value is not None]
        targets.append((path, names, partial(write_env, path, values)))
        for name in lent_to(old, values):
            reporter.warn(
                f"{name} in {path} has no {name}_KEY and was lent {COMMON_KEY}, the key of an "
                "endpoint of guardian's: that is taken out"
            )
    if (path := tasks.write_configmap) is not None:
        targets.append((path, variables.names, partial(write_configmap, path, variables)))
        if platform.target == "local":
            reporter.warn("a local endpoint answers on this machine only: no pod can reach it")
    plan = []
    for path, names, write in targets:
        listed = ", ".join(names)
        if tasks.dry_run:
            plan.append(f"set {listed} in {path}")
        elif write():
            reporter.note(f"{path}: {listed} set (0600)")
        else:
            reporter.note(f"{path}: nothing to do, {listed} are set")
        if may_be_committed(path):
            reporter.warn(f"{path} holds keys, and git does not ignore it: put it in .gitignore")
    return plan


def _cure(sight: Sight, probes: Mapping[str, Probe]) -> str:
    if sight.state == "stopped":
        return f"guardian endpoints {sight.model} --start"
    for row in sight.rows:
        if row.name in probes and not probes[row.name].good and row.role in _IN_USE:
            if row.state == "failed":
                return f"guardian deploy {sight.model} --version {row.version}"
            return f"guardian rollback {sight.model}"
    return f"guardian endpoints {sight.model}"
