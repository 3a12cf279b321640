"""What guardian may do on Azure, and what it needs to. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROVIDERS = (
    "Microsoft.MachineLearningServices",
    "Microsoft.Storage",
    "Microsoft.KeyVault",
    "Microsoft.Insights",
    "Microsoft.ContainerRegistry",
)
_ML = "Microsoft.MachineLearningServices"
# What the verbs need in a workspace that is there; docs/azure.md has them as a custom role.
NEEDED = (
    f"{_ML}/workspaces/read",
    f"{_ML}/workspaces/datastores/read",
    f"{_ML}/workspaces/datastores/listSecrets/action",
    f"{_ML}/workspaces/models/read",
    f"{_ML}/workspaces/models/write",
    f"{_ML}/workspaces/models/versions/read",
    f"{_ML}/workspaces/models/versions/write",
    f"{_ML}/workspaces/codes/read",
    f"{_ML}/workspaces/codes/write",
    f"{_ML}/workspaces/codes/versions/read",
    f"{_ML}/workspaces/codes/versions/write",
    f"{_ML}/workspaces/environments/read",
    f"{_ML}/workspaces/environments/write",
    f"{_ML}/workspaces/environments/versions/read",
    f"{_ML}/workspaces/environments/versions/write",
    f"{_ML}/workspaces/environments/build/action",
    f"{_ML}/workspaces/onlineEndpoints/read",
    f"{_ML}/workspaces/onlineEndpoints/write",
    f"{_ML}/workspaces/onlineEndpoints/delete",
    f"{_ML}/workspaces/onlineEndpoints/listKeys/action",
    f"{_ML}/workspaces/onlineEndpoints/regenerateKeys/action",
    f"{_ML}/workspaces/onlineEndpoints/deployments/read",
    f"{_ML}/workspaces/onlineEndpoints/deployments/write",
    f"{_ML}/workspaces/onlineEndpoints/deployments/delete",
    f"{_ML}/workspaces/onlineEndpoints/deployments/getLogs/action",
    f"{_ML}/workspaces/experiments/read",
    f"{_ML}/workspaces/experiments/write",
    f"{_ML}/workspaces/experiments/runs/read",
    f"{_ML}/workspaces/experiments/runs/write",
    f"{_ML}/locations/usages/read",
    f"{_ML}/locations/vmSizes/read",
    f"{_ML}/locations/mfeOperationsStatus/read",
    f"{_ML}/locations/mfeOperationResults/read",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
)
# In addition, for `train --compute`.
NEEDED_FOR_JOBS = (
    f"{_ML}/workspaces/computes/read",
    f"{_ML}/workspaces/jobs/read",
    f"{_ML}/workspaces/jobs/write",
    f"{_ML}/workspaces/jobs/cancel/action",
    f"{_ML}/workspaces/data/read",
    f"{_ML}/workspaces/data/write",
    f"{_ML}/workspaces/data/versions/read",
    f"{_ML}/workspaces/data/versions/write",
    f"{_ML}/workspaces/environments/readSecrets/action",
    f"{_ML}/workspaces/metadata/artifacts/read",
    f"{_ML}/workspaces/metadata/artifacts/write",
    f"{_ML}/workspaces/metadata/codes/*/write",
)
# In addition, to make a workspace.
NEEDED_TO_CREATE = (
    f"{_ML}/workspaces/write",
    "Microsoft.Resources/deployments/read",
    "Microsoft.Resources/deployments/write",
    "Microsoft.Resources/deployments/operations/read",
    "Microsoft.Resources/deployments/operationStatuses/read",
    "Microsoft.Storage/storageAccounts/read",
    "Microsoft.Storage/storageAccounts/write",
    "Microsoft.KeyVault/vaults/read",
    "Microsoft.KeyVault/vaults/write",
    "Microsoft.Insights/components/read",
    "Microsoft.Insights/components/write",
    "Microsoft.OperationalInsights/workspaces/read",
    "Microsoft.OperationalInsights/workspaces/write",
)


def lacking(needed: Iterable[str], granted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what of `needed` the answers of Microsoft.Authorization/permissions do not grant.

    An action is granted by an entry whose `actions` match it and whose `notActions` do not.
    """
    entries = list(granted)
    return [
        action
        for action in needed
        if not any(
            _matches(action, entry.get("actions")) and not _matches(action, entry.get("notActions"))
            for entry in entries
        )
    ]


def _matches(action: str, patterns: Iterable[str] | None) -> bool:
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE)
        for pattern in patterns or ()
    )
