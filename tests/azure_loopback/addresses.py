"""Where the bytes are that an `azureml://` or `https://` address means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.azure_loopback.state import Workspace

ARTIFACTS = "azureml"
_DATASTORE = re.compile(r"/?datastores/(?P<store>[^/]+)(?:/paths)?/(?P<path>.*)", re.IGNORECASE)
_OUTPUT = re.compile(r"jobs/(?P<job>[^/]+)/outputs/(?P<name>[^/]+)(?:/paths/(?P<path>.*))?")
_ASSET = re.compile(r"/(?P<kind>models|data|codes|environments)/(?P<name>[^/]+)/versions/(?P<v>.+)")
_SHORT = re.compile(r"azureml:(?P<name>[^/:]+):(?P<v>[^/:]+)")


def output_prefix(job: str, name: str) -> str:
    """Where the stand-in keeps a job's output."""
    return f"azureml/{job}/{name}"


def locate(workspace: Workspace, address: str) -> tuple[str, str]:
    """The container and the prefix of an address. Raises LookupError for what it cannot read."""
    if address.startswith("https://"):
        _, container, *rest = urlsplit(address).path.split("/")
        return container, "/".join(rest).strip("/")
    place = address.removeprefix("azureml://")
    if found := _OUTPUT.fullmatch(place):
        rest_of = (found["path"] or "").strip("/")
        if found["name"] in {"artifacts", "default"}:
            return ARTIFACTS, f"ExperimentRun/dcid.{found['job']}/{rest_of}".strip("/")
        prefix = output_prefix(found["job"], found["name"])
        return workspace.container, f"{prefix}/{rest_of}".strip("/")
    if found := _DATASTORE.search(place):
        artifacts = found["store"] == "workspaceartifactstore"
        return (ARTIFACTS if artifacts else workspace.container), found["path"].strip("/")
    raise LookupError(address)


def name_and_version(reference: str) -> tuple[str, str]:
    """What an ARM id, or azureml:name:version, names. Raises LookupError."""
    found = _ASSET.search(reference) or _SHORT.fullmatch(reference)
    if found is None:
        raise LookupError(reference)
    return found["name"], found["v"]


def find_asset(workspace: Workspace, kind: str, reference: str) -> dict[str, object]:
    """An asset's properties. Raises LookupError."""
    name, version = name_and_version(reference)
    asset = workspace.assets[kind].get(name, {}).get(version)
    if not asset:
        raise LookupError(reference)
    properties: dict[str, object] = asset["properties"]
    return properties


def locate_input(workspace: Workspace, uri: str) -> tuple[str, str]:
    """As `locate`, and for data assets and models too."""
    for kind, place in (("data", "dataUri"), ("models", "modelUri")):
        try:
            return locate(workspace, str(find_asset(workspace, kind, uri)[place]))
        except LookupError:
            continue
    return locate(workspace, uri)
