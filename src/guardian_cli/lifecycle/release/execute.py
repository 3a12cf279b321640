"""Deploy and rollback on any platform: plan, carry out step by step, look again before traffic.

    release = Releases(platform, clock, reporter, patience)
    release.deploy(goal, dry_run=False)  ->  Release: what was before, what is after

Nothing is kept between steps but what the platform holds, so the same command again finishes
what was cut off at any of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.clock import Patience, timestamp
from guardian_cli.lifecycle.platform import (
    ChangedMeanwhileError,
    DeploymentFailedError,
    EndpointBusyError,
    Leavable,
    Metered,
    NameTakenError,
    Stoppable,
)
from guardian_cli.lifecycle.release.history import Change, add_change, read_history
from guardian_cli.lifecycle.release.ownership import own_endpoint
from guardian_cli.lifecycle.release.plan import (
    CreateDeployment,
    CreateEndpoint,
    DeleteDeployment,
    Plan,
    ProbeDeployment,
    Row,
    Settle,
    Shift,
    StartEndpoint,
    rows_of,
)
from guardian_cli.lifecycle.release.planner import (
    NotDeployedError,
    plan_deploy,
    plan_rollback,
    roles_on,
)
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    PENDING_TAG,
    Pending,
    version_of,
    write_pending,
    write_roles,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.clock import Clock
    from guardian_cli.lifecycle.platform import DeploymentSpec, Endpoint, Platform, Reporter
    from guardian_cli.lifecycle.release.figures import Figures
    from guardian_cli.lifecycle.release.plan import Step
    from guardian_cli.lifecycle.release.planner import DeployGoal, RollbackGoal

# A probe right after a change of routes may come too early: it is tried again after these.
_PROBE_PAUSES_S = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Release:
    """What a deploy or rollback did, or with `dry_run` would do."""

    model: str
    endpoint: str
    action: str
    before: tuple[Row, ...]
    after: tuple[Row, ...]
    steps: tuple[str, ...]
    dry_run: bool
    hints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[Figures, ...] = ()


@dataclass
class Releases:
    """The use-cases. `timeout_s` is for one endpoint, all waiting included."""

    platform: Platform
    clock: Clock
    reporter: Reporter
    timeout_s: float = 1800.0
    keep_failed: bool = False
    no_wait: bool = False
    _probed: set[str] = field(default_factory=set)

    def deploy(self, goal: DeployGoal, *, dry_run: bool = False) -> Release:
        """Make `goal.version` champion or challenger.

        Raises DeploymentFailedError or PlatformError; traffic is then as it was.
        """
        priced = replace(goal, bills=isinstance(self.platform, Metered))
        return self._release(priced, lambda found: plan_deploy(found, priced), dry_run=dry_run)

    def rollback(
        self,
        goal: RollbackGoal,
        *,
        dry_run: bool = False,
        show: Callable[[Release], None] = lambda _: None,
    ) -> Release:
        """Go back to where the last change came from, or to `goal.to`.

        `show` gets the result before the mark of a rollback under way is taken off: one that was
        killed before it could tell anybody is finished by the next one, and never undone.
        """
        priced = replace(goal, bills=isinstance(self.platform, Metered))
        try:
            return self._release(
                priced, lambda found: plan_rollback(found, priced), dry_run=dry_run, show=show
            )
        except NotDeployedError as error:
            if self.platform.registry.get(goal.model, error.version) is not None:
                raise
            raise UsageError(
                f"{goal.model} has no version {error.version!r}",
                hint=f"guardian rollback {goal.model} --history",
            ) from error

    def history(self, model: str, endpoint: str) -> list[Change]:
        """The changes of a model's endpoint, newest first; none where there is no endpoint."""
        found = own_endpoint(self.platform, model, endpoint)
        return read_history(found.tags) if found else []

    def _release(
        self,
        goal: DeployGoal | RollbackGoal,
        planner: Callable[[Endpoint | None], Plan],
        *,
        dry_run: bool,
        show: Callable[[Release], None] = lambda _: None,
    ) -> Release:
        name = goal.endpoint
        if dry_run:
            plan = planner(own_endpoint(self.platform, goal.model, name))
            self._tell(plan)
            self._check_quota(plan)
            release = _report(plan, plan.after, dry_run=True)
            show(release)
            return release
        self._probed.clear()
        patience = Patience(self.clock, self.timeout_s, self.reporter.note)
        with ExitStack() as stack:
            patience.retry(lambda: stack.enter_context(self.platform.lock(name)))
            plan = planner(self._settled(goal.model, name, patience))
            self._tell(plan)
            self._check_quota(plan)
            try:
                left = self._carry_out(plan, planner, patience)
            except KeyboardInterrupt:
                self._tell_of_what_goes_on()
                raise
            after = rows_of(self.platform.endpoint(name))
            release = _report(plan, after, dry_run=False, hints=left or plan.hints)
            try:
                show(release)
            finally:
                if plan.settles:
                    self._settle(name, patience)
        return release

    def _tell_of_what_goes_on(self) -> None:
        if isinstance(self.platform, Leavable):
            self.reporter.note(
                f"what was begun goes on at {self.platform.target}: the same command again waits "
                "for it"
            )

    def _carry_out(
        self, plan: Plan, planner: Callable[[Endpoint | None], Plan], patience: Patience
    ) -> tuple[str, ...]:
        """Do the steps; before traffic moves, look again. Returns hints where it was left early."""
        leavable = self._leavable()
        for step in plan.steps[:-1] if plan.settles else plan.steps:
            found = None
            if isinstance(step, Shift):
                found = self._settled(plan.model, plan.endpoint, patience)
                self._check_still_due(step, planner(found))
            self.reporter.note(f"{plan.endpoint}: {step.describe()}")
            if leavable is not None and isinstance(step, CreateDeployment):
                return self._begin(step, plan, leavable, patience)
            self._do(step, plan, patience, found)
        return ()

    def _begin(
        self, step: CreateDeployment, plan: Plan, platform: Leavable, patience: Patience
    ) -> tuple[str, ...]:
        patience.retry(lambda: platform.begin_deployment(plan.endpoint, step.spec))
        self.reporter.note(f"{step.spec.name} is being created; traffic is as it was")
        return (f"the same command again goes on where this one leaves: {plan.action}",)

    def _leavable(self) -> Leavable | None:
        """The platform where a deployment is to be begun and left. Raises UsageError."""
        if not self.no_wait:
            return None
        if isinstance(self.platform, Leavable):
            return self.platform
        raise UsageError(
            f"--no-wait: the target {self.platform.target} does not go on by itself",
            hint="leave --no-wait out",
        )

    def _check_still_due(self, step: Shift, newer: Plan) -> None:
        if newer.shift != step:
            raise ChangedMeanwhileError(
                f"{newer.endpoint} was changed by somebody else meanwhile: its traffic is left as "
                "they made it",
                hint=f"look with `guardian endpoints {newer.model}`, then run the same command "
                "again",
            )

    def _settled(self, model: str, name: str, patience: Patience) -> Endpoint | None:
        """Look at the endpoint once nothing is under way on it."""

        def look() -> Endpoint | None:
            found = own_endpoint(self.platform, model, name)
            if found is None:
                return None
            ours = [d.name for d in found.deployments if d.state == "updating" and version_of(d)]
            if found.state == "updating" or ours:
                raise EndpointBusyError(f"{', '.join(ours) or name} is being changed")
            return found

        return patience.retry(look)

    def _do(
        self, step: Step, plan: Plan, patience: Patience, found: Endpoint | None = None
    ) -> None:
        name = plan.endpoint
        match step:
            case CreateEndpoint():
                self._create_endpoint(step, patience)
            case StartEndpoint():
                self._start(name)
            case CreateDeployment():
                self._create(step, name, patience)
            case ProbeDeployment():
                self._probe(step.name, plan)
            case Shift():
                self._shift(step, found, name, patience)
            case Settle():
                self._settle(name, patience)
            case DeleteDeployment():
                patience.retry(lambda: self.platform.delete_deployment(name, step.name))

    def _create_endpoint(self, step: CreateEndpoint, patience: Patience) -> None:
        tags = {MODEL_TAG: step.model}
        try:
            patience.retry(lambda: self.platform.create_endpoint(step.name, tags))
        except NameTakenError as taken:
            hint = f"set models.{step.model}.endpoint_name in guardian.yaml to another name"
            raise NameTakenError(str(taken), hint=hint) from taken

    def _start(self, name: str) -> None:
        if not isinstance(self.platform, Stoppable):
            raise PlatformError(f"{name} is stopped, and {self.platform.target} cannot start it")
        self.platform.start(name)

    def _create(self, step: CreateDeployment, name: str, patience: Patience) -> None:
        spec = step.spec
        try:
            patience.retry(
                lambda: self.platform.create_deployment(name, spec, timeout_s=patience.left_s)
            )
        except DeploymentFailedError as failure:
            self._drop_failed(name, spec.name, failure.log, patience)
            raise

    def _probe(self, deployment: str, plan: Plan) -> None:
        if deployment in self._probed:
            return
        probe = self.platform.probe(plan.endpoint, deployment)
        for pause_s in _PROBE_PAUSES_S:
            if probe.good:
                break
            self.clock.sleep(pause_s)
            probe = self.platform.probe(plan.endpoint, deployment)
        if not probe.good:
            raise self._refused(deployment, probe.problem or "no answer", plan)
        self._probed.add(deployment)

    def _refused(self, deployment: str, problem: str, plan: Plan) -> PlatformError:
        message = (
            f"{deployment} on {plan.endpoint} failed its probe: {problem}; traffic is as it was"
        )
        if plan.action == "rollback":
            return PlatformError(message, hint=f"guardian endpoints {plan.model} --check")
        log = self.platform.logs(plan.endpoint, deployment)
        patience = Patience(self.clock, self.timeout_s, self.reporter.note)
        self._drop_failed(plan.endpoint, deployment, log, patience)
        return PlatformError(message, hint=f"guardian endpoints {plan.model}")

    def _drop_failed(self, name: str, deployment: str, log: str, patience: Patience) -> None:
        """Show the container's log and remove what failed, unless it has a role or traffic."""
        if log.strip():
            self.reporter.quote(f"log of {deployment}", log)
        endpoint = self.platform.endpoint(name)
        found = endpoint.deployment(deployment) if endpoint else None
        if endpoint is None or found is None:
            return
        in_use = found.traffic > 0 or roles_on(endpoint).of(version_of(found)) is not None
        if self.keep_failed or in_use:
            self.reporter.note(f"{deployment} stays deployed at {found.traffic}%, as it is")
            return
        patience.retry(lambda: self.platform.delete_deployment(name, deployment))
        alone = len(endpoint.deployments) == 1
        left = f"{name} stays, without deployments" if alone else "traffic is as it was"
        self.reporter.note(f"{deployment} is removed (--keep-failed would keep it); {left}")

    def _shift(self, step: Shift, found: Endpoint | None, name: str, patience: Patience) -> None:
        """Change traffic, roles and history, if the endpoint is still as it was `found`."""
        when = timestamp(self.clock)
        tags: dict[str, str | None] = {MODEL_TAG: step.model, **write_roles(step.roles)}
        if step.pending:
            tags |= write_pending(Pending(step.roles, when))
        if step.noted:
            change = Change(
                when, self.platform.who(), step.action, step.source, step.target, step.why
            )
            tags |= add_change(found.tags if found else {}, change)
        patience.retry(
            lambda: self.platform.update_endpoint(
                name, traffic=step.traffic, tags=tags, expected=found
            )
        )

    def _settle(self, name: str, patience: Patience) -> None:
        """Take the mark away, as the last call of all: whoever is cut off after it was done."""
        tags: dict[str, str | None] = {PENDING_TAG: None}
        patience.retry(lambda: self.platform.update_endpoint(name, tags=tags))

    def _check_quota(self, plan: Plan) -> None:
        """Before anything bills: whether it fits, and what it costs."""
        if not isinstance(self.platform, Metered):
            return
        for step in plan.steps:
            if isinstance(step, CreateDeployment):
                spec = step.spec
                if not step.anew:
                    self.platform.check_quota(spec.instance_type, spec.instance_count)
                self._tell_cost(spec)

    def _tell_cost(self, spec: DeploymentSpec) -> None:
        if isinstance(self.platform, Metered):
            cost = self.platform.monthly_cost_usd(spec.instance_type, spec.instance_count)
            if cost is not None:
                self.reporter.note(
                    f"{spec.name} bills about ${cost:.0f} a month while it is deployed, with or "
                    "without traffic"
                )

    def _tell(self, plan: Plan) -> None:
        for note in plan.notes:
            self.reporter.note(note)
        for warning in plan.warnings:
            self.reporter.warn(warning)
        if not plan.steps:
            self.reporter.note(f"{plan.endpoint}: nothing to do, all is as asked for")


def _report(
    plan: Plan, after: tuple[Row, ...], *, dry_run: bool, hints: tuple[str, ...] | None = None
) -> Release:
    return Release(
        model=plan.model,
        endpoint=plan.endpoint,
        action=plan.action if plan.steps else "none",
        before=plan.before,
        after=after,
        steps=tuple(step.describe() for step in plan.steps),
        dry_run=dry_run,
        hints=plan.hints if hints is None else hints,
        warnings=plan.warnings,
        figures=plan.figures,
    )
