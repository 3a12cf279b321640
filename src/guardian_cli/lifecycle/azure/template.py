"""The ARM template of a workspace without Application Insights. Pure."""

from __future__ import annotations

from typing import Any

_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


def workspace_template() -> dict[str, Any]:
    """Return a template that makes a storage account, a key vault and a workspace over both."""
    names = ("workspaceName", "location", "storageAccountName", "keyVaultName")
    return {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {name: {"type": "string"} for name in names},
        "resources": [_storage(), _vault(), _workspace()],
    }


def _storage() -> dict[str, Any]:
    return {
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2023-01-01",
        "name": "[parameters('storageAccountName')]",
        "location": "[parameters('location')]",
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "properties": {
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
        },
    }


def _vault() -> dict[str, Any]:
    return {
        "type": "Microsoft.KeyVault/vaults",
        "apiVersion": "2022-07-01",
        "name": "[parameters('keyVaultName')]",
        "location": "[parameters('location')]",
        "properties": {
            "tenantId": "[subscription().tenantId]",
            "sku": {"family": "A", "name": "standard"},
            "accessPolicies": [],
            "enableSoftDelete": True,
        },
    }


def _workspace() -> dict[str, Any]:
    storage = "resourceId('Microsoft.Storage/storageAccounts', parameters('storageAccountName'))"
    vault = "resourceId('Microsoft.KeyVault/vaults', parameters('keyVaultName'))"
    return {
        "type": "Microsoft.MachineLearningServices/workspaces",
        "apiVersion": "2023-04-01",
        "name": "[parameters('workspaceName')]",
        "location": "[parameters('location')]",
        "identity": {"type": "SystemAssigned"},
        "dependsOn": [f"[{storage}]", f"[{vault}]"],
        "properties": {
            "friendlyName": "[parameters('workspaceName')]",
            "description": "Made by guardian",
            "storageAccount": f"[{storage}]",
            "keyVault": f"[{vault}]",
        },
    }
