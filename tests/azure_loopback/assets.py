"""Versioned assets: models, codes, environments."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

from tests.azure_loopback.messages import Response, answer, now, refuse
from tests.azure_loopback.routing import WORKSPACE, Call, Router

if TYPE_CHECKING:
    from tests.azure_loopback.cloud import Cloud
    from tests.azure_loopback.state import Document, Workspace

KINDS = ("models", "codes", "environments", "data")
# Of a version that is there only these may change; where its bytes are may not.
FIXED = {"models": "modelUri", "codes": "codeUri", "environments": "image", "data": "dataUri"}
PAGE = 30


class Assets:
    """Containers and versions of each kind."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.page = PAGE

    def add_to(self, router: Router) -> None:
        """Add its routes."""
        for kind in KINDS:
            base = f"{WORKSPACE}/(?P<kind>{kind})"
            router.add("GET", base, self._list_containers)
            router.add("GET", base + "/{name}", self._get_container)
            router.add("GET", base + "/{name}/versions", self._list_versions)
            router.add("GET", base + "/{name}/versions/{version}", self._get)
            router.add("PUT", base + "/{name}/versions/{version}", self._put)
        pending = WORKSPACE + "/codes/{name}/versions/{version}/startPendingUpload"
        router.add("POST", pending, self._start_upload)

    def add(
        self, workspace: Workspace, path: str, kind: str, name: str, version: str, given: Document
    ) -> str:
        """Put a version there without a request; returns its ARM id."""
        made = _document(f"{path}/{kind}/{name}/versions/{version}", kind, version, given, None)
        workspace.assets[kind].setdefault(name, {})[version] = made
        return str(made["id"])

    def _names(self, call: Call) -> tuple[Workspace, dict[str, dict[str, Document]]]:
        workspace = self._cloud.find_workspace(call)
        return workspace, workspace.assets[call["kind"].lower()]

    def _container(self, call: Call, name: str, versions: dict[str, Document]) -> Document:
        numbers = [int(one) for one in versions if one.isdecimal()]
        latest = list(versions)[-1] if versions else None
        path = call.path.rpartition("/versions")[0] or call.path
        return {
            "id": path if path.endswith("/" + name) else f"{path}/{name}",
            "name": name,
            "type": f"Microsoft.MachineLearningServices/workspaces/{call['kind'].lower()}",
            "properties": {
                "description": None,
                "tags": {},
                "properties": {},
                "isArchived": False,
                "latestVersion": latest,
                "nextVersion": str(max(numbers, default=0) + 1),
            },
            "systemData": {"createdAt": now(), "createdBy": "somebody", "createdByType": "User"},
        }

    def _list_containers(self, call: Call) -> Response:
        _, names = self._names(call)
        return answer(200, {"value": [self._container(call, *one) for one in names.items()]})

    def _get_container(self, call: Call) -> Response:
        _, names = self._names(call)
        if call["name"] not in names:
            raise _missing(call)
        return answer(200, self._container(call, call["name"], names[call["name"]]))

    def _list_versions(self, call: Call) -> Response:
        _, names = self._names(call)
        if call["name"] not in names and call["kind"].lower() != "codes":
            raise _missing(call)
        found = list(names.get(call["name"], {}).values())
        wanted = call.query.get("hash")
        if call["kind"].lower() == "codes" and wanted:
            found = self._codes_with(call, wanted)
        found = [one for one in found if _is_in_view(one, call.query.get("listViewType"))]
        # Newest first, unless somebody asks for it the other way round.
        if "asc" not in call.query.get("$orderBy", "desc").lower().split():
            found.reverse()
        top = int(call.query.get("$top", len(found)) or 0)
        return answer(200, self._page(call, found[:top]))

    def _page(self, call: Call, found: list[Document]) -> Document:
        start = int(call.query.get("$skip", 0))
        page = {"value": found[start : start + self.page]}
        if start + self.page < len(found):
            query = {**call.query, "$skip": str(start + self.page)}
            text = "&".join(f"{name}={value.replace(' ', '%20')}" for name, value in query.items())
            page["nextLink"] = f"https://{call.request.host}{call.path}?{text}"  # type: ignore[assignment]
        return page

    def _codes_with(self, call: Call, digest: str) -> list[Document]:
        _, names = self._names(call)
        return [
            code
            for versions in names.values()
            for code in versions.values()
            if code["properties"]["properties"].get("hash_sha256") == digest
        ]

    def _get(self, call: Call) -> Response:
        _, names = self._names(call)
        found = names.get(call["name"], {}).get(call["version"])
        if found is None:
            raise _missing(call)
        return answer(200, found)

    def _put(self, call: Call) -> Response:
        _, names = self._names(call)
        kind, given = call["kind"].lower(), dict(call.body["properties"])
        versions = names.setdefault(call["name"], {})
        old = versions.get(call["version"])
        place = FIXED[kind]
        moved = old and _path_of(old["properties"].get(place)) != _path_of(given.get(place))
        if moved and kind == "models":
            message = "The modelUri of an existing version cannot be changed."
            raise refuse(400, "UserError", message)
        versions[call["version"]] = made = _document(call.path, kind, call["version"], given, old)
        return answer(200 if old else 201, made)

    def _start_upload(self, call: Call) -> Response:
        workspace = self._cloud.find_workspace(call)
        container = str(uuid.uuid4())
        address = f"https://{workspace.blob_host}/{container}"
        path = workspace.resource_id(self._cloud.subscription)
        sas = f"{address}?{self._cloud.blobs.sign(container)}"
        account = f"{path.partition('/providers/')[0]}/providers/Microsoft.Storage/storageAccounts"
        reference = {
            "blobUri": address,
            "storageAccountArmId": f"{account}/{workspace.account}",
            "credential": {"credentialType": "SAS", "sasUri": sas},
        }
        document = {
            "pendingUploadId": container,
            "pendingUploadType": "TemporaryBlobReference",
            "blobReferenceForConsumption": reference,
        }
        return answer(200, document)


def _document(
    path: str, kind: str, version: str, given: Document, old: Document | None
) -> Document:
    properties = {
        "description": None,
        "tags": {},
        "properties": {},
        "isArchived": False,
        "isAnonymous": False,
        **given,
    }
    if kind == "models":
        properties = {"flavors": {}, "jobName": None, **properties}
        properties["modelUri"] = _with_groups(properties.get("modelUri"))
    if kind == "environments":
        properties = {"environmentType": "UserCreated", "osType": "Linux", **properties}
        conda = properties.get("condaFile")
        properties["condaFile"] = _as_json(conda) if conda else conda
    created = old["systemData"]["createdAt"] if old else now()
    return {
        "id": path,
        "name": version,
        "type": f"Microsoft.MachineLearningServices/workspaces/{kind}/versions",
        "properties": properties,
        "systemData": {
            "createdAt": created,
            "createdBy": "somebody",
            "createdByType": "User",
            "lastModifiedAt": now(),
            "lastModifiedBy": "somebody",
            "lastModifiedByType": "User",
        },
    }


def _missing(call: Call) -> Exception:
    what = f"{call['kind']} {call['name']}:{call.names.get('version', '')}".rstrip(":")
    return refuse(404, "UserError", f"The specified {what} was not found.")


def _is_in_view(asset: Document, view: str | None) -> bool:
    archived = bool(asset["properties"].get("isArchived"))
    return {"All": True, "ArchivedOnly": archived}.get(view or "ActiveOnly", not archived)


def _path_of(uri: Any) -> str:
    return str(uri).rpartition("/paths/")[2]


def _with_groups(uri: Any) -> Any:
    return re.sub("/resourcegroups/", "/resourceGroups/", uri) if isinstance(uri, str) else uri


def _as_json(text: str) -> str:
    """The service keeps a conda file as JSON, whatever was sent."""
    import yaml

    return json.dumps(yaml.safe_load(text), indent=2)
