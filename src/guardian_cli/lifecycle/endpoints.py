"""`guardian endpoints`: show, check, rotate keys, stop and start, and write what a scan needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.endpoint_keys import COMMON_KEY
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import may_be_committed, read_if_there, replace_private
from guardian_cli.lifecycle.cost import Costs, Footprint, billed_costs, local_costs
from guardian_cli.lifecycle.environment_file import set_variables, variables_in
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.lifecycle.platform import Hosted, Metered, Probe, Stoppable
from guardian_cli.lifecycle.release.plan import Row, rows_of
from guardian_cli.lifecycle.release.roles import own_endpoint
from guardian_cli.lifecycle.scan_variables import (
    env_values,
    gather_variables,
    left_without_key,
    to_manifest,
)
from guardian_cli.settings import environment_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.config import ModelSection
    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Platform, Reporter
    from guardian_cli.settings import EndpointSetting

NOT_DEPLOYED = "not deployed"


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """A model's endpoint as it is now; where it has none, the state is `not deployed`."""

    model: str
    category: str
    name: str
    uri: str
    state: str
    rows: tuple[Row, ...]

    @property
    def deployed(self) -> bool:
        """Whether there is an endpoint."""
        return self.state != NOT_DEPLOYED

    def check_result(self, probes: Mapping[str, Probe]) -> Probe:
        """Sum up the probes of its deployments in one: what failed, or the one with most traffic.

        `probes` are by deployment.
        """
        failed = [f"{name}: {probe.problem}" for name, probe in probes.items() if not probe.good]
        # Its score is the one that most requests would get.
        busiest = max(self.rows, key=lambda row: row.traffic, default=None)
        if self.state == "stopped":
            failed = ["it is stopped"]
        elif busiest is None:
            failed = ["it has no deployment"]
        elif not failed and not busiest.traffic:
            failed = ["no deployment has traffic"]
        return Probe(problem="; ".join(failed)) if failed or not busiest else probes[busiest.name]


@dataclass(frozen=True, slots=True)
class EndpointTasks:
    """The options of the command line."""

    check: bool = False
    write_env: Path | None = None
    write_configmap: Path | None = None
    rotate_key: str | None = None
    stop: bool = False
    start: bool = False
    show_keys: bool = False
    dry_run: bool = False
    cost: bool = False
    # Where a scan looks for its keys.
    env_file: Path = Path(".env")

    @property
    def writes(self) -> bool:
        """Whether a file is to be written."""
        return self.write_env is not None or self.write_configmap is not None


@dataclass
class EndpointsResult:
    """What was found; `plan` is what a dry run would have done, `keys` only where asked for.

    `probes` are by endpoint and deployment, for what was checked. `startable` is for endpoints
    that `--start` starts anew.
    """

    endpoints: list[EndpointStatus]
    probes: dict[str, dict[str, Probe]] = field(default_factory=dict)
    # Not in its repr, which may end in a traceback or a log.
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    plan: list[str] = field(default_factory=list)
    startable: bool = False
    costs: Costs | None = None

    def raise_for_failed_checks(self) -> None:
        """Raise PlatformError when an endpoint failed its check, with each deployment that did."""
        checked = [one for one in self.endpoints if one.name in self.probes]
        problems = {one.name: one.check_result(self.probes[one.name]).problem for one in checked}
        failed = [one for one in checked if problems[one.name]]
        if not failed:
            return
        reasons = "; ".join(f"{one.name}: {problems[one.name]}" for one in failed)
        raise PlatformError(
            f"{len(failed)} of {len(checked)} endpoints failed the check: {reasons}",
            hint=self._find_cure(failed[0]),
        )

    def _find_cure(self, one: EndpointStatus) -> str:
        """Return the command after which an endpoint that failed its check answers well again."""
        rows = {row.role: row for row in one.rows if row.role}
        probes = self.probes[one.name]
        good = {role for role, row in rows.items() if row.name in probes and probes[row.name].good}
        for role in ("champion", "challenger"):
            if role in rows and rows[role].state == "failed":
                return f"guardian deploy {one.model} --version {rows[role].version}"
        # A rollback takes a live challenger off first, and goes to no version that fails its probe.
        is_live = "challenger" in rows and rows["challenger"].traffic > 0
        worse, better = ("challenger", "champion") if is_live else ("champion", "previous")
        if better in good and worse not in good:
            return f"guardian rollback {one.model}"
        if "challenger" in good and "champion" not in good:
            version = rows["challenger"].version
            return f"guardian deploy {one.model} --version {version} --promote"
        start = " --start" if self.startable and not good else ""
        return f"guardian endpoints {one.model}{start}"


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
    found = find_endpoints(platform, models)
    if (model is not None and not tasks.stop) or tasks.check or tasks.start or tasks.writes:
        _require_one(found)
    plan: list[str] = []
    # First of all, so that whatever is written has the new key.
    rotated, new_key = None, None
    if tasks.rotate_key is not None:
        [rotated] = choose_models(sections, tasks.rotate_key)
        _require_one(find_endpoints(platform, [rotated]))
        if tasks.dry_run:
            plan.append(f"replace the key of {rotated.endpoint}")
        else:
            new_key = platform.rotate_key(rotated.endpoint).get_secret_value()
            reporter.note(f"{rotated.endpoint} has a new key; the old one opens nothing any more")
    if tasks.stop or tasks.start:
        plan += _stop_or_start(platform, reporter, found, tasks)
        # What was found before has another state now.
        found = find_endpoints(platform, models)
    deployed = [one for one in found if one.deployed]
    for one in () if tasks.stop else found:
        if not one.deployed:
            reporter.note(f"{one.model} has no endpoint yet: guardian deploy {one.model}")
        elif one.state == "stopped":
            again = f"guardian endpoints {one.model} --start"
            reporter.warn(f"{one.name} is stopped: {again} brings it back as it was")
    if tasks.writes:
        plan += _write_files(platform, reporter, deployed, tasks, configured or {})
    # After the files: one that was just written has the new key.
    if rotated is not None and new_key is not None:
        _warn_of_old_keys(reporter, rotated, new_key, tasks)
    result = EndpointsResult(found, plan=plan, startable=isinstance(platform, Stoppable))
    if tasks.show_keys:
        result.keys = {one.name: platform.key(one.name).get_secret_value() for one in deployed}
    if tasks.cost:
        result.costs = find_costs(platform, models)
        if result.costs.noted is not None:
            reporter.note(f"prices as noted on {result.costs.noted}: {result.costs.about}")
    if tasks.check:
        result.probes = {
            one.name: {
                row.name: platform.probe(one.name, row.name)
                for row in one.rows
                # Nothing answers there: its state is the result.
                if one.state != "stopped"
            }
            for one in deployed
        }
    return result


def find_endpoints(platform: Platform, models: Sequence[Model]) -> list[EndpointStatus]:
    """Return each model's endpoint. Raises UsageError for one that belongs to another model."""
    endpoints = []
    for model in models:
        found = own_endpoint(platform, model)
        uri, state = (found.uri, found.state) if found else ("", NOT_DEPLOYED)
        endpoints.append(
            EndpointStatus(model.name, model.category, model.endpoint, uri, state, rows_of(found))
        )
    return endpoints


def find_costs(platform: Platform, models: Sequence[Model]) -> Costs:
    """What the models' deployments cost, from documented prices; here, memory and disk."""
    found = [one for model in models if (one := own_endpoint(platform, model)) is not None]
    if isinstance(platform, Metered):
        return billed_costs(found, platform.price_list())
    footprints = {
        one.name: platform.footprint(one.name)
        if isinstance(platform, Hosted)
        else Footprint(None, {})
        for one in found
    }
    return local_costs(found, footprints)


def _check_usage(
    sections: Mapping[str, ModelSection], model: str | None, tasks: EndpointTasks
) -> None:
    # `--write-env` may stand without a file: then the model after it would be taken for one.
    for option, path in (("env", tasks.write_env), ("configmap", tasks.write_configmap)):
        if model is None and path is not None and str(path) in sections:
            file = " FILE" if option == "configmap" else ""
            raise UsageError(
                f"--write-{option} {path}: {path} is a model, not a file",
                hint=f"guardian endpoints {path} --write-{option}{file}",
            )
    if tasks.stop and (tasks.start or tasks.check or tasks.writes):
        raise UsageError("--stop goes with none of --start, --check and --write-*")


def _require_one(endpoints: Sequence[EndpointStatus]) -> None:
    """Raise PlatformError when there is no endpoint at all."""
    if not any(one.deployed for one in endpoints):
        names = ", ".join(one.name for one in endpoints) or "no model in guardian.yaml"
        raise PlatformError(
            f"there is no endpoint ({names})",
            hint=f"guardian deploy {endpoints[0].model}" if endpoints else None,
        )


def _stop_or_start(
    platform: Platform,
    reporter: Reporter,
    endpoints: Sequence[EndpointStatus],
    tasks: EndpointTasks,
) -> list[str]:
    """Stop or start what is not yet; returns what a dry run would do. Raises UsageError."""
    if not isinstance(platform, Stoppable):
        raise UsageError(
            f"{platform.target} endpoints can be neither stopped nor started: they bill while they "
            "are deployed",
            hint="guardian deploy MODEL --prune removes deployments without role and traffic",
        )
    due = [one for one in endpoints if one.deployed and (one.state == "stopped") == tasks.start]
    if tasks.dry_run:
        return [f"{'start' if tasks.start else 'stop'} {one.name}" for one in due]
    # Also what is not stopped: a server that runs but does not answer is replaced.
    for one in [one for one in endpoints if one.deployed] if tasks.start else due:
        if tasks.start:
            uri = platform.start(one.name).uri
            if one in due and uri == one.uri:
                reporter.note(f"{one.name} is back as it was, with its URI, key, roles and traffic")
            elif uri != one.uri:
                # The project is a copy: the original keeps the port.
                write = f"guardian endpoints {one.model} --write-env"
                reporter.warn(f"{one.name} has an address of its own, {uri}: {write}")
        elif platform.stop(one.name):
            again = f"guardian endpoints {one.model} --start"
            reporter.note(f"{one.name} is stopped; {again} brings it back as it was")
    if not due:
        nothing = "nothing was stopped; what runs answers"
        reporter.note(nothing if tasks.start else "nothing was running")
    return []


def _write_files(
    platform: Platform,
    reporter: Reporter,
    endpoints: Sequence[EndpointStatus],
    tasks: EndpointTasks,
    configured: Mapping[str, EndpointSetting],
) -> list[str]:
    """Write .env and the Kubernetes objects; returns what a dry run would do."""
    variables = gather_variables(platform, endpoints, configured)
    files: list[tuple[Path, list[str], bytes]] = []
    if (path := tasks.write_env) is not None:
        data = read_if_there(path)
        # Read once, so that what is decided and what is written are about the same content.
        old = variables_in(data)
        values = env_values(old, variables)
        names = [name for name, value in values.items() if value is not None]
        files.append((path, names, set_variables(data, values)))
        for name in left_without_key(old, values):
            reporter.warn(
                f"{name} in {path} has no {name}_KEY and was lent {COMMON_KEY}, the key of an "
                "endpoint of guardian's: that is taken out"
            )
    if (path := tasks.write_configmap) is not None:
        names = [*variables.uris, *variables.keys]
        files.append((path, names, to_manifest(variables).encode()))
        if platform.target == "local":
            reporter.warn("a local endpoint answers on this machine only: no pod can reach it")
    plan = []
    for path, names, data in files:
        listed = ", ".join(names)
        if tasks.dry_run:
            plan.append(f"set {listed} in {path}")
        elif replace_private(path, data):
            reporter.note(f"{path}: {listed} set (0600)")
        else:
            reporter.note(f"{path}: nothing to do, {listed} are set")
        # Also in a dry run, when there is still time to mend .gitignore.
        if may_be_committed(path):
            reporter.warn(f"{path} holds keys, and git does not ignore it: put it in .gitignore")
    return plan


def _warn_of_old_keys(reporter: Reporter, model: Model, new_key: str, tasks: EndpointTasks) -> None:
    """Name the files that still have the key which was replaced, and what renews it."""
    renew = f"guardian endpoints {model.name} --write-env"
    is_stale = False
    for path in dict.fromkeys([tasks.env_file, *([tasks.write_env] if tasks.write_env else [])]):
        # A folder called .env may be somebody's virtual environment.
        held = variables_in(read_if_there(path)) if path.is_file() else {}
        if held.get(f"{environment_name(model.category)}_KEY", new_key) != new_key:
            is_stale = True
            file = "" if path == tasks.env_file else f" {path}"
            reporter.warn(f"{path} has another key for {model.endpoint}: {renew}{file}")
    if not is_stale and tasks.write_env is None:
        reporter.note(f"hint: {renew}")
