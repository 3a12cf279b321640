"""What a subscription answers: resource groups, providers, permissions, sizes and quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import Response, answer, refuse
from tests.azure_loopback.routing import GROUP, LOCATION, SUBSCRIPTION, WORKSPACE, Call, Router
from tests.azure_loopback.state import SIZES, Size

if TYPE_CHECKING:
    from tests.azure_loopback.cloud import Cloud

AUTHORIZATION = "/providers/Microsoft.Authorization/permissions"


class Subscription:
    """The parts of ARM that are older than Machine Learning."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        router.add("GET", "/metadata/endpoints", _list_clouds)
        router.add("GET", SUBSCRIPTION, self._get_subscription)
        router.add("GET", SUBSCRIPTION + "/resourceGroups", self._list_groups)
        router.add("GET", GROUP, self._get_group)
        router.add("HEAD", GROUP, self._head_group)
        router.add("PUT", GROUP, self._put_group)
        router.add("DELETE", GROUP, self._delete_group)
        router.add("GET", SUBSCRIPTION + "/providers/{namespace}", self._get_provider)
        router.add("POST", SUBSCRIPTION + "/providers/{namespace}/register", self._register)
        router.add("GET", SUBSCRIPTION + AUTHORIZATION, self._get_permissions)
        router.add("GET", GROUP + AUTHORIZATION, self._get_permissions)
        router.add("GET", WORKSPACE + AUTHORIZATION, self._get_permissions)
        router.add("GET", LOCATION + "/usages", self._list_usages)
        router.add("GET", LOCATION + "/quotas", self._list_quotas)
        router.add("GET", LOCATION + "/vmSizes", self._list_sizes)

    def _get_subscription(self, call: Call) -> Response:
        self._check(call)
        name = self._cloud.subscription
        document = {"id": f"/subscriptions/{name}", "subscriptionId": name, "state": "Enabled",
                    "displayName": "Loopback"}  # fmt: skip
        return answer(200, document)

    def _check(self, call: Call) -> None:
        if call["subscription"].lower() != self._cloud.subscription:
            message = f"The subscription '{call['subscription']}' could not be found."
            raise refuse(404, "SubscriptionNotFound", message)

    def _group(self, name: str, location: str) -> dict[str, Any]:
        return {
            "id": f"/subscriptions/{self._cloud.subscription}/resourceGroups/{name}",
            "name": name,
            "type": "Microsoft.Resources/resourceGroups",
            "location": location,
            "properties": {"provisioningState": "Succeeded"},
        }

    def _list_groups(self, call: Call) -> Response:
        self._check(call)
        return answer(200, {"value": [self._group(*one) for one in self._cloud.groups.items()]})

    def _get_group(self, call: Call) -> Response:
        location = self._cloud.find_group(call)
        return answer(200, self._group(call["group"], location))

    def _head_group(self, call: Call) -> Response:
        self._cloud.find_group(call)
        return Response(204)

    def _put_group(self, call: Call) -> Response:
        self._check(call)
        self._cloud.groups[call["group"]] = call.body["location"]
        return answer(201, self._group(call["group"], call.body["location"]))

    def _delete_group(self, call: Call) -> Response:
        """A group goes with all that is in it."""
        self._cloud.find_group(call)
        group = call["group"].lower()
        workspaces = self._cloud.workspaces
        for name in [n for n, one in workspaces.items() if one.group.lower() == group]:
            for endpoint in workspaces.pop(name).endpoints.values():
                for deployment in endpoint.deployments.values():
                    if deployment.runner is not None:
                        deployment.runner.stop()
        for name in [n for n in self._cloud.groups if n.lower() == group]:
            del self._cloud.groups[name]
        return answer(200)

    def _provider(self, namespace: str) -> dict[str, Any]:
        state = self._cloud.providers.get(namespace.lower(), "NotRegistered")
        return {
            "id": f"/subscriptions/{self._cloud.subscription}/providers/{namespace}",
            "namespace": namespace,
            "registrationState": state,
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": [],
        }

    def _get_provider(self, call: Call) -> Response:
        self._check(call)
        return answer(200, self._provider(call["namespace"]))

    def _register(self, call: Call) -> Response:
        self._check(call)
        self._cloud.providers[call["namespace"].lower()] = "Registered"
        # As the real one: the answer still says what it is doing.
        return answer(
            200, {**self._provider(call["namespace"]), "registrationState": "Registering"}
        )

    def _get_permissions(self, call: Call) -> Response:
        if "workspace" in call.names:
            self._cloud.find_workspace(call)
        elif "group" in call.names:
            self._cloud.find_group(call)
        return answer(200, {"value": self._cloud.permissions})

    def _usage(self, call: Call, family: str, limit: int) -> dict[str, Any]:
        return {
            "id": f"{call.path}/{family}",
            "type": f"Microsoft.MachineLearningServices/{family}/usages",
            "unit": "Count",
            "currentValue": self._cloud.cores_in_use(family),
            "limit": limit,
            "name": {"value": family, "localizedValue": f"{family} Cluster Dedicated vCPUs"},
        }

    def _list_usages(self, call: Call) -> Response:
        self._check(call)
        limits = self._cloud.core_limits.items()
        return answer(200, {"value": [self._usage(call, *one) for one in limits]})

    def _list_quotas(self, call: Call) -> Response:
        self._check(call)
        quotas = [
            {
                "id": f"{call.path}/{family}",
                "type": f"Microsoft.MachineLearningServices/{family}/quotas",
                "limit": limit,
                "unit": "Count",
                "name": {"value": family, "localizedValue": family},
            }
            for family, limit in self._cloud.core_limits.items()
        ]
        return answer(200, {"value": quotas})

    def _list_sizes(self, call: Call) -> Response:
        self._check(call)
        return answer(200, {"value": [_size(one) for one in SIZES.values()]})


def _list_clouds(call: Call) -> Response:
    cloud = {
        "name": "AzureCloud",
        "portal": "https://portal.azure.com",
        "authentication": {
            "loginEndpoint": "https://login.microsoftonline.com/",
            "audiences": ["https://management.core.windows.net/", f"https://{call.request.host}/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "graph": "https://graph.windows.net/",
        "graphAudience": "https://graph.windows.net/",
        "resourceManager": f"https://{call.request.host}/",
        "suffixes": {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net"},
    }
    return answer(200, [cloud])


def _size(size: Size) -> dict[str, Any]:
    price = {"retailPrice": size.usd_an_hour, "osType": "Linux", "vmTier": "Standard"}
    return {
        "name": size.name,
        "family": size.family,
        "vCPUs": size.cores,
        "gpus": size.gpus,
        "osVhdSizeMB": 1047552,
        "maxResourceVolumeMB": 28672,
        "memoryGB": size.memory_gb,
        "lowPriorityCapable": True,
        "premiumIO": True,
        "estimatedVMPrices": {
            "billingCurrency": "USD",
            "unitOfMeasure": "OneHour",
            "values": [price],
        },
        "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
    }
