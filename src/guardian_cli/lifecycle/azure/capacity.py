"""What fits into a subscription, and what it costs: looked up before anything bills."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.failures import QuotaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardian_cli.lifecycle.azure.client import AzureClient

HOURS_A_MONTH = 730
# For updates Azure wants quota for more instances than are asked for, on most types.
RESERVE = 1.2
_API = "2023-04-01"
# Pay as you go, Linux, US dollars an hour, for where Azure gives no price: an order of magnitude.
_KNOWN_PRICES_USD = {
    "standard_ds2_v2": 0.15,
    "standard_ds3_v2": 0.29,
    "standard_ds4_v2": 0.59,
    "standard_f2s_v2": 0.09,
    "standard_f4s_v2": 0.17,
    "standard_f8s_v2": 0.34,
    "standard_e4s_v3": 0.25,
    "standard_nc6s_v3": 3.06,
    "standard_nc4as_t4_v3": 0.53,
}


@dataclass(frozen=True, slots=True)
class Size:
    """An instance type: its quota family, its cores, and its price in US dollars an hour."""

    family: str
    cores: int
    price_usd: float | None


class Capacity:
    """Instance types and quotas in a region; each is asked for once."""

    def __init__(self, client: AzureClient, warn: Callable[[str], None]) -> None:
        self._client = client
        self._warn = warn
        self._sizes: dict[str, Mapping[str, Size]] = {}

    def check(self, location: str | None, instance_type: str, count: int) -> None:
        """Raise QuotaError, with the figures, for what does not fit; warn where none are told."""
        size = self._size(location, instance_type)
        if size is None or location is None:
            return
        try:
            used, limit = self._usage(location, size.family)
        except PlatformError as error:
            self._warn(f"the quota could not be looked up: {error}")
            return
        needed = size.cores * count
        with_reserve = size.cores * math.ceil(RESERVE * count)
        if limit is None or used + with_reserve <= limit:
            return
        if used + needed <= limit:
            self._warn(
                f"{count} × {instance_type} may not fit: for most types Azure keeps a fifth back "
                f"for updates, {with_reserve} cores in all, and {limit - used} of {limit} are free"
            )
        else:
            raise QuotaError(
                f"not enough quota for {count} × {instance_type} in {location}: {needed} cores are "
                f"needed, {max(0, limit - used)} of {limit} are free ({size.family})",
                hint="ask for more under Quotas in the Azure portal, remove a deployment "
                "(guardian deploy --prune), or choose another --instance-type",
            )

    def monthly_cost_usd(
        self, location: str | None, instance_type: str, count: int
    ) -> float | None:
        """What instances cost in a month of 730 hours; None for a type without a known price."""
        size = self._size(location, instance_type)
        price = size.price_usd if size else None
        if price is None:
            price = _KNOWN_PRICES_USD.get(instance_type.lower())
        return None if price is None else price * count * HOURS_A_MONTH

    def _size(self, location: str | None, instance_type: str) -> Size | None:
        if location is None:
            return None
        if location not in self._sizes:
            path = f"{self._home(location)}/vmSizes"
            try:
                answer = self._client.get(path, _API, "looking up instance types")
                self._sizes[location] = read_sizes(answer)
            except PlatformError as error:
                self._warn(f"the instance types could not be looked up: {error}")
                self._sizes[location] = {}
        return self._sizes[location].get(instance_type.lower())

    def _usage(self, location: str, family: str) -> tuple[int, int | None]:
        answer = self._client.get(f"{self._home(location)}/usages", _API, "looking up the quota")
        for one in (answer or {}).get("value") or ():
            name = (one.get("name") or {}).get("value") or ""
            if name.lower() == family.lower() and one.get("limit") is not None:
                return int(one.get("currentValue") or 0), int(one["limit"])
        return 0, None

    def _home(self, location: str) -> str:
        provider = "providers/Microsoft.MachineLearningServices/locations"
        return f"{self._client.place.subscription_path}/{provider}/{location}"


def read_sizes(answer: Any) -> dict[str, Size]:
    """Read the answer of `vmSizes`: sizes by their lower-case name."""
    return {
        one["name"].lower(): Size(one.get("family") or "", int(one.get("vCPUs") or 0), _price(one))
        for one in (answer or {}).get("value") or ()
        if one.get("name")
    }


def _price(size: Mapping[str, Any]) -> float | None:
    prices = (size.get("estimatedVMPrices") or {}).get("values") or ()
    fitting = [
        float(one["retailPrice"])
        for one in prices
        if (one.get("osType"), one.get("vmTier")) == ("Linux", "Standard")
        and one.get("retailPrice") is not None
    ]
    return min(fitting, default=None)
