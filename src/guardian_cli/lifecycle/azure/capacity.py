"""What fits into a subscription, and what it costs: looked up before anything bills."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.client import ML_PROVIDER
from guardian_cli.lifecycle.azure.errors import QuotaError
from guardian_cli.lifecycle.cost import HOURS_PER_MONTH, InstanceType, PriceList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.lifecycle.azure.client import AzureClient, Json

# For updates Azure wants quota for more instances than are asked for, on most types.
_RESERVE = 1.2
_API = "2023-04-01"
# For where Azure gives no price: an order of magnitude.
_TYPES = (
    InstanceType("Standard_DS2_v2", 0.15, 2, 7),
    InstanceType("Standard_DS3_v2", 0.29, 4, 14),
    InstanceType("Standard_DS4_v2", 0.59, 8, 28),
    InstanceType("Standard_F2s_v2", 0.09, 2, 4),
    InstanceType("Standard_F4s_v2", 0.17, 4, 8),
    InstanceType("Standard_F8s_v2", 0.34, 8, 16),
    InstanceType("Standard_E4s_v3", 0.25, 4, 32),
    InstanceType("Standard_NC6s_v3", 3.06, 6, 112, has_gpu=True),
    InstanceType("Standard_NC4as_T4_v3", 0.53, 4, 28, has_gpu=True),
)
PRICES = PriceList(
    noted="2026-11-25",
    about="pay as you go, Linux; prices differ by region and change",
    types={one.name.lower(): one for one in _TYPES},
)


class Capacity:
    """Instance types, quotas and prices of a region; its types are asked for once."""

    def __init__(self, client: AzureClient) -> None:
        self._client = client
        # Azure's documents by region and by lower-case name.
        self._types: dict[str, dict[str, Json]] = {}

    def check(self, location: str | None, instance_type: str, count: int) -> None:
        """Raise QuotaError, with the figures, for what does not fit; warn where none are told."""
        found = self._find_type(location, instance_type)
        if found is None or location is None:
            return
        try:
            usages = self._list(location, "usages", "looking up the quota")
        except PlatformError as error:
            self._client.reporter.warn(f"the quota could not be looked up: {error}")
            return
        family, cores = found.get("family") or "", int(found.get("vCPUs") or 0)
        for usage in usages:
            name, limit = (usage.get("name") or {}).get("value") or "", usage.get("limit")
            if name.lower() == family.lower() and limit is not None:
                used, limit = int(usage.get("currentValue") or 0), int(limit)
                break
        else:
            return

        needed = cores * count
        with_reserve = cores * math.ceil(_RESERVE * count)
        if used + needed > limit:
            raise QuotaError(
                f"not enough quota for {count} × {instance_type} in {location}: {needed} cores are "
                f"needed, {max(0, limit - used)} of {limit} are free ({family})"
            )
        if used + with_reserve > limit:
            self._client.reporter.warn(
                f"{count} × {instance_type} may not fit: for most types Azure keeps a fifth back "
                f"for updates, {with_reserve} cores in all, and {limit - used} of {limit} are free"
            )

    def monthly_cost_usd(
        self, location: str | None, instance_type: str, count: int
    ) -> float | None:
        """What instances cost in a month of 730 hours; None for a type without a known price."""
        found = self._find_type(location, instance_type) or {}
        # Windows costs more, and what may be taken away at any time less.
        prices_usd = [
            float(one["retailPrice"])
            for one in (found.get("estimatedVMPrices") or {}).get("values") or ()
            if (one.get("osType"), one.get("vmTier")) == ("Linux", "Standard")
            and one.get("retailPrice") is not None
        ]
        known = PRICES.types.get(instance_type.lower())
        known_usd = known.usd_per_hour if known else None
        price_usd = min(prices_usd, default=known_usd)
        return None if price_usd is None else price_usd * count * HOURS_PER_MONTH

    def _find_type(self, location: str | None, name: str) -> Json | None:
        """An instance type of a region, None where Azure does not tell; that is said once."""
        if location is None:
            return None
        if location not in self._types:
            self._types[location] = {}
            try:
                sizes = self._list(location, "vmSizes", "looking up instance types")
                self._types[location] = {
                    one["name"].lower(): one for one in sizes if one.get("name")
                }
            except PlatformError as error:
                self._client.reporter.warn(f"the instance types could not be looked up: {error}")
        return self._types[location].get(name.lower())

    def _list(self, location: str, kind: str, doing: str) -> Sequence[Json]:
        home = f"{self._client.address.subscription_path}/{ML_PROVIDER}/locations/{location}"
        return list(self._client.list(f"{home}/{kind}", _API, doing))
