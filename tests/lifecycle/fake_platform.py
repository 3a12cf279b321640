"""A platform in memory that fails, is busy, and dies on demand."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import SecretStr

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.clock import Clock
from guardian_cli.lifecycle.cost import InstanceType, PriceList
from guardian_cli.lifecycle.platform import (
    Deployment,
    DeploymentFailedError,
    DeploymentSpec,
    Endpoint,
    EndpointBusyError,
    ModelVersion,
    NameTakenError,
    Probe,
    State,
    Tracking,
    Workspace,
    WorkspaceOptions,
    check_unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BROKEN_NAME = "broken"


class Killed(BaseException):
    """kill -9: nothing after it runs."""


@dataclass
class FakeClock(Clock):
    """Time that passes only when somebody sleeps."""

    passed_s: float = 0.0
    slept_s: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 9, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.passed_s += seconds


@dataclass
class FakeReporter:
    """Remembers what was said."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    quotes: list[tuple[str, str]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def quote(self, title: str, text: str) -> None:
        self.quotes.append((title, text))


@dataclass
class FakeRegistry:
    """Versions in memory; a folder named `broken` gives a model that does not load."""

    found: dict[str, list[ModelVersion]] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)

    def versions(self, model: str) -> Sequence[ModelVersion]:
        return tuple(self.found.get(model, ()))

    def get(self, model: str, version: str) -> ModelVersion | None:
        return next((v for v in self.versions(model) if v.version == version), None)

    def register(self, model: str, folder: Path, tags: Mapping[str, str]) -> ModelVersion:
        known = self.found.setdefault(model, [])
        made = ModelVersion(model, str(len(known) + 1), dict(tags), datetime.now(UTC))
        known.append(made)
        self.folders[model, made.version] = folder
        if folder.name == BROKEN_NAME:
            self.broken.add((model, made.version))
        return made

    def fetch(self, model: str, version: str, destination: Path) -> None:
        folder = self.folders[model, version]
        # Many tests register a folder that only has a name.
        shutil.copytree(folder, destination) if folder.is_dir() else destination.mkdir()

    def tracking(self) -> Tracking:
        return Tracking("memory://", takes_artifacts=False)


@dataclass
class Faults:
    """What goes wrong. Calls are counted from 1; `kill_at` dies before or after call number N.

    `torn`: the call that is killed has written its tags, and not its traffic.
    """

    kill_at: int | None = None
    kill_after_effect: bool = False
    torn: bool = False
    busy_calls: int = 0
    failing: dict[str, str] = field(default_factory=dict)
    sick: dict[str, str] = field(default_factory=dict)
    sick_probes: int | None = None
    taken: set[str] = field(default_factory=set)


@dataclass
class FakeWorld:
    """What survives a process: the endpoints, the registry, the keys."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    keys: dict[str, str] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    key_count: int = 0


PARTS = ("folder", "registry")


@dataclass
class FakePlatform:
    """One process's view of the world."""

    world: FakeWorld = field(default_factory=FakeWorld)
    faults: Faults = field(default_factory=Faults)
    target: str = "local"
    place: str = "memory"
    calls: list[str] = field(default_factory=list)

    @property
    def registry(self) -> FakeRegistry:
        return self.world.registry

    def who(self) -> str:
        return "ann@laptop"

    @contextmanager
    def lock(self, endpoint: str) -> Iterator[None]:
        if endpoint in self.world.locked:
            raise EndpointBusyError(f"another guardian is at work on {endpoint}")
        self.world.locked.add(endpoint)
        try:
            yield
        finally:
            self.world.locked.discard(endpoint)

    def look_at_workspace(self, options: WorkspaceOptions) -> Workspace:
        missing = tuple(part for part in PARTS if part not in self.world.parts)
        existing = tuple(part for part in PARTS if part in self.world.parts)
        return Workspace("memory", existing=existing, missing=missing)

    def create_workspace(self, options: WorkspaceOptions) -> Workspace:
        with self._call("create_workspace"):
            self.world.parts.update(PARTS)
        return self.look_at_workspace(options)

    def endpoint(self, name: str) -> Endpoint | None:
        with self._call("endpoint"):
            return self.world.endpoints.get(name)

    def create_endpoint(self, name: str, tags: Mapping[str, str]) -> Endpoint:
        with self._changing("create_endpoint"):
            if name in self.faults.taken:
                raise NameTakenError(f"the name {name} is taken")
            made = Endpoint(name, f"https://{name}.example/score", "ready", tags=dict(tags))
            self.world.endpoints[name] = made
            self.rotate_key(name)
            return made

    def update_endpoint(
        self,
        name: str,
        *,
        traffic: Mapping[str, int] | None = None,
        tags: Mapping[str, str | None] | None = None,
        expected: Endpoint | None = None,
    ) -> Endpoint:
        with self._changing("update_endpoint"):
            found = self._must(name)
            if expected is not None:
                check_unchanged(expected, found)
            merged = {**found.tags, **(tags or {})}
            kept = {key: value for key, value in merged.items() if value is not None}
            assert len(kept) <= 50
            assert all(len(value) <= 256 for value in kept.values())
            found = self.world.endpoints[name] = replace(found, tags=kept)
            if self._dies_now() and self.faults.torn:
                raise Killed
            if traffic is not None:
                assert set(traffic) <= set(found.traffic)
                assert sum(traffic.values()) in {0, 100}, traffic
                shifted = tuple(
                    replace(d, traffic=traffic.get(d.name, 0)) for d in found.deployments
                )
                found = self.world.endpoints[name] = replace(found, deployments=shifted)
            return found

    def create_deployment(self, endpoint: str, spec: DeploymentSpec, *, timeout_s: float) -> None:
        with self._changing("create_deployment"):
            broken = (spec.model, spec.version) in self.registry.broken
            log = self.faults.failing.get(spec.name, "no module" if broken else None)
            self._put(endpoint, spec, "failed" if log is not None else "ready")
            if log is not None:
                raise DeploymentFailedError(f"{spec.name} did not come up", log=log)

    def delete_deployment(self, endpoint: str, name: str) -> None:
        with self._changing("delete_deployment"):
            found = self._must(endpoint)
            gone = found.deployment(name)
            if gone is not None and gone.traffic:
                raise PlatformError(f"{name} has traffic")
            kept = tuple(d for d in found.deployments if d.name != name)
            self.world.endpoints[endpoint] = replace(found, deployments=kept)

    def logs(self, endpoint: str, deployment: str, *, lines: int = 200) -> str:
        return self.faults.failing.get(deployment, f"{deployment} says hello")

    def key(self, endpoint: str) -> SecretStr:
        self._must(endpoint)
        return SecretStr(self.world.keys[endpoint])

    def rotate_key(self, endpoint: str) -> SecretStr:
        self.world.key_count += 1
        self.world.keys[endpoint] = f"secret-key-{self.world.key_count}"
        return self.key(endpoint)

    def probe(self, endpoint: str, deployment: str | None = None) -> Probe:
        with self._call("probe"):
            found = self.world.endpoints.get(endpoint)
            if found is None or found.state == "stopped":
                return Probe(problem="connection refused")
            names = [deployment] if deployment else [d.name for d in found.deployments if d.traffic]
            for name in names:
                one = found.deployment(name)
                if one is None or one.state != "ready":
                    return Probe(problem="no such deployment")
                if name in self.faults.sick and self._is_sick():
                    return Probe(problem=self.faults.sick[name])
            return Probe(score=0.5, latency_ms=1.0) if names else Probe(problem="no deployment")

    def start(self, endpoint: str) -> Endpoint:
        with self._call("start"):
            started = replace(self._must(endpoint), state="ready")
            self.world.endpoints[endpoint] = started
            return started

    def stop(self, endpoint: str) -> bool:
        found = self._must(endpoint)
        self.world.endpoints[endpoint] = replace(found, state="stopped")
        return found.state != "stopped"

    def add_foreign(self, endpoint: str, name: str, percent: int) -> None:
        """Put a deployment there that guardian did not make, with traffic taken from the rest."""
        found = self._must(endpoint)
        kept = [replace(d, traffic=d.traffic * (100 - percent) // 100) for d in found.deployments]
        lost = 100 - percent - sum(d.traffic for d in kept)
        kept = [replace(d, traffic=d.traffic + (lost if i == 0 else 0)) for i, d in enumerate(kept)]
        made = Deployment(name, percent, "ready", model="other", version="7")
        self.world.endpoints[endpoint] = replace(found, deployments=(*kept, made))

    def _must(self, name: str) -> Endpoint:
        found = self.world.endpoints.get(name)
        if found is None:
            raise PlatformError(f"no endpoint {name}")
        return found

    def _put(self, endpoint: str, spec: DeploymentSpec, state: State) -> None:
        found = self._must(endpoint)
        old = found.deployment(spec.name)
        made = Deployment(
            spec.name,
            old.traffic if old else 0,
            state,
            spec.model,
            spec.version,
            spec.instance_type,
            spec.instance_count,
            dict(spec.tags),
        )
        others = tuple(d for d in found.deployments if d.name != spec.name)
        self.world.endpoints[endpoint] = replace(found, deployments=(*others, made))

    def _is_sick(self) -> bool:
        if self.faults.sick_probes is None:
            return True
        self.faults.sick_probes -= 1
        return self.faults.sick_probes >= 0

    def _dies_now(self) -> bool:
        return self.faults.kill_at == len(self.calls)

    @contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        with self._call(name):
            if self.faults.busy_calls > 0:
                self.faults.busy_calls -= 1
                raise EndpointBusyError("the endpoint is being updated")
            yield

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self.calls.append(name)
        if self._dies_now() and not (self.faults.kill_after_effect or self.faults.torn):
            raise Killed
        dies = self._dies_now()
        yield
        if dies:
            raise Killed


@dataclass
class FakeCloud(FakePlatform):
    """A platform that bills, has a quota, and goes on by itself."""

    target: str = "azure"
    free_instances: int = 10
    begun: list[str] = field(default_factory=list)

    def check_quota(self, instance_type: str, instance_count: int) -> None:
        if instance_count > self.free_instances:
            raise PlatformError(f"{instance_count} × {instance_type} do not fit")

    def monthly_cost_usd(self, instance_type: str, instance_count: int) -> float | None:
        return 100.0 * instance_count if instance_type == "Standard_DS3_v2" else None

    def price_list(self) -> PriceList:
        types = [
            InstanceType("Standard_DS3_v2", 0.5, 4, 14),
            InstanceType("Standard_F4s_v2", 0.2, 4, 8),
            InstanceType("Standard_F2s_v2", 0.1, 2, 4),
        ]
        return PriceList("2026-01-31", "of a test", {one.name.lower(): one for one in types})

    def begin_deployment(self, endpoint: str, spec: DeploymentSpec) -> None:
        with self._changing("begin_deployment"):
            self._put(endpoint, spec, "updating")

    def begin_workspace(self, options: WorkspaceOptions) -> None:
        self.begun.append("workspace")
