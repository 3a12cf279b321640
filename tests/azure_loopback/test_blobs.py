"""Block blobs by SAS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.azure_loopback.azure import LoopbackAzure
    from tests.azure_loopback.caller import Caller


@pytest.fixture
def address(azure: LoopbackAzure, caller: Caller) -> str:
    """An address in the blob store of the workspace; `{}` is where the blob's name belongs."""
    workspace = azure.workspaces[azure.workspace]
    secrets = f"{caller.ws}/datastores/workspaceblobstore/listSecrets"
    token = caller.arm("POST", secrets, {"expirableSecret": True}).json()["sasToken"]
    return f"https://{workspace.blob_host}/{workspace.container}/{{}}?{token}"


def test_a_blob_goes_up_and_comes_down(azure: LoopbackAzure, caller: Caller, address: str) -> None:
    blob = address.format("a/b.bin")
    assert caller.send("HEAD", blob).headers["x-ms-error-code"] == "BlobNotFound"
    put = caller.send("PUT", blob, data=b"0123456789", headers={"x-ms-blob-type": "BlockBlob"})
    assert put.status_code == 201
    meta = caller.send("PUT", blob + "&comp=metadata", headers={"x-ms-meta-name": "n"})
    assert meta.status_code == 200
    head = caller.send("HEAD", blob)
    assert (head.headers["Content-Length"], head.headers["x-ms-meta-name"]) == ("10", "n")
    part = caller.send("GET", blob, headers={"x-ms-range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    again = caller.send("PUT", blob, data=b"x", headers={"If-None-Match": "*"})
    assert again.headers["x-ms-error-code"] == "BlobAlreadyExists"
    assert [one.size for one in azure.uploads] == [10]


def test_blocks_are_joined_in_the_order_of_the_list(caller: Caller, address: str) -> None:
    blob = address.format("large")
    for name, data in (("Qg==", b"world"), ("QQ==", b"hello ")):
        staged = caller.send("PUT", blob, params={"comp": "block", "blockid": name}, data=data)
        assert staged.status_code == 201
    order = "<BlockList><Latest>QQ==</Latest><Latest>Qg==</Latest></BlockList>"
    assert caller.send("PUT", blob, params={"comp": "blocklist"}, data=order).status_code == 201
    assert caller.send("GET", blob).content == b"hello world"


def test_a_list_knows_folders(azure: LoopbackAzure, caller: Caller, address: str) -> None:
    container = azure.workspaces[azure.workspace].container
    for name in ("run/log", "run/out/a", "run/out/b", "other"):
        azure.blobs.put(container, name, b"x")
    query = {"restype": "container", "comp": "list", "prefix": "run/", "delimiter": "/"}
    text = caller.send("GET", address.format(""), params=query).text
    assert "<Name>run/log</Name>" in text
    assert "<BlobPrefix><Name>run/out/</Name></BlobPrefix>" in text
    assert "run/out/a" not in text
    assert "other" not in text


def test_whoever_has_no_signature_for_a_container_is_refused(
    azure: LoopbackAzure, caller: Caller, address: str
) -> None:
    base = address.format("x").partition("?")[0]
    elsewhere = azure.blobs.sign("elsewhere")
    for url in (base, f"{base}?sig=wrong", f"{base}?{elsewhere}"):
        assert (
            caller.send("PUT", url, data=b"x").headers["x-ms-error-code"] == "AuthenticationFailed"
        )
    azure.blobs.key_auth_allowed = False
    refused = caller.send("PUT", address.format("x"), data=b"x")
    assert refused.headers["x-ms-error-code"] == "KeyBasedAuthenticationNotPermitted"
    assert not azure.uploads
