"""`guardian endpoints --cost`: what deployments cost, and what another size would save. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardian_cli.lifecycle.platform import Deployment, Endpoint

# A twelfth of a year, as Azure's own price pages reckon.
HOURS_PER_MONTH = 730


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A size of machine and its price, in US dollars an hour."""

    name: str
    usd_per_hour: float
    cores: int
    memory_gib: float
    has_gpu: bool = False


@dataclass(frozen=True, slots=True)
class PriceList:
    """Documented prices, with the date on which they were noted down; types by lower-case name."""

    noted: str
    about: str
    types: Mapping[str, InstanceType]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a local endpoint takes of this machine: its server's memory, the disk by deployment."""

    memory_mb: float | None
    disk_mb: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DeploymentCost:
    """What one deployment costs a month; None for an instance type without a documented price.

    `cheaper` is the cheapest documented type with as many cores, and a GPU where there is one;
    `saves_usd` is by how much a month.
    """

    endpoint: str
    name: str
    traffic: int
    monthly_usd: float | None
    instance_type: str | None = None
    instance_count: int | None = None
    cheaper: InstanceType | None = None
    saves_usd: float = 0.0
    disk_mb: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it bills without traffic."""
        # A price that nobody knows (None) bills as well; only here (0) nothing does.
        return self.traffic == 0 and self.monthly_usd != 0


@dataclass(frozen=True, slots=True)
class Costs:
    """All deployments, those that bill without traffic first; `memory_mb` is by endpoint."""

    deployments: tuple[DeploymentCost, ...]
    noted: str | None = None
    about: str | None = None
    memory_mb: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def monthly_usd(self) -> float:
        """What is known of the sum."""
        return sum(one.monthly_usd or 0.0 for one in self.deployments)


def billed_costs(endpoints: Sequence[Endpoint], prices: PriceList) -> Costs:
    """What deployments cost at documented prices, foreign ones included: they bill as well."""
    found = [_billed(one, of.name, prices) for of in endpoints for one in of.deployments]
    found.sort(key=lambda one: (not one.is_idle, -(one.monthly_usd or 0.0)))
    return Costs(tuple(found), prices.noted, prices.about)


def _billed(deployment: Deployment, endpoint: str, prices: PriceList) -> DeploymentCost:
    name, count = deployment.instance_type or "", deployment.instance_count or 1
    size = prices.types.get(name.lower())
    monthly_usd, cheaper, saves_usd = None, None, 0.0
    if size is not None:
        monthly_usd = size.usd_per_hour * count * HOURS_PER_MONTH
        # Whether fewer cores would do, only a measurement could tell: none are offered.
        fit = [
            one
            for one in prices.types.values()
            if one.cores >= size.cores and one.has_gpu == size.has_gpu
        ]
        best = min(fit, key=lambda one: one.usd_per_hour)
        if best.usd_per_hour < size.usd_per_hour:
            cheaper = best
            saves_usd = (size.usd_per_hour - best.usd_per_hour) * count * HOURS_PER_MONTH
    return DeploymentCost(
        endpoint, deployment.name, deployment.traffic, monthly_usd,
        deployment.instance_type, deployment.instance_count, cheaper, saves_usd,
    )  # fmt: skip


def local_costs(endpoints: Sequence[Endpoint], footprints: Mapping[str, Footprint]) -> Costs:
    """What deployments take of this machine; nobody bills for them."""
    found = [
        DeploymentCost(
            of.name, one.name, one.traffic, 0.0, disk_mb=footprints[of.name].disk_mb.get(one.name)
        )
        for of in endpoints
        for one in of.deployments
    ]
    found.sort(key=lambda one: (one.traffic > 0, -(one.disk_mb or 0.0)))
    memory = {name: one.memory_mb for name, one in footprints.items()}
    return Costs(tuple(found), memory_mb=memory)
