"""Deploy and rollback on any platform: plan, carry out step by step, look again before traffic.

    releases = Releases(platform, reporter)
    releases.deploy(goal)  ->  Release: what was before, what is after

Nothing is kept between steps but what the platform holds, so the same command again finishes
what was cut off at any of them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.clock import Clock, RetryDeadline, utc_stamp
from guardian_cli.lifecycle.platform import (
    ChangedMeanwhileError,
    DeploymentFailedError,
    EndpointBusyError,
    Metered,
    NameTakenError,
    NonBlocking,
    Stoppable,
    require_non_blocking,
)
from guardian_cli.lifecycle.release.history import Change, add_change, read_history
from guardian_cli.lifecycle.release.plan import (
    CreateDeployment,
    CreateEndpoint,
    DeleteDeployment,
    FinishRollback,
    ProbeDeployment,
    StartEndpoint,
    TrafficShift,
    describe,
    rows_of,
)
from guardian_cli.lifecycle.release.planner import plan_deploy, plan_rollback
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    PENDING_TAG,
    own_endpoint,
    roles_on,
    version_of,
    write_pending,
    write_roles,
)
from guardian_cli.lifecycle.release.traffic import NotDeployedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import Endpoint, Platform, Reporter
    from guardian_cli.lifecycle.release.metrics import VersionMetrics
    from guardian_cli.lifecycle.release.plan import DeployGoal, Plan, RollbackGoal, Row, Step

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
    metrics: tuple[VersionMetrics, ...] = ()


@dataclass
class Releases:
    """The use-cases. `timeout_s` is for one endpoint, all waiting included."""

    platform: Platform
    reporter: Reporter
    timeout_s: float = 1800.0
    keep_failed: bool = False
    no_wait: bool = False
    clock: Clock = field(default_factory=Clock)
    _deadline: RetryDeadline = field(init=False, repr=False)

    def deploy(self, goal: DeployGoal) -> Release:
        """Make `goal.version` champion or challenger.

        Raises DeploymentFailedError or PlatformError; traffic is then as it was.
        """
        goal = replace(goal, bills=isinstance(self.platform, Metered))
        planner = partial(plan_deploy, goal=goal)
        return self._release(goal.model, planner, dry_run=goal.request.dry_run)

    def rollback(
        self,
        goal: RollbackGoal,
        *,
        dry_run: bool = False,
        show: Callable[[Release], None] = lambda _: None,
    ) -> Release:
        """Go back to where the last change came from, or to `goal.to`.

        `show` gets the result before the tag of an unfinished rollback is removed: one that was
        killed before it could say what it did is finished by the next one, and not undone.
        """
        goal = replace(goal, bills=isinstance(self.platform, Metered))
        planner = partial(plan_rollback, goal=goal)
        try:
            return self._release(goal.model, planner, dry_run=dry_run, show=show)
        except NotDeployedError as error:
            if self.platform.registry.get(goal.model.name, error.version) is not None:
                raise
            raise UsageError(
                f"{goal.model.name} has no version {error.version!r}",
                hint=f"guardian rollback {goal.model.name} --history",
            ) from error

    def history(self, model: Model) -> list[Change]:
        """Return the changes of a model's endpoint, newest first; none where it has none."""
        found = own_endpoint(self.platform, model)
        return read_history(found.tags) if found else []

    def _release(
        self,
        model: Model,
        planner: Callable[[Endpoint | None], Plan],
        *,
        dry_run: bool,
        show: Callable[[Release], None] = lambda _: None,
    ) -> Release:
        self._deadline = RetryDeadline(self.clock, self.timeout_s, self.reporter.note)
        with ExitStack() as stack:
            if dry_run:
                # Nothing is changed, so nobody has to be kept away or waited for.
                plan = planner(own_endpoint(self.platform, model))
            else:
                # Planned under the lock: another guardian would change what the plan starts from.
                lock = self.platform.lock
                self._deadline.retry(lambda: stack.enter_context(lock(model.endpoint)))
                plan = planner(self._settled_endpoint(model))
            self._announce(plan)
            hints = () if dry_run else self._carry_out(plan, planner)
            release = Release(
                model=model.name,
                endpoint=model.endpoint,
                action=plan.action if plan.steps else "none",
                before=plan.before,
                after=plan.after if dry_run else rows_of(self.platform.endpoint(model.endpoint)),
                steps=tuple(map(describe, plan.steps)),
                dry_run=dry_run,
                hints=hints or plan.hints,
                warnings=plan.warnings,
                metrics=plan.metrics,
            )
            try:
                show(release)
            finally:
                if plan.finishes_rollback and not dry_run:
                    # The last call of all: whoever is cut off after it has done everything.
                    self._do(FinishRollback(), plan)
        return release

    def _announce(self, plan: Plan) -> None:
        """Say what will be done and, before anything bills, whether it fits and what it costs."""
        for note in plan.notes:
            self.reporter.note(note)
        for warning in plan.warnings:
            self.reporter.warn(warning)
        if not plan.steps:
            self.reporter.note(f"{plan.model.endpoint}: nothing to do, all is as asked for")
        if not isinstance(self.platform, Metered):
            return
        for step in plan.steps:
            if not isinstance(step, CreateDeployment):
                continue
            spec = step.spec
            # What replaces a failed deployment takes over its quota.
            if not step.replaces_failed:
                self.platform.check_quota(spec.instance_type, spec.instance_count)
            cost_usd = self.platform.monthly_cost_usd(spec.instance_type, spec.instance_count)
            if cost_usd is not None:
                self.reporter.note(
                    f"{spec.name} bills about ${cost_usd:.0f} a month while it is deployed, with "
                    "or without traffic"
                )

    def _settled_endpoint(self, model: Model) -> Endpoint | None:
        """Return the endpoint once nothing is under way on it."""

        def find() -> Endpoint | None:
            found = own_endpoint(self.platform, model)
            if found is None:
                return None
            # Foreign deployments may be in the making for as long as they like.
            ours = [d.name for d in found.deployments if d.state == "updating" and version_of(d)]
            if found.state == "updating" or ours:
                raise EndpointBusyError(f"{', '.join(ours) or found.name} is being changed")
            return found

        return self._deadline.retry(find)

    def _carry_out(self, plan: Plan, planner: Callable[[Endpoint | None], Plan]) -> tuple[str, ...]:
        """Do the steps, all but the one that finishes a rollback; hints where it stopped early."""
        model, name = plan.model, plan.model.endpoint
        background = require_non_blocking(self.platform) if self.no_wait else None
        try:
            for step in plan.steps[:-1] if plan.finishes_rollback else plan.steps:
                found = None
                if isinstance(step, TrafficShift):
                    # The deployment took minutes, and a lock of ours keeps no other machine away:
                    # the change must still be what a plan made now would do.
                    found = self._settled_endpoint(model)
                    if step not in planner(found).steps:
                        raise ChangedMeanwhileError(
                            f"{name} was changed by somebody else meanwhile: its traffic "
                            "is left as they made it",
                            hint=f"look with `guardian endpoints {model.name}`, then run the same "
                            "command again",
                        )
                self.reporter.note(f"{name}: {describe(step)}")
                if background is not None and isinstance(step, CreateDeployment):
                    begin = partial(background.begin_deployment, name, step.spec)
                    self._deadline.retry(begin)
                    self.reporter.note(f"{step.spec.name} is being created; traffic is as it was")
                    return (f"the same command again goes on where this one leaves: {plan.action}",)
                self._do(step, plan, found)
        except KeyboardInterrupt:
            if isinstance(self.platform, NonBlocking):
                self.reporter.note(
                    f"what was begun goes on at {self.platform.target}: the same command again "
                    "waits for it"
                )
            raise
        return ()

    def _do(self, step: Step, plan: Plan, found: Endpoint | None = None) -> None:
        """Do one step; `found` is the endpoint that a change of traffic was planned for."""
        platform, name, retry = self.platform, plan.model.endpoint, self._deadline.retry
        match step:
            case CreateEndpoint(_, model):
                try:
                    retry(lambda: platform.create_endpoint(name, {MODEL_TAG: model}))
                except NameTakenError as taken:
                    hint = f"set models.{model}.endpoint_name in guardian.yaml to another name"
                    raise NameTakenError(str(taken), hint=hint) from taken
            case StartEndpoint():
                if not isinstance(platform, Stoppable):
                    raise PlatformError(f"{name} is stopped, and {platform.target} cannot start it")
                # Not tried again: endpoints that stop are local, and this one's lock is held.
                platform.start(name)
            case CreateDeployment(spec):
                try:
                    retry(
                        lambda: platform.create_deployment(
                            name, spec, timeout_s=self._deadline.left_s
                        )
                    )
                except DeploymentFailedError as failure:
                    self._remove_failed(name, spec.name, failure.log)
                    raise
            case ProbeDeployment(deployment):
                self._probe(deployment, plan)
            case TrafficShift():
                when = utc_stamp(self.clock.now())
                # Tags and traffic go in one operation, so that roles never tell of traffic that is
                # not so.
                tags: dict[str, str | None] = {MODEL_TAG: step.model, **write_roles(step.roles)}
                if step.pending:
                    tags |= write_pending(step.roles, when)
                if step.in_history:
                    who, why = platform.who(), step.why
                    change = Change(when, who, step.action, step.source, step.target, why)
                    tags |= add_change(found.tags if found else {}, change)
                # Only if the endpoint is still as it was `found`.
                retry(
                    lambda: platform.update_endpoint(
                        name, traffic=step.traffic, tags=tags, expected=found
                    )
                )
            case FinishRollback():
                retry(lambda: platform.update_endpoint(name, tags={PENDING_TAG: None}))
            case DeleteDeployment(deployment):
                retry(lambda: platform.delete_deployment(name, deployment))

    def _probe(self, deployment: str, plan: Plan) -> None:
        """Let a deployment score a picture. Raises PlatformError; a new one is then removed."""
        name = plan.model.endpoint
        probe = self.platform.probe(name, deployment)
        for pause_s in _PROBE_PAUSES_S:
            if probe.good:
                return
            self.clock.sleep(pause_s)
            probe = self.platform.probe(name, deployment)
        if probe.good:
            return
        hint = f"guardian endpoints {plan.model.name}"
        # A rollback made no deployment, so it has none to take away again.
        if plan.action == "rollback":
            hint += " --check"
        else:
            log = self.platform.logs(name, deployment)
            # The failure is no reason to leave a deployment behind: the time begins anew.
            self._deadline = RetryDeadline(self.clock, self.timeout_s, self.reporter.note)
            self._remove_failed(name, deployment, log)
        raise PlatformError(
            f"{deployment} on {name} failed its probe: {probe.problem or 'no answer'}; traffic is "
            "as it was",
            hint=hint,
        )

    def _remove_failed(self, name: str, deployment: str, log: str) -> None:
        """Show the container's log and remove what failed, unless it has a role or traffic."""
        if log.strip():
            self.reporter.quote(f"log of {deployment}", log)
        endpoint = self.platform.endpoint(name)
        found = endpoint.deployment(deployment) if endpoint else None
        if endpoint is None or found is None:
            return
        # One that was replaced because it had failed may have traffic: deleting it would lose that.
        in_use = found.traffic > 0 or roles_on(endpoint).of(version_of(found)) is not None
        if self.keep_failed or in_use:
            self.reporter.note(f"{deployment} stays deployed at {found.traffic}%, as it is")
            return
        self._deadline.retry(lambda: self.platform.delete_deployment(name, deployment))
        is_last = len(endpoint.deployments) == 1
        left = f"{name} stays, without deployments" if is_last else "traffic is as it was"
        self.reporter.note(f"{deployment} is removed (--keep-failed would keep it); {left}")
