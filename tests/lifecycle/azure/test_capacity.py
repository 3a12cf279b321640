"""Quota and prices, from answers of Azure that are whole, thin or not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.azure.capacity import Capacity
from guardian_cli.lifecycle.azure.client import WorkspaceAddress
from guardian_cli.lifecycle.azure.errors import QuotaError
from guardian_cli.lifecycle.cost import HOURS_PER_MONTH
from tests.lifecycle.fake_platform import FakeReporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardian_cli.lifecycle.azure.client import AzureClient

SIZE = {
    "name": "Standard_DS3_v2",
    "family": "standardDSv2Family",
    "vCPUs": 4,
    "estimatedVMPrices": {
        "values": [
            {"osType": "Windows", "vmTier": "Standard", "retailPrice": 0.1},
            {"osType": "Linux", "vmTier": "LowPriority", "retailPrice": 0.05},
            {"osType": "Linux", "vmTier": "Standard", "retailPrice": 0.3},
        ]
    },
}


class Answers:
    """A client that answers two look-ups, and counts."""

    address = WorkspaceAddress("sub", "group", "ws")

    def __init__(self, sizes: Any, usages: Any) -> None:
        self.answers = {"vmSizes": sizes, "usages": usages}
        self.asked: list[str] = []
        self.reporter = FakeReporter()

    def list(self, path: str, api_version: str, doing: str) -> Iterator[Any]:
        name = path.rpartition("/")[2]
        self.asked.append(name)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        yield from answer


def usage(used: int, limit: int | None, name: Any = "StandardDSv2family") -> list[Any]:
    return [{"name": {"value": name}, "currentValue": used, "limit": limit}]


def capacity(sizes: Any, usages: Any) -> tuple[Capacity, Answers, list[str]]:
    answers = Answers(sizes, usages)
    return Capacity(cast("AzureClient", answers)), answers, answers.reporter.warnings


SIZES = [SIZE]


@pytest.mark.parametrize(("used", "limit", "warned"), [(0, 8, 0), (92, 100, 0), (96, 100, 1)])
def test_what_fits_and_what_may_not(used: int, limit: int, warned: int) -> None:
    """One machine of 4 cores wants 8: a fifth more, in whole machines."""
    found, _, warnings = capacity(SIZES, usage(used, limit))
    found.check("westeurope", "standard_ds3_V2", 1)
    assert len(warnings) == warned


def test_what_does_not_fit_is_refused_with_figures() -> None:
    found, answers, _ = capacity(SIZES, usage(97, 100))
    with pytest.raises(QuotaError) as refused:
        found.check("westeurope", "Standard_DS3_v2", 3)
    assert "3 × Standard_DS3_v2 in westeurope: 12 cores are needed, 3 of 100 are free" in str(
        refused.value
    )
    with pytest.raises(QuotaError):
        found.check("westeurope", "Standard_DS3_v2", 1)
    assert answers.asked.count("vmSizes") == 1


@pytest.mark.parametrize(
    "usages",
    [[], [{}], [{"name": None, "limit": 1}], usage(0, None), usage(0, 0, name="other")],
)  # fmt: skip
def test_a_thin_answer_refuses_nothing(usages: Any) -> None:
    found, _, warnings = capacity(SIZES, usages)
    found.check("westeurope", "Standard_DS3_v2", 50)
    assert not warnings


def test_what_cannot_be_looked_up_is_said() -> None:
    found, _, warnings = capacity(SIZES, PlatformError("HTTP 403"))
    found.check("westeurope", "Standard_DS3_v2", 1)
    assert warnings == ["the quota could not be looked up: HTTP 403"]
    blind, _, warnings = capacity(PlatformError("HTTP 403"), usage(0, 0))
    blind.check("westeurope", "Standard_DS3_v2", 1)
    assert len(warnings) == 1
    assert blind.monthly_cost_usd("westeurope", "Standard_DS3_v2", 1) == pytest.approx(211.7)
    assert blind.monthly_cost_usd("westeurope", "Standard_X", 1) is None
    assert len(warnings) == 1, "said once"
    blind.check(None, "Standard_DS3_v2", 1)


def test_the_price_is_that_of_linux_at_full_price() -> None:
    found, _, _ = capacity(SIZES, None)
    cost = found.monthly_cost_usd("westeurope", "Standard_DS3_v2", 2)
    assert cost == pytest.approx(0.3 * 2 * HOURS_PER_MONTH)


def test_types_without_optional_fields() -> None:
    unpriced = {"estimatedVMPrices": {"values": [{"osType": "Linux", "vmTier": "Standard"}]}}
    empty = {"family": None, "vCPUs": None, "estimatedVMPrices": None}
    sizes = [{}, {"name": "A"}, {"name": "B", **empty}, {"name": "C", **unpriced}]
    found, _, warnings = capacity(sizes, usage(0, 0, name=""))
    for name in ("a", "b", "c", "d"):
        found.check("westeurope", name, 50)
        assert found.monthly_cost_usd("westeurope", name, 1) is None
    assert not warnings
